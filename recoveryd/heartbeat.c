// SPDX-License-Identifier: Apache-2.0
#include "recoveryd/heartbeat.h"

#include <string.h>

#include "common/buf.h"
#include "common/log.h"
#include "common/mem.h"
#include "common/net.h"
#include "recoveryd/rcv.h"

enum { HEAD_BYTES = 2, AGAIN_MS = 100, PROBES = 3 };

/* So many changes of ownership never happen; one more must not overflow. */
#define HEARTBEAT_EPOCH_MAX (UINT64_MAX / 2)

struct heartbeat {
    uv_loop_t *loop;
    struct heartbeat_config config;
    const struct view_node *peer;
    uint64_t connect_timeout_ms;
    struct net_listener *listener;
    struct net_conn *ours; /* we speak; NULL: none */
    bool ours_open;
    struct net_conn *theirs; /* we listen; NULL: none */
    struct buf in;           /* of theirs */
    uv_timer_t again;
    struct net_conn *probes[PROBES];
    unsigned probes_left;
    bool probes_refused; /* all that have ended were */
    bool closed;
    unsigned handles; /* connections and the timer: it is freed with the last */
};

static void release(struct heartbeat *hb)
{
    if (--hb->handles > 0)
        return;
    buf_done(&hb->in);
    mem_free(hb);
}

/* ---- reading ---- */

static bool in_range(const Muster__Heartbeat *h, uint32_t peer)
{
    return h->node == peer && h->boot_id != 0 && h->goal < RCV_ROLES && h->reported < RCV_ROLES &&
           h->state <= MUSTER__NODE_STATE__RUNNING_IN_FAILED_MODE &&
           h->cause <= MUSTER__STATE_REASON__PEER_UNREACHABLE &&
           h->reason <= MUSTER__STATE_REASON__PEER_UNREACHABLE && h->request <= RCV_WISH_RECOVER &&
           h->resume < RCV_ROLES && h->epoch <= HEARTBEAT_EPOCH_MAX &&
           h->released_epoch <= HEARTBEAT_EPOCH_MAX && h->database_node <= VIEW_NODES_MAX;
}

Muster__Heartbeat *heartbeat_read(const uint8_t *data, size_t len, uint32_t peer)
{
    Muster__Heartbeat *h = muster__heartbeat__unpack(NULL, len, data);

    if (h && in_range(h, peer))
        return h;
    muster__heartbeat__free_unpacked(h, NULL);
    return NULL;
}

/* One heartbeat off the buffer; false when there is none whole, or the connection was dropped. */
static bool take_one(struct heartbeat *hb)
{
    const uint8_t *p = (const uint8_t *)hb->in.data;
    size_t len = hb->in.len >= HEAD_BYTES ? (size_t)(p[0] << 8 | p[1]) : 0;
    Muster__Heartbeat *h;

    if (hb->in.len < HEAD_BYTES || (len <= HEARTBEAT_BYTES_MAX && hb->in.len < HEAD_BYTES + len))
        return false;
    h = len <= HEARTBEAT_BYTES_MAX ? heartbeat_read(p + HEAD_BYTES, len, hb->config.peer) : NULL;
    if (!h) {
        log_warning("heartbeat_refused", log_u64("bytes", len));
        net_abort(hb->theirs);
        return false;
    }
    buf_drop(&hb->in, HEAD_BYTES + len);
    hb->config.on_heard(hb->config.ctx, h);
    muster__heartbeat__free_unpacked(h, NULL);
    return !hb->closed;
}

/* ---- theirs ---- */

static void on_their_data(void *ctx, struct net_conn *c, const uint8_t *data, size_t len)
{
    struct heartbeat *hb = ctx;

    if (hb->closed || c != hb->theirs)
        return;
    buf_put(&hb->in, data, len);
    if (hb->in.full) {
        net_abort(c);
        return;
    }
    while (take_one(hb))
        ;
}

/* The newest connection is the peer's: it may know earlier than we that the old one is dead. */
static void on_their_open(void *ctx, struct net_conn *c)
{
    struct heartbeat *hb = ctx;

    if (hb->closed)
        return;
    if (!net_peer_is(c, hb->peer->address) && !net_peer_is(c, hb->peer->name)) {
        log_warning("heartbeat_stranger", log_str("from", net_peer_text(c)));
        net_abort(c);
        return;
    }
    if (hb->theirs)
        net_abort(hb->theirs);
    hb->theirs = c;
    buf_clear(&hb->in);
}

static void on_their_end(void *ctx, struct net_conn *c, int error)
{
    struct heartbeat *hb = ctx;

    (void)error;
    if (!hb->closed && c == hb->theirs) {
        hb->theirs = NULL;
        hb->config.on_link_lost(hb->config.ctx);
    }
    release(hb);
}

static void *on_accept(void *ctx, struct net_conn *c)
{
    struct heartbeat *hb = ctx;

    (void)c;
    hb->handles++;
    return hb;
}

/* ---- probes: is any listener of the peer left? ---- */

static void end_probe(struct heartbeat *hb, bool refused)
{
    hb->probes_refused = hb->probes_refused && refused;
    if (--hb->probes_left == 0 && !hb->closed)
        hb->config.on_connect_failed(hb->config.ctx, true, hb->probes_refused);
}

static void on_probe_open(void *ctx, struct net_conn *c)
{
    (void)ctx;
    net_abort(c);
}

static void on_probe_data(void *ctx, struct net_conn *c, const uint8_t *data, size_t len)
{
    (void)ctx;
    (void)c;
    (void)data;
    (void)len;
}

static void on_probe_end(void *ctx, struct net_conn *c, int error)
{
    struct heartbeat *hb = ctx;

    for (int i = 0; i < PROBES; i++)
        if (hb->probes[i] == c)
            hb->probes[i] = NULL;
    if (!hb->closed)
        end_probe(hb, error == UV_ECONNREFUSED);
    release(hb);
}

