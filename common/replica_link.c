// SPDX-License-Identifier: Apache-2.0
/*
 * Deadlines are looked at after the loop has read what there was, not before: a process that was
 * stopped for a while must not take the peer for silent while its acknowledgement waits in a
 * socket. What is to be sent goes out before the loop waits again, so one turn's changes are one
 * frame.
 */
#include "common/replica_link.h"

#include "common/log.h"
#include "common/mem.h"

struct replica_link {
    struct daemon *daemon;
    struct replica *replica;
    struct replica_config config; /* the caller's */
    bool (*send)(void *ctx, const Muster__ReplicaFrame *frame);
    void *send_ctx;
    void (*after_flush)(void *ctx);
    void *after_flush_ctx;
    Muster__ReplicaState state;
    uv_timer_t timer; /* only wakes the loop up */
    uv_prepare_t before_wait;
    uv_check_t after_read;
    int handles;
};

const char *replica_link_state_name(Muster__ReplicaState state)
{
    switch (state) {
    case MUSTER__REPLICA_STATE__REPLICA_FRESH:
        return "fresh";
    case MUSTER__REPLICA_STATE__REPLICA_ALONE:
        return "alone";
    case MUSTER__REPLICA_STATE__REPLICA_SYNCING:
        return "syncing";
    case MUSTER__REPLICA_STATE__REPLICA_IN_SYNC:
        return "in_sync";
    case _MUSTER__REPLICA_STATE_IS_INT_SIZE:
        break;
    }
    return "unknown";
}

/* ---- the replica's callbacks ---- */

static bool is_mine(void *ctx, struct str user)
{
    struct replica_link *l = ctx;

    return l->config.is_mine(l->config.ctx, user);
}

static bool is_peers(void *ctx, struct str user)
{
    struct replica_link *l = ctx;

    return l->config.is_peers(l->config.ctx, user);
}

static bool send_frame(void *ctx, const Muster__ReplicaFrame *frame)
{
    struct replica_link *l = ctx;

    if (frame->body_case == MUSTER__REPLICA_FRAME__BODY_OPS)
        metrics_add(&l->daemon->metrics, METRIC_REPLICA_OPS, (int64_t)frame->ops->n_records);
    return l->send(l->send_ctx, frame);
}

static void on_state(void *ctx, Muster__ReplicaState state)
{
    struct replica_link *l = ctx;
    struct daemon *d = l->daemon;

    log_info("replica_state", log_str("state", replica_link_state_name(state)),
             log_str("before", replica_link_state_name(l->state)));
    if (l->state == MUSTER__REPLICA_STATE__REPLICA_IN_SYNC)
        metrics_add(&d->metrics, METRIC_REPLICA_LOST, 1);
    l->state = state;
    if (state == MUSTER__REPLICA_STATE__REPLICA_IN_SYNC)
        daemon_alarm(d, "ReplicaOutOfSync", false, "");
    else if (state == MUSTER__REPLICA_STATE__REPLICA_ALONE && view_peer(&d->view))
        daemon_alarm(d, "ReplicaOutOfSync", true, ipc_service_name(d->config->service));
}

static void on_restored(void *ctx)
{
    struct replica_link *l = ctx;

    log_info("replica_restored");
    if (l->config.on_restored)
        l->config.on_restored(l->config.ctx);
}

/* ---- the loop ---- */

static void count_records(struct replica_link *l)
{
    size_t count = 0;

    for (uint32_t table = 0; table < REPLICA_TABLES_MAX; table++)
        count += replica_count(l->replica, table);
    metrics_set(&l->daemon->metrics, METRIC_REPLICA_RECORDS, (int64_t)count);
}

static void on_timer(uv_timer_t *timer)
{
    (void)timer;
}

static void arm(struct replica_link *l)
{
    mono_t at = replica_deadline(l->replica);

    if (at.ms == MONO_NEVER.ms)
        uv_timer_stop(&l->timer);
    else
        uv_timer_start(&l->timer, on_timer, mono_until(loop_now(&l->daemon->loop), at), 0);
}

