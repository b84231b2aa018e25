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
#include "routerd/sm.h"

enum { SMALL_MAX = 16384, STATUS_MAX = 1023 };

/* ---- one stanza ---- */

/* `xml` has no `to`. */
static void send_to(struct router *r, struct str from, struct str to, struct str type,
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
    send_to(r, from, to, str_of(type), buf_str(&b));
    buf_done(&b);
}

void presence_say(struct account *a, struct str to, const char *type)
{
    presence_send(a->router, str_of(a->aor), to, type);
}

static void put_sip_jid(struct buf *b, const struct account *a)
{
    buf_printf(b, "%s/sip", a->aor);
}

static void put_sip(struct buf *b, const struct account *a)
{
    const struct availability *sip = &a->sip_seen;

    buf_puts(b, "<presence from=\"");
    xml_escape(b, str_of(a->aor));
    buf_puts(b, sip->available ? "/sip\">" : "/sip\" type=\"unavailable\">");
    if (sip->available && sip->show && sip->show[0])
        buf_printf(b, "<show>%s</show>", sip->show);
    if (sip->status && sip->status[0]) {
        buf_puts(b, "<status>");
        xml_escape(b, str_of(sip->status));
        buf_puts(b, "</status>");
    }
    buf_puts(b, "</presence>");
}

/* ---- all resources of an account to one ---- */

static void show_sip(struct account *a, struct str to)
{
    struct buf jid, xml;

    if (!a->sip_seen.available)
        return;
    buf_init(&jid, SMALL_MAX);
    buf_init(&xml, SMALL_MAX);
    put_sip_jid(&jid, a);
    put_sip(&xml, a);
    send_to(a->router, buf_str(&jid), to, str_of(""), buf_str(&xml));
    buf_done(&jid);
    buf_done(&xml);
}

void presence_show(struct account *a, struct str to)
{
    for (struct session *s = a->sessions; s; s = s->next)
        if (s->available)
            send_to(a->router, str_of(s->jid), to, str_of(""), str_of(s->presence));
    show_sip(a, to);
}

void presence_hide(struct account *a, struct str to)
{
    struct buf jid;

    for (struct session *s = a->sessions; s; s = s->next)
        if (s->available)
            presence_send(a->router, str_of(s->jid), to, "unavailable");
    if (!a->sip_seen.available)
        return;
    buf_init(&jid, SMALL_MAX);
    put_sip_jid(&jid, a);
    presence_send(a->router, buf_str(&jid), to, "unavailable");
    buf_done(&jid);
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
            send_to(a->router, str_of(p->from), str_of(i->contact),
                    p->unavailable ? STR("unavailable") : str_of(""), str_of(p->xml));
        if (s)
            greet(a, s, i);
    }
    mem_free(p->from);
    mem_free(p->xml);
    mem_free(p);
}

