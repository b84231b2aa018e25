// SPDX-License-Identifier: Apache-2.0
#include "routerd/fabric.h"

#include <assert.h>
#include <string.h>

#include "common/daemon.h"
#include "common/frame.h"
#include "common/log.h"
#include "common/loop.h"
#include "common/mem.h"
#include "common/metrics.h"
#include "common/net.h"
#include "common/tls.h"

enum {
    DIAL_FIRST_MS = 100,
    DIAL_MAX_MS = 1000,
    OPEN_TIMEOUT_MS = 2000,
    DEAD_AFTER_MS = 3000,
    WRITE_BYTES_MAX = 16 << 20,
    LINKS_MAX = 64, /* that were accepted */
};

/* One connection. Its owner is net, until on_closed. */
struct link {
    struct link *next; /* in fabric->links */
    struct fabric *fabric;
    struct net_conn *conn;
    struct peer *peer; /* NULL until an accepted one has said who it is */
    struct buf in;     /* the beginning of a frame */
    bool dialled, greeted, dropped;
};

/* One other node of the cluster. */
struct peer {
    struct fabric *fabric;
    const struct view_node *node;
    struct sockaddr_storage address;
    struct link *link; /* greeted both ways; NULL: down */
    uint64_t link_id;
    uv_timer_t dial; /* of those that we dial */
    uint64_t wait_ms;
    bool dials;
};

struct fabric {
    struct fabric_config config;
    SSL_CTX *server, *client;
    struct net_listener *listener;
    struct peer peers[VIEW_NODES_MAX];
    size_t peer_count;
    struct buf scratch; /* one frame while it is made */
    uint64_t epoch;
    struct link *links; /* not closed yet, whatever their state */
    unsigned handles;   /* timers not closed yet */
    bool closing;
};

static void dial(uv_timer_t *timer);

static struct peer *find_peer(const struct fabric *f, uint32_t node)
{
    for (size_t i = 0; i < f->peer_count; i++)
        if (f->peers[i].node->node == node)
            return (struct peer *)&f->peers[i];
    return NULL;
}

static void dial_later(struct peer *p)
{
    p->wait_ms = p->wait_ms ? p->wait_ms * 2 : DIAL_FIRST_MS;
    p->wait_ms = p->wait_ms > DIAL_MAX_MS ? DIAL_MAX_MS : p->wait_ms;
    uv_timer_start(&p->dial, dial, p->wait_ms, 0);
}

/* ---- ends ---- */

static void free_if_closed(struct fabric *f)
{
    if (!f->closing || f->links || f->handles > 0)
        return;
    SSL_CTX_free(f->server);
    SSL_CTX_free(f->client);
    buf_done(&f->scratch);
    mem_free(f);
}

static void go_down(struct peer *p)
{
    struct fabric *f = p->fabric;

    if (!p->link)
        return;
    p->link = NULL;
    p->link_id = 0;
    if (f->closing)
        return;
    log_warning("fabric_down", log_u64("peer", p->node->node));
    f->config.on_link(f->config.ctx, p->node->node, false, 0);
}

/* No frame of it counts any more; on_closed follows. */
static void drop(struct link *l)
{
    l->dropped = true;
    net_abort(l->conn);
}

static void refuse(struct link *l, const char *why)
{
    log_warning("fabric_refused", log_str("address", net_peer_text(l->conn)), log_str("why", why));
    drop(l);
}

static void on_closed(void *ctx, struct net_conn *c, int error)
{
    struct link *l = ctx;
    struct fabric *f = l->fabric;
    struct peer *p = l->peer;
    struct link **at = &f->links;

    (void)c;
    assert(p || !l->dialled);
    while (*at != l)
        at = &(*at)->next;
    *at = l->next;
    if (error && l->dialled && !l->greeted)
        log_debug("fabric_unreachable", log_u64("peer", p->node->node),
                  log_str("why", uv_strerror(error)));
    if (p && p->link == l)
        go_down(p);
    if (l->dialled && !f->closing)
        dial_later(p);
    buf_done(&l->in);
    mem_free(l);
    free_if_closed(f);
}

/* ---- frames ---- */

static bool put_frame(struct link *l, const Muster__Envelope *envelope)
{
    struct fabric *f = l->fabric;

    buf_clear(&f->scratch);
    if (!frame_put(&f->scratch, envelope)) {
        log_warning("fabric_frame_too_large", log_u64("body", envelope->body_case));
        metrics_add(f->config.metrics, METRIC_FABRIC_REFUSED, 1);
        return false;
    }
    if (net_write(l->conn, f->scratch.data, f->scratch.len)) {
        if (!l->dropped)
            refuse(l, "it does not read");
        return false;
    }
    metrics_add(f->config.metrics, METRIC_FABRIC_FRAMES_OUT, 1);
    return true;
}

