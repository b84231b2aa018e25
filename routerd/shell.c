// SPDX-License-Identifier: Apache-2.0
/*
 * Events on their way into the router. Whatever an event changed, what follows from it (the timer,
 * the listeners, the acknowledgement of a view) is looked at in one place, before the loop waits.
 */
#include "routerd/shell.h"

#include "common/log.h"
#include "common/util.h"

enum { DB_CONNECTIONS = 4, REPLICA_BYTES_MAX = 1 << 30, RESTORE_TIMEOUT_MS = 5000 };

struct router_now shell_now(const struct routerd *r)
{
    return (struct router_now){loop_now(&r->daemon.loop), daemon_unix_ms()};
}

/* ---- once a turn of the loop ---- */

/* Streams are accepted while the lease holds, what we had is back, and logins can be checked. */
static void follow_serving(struct routerd *r)
{
    bool should = r->daemon.serving && r->restored && users_loaded(r->users);

    if (should == r->listening)
        return;
    r->listening = should;
    stream_io_serve(r->streams, should);
}

static void on_timer(uv_timer_t *timer)
{
    struct routerd *r = timer->data;
    struct router_now now = shell_now(r);

    router_tick(r->router, &now);
}

static void follow_deadline(struct routerd *r)
{
    mono_t at = router_deadline(r->router);

    if (at.ms == MONO_NEVER.ms)
        uv_timer_stop(&r->timer);
    else
        uv_timer_start(&r->timer, on_timer, mono_until(loop_now(&r->daemon.loop), at), 0);
}

/* Only the newest counts: a new recoveryd counts its versions anew, so an older number may be that
 * of another view. */
static void follow_view(struct routerd *r)
{
    if (router_view_done(r->router) == r->daemon.view.version)
        daemon_view_done(&r->daemon, r->daemon.view.version);
}

static void tell_fabric_state(struct routerd *r, struct neighbour *n, bool frames_lost);

static void on_before_wait(uv_prepare_t *handle)
{
    struct routerd *r = handle->data;

    if (r->proxyd.frame_lost)
        tell_fabric_state(r, &r->proxyd, true);
    if (r->presenced.frame_lost)
        tell_fabric_state(r, &r->presenced, true);
    follow_view(r);
    follow_serving(r);
    follow_deadline(r);
}

/* ---- streams ---- */

static void on_stream_open(void *ctx, uint64_t stream, const struct router_stream_open *open)
{
    struct routerd *r = ctx;
    struct router_now now = shell_now(r);

    router_on_stream_open(r->router, stream, open, &now);
}

static void on_stanza(void *ctx, uint64_t stream, struct arena *arena, struct xml_node *stanza)
{
    struct routerd *r = ctx;
    struct router_now now = shell_now(r);

    router_on_stanza(r->router, stream, arena, stanza, &now);
}

static void on_stream_error(void *ctx, uint64_t stream, int error)
{
    struct routerd *r = ctx;
    struct router_now now = shell_now(r);

    router_on_stream_error(r->router, stream, error, &now);
}

static void on_stream_end(void *ctx, uint64_t stream)
{
    struct routerd *r = ctx;
    struct router_now now = shell_now(r);

    router_on_stream_end(r->router, stream, &now);
}

static void on_stream_closed(void *ctx, uint64_t stream)
{
    struct routerd *r = ctx;
    struct router_now now = shell_now(r);

    router_on_stream_closed(r->router, stream, &now);
}

static const struct stream_io_ops stream_ops = {
    .on_open = on_stream_open,
    .on_stanza = on_stanza,
    .on_error = on_stream_error,
    .on_end = on_stream_end,
    .on_closed = on_stream_closed,
};

/* ---- the fabric, and the other daemons' replica frames on it ---- */

static struct neighbour *neighbour_of(struct routerd *r, uint32_t service)
{
    switch (service) {
    case MUSTER__SERVICE__PROXYD:
        return &r->proxyd;
    case MUSTER__SERVICE__PRESENCED:
        return &r->presenced;
    default:
        return NULL;
    }
}

