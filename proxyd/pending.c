// SPDX-License-Identifier: Apache-2.0
/*
 * Requests that wait for a room's word: PUBLISH and SUBSCRIBE for presenced's, MESSAGE for
 * routerd's.
 *
 * While they wait the request is kept, and when the link to the room breaks it is asked again on
 * the next one: twice is once for an IM, and harmless for the others. A link that stays down for
 * LINK_PATIENCE_MS, or a room that does not answer, ends in 503.
 */
#include <assert.h>

#include "proxyd/proxy_private.h"

static bool is_routerds(const struct pending *w)
{
    return w->kind == PENDING_IM;
}

static struct pending *find(const struct proxy *p, uint64_t id)
{
    struct pending *w;

    HASH_FIND(hh, p->pending, &id, sizeof(id), w);
    return w;
}

static void free_pending(struct pending *w)
{
    HASH_DELETE(hh, w->proxy->pending, w);
    timer_clear(&w->proxy->timers, &w->timer);
    disown(w->user);
    disown(w->target);
    mem_free(w);
}

/* The wait is over; the request is the caller's to answer. */
static struct sip_server *take(struct pending *w)
{
    struct sip_server *s = w->server;

    free_pending(w);
    return s;
}

/* ---- questions ---- */

/* As a C string in the memory of the request; empty if that is full. */
static char *text(struct sip_msg *m, struct str s)
{
    static char nothing[1];
    char *copy = arena_dup_c(&m->arena, s);

    return copy ? copy : nothing;
}

static char *header(struct sip_msg *m, enum sip_header_id id)
{
    return text(m, sip_msg_value(m, id));
}

static ProtobufCBinaryData bytes(struct str s)
{
    return (ProtobufCBinaryData){s.len, (uint8_t *)s.p};
}

static bool ask_publish(struct pending *w, struct sip_msg *m)
{
    Muster__Envelope envelope = MUSTER__ENVELOPE__INIT;
    Muster__Publish publish = MUSTER__PUBLISH__INIT;

    publish.presentity = text(m, w->target);
    publish.etag = header(m, SIP_HEADER_SIP_IF_MATCH);
    publish.has_expires = sip_seconds(sip_msg_value(m, SIP_HEADER_EXPIRES), &publish.expires_s);
    publish.document = bytes(m->body);
    publish.content_type = header(m, SIP_HEADER_CONTENT_TYPE);
    publish.now_unix_ms = w->proxy->now.unix_ms;
    envelope.id = w->id;
    envelope.body_case = MUSTER__ENVELOPE__BODY_PUBLISH;
    envelope.publish = &publish;
    return w->proxy->config.ops->to_presenced(w->proxy->config.ctx, &envelope);
}

/* The route set of a UAS: the Record-Routes in their order (RFC 3261, 12.1.1). */
static void read_routes(struct sip_msg *m, Muster__Dialog *d, char *routes[SIP_ROUTES_MAX])
{
    struct sip_walk walk = {0};
    struct str value;

    d->route_set = routes;
    while (d->n_route_set < SIP_ROUTES_MAX &&
           sip_msg_next(m, SIP_HEADER_RECORD_ROUTE, &walk, &value))
        routes[d->n_route_set++] = text(m, value);
}

static void read_dialog(struct pending *w, struct sip_msg *m, Muster__Dialog *d)
{
    struct sip_addr contact;
    struct buf from;

    buf_init(&from, 1024);
    proxy_put_source(w->proxy, m, &from);
    d->call_id = text(m, m->call_id);
    d->local_tag = text(m, m->to.tag.len ? m->to.tag : str_of(w->tag));
    d->remote_tag = text(m, m->from.tag);
    d->local_uri = text(m, m->to.uri.text);
    d->remote_uri = text(m, m->from.uri.text);
    if (sip_addr_parse(sip_msg_value(m, SIP_HEADER_CONTACT), &contact))
        d->remote_target = text(m, contact.uri.text);
    d->remote_cseq = m->cseq.number;
    d->transport = text(m, str_of(proxy_transport_text(proxy_client_transport(m))));
    d->source = text(m, buf_str(&from));
    buf_done(&from);
}

