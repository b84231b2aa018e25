// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Values of header fields, as views. What is given to these functions is one value of a header, or
 * the rest of a list of them.
 */
#include "proxyd/sip/uri.h"

/* Contact, From, To, Route, P-Asserted-Identity: name-addr or addr-spec with parameters. */
struct sip_addr {
    struct str display; /* quotes taken away; may be empty */
    struct sip_uri uri; /* of any scheme */
    struct str params;  /* of the header, for sip_param() */
    struct str tag;     /* the parameter of that name, or empty */
};

/* RFC 3261, 20.42. */
struct sip_via {
    struct str transport; /* "UDP", ... */
    struct str host;
    uint16_t port; /* 0: none */
    struct str params;
    struct str branch;
    bool has_rport; /* RFC 3581 */
};

struct sip_cseq {
    uint32_t number; /* < 2^31 */
    struct str method;
};

/* Digest credentials, RFC 7616: parameters of Authorization. */
struct sip_credentials {
    struct str username, realm, nonce, uri, response, algorithm, cnonce, opaque, qop, nc;
};

/* Cuts the next comma-separated item off *rest, trimmed; commas in quotes and <> do not count.
 * False at the end. Empty items are skipped. */
bool sip_list_next(struct str *rest, struct str *ret_item);

/* All false when malformed; the result is then undefined. */
bool sip_addr_parse(struct str value, struct sip_addr *ret_addr);
bool sip_via_parse(struct str value, struct sip_via *ret_via);
bool sip_cseq_parse(struct str value, struct sip_cseq *ret_cseq);
/* False too for another scheme than Digest. */
bool sip_credentials_parse(struct str value, struct sip_credentials *ret_credentials);

/* Value of `name` among the parameters behind the first `;` of a value such as
 * "presence;id=4" (Event, Subscription-State, Content-Type). */
bool sip_value_param(struct str value, const char *name, struct str *ret_value);
/* The same value without its parameters: "presence". */
struct str sip_value_bare(struct str value);

/* delta-seconds; more than fits is 2^32 - 1 (RFC 3261, 20.19 and 10.2.1.1). */
bool sip_seconds(struct str value, uint32_t *ret_seconds);
