// SPDX-License-Identifier: Apache-2.0
#include "proxyd/sip/uri.h"

#include <string.h>

#include "common/jid.h"
#include "common/util.h"

static bool is_alnum(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

bool sip_is_token(struct str s)
{
    for (size_t i = 0; i < s.len; i++)
        if (!is_alnum(s.p[i]) && (s.p[i] == '\0' || !strchr("-.!%*_+`'~", s.p[i])))
            return false;
    return s.len > 0;
}

/* ---- parameters ---- */

struct str sip_unquote(struct str s)
{
    if (s.len >= 2 && s.p[0] == '"' && s.p[s.len - 1] == '"')
        return str_sub(s, 1, s.len - 2);
    return s;
}

bool sip_param_next(struct str *params, struct str *ret_name, struct str *ret_value)
{
    while (params->len) {
        size_t end = str_find_unquoted(*params, ';');
        struct str item = str_trim(str_sub(*params, 0, end)), name, value;

        *params = str_sub(*params, end + 1, params->len);
        if (item.len == 0)
            continue;
        str_cut(item, '=', &name, &value);
        *ret_name = str_trim(name);
        *ret_value = sip_unquote(str_trim(value));
        return true;
    }
    return false;
}

void sip_put_param(struct buf *out, struct str name, struct str value)
{
    bool quoted = value.len && value.p[-1] == '"';

    buf_put_c(out, ';');
    buf_put_str(out, name);
    if (value.len)
        buf_puts(out, quoted ? "=\"" : "=");
    buf_put_str(out, value);
    if (quoted)
        buf_put_c(out, '"');
}

bool sip_param(struct str params, const char *name, struct str *ret_value)
{
    struct str found, value;

    while (sip_param_next(&params, &found, &value)) {
        if (str_ieq_c(found, name)) {
            *ret_value = value;
            return true;
        }
    }
    return false;
}

/* ---- hosts ---- */

static bool is_hostname(struct str s)
{
    for (size_t i = 0; i < s.len; i++)
        if (!is_alnum(s.p[i]) && s.p[i] != '-' && s.p[i] != '.' && s.p[i] != '_')
            return false;
    return s.len > 0 && s.len <= 255;
}

static bool is_ipv6(struct str s)
{
    for (size_t i = 0; i < s.len; i++)
        if (hex_digit(s.p[i]) < 0 && s.p[i] != ':' && s.p[i] != '.')
            return false;
    return s.len >= 2 && s.len <= 45 && str_find(s, ':') < s.len;
}

bool sip_hostport(struct str text, struct str *ret_host, uint16_t *ret_port)
{
    struct str host, rest, port;
    uint32_t number = 0;

    if (text.len && text.p[0] == '[') {
        if (!str_cut(str_sub(text, 1, text.len), ']', &host, &rest) || !is_ipv6(host))
            return false;
    } else {
        size_t colon = str_find(text, ':');

        host = str_trim(str_sub(text, 0, colon));
        rest = str_sub(text, colon, text.len);
        if (!is_hostname(host))
            return false;
    }
    rest = str_trim(rest);
    if (rest.len) {
        port = str_trim(str_sub(rest, 1, rest.len));
        if (rest.p[0] != ':' || !str_u32(port, &number) || number == 0 || number > UINT16_MAX)
            return false;
    }
    *ret_host = host;
    *ret_port = (uint16_t)number;
    return true;
}

void sip_put_host(struct buf *out, struct str host)
{
    bool brackets = str_find(host, ':') < host.len;

    if (brackets)
        buf_put_c(out, '[');
    buf_put_str(out, host);
    if (brackets)
        buf_put_c(out, ']');
}

/* ---- parsing ---- */

/* Only what a URI may consist of, and every escape complete. */
static bool is_clean(struct str s)
{
    for (size_t i = 0; i < s.len; i++) {
        unsigned char c = (unsigned char)s.p[i];

        if (c <= ' ' || c >= 0x7f || strchr("<>\"\\^`{|}", c))
            return false;
        if (c == '%' && (i + 2 >= s.len || hex_digit(s.p[i + 1]) < 0 || hex_digit(s.p[i + 2]) < 0))
            return false;
    }
    return true;
}

static bool parse_scheme(struct str text, enum sip_scheme *ret_scheme, struct str *ret_rest)
{
    struct str scheme;

    if (!str_cut(text, ':', &scheme, ret_rest) || scheme.len == 0 || !is_alnum(scheme.p[0]))
        return false;
    for (size_t i = 0; i < scheme.len; i++)
        if (!is_alnum(scheme.p[i]) && !strchr("+-.", scheme.p[i]))
            return false;
    *ret_scheme = str_ieq_c(scheme, "sip")    ? SIP_SCHEME_SIP
                  : str_ieq_c(scheme, "sips") ? SIP_SCHEME_SIPS
                                              : SIP_SCHEME_OTHER;
    return true;
}

int sip_uri_parse(struct str text, struct sip_uri *ret_uri)
{
    struct sip_uri uri = {.text = text};
    struct str rest, userinfo;
    size_t at, end;

    if (text.len > SIP_URI_MAX || !is_clean(text) || !parse_scheme(text, &uri.scheme, &rest))
        return SIP_URI_E_MALFORMED;
    if (uri.scheme == SIP_SCHEME_OTHER) {
        *ret_uri = uri;
        return SIP_URI_E_SCHEME;
    }
    /* Neither host nor parameters nor headers may hold a bare '@', a user may hold ';' and '?'. */
    at = str_find(rest, '@');
    if (at < rest.len) {
        userinfo = str_sub(rest, 0, at);
        rest = str_sub(rest, at + 1, rest.len);
        str_cut(userinfo, ':', &uri.user, &uri.password);
        if (uri.user.len == 0 || str_find(rest, '@') < rest.len)
            return SIP_URI_E_MALFORMED;
    }
    end = str_find(rest, '?');
    uri.headers = str_sub(rest, end + 1, rest.len);
    rest = str_sub(rest, 0, end);
    end = str_find(rest, ';');
    uri.params = str_sub(rest, end + 1, rest.len);
    if (!sip_hostport(str_sub(rest, 0, end), &uri.host, &uri.port))
        return SIP_URI_E_MALFORMED;
    *ret_uri = uri;
    return 0;
}

/* ---- comparing ---- */

/* Cuts a character off `s`, its escape undone; an escaped reserved one is not the bare one. */
static int next_char(struct str *s)
{
    unsigned char c = (unsigned char)s->p[0];
    size_t len = 1;
    int code = c;

    if (c == '%' && s->len >= 3 && hex_digit(s->p[1]) >= 0 && hex_digit(s->p[2]) >= 0) {
        code = hex_digit(s->p[1]) * 16 + hex_digit(s->p[2]);
        if (code > 0 && code < 0x80 && strchr(";/?:@&=+$,", code))
            code |= 0x100;
        len = 3;
    }
    *s = str_sub(*s, len, s->len);
    return code;
}

static int lower(int code)
{
    return code >= 'A' && code <= 'Z' ? code | 0x20 : code;
}

static bool same(struct str a, struct str b, bool fold_case)
{
    while (a.len && b.len) {
        int x = next_char(&a), y = next_char(&b);

        if (fold_case ? lower(x) != lower(y) : x != y)
            return false;
    }
    return a.len == b.len;
}

/* Those that must be in both URIs if they are in one. */
static bool is_decisive(struct str name)
{
    static const char *const names[] = {"transport", "user", "method", "maddr", "ttl"};

    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        if (str_ieq_c(name, names[i]))
            return true;
    return false;
}

/* Does `params` agree with name=value? One of that name must have the value, if there is any. */
static bool param_agrees(struct str params, struct str name, struct str value)
{
    struct str found, other;
    bool any = false;

    while (sip_param_next(&params, &found, &other)) {
        if (!same(found, name, true))
            continue;
        if (same(other, value, true))
            return true;
        any = true;
    }
    return !any && !is_decisive(name);
}

/* Does `b` agree with every parameter of `a`? */
static bool params_agree(struct str a, struct str b)
{
    struct str name, value;

    while (sip_param_next(&a, &name, &value))
        if (!param_agrees(b, name, value))
            return false;
    return true;
}

static bool find_header(struct str headers, struct str item)
{
    struct str one;

    do {
        str_cut(headers, '&', &one, &headers);
        if (same(one, item, true))
            return true;
    } while (headers.len);
    return false;
}

/* Is every header of `a` in `b`? */
static bool headers_agree(struct str a, struct str b)
{
    struct str one;

    while (a.len) {
        str_cut(a, '&', &one, &a);
        if (!find_header(b, one))
            return false;
    }
    return true;
}

bool sip_uri_equal(const struct sip_uri *a, const struct sip_uri *b)
{
    if (a->scheme != b->scheme)
        return false;
    if (a->scheme == SIP_SCHEME_OTHER)
        return str_eq(a->text, b->text);
    return same(a->user, b->user, false) && same(a->password, b->password, false) &&
           str_ieq(a->host, b->host) && a->port == b->port && params_agree(a->params, b->params) &&
           params_agree(b->params, a->params) && headers_agree(a->headers, b->headers) &&
           headers_agree(b->headers, a->headers);
}

/* ---- AoRs ---- */

bool sip_uri_aor(struct arena *a, const struct sip_uri *uri, struct str *ret_aor)
{
    struct str user = uri->user;
    struct jid jid;
    char *text;
    size_t len = 0;

    if (uri->scheme == SIP_SCHEME_OTHER || user.len == 0)
        return false;
    text = arena_alloc(a, user.len + uri->host.len + 2);
    if (!text)
        return false;
    while (user.len) {
        int code = next_char(&user) & 0xff;

        /* What would read as another JID names nobody. */
        if (code == 0 || code == '@' || code == '/')
            return false;
        text[len++] = (char)code;
    }
    text[len++] = '@';
    memcpy(text + len, uri->host.p, uri->host.len);
    len += uri->host.len;
    if (jid_parse(a, str_of_bytes(text, len), &jid))
        return false;
    *ret_aor = jid.bare;
    return true;
}

void sip_uri_put_aor(struct buf *out, struct str aor)
{
    static const char hex[] = "0123456789ABCDEF";
    size_t at = str_rfind(aor, '@');

    buf_puts(out, "sip:");
    for (size_t i = 0; i < aor.len; i++) {
        unsigned char c = (unsigned char)aor.p[i];

        if (i >= at || is_alnum((char)c) || (c && strchr("-_.!~*'()&=+$,;?/", c))) {
            buf_put_c(out, (char)c);
        } else {
            buf_put_c(out, '%');
            buf_put_c(out, hex[c >> 4]);
            buf_put_c(out, hex[c & 15]);
        }
    }
}
