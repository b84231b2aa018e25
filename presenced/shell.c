// SPDX-License-Identifier: Apache-2.0
#include "presenced/shell.h"

#include "common/log.h"
#include "common/xml.h"
#include "presenced/pidf.h"

enum { DOCUMENT_ARENA_MAX = 1 << 20, REPLICA_BYTES_MAX = 512 << 20, RESTORE_TIMEOUT_MS = 5000 };

static struct engine_now now_of(struct presenced *p)
{
    return (struct engine_now){loop_now(&p->daemon.loop), daemon_unix_ms()};
}

/* ---- the engine's deadline: one timer, armed in one place ---- */

static void arm(struct presenced *p);

static void on_timer(uv_timer_t *timer)
{
    struct presenced *p = timer->data;
    struct engine_now now = now_of(p);

    engine_tick(p->engine, &now);
    arm(p);
}

static void arm(struct presenced *p)
{
    mono_t at = engine_deadline(p->engine);

    if (at.ms == MONO_NEVER.ms)
        uv_timer_stop(&p->timer);
    else
        uv_timer_start(&p->timer, on_timer, mono_until(loop_now(&p->daemon.loop), at), 0);
}

/* ---- what the engine wants done ---- */

/* False where there is no link, or it is full: the engine says it again when it can. */
static bool send_on(struct ipc_link *link, const Muster__Envelope *envelope)
{
    return link && ipc_send(link, envelope) == 0;
}

/* An answer that does not fit is lost: proxyd's own deadline refuses the request. */
static void answer(struct presenced *p, const Muster__Envelope *envelope)
{
    if (!send_on(p->proxyd, envelope))
        log_warning("answer_dropped", log_u64("request", envelope->id));
}

static void do_publish_reply(void *ctx, uint64_t request, const Muster__PublishReply *reply)
{
    Muster__Envelope e = MUSTER__ENVELOPE__INIT;

    e.id = request;
    e.body_case = MUSTER__ENVELOPE__BODY_PUBLISH_REPLY;
    e.publish_reply = (Muster__PublishReply *)reply;
    answer(ctx, &e);
}

static void do_subscribe_reply(void *ctx, uint64_t request, const Muster__SubscribeReply *reply)
{
    Muster__Envelope e = MUSTER__ENVELOPE__INIT;

    e.id = request;
    e.body_case = MUSTER__ENVELOPE__BODY_SUBSCRIBE_REPLY;
    e.subscribe_reply = (Muster__SubscribeReply *)reply;
    answer(ctx, &e);
}

static bool do_notify(void *ctx, uint64_t request, const Muster__Notify *notify)
{
    struct presenced *p = ctx;
    Muster__Envelope e = MUSTER__ENVELOPE__INIT;

    e.id = request;
    e.body_case = MUSTER__ENVELOPE__BODY_NOTIFY;
    e.notify = (Muster__Notify *)notify;
    return send_on(p->proxyd, &e);
}

static bool do_availability(void *ctx, const Muster__Availability *availability)
{
    struct presenced *p = ctx;
    Muster__Envelope e = MUSTER__ENVELOPE__INIT;

    e.body_case = MUSTER__ENVELOPE__BODY_AVAILABILITY;
    e.availability = (Muster__Availability *)availability;
    return send_on(p->routerd, &e);
}

static void do_presence_sync(void *ctx)
{
    struct presenced *p = ctx;
    Muster__Envelope e = MUSTER__ENVELOPE__INIT;
    Muster__PresenceSync sync = MUSTER__PRESENCE_SYNC__INIT;

    e.body_case = MUSTER__ENVELOPE__BODY_PRESENCE_SYNC;
    e.presence_sync = &sync;
    if (!send_on(p->routerd, &e))
        log_warning("presence_sync_dropped");
}

static void do_view_done(void *ctx, uint64_t version)
{
    struct presenced *p = ctx;

    daemon_view_done(&p->daemon, version);
}

static void do_random(void *ctx, void *ret_bytes, size_t len)
{
    (void)ctx;
    daemon_random(ret_bytes, len);
}

static const struct engine_ops ops = {
    .publish_reply = do_publish_reply,
    .subscribe_reply = do_subscribe_reply,
    .notify = do_notify,
    .availability = do_availability,
    .presence_sync = do_presence_sync,
    .view_done = do_view_done,
    .random = do_random,
};

/* ---- frames of proxyd ---- */

static void refuse_publish(struct presenced *p, uint64_t request, uint32_t code, const char *reason)
{
    Muster__PublishReply reply = MUSTER__PUBLISH_REPLY__INIT;

    reply.code = code;
    reply.reason = (char *)reason;
    do_publish_reply(p, request, &reply);
}

/* Parses the document, which lives in `a`; false after a refusal. */
static bool read_document(struct presenced *p, uint64_t request, const Muster__Publish *m,
                          struct arena *a, Muster__Pidf *ret_pidf)
{
    struct xml_node *root;

