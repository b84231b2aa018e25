// SPDX-License-Identifier: Apache-2.0
#include "routerd/presence.h"

#include <string.h>

#include "common/jid.h"
#include "routerd/account.h"
#include "routerd/client.h"
#include "routerd/ns.h"
#include "routerd/offline.h"
#include "routerd/records.h"
#include "routerd/roster.h"
#include "routerd/session.h"
#include "routerd/sip_presence.h"
#include "routerd/sm.h"

enum { SMALL_MAX = 16384, LINK_TRUST_MS = 10000 };

/* ---- one stanza ---- */

bool presence_is_show(struct str text)
{
    return str_eq_c(text, "away") || str_eq_c(text, "chat") || str_eq_c(text, "dnd") ||
           str_eq_c(text, "xa");
}

/* `xml` has no `to`. */
void presence_send_xml(struct router *r, struct str from, struct str to, struct str type,
                       struct str xml)
{
    struct buf b;

    buf_init(&b, STANZA_BYTES_MAX);
    stanza_address(&b, xml, to);
    if (!b.full)
        (void)route_stanza(r, &(struct routed){.from = from,
                                               .to = to,
                                               .name = STR("presence"),
                                               .type = type,
                                               .id = str_of(""),
                                               .xml = buf_str(&b)});
    buf_done(&b);
}

/* <presence from="" type=""/> */
static void put_plain(struct buf *b, struct str from, const char *type)
{
    buf_puts(b, "<presence from=\"");
    xml_escape(b, from);
    buf_printf(b, "\" type=\"%s\"/>", type);
}

void presence_send(struct router *r, struct str from, struct str to, const char *type)
{
    struct buf b;

    buf_init(&b, SMALL_MAX);
    put_plain(&b, from, type);
    presence_send_xml(r, from, to, str_of(type), buf_str(&b));
    buf_done(&b);
}

void presence_say(struct account *a, struct str to, const char *type)
{
    presence_send(a->router, str_of(a->aor), to, type);
}

/* ---- all resources of an account to one ---- */

void presence_show(struct account *a, struct str to)
{
    for (struct session *s = a->sessions; s; s = s->next)
        if (s->available)
            presence_send_xml(a->router, str_of(s->jid), to, str_of(""), str_of(s->presence));
    sip_show(a, to);
}

void presence_hide(struct account *a, struct str to)
{
    for (struct session *s = a->sessions; s; s = s->next)
        if (s->available)
            presence_send(a->router, str_of(s->jid), to, "unavailable");
    sip_hide(a, to);
}

/* ---- one resource to all ---- */

/* A broadcast that may have to wait for the roster. */
struct spread {
    char *from; /* full JID */
    char *xml;  /* without `to` */
    bool unavailable;
    uint64_t initial; /* number of the session if this is its initial presence; else 0 */
};

static void to_own_sessions(struct account *a, const struct spread *p)
{
    struct buf b;

    for (struct session *s = a->sessions; s; s = s->next) {
        if (!s->available || s->doomed)
            continue;
        buf_init(&b, STANZA_BYTES_MAX);
        stanza_address(&b, str_of(p->xml), str_of(s->jid));
        session_send_bytes(s, buf_str(&b));
        buf_done(&b);
    }
}

/* What a session that has just become available is told of contacts (4.2.2, 3.1.2, 3.1.3). */
static void greet(struct account *a, struct session *s, const struct roster_item *item)
{
    struct router *r = a->router;
    struct buf b;

    if (roster_has(item, SUBSCRIPTION_TO))
        presence_send(r, str_of(s->jid), str_of(item->contact), "probe");
    else if (item->ask)
        presence_say(a, str_of(item->contact), "subscribe");
    if (!item->pending_in)
        return;
    buf_init(&b, SMALL_MAX);
    buf_puts(&b, "<presence from=\"");
    xml_escape(&b, str_of(item->contact));
    buf_puts(&b, "\" to=\"");
    xml_escape(&b, str_of(a->aor));
    buf_puts(&b, "\" type=\"subscribe\"/>");
    session_send_bytes(s, buf_str(&b));
    buf_done(&b);
}

