// SPDX-License-Identifier: Apache-2.0
/*
 * Requests that we make: where they go (RFC 3263, as far as a device on a binding or in a dialog
 * needs it), and what is tried next when they cannot be sent.
 *
 *     1. the stream connection that the device itself opened, to us or another node, if it is there
 *     2. TCP, where a request is too large for a datagram (RFC 3261, 18.1.1) and UDP was not asked
 * for
 *     3. what the URI says
 *
 * The next step is taken when it could not be sent; silence is told as it is.
 */
#include "proxyd/proxy_private.h"

enum { DATAGRAM_MAX = 1300 };

enum step { STEP_REUSE, STEP_LARGE, STEP_PLAIN, STEPS };

struct outgoing {
    struct proxy *proxy;
    uint64_t id;
    struct outgoing_config config; /* its strings are ours */
    enum sip_transport transport;
    bool explicit_transport;
    enum step step;
    struct sip_address address; /* of the next hop; port 0: not known yet */
    struct sip_client *client;
    unsigned failure;   /* told by the timer */
    struct timer timer; /* so that nothing is told from within outgoing_start() */
    UT_hash_handle hh;
};

static void take_step(struct outgoing *o);

/* ---- birth and death ---- */

static void free_outgoing(struct outgoing *o)
{
    struct proxy *p = o->proxy;

    HASH_DELETE(hh, p->outgoing, o);
    timer_clear(&p->timers, &o->timer);
    disown(o->config.target);
    disown(o->config.next_hop);
    disown(o->config.source);
    disown(o->config.branch);
    disown(o->config.rest);
    mem_free(o);
}

static void finish(struct outgoing *o, unsigned code, const struct sip_msg *response)
{
    struct proxy *p = o->proxy;
    sip_client_cb *on_response = o->config.on_response;
    void *ctx = o->config.ctx;

    free_outgoing(o);
    on_response(ctx, code, response, p->now.mono);
}

static void on_due(void *owner)
{
    struct outgoing *o = owner;

    finish(o, o->failure, NULL);
}

static void fail_soon(struct outgoing *o, unsigned code)
{
    o->failure = code;
    timer_set(&o->proxy->timers, &o->timer, o->proxy->now.mono);
}

void outgoing_cancel(struct outgoing *o)
{
    if (o->client)
        sip_client_cancel(o->client);
    free_outgoing(o);
}

void outgoing_free_all(struct proxy *p)
{
    while (p->outgoing)
        free_outgoing(p->outgoing);
}

/* ---- the request ---- */

static void put_request(const struct outgoing *o, const struct sip_flow *to, struct str branch,
                        struct buf *out)
{
    struct sip_address self = proxy_self(o->proxy, to->transport);

    sip_put_request_line(out, o->config.method, o->config.target);
    sip_put_via(out, to->transport, &self, branch);
    if (to->transport == SIP_PEER)
        forward_put_route(out, &to->remote, o->transport,
                          str_sub(o->config.source, 0, str_find(o->config.source, ' ')));
    if (o->config.with_contact) {
        buf_puts(out, "Contact: <");
        proxy_put_contact_uri(o->proxy, to->transport == SIP_PEER ? o->transport : to->transport,
                              out);
        buf_puts(out, ">\r\n");
    }
    buf_put_str(out, o->config.rest);
}

/* 430: the other node does not have the connection any more (RFC 5626, 11.5). */
static bool was_not_sent(unsigned code, const struct sip_msg *response)
{
    return response ? code == 430 : code == 503;
}

static void on_client(void *ctx, unsigned code, const struct sip_msg *response, mono_t now)
{
    struct outgoing *o = ctx;

    (void)now;
    if (code < 200)
        return;
    o->client = NULL;
    if (was_not_sent(code, response) && o->step + 1 < STEPS) {
        o->step++;
        take_step(o);
    } else {
        finish(o, code, response);
    }
}

static void send_request(struct outgoing *o, const struct sip_flow *to)
{
    struct proxy *p = o->proxy;
    char branch[8 + TAG_CHARS] = "z9hG4bK";
    struct str chosen = o->config.branch;
    struct buf out;

    if (chosen.len == 0) {
        proxy_tag(p, branch + 7);
        chosen = str_of(branch);
    }
    buf_init(&out, SIP_MESSAGE_MAX);
    put_request(o, to, chosen, &out);
    if (!out.full)
        o->client = sip_client_start(p->transactions,
                                     &(struct sip_client_config){
                                         .method = o->config.method,
                                         .branch = chosen,
                                         .to = *to,
                                         .bytes = buf_str(&out),
                                         .on_response = on_client,
                                         .ctx = o,
                                     },
                                     p->now.mono);
    if (!o->client)
        fail_soon(o, out.full ? 513 : 503);
    buf_done(&out);
}

/* ---- the steps ---- */

