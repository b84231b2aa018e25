// SPDX-License-Identifier: Apache-2.0
/*
 * An I/O thread: opens and closes its listeners, carries out orders, parses what came.
 */
#include "proxyd/wire_private.h"

/* ---- to the core ---- */

void worker_event(struct worker *w, const struct wire_event *event)
{
    struct wire_event *copy = mem_new(sizeof(*copy));

    *copy = *event;
    iopool_send(w->pool, &copy->head);
}

void worker_failed(struct worker *w, uint64_t token)
{
    if (token)
        worker_event(w, &(struct wire_event){.kind = WIRE_FAILED, .token = token});
}

void worker_message(struct worker *w, struct str data, const struct sip_flow *flow,
                    struct sip_refusal refusal)
{
    struct sip_msg *m = sip_msg_parse(data, flow);

    if (!m) {
        metrics_add(w->config->metrics, METRIC_SIP_MALFORMED, 1);
        return;
    }
    if (refusal.code)
        m->refusal = refusal;
    worker_event(w, &(struct wire_event){.kind = WIRE_MESSAGE, .message = m});
}

/* ---- listeners ---- */

static void close_listeners(struct worker *w)
{
    datagrams_close(w->datagrams);
    w->datagrams = NULL;
    for (size_t i = 0; i < WIRE_LISTENERS; i++) {
        net_listener_close(w->listeners[i]);
        w->listeners[i] = NULL;
    }
}

static int open_streams(struct worker *w)
{
    const struct {
        enum conf_port port;
        SSL_CTX *tls;
        void *(*on_accept)(void *ctx, struct net_conn *conn);
    } rows[WIRE_LISTENERS] = {
        {CONF_PORT_SIP, NULL, stream_accept_tcp},
        {CONF_PORT_SIPS, w->tls->server, stream_accept_tls},
        {CONF_PORT_SIP_PEER, w->tls->peer_server, stream_accept_peer},
    };
    const struct conf *conf = w->config->conf;
    struct sockaddr_storage address;
    int r = 0;

    for (size_t i = 0; i < WIRE_LISTENERS && r == 0; i++) {
        struct net_config config = {
            .ops = &stream_ops,
            .tls = rows[i].tls,
            .open_timeout_ms = WIRE_OPEN_TIMEOUT_MS,
            .connections_max = WIRE_CONNECTIONS_MAX,
        };

        r = net_address(conf_self(conf)->address, conf->ports[rows[i].port], &address);
        if (r == 0)
            r = net_listen(iopool_loop(w->pool), &address, &config, rows[i].on_accept, w,
                           &w->listeners[i]);
    }
    return r;
}

static void open_listeners(struct worker *w)
{
    const struct conf *conf = w->config->conf;
    struct sockaddr_storage address;
    int r = net_address(conf_self(conf)->address, conf->ports[CONF_PORT_SIP], &address);

    if (r == 0)
        w->datagrams = datagrams_open(w, &address, &r);
    if (r == 0)
        r = open_streams(w);
    if (r)
        close_listeners(w);
    worker_event(w, &(struct wire_event){.kind = WIRE_LISTENING, .error = r});
}

/* ---- orders ---- */

static void on_listen(struct worker *w, bool listen)
{
    w->listening = listen;
    if (listen) {
        open_listeners(w);
    } else {
        close_listeners(w);
        stream_close_all(w, false);
    }
}

static void on_order(struct iopool_worker *pool, struct iopool_message *message)
{
    struct wire_order *order = (struct wire_order *)message;
    struct worker *w = iopool_state(pool);

    if (order->kind == WIRE_LISTEN)
        on_listen(w, order->listen);
    else if (!w->datagrams)
        worker_failed(w, order->token); /* we are not there for anybody */
    else if (order->to.transport == SIP_UDP)
        datagrams_send(w->datagrams, order);
    else
        stream_send(w, order);
    mem_free(order);
}

/* ---- birth and death ---- */

static void on_sweep(uv_timer_t *timer)
{
    struct worker *w = timer->data;

    if (w->listening && !w->datagrams)
        open_listeners(w);
    stream_sweep(w);
}

static void *on_start(struct iopool_worker *pool, void *ctx)
{
    struct worker *w = mem_new(sizeof(*w));

    w->pool = pool;
    w->config = wire_config_of(ctx);
    w->tls = wire_tls_of(ctx);
    uv_timer_init(iopool_loop(pool), &w->sweep);
    w->sweep.data = w;
    uv_timer_start(&w->sweep, on_sweep, WIRE_SWEEP_MS, WIRE_SWEEP_MS);
    return w;
}

void worker_closed(struct worker *w)
{
    if (w->stopping && !w->streams && uv_is_closing((uv_handle_t *)&w->sweep))
        mem_free(w);
}

static void on_sweep_closed(uv_handle_t *handle)
{
    struct worker *w = handle->data;

    w->stopping = true;
    worker_closed(w);
}

static void on_stop(struct iopool_worker *pool)
{
    struct worker *w = iopool_state(pool);

    close_listeners(w);
    stream_close_all(w, true);
    uv_close((uv_handle_t *)&w->sweep, on_sweep_closed);
}

const struct iopool_config wire_worker_config = {
    .on_start = on_start,
    .on_message = on_order,
    .on_stop = on_stop,
};