static void on_roster(struct account *a, bool loaded, void *data)
{
    struct spread *p = data;
    struct session *s = p->initial ? session_find(a->router, p->initial) : NULL;

    for (struct roster_item *i = loaded ? a->roster.items : NULL; i; i = i->hh.next) {
        if (roster_has(i, SUBSCRIPTION_FROM))
            presence_send_xml(a->router, str_of(p->from), str_of(i->contact),
                              p->unavailable ? STR("unavailable") : str_of(""), str_of(p->xml));
        if (s)
            greet(a, s, i);
    }
    mem_free(p->from);
    mem_free(p->xml);
    mem_free(p);
}

void presence_spread(struct account *a, struct str from, struct str xml, bool unavailable,
                     uint64_t initial)
{
    struct spread *p = mem_new(sizeof(*p));

    p->from = str_dup(from);
    p->xml = str_dup(xml);
    p->unavailable = unavailable;
    p->initial = initial;
    to_own_sessions(a, p);
    roster_with(a, on_roster, p);
}

/* ---- the session as a whole ---- */

void presence_repeat_since(struct router *r, uint64_t unix_ms)
{
    for (struct session *s = r->sessions; s; s = s->hh.next)
        if (s->available && !s->doomed && s->since_unix_ms >= unix_ms)
            presence_spread(s->account, str_of(s->jid), str_of(s->presence), false, 0);
}

/* A link is trusted to have delivered what was sent LINK_TRUST_MS before it broke, unless it broke
 * so soon that what was repeated on it may be lost, too. */
void presence_on_node_link(struct router *r, uint32_t node, bool up)
{
    struct link_age *age = &r->links[node];

    if (node > VIEW_NODES_MAX)
        return;
    if (up) {
        if (age->lost_since_unix_ms)
            presence_repeat_since(r, age->lost_since_unix_ms);
        age->up_at = r->now.mono;
        return;
    }
    if (!age->lost_since_unix_ms ||
        mono_reached(r->now.mono, mono_after(age->up_at, LINK_TRUST_MS)))
        age->lost_since_unix_ms = r->now.unix_ms - LINK_TRUST_MS;
}

void presence_session_gone(struct session *s)
{
    struct buf xml;

    if (!s->available) {
        presence_forget_directed(s, true);
        return;
    }
    s->available = false;
    presence_tell_device(s);
    buf_init(&xml, SMALL_MAX);
    put_plain(&xml, str_of(s->jid), "unavailable");
    presence_spread(s->account, str_of(s->jid), buf_str(&xml), true, 0);
    buf_done(&xml);
    presence_forget_directed(s, true);
}

/* ---- from others ---- */

static void on_probe(struct account *a, bool loaded, void *data)
{
    struct str from = str_of(data);

    if (!loaded) {
        mem_free(data);
        return;
    }
    if (!roster_has(roster_find(a, jid_bare(from)), SUBSCRIPTION_FROM))
        presence_say(a, jid_bare(from), "unsubscribed");
    else if (!a->sessions && !a->sip_seen.available)
        presence_say(a, from, "unavailable");
    else
        presence_show(a, from);
    mem_free(data);
}

static void probe_in(struct account *a, const struct routed *st)
{
    roster_with(a, on_probe, str_dup(st->from));
}

static void to_sessions(struct router *r, const struct routed *st, bool all)
{
    struct jid to = jid_split(st->to);
    struct account *a = account_find(r, to.bare);

    for (struct session *s = a ? a->sessions : NULL; s; s = s->next)
        if (str_empty(to.resource) ? all && s->available && !s->doomed
                                   : str_eq(s->resource, to.resource))
            session_send_bytes(s, st->xml);
}

void presence_in(struct router *r, const struct routed *st)
{
    if (str_empty(st->type) || str_eq_c(st->type, "unavailable"))
        to_sessions(r, st, true);
    else if (str_eq_c(st->type, "error"))
        to_sessions(r, st, false);
    else if (str_eq_c(st->type, "probe"))
        probe_in(account_get(r, jid_bare(st->to)), st);
    else
        subscription_in(account_get(r, jid_bare(st->to)), st);
}
