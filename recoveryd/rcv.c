// SPDX-License-Identifier: Apache-2.0
#include "recoveryd/rcv.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "common/mem.h"
#include "common/util.h"
#include "recoveryd/rcv_core.h"

enum { SAVE_AGAIN_MS = 200 };

struct rcv_effect *rcv_effect(struct rcv *r, enum rcv_effect_type type)
{
    struct rcv_effect *e;

    assert(r->update->count < RCV_EFFECTS_MAX);
    e = &r->update->effects[r->update->count++];
    *e = (struct rcv_effect){.type = type, .id = ++r->last_id};
    return e;
}

void rcv_act(void *ctx, Muster__Service service, enum service_action action)
{
    static const enum rcv_effect_type types[] = {
        [SERVICE_START] = RCV_START_SERVICE,
        [SERVICE_TERMINATE] = RCV_TERMINATE_SERVICE,
        [SERVICE_KILL] = RCV_KILL_SERVICE,
    };

    rcv_effect(ctx, types[action])->service = service;
}

/* ---- events ---- */

static void start_beat(struct rcv *r, const Muster__Heartbeat *h)
{
    uint64_t was_released = r->peer.last.released_epoch, was_epoch = r->peer.last.epoch;

    bool is_back;

    if (h->boot_id == r->peer.gone_boot_id)
        return;
    is_back = peer_heard(&r->peer, h, r->now);
    if (is_back)
        r->echoed_at = r->now;
    /* What moves users forward is answered at once, not at the next interval. */
    if (h->released_epoch != was_released || h->epoch != was_epoch)
        r->beat_now = true;
    if (h->echo_boot_id != r->config.boot_id)
        return;
    if (h->echo_seq <= r->seq && h->echo_seq + RCV_SENT_MAX > r->seq)
        r->echoed_at = r->sent_at[h->echo_seq % RCV_SENT_MAX];
    if (h->epoch > r->disk.epoch)
        return;
    r->sure_until = MONO_NEVER;
    if (h->echo_seq >= r->sure_seq)
        r->sure = true;
}

static void note_goal(struct rcv *r, enum rcv_role was)
{
    r->goal_since = r->now;
    r->late_killed = false;
    /* A plan that follows the peer's may follow what we read late; only its answer makes us sure.
     */
    if (rcv_peer_dead(r)) {
        r->sure = true;
        r->sure_until = MONO_NEVER;
    }
    r->failover_asked = false;
    r->fallback_ready_since = MONO_NEVER;
    if (r->disk.goal != RCV_FAILED)
        r->forced = false;
    if (r->wish == RCV_WISH_FALLBACK && r->disk.goal != was)
        r->wish = RCV_WISH_NOTHING;
    if (r->disk.goal == RCV_BOTH && was == RCV_OWN) {
        r->takeovers[0] = r->takeovers[1];
        r->takeovers[1] = r->now;
    }
}

static void note_saved(struct rcv *r, uint64_t id, bool ok)
{
    struct rcv_plan was = r->disk;

    if (!r->saving || id != r->save_id)
        return;
    r->saving = false;
    if (!ok) {
        r->save_again_at = mono_after(r->now, SAVE_AGAIN_MS);
        return;
    }
    r->disk = r->next;
    r->decided_seq = r->seq + 1;
    r->beat_now = true;
    if (r->disk.epoch != was.epoch)
        note_goal(r, was.goal);
}

static void note_exit(struct rcv *r, Muster__Service service)
{
    r->restarted[service] |= services_exited(&r->services, service, r->now, r->unix_ms);
}

static void set_timers(struct rcv *r, const struct rcv_timers *timers)
{
    r->config.timers = *timers;
    peer_set_timeouts(&r->peer, timers->heartbeat_timeout_ms, timers->init_heartbeat_timeout_ms);
}

