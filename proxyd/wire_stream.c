// SPDX-License-Identifier: Apache-2.0
/*
 * SIP over connections: TCP and TLS of clients, mutual TLS between nodes. Bytes are cut into
 * messages (RFC 3261, 18.3), keep-alives answered (RFC 5626, 4.4.1).
 *
 * A request that was sent on a connection is told to have failed when that breaks, for as long as
 * it may wait for its answer: the last WIRE_TOKENS_MAX of them are known.
 */
#include <string.h>

#include "common/log.h"
#include "proxyd/wire_private.h"

struct stream {
    struct worker *worker;
    struct net_conn *conn;
    struct sip_flow flow; /* its remote, its id */
    bool open;
    bool doomed; /* it is closed after the next answer */
    bool paused;
    bool heard;       /* a whole message came, once */
    uint64_t last_ms; /* when a whole message came, or it opened */
    struct sip_framer framer;
    struct buf in;      /* the beginning of a message */
    struct buf waiting; /* to be sent once it is open */
    uint64_t tokens[WIRE_TOKENS_MAX];
    unsigned token_count;
    struct str key; /* ours */
    UT_hash_handle hh;
    UT_hash_handle hh_key;
};

/* ---- birth and death ---- */

static uint64_t now_ms(const struct worker *w)
{
    return uv_now(iopool_loop(w->pool));
}

static struct stream *find_key(const struct worker *w, struct str key)
{
    struct stream *s;

    HASH_FIND(hh_key, w->by_address, key.p, key.len, s);
    return s;
}

static struct stream *new_stream(struct worker *w, enum sip_transport transport,
                                 const struct sip_address *remote)
{
    struct stream *s = mem_new(sizeof(*s)), *old;
    struct buf key;

    s->worker = w;
    s->flow.transport = transport;
    s->flow.remote = *remote;
    s->flow.connection = (uint64_t)(iopool_index(w->pool) + 1) << 48 | ++w->last_id;
    s->last_ms = now_ms(w);
    buf_init(&s->in, 2 * SIP_MESSAGE_MAX);
    buf_init(&s->waiting, WIRE_WAITING_BYTES_MAX);
    buf_init(&key, 256);
    wire_key(transport, remote, &key);
    old = find_key(w, buf_str(&key));
    if (old)
        HASH_DELETE(hh_key, w->by_address, old);
    if (old)
        old->key.len = 0;
    s->key.len = key.len;
    s->key.p = buf_take(&key);
    HASH_ADD(hh, w->streams, flow.connection, sizeof(s->flow.connection), s);
    HASH_ADD_KEYPTR(hh_key, w->by_address, s->key.p, s->key.len, s);
    metrics_add(w->config->metrics, METRIC_CONNECTIONS, 1);
    return s;
}

static void free_stream(struct stream *s)
{
    struct worker *w = s->worker;

    HASH_DELETE(hh, w->streams, s);
    if (s->key.len)
        HASH_DELETE(hh_key, w->by_address, s);
    mem_free((char *)s->key.p);
    buf_done(&s->in);
    buf_done(&s->waiting);
    metrics_add(w->config->metrics, METRIC_CONNECTIONS, -1);
    mem_free(s);
}

static void on_closed(void *ctx, struct net_conn *conn, int error)
{
    struct stream *s = ctx;
    struct worker *w = s->worker;

    (void)conn;
    if (error)
        log_debug("connection_lost", log_str("peer", s->flow.remote.host),
                  log_str("error", uv_strerror(error)));
    for (unsigned i = 0; i < s->token_count && i < WIRE_TOKENS_MAX; i++)
        worker_failed(s->worker, s->tokens[i]);
    worker_event(s->worker, &(struct wire_event){.kind = WIRE_CLOSED, .flow = s->flow});
    free_stream(s);
    worker_closed(w);
}

/* ---- opening ---- */

