// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * A SIP message (RFC 3261, 7): parsed once, by the thread that received it, into views of its own
 * memory. After that it is not changed.
 *
 * What every receiver needs is parsed with it (Via, From, To, Call-ID, CSeq, Max-Forwards, the
 * Request-URI); other headers are looked up when wanted. Header names may be compact, values are
 * unfolded and trimmed, headers with several values keep the lines as they came.
 *
 * A request that breaks a rule is still a message if it can be answered: `refusal` then says how.
 * What cannot be answered is nothing.
 */
#include <stddef.h>

#include "common/arena.h"
#include "proxyd/sip/fields.h"
#include "proxyd/sip/flow.h"

enum {
    SIP_MESSAGE_MAX = 65536, /* bytes; 513 beyond */
    SIP_HEADERS_MAX = 200,
    SIP_LINE_MAX = 8192,
    SIP_VIAS_MAX = 70,
    SIP_ROUTES_MAX = 20,
    SIP_CALL_ID_MAX = 1024, /* also tags and branches */
};

enum sip_method {
    SIP_OTHER_METHOD,
#define METHOD(id, name) SIP_##id,
#include "proxyd/sip/methods.def"
#undef METHOD
};

enum sip_header_id {
    SIP_OTHER_HEADER,
#define HEADER(id, name, compact) SIP_HEADER_##id,
#include "proxyd/sip/headers.def"
#undef HEADER
    SIP_HEADER_COUNT,
};

struct sip_header {
    enum sip_header_id id;
    struct str name; /* as it came */
    struct str value;
};

/* Why a request is refused: the status of the response, and its reason phrase. */
struct sip_refusal {
    unsigned code; /* 0: it is not */
    const char *reason;
};

struct sip_msg {
    struct arena arena;
    struct sip_flow flow; /* where it came from */
    struct sip_refusal refusal;

    bool request;
    enum sip_method method; /* of a response: CSeq's */
    struct str method_text;
    struct sip_uri uri; /* of a request */
    unsigned status;    /* of a response, 100 to 699 */

    struct sip_header *headers;
    size_t header_count;
    struct sip_via via; /* the topmost */
    struct sip_addr from, to;
    struct str call_id;
    struct sip_cseq cseq;
    uint32_t max_forwards; /* 70 when it has none */
    struct str body;
};

/* Parses a copy of `data`, one datagram or one message cut out of a stream. NULL: it is no message,
 * and no answer is due. The caller owns it. */
struct sip_msg *sip_msg_parse(struct str data, const struct sip_flow *flow);
void sip_msg_free(struct sip_msg *m);

/* The first header of that id; NULL when there is none. */
const struct sip_header *sip_msg_find(const struct sip_msg *m, enum sip_header_id id);
/* Its value, empty when there is none. */
struct str sip_msg_value(const struct sip_msg *m, enum sip_header_id id);
/* How many lines of it there are. */
size_t sip_msg_count(const struct sip_msg *m, enum sip_header_id id);

/* Walks over the values of a header, across lines and commas. Start with *at == {0}. */
struct sip_walk {
    size_t line;
    struct str rest;
};
bool sip_msg_next(const struct sip_msg *m, enum sip_header_id id, struct sip_walk *at,
                  struct str *ret_value);

enum sip_method sip_method_of(struct str name);
const char *sip_method_name(enum sip_method method);
enum sip_header_id sip_header_of(struct str name);
const char *sip_header_name(enum sip_header_id id);
