// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Digest authentication of requests (RFC 3261, 22; RFC 7616; RFC 8760): SHA-256 and MD5, qop=auth.
 *
 * A nonce is the time at which it was made and a MAC with a key that the nodes of a group share, so
 * each accepts the other's, and nobody keeps a list. It can be used as often as its holder likes
 * until nonce_lifetime has passed; then the answer is 401 with stale=true. The uri of the
 * credentials need not be the Request-URI: proxies rewrite that, and the method, which counts, is
 * in the digest.
 *
 * A core: the time of day is an argument. Somebody who does not exist is told what somebody with a
 * wrong password is told, after the same work.
 */
#include "common/directory.h"
#include "proxyd/sip/msg.h"

enum { AUTH_KEY_BYTES = 32 };

struct auth {
    uint8_t key[AUTH_KEY_BYTES];
    const char *realm; /* the domain; borrowed */
    uint64_t nonce_lifetime_ms;
    bool sha256_first; /* of the two challenges; else MD5, for clients that look at one only */
};

enum auth_verdict {
    AUTH_OK,
    AUTH_MISSING, /* no credentials for our realm */
    AUTH_STALE,   /* right, but for the age of the nonce */
    AUTH_WRONG,
};

/* Who sent it? *ret_user is set with AUTH_OK. */
enum auth_verdict auth_check(const struct auth *a, const struct directory *users,
                             const struct sip_msg *request, uint64_t unix_ms,
                             const struct user **ret_user);

/* Appends WWW-Authenticate for both algorithms. What the request was authenticated with, if it was
 * at all, comes first. */
void auth_put_challenge(struct buf *out, const struct auth *a, const struct sip_msg *request,
                        enum auth_verdict verdict, uint64_t unix_ms);
