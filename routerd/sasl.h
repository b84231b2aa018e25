// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * The server's side of one SASL exchange: SCRAM-SHA-256 and -SHA-1 (RFC 5802, 7677), with channel
 * binding by tls-exporter (RFC 9266) when there is one, and PLAIN (RFC 4616) under TLS. Bytes in,
 * bytes out; base64 and XML are the caller's.
 *
 * A user that does not exist is asked like any other, with a salt that is derived from a secret,
 * and learns no more than a user with a wrong password.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/buf.h"
#include "common/directory.h"

enum {
    SASL_NONCE_BYTES = 18,
    SASL_SECRET_BYTES = 32,
    SASL_BINDING_BYTES = 32,
    SASL_MESSAGE_MAX = 2048
};

struct sasl;

struct sasl_config {
    const struct directory *directory;
    struct str domain;               /* borrowed, as the others */
    bool tls;                        /* PLAIN may be offered */
    const uint8_t *exporter;         /* SASL_BINDING_BYTES; NULL: no channel binding */
    const uint8_t *secret;           /* SASL_SECRET_BYTES */
    uint8_t nonce[SASL_NONCE_BYTES]; /* fresh randomness */
};

/* The name of the mechanism number `i`, best first; NULL after the last. */
const char *sasl_mechanism(const struct sasl_config *config, size_t i);

/* NULL: not offered (invalid-mechanism). Directory and secret must outlive it. */
struct sasl *sasl_new(const struct sasl_config *config, struct str mechanism);
void sasl_free(struct sasl *s);

enum sasl_outcome {
    SASL_CHALLENGE, /* send it, step again with the answer */
    SASL_SUCCESS,   /* send it as additional data */
    SASL_FAILURE,   /* say sasl_condition() */
};

/* What the client said, decoded; what to say goes to `out`. Not after success or failure. */
enum sasl_outcome sasl_step(struct sasl *s, struct str in, struct buf *out);

/* After a failure: the element of RFC 6120, 6.5. */
const char *sasl_condition(const struct sasl *s);
/* After success: whose bare JID. Lives as long as `s`. */
struct str sasl_user(const struct sasl *s);