static void probe(struct heartbeat *hb)
{
    static const struct net_ops ops = {
        .on_open = on_probe_open, .on_data = on_probe_data, .on_closed = on_probe_end};
    static const enum conf_port ports[PROBES] = {CONF_PORT_FABRIC, CONF_PORT_SIP, CONF_PORT_XMPP};
    const struct net_config config = {.ops = &ops, .open_timeout_ms = hb->connect_timeout_ms};
    struct sockaddr_storage address;

    if (hb->probes_left > 0)
        return;
    hb->probes_left = PROBES;
    hb->probes_refused = true;
    for (int i = 0; i < PROBES; i++) {
        (void)net_address(hb->peer->address, hb->config.conf->ports[ports[i]], &address);
        hb->probes[i] = net_connect(hb->loop, &address, &config, hb);
        hb->handles++;
    }
}

/* ---- ours ---- */

static void on_our_open(void *ctx, struct net_conn *c)
{
    struct heartbeat *hb = ctx;

    (void)c;
    hb->ours_open = true;
}

static void on_again(uv_timer_t *timer);

static void our_end(struct heartbeat *hb, int error)
{
    bool was_open = hb->ours_open;

    hb->ours = NULL;
    hb->ours_open = false;
    uv_timer_start(&hb->again, on_again, was_open ? 0 : AGAIN_MS, 0);
    if (was_open)
        hb->config.on_link_lost(hb->config.ctx);
    else if (error == UV_ECONNREFUSED)
        probe(hb);
    else
        hb->config.on_connect_failed(hb->config.ctx, false, false);
}

static void on_our_end(void *ctx, struct net_conn *c, int error)
{
    struct heartbeat *hb = ctx;

    (void)c;
    if (!hb->closed)
        our_end(hb, error);
    release(hb);
}

static void on_again(uv_timer_t *timer)
{
    static const struct net_ops ops = {
        .on_open = on_our_open, .on_data = on_probe_data, .on_closed = on_our_end};
    struct heartbeat *hb = timer->data;
    const struct net_config config = {
        .ops = &ops,
        .tls = hb->config.client,
        .server_name = hb->peer->address,
        .open_timeout_ms = hb->connect_timeout_ms,
        .write_bytes_max = 16 * (HEAD_BYTES + HEARTBEAT_BYTES_MAX),
    };
    struct sockaddr_storage address;

    (void)net_address(hb->peer->address, hb->config.conf->ports[CONF_PORT_HEARTBEAT], &address);
    hb->ours = net_connect(hb->loop, &address, &config, hb);
    hb->handles++;
}

void heartbeat_reconnect(struct heartbeat *hb)
{
    if (hb->ours_open)
        net_abort(hb->ours);
}

void heartbeat_send(struct heartbeat *hb, const Muster__Heartbeat *heartbeat)
{
    uint8_t frame[HEAD_BYTES + HEARTBEAT_BYTES_MAX];
    size_t len = muster__heartbeat__get_packed_size(heartbeat);

    if (!hb->ours_open || len > HEARTBEAT_BYTES_MAX)
        return;
    frame[0] = (uint8_t)(len >> 8);
    frame[1] = (uint8_t)len;
    muster__heartbeat__pack(heartbeat, frame + HEAD_BYTES);
    if (net_write(hb->ours, frame, HEAD_BYTES + len) == NET_E_FULL)
        net_abort(hb->ours); /* the peer takes nothing any more */
}

/* ---- start and stop ---- */

struct heartbeat *heartbeat_start(uv_loop_t *loop, const struct heartbeat_config *config,
                                  struct err *ret_err)
{
    static const struct net_ops ops = {
        .on_open = on_their_open, .on_data = on_their_data, .on_closed = on_their_end};
    const struct view_node *self = conf_self(config->conf);
    const struct net_config listen = {.ops = &ops, .tls = config->server, .connections_max = 16};
    struct heartbeat *hb = mem_new(sizeof(*hb));
    struct sockaddr_storage address;
    int r;

    hb->loop = loop;
    hb->config = *config;
    hb->peer = view_find(&config->conf->nodes, config->peer);
    hb->connect_timeout_ms = 1000;
    buf_init(&hb->in, 4 * (HEAD_BYTES + HEARTBEAT_BYTES_MAX) + 65536);
    r = net_address(self->address, config->conf->ports[CONF_PORT_HEARTBEAT], &address);
    if (r == 0)
        r = net_listen(loop, &address, &listen, on_accept, hb, &hb->listener);
    if (r < 0) {
        (void)err_set(ret_err, "cannot listen for heartbeats on %s: %s", self->address,
                      uv_strerror(r));
        buf_done(&hb->in);
        mem_free(hb);
        return NULL;
    }
    uv_timer_init(loop, &hb->again);
    hb->again.data = hb;
    hb->handles = 1;
    uv_timer_start(&hb->again, on_again, 0, 0);
    return hb;
}

static void on_timer_closed(uv_handle_t *handle)
{
    release(handle->data);
}

void heartbeat_close(struct heartbeat *hb)
{
    hb->closed = true;
    net_listener_close(hb->listener);
    if (hb->ours)
        net_abort(hb->ours);
    if (hb->theirs)
        net_abort(hb->theirs);
    for (int i = 0; i < PROBES; i++)
        if (hb->probes[i])
            net_abort(hb->probes[i]);
    uv_close((uv_handle_t *)&hb->again, on_timer_closed);
}

void heartbeat_set_connect_timeout(struct heartbeat *hb, uint64_t timeout_ms)
{
    hb->connect_timeout_ms = timeout_ms;
}
