// SPDX-License-Identifier: Apache-2.0
/*
 * NOTIFY for presenced (RFC 6665): in the dialog that it keeps, answered once its transaction ends.
 */
#include <utlist.h>

#include "proxyd/proxy_private.h"

struct notifying {
    struct proxy *proxy;
    uint64_t id; /* of the envelope */
    struct outgoing *outgoing;
    struct notifying *prev, *next;
};

static void answer(struct proxy *p, uint64_t id, unsigned code)
{
    Muster__Envelope envelope = MUSTER__ENVELOPE__INIT;
    Muster__NotifyReply reply = MUSTER__NOTIFY_REPLY__INIT;

    reply.code = code;
    envelope.id = id;
    envelope.body_case = MUSTER__ENVELOPE__BODY_NOTIFY_REPLY;
    envelope.notify_reply = &reply;
    /* Not taken: the link broke, and presenced begins anew. */
    (void)p->config.ops->to_presenced(p->config.ctx, &envelope);
}

static void on_response(void *ctx, unsigned code, const struct sip_msg *response, mono_t now)
{
    struct notifying *n = ctx;
    struct proxy *p = n->proxy;
    uint64_t id = n->id;

    (void)response;
    (void)now;
    DL_DELETE(p->notifying, n);
    mem_free(n);
    answer(p, id, code);
}

static void put_party(struct buf *out, enum sip_header_id id, const char *uri, const char *tag)
{
    buf_printf(out, "%s: <%s>;tag=%s\r\n", sip_header_name(id), uri, tag);
}

static void put_rest(struct buf *out, const Muster__Notify *notify)
{
    const Muster__Dialog *d = notify->dialog;

    for (size_t i = 0; i < d->n_route_set; i++)
        sip_put_field(out, SIP_HEADER_ROUTE, str_of(d->route_set[i]));
    put_party(out, SIP_HEADER_FROM, d->local_uri, d->local_tag);
    put_party(out, SIP_HEADER_TO, d->remote_uri, d->remote_tag);
    sip_put_field(out, SIP_HEADER_CALL_ID, str_of(d->call_id));
    buf_printf(out, "CSeq: %u NOTIFY\r\nMax-Forwards: 70\r\nEvent: presence", d->local_cseq);
    if (*notify->event_id)
        buf_printf(out, ";id=%s", notify->event_id);
    buf_puts(out, "\r\n");
    sip_put_field(out, SIP_HEADER_SUBSCRIPTION_STATE, str_of(notify->subscription_state));
    sip_put_body(out, str_of(notify->content_type),
                 str_of_bytes(notify->document.data, notify->document.len));
}

/* URI of the first route, empty when there is none. */
static struct str first_route(const Muster__Dialog *d)
{
    struct sip_addr route;

    if (d->n_route_set && sip_addr_parse(str_of(d->route_set[0]), &route))
        return route.uri.text;
    return (struct str){"", 0};
}

void notify_start(struct proxy *p, uint64_t id, const Muster__Notify *notify)
{
    const Muster__Dialog *d = notify->dialog;
    struct notifying *n;
    struct buf rest;

    if (!d) {
        answer(p, id, 500);
        return;
    }
    buf_init(&rest, SIP_MESSAGE_MAX);
    put_rest(&rest, notify);
    metrics_add(p->config.metrics, METRIC_NOTIFIES, 1);
    n = mem_new(sizeof(*n));
    n->proxy = p;
    n->id = id;
    DL_APPEND(p->notifying, n);
    n->outgoing = outgoing_start(p, &(struct outgoing_config){
                                        .method = SIP_NOTIFY,
                                        .target = str_of(d->remote_target),
                                        .next_hop = first_route(d),
                                        .transport = str_of(d->transport),
                                        .source = str_of(d->source),
                                        .with_contact = true,
                                        .rest = buf_str(&rest),
                                        .on_response = on_response,
                                        .ctx = n,
                                    });
    buf_done(&rest);
}

void notify_free_all(struct proxy *p)
{
    struct notifying *n;

    while ((n = p->notifying)) {
        DL_DELETE(p->notifying, n);
        mem_free(n);
    }
}