    if (m->document.len > PIDF_BYTES_MAX) {
        refuse_publish(p, request, 413, "Request Entity Too Large");
        return false;
    }
    if (!str_ieq_c(str_of(m->content_type), "application/pidf+xml")) {
        refuse_publish(p, request, 415, "Unsupported Media Type");
        return false;
    }
    if (xml_parse(a, str_of_bytes(m->document.data, m->document.len), &root) ||
        pidf_read(a, root, ret_pidf)) {
        refuse_publish(p, request, 400, "Not a presence document");
        return false;
    }
    return true;
}

static void on_publish(void *ctx, struct ipc_link *link, const Muster__Envelope *e)
{
    struct presenced *p = ((struct daemon *)ctx)->ctx;
    struct engine_now now = now_of(p);
    bool has_document = e->publish->document.len > 0;
    Muster__Pidf pidf = MUSTER__PIDF__INIT;
    struct arena a;

    (void)link;
    arena_init(&a, DOCUMENT_ARENA_MAX);
    if (!has_document || read_document(p, e->id, e->publish, &a, &pidf))
        engine_on_publish(p->engine, e->id, e->publish, has_document ? &pidf : NULL, &now);
    arena_done(&a);
    arm(p);
}

static void on_subscribe(void *ctx, struct ipc_link *link, const Muster__Envelope *e)
{
    struct presenced *p = ((struct daemon *)ctx)->ctx;
    struct engine_now now = now_of(p);

    (void)link;
    engine_on_subscribe(p->engine, e->id, e->subscribe, &now);
    arm(p);
}

static void on_notify_reply(void *ctx, struct ipc_link *link, const Muster__Envelope *e)
{
    struct presenced *p = ((struct daemon *)ctx)->ctx;
    struct engine_now now = now_of(p);

    (void)link;
    engine_on_notify_reply(p->engine, e->id, e->notify_reply->code, &now);
    arm(p);
}

/* ---- frames of routerd ---- */

static void on_device_status(void *ctx, struct ipc_link *link, const Muster__Envelope *e)
{
    struct presenced *p = ((struct daemon *)ctx)->ctx;
    struct engine_now now = now_of(p);

    (void)link;
    engine_on_device_status(p->engine, e->device_status, &now);
    arm(p);
}

static void on_presence_sync(void *ctx, struct ipc_link *link, const Muster__Envelope *e)
{
    struct presenced *p = ((struct daemon *)ctx)->ctx;
    struct engine_now now = now_of(p);

    (void)link;
    (void)e;
    engine_on_presence_sync(p->engine, &now);
    arm(p);
}

/* Without the directory nobody's records are anybody's: the replica sees no peer before it is here,
 * and the engine no view. */
static void say_peer(struct presenced *p)
{
    if (users_loaded(p->users))
        replica_link_state(p->replica, p->peer_up, p->peer_link_id);
}

static void on_fabric_state(void *ctx, struct ipc_link *link, const Muster__Envelope *e)
{
    struct presenced *p = ((struct daemon *)ctx)->ctx;

    (void)link;
    p->peer_up = e->fabric_state->peer_up;
    p->peer_link_id = e->fabric_state->link_id;
    say_peer(p);
}

static void on_replica(void *ctx, struct ipc_link *link, const Muster__Envelope *e)
{
    struct presenced *p = ((struct daemon *)ctx)->ctx;

    (void)link;
    replica_link_receive(p->replica, e->replica);
    arm(p);
}

enum { FROM_PROXYD = 1u << MUSTER__SERVICE__PROXYD, FROM_ROUTERD = 1u << MUSTER__SERVICE__ROUTERD };

const struct ipc_handler shell_handlers[] = {
    [MUSTER__ENVELOPE__BODY_PUBLISH] = {on_publish, FROM_PROXYD},
    [MUSTER__ENVELOPE__BODY_SUBSCRIBE] = {on_subscribe, FROM_PROXYD},
    [MUSTER__ENVELOPE__BODY_NOTIFY_REPLY] = {on_notify_reply, FROM_PROXYD},
    [MUSTER__ENVELOPE__BODY_DEVICE_STATUS] = {on_device_status, FROM_ROUTERD},
    [MUSTER__ENVELOPE__BODY_PRESENCE_SYNC] = {on_presence_sync, FROM_ROUTERD},
    [MUSTER__ENVELOPE__BODY_FABRIC_STATE] = {on_fabric_state, FROM_ROUTERD},
    [MUSTER__ENVELOPE__BODY_REPLICA] = {on_replica, FROM_ROUTERD},
};
const size_t shell_handler_count = sizeof(shell_handlers) / sizeof(*shell_handlers);

/* ---- links and the view ---- */

