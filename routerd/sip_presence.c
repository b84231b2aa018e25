// SPDX-License-Identifier: Apache-2.0
#include "routerd/sip_presence.h"

#include "routerd/account.h"
#include "routerd/presence.h"
#include "routerd/records.h"
#include "routerd/session.h"

enum { SMALL_MAX = 16384, STATUS_MAX = 1023 };

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

void sip_show(struct account *a, struct str to)
{
    struct buf jid, xml;

    if (!a->sip_seen.available)
        return;
    buf_init(&jid, SMALL_MAX);
    buf_init(&xml, SMALL_MAX);
    put_sip_jid(&jid, a);
    put_sip(&xml, a);
    presence_send_xml(a->router, buf_str(&jid), to, str_of(""), buf_str(&xml));
    buf_done(&jid);
    buf_done(&xml);
}

void sip_hide(struct account *a, struct str to)
{
    struct buf jid;

    if (!a->sip_seen.available)
        return;
    buf_init(&jid, SMALL_MAX);
    put_sip_jid(&jid, a);
    presence_send(a->router, buf_str(&jid), to, "unavailable");
    buf_done(&jid);
}

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
    presence_spread(a, buf_str(&jid), buf_str(&xml), !a->sip_seen.available, 0);
    buf_done(&jid);
    buf_done(&xml);
    account_touch(a);
}

void presence_on_availability(struct router *r, const Muster__Availability *m)
{
    struct str status = str_utf8_prefix(str_of(m->status), STATUS_MAX);
    struct account *a;

    if (router_has_no(r, str_of(m->presentity)))
        return;
    a = account_get(r, str_of(m->presentity));
    availability_set(&a->sip, m->available,
                     presence_is_show(str_of(m->show)) ? str_of(m->show) : str_of(""), status,
                     r->now.unix_ms);
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

void sip_presence_init(struct router *r)
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
