// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * All users of the cluster, in memory: where each is at home and what proves that it is them. So a
 * core finds a user without asking a database, and logins go on while the database changes hands.
 * common/users.h keeps it in step with the database. Plain data, usable by cores.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/str.h"

enum { DIRECTORY_SALT_BYTES = 16, DIRECTORY_ITERATIONS = 4096 };

/* What we keep instead of a password. */
struct credentials {
    uint8_t salt[DIRECTORY_SALT_BYTES];
    uint32_t iterations;
    uint8_t sha1_stored_key[20]; /* SCRAM, RFC 5802 */
    uint8_t sha1_server_key[20];
    uint8_t sha256_stored_key[32];
    uint8_t sha256_server_key[32];
    char digest_md5[33];    /* HA1 in hex, realm = domain, RFC 2617 */
    char digest_sha256[65]; /* HA1 in hex, RFC 8760 */
};

struct user {
    const char *aor; /* "alice@muster.test": bare JID and AoR */
    const char *display_name;
    uint32_t home; /* node number; 0: not assigned */
    struct credentials credentials;
};

struct directory;

struct directory *directory_new(void);
void directory_free(struct directory *d);

/* Adds or replaces; copies. */
void directory_put(struct directory *d, const struct user *user);
void directory_remove(struct directory *d, struct str aor);

/* NULL when there is none; valid until the user is put or removed. `aor` is prepared. */
const struct user *directory_find(const struct directory *d, struct str aor);

size_t directory_count(const struct directory *d);

/* A full load: between begin and end every user is put; end removes those that were not. */
void directory_reload_begin(struct directory *d);
void directory_reload_end(struct directory *d);

/* Calls `each` for all, in insertion order. */
void directory_each(const struct directory *d, void (*each)(void *ctx, const struct user *user),
                    void *ctx);