/* frames_lost: the link is another one for them, even if it is not for us. */
static void tell_fabric_state(struct routerd *r, struct neighbour *n, bool frames_lost)
{
    uint64_t link_id = fabric_link_id(r->fabric, view_peer(&r->daemon.conf.nodes));
    Muster__FabricState state = MUSTER__FABRIC_STATE__INIT;
    Muster__Envelope e = MUSTER__ENVELOPE__INIT;

    state.peer_up = link_id != 0;
    state.link_id = link_id && frames_lost ? daemon_random_u64() : link_id;
    e.body_case = MUSTER__ENVELOPE__BODY_FABRIC_STATE;
    e.fabric_state = &state;
    n->frame_lost = n->link && ipc_send(n->link, &e) == IPC_E_FULL; /* then it is tried again */
}

static void on_fabric_link(void *ctx, uint32_t node, bool up, uint64_t link_id)
{
    struct routerd *r = ctx;
    struct router_now now = shell_now(r);

    router_on_node_link(r->router, node, up, &now);
    if (node != view_peer(&r->daemon.conf.nodes))
        return;
    replica_link_state(r->replica, up, link_id);
    tell_fabric_state(r, &r->proxyd, false);
    tell_fabric_state(r, &r->presenced, false);
}

/* A replica frame of the peer, for us or for a neighbour. */
static void deliver_replica(struct routerd *r, const Muster__Envelope *e)
{
    struct neighbour *n = neighbour_of(r, e->replica->service);

    if (e->replica->service == MUSTER__SERVICE__ROUTERD)
        replica_link_receive(r->replica, e->replica);
    else if (n && n->link && ipc_send(n->link, e) == IPC_E_FULL)
        n->frame_lost = true;
}

static void on_fabric_frame(void *ctx, uint32_t node, const Muster__Envelope *e)
{
    struct routerd *r = ctx;
    struct router_now now = shell_now(r);

    if (e->body_case != MUSTER__ENVELOPE__BODY_REPLICA)
        router_on_node(r->router, node, e, &now);
    else if (node == view_peer(&r->daemon.conf.nodes))
        deliver_replica(r, e);
}

static bool send_replica(void *ctx, const Muster__ReplicaFrame *frame)
{
    struct routerd *r = ctx;
    Muster__Envelope e = MUSTER__ENVELOPE__INIT;

    e.body_case = MUSTER__ENVELOPE__BODY_REPLICA;
    e.replica = (Muster__ReplicaFrame *)frame;
    return r->fabric && fabric_send(r->fabric, view_peer(&r->daemon.conf.nodes), &e);
}

/* ---- frames of proxyd and presenced ---- */

static void on_proxyd(void *ctx, struct ipc_link *link, const Muster__Envelope *e)
{
    struct routerd *r = ((struct daemon *)ctx)->ctx;
    struct router_now now = shell_now(r);

    if (link == r->proxyd.link)
        router_on_proxyd(r->router, e, &now);
}

static void on_presenced(void *ctx, struct ipc_link *link, const Muster__Envelope *e)
{
    struct routerd *r = ((struct daemon *)ctx)->ctx;
    struct router_now now = shell_now(r);

    if (link == r->presenced.link)
        router_on_presenced(r->router, e, &now);
}

/* What the fabric does not take breaks its link, and then everybody hears of a new one. */
static void on_replica(void *ctx, struct ipc_link *link, const Muster__Envelope *e)
{
    struct routerd *r = ((struct daemon *)ctx)->ctx;

    if (e->replica->service == ipc_peer(link))
        (void)fabric_send(r->fabric, view_peer(&r->daemon.conf.nodes), e);
}

enum {
    FROM_PROXYD = 1u << MUSTER__SERVICE__PROXYD,
    FROM_PRESENCED = 1u << MUSTER__SERVICE__PRESENCED,
};

