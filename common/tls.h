// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * TLS contexts: TLS 1.2 and later, AEAD with forward secrecy only, no compression, no
 * renegotiation (RFC 9325). Session tickets use keys that the nodes of a group share, derived from
 * a secret in tls/ticket.key, so that a client resumes on the other node too.
 */
#include <openssl/ssl.h>

#include "common/conf.h"
#include "common/err.h"

enum tls_role {
    TLS_SERVER,        /* clients: no certificate asked for */
    TLS_SERVER_MUTUAL, /* nodes: must show a certificate of our CA */
    TLS_CLIENT_MUTUAL, /* to nodes: ours shown, theirs verified against our CA */
};

/* NULL with a sentence. SSL_CTX_free() it after its last connection. When the files change, new
 * connections get what is in them within a second; old ones keep what they have. The node's
 * certificate carries its name, address and the domain as SAN. */
SSL_CTX *tls_new(enum tls_role role, const struct conf *conf, struct err *ret_err);
