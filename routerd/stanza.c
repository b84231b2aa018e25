// SPDX-License-Identifier: Apache-2.0
#include "routerd/stanza.h"

#include <assert.h>
#include <string.h>

#include "common/mem.h"
#include "routerd/ns.h"

static const struct {
    const char *type;
    const char *condition;
} errors[] = {
    [STANZA_BAD_REQUEST] = {"modify", "bad-request"},
    [STANZA_CONFLICT] = {"cancel", "conflict"},
    [STANZA_FEATURE_NOT_IMPLEMENTED] = {"cancel", "feature-not-implemented"},
    [STANZA_FORBIDDEN] = {"auth", "forbidden"},
    [STANZA_INTERNAL_SERVER_ERROR] = {"wait", "internal-server-error"},
    [STANZA_ITEM_NOT_FOUND] = {"cancel", "item-not-found"},
    [STANZA_JID_MALFORMED] = {"modify", "jid-malformed"},
    [STANZA_NOT_ACCEPTABLE] = {"modify", "not-acceptable"},
    [STANZA_NOT_ALLOWED] = {"cancel", "not-allowed"},
    [STANZA_POLICY_VIOLATION] = {"modify", "policy-violation"},
    [STANZA_RECIPIENT_UNAVAILABLE] = {"wait", "recipient-unavailable"},
    [STANZA_REMOTE_SERVER_NOT_FOUND] = {"cancel", "remote-server-not-found"},
    [STANZA_RESOURCE_CONSTRAINT] = {"wait", "resource-constraint"},
    [STANZA_SERVICE_UNAVAILABLE] = {"cancel", "service-unavailable"},
    [STANZA_UNEXPECTED_REQUEST] = {"wait", "unexpected-request"},
};

static void set(struct arena *a, struct xml_node *node, const char *name, struct str value)
{
    if (node && value.len)
        xml_set(a, node, str_of(name), value);
}

static struct xml_node *answer(struct arena *a, const struct stanza_names *n, struct str type)
{
    struct xml_node *node = xml_element(a, STR(NS_CLIENT), n->name);

    set(a, node, "type", type);
    set(a, node, "id", n->id);
    set(a, node, "from", n->from);
    set(a, node, "to", n->to);
    return node;
}

static struct stanza_names names_of(const struct xml_node *stanza)
{
    return (struct stanza_names){
        .name = stanza->name,
        .id = xml_get(stanza, "id"),
        .from = xml_get(stanza, "to"),
        .to = xml_get(stanza, "from"),
    };
}

struct xml_node *stanza_result(struct arena *a, const struct xml_node *iq)
{
    struct stanza_names names = names_of(iq);

    return answer(a, &names, STR("result"));
}

struct xml_node *stanza_error_of(struct arena *a, const struct stanza_names *names,
                                 enum stanza_error e)
{
    struct xml_node *node = answer(a, names, STR("error"));
    struct xml_node *error = xml_add(a, node, STR(NS_CLIENT), STR("error"));

    set(a, error, "type", str_of(errors[e].type));
    xml_add(a, error, STR(NS_STANZAS), str_of(errors[e].condition));
    return node;
}

struct xml_node *stanza_error(struct arena *a, const struct xml_node *stanza, enum stanza_error e)
{
    struct stanza_names names = names_of(stanza);

    return stanza_error_of(a, &names, e);
}

struct held *held_new(const struct xml_node *node)
{
    struct held *h = mem_new(sizeof(*h));

    arena_init(&h->arena, SIZE_MAX / 2); /* what is copied was within a limit */
    h->node = xml_copy(&h->arena, node);
    return h;
}

void held_free(struct held *h)
{
    if (!h)
        return;
    arena_done(&h->arena);
    mem_free(h);
}

void stanza_print(struct buf *out, const struct xml_node *stanza)
{
    if (stanza)
        xml_print(out, stanza, STR(NS_CLIENT));
}

/* Days since 1970-01-01 to a date of the Gregorian calendar, by eras of 400 years that begin on
 * the first of March. */
static void date_of(uint64_t days, unsigned *ret_year, unsigned *ret_month, unsigned *ret_day)
{
    uint64_t z = days + 719468;
    uint64_t era = z / 146097;
    unsigned day = (unsigned)(z % 146097);
    unsigned year = (day - day / 1460 + day / 36524 - day / 146096) / 365;
    unsigned of_year = day - (365 * year + year / 4 - year / 100);
    unsigned month = (5 * of_year + 2) / 153;

    *ret_day = of_year - (153 * month + 2) / 5 + 1;
    *ret_month = month < 10 ? month + 3 : month - 9;
    *ret_year = (unsigned)(era * 400) + year + (*ret_month <= 2);
}

void stanza_time(uint64_t unix_ms, char ret_text[STANZA_TIME_MAX])
{
    uint64_t s = unix_ms / 1000 % 253402300800; /* before the year 10000 */
    unsigned of_day = (unsigned)(s % 86400);
    unsigned year, month, day;
    struct buf b;

    date_of(s / 86400, &year, &month, &day);
    buf_init(&b, STANZA_TIME_MAX - 1);
    buf_printf(&b, "%04u-%02u-%02uT%02u:%02u:%02uZ", year, month, day, of_day / 3600,
               of_day / 60 % 60, of_day % 60);
    memcpy(ret_text, b.data, b.len + 1);
    buf_done(&b);
}

void stanza_delay(struct buf *out, struct str from, uint64_t unix_ms)
{
    char text[STANZA_TIME_MAX];

    stanza_time(unix_ms, text);
    buf_puts(out, "<delay xmlns=\"" NS_DELAY "\" from=\"");
    xml_escape(out, from);
    buf_puts(out, "\" stamp=\"");
    buf_puts(out, text);
    buf_puts(out, "\"/>");
}

/* Where the root's name ends. */
static size_t name_end(struct str xml)
{
    size_t i = 1;

    while (i < xml.len && xml.p[i] != ' ' && xml.p[i] != '>' && xml.p[i] != '/')
        i++;
    return i;
}

void stanza_insert(struct buf *out, struct str xml, struct str child)
{
    size_t end = name_end(xml);

    assert(xml.len >= 4 && xml.p[0] == '<');
    if (str_ends(xml, STR("/>")) && str_find(xml, '>') == xml.len - 1) {
        buf_put_str(out, str_sub(xml, 0, xml.len - 2));
        buf_put_c(out, '>');
        buf_put_str(out, child);
        buf_puts(out, "</");
        buf_put_str(out, str_sub(xml, 1, end - 1));
        buf_put_c(out, '>');
        return;
    }
    buf_put_str(out, str_sub(xml, 0, xml.len - (end - 1) - 3));
    buf_put_str(out, child);
    buf_put_str(out, str_sub(xml, xml.len - (end - 1) - 3, SIZE_MAX));
}

void stanza_address(struct buf *out, struct str xml, struct str to)
{
    size_t end = name_end(xml);

    buf_put_str(out, str_sub(xml, 0, end));
    buf_puts(out, " to=\"");
    xml_escape(out, to);
    buf_put_c(out, '"');
    buf_put_str(out, str_sub(xml, end, SIZE_MAX));
}