const struct ipc_handler shell_handlers[] = {
    [MUSTER__ENVELOPE__BODY_IM] = {on_proxyd, FROM_PROXYD},
    [MUSTER__ENVELOPE__BODY_IM_REPLY] = {on_proxyd, FROM_PROXYD},
    [MUSTER__ENVELOPE__BODY_REGISTRATION] = {on_proxyd, FROM_PROXYD},
    [MUSTER__ENVELOPE__BODY_AVAILABILITY] = {on_presenced, FROM_PRESENCED},
    [MUSTER__ENVELOPE__BODY_PRESENCE_SYNC] = {on_presenced, FROM_PRESENCED},
    [MUSTER__ENVELOPE__BODY_REPLICA] = {on_replica, FROM_PROXYD | FROM_PRESENCED},
};
const size_t shell_handler_count = ARRAY_LEN(shell_handlers);

/* ---- links ---- */

static void tell_link(struct routerd *r, const struct neighbour *n, bool up)
{
    struct router_now now = shell_now(r);

    if (n == &r->proxyd)
        router_on_proxyd_link(r->router, up, &now);
    else
        router_on_presenced_link(r->router, up, &now);
}

void shell_on_link_up(struct daemon *d, struct ipc_link *link)
{
    struct routerd *r = d->ctx;
    struct neighbour *n = neighbour_of(r, ipc_peer(link));

    if (!n)
        return;
    if (n->link) /* the older one's end was not noticed yet */
        tell_link(r, n, false);
    n->link = link;
    tell_fabric_state(r, n, false);
    tell_link(r, n, true);
}

void shell_on_link_down(struct daemon *d, struct ipc_link *link)
{
    struct routerd *r = d->ctx;
    struct neighbour *n = neighbour_of(r, ipc_peer(link));

    if (!n || n->link != link || r->stopped)
        return;
    *n = (struct neighbour){0};
    tell_link(r, n, false);
}

/* ---- database ---- */

static void on_roster(void *ctx, uint64_t request, int status,
                      const struct router_roster_item *items, size_t count)
{
    struct routerd *r = ctx;
    struct router_now now = shell_now(r);

    router_on_roster(r->router, request, status, items, count, &now);
}

static void on_stored(void *ctx, uint64_t request, int status)
{
    struct routerd *r = ctx;
    struct router_now now = shell_now(r);

    router_on_stored(r->router, request, status, &now);
}

static void on_offline(void *ctx, uint64_t request, int status,
                       const struct router_offline *messages, size_t count)
{
    struct routerd *r = ctx;
    struct router_now now = shell_now(r);

    router_on_offline(r->router, request, status, messages, count, &now);
}

static const struct durable_ops durable_ops = {on_roster, on_stored, on_offline};

/* ---- the view, users, health ---- */

void shell_on_view(struct daemon *d, const struct view *view)
{
    struct routerd *r = d->ctx;
    struct router_now now = shell_now(r);

    fabric_set_epoch(r->fabric, view->epoch);
    router_on_view(r->router, view, &now);
    replica_link_view(r->replica, view);
}

void shell_on_serving(struct daemon *d, bool serving)
{
    struct routerd *r = d->ctx;
    struct router_now now = shell_now(r);

    router_on_serving(r->router, serving, &now);
}

/* Who is whose may be different now, so the replica asks anew. */
static void on_users_changed(void *ctx, const char *aor)
{
    struct routerd *r = ctx;
    struct router_now now = shell_now(r);

    router_on_users(r->router, aor, &now);
    if (!aor && r->daemon.view.version)
        replica_link_view(r->replica, &r->daemon.view);
}

void shell_on_health(struct daemon *d, Muster__ViewAck *ack)
{
    struct routerd *r = d->ctx;

    ack->replica = replica_state(replica_link_replica(r->replica));
    ack->healthy = users_loaded(r->users);
    if (!ack->healthy)
        ack->complaint = (char *)"the directory of users is not loaded yet";
}

