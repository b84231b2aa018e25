// SPDX-License-Identifier: Apache-2.0
#include "common/str.h"

#include <limits.h>
#include <string.h>

#include "common/mem.h"

static char lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c | 0x20) : c;
}

struct str str_of(const char *s)
{
    return s ? (struct str){s, strlen(s)} : (struct str){"", 0};
}

struct str str_of_bytes(const void *p, size_t len)
{
    return len ? (struct str){p, len} : (struct str){"", 0};
}

bool str_empty(struct str s)
{
    return s.len == 0;
}

bool str_eq(struct str a, struct str b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.p, b.p, a.len) == 0);
}

bool str_eq_c(struct str a, const char *b)
{
    return str_eq(a, str_of(b));
}

bool str_ieq(struct str a, struct str b)
{
    if (a.len != b.len)
        return false;
    for (size_t i = 0; i < a.len; i++)
        if (lower(a.p[i]) != lower(b.p[i]))
            return false;
    return true;
}

bool str_ieq_c(struct str a, const char *b)
{
    return str_ieq(a, str_of(b));
}

bool str_starts(struct str s, struct str prefix)
{
    return s.len >= prefix.len && str_eq(str_sub(s, 0, prefix.len), prefix);
}

bool str_istarts(struct str s, struct str prefix)
{
    return s.len >= prefix.len && str_ieq(str_sub(s, 0, prefix.len), prefix);
}

bool str_ends(struct str s, struct str suffix)
{
    return s.len >= suffix.len && str_eq(str_sub(s, s.len - suffix.len, suffix.len), suffix);
}

int str_cmp(struct str a, struct str b)
{
    size_t len = a.len < b.len ? a.len : b.len;
    int order = len ? memcmp(a.p, b.p, len) : 0;

    return order ? order : (a.len > b.len) - (a.len < b.len);
}

size_t str_find(struct str s, char c)
{
    const char *at = s.len ? memchr(s.p, c, s.len) : NULL;

    return at ? (size_t)(at - s.p) : s.len;
}

size_t str_rfind(struct str s, char c)
{
    for (size_t i = s.len; i > 0; i--)
        if (s.p[i - 1] == c)
            return i - 1;
    return s.len;
}

size_t str_find_unquoted(struct str s, char c)
{
    bool quoted = false;

    for (size_t i = 0; i < s.len; i++) {
        if (quoted && s.p[i] == '\\')
            i++;
        else if (s.p[i] == '"')
            quoted = !quoted;
        else if (!quoted && s.p[i] == c)
            return i;
    }
    return s.len;
}

struct str str_sub(struct str s, size_t from, size_t len)
{
    if (from >= s.len)
        return (struct str){"", 0};
    return (struct str){s.p + from, len < s.len - from ? len : s.len - from};
}

bool str_cut(struct str s, char c, struct str *ret_head, struct str *ret_tail)
{
    size_t at = str_find(s, c);

    *ret_head = str_sub(s, 0, at);
    *ret_tail = str_sub(s, at + 1, s.len);
    return at < s.len;
}

static bool is_space(char c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

struct str str_trim(struct str s)
{
    while (s.len && is_space(s.p[0])) {
        s.p++;
        s.len--;
    }
    while (s.len && is_space(s.p[s.len - 1]))
        s.len--;
    return s;
}

bool str_u64(struct str s, uint64_t *ret_value)
{
    uint64_t value = 0;

    if (s.len == 0)
        return false;
    for (size_t i = 0; i < s.len; i++) {
        unsigned digit = (unsigned)(s.p[i] - '0');

        if (digit > 9 || value > (UINT64_MAX - digit) / 10)
            return false;
        value = value * 10 + digit;
    }
    *ret_value = value;
    return true;
}

bool str_u32(struct str s, uint32_t *ret_value)
{
    uint64_t value;

    if (!str_u64(s, &value) || value > UINT32_MAX)
        return false;
    *ret_value = (uint32_t)value;
    return true;
}

bool str_i32(struct str s, int32_t *ret_value)
{
    bool negative = s.len && s.p[0] == '-';
    uint64_t value;

    if (!str_u64(str_sub(s, negative ? 1 : 0, s.len), &value) || value > INT32_MAX)
        return false;
    *ret_value = negative ? -(int32_t)value : (int32_t)value;
    return true;
}

char *str_dup(struct str s)
{
    return mem_dup(s.p, s.len);
}

uint64_t str_hash(struct str s)
{
    uint64_t hash = 0xcbf29ce484222325;

    for (size_t i = 0; i < s.len; i++)
        hash = (hash ^ (unsigned char)s.p[i]) * 0x100000001b3;
    return hash;
}

/* Length of the character at `p`, 0 if it is not well-formed (RFC 3629, section 4). */
static size_t utf8_length(const unsigned char *p, size_t left)
{
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    size_t len = *p < 0x80 ? 1 : *p < 0xc2 ? 0 : *p < 0xe0 ? 2 : *p < 0xf0 ? 3 : *p < 0xf5 ? 4 : 0;
    uint32_t code;

    if (len <= 1)
        return *p ? len : 0;
    if (len > left)
        return 0;
    code = *p & (0x7fu >> len);
    for (size_t i = 1; i < len; i++) {
        if ((p[i] & 0xc0) != 0x80)
            return 0;
        code = code << 6 | (p[i] & 0x3fu);
    }
    if (code < least[len] || code > 0x10ffff || (code >= 0xd800 && code <= 0xdfff))
        return 0;
    return len;
}

bool str_utf8(struct str s)
{
    for (size_t i = 0; i < s.len;) {
        size_t len = utf8_length((const unsigned char *)s.p + i, s.len - i);

        if (len == 0)
            return false;
        i += len;
    }
    return true;
}

struct str str_utf8_prefix(struct str s, size_t max)
{
    if (s.len <= max)
        return s;
    while (max > 0 && ((unsigned char)s.p[max] & 0xc0) == 0x80)
        max--;
    return str_sub(s, 0, max);
}