void shell_on_link_up(struct daemon *d, struct ipc_link *link)
{
    struct presenced *p = d->ctx;
    struct engine_now now = now_of(p);

    if (ipc_peer(link) == MUSTER__SERVICE__PROXYD) {
        if (p->proxyd)
            engine_on_proxyd_link(p->engine, false, &now);
        p->proxyd = link;
        engine_on_proxyd_link(p->engine, true, &now);
    } else if (ipc_peer(link) == MUSTER__SERVICE__ROUTERD) {
        engine_on_routerd_link(p->engine, true, &now);
    }
    arm(p);
}

void shell_on_link_down(struct daemon *d, struct ipc_link *link)
{
    struct presenced *p = d->ctx;
    struct engine_now now = now_of(p);

    if (link == p->proxyd) {
        p->proxyd = NULL;
        engine_on_proxyd_link(p->engine, false, &now);
    } else if (link == p->routerd) {
        engine_on_routerd_link(p->engine, false, &now);
        p->peer_up = false;
        say_peer(p);
    }
    arm(p);
}

void shell_on_view(struct daemon *d, const struct view *view)
{
    struct presenced *p = d->ctx;
    struct engine_now now = now_of(p);

    if (!users_loaded(p->users))
        return;
    engine_on_view(p->engine, view, &now);
    replica_link_view(p->replica, view);
    arm(p);
}

void shell_on_serving(struct daemon *d, bool serving)
{
    struct presenced *p = d->ctx;
    struct engine_now now = now_of(p);

    engine_on_lease(p->engine, serving, &now);
    arm(p);
}

static void on_users_changed(void *ctx, const char *aor)
{
    struct presenced *p = ctx;
    struct engine_now now = now_of(p);

    if (aor || p->users_seen) {
        engine_on_users(p->engine, aor, &now);
        arm(p);
        return;
    }
    p->users_seen = true;
    if (p->daemon.view.version)
        shell_on_view(&p->daemon, &p->daemon.view);
    say_peer(p);
}

void shell_on_health(struct daemon *d, Muster__ViewAck *ack)
{
    struct presenced *p = d->ctx;

    ack->replica = replica_state(replica_link_replica(p->replica));
    ack->healthy = users_loaded(p->users);
    if (!ack->healthy)
        ack->complaint = (char *)"the directory of users is not loaded yet";
}

/* ---- start and stop ---- */

static bool do_replica_frame(void *ctx, const Muster__ReplicaFrame *frame)
{
    struct presenced *p = ctx;
    Muster__Envelope e = MUSTER__ENVELOPE__INIT;

    e.body_case = MUSTER__ENVELOPE__BODY_REPLICA;
    e.replica = (Muster__ReplicaFrame *)frame;
    return send_on(p->routerd, &e);
}

static bool is_mine(void *ctx, struct str user)
{
    struct presenced *p = ctx;

    return engine_is_mine(p->engine, user);
}

static bool is_peers(void *ctx, struct str user)
{
    struct presenced *p = ctx;

    return engine_is_peers(p->engine, user);
}

static void on_restored(void *ctx)
{
    struct presenced *p = ctx;
    struct engine_now now = now_of(p);

    engine_tick(p->engine, &now);
    engine_on_restored(p->engine);
}

static void on_flushed(void *ctx)
{
    arm(ctx);
}

static void start_replica(struct presenced *p)
{
    const struct replica_config config = {
        .restore_timeout_ms = RESTORE_TIMEOUT_MS,
        .bytes_max = REPLICA_BYTES_MAX,
        .is_mine = is_mine,
        .is_peers = is_peers,
        .on_restored = on_restored,
        .ctx = p,
    };

    p->replica = replica_link_start(&p->daemon, &config, do_replica_frame, p);
    replica_link_after_flush(p->replica, on_flushed, p);
    engine_set_replica(p->engine, replica_link_replica(p->replica));
}

void shell_start(struct presenced *p)
{
    static const struct db_statement no_statements[] = {{0}};
    const struct engine_config engine = {
        .ops = &ops,
        .ctx = p,
        .directory = p->directory = directory_new(),
        .params = &p->daemon.params,
        .metrics = &p->daemon.metrics,
    };
    const struct db_config db = {
        .conninfo = p->daemon.conf.conninfo,
        .connections = 1,
        .statements = no_statements,
        .metrics = &p->daemon.metrics,
    };

    uv_timer_init(&p->daemon.loop, &p->timer);
    p->timer.data = p;
    p->engine = engine_new(&engine);
    start_replica(p);
    p->db = db_start(&p->daemon.loop, &db);
    p->users = users_start(p->db, p->directory, on_users_changed, p);
    p->routerd = ipc_connect(p->daemon.ipc, MUSTER__SERVICE__ROUTERD);
}

void shell_stop(struct presenced *p)
{
    users_close(p->users);
    db_close(p->db);
    uv_close((uv_handle_t *)&p->timer, NULL);
    engine_free(p->engine);
    replica_link_close(p->replica);
    directory_free(p->directory);
}