static void say_hello(struct link *l)
{
    Muster__FabricHello hello = MUSTER__FABRIC_HELLO__INIT;
    Muster__Envelope e = MUSTER__ENVELOPE__INIT;

    hello.node = l->fabric->config.conf->node;
    hello.epoch = l->fabric->epoch;
    hello.boot_id = l->fabric->config.boot_id;
    hello.version = (char *)MUSTER_VERSION;
    e.body_case = MUSTER__ENVELOPE__BODY_FABRIC_HELLO;
    e.fabric_hello = &hello;
    (void)put_frame(l, &e); /* where it fails, the link ends */
}

/* NULL: welcome. */
static const char *objection(const struct link *l, const struct peer *p,
                             const Muster__FabricHello *hello)
{
    const struct fabric *f = l->fabric;

    if (!p)
        return "no node of this cluster";
    if (l->dialled ? l->peer != p : hello->node > f->config.conf->node)
        return "not the node that should be there";
    if (!net_peer_is(l->conn, p->node->name) && !net_peer_is(l->conn, p->node->address))
        return "its certificate is that of another node";
    if (p->node->group == conf_self(f->config.conf)->group && hello->epoch &&
        hello->epoch < f->epoch)
        return "its epoch is older than ours";
    return NULL;
}

static void on_hello(struct link *l, const Muster__Envelope *e)
{
    struct fabric *f = l->fabric;
    struct peer *p;
    const char *why;

    if (e->body_case != MUSTER__ENVELOPE__BODY_FABRIC_HELLO) {
        refuse(l, "no hello");
        return;
    }
    p = find_peer(f, e->fabric_hello->node);
    why = objection(l, p, e->fabric_hello);
    if (why) {
        metrics_add(f->config.metrics, METRIC_FABRIC_REFUSED, 1);
        refuse(l, why);
        return;
    }
    if (p->link) {
        drop(p->link);
        go_down(p);
    }
    l->greeted = true;
    l->peer = p;
    p->link = l;
    p->link_id = daemon_random_u64();
    p->wait_ms = 0;
    log_info("fabric_up", log_u64("peer", p->node->node),
             log_str("version", e->fabric_hello->version));
    f->config.on_link(f->config.ctx, p->node->node, true, p->link_id);
}

static void on_envelope(struct link *l, const Muster__Envelope *e)
{
    struct fabric *f = l->fabric;

    if (!l->greeted) {
        on_hello(l, e);
        return;
    }
    switch (e->body_case) {
    case MUSTER__ENVELOPE__BODY_IM:
    case MUSTER__ENVELOPE__BODY_IM_REPLY:
    case MUSTER__ENVELOPE__BODY_STANZA:
    case MUSTER__ENVELOPE__BODY_REPLICA:
        metrics_add(f->config.metrics, METRIC_FABRIC_FRAMES_IN, 1);
        f->config.on_frame(f->config.ctx, l->peer->node->node, e);
        break;
    default: /* of a newer version */
        metrics_add(f->config.metrics, METRIC_FABRIC_REFUSED, 1);
        break;
    }
}

/* All whole frames at the start of `bytes`; how many bytes they had. */
static size_t take_frames(struct link *l, struct str bytes)
{
    size_t taken = 0;

    while (!l->dropped) {
        struct str rest = str_sub(bytes, taken, bytes.len);
        const Muster__Envelope *e;
        struct str message;
        struct arena arena;
        enum frame_look look = frame_look(rest, &message);

        if (look == FRAME_TOO_LARGE)
            refuse(l, "a frame is too large");
        if (look != FRAME_WHOLE)
            break;
        taken += FRAME_HEAD_BYTES + message.len;
        arena_init(&arena, FRAME_UNPACKED_MAX);
        e = frame_unpack(message, &arena);
        if (e)
            on_envelope(l, e);
        else
            refuse(l, "a frame is malformed");
        arena_done(&arena);
    }
    return taken;
}

static void on_data(void *ctx, struct net_conn *c, const uint8_t *data, size_t len)
{
    struct link *l = ctx;
    struct str bytes = str_of_bytes(data, len);
    size_t taken;

    (void)c;
    if (l->dropped)
        return;
    if (l->in.len > 0) {
        buf_put_str(&l->in, bytes);
        bytes = buf_str(&l->in);
    }
    taken = take_frames(l, bytes);
    if (l->in.len > 0)
        buf_drop(&l->in, taken);
    else
        buf_put_str(&l->in, str_sub(bytes, taken, bytes.len));
    if (l->in.len == 0)
        buf_done(&l->in);
}

/* ---- beginnings ---- */

static void on_open(void *ctx, struct net_conn *c)
{
    struct link *l = ctx;

    (void)c;
    say_hello(l);
}