static bool ask_subscribe(struct pending *w, struct sip_msg *m)
{
    Muster__Envelope envelope = MUSTER__ENVELOPE__INIT;
    Muster__Subscribe subscribe = MUSTER__SUBSCRIBE__INIT;
    Muster__Dialog dialog = MUSTER__DIALOG__INIT;
    char *routes[SIP_ROUTES_MAX];
    struct str event_id;

    read_dialog(w, m, &dialog);
    read_routes(m, &dialog, routes);
    subscribe.presentity = text(m, w->target);
    subscribe.watcher = text(m, w->user);
    subscribe.initial = m->to.tag.len == 0;
    if (sip_value_param(sip_msg_value(m, SIP_HEADER_EVENT), "id", &event_id))
        subscribe.event_id = text(m, event_id);
    subscribe.has_expires = sip_seconds(sip_msg_value(m, SIP_HEADER_EXPIRES), &subscribe.expires_s);
    subscribe.dialog = &dialog;
    subscribe.accept = header(m, SIP_HEADER_ACCEPT);
    envelope.id = w->id;
    envelope.body_case = MUSTER__ENVELOPE__BODY_SUBSCRIBE;
    envelope.subscribe = &subscribe;
    return w->proxy->config.ops->to_presenced(w->proxy->config.ctx, &envelope);
}

static bool ask_im(struct pending *w, struct sip_msg *m)
{
    Muster__Envelope envelope = MUSTER__ENVELOPE__INIT;
    Muster__Im im = MUSTER__IM__INIT;
    struct buf id;

    buf_init(&id, SIP_CALL_ID_MAX + 32);
    buf_put_str(&id, m->call_id);
    buf_put_c(&id, ' ');
    buf_put_u64(&id, m->cseq.number);
    im.from = text(m, w->user);
    im.to = text(m, w->target);
    im.id = text(m, buf_str(&id));
    buf_done(&id);
    im.content_type = header(m, SIP_HEADER_CONTENT_TYPE);
    if (!*im.content_type)
        im.content_type = text(m, STR("text/plain"));
    im.body = bytes(m->body);
    im.sent_unix_ms = w->proxy->now.unix_ms;
    envelope.id = w->id;
    envelope.body_case = MUSTER__ENVELOPE__BODY_IM;
    envelope.im = &im;
    return w->proxy->config.ops->to_routerd(w->proxy->config.ctx, &envelope);
}

/* Asks the room, or waits for its link. */
static void ask(struct pending *w)
{
    static bool (*const questions[])(struct pending * w, struct sip_msg * m) = {
        [PENDING_PUBLISH] = ask_publish,
        [PENDING_SUBSCRIBE] = ask_subscribe,
        [PENDING_IM] = ask_im,
    };
    struct proxy *p = w->proxy;
    bool up = is_routerds(w) ? p->routerd_up : p->presenced_up;
    uint64_t patience = !up ? LINK_PATIENCE_MS : is_routerds(w) ? IM_PATIENCE_MS : ROOM_PATIENCE_MS;

    timer_set(&p->timers, &w->timer, mono_after(p->now.mono, patience));
    /* Its arena is ours to use; what was parsed is not changed. */
    if (up && !questions[w->kind](w, (struct sip_msg *)sip_server_request(w->server)))
        proxy_reply_later(p, take(w));
}

static void on_due(void *owner)
{
    struct pending *w = owner;
    struct proxy *p = w->proxy;

    proxy_reply_later(p, take(w));
}

void pending_start(struct proxy *p, enum pending_kind kind, struct sip_server *s, struct str user,
                   struct str target)
{
    struct pending *w;

    if (HASH_COUNT(p->pending) >= PENDING_MAX) {
        proxy_reply_later(p, s);
        return;
    }
    w = mem_new(sizeof(*w));
    w->proxy = p;
    w->id = ++p->last_id;
    w->kind = kind;
    w->server = s;
    w->user = own(user);
    w->target = own(target);
    timer_init(&w->timer, on_due, w);
    proxy_tag(p, w->tag);
    HASH_ADD(hh, p->pending, id, sizeof(w->id), w);
    ask(w);
}

/* Another link may give up where this one broke; a new one must be asked again. */
void pending_link(struct proxy *p, bool routerd, bool up)
{
    struct pending *w, *next;

    for (w = p->pending; w; w = next) {
        next = w->hh.next;
        if (is_routerds(w) != routerd)
            continue;
        if (up)
            ask(w);
        else
            timer_set(&p->timers, &w->timer, mono_after(p->now.mono, LINK_PATIENCE_MS));
    }
}