static void take(struct rcv *r, const struct rcv_event *event)
{
    switch (event->type) {
    case RCV_TICK:
        break;
    case RCV_HEARD:
        start_beat(r, event->heartbeat);
        break;
    case RCV_LINK_LOST:
        peer_link_lost(&r->peer);
        break;
    case RCV_CONNECT_FAILED:
        peer_connect_failed(&r->peer, event->connect.refused && event->connect.listeners_refused);
        break;
    case RCV_SERVICE_STARTED:
        services_started(&r->services, event->process.service, event->process.pid, r->now,
                         r->unix_ms);
        break;
    case RCV_SERVICE_EXITED:
        note_exit(r, event->process.service);
        break;
    case RCV_SERVICE_ACKED:
        services_acked(&r->services, event->ack.service, event->ack.ack, r->now);
        break;
    case RCV_DATABASE:
        r->database = event->database;
        break;
    case RCV_DATABASE_DONE:
        roles_database_done(r, event->done.id, event->done.ok);
        break;
    case RCV_SYNC_DONE:
        roles_sync_done(r, event->done.id, event->done.ok);
        break;
    case RCV_SAVED:
        note_saved(r, event->done.id, event->done.ok);
        break;
    case RCV_COMMAND:
        commands_run(r, event->command.command, event->command.service);
        break;
    case RCV_TIMERS:
        set_timers(r, &event->timers);
        break;
    case RCV_STOP:
        r->stopping = true;
        r->beat_now = true;
        break;
    }
}

/* ---- a step ---- */

static bool same_plan(const struct rcv_plan *a, const struct rcv_plan *b)
{
    return a->epoch == b->epoch && a->goal == b->goal && a->reported == b->reported &&
           a->cause == b->cause && a->resume == b->resume && a->base_epoch == b->base_epoch &&
           a->database_node == b->database_node && a->database_alone == b->database_alone &&
           a->database_synced == b->database_synced && a->database_kept == b->database_kept &&
           a->from_init == b->from_init && a->rule == b->rule &&
           a->since_unix_ms == b->since_unix_ms;
}

static void decide(struct rcv *r)
{
    struct rcv_plan n = r->disk;
    struct rcv_effect *e;

    if (r->saving || !mono_reached(r->now, r->save_again_at))
        return;
    /* What the last life left is kept until there is something better. */
    if (r->disk.goal != RCV_INIT) {
        n.reported = r->reported;
        n.since_unix_ms = r->since_unix_ms;
    }
    roles_decide(r, &n);
    rules_decide(r, &n);
    if (same_plan(&n, &r->disk))
        return;
    e = rcv_effect(r, RCV_SAVE);
    e->plan = r->next = n;
    r->save_id = e->id;
    r->saving = true;
}

static void note_fallback(struct rcv *r)
{
    if (r->disk.goal != RCV_BOTH || rcv_move_waits_for(r))
        r->fallback_ready_since = MONO_NEVER;
    else if (r->fallback_ready_since.ms == MONO_NEVER.ms)
        r->fallback_ready_since = r->now;
    if (r->wish != RCV_WISH_NOTHING && mono_reached(r->now, r->wish_until))
        r->wish = RCV_WISH_NOTHING;
}

static void speak(struct rcv *r)
{
    struct rcv_effect *e;
    uint64_t sure_ms;

    if (r->push_now || mono_reached(r->now, r->view_at)) {
        r->push_now = false;
        r->view_at = mono_after(r->now, r->config.timers.heartbeat_interval_ms);
        e = rcv_effect(r, RCV_PUSH_VIEW);
        e->view = r->view;
        e->view.inheritable = r->sure && r->disk.goal != RCV_INIT;
        e->view.lease_ms = r->config.timers.serving_lease_ms;
        sure_ms = mono_until(r->now, mono_min(r->sure_until, sure_unheard_at(r)));
        if (!rcv_alone(r) && r->sure && sure_ms < e->view.lease_ms)
            e->view.lease_ms = sure_ms;
    }
    if (rcv_alone(r) || (!r->beat_now && !mono_reached(r->now, r->heartbeat_at)))
        return;
    r->beat_now = false;
    r->heartbeat_at = mono_after(r->now, r->config.timers.heartbeat_interval_ms);
    e = rcv_effect(r, RCV_SEND_HEARTBEAT);
    state_view_heartbeat(r, &e->heartbeat);
    r->sent_at[r->seq % RCV_SENT_MAX] = r->now;
}