/* The node of that address, if it is another one that lives; else NULL. */
static const struct view_node *find_node(const struct view *v, struct str address)
{
    for (uint32_t i = 0; i < v->count; i++) {
        const struct view_node *n = &v->nodes[i];

        if (str_eq_c(address, n->address) && n->node != v->self &&
            (n->served_by == n->node || n->services_up))
            return n;
    }
    return NULL;
}

static bool try_reuse(struct outgoing *o)
{
    const struct proxy_config *config = &o->proxy->config;
    struct sip_flow to = {.transport = o->transport};
    const struct view_node *other;
    struct str node;

    if (o->transport == SIP_UDP || !proxy_read_source(o->config.source, &to.remote, &node))
        return false;
    if (str_eq_c(node, config->address)) {
        to.connection = config->ops->connection(config->ctx, to.transport, &to.remote);
        if (to.connection == 0)
            return false;
    } else {
        other = find_node(config->view, node);
        if (!other)
            return false;
        to =
            (struct sip_flow){.transport = SIP_PEER, .remote = proxy_node_address(o->proxy, other)};
    }
    send_request(o, &to);
    return true;
}

static bool is_large(const struct outgoing *o)
{
    return o->transport == SIP_UDP && !o->explicit_transport && o->config.rest.len > DATAGRAM_MAX;
}

static bool is_numeric(struct str host)
{
    if (str_find(host, ':') < host.len)
        return true;
    for (size_t i = 0; i < host.len; i++)
        if ((host.p[i] < '0' || host.p[i] > '9') && host.p[i] != '.')
            return false;
    return true;
}

/* The address of the next hop, asking for it if need be; false: there is none yet. */
static bool have_address(struct outgoing *o)
{
    struct sip_uri uri;

    if (o->address.port)
        return true;
    if (sip_uri_parse(o->config.next_hop, &uri) || uri.host.len == 0) {
        fail_soon(o, 503);
        return false;
    }
    if (!is_numeric(uri.host) || uri.host.len >= sizeof(o->address.host)) {
        o->proxy->config.ops->resolve(o->proxy->config.ctx, o->id, uri.host, uri.port,
                                      o->transport);
        return false;
    }
    for (size_t i = 0; i < uri.host.len; i++)
        o->address.host[i] = uri.host.p[i];
    o->address.port = uri.port ? uri.port : o->transport == SIP_TLS ? 5061 : 5060;
    return true;
}

static void take_step(struct outgoing *o)
{
    struct sip_flow to;

    if (o->step == STEP_REUSE) {
        if (try_reuse(o))
            return;
        o->step = STEP_LARGE;
    }
    if (!have_address(o))
        return;
    if (o->step == STEP_LARGE && !is_large(o))
        o->step = STEP_PLAIN;
    to = (struct sip_flow){.transport = o->step == STEP_LARGE ? SIP_TCP : o->transport,
                           .remote = o->address};
    send_request(o, &to);
}

void outgoing_resolved(struct proxy *p, uint64_t id, const struct sip_address *address)
{
    struct outgoing *o;

    HASH_FIND(hh, p->outgoing, &id, sizeof(id), o);
    if (!o || o->client || timer_is_set(&o->timer))
        return;
    if (!address || address->port == 0) {
        finish(o, 503, NULL);
        return;
    }
    o->address = *address;
    take_step(o);
}

/* The URI's transport, else that which its owner used. False: one that we don't have. */
static bool choose_transport(struct outgoing *o)
{
    struct str wanted;
    struct sip_uri uri;

    o->transport = proxy_transport_of(o->config.transport);
    if (sip_uri_parse(o->config.next_hop, &uri))
        return false;
    if (sip_param(uri.params, "transport", &wanted)) {
        o->transport = proxy_transport_of(wanted);
        o->explicit_transport = true;
        if (o->transport == SIP_UDP && !str_ieq_c(wanted, "udp"))
            return false;
    }
    if (uri.scheme == SIP_SCHEME_SIPS) {
        o->transport = SIP_TLS;
        o->explicit_transport = true;
    }
    return true;
}

struct outgoing *outgoing_start(struct proxy *p, const struct outgoing_config *config)
{
    struct outgoing *o = mem_new(sizeof(*o));

    o->proxy = p;
    o->id = ++p->last_id;
    o->config = *config;
    o->config.target = own(config->target);
    o->config.next_hop = own(config->next_hop.len ? config->next_hop : config->target);
    o->config.source = own(config->source);
    o->config.branch = own(config->branch);
    o->config.rest = own(config->rest);
    timer_init(&o->timer, on_due, o);
    HASH_ADD(hh, p->outgoing, id, sizeof(o->id), o);
    if (choose_transport(o))
        take_step(o);
    else
        fail_soon(o, 503);
    o->config.transport = (struct str){"", 0};
    return o;
}