void pending_free_all(struct proxy *p)
{
    while (p->pending)
        free_pending(p->pending);
}

/* ---- answers ---- */

/* 503 tells when to come again; a code that is none is a fault of the room's. */
static bool is_plain(struct proxy *p, struct sip_server *s, uint32_t code)
{
    if (code >= 200 && code <= 699 && code != 503)
        return true;
    if (code == 503)
        proxy_reply_later(p, s);
    else
        proxy_reply(p, s, 500, NULL);
    return false;
}

static const char *reason_of(const char *reason)
{
    return *reason ? reason : NULL;
}

void pending_publish_reply(struct proxy *p, uint64_t id, const Muster__PublishReply *reply)
{
    struct pending *w = find(p, id);
    struct sip_server *s;
    struct buf out;

    if (!w || w->kind != PENDING_PUBLISH)
        return;
    s = take(w);
    if (!is_plain(p, s, reply->code))
        return;
    proxy_begin_reply(p, s, reply->code, reason_of(reply->reason), &out);
    if (reply->code < 300) {
        sip_put_field(&out, SIP_HEADER_SIP_ETAG, str_of(reply->etag));
        sip_put_number(&out, SIP_HEADER_EXPIRES, reply->expires_s);
    } else if (reply->code == 423) {
        sip_put_number(&out, SIP_HEADER_MIN_EXPIRES, reply->expires_s);
    } else if (reply->code == 415) {
        sip_put_field(&out, SIP_HEADER_ACCEPT, STR("application/pidf+xml"));
    }
    proxy_end_reply(p, s, reply->code, &out);
}

/* What a response that makes or refreshes a dialog carries (RFC 3261, 12.1.1). */
static void put_dialog(struct proxy *p, const struct sip_msg *m, struct buf *out)
{
    struct sip_walk walk = {0};
    struct str value;

    buf_puts(out, "Contact: <");
    proxy_put_contact_uri(p, proxy_client_transport(m), out);
    buf_puts(out, ">\r\n");
    while (sip_msg_next(m, SIP_HEADER_RECORD_ROUTE, &walk, &value))
        sip_put_field(out, SIP_HEADER_RECORD_ROUTE, value);
}

void pending_subscribe_reply(struct proxy *p, uint64_t id, const Muster__SubscribeReply *reply)
{
    struct pending *w = find(p, id);
    char tag[TAG_CHARS + 1];
    struct sip_server *s;
    struct buf out;

    if (!w || w->kind != PENDING_SUBSCRIBE)
        return;
    for (size_t i = 0; i < sizeof(tag); i++)
        tag[i] = w->tag[i];
    s = take(w);
    if (!is_plain(p, s, reply->code))
        return;
    proxy_begin_reply_tagged(p, s, reply->code, reason_of(reply->reason), str_of(tag), &out);
    if (reply->code < 300) {
        put_dialog(p, sip_server_request(s), &out);
        sip_put_number(&out, SIP_HEADER_EXPIRES, reply->expires_s);
    } else if (reply->code == 423) {
        sip_put_number(&out, SIP_HEADER_MIN_EXPIRES, reply->expires_s);
    }
    proxy_end_reply(p, s, reply->code, &out);
}

void pending_im_reply(struct proxy *p, uint64_t id, const Muster__ImReply *reply)
{
    struct pending *w = find(p, id);

    if (!w || w->kind != PENDING_IM)
        return;
    switch (reply->result) {
    case MUSTER__IM_REPLY__RESULT__ACCEPTED:
        proxy_reply(p, take(w), 200, NULL);
        break;
    case MUSTER__IM_REPLY__RESULT__NOT_FOUND:
        proxy_reply(p, take(w), 404, NULL);
        break;
    case MUSTER__IM_REPLY__RESULT__UNAVAILABLE:
        proxy_reply(p, take(w), 480, NULL);
        break;
    case MUSTER__IM_REPLY__RESULT__REFUSED:
        proxy_reply(p, take(w), 403, NULL);
        break;
    default: /* BUSY, NOT_SERVING, and what a newer router may say */
        proxy_reply_later(p, take(w));
    }
}
