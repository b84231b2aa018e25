// SPDX-License-Identifier: Apache-2.0
/*
 * From bytes to a message, in four passes: lines, headers, what is mandatory, body. The first rule
 * that is broken decides the refusal; parsing goes on, because the answer needs the other headers.
 */
#include <string.h>

#include "common/mem.h"
#include "common/util.h"
#include "proxyd/sip/msg.h"

enum { ARENA_MAX = 4 * SIP_MESSAGE_MAX };

struct parser {
    struct sip_msg *m;
    char *data; /* ours to unfold in place */
    size_t len;
    size_t at;
    unsigned counts[SIP_HEADER_COUNT];
};

static void refuse(struct sip_msg *m, unsigned code, const char *reason)
{
    if (m->refusal.code == 0)
        m->refusal = (struct sip_refusal){code, reason};
}

/* ---- lines ---- */

/* The next line, without its CRLF; false where none ends any more. */
static bool next_line(struct parser *p, struct str *ret_line)
{
    char *from = p->data + p->at;
    char *end = memmem(from, p->len - p->at, "\r\n", 2);

    if (!end)
        return false;
    *ret_line = str_of_bytes(from, (size_t)(end - from));
    p->at += ret_line->len + 2;
    return true;
}

/* The next header with its continuation lines, whose line ends become spaces (RFC 3261, 7.3.1). */
static bool next_folded(struct parser *p, struct str *ret_line)
{
    struct str line, more;
    const char *from = p->data + p->at;

    if (!next_line(p, &line))
        return false;
    while (line.len && p->at < p->len && (p->data[p->at] == ' ' || p->data[p->at] == '\t')) {
        memset(p->data + p->at - 2, ' ', 2);
        if (!next_line(p, &more))
            return false;
        line = str_of_bytes(from, (size_t)(more.p + more.len - from));
    }
    *ret_line = line;
    return true;
}

static void skip_blank_lines(struct parser *p)
{
    while (p->len - p->at >= 2 && memcmp(p->data + p->at, "\r\n", 2) == 0)
        p->at += 2;
}

/* ---- start line ---- */

static bool parse_status_line(struct sip_msg *m, struct str line)
{
    uint32_t status;

    /* "SIP/2.0 200 OK"; the phrase, and the space before it, may be missing. */
    if (!str_u32(str_sub(line, 8, 3), &status) || status < 100 || status > 699 ||
        (line.len > 11 && line.p[11] != ' '))
        return false;
    m->status = status;
    return true;
}

static void parse_request_uri(struct sip_msg *m, struct str text)
{
    if (text.len > SIP_URI_MAX) {
        refuse(m, 414, "Request-URI Too Long");
        return;
    }
    switch (sip_uri_parse(text, &m->uri)) {
    case 0:
        if (m->uri.headers.len)
            refuse(m, 400, "Headers in Request-URI");
        break;
    case SIP_URI_E_SCHEME:
        refuse(m, 416, "Unsupported URI Scheme");
        break;
    default:
        m->uri.text = text;
        refuse(m, 400, "Malformed Request-URI");
    }
}

static bool is_version(struct str s)
{
    struct str major, minor;
    uint32_t number;

    return str_cut(s, '.', &major, &minor) && str_u32(major, &number) && str_u32(minor, &number);
}

/* "METHOD SP Request-URI SP SIP/2.0". */
static bool parse_request_line(struct sip_msg *m, struct str line)
{
    struct str rest, version;
    size_t at;

    str_cut(line, ' ', &m->method_text, &rest);
    if (!sip_is_token(m->method_text) || m->method_text.len > 64)
        return false;
    m->method = sip_method_of(m->method_text);
    for (at = rest.len; at > 0; at--)
        if (str_istarts(str_sub(rest, at - 1, rest.len), STR(" SIP/")))
            break;
    if (at == 0)
        return false;
    version = str_sub(rest, at + 4, rest.len);
    if (!is_version(version))
        refuse(m, 400, "Malformed Request-Line");
    else if (!str_eq_c(version, "2.0"))
        refuse(m, 505, "Version Not Supported");
    parse_request_uri(m, str_sub(rest, 0, at - 1));
    return true;
}

static bool parse_start_line(struct parser *p)
{
    struct str line;

    skip_blank_lines(p);
    if (!next_line(p, &line))
        return false;
    if (str_istarts(line, STR("SIP/2.0 ")))
        return parse_status_line(p->m, line);
    p->m->request = true;
    return parse_request_line(p->m, line);
}

/* ---- headers ---- */

/* A control character has its place behind a backslash only, in a quoted string. */
static bool is_text(struct str s)
{
    for (size_t i = 0; i < s.len; i++) {
        unsigned char c = (unsigned char)s.p[i];

        if (c == '\r' || c == '\n')
            return false;
        if ((c < ' ' && c != '\t') || c == 0x7f) {
            if (i == 0 || s.p[i - 1] != '\\')
                return false;
        }
    }
    return true;
}

static void add_header(struct parser *p, struct str line)
{
    struct sip_msg *m = p->m;
    struct str name, value;
    struct sip_header *h;

    if (line.len > SIP_LINE_MAX) {
        refuse(m, 513, "Header Too Long");
        return;
    }
    if (!str_cut(line, ':', &name, &value) || line.p[0] == ' ' || line.p[0] == '\t' ||
        !sip_is_token(str_trim(name)) || !is_text(value)) {
        refuse(m, 400, "Malformed Header");
        return;
    }
    h = &m->headers[m->header_count++];
    h->name = str_trim(name);
    h->value = str_trim(value);
    h->id = sip_header_of(h->name);
    p->counts[h->id]++;
}