static const struct net_ops ops = {.on_open = on_open, .on_data = on_data, .on_closed = on_closed};

static struct link *new_link(struct fabric *f, struct net_conn *c)
{
    struct link *l = mem_new(sizeof(*l));

    l->fabric = f;
    l->conn = c;
    buf_init(&l->in, 2 * (FRAME_HEAD_BYTES + FRAME_BYTES_MAX)); /* a frame and what came with it */
    l->next = f->links;
    f->links = l;
    return l;
}

static void *on_accept(void *ctx, struct net_conn *c)
{
    struct fabric *f = ctx;

    return f->closing ? NULL : new_link(f, c);
}

static struct net_config net_config(SSL_CTX *tls)
{
    return (struct net_config){.ops = &ops,
                               .tls = tls,
                               .write_bytes_max = WRITE_BYTES_MAX,
                               .open_timeout_ms = OPEN_TIMEOUT_MS,
                               .connections_max = LINKS_MAX,
                               .dead_after_ms = DEAD_AFTER_MS};
}

static void dial(uv_timer_t *timer)
{
    struct peer *p = timer->data;
    struct fabric *f = p->fabric;
    struct net_config config = net_config(f->client);
    struct link *l = new_link(f, NULL);

    l->dialled = true;
    l->peer = p;
    l->conn = net_connect(f->config.loop, &p->address, &config, l);
}

static int add_peers(struct fabric *f, const struct conf *conf, struct err *ret_err)
{
    for (uint32_t i = 0; i < conf->nodes.count; i++) {
        const struct view_node *node = &conf->nodes.nodes[i];
        struct peer *p = &f->peers[f->peer_count];

        if (node->node == conf->node)
            continue;
        if (net_address(node->address, conf->ports[CONF_PORT_FABRIC], &p->address))
            return err_set(ret_err, "%s is no address", node->address);
        p->fabric = f;
        p->node = node;
        p->dials = conf->node < node->node;
        f->peer_count++;
    }
    return 0;
}

static int listen_for_peers(struct fabric *f, const struct conf *conf, struct err *ret_err)
{
    struct net_config config = net_config(f->server);
    struct sockaddr_storage address;
    int r = net_address(conf_self(conf)->address, conf->ports[CONF_PORT_FABRIC], &address);

    if (r == 0)
        r = net_listen(f->config.loop, &address, &config, on_accept, f, &f->listener);
    return r ? err_set(ret_err, "cannot listen on %s:%u: %s", conf_self(conf)->address,
                       conf->ports[CONF_PORT_FABRIC], uv_strerror(r))
             : 0;
}

struct fabric *fabric_start(const struct fabric_config *config, struct err *ret_err)
{
    struct fabric *f = mem_new(sizeof(*f));

    f->config = *config;
    buf_init(&f->scratch, FRAME_HEAD_BYTES + FRAME_BYTES_MAX);
    f->server = tls_new(TLS_SERVER_MUTUAL, config->conf, ret_err);
    f->client = f->server ? tls_new(TLS_CLIENT_MUTUAL, config->conf, ret_err) : NULL;
    if (!f->client || add_peers(f, config->conf, ret_err) < 0 ||
        listen_for_peers(f, config->conf, ret_err) < 0) {
        f->closing = true;
        free_if_closed(f);
        return NULL;
    }
    for (size_t i = 0; i < f->peer_count; i++) {
        struct peer *p = &f->peers[i];

        uv_timer_init(config->loop, &p->dial);
        p->dial.data = p;
        f->handles++;
        if (p->dials)
            uv_timer_start(&p->dial, dial, 0, 0);
    }
    return f;
}

static void on_timer_closed(uv_handle_t *handle)
{
    struct peer *p = handle->data;

    p->fabric->handles--;
    free_if_closed(p->fabric);
}

void fabric_close(struct fabric *f)
{
    f->closing = true;
    net_listener_close(f->listener);
    for (struct link *l = f->links; l; l = l->next)
        drop(l);
    for (size_t i = 0; i < f->peer_count; i++)
        uv_close((uv_handle_t *)&f->peers[i].dial, on_timer_closed);
    free_if_closed(f);
}

/* ---- use ---- */

void fabric_set_epoch(struct fabric *f, uint64_t epoch)
{
    f->epoch = epoch;
}

bool fabric_send(struct fabric *f, uint32_t node, const Muster__Envelope *envelope)
{
    struct peer *p = find_peer(f, node);

    return p && p->link && !p->link->dropped && put_frame(p->link, envelope);
}

uint64_t fabric_link_id(const struct fabric *f, uint32_t node)
{
    struct peer *p = find_peer(f, node);

    return p ? p->link_id : 0;
}
