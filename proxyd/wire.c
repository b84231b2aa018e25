// SPDX-License-Identifier: Apache-2.0
#include "proxyd/wire.h"

#include <assert.h>
#include <string.h>

#include "common/log.h"
#include "common/tls.h"
#include "proxyd/wire_private.h"

/* A connection that a worker has open. */
struct known {
    uint64_t id;
    struct str key; /* ours */
    UT_hash_handle hh;
    UT_hash_handle hh_id;
};

struct wire {
    struct wire_config config;
    struct wire_tls tls;
    struct iopool *pool;
    struct known *by_key, *by_id;
    bool listen;   /* wanted */
    unsigned open; /* workers that are listening */
    int error;     /* of the last one that could not */
    bool closing;
};

void wire_key(enum sip_transport transport, const struct sip_address *remote, struct buf *out)
{
    static const char *const names[] = {"udp ", "tcp ", "tls ", "peer "};

    buf_puts(out, names[transport]);
    buf_puts(out, remote->host);
    buf_put_c(out, ' ');
    buf_put_u64(out, remote->port);
}

/* ---- connections that are open ---- */

static struct known *find(const struct wire *w, struct str key)
{
    struct known *k;

    HASH_FIND(hh, w->by_key, key.p, key.len, k);
    return k;
}

static void forget(struct wire *w, struct known *k)
{
    assert(w->by_key && w->by_id);
    HASH_DELETE(hh, w->by_key, k);
    HASH_DELETE(hh_id, w->by_id, k);
    mem_free((char *)k->key.p);
    mem_free(k);
}

static void on_opened(struct wire *w, const struct sip_flow *flow)
{
    struct known *k = mem_new(sizeof(*k)), *old;
    struct buf key;

    buf_init(&key, 256);
    wire_key(flow->transport, &flow->remote, &key);
    old = find(w, buf_str(&key));
    if (old)
        forget(w, old);
    k->id = flow->connection;
    k->key.len = key.len;
    k->key.p = buf_take(&key);
    HASH_ADD_KEYPTR(hh, w->by_key, k->key.p, k->key.len, k);
    HASH_ADD(hh_id, w->by_id, id, sizeof(k->id), k);
}

static void on_closed(struct wire *w, uint64_t id)
{
    struct known *k;

    HASH_FIND(hh_id, w->by_id, &id, sizeof(id), k);
    if (k)
        forget(w, k);
}

uint64_t wire_connection(const struct wire *w, enum sip_transport transport,
                         const struct sip_address *remote)
{
    const struct known *k;
    struct buf key;

    buf_init(&key, 256);
    wire_key(transport, remote, &key);
    k = find(w, buf_str(&key));
    buf_done(&key);
    return k ? k->id : 0;
}

/* ---- orders ---- */

/* A connection's id names its worker; without one an address always goes to the same worker. */
static struct iopool_worker *worker_for(const struct wire *w, const struct sip_flow *to)
{
    uint64_t id = to->connection;

    if (id == 0 && to->transport != SIP_UDP)
        id = wire_connection(w, to->transport, &to->remote);
    if (id)
        return iopool_worker(w->pool, (unsigned)(id >> 48) - 1);
    return iopool_worker(w->pool, (unsigned)((str_hash(str_of(to->remote.host)) + to->remote.port) %
                                             iopool_threads(w->pool)));
}

void wire_send(struct wire *w, const struct sip_flow *to, struct str bytes, uint64_t token)
{
    struct wire_order *order;

    if (w->closing)
        return;
    order = mem_new(sizeof(*order) + bytes.len);
    order->kind = WIRE_SEND;
    order->to = *to;
    order->token = token;
    order->len = bytes.len;
    memcpy(order->bytes, bytes.p, bytes.len);
    iopool_post(worker_for(w, to), &order->head);
}

static void order_listen(struct wire *w, struct iopool_worker *worker)
{
    struct wire_order *order = mem_new(sizeof(*order));

    order->kind = WIRE_LISTEN;
    order->listen = w->listen;
    iopool_post(worker, &order->head);
}

void wire_listen(struct wire *w, bool listen)
{
    if (w->listen == listen)
        return;
    w->listen = listen;
    w->open = 0;
    w->error = 0;
    for (unsigned i = 0; i < iopool_threads(w->pool); i++)
        order_listen(w, iopool_worker(w->pool, i));
}

bool wire_is_listening(const struct wire *w, int *ret_error)
{
    *ret_error = w->error;
    return w->listen && w->open == iopool_threads(w->pool);
}

/* ---- events ---- */

/* Of an attempt to open; a worker tries again by itself. */
static void on_listening(struct wire *w, int error)
{
    if (!w->listen)
        return;
    if (error && error != w->error)
        log_error("listen_failed", log_str("error", uv_strerror(error)));
    w->error = error;
    if (error == 0 && ++w->open == iopool_threads(w->pool))
        log_info("listening", log_str("address", conf_self(w->config.conf)->address));
}

static void on_event(void *ctx, struct iopool_worker *worker, struct iopool_message *message)
{
    struct wire_event *event = (struct wire_event *)message;
    struct wire *w = ctx;

    (void)worker;
    if (w->closing) {
        sip_msg_free(event->message);
    } else {
        switch (event->kind) {
        case WIRE_MESSAGE:
            w->config.on_message(w->config.ctx, event->message);
            break;
        case WIRE_OPENED:
            on_opened(w, &event->flow);
            break;
        case WIRE_CLOSED:
            on_closed(w, event->flow.connection);
            break;
        case WIRE_FAILED:
            w->config.on_failed(w->config.ctx, event->token);
            break;
        case WIRE_LISTENING:
            on_listening(w, event->error);
            break;
        }
    }
    mem_free(event);
}

/* ---- birth and death ---- */

static void free_tls(struct wire_tls *tls)
{
    SSL_CTX_free(tls->server);
    SSL_CTX_free(tls->peer_server);
    SSL_CTX_free(tls->client);
}

static bool load_tls(const struct conf *conf, struct wire_tls *ret_tls, struct err *ret_err)
{
    *ret_tls = (struct wire_tls){
        .server = tls_new(TLS_SERVER, conf, ret_err),
        .peer_server = tls_new(TLS_SERVER_MUTUAL, conf, ret_err),
        .client = tls_new(TLS_CLIENT_MUTUAL, conf, ret_err),
    };
    if (ret_tls->server && ret_tls->peer_server && ret_tls->client)
        return true;
    free_tls(ret_tls);
    return false;
}

struct wire *wire_start(uv_loop_t *loop, const struct wire_config *config, struct err *ret_err)
{
    struct wire *w = mem_new(sizeof(*w));
    struct iopool_config pool = wire_worker_config;

    w->config = *config;
    if (!load_tls(config->conf, &w->tls, ret_err)) {
        mem_free(w);
        return NULL;
    }
    pool.threads = config->threads;
    pool.on_core_message = on_event;
    pool.ctx = w;
    w->pool = iopool_start(loop, &pool);
    return w;
}

void wire_close(struct wire *w)
{
    w->closing = true;
    iopool_close(w->pool);
    while (w->by_key)
        forget(w, w->by_key);
    free_tls(&w->tls);
    mem_free(w);
}

const struct wire_config *wire_config_of(const struct wire *w)
{
    return &w->config;
}

const struct wire_tls *wire_tls_of(const struct wire *w)
{
    return &w->tls;
}
