// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * SIP and SIPS URIs (RFC 3261, 19.1) as views into their text.
 */
#include <stdbool.h>
#include <stdint.h>

#include "common/arena.h"
#include "common/buf.h"
#include "common/str.h"

enum { SIP_URI_MAX = 2048 };

enum sip_scheme { SIP_SCHEME_OTHER, SIP_SCHEME_SIP, SIP_SCHEME_SIPS };

struct sip_uri {
    struct str text; /* the whole */
    enum sip_scheme scheme;
    struct str user;     /* still escaped; may be empty */
    struct str password; /* obsolete, and may be empty */
    struct str host;     /* an IPv6 address without its brackets */
    uint16_t port;       /* 0: none was given */
    struct str params;   /* what is between the first ';' and '?', without either */
    struct str headers;  /* what follows '?' */
};

enum {
    SIP_URI_E_MALFORMED = 1, /* 400 */
    SIP_URI_E_SCHEME = 2,    /* a URI of another scheme (416); text and scheme are set */
};

/* 0 or SIP_URI_E_...; *ret_uri is written only with 0 and SIP_URI_E_SCHEME. */
int sip_uri_parse(struct str text, struct sip_uri *ret_uri) __attribute__((warn_unused_result));

/* RFC 3261, 19.1.4. */
bool sip_uri_equal(const struct sip_uri *a, const struct sip_uri *b);

/* "user@host", unescaped and prepared as a bare JID, in `a`; false where the URI names no user. */
bool sip_uri_aor(struct arena *a, const struct sip_uri *uri, struct str *ret_aor);

/* Appends the scheme and an AoR, escaped where RFC 3261 wants it: "sip:alice@muster.test". */
void sip_uri_put_aor(struct buf *out, struct str aor);

/* Value of `name` in "a=1;b;c="x"" (separated by `;`): empty for a flag; false when absent. Quotes
 * around a value are taken away, escapes within are kept. */
bool sip_param(struct str params, const char *name, struct str *ret_value);

/* Without the double quotes around it, if there are; escapes within are kept. */
struct str sip_unquote(struct str s);

/* Cuts the next "name=value" off *params; false at the end. */
bool sip_param_next(struct str *params, struct str *ret_name, struct str *ret_value);

/* Appends ";name=value", with the quotes that sip_param_next() took away. */
void sip_put_param(struct buf *out, struct str name, struct str value);

/* A host as RFC 3261 has it: name, IPv4 address or IPv6 reference, with an optional port. */
bool sip_hostport(struct str text, struct str *ret_host, uint16_t *ret_port);

/* Appends host, in brackets if it is an IPv6 address. */
void sip_put_host(struct buf *out, struct str host);

/* "1*(alphanum / -.!%*_+`'~)". */
bool sip_is_token(struct str s);
