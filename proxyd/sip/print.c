// SPDX-License-Identifier: Apache-2.0
#include "proxyd/sip/print.h"

#include <string.h>

#include "common/util.h"

static const struct {
    unsigned code;
    const char *reason;
} reasons[] = {
    // clang-format off
    {100, "Trying"},
    {200, "OK"},
    {202, "Accepted"},
    {400, "Bad Request"},
    {401, "Unauthorized"},
    {403, "Forbidden"},
    {404, "Not Found"},
    {405, "Method Not Allowed"},
    {406, "Not Acceptable"},
    {408, "Request Timeout"},
    {412, "Conditional Request Failed"},
    {413, "Request Entity Too Large"},
    {414, "Request-URI Too Long"},
    {415, "Unsupported Media Type"},
    {416, "Unsupported URI Scheme"},
    {420, "Bad Extension"},
    {423, "Interval Too Brief"},
    {430, "Flow Failed"},
    {480, "Temporarily Unavailable"},
    {481, "Call/Transaction Does Not Exist"},
    {482, "Loop Detected"},
    {483, "Too Many Hops"},
    {489, "Bad Event"},
    {500, "Server Internal Error"},
    {503, "Service Unavailable"},
    {504, "Server Time-out"},
    {505, "Version Not Supported"},
    {513, "Message Too Large"},
    {603, "Decline"},
    // clang-format on
};

const char *sip_reason(unsigned code)
{
    for (size_t i = 0; i < ARRAY_LEN(reasons); i++)
        if (reasons[i].code == code)
            return reasons[i].reason;
    return code < 300 ? "OK" : "Refused";
}

const char *sip_transport_name(enum sip_transport transport)
{
    static const char *const names[] = {
        [SIP_UDP] = "UDP", [SIP_TCP] = "TCP", [SIP_TLS] = "TLS", [SIP_PEER] = "TLS"};

    return names[transport];
}

static void put_line(struct buf *out, struct str name, struct str value)
{
    buf_put_str(out, name);
    buf_put(out, ": ", 2);
    buf_put_str(out, value);
    buf_put(out, "\r\n", 2);
}

void sip_put_field(struct buf *out, enum sip_header_id id, struct str value)
{
    put_line(out, str_of(sip_header_name(id)), value);
}

void sip_put_number(struct buf *out, enum sip_header_id id, uint64_t value)
{
    buf_puts(out, sip_header_name(id));
    buf_put(out, ": ", 2);
    buf_put_u64(out, value);
    buf_put(out, "\r\n", 2);
}

void sip_put_request_line(struct buf *out, enum sip_method method, struct str uri)
{
    buf_puts(out, sip_method_name(method));
    buf_put_c(out, ' ');
    buf_put_str(out, uri);
    buf_puts(out, " SIP/2.0\r\n");
}

/* ---- Via ---- */

void sip_put_via(struct buf *out, enum sip_transport transport, const struct sip_address *self,
                 struct str branch)
{
    buf_puts(out, "Via: SIP/2.0/");
    buf_puts(out, sip_transport_name(transport));
    buf_put_c(out, ' ');
    sip_put_host(out, str_of(self->host));
    buf_put_c(out, ':');
    buf_put_u64(out, self->port);
    buf_puts(out, ";branch=");
    buf_put_str(out, branch);
    buf_puts(out, ";rport\r\n");
}

/* The topmost Via with what we know of where it came from. */
static void put_top_via(struct buf *out, const struct sip_msg *m)
{
    struct str params = m->via.params, name, value;
    const struct sip_address *from = &m->flow.remote;

    buf_puts(out, "SIP/2.0/");
    buf_put_str(out, m->via.transport);
    buf_put_c(out, ' ');
    sip_put_host(out, m->via.host);
    if (m->via.port) {
        buf_put_c(out, ':');
        buf_put_u64(out, m->via.port);
    }
    while (sip_param_next(&params, &name, &value)) {
        if (!str_ieq_c(name, "received") && !str_ieq_c(name, "rport"))
            sip_put_param(out, name, value);
    }
    if (m->via.has_rport || !str_ieq_c(m->via.host, from->host)) {
        buf_puts(out, ";received=");
        buf_puts(out, from->host);
    }
    if (m->via.has_rport) {
        buf_puts(out, ";rport=");
        buf_put_u64(out, from->port);
    }
}

static void put_vias(struct buf *out, const struct sip_msg *m, bool received)
{
    struct sip_walk walk = {0};
    struct str value;
    bool top = true;

    while (sip_msg_next(m, SIP_HEADER_VIA, &walk, &value)) {
        if (!top || received) {
            buf_puts(out, "Via: ");
            if (top)
                put_top_via(out, m);
            else
                buf_put_str(out, value);
            buf_puts(out, "\r\n");
        }
        top = false;
    }
}

/* ---- responses ---- */

static void put_status_line(struct buf *out, unsigned code, struct str reason)
{
    buf_puts(out, "SIP/2.0 ");
    buf_put_u64(out, code);
    buf_put_c(out, ' ');
    buf_put_str(out, reason);
    buf_puts(out, "\r\n");
}