static size_t count_lines(const struct parser *p)
{
    size_t count = 0;
    struct parser copy = *p;
    struct str line;

    while (count < SIP_HEADERS_MAX && next_line(&copy, &line) && line.len)
        count++;
    return count;
}

/* False when there is no memory. */
static bool parse_headers(struct parser *p)
{
    struct sip_msg *m = p->m;
    size_t max = count_lines(p);
    struct str line;

    m->headers = arena_alloc(&m->arena, (max + 1) * sizeof(*m->headers));
    if (!m->headers)
        return false;
    for (;;) {
        if (!next_folded(p, &line)) {
            refuse(m, 400, "Headers Without End");
            return true;
        }
        if (line.len == 0)
            return true;
        if (m->header_count == max) {
            refuse(m, 513, "Too Many Headers");
            continue;
        }
        add_header(p, line);
    }
}

/* ---- what every message has ---- */

static void check_single(struct parser *p)
{
    static const enum sip_header_id once[] = {
        SIP_HEADER_FROM,         SIP_HEADER_TO,           SIP_HEADER_CALL_ID,
        SIP_HEADER_CSEQ,         SIP_HEADER_MAX_FORWARDS, SIP_HEADER_CONTENT_LENGTH,
        SIP_HEADER_CONTENT_TYPE, SIP_HEADER_EXPIRES,      SIP_HEADER_EVENT,
        SIP_HEADER_SIP_IF_MATCH,
    };

    for (size_t i = 0; i < ARRAY_LEN(once); i++)
        if (p->counts[once[i]] > 1)
            refuse(p->m, 400, "Header Not Allowed Twice");
}

/* Without white space, and not longer than we want to keep. */
static bool is_word(struct str s)
{
    for (size_t i = 0; i < s.len; i++)
        if ((unsigned char)s.p[i] <= ' ' || s.p[i] == 0x7f)
            return false;
    return s.len <= SIP_CALL_ID_MAX;
}

static bool parse_via(struct sip_msg *m)
{
    struct sip_walk walk = {0};
    struct str value;
    size_t count = 0, routes = 0;

    while (sip_msg_next(m, SIP_HEADER_VIA, &walk, &value))
        if (count++ == 0 && (!sip_via_parse(value, &m->via) || !is_word(m->via.branch)))
            return false;
    walk = (struct sip_walk){0};
    while (sip_msg_next(m, SIP_HEADER_ROUTE, &walk, &value))
        routes++;
    if (count > SIP_VIAS_MAX || routes > SIP_ROUTES_MAX)
        refuse(m, 513, "Too Many Hops");
    return count > 0;
}

static void parse_names(struct sip_msg *m)
{
    if (!sip_addr_parse(sip_msg_value(m, SIP_HEADER_FROM), &m->from) || !is_word(m->from.tag))
        refuse(m, 400, "Malformed From");
    if (!sip_addr_parse(sip_msg_value(m, SIP_HEADER_TO), &m->to) || !is_word(m->to.tag))
        refuse(m, 400, "Malformed To");
    m->call_id = sip_msg_value(m, SIP_HEADER_CALL_ID);
    if (m->call_id.len == 0 || !is_word(m->call_id))
        refuse(m, 400, "Malformed Call-ID");
}

static void parse_numbers(struct sip_msg *m)
{
    const struct sip_header *h = sip_msg_find(m, SIP_HEADER_MAX_FORWARDS);
    struct str cseq = sip_msg_value(m, SIP_HEADER_CSEQ);

    if (!sip_cseq_parse(cseq, &m->cseq))
        refuse(m, 400, "Malformed CSeq");
    else if (m->request && !str_eq(m->cseq.method, m->method_text))
        refuse(m, 400, "CSeq of Another Method");
    if (!m->request)
        m->method = sip_method_of(m->cseq.method);
    m->max_forwards = 70;
    if (h && (!str_u32(h->value, &m->max_forwards) || m->max_forwards > 255))
        refuse(m, 400, "Malformed Max-Forwards");
}

static void parse_body(struct parser *p)
{
    struct sip_msg *m = p->m;
    const struct sip_header *h = sip_msg_find(m, SIP_HEADER_CONTENT_LENGTH);
    size_t rest = p->len - p->at;
    uint64_t len = rest;

    if (h && !str_u64(h->value, &len))
        refuse(m, 400, "Malformed Content-Length");
    else if (!h && m->flow.transport != SIP_UDP)
        refuse(m, 400, "Missing Content-Length");
    else if (len > rest)
        refuse(m, 400, "Body Shorter Than Content-Length");
    else
        m->body = str_of_bytes(p->data + p->at, (size_t)len);
}

/* Is there what an answer must repeat? */
static bool can_be_answered(const struct parser *p)
{
    return p->counts[SIP_HEADER_FROM] && p->counts[SIP_HEADER_TO] &&
           p->counts[SIP_HEADER_CALL_ID] && p->counts[SIP_HEADER_CSEQ];
}

static bool parse(struct parser *p)
{
    struct sip_msg *m = p->m;

    if (!parse_start_line(p) || !parse_headers(p) || !can_be_answered(p) || !parse_via(m))
        return false;
    check_single(p);
    parse_names(m);
    parse_numbers(m);
    parse_body(p);
    return m->request || m->refusal.code == 0;
}

struct sip_msg *sip_msg_parse(struct str data, const struct sip_flow *flow)
{
    struct sip_msg *m;
    struct parser p;

    if (data.len > SIP_MESSAGE_MAX)
        return NULL;
    m = mem_new(sizeof(*m));
    arena_init(&m->arena, ARENA_MAX);
    m->flow = *flow;
    p = (struct parser){.m = m, .data = arena_dup_c(&m->arena, data), .len = data.len};
    if (p.data && parse(&p))
        return m;
    sip_msg_free(m);
    return NULL;
}