static void spread(struct account *a, struct str from, struct str xml, bool unavailable,
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

/* ---- presenced ---- */

void presence_tell_device(const struct session *s)
{
    struct router *r = s->router;
    Muster__Envelope e = MUSTER__ENVELOPE__INIT;
    Muster__DeviceStatus m = MUSTER__DEVICE_STATUS__INIT;
    char *resource;

    if (!r->presenced_up)
        return;
    resource = str_dup(s->resource);
    m.user = s->account->aor;
    m.resource = resource;
    m.available = s->available;
    m.show = s->show;
    m.status = s->status;
    m.priority = s->priority;
    m.since_unix_ms = s->since_unix_ms;
    e.body_case = MUSTER__ENVELOPE__BODY_DEVICE_STATUS;
    e.device_status = &m;
    (void)r->ops->to_presenced(r->ctx, &e); /* it is told all when the link is back */
    mem_free(resource);
}

/* Contacts hear what presenced said last. */
static void sip_update(struct account *a)
{
    struct buf jid, xml;

    if (availability_same(&a->sip, &a->sip_seen) || !router_serves(a->router, str_of(a->aor)))
        return;
    availability_set(&a->sip_seen, a->sip.available, str_of(a->sip.show), str_of(a->sip.status),
                     a->sip.since_unix_ms);
    record_put_sip(a->router, a);
    buf_init(&jid, SMALL_MAX);
    buf_init(&xml, SMALL_MAX);
    put_sip_jid(&jid, a);
    put_sip(&xml, a);
    spread(a, buf_str(&jid), buf_str(&xml), !a->sip_seen.available, 0);
    buf_done(&jid);
    buf_done(&xml);
    account_touch(a);
}

static bool is_show(struct str text)
{
    return str_eq_c(text, "away") || str_eq_c(text, "chat") || str_eq_c(text, "dnd") ||
           str_eq_c(text, "xa");
}

void presence_on_availability(struct router *r, const Muster__Availability *m)
{
    struct str status = str_utf8_prefix(str_of(m->status), STATUS_MAX);
    struct account *a;

    if (router_has_no(r, str_of(m->presentity)))
        return;
    a = account_get(r, str_of(m->presentity));
    availability_set(&a->sip, m->available, is_show(str_of(m->show)) ? str_of(m->show) : str_of(""),
                     status, r->now.unix_ms);
    a->sip_old = false;
    sip_update(a);
}

/* What presenced did not say again is gone. */
void presence_on_sync(struct router *r)
{
    struct account *a, *next;

    for (a = r->accounts; a; a = next) {
        next = a->hh.next;
        if (a->sip_old)
            availability_set(&a->sip, false, str_of(""), str_of(""), 0);
        a->sip_old = false;
        sip_update(a);
    }
}

/* "That is all I have." Of users that are not active yet nothing was said: then not. */
static void say_sync(struct router *r)
{
    Muster__Envelope e = MUSTER__ENVELOPE__INIT;
    Muster__PresenceSync sync = MUSTER__PRESENCE_SYNC__INIT;
    bool active = false;

    for (uint32_t home = 1; home <= VIEW_NODES_MAX; home++)
        active |= r->serving[home];
    if (!r->presenced_up || !active)
        return;
    e.body_case = MUSTER__ENVELOPE__BODY_PRESENCE_SYNC;
    e.presence_sync = &sync;
    (void)r->ops->to_presenced(r->ctx, &e);
}

void presence_on_link(struct router *r, bool up)
{
    r->presenced_up = up;
    if (!up)
        return;
    timer_clear(&r->timers, &r->sip_timer); /* it will say all there is */
    for (struct account *a = r->accounts; a; a = a->hh.next)
        a->sip_old = true;
    for (struct session *s = r->sessions; s; s = s->hh.next)
        if (s->available)
            presence_tell_device(s);
    say_sync(r);
}

/* presenced activates the same users and tells those that are available; who is not told by then
 * was told to nobody. */
enum { SIP_CONFIRMED_MS = 10000 };

static void on_unconfirmed(void *owner)
{
    struct router *r = owner;
    struct account *a, *next;

    if (!r->presenced_up)
        return;
    for (a = r->accounts; a; a = next) {
        next = a->hh.next;
        sip_update(a);
    }
}

void presence_init(struct router *r)
{
    timer_init(&r->sip_timer, on_unconfirmed, r);
}

void presence_activated(struct router *r)
{
    struct account *a, *next;

    timer_set(&r->timers, &r->sip_timer, mono_after(r->now.mono, SIP_CONFIRMED_MS));
    for (a = r->accounts; a; a = next) {
        next = a->hh.next;
        if (a->sip.available)
            sip_update(a);
    }
    say_sync(r);
}

/* ---- from clients ---- */

static void copy_text(char **to, struct str text)
{
    mem_free(*to);
    *to = str_dup(text);
}

static int32_t priority_of(struct inbound *in)
{
    struct str text = xml_text(in->arena, xml_child(in->node, NS_CLIENT, "priority"));
    int32_t priority = 0;

    if (!str_i32(str_trim(text), &priority) || priority < -128 || priority > 127)
        return 0;
    return priority;
}

static void take_presence(struct inbound *in, bool available)
{
    struct session *s = in->session;
    struct str show = str_trim(xml_text(in->arena, xml_child(in->node, NS_CLIENT, "show")));
    struct str status = xml_text(in->arena, xml_child(in->node, NS_CLIENT, "status"));
    struct buf xml;

    s->available = available;
    s->priority = available ? priority_of(in) : 0;
    s->since_unix_ms = s->router->now.unix_ms;
    copy_text(&s->show, available && is_show(show) ? show : str_of(""));
    copy_text(&s->status, str_utf8_prefix(status, STATUS_MAX));
    buf_init(&xml, STANZA_BYTES_MAX);
    stanza_print(&xml, in->node);
    copy_text(&s->presence, buf_str(&xml));
    buf_done(&xml);
}

/* Others of the same user are told to one that has just come. */
static void meet_own(struct session *s)
{
    struct buf b;

    for (struct session *o = s->account->sessions; o; o = o->next) {
        if (o == s || !o->available)
            continue;
        buf_init(&b, STANZA_BYTES_MAX);
        stanza_address(&b, str_of(o->presence), str_of(s->jid));
        session_send_bytes(s, buf_str(&b));
        buf_done(&b);
    }
    show_sip(s->account, str_of(s->jid));
}

static void forget_directed(struct session *s, bool tell)
{
    struct directed *d, *next;

    for (d = s->directed; d; d = next) {
        next = d->hh.next;
        HASH_DELETE(hh, s->directed, d);
        if (tell)
            presence_send(s->router, str_of(s->jid), str_of(d->jid), "unavailable");
        mem_free(d);
    }
}

static void broadcast(struct inbound *in, bool available)
{
    struct session *s = in->session;
    bool initial = available && !s->available;
    bool was_reachable = session_is_reachable(s);

    if (!available && !s->available) {
        sm_complete(s, in->number);
        return;
    }
    take_presence(in, available);
    if (!available)
        forget_directed(s, true);
    session_record(s);
    presence_tell_device(s);
    if (initial)
        meet_own(s);
    spread(s->account, str_of(s->jid), str_of(s->presence), !available, initial ? s->number : 0);
    sm_complete(s, in->number);
    if (!was_reachable && session_is_reachable(s))
        offline_kick(s->router, str_of(s->account->aor));
}

bool presence_add_directed(struct session *s, struct str jid)
{
    struct directed *d;

    HASH_FIND(hh, s->directed, jid.p, jid.len, d);
    if (d)
        return true;
    if (HASH_COUNT(s->directed) >= PRESENCE_DIRECTED_MAX)
        return false;
    d = mem_new(sizeof(*d) + jid.len + 1);
    memcpy(d->jid, jid.p, jid.len);
    HASH_ADD(hh, s->directed, jid, jid.len, d);
    return true;
}

static void remove_directed(struct session *s, struct str jid)
{
    struct directed *d;

    HASH_FIND(hh, s->directed, jid.p, jid.len, d);
    if (!d)
        return;
    HASH_DELETE(hh, s->directed, d);
    mem_free(d);
}

/* RFC 6121, 4.6. */
static void direct(struct inbound *in, bool available)
{
    struct session *s = in->session;
    struct buf xml;

    if (available && !presence_add_directed(s, in->to.full)) {
        client_refuse(in, STANZA_POLICY_VIOLATION);
        return;
    }
    if (!available)
        remove_directed(s, in->to.full);
    session_record(s);
    buf_init(&xml, STANZA_BYTES_MAX);
    stanza_print(&xml, in->node);
    (void)route_stanza(s->router, &(struct routed){.from = str_of(s->jid),
                                                   .to = in->to.full,
                                                   .name = STR("presence"),
                                                   .type = in->type,
                                                   .id = in->id,
                                                   .xml = buf_str(&xml)});
    buf_done(&xml);
    sm_complete(s, in->number);
}

void client_presence(struct inbound *in)
{
    bool available = str_empty(in->type);
    bool subscription = str_eq_c(in->type, "subscribe") || str_eq_c(in->type, "subscribed") ||
                        str_eq_c(in->type, "unsubscribe") || str_eq_c(in->type, "unsubscribed");

    if (subscription)
        subscription_client(in);
    else if (!available && !str_eq_c(in->type, "unavailable"))
        sm_complete(in->session, in->number); /* errors, and probes, which are ours to send */
    else if (!in->has_to)
        broadcast(in, available);
    else if (str_empty(in->to.local))
        sm_complete(in->session, in->number); /* the server watches nobody */
    else
        direct(in, available);
}

void presence_session_gone(struct session *s)
{
    struct buf xml;

    if (!s->available) {
        forget_directed(s, true);
        return;
    }
    s->available = false;
    presence_tell_device(s);
    buf_init(&xml, SMALL_MAX);
    put_plain(&xml, str_of(s->jid), "unavailable");
    spread(s->account, str_of(s->jid), buf_str(&xml), true, 0);
    buf_done(&xml);
    forget_directed(s, true);
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