static void put_to(struct buf *out, const struct sip_msg *request, struct str to_tag)
{
    buf_puts(out, "To: ");
    buf_put_str(out, sip_msg_value(request, SIP_HEADER_TO));
    if (request->to.tag.len == 0 && to_tag.len) {
        buf_puts(out, ";tag=");
        buf_put_str(out, to_tag);
    }
    buf_puts(out, "\r\n");
}

void sip_put_response(struct buf *out, const struct sip_msg *request, unsigned code,
                      const char *reason, struct str to_tag)
{
    put_status_line(out, code, str_of(reason ? reason : sip_reason(code)));
    put_vias(out, request, true);
    sip_put_field(out, SIP_HEADER_FROM, sip_msg_value(request, SIP_HEADER_FROM));
    put_to(out, request, to_tag);
    sip_put_field(out, SIP_HEADER_CALL_ID, sip_msg_value(request, SIP_HEADER_CALL_ID));
    sip_put_field(out, SIP_HEADER_CSEQ, sip_msg_value(request, SIP_HEADER_CSEQ));
}

static uint16_t default_port(enum sip_transport transport)
{
    return transport == SIP_TLS || transport == SIP_PEER ? 5061 : 5060;
}

struct sip_flow sip_response_flow(const struct sip_msg *request)
{
    struct sip_flow flow = request->flow;

    if (flow.transport == SIP_UDP && request->via.has_rport)
        return flow;
    flow.remote.port = request->via.port ? request->via.port : default_port(flow.transport);
    return flow;
}

/* ---- bodies ---- */

void sip_put_body(struct buf *out, struct str content_type, struct str body)
{
    if (body.len)
        sip_put_field(out, SIP_HEADER_CONTENT_TYPE, content_type);
    sip_put_number(out, SIP_HEADER_CONTENT_LENGTH, body.len);
    buf_put(out, "\r\n", 2);
    buf_put_str(out, body);
}

void sip_put_body_of(struct buf *out, const struct sip_msg *m)
{
    sip_put_number(out, SIP_HEADER_CONTENT_LENGTH, m->body.len);
    buf_put(out, "\r\n", 2);
    buf_put_str(out, m->body);
}

/* ---- what is passed on ---- */

void sip_put_forwarded(struct buf *out, const struct sip_msg *request, enum sip_transport transport,
                       const struct sip_address *self, struct str branch)
{
    buf_put_str(out, request->method_text);
    buf_put_c(out, ' ');
    buf_put_str(out, request->uri.text);
    buf_puts(out, " SIP/2.0\r\n");
    sip_put_via(out, transport, self, branch);
    put_vias(out, request, true);
    sip_put_number(out, SIP_HEADER_MAX_FORWARDS, request->max_forwards - 1);
    for (size_t i = 0; i < request->header_count; i++) {
        const struct sip_header *h = &request->headers[i];

        if (h->id != SIP_HEADER_VIA && h->id != SIP_HEADER_MAX_FORWARDS &&
            h->id != SIP_HEADER_ROUTE && h->id != SIP_HEADER_AUTHORIZATION &&
            h->id != SIP_HEADER_P_ASSERTED_IDENTITY && h->id != SIP_HEADER_CONTENT_LENGTH)
            put_line(out, h->name, h->value);
    }
}

void sip_put_passed_back(struct buf *out, const struct sip_msg *response)
{
    put_status_line(out, response->status, str_of(sip_reason(response->status)));
    put_vias(out, response, false);
    for (size_t i = 0; i < response->header_count; i++) {
        const struct sip_header *h = &response->headers[i];

        if (h->id != SIP_HEADER_VIA && h->id != SIP_HEADER_CONTENT_LENGTH)
            put_line(out, h->name, h->value);
    }
}

/* ---- dates ---- */

/* Year, month and day of a count of days since 1970-01-01 (proleptic Gregorian calendar, reckoned
 * in years that begin in March). */
static void civil(uint64_t days, unsigned *ret_year, unsigned *ret_month, unsigned *ret_day)
{
    uint64_t z = days + 719468, era = z / 146097;
    unsigned doe = (unsigned)(z % 146097);
    unsigned yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365;
    unsigned doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    unsigned mp = (5 * doy + 2) / 153;

    *ret_day = doy - (153 * mp + 2) / 5 + 1;
    *ret_month = mp < 10 ? mp + 3 : mp - 9;
    *ret_year = (unsigned)(yoe + era * 400) + (*ret_month <= 2);
}

void sip_put_date(struct buf *out, uint64_t unix_ms)
{
    static const char week[] = "ThuFriSatSunMonTueWed";
    static const char months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
    uint64_t seconds = unix_ms / 1000, days = seconds / 86400;
    unsigned year, month, day, of_day = (unsigned)(seconds % 86400);

    civil(days, &year, &month, &day);
    buf_printf(out, "%.3s, %02u %.3s %u %02u:%02u:%02u GMT", week + days % 7 * 3, day,
               months + ((size_t)month - 1) * 3, year, of_day / 3600, of_day / 60 % 60,
               of_day % 60);
}
