// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Digests and encodings, over OpenSSL. Functions of their arguments alone, so cores may call them;
 * none reads a clock or randomness.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/buf.h"
#include "common/directory.h"
#include "common/str.h"

enum digest_kind { DIGEST_MD5, DIGEST_SHA1, DIGEST_SHA256 };
enum { DIGEST_BYTES_MAX = 32, DIGEST_HEX_MAX = 65 };

size_t digest_size(enum digest_kind kind);
void digest_raw(enum digest_kind kind, struct str data, uint8_t *ret_digest);
/* Lower-case, with a NUL. */
void digest_hex(enum digest_kind kind, struct str data, char ret_hex[DIGEST_HEX_MAX]);
void digest_hmac(enum digest_kind kind, struct str key, struct str data, uint8_t *ret_mac);
/* PBKDF2, RFC 8018: Hi() of SCRAM; DIGEST_SHA1 or DIGEST_SHA256. */
void digest_pbkdf2(enum digest_kind kind, struct str password, struct str salt, uint32_t iterations,
                   uint8_t *ret_key);

/* Compares in constant time; lengths are not secret. */
bool digest_equal(struct str a, struct str b);

void digest_base64(struct buf *out, struct str data);
/* False, and nothing appended, if `text` is not base64. */
bool digest_unbase64(struct buf *out, struct str text);
void digest_to_hex(struct str data, char *ret_hex); /* 2 * len + 1 bytes */

/* Everything that is kept of `password`; `salt` from getrandom. */
void digest_credentials(struct str userid, struct str domain, struct str password,
                        const uint8_t salt[DIRECTORY_SALT_BYTES], struct credentials *ret);