static void flush(struct replica_link *l)
{
    if (!replica_pending(l->replica))
        return;
    replica_flush(l->replica, loop_now(&l->daemon->loop));
    count_records(l);
    if (l->after_flush)
        l->after_flush(l->after_flush_ctx);
}

static void on_before_wait(uv_prepare_t *handle)
{
    struct replica_link *l = handle->data;

    flush(l);
    arm(l);
}

static void on_after_read(uv_check_t *handle)
{
    struct replica_link *l = handle->data;
    mono_t now = loop_now(&l->daemon->loop);

    replica_set_commit_timeout(l->replica, l->daemon->params.common_replica_commit_timeout_ms);
    if (mono_reached(now, replica_deadline(l->replica)))
        replica_tick(l->replica, now);
    flush(l);
}

void replica_link_after_flush(struct replica_link *l, void (*done)(void *ctx), void *ctx)
{
    l->after_flush = done;
    l->after_flush_ctx = ctx;
}

void replica_link_touch(struct replica_link *l)
{
    arm(l);
}

struct replica_link *replica_link_start(struct daemon *d, const struct replica_config *config,
                                        bool (*send)(void *, const Muster__ReplicaFrame *),
                                        void *send_ctx)
{
    struct replica_link *l = mem_new(sizeof(*l));
    struct replica_config own = *config;

    l->daemon = d;
    l->config = *config;
    l->send = send;
    l->send_ctx = send_ctx;
    own.service = d->config->service;
    own.boot_id = d->boot_id;
    own.commit_timeout_ms = d->params.common_replica_commit_timeout_ms;
    own.is_mine = is_mine;
    own.is_peers = config->is_peers ? is_peers : NULL;
    own.send = send_frame;
    own.on_state = on_state;
    own.on_restored = on_restored;
    own.ctx = l;
    l->replica = replica_new(&own);
    uv_timer_init(&d->loop, &l->timer);
    uv_prepare_init(&d->loop, &l->before_wait);
    uv_check_init(&d->loop, &l->after_read);
    l->timer.data = l->before_wait.data = l->after_read.data = l;
    l->handles = 3;
    uv_prepare_start(&l->before_wait, on_before_wait);
    uv_check_start(&l->after_read, on_after_read);
    return l;
}

static void on_closed(uv_handle_t *handle)
{
    struct replica_link *l = handle->data;

    if (--l->handles)
        return;
    replica_free(l->replica);
    mem_free(l);
}

void replica_link_close(struct replica_link *l)
{
    uv_close((uv_handle_t *)&l->timer, on_closed);
    uv_close((uv_handle_t *)&l->before_wait, on_closed);
    uv_close((uv_handle_t *)&l->after_read, on_closed);
}

/* ---- what the daemon passes on ---- */

struct replica *replica_link_replica(struct replica_link *l)
{
    return l->replica;
}

void replica_link_state(struct replica_link *l, bool peer_up, uint64_t link_id)
{
    mono_t now = loop_now(&l->daemon->loop);

    if (peer_up)
        replica_link_up(l->replica, link_id, now);
    else
        replica_link_down(l->replica, now);
    arm(l);
}

void replica_link_receive(struct replica_link *l, const Muster__ReplicaFrame *frame)
{
    int r = replica_receive(l->replica, frame, loop_now(&l->daemon->loop));

    if (r == REPLICA_E_REFUSED)
        log_warning("replica_records_refused", log_u64("stream", frame->stream));
    else if (r == REPLICA_E_FULL)
        log_warning("replica_full", log_u64("bytes_max", l->config.bytes_max));
    else if (r)
        log_debug("replica_frame_stale", log_u64("stream", frame->stream));
    arm(l);
}

void replica_link_view(struct replica_link *l, const struct view *view)
{
    const struct view_node *peer = view_find(view, view_peer(view));

    replica_view(l->replica, view->epoch, peer && peer->services_up, loop_now(&l->daemon->loop));
    arm(l);
}
