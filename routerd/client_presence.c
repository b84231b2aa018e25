// SPDX-License-Identifier: Apache-2.0
/*
 * Presence that clients send: broadcast (RFC 6121, 4.2 to 4.5) and directed (4.6).
 */
#include <string.h>

#include "routerd/client.h"
#include "routerd/ns.h"
#include "routerd/offline.h"
#include "routerd/presence.h"
#include "routerd/session.h"
#include "routerd/sip_presence.h"
#include "routerd/sm.h"

enum { STATUS_MAX = 1023 };

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
    copy_text(&s->show, available && presence_is_show(show) ? show : str_of(""));
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
    sip_show(s->account, str_of(s->jid));
}

void presence_forget_directed(struct session *s, bool tell)
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
        presence_forget_directed(s, true);
    session_record(s);
    presence_tell_device(s);
    if (initial)
        meet_own(s);
    presence_spread(s->account, str_of(s->jid), str_of(s->presence), !available,
                    initial ? s->number : 0);
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