/* ---- the replica ---- */

static bool is_mine(void *ctx, struct str user)
{
    struct routerd *r = ctx;

    return router_is_mine(r->router, user);
}

static bool is_peers(void *ctx, struct str user)
{
    struct routerd *r = ctx;

    return router_is_peers(r->router, user);
}

static void on_restored(void *ctx)
{
    struct routerd *r = ctx;

    r->restored = true;
    router_on_restored(r->router);
}

/* ---- start and stop ---- */

static void start_core(struct routerd *r)
{
    const struct router_config router = {
        .ops = &shell_router_ops,
        .ctx = r,
        .domain = r->daemon.conf.domain,
        .port = r->daemon.conf.ports[CONF_PORT_XMPP],
        .directory = r->directory,
        .params = &r->daemon.params,
        .metrics = &r->daemon.metrics,
    };
    const struct replica_config replica = {
        .restore_timeout_ms = RESTORE_TIMEOUT_MS,
        .bytes_max = REPLICA_BYTES_MAX,
        .is_mine = is_mine,
        .is_peers = is_peers,
        .on_restored = on_restored,
        .ctx = r,
    };

    r->router = router_new(&router);
    r->replica = replica_link_start(&r->daemon, &replica, send_replica, r);
    router_set_replica(r->router, replica_link_replica(r->replica));
}

static void start_database(struct routerd *r)
{
    const struct db_config config = {
        .conninfo = r->daemon.conf.conninfo,
        .connections = DB_CONNECTIONS,
        .metrics = &r->daemon.metrics,
        .ctx = r,
    };

    r->db = db_start(&r->daemon.loop, &config);
    r->users = users_start(r->db, r->directory, on_users_changed, r);
    r->durable = durable_new(r->db, &r->daemon.params, &durable_ops, r);
}

static int start_network(struct routerd *r, struct err *ret_err)
{
    const struct fabric_config fabric = {
        .loop = &r->daemon.loop,
        .conf = &r->daemon.conf,
        .boot_id = r->daemon.boot_id,
        .metrics = &r->daemon.metrics,
        .on_link = on_fabric_link,
        .on_frame = on_fabric_frame,
        .ctx = r,
    };
    const struct stream_io_config streams = {
        .loop = &r->daemon.loop,
        .conf = &r->daemon.conf,
        .threads = (unsigned)r->daemon.params.common_io_threads,
        .metrics = &r->daemon.metrics,
        .ops = &stream_ops,
        .ctx = r,
    };

    r->streams = stream_io_start(&streams, ret_err);
    if (!r->streams)
        return -1;
    r->fabric = fabric_start(&fabric, ret_err);
    if (r->fabric)
        return 0;
    stream_io_close(r->streams);
    r->streams = NULL;
    return -1;
}

int shell_start(struct routerd *r, struct err *ret_err)
{
    if (start_network(r, ret_err) < 0)
        return -1;
    r->directory = directory_new();
    uv_timer_init(&r->daemon.loop, &r->timer);
    uv_prepare_init(&r->daemon.loop, &r->before_wait);
    r->timer.data = r->before_wait.data = r;
    /* libuv calls these in the reverse order of their start: ours after the replica's. */
    uv_prepare_start(&r->before_wait, on_before_wait);
    start_core(r);
    start_database(r);
    return 0;
}

/* Each part ends while those that it calls are still there: the router goes last. */
void shell_stop(struct routerd *r)
{
    struct stream_io *streams = r->streams;

    r->stopped = true;
    uv_close((uv_handle_t *)&r->before_wait, NULL);
    uv_close((uv_handle_t *)&r->timer, NULL);
    stream_io_close(streams);
    r->streams = NULL;
    users_close(r->users);
    db_close(r->db);
    fabric_close(r->fabric);
    r->fabric = NULL;
    router_free(r->router);
    replica_link_close(r->replica);
    durable_free(r->durable);
    directory_free(r->directory);
}