/* Only nodes of ours, by name or address, may come in through the nodes' door. */
static bool is_node(const struct stream *s)
{
    const struct view *nodes = &s->worker->config->conf->nodes;

    for (uint32_t i = 0; i < nodes->count; i++)
        if (net_peer_is(s->conn, nodes->nodes[i].address) ||
            net_peer_is(s->conn, nodes->nodes[i].name))
            return true;
    return false;
}

static void on_open(void *ctx, struct net_conn *conn)
{
    struct stream *s = ctx;

    if (s->flow.transport == SIP_PEER && !is_node(s)) {
        log_warning("peer_refused", log_str("why", "its certificate names no node of ours"),
                    log_str("peer", net_peer_text(conn)));
        net_abort(conn);
        return;
    }
    s->open = true;
    s->last_ms = now_ms(s->worker);
    worker_event(s->worker, &(struct wire_event){.kind = WIRE_OPENED, .flow = s->flow});
    if (s->waiting.len && net_write(conn, s->waiting.data, s->waiting.len))
        net_abort(conn);
    buf_done(&s->waiting);
}

static void *accept_as(struct worker *w, struct net_conn *conn, enum sip_transport transport)
{
    struct sip_address remote = {.port = 0};
    struct stream *s;
    struct str host;

    if (!sip_hostport(str_of(net_peer_text(conn)), &host, &remote.port) || host.len >= SIP_HOST_MAX)
        return NULL;
    memcpy(remote.host, host.p, host.len);
    s = new_stream(w, transport, &remote);
    s->conn = conn;
    return s;
}

void *stream_accept_tcp(void *ctx, struct net_conn *conn)
{
    return accept_as(ctx, conn, SIP_TCP);
}

void *stream_accept_tls(void *ctx, struct net_conn *conn)
{
    return accept_as(ctx, conn, SIP_TLS);
}

void *stream_accept_peer(void *ctx, struct net_conn *conn)
{
    return accept_as(ctx, conn, SIP_PEER);
}

/* NULL: that is no address. */
static struct stream *connect_to(struct worker *w, const struct sip_flow *to)
{
    struct net_config config = {
        .ops = &stream_ops,
        .tls = to->transport == SIP_TCP ? NULL : w->tls->client,
        .server_name = to->transport == SIP_TCP ? NULL : to->remote.host,
        .open_timeout_ms = WIRE_OPEN_TIMEOUT_MS,
        .dead_after_ms = to->transport == SIP_PEER ? WIRE_OPEN_TIMEOUT_MS : 0,
    };
    struct sockaddr_storage address;
    struct stream *s;

    if (net_address(to->remote.host, to->remote.port, &address))
        return NULL;
    s = new_stream(w, to->transport, &to->remote);
    s->heard = true; /* we made it: it need not speak first */
    s->conn = net_connect(iopool_loop(w->pool), &address, &config, s);
    return s;
}

/* ---- reading ---- */

static void on_message(struct stream *s, struct str data, struct sip_refusal refusal)
{
    s->heard = true;
    s->last_ms = now_ms(s->worker);
    worker_message(s->worker, data, &s->flow, refusal);
}

/* The rest of the stream cannot be understood. */
static void doom(struct stream *s, struct str head, struct sip_refusal refusal)
{
    s->doomed = true;
    net_pause(s->conn);
    on_message(s, head, refusal);
}

/* Takes one thing off the beginning of `data`: its length, 0: there is nothing whole. */
static size_t take_one(struct stream *s, struct str data)
{
    size_t len = 0;

    switch (sip_frame_next(&s->framer, data, &len)) {
    case SIP_FRAME_MORE:
        return 0;
    case SIP_FRAME_MESSAGE:
        on_message(s, str_sub(data, 0, len), (struct sip_refusal){0, NULL});
        return len;
    case SIP_FRAME_BLANK:
        return len;
    case SIP_FRAME_PING:
        s->last_ms = now_ms(s->worker);
        if (net_write(s->conn, "\r\n", 2))
            net_abort(s->conn);
        return len;
    case SIP_FRAME_UNBOUNDED:
        doom(s, str_sub(data, 0, len), (struct sip_refusal){400, "Content-Length Needed"});
        return data.len;
    case SIP_FRAME_TOO_LARGE:
        doom(s, str_sub(data, 0, len), (struct sip_refusal){413, NULL});
        return data.len;
    case SIP_FRAME_LOST:
        break;
    }
    metrics_add(s->worker->config->metrics, METRIC_SIP_MALFORMED, 1);
    s->doomed = true;
    net_abort(s->conn);
    return data.len;
}

