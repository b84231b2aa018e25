// SPDX-License-Identifier: Apache-2.0
#include "proxyd/sip/fields.h"

#include "common/util.h"

/* Offset behind the quoted string that begins at `from`; s.len + 1 if it does not end. */
static size_t skip_quoted(struct str s, size_t from)
{
    for (size_t i = from + 1; i < s.len; i++) {
        if (s.p[i] == '\\')
            i++;
        else if (s.p[i] == '"')
            return i + 1;
    }
    return s.len + 1;
}

/* Offset of the first `c` outside of quotes (and of <>, when `angles`), or s.len. */
static size_t find_bare(struct str s, char c, bool angles)
{
    bool inside = false;

    for (size_t i = 0; i < s.len;) {
        if (s.p[i] == '"') {
            i = skip_quoted(s, i);
            continue;
        }
        if (!inside && s.p[i] == c)
            return i;
        if (angles && s.p[i] == '<')
            inside = true;
        else if (angles && s.p[i] == '>')
            inside = false;
        i++;
    }
    return s.len;
}

bool sip_list_next(struct str *rest, struct str *ret_item)
{
    while (rest->len) {
        size_t end = find_bare(*rest, ',', true);
        struct str item = str_trim(str_sub(*rest, 0, end));

        *rest = str_sub(*rest, end + 1, rest->len);
        if (item.len) {
            *ret_item = item;
            return true;
        }
    }
    return false;
}

/* Tokens and white space, or one quoted string; UTF-8 is let pass unquoted too. */
static bool parse_display(struct str text, struct str *ret_display)
{
    text = str_trim(text);
    if (text.len && text.p[0] == '"') {
        if (skip_quoted(text, 0) != text.len)
            return false;
        *ret_display = str_sub(text, 1, text.len - 2);
        return true;
    }
    for (size_t i = 0; i < text.len; i++) {
        struct str c = str_sub(text, i, 1);

        if (!sip_is_token(c) && c.p[0] != ' ' && c.p[0] != '\t' && (unsigned char)c.p[0] < 0x80)
            return false;
    }
    *ret_display = text;
    return true;
}

static bool quotes_end(struct str s)
{
    for (size_t i = 0; i < s.len;) {
        i = s.p[i] == '"' ? skip_quoted(s, i) : i + 1;
        if (i > s.len)
            return false;
    }
    return true;
}

bool sip_addr_parse(struct str value, struct sip_addr *ret_addr)
{
    struct sip_addr addr = {0};
    size_t open = find_bare(value, '<', false);
    struct str uri, rest;

    if (!quotes_end(value))
        return false;
    if (open < value.len) {
        if (!parse_display(str_sub(value, 0, open), &addr.display) ||
            !str_cut(str_sub(value, open + 1, value.len), '>', &uri, &rest))
            return false;
        rest = str_trim(rest);
        if (rest.len && rest.p[0] != ';')
            return false;
        addr.params = str_sub(rest, 1, rest.len);
    } else {
        /* RFC 3261, 20: without <>, a comma, question mark or semicolon belongs to the header. */
        str_cut(value, ';', &uri, &addr.params);
        uri = str_trim(uri);
        if (str_find(uri, '?') < uri.len || str_find(uri, ',') < uri.len)
            return false;
    }
    if (sip_uri_parse(uri, &addr.uri) == SIP_URI_E_MALFORMED)
        return false;
    if (!sip_param(addr.params, "tag", &addr.tag))
        addr.tag = (struct str){"", 0};
    *ret_addr = addr;
    return true;
}

/* Cuts what is before the next '/' off *rest, trimmed. */
static bool cut_slash(struct str *rest, struct str *ret_part)
{
    struct str part;

    if (!str_cut(*rest, '/', &part, rest))
        return false;
    *ret_part = str_trim(part);
    return true;
}

bool sip_via_parse(struct str value, struct sip_via *ret_via)
{
    struct sip_via via = {0};
    struct str name, version, rest = value, sent_by, unused;
    size_t space = 0;

    if (!cut_slash(&rest, &name) || !cut_slash(&rest, &version) || !str_ieq_c(name, "SIP") ||
        !str_eq_c(version, "2.0"))
        return false;
    rest = str_trim(rest);
    while (space < rest.len && rest.p[space] != ' ' && rest.p[space] != '\t')
        space++;
    via.transport = str_sub(rest, 0, space);
    str_cut(str_sub(rest, space, rest.len), ';', &sent_by, &via.params);
    if (!sip_is_token(via.transport) || !sip_hostport(str_trim(sent_by), &via.host, &via.port))
        return false;
    if (!sip_param(via.params, "branch", &via.branch))
        via.branch = (struct str){"", 0};
    via.has_rport = sip_param(via.params, "rport", &unused);
    *ret_via = via;
    return true;
}

bool sip_cseq_parse(struct str value, struct sip_cseq *ret_cseq)
{
    size_t digits = 0;
    uint32_t number;

    while (digits < value.len && value.p[digits] >= '0' && value.p[digits] <= '9')
        digits++;
    if (!str_u32(str_sub(value, 0, digits), &number) || number > INT32_MAX)
        return false;
    if (digits == value.len || (value.p[digits] != ' ' && value.p[digits] != '\t'))
        return false;
    ret_cseq->number = number;
    ret_cseq->method = str_trim(str_sub(value, digits, value.len));
    return sip_is_token(ret_cseq->method);
}

bool sip_credentials_parse(struct str value, struct sip_credentials *ret_credentials)
{
    struct sip_credentials c = {0};
    const struct {
        const char *name;
        struct str *to;
    } fields[] = {
        {"username", &c.username}, {"realm", &c.realm},
        {"nonce", &c.nonce},       {"uri", &c.uri},
        {"response", &c.response}, {"cnonce", &c.cnonce},
        {"opaque", &c.opaque},     {"algorithm", &c.algorithm},
        {"qop", &c.qop},           {"nc", &c.nc},
    };
    struct str rest = value, item;

    if (!str_istarts(value, STR("Digest ")))
        return false;
    rest = str_sub(rest, 7, rest.len);
    while (sip_list_next(&rest, &item)) {
        struct str name, text;

        if (!str_cut(item, '=', &name, &text))
            return false;
        for (size_t i = 0; i < ARRAY_LEN(fields); i++)
            if (str_ieq_c(str_trim(name), fields[i].name))
                *fields[i].to = sip_unquote(str_trim(text));
    }
    *ret_credentials = c;
    return true;
}

bool sip_value_param(struct str value, const char *name, struct str *ret_value)
{
    struct str bare, params;

    str_cut(value, ';', &bare, &params);
    return sip_param(params, name, ret_value);
}

struct str sip_value_bare(struct str value)
{
    return str_trim(str_sub(value, 0, str_find(value, ';')));
}

bool sip_seconds(struct str value, uint32_t *ret_seconds)
{
    uint64_t seconds = 0;

    if (value.len == 0)
        return false;
    for (size_t i = 0; i < value.len; i++) {
        if (value.p[i] < '0' || value.p[i] > '9')
            return false;
        seconds = seconds * 10 + (uint64_t)(value.p[i] - '0');
        if (seconds > UINT32_MAX)
            seconds = UINT32_MAX;
    }
    *ret_seconds = (uint32_t)seconds;
    return true;
}