void rcv_step(struct rcv *r, const struct rcv_event *event, struct rcv_update *ret_update)
{
    assert(event->now.ms >= r->now.ms);
    ret_update->count = 0;
    r->update = ret_update;
    r->now = event->now;
    r->unix_ms = event->unix_ms;
    sure_note_sleep(r);
    take(r, event);
    if (!rcv_alone(r)) {
        peer_tick(&r->peer, r->now);
        if (peer_asks_for_connection(&r->peer, r->now))
            (void)rcv_effect(r, RCV_RECONNECT);
        sure_doubt(r);
    }
    note_fallback(r);
    /* Facts first, then the decision, then what the plan on disk asks for. */
    roles_carry_out(r);
    decide(r);
    edges_carry_out(r);
    tell_state(r);
    state_view_update(r);
    tell_alarms(r);
    speak(r);
    r->update = NULL;
}

mono_t rcv_deadline(const struct rcv *r)
{
    mono_t deadline = mono_min(r->view_at, services_deadline(&r->services));

    if (!rcv_alone(r))
        deadline = mono_min(deadline, mono_min(r->heartbeat_at, peer_deadline(&r->peer)));
    deadline = mono_min(deadline, mono_min(r->sure_until, edges_deadline(r)));
    return mono_min(deadline, roles_deadline(r));
}

/* ---- birth and death ---- */

struct rcv *rcv_new(const struct rcv_config *config, mono_t now, uint64_t unix_ms)
{
    struct rcv *r = mem_new(sizeof(*r));

    assert(config->boot_id != 0 && config->node != 0 && config->node != config->peer);
    r->config = *config;
    r->now = r->started = r->last_step = r->goal_since = now;
    r->heartbeat_at = r->view_at = r->echoed_at = now;
    r->unix_ms = unix_ms;
    r->disk = config->plan;
    r->sure = true;
    r->decided_seq = 1;
    /* Higher than our predecessor's, who did not make one a millisecond. */
    r->view.version = now.ms;
    /* Daemons that we find hold whom they were given last, until they have done our first view. */
    r->granted_version = r->view.version + 1;
    r->database_ill_since = r->following_lost = r->fallback_ready_since = MONO_NEVER;
    r->sync_at = r->sure_until = MONO_NEVER;
    r->op_backoff_ms = 100;
    services_init(&r->services, now);
    for (int service = 0; service < SERVICES_COUNT; service++)
        if (config->found[service])
            services_started(&r->services, (Muster__Service)service, config->found[service], now,
                             unix_ms);
    peer_init(&r->peer, config->timers.heartbeat_timeout_ms,
              config->timers.init_heartbeat_timeout_ms, now);
    if (!mono_reached(now, config->inherited_lease) && r->disk.goal != RCV_UNKNOWN &&
        r->disk.goal != RCV_INIT)
        sure_go_on(r);
    else
        sure_begin_anew(r);
    r->state = state_view_state(r);
    r->reason = state_view_reason(r);
    r->since_unix_ms = r->disk.goal == RCV_INIT ? unix_ms : r->disk.since_unix_ms;
    return r;
}

void rcv_free(struct rcv *r)
{
    mem_free(r);
}

const struct service *rcv_service(const struct rcv *r, Muster__Service service)
{
    return &r->services.all[service];
}

const char *rcv_service_state(const struct rcv *r, Muster__Service service, mono_t now)
{
    return services_state_name(&r->services.all[service],
                               r->config.timers.critical_service_down_delay_ms, now);
}

const struct rcv_plan *rcv_plan(const struct rcv *r)
{
    return &r->disk;
}

bool rcv_serves(const struct rcv *r, bool peers)
{
    return peers ? r->granted.peers : r->granted.own;
}

bool rcv_stopped(const struct rcv *r)
{
    return r->stopping && !services_any(&r->services) &&
           (r->config.database_external || (r->database.known && !r->database.running));
}

void rcv_check(const struct rcv *r)
{
    struct rcv_users claims = rcv_claims(r->disk.goal);

    services_check(&r->services);
    peer_check(&r->peer);
    assert(r->disk.goal > RCV_UNKNOWN && r->disk.goal < RCV_ROLES);
    assert(r->reported > RCV_UNKNOWN && r->reported < RCV_ROLES);
    /* Nobody is served who is not in the plan on disk, or while we are not sure. */
    assert(!r->granted.own || claims.own);
    assert(!r->granted.peers || claims.peers);
    assert(r->sure || (!r->granted.own && !r->granted.peers));
    assert(r->released_epoch <= r->disk.epoch);
    assert(!r->saving || r->next.epoch >= r->disk.epoch);
    assert(!r->disk.database_synced || r->disk.database_node != r->config.node);
}