static void slow_down(struct stream *s)
{
    if (s->paused || iopool_backlog(s->worker->pool) <= WIRE_BACKLOG_MAX)
        return;
    s->paused = true;
    net_pause(s->conn);
}

static void on_data(void *ctx, struct net_conn *conn, const uint8_t *bytes, size_t len)
{
    struct stream *s = ctx;
    struct str data = str_of_bytes(bytes, len);
    size_t taken = 0;

    if (s->doomed)
        return;
    if (s->in.len) {
        buf_put(&s->in, bytes, len);
        data = buf_str(&s->in);
        if (s->in.full) {
            net_abort(conn);
            return;
        }
    }
    while (!s->doomed) {
        size_t one = take_one(s, str_sub(data, taken, data.len));

        if (one == 0)
            break;
        taken += one;
    }
    if (taken == data.len)
        buf_done(&s->in);
    else if (s->in.len)
        buf_drop(&s->in, taken);
    else
        buf_put(&s->in, data.p + taken, data.len - taken);
    slow_down(s);
}

const struct net_ops stream_ops = {.on_open = on_open, .on_data = on_data, .on_closed = on_closed};

/* ---- writing ---- */

static void remember(struct stream *s, uint64_t token)
{
    if (token)
        s->tokens[s->token_count++ % WIRE_TOKENS_MAX] = token;
}

static void write_to(struct stream *s, const struct wire_order *order)
{
    remember(s, order->token);
    if (!s->open) {
        buf_put(&s->waiting, order->bytes, order->len);
        if (s->waiting.full)
            net_abort(s->conn);
        return;
    }
    if (net_write(s->conn, order->bytes, order->len))
        net_abort(s->conn); /* it does not read: whoever waits for it is told */
    else if (s->doomed)
        net_shutdown(s->conn);
}

void stream_send(struct worker *w, const struct wire_order *order)
{
    struct stream *s = NULL;
    struct buf key;

    if (order->to.connection)
        HASH_FIND(hh, w->streams, &order->to.connection, sizeof(order->to.connection), s);
    if (!s) {
        buf_init(&key, 256);
        wire_key(order->to.transport, &order->to.remote, &key);
        s = find_key(w, buf_str(&key));
        buf_done(&key);
    }
    if (!s)
        s = connect_to(w, &order->to);
    if (s)
        write_to(s, order);
    else
        worker_failed(w, order->token);
}

/* ---- all of them ---- */

static bool is_too_quiet(const struct stream *s, uint64_t now)
{
    uint64_t quiet = now - s->last_ms;

    /* Half a message is no sign of life. */
    return quiet > (s->heard && s->in.len == 0 ? (uint64_t)WIRE_IDLE_MS : (uint64_t)WIRE_SILENT_MS);
}

void stream_sweep(struct worker *w)
{
    bool read_on = iopool_backlog(w->pool) < WIRE_BACKLOG_MAX / 2;
    struct stream *s, *next;
    uint64_t now = now_ms(w);

    for (s = w->streams; s; s = next) {
        next = s->hh.next;
        if (is_too_quiet(s, now) || (s->doomed && now - s->last_ms > WIRE_SILENT_MS)) {
            net_abort(s->conn);
        } else if (s->paused && read_on) {
            s->paused = false;
            net_resume(s->conn);
        }
    }
}

void stream_close_all(struct worker *w, bool at_once)
{
    struct stream *s, *next;

    for (s = w->streams; s; s = next) {
        next = s->hh.next;
        if (at_once)
            net_abort(s->conn);
        else
            net_shutdown(s->conn);
    }
}
