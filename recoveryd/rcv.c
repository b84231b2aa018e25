// SPDX-License-Identifier: Apache-2.0
#include "recoveryd/rcv.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "common/mem.h"
#include "common/util.h"
#include "recoveryd/rcv_core.h"

enum { SAVE_AGAIN_MS = 200, DEGRADED_MS = 5000, RESTARTED_MS = 60000 };

/* Alarms of the core, as bits of rcv.raised. */
static const char *const alarm_names[] = {
    "PeerDown",     "CriticalServiceDown", "DatabaseReplicationDegraded",
    "DatabaseDown", "RunningInBackupMode", "FailedMode",
};

enum alarm {
    ALARM_PEER_DOWN,
    ALARM_SERVICE_DOWN,
    ALARM_DEGRADED,
    ALARM_DATABASE_DOWN,
    ALARM_BACKUP_MODE,
    ALARM_FAILED_MODE,
};

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

/* ---- facts ---- */

bool rcv_alone(const struct rcv *r)
{
    return r->config.peer == 0;
}

bool rcv_peer_alive(const struct rcv *r)
{
    return r->peer.state == PEER_ALIVE;
}

bool rcv_peer_dead(const struct rcv *r)
{
    return r->peer.state == PEER_DEAD;
}

bool rcv_peer_fresh(const struct rcv *r)
{
    return rcv_peer_alive(r) && r->peer.last.echo_boot_id == r->config.boot_id &&
           r->peer.last.echo_seq >= r->decided_seq;
}

bool rcv_settled(const struct rcv *r)
{
    return !r->saving && r->sure && r->reported == r->disk.goal;
}

bool rcv_peer_settled(const struct rcv *r)
{
    const Muster__Heartbeat *last = &r->peer.last;

    return rcv_peer_fresh(r) && last->epoch == r->disk.epoch && last->goal == last->reported;
}

bool rcv_peer_holds_nothing(const struct rcv *r)
{
    return rcv_peer_fresh(r) && r->peer.last.goal == RCV_INIT;
}

bool rcv_ready(const struct rcv *r)
{
    return services_all_healthy(&r->services, r->now) && roles_database_ok(r);
}

Muster__StateReason rcv_unable_because(const struct rcv *r)
{
    if (services_failed(&r->services, r->config.timers.critical_service_down_delay_ms, r->now) !=
        MUSTER__SERVICE__SERVICE_NONE)
        return MUSTER__STATE_REASON__CRITICAL_SERVICE_DOWN;
    /* A standby that holds everything is as good as a database that can be reached. */
    if (roles_database_failed(r) &&
        (r->disk.database_node == r->config.node || !roles_can_be_primary(r)))
        return MUSTER__STATE_REASON__DATABASE_FAILURE;
    return MUSTER__STATE_REASON__REASON_NORMAL;
}

bool rcv_able(const struct rcv *r)
{
    return rcv_unable_because(r) == MUSTER__STATE_REASON__REASON_NORMAL;
}

enum rcv_role rcv_complement(enum rcv_role goal)
{
    static const enum rcv_role other[RCV_ROLES] = {
        [RCV_UNKNOWN] = RCV_INIT, [RCV_INIT] = RCV_INIT, [RCV_OWN] = RCV_OWN,
        [RCV_BOTH] = RCV_NONE,    [RCV_NONE] = RCV_BOTH, [RCV_FAILED] = RCV_FAILED,
    };
    return other[goal];
}

uint64_t rcv_next_epoch(const struct rcv *r)
{
    uint64_t highest = r->disk.epoch;
    uint64_t ours = r->config.node > r->config.peer && !rcv_alone(r) ? 0 : 1;

    if (peer_known(&r->peer) && r->peer.last.epoch > highest)
        highest = r->peer.last.epoch;
    return (highest + 1) % 2 == ours ? highest + 1 : highest + 2;
}

bool rcv_databases_in_sync(const struct rcv *r)
{
    if (r->config.database_external)
        return true;
    if (r->disk.database_node == r->config.node)
        return r->peer.last.database_following && r->sync == RCV_SYNC_ON;
    return roles_database_ok(r) && r->disk.database_synced;
}

const char *rcv_move_waits_for(const struct rcv *r)
{
    const Muster__Heartbeat *last = &r->peer.last;

    if (!rcv_peer_alive(r))
        return "the peer cannot be heard";
    if (!last->ready)
        return "the peer's critical services are not all running";
    if (!rcv_databases_in_sync(r))
        return "the databases are not in sync";
    if (!services_replicated(&r->services) || !last->replicas_in_sync)
        return "sessions and subscriptions are not yet in both memories";
    return NULL;
}

/* ---- events ---- */

static void start_beat(struct rcv *r, const Muster__Heartbeat *h)
{
    uint64_t was_released = r->peer.last.released_epoch, was_epoch = r->peer.last.epoch;

    bool is_back = peer_heard(&r->peer, h, r->now);

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

/* The peer talks, but has not heard us for so long that it may take over: until when we are sure
 * that it has not. MONO_NEVER where it hears us, or is silent itself: then it may be dead. */
static mono_t unheard_at(const struct rcv *r)
{
    const struct rcv_timers *t = &r->config.timers;
    uint64_t talks_ms = t->heartbeat_timeout_ms > 2 * t->heartbeat_interval_ms
                            ? t->heartbeat_timeout_ms - 2 * t->heartbeat_interval_ms
                            : 0;

    if (!rcv_peer_alive(r) || mono_reached(r->now, mono_after(r->peer.heard_at, talks_ms)))
        return MONO_NEVER;
    return mono_after(r->echoed_at, t->heartbeat_timeout_ms);
}

/* Whoever slept longer than the lease must ask before it serves again: its daemons have stopped,
 * and the peer may have taken over. The same for one that the peer has not heard in time. */
static void note_sleep(struct rcv *r)
{
    mono_t lease_end = mono_after(r->last_step, r->config.timers.serving_lease_ms);
    uint64_t moment_ms = 2 * r->config.timers.heartbeat_interval_ms;
    bool slept = mono_reached(r->now, lease_end);

    if (mono_reached(r->now, mono_after(r->last_step, moment_ms)))
        peer_dozed(&r->peer, r->now, moment_ms);
    r->last_step = r->now;
    if (rcv_alone(r) || (!slept && !mono_reached(r->now, mono_min(r->sure_until, unheard_at(r)))))
        return;
    if (slept)
        peer_overslept(&r->peer, r->now);
    r->sure_until = MONO_NEVER;
    /* What was asked before we slept may have been answered before. */
    if (!slept && !r->sure)
        return;
    r->sure = false;
    r->sure_seq = r->seq + 1;
    r->beat_now = true;
}

/* The node's memory is gone: what it was counts only for who has the newest database, and whether
 * an operator had moved its users away. */
static void begin_anew(struct rcv *r)
{
    enum rcv_role was = r->disk.goal;

    if (was != RCV_INIT) {
        r->disk.resume = RCV_UNKNOWN;
        if (r->disk.cause == MUSTER__STATE_REASON__ON_ADMIN_REQUEST &&
            (was == RCV_BOTH || was == RCV_NONE))
            r->disk.resume = was;
    }
    r->disk.goal = r->disk.reported = r->reported = RCV_INIT;
    r->disk.database_node = 0;
    r->disk.rule = 0;
}

/* We slept, and there is nobody to ask what happened: the peer may have taken over meanwhile. */
static bool may_be_outdated(const struct rcv *r)
{
    return !r->sure && rcv_peer_dead(r) && !r->disk.database_alone;
}

/* The peer has, and restarted since. */
static bool is_outdated(const struct rcv *r)
{
    return rcv_peer_alive(r) && r->peer.last.goal == RCV_INIT && r->peer.last.epoch > r->disk.epoch;
}

/* As after a cold start, we find out with the peer who has the newest, or wait for an operator. */
static void doubt(struct rcv *r)
{
    if (r->saving || r->disk.goal == RCV_INIT || (!may_be_outdated(r) && !is_outdated(r)))
        return;
    r->config.plan = r->disk;
    r->started = r->now;
    begin_anew(r);
}

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

static void tell_state(struct rcv *r)
{
    Muster__NodeState state = state_view_state(r);
    Muster__StateReason reason = state_view_reason(r);
    struct rcv_effect *e;

    if (state == r->state && reason == r->reason)
        return;
    r->state = state;
    r->reason = reason;
    r->since_unix_ms = r->unix_ms;
    r->beat_now = true;
    e = rcv_effect(r, RCV_CHANGED);
    e->changed.state = state;
    e->changed.reason = reason;
    e->changed.rule = r->disk.rule;
    e->changed.goal = r->disk.goal;
    e->changed.reported = r->reported;
    e->changed.epoch = r->disk.epoch;
}

static void set_alarm(struct rcv *r, enum alarm alarm, bool raised, const char *detail)
{
    struct rcv_effect *e;

    if (raised == !!(r->raised & 1u << alarm))
        return;
    r->raised ^= 1u << alarm;
    e = rcv_effect(r, RCV_ALARM);
    e->alarm.name = alarm_names[alarm];
    e->alarm.raised = raised;
    (void)snprintf(e->alarm.detail, sizeof(e->alarm.detail), "%s", detail);
}

static const char *service_name(Muster__Service service)
{
    switch (service) {
    case MUSTER__SERVICE__PROXYD:
        return "proxyd";
    case MUSTER__SERVICE__PRESENCED:
        return "presenced";
    case MUSTER__SERVICE__ROUTERD:
        return "routerd";
    case MUSTER__SERVICE__SYNCAGENT:
        return "syncagent";
    default:
        return "";
    }
}

static bool is_degraded(const struct rcv *r)
{
    return !rcv_alone(r) && !r->config.database_external && r->disk.goal != RCV_INIT &&
           r->disk.database_node == r->config.node && r->sync != RCV_SYNC_ON &&
           mono_reached(r->now, mono_after(r->goal_since, DEGRADED_MS));
}

static void tell_restarts(struct rcv *r)
{
    for (size_t i = 0; i < SERVICES_COUNT; i++) {
        struct rcv_effect *e;
        bool steady = r->services.all[i].state == SERVICE_RUNNING &&
                      mono_reached(r->now, mono_after(r->services.all[i].began, RESTARTED_MS));

        if (!r->restarted[i] || (!steady && r->restart_told[i]))
            continue;
        e = rcv_effect(r, RCV_ALARM);
        e->alarm.name = "ServiceRestarted";
        e->alarm.raised = !steady;
        (void)snprintf(e->alarm.detail, sizeof(e->alarm.detail), "%s",
                       service_name((Muster__Service)i));
        r->restart_told[i] = !steady;
        r->restarted[i] = !steady;
    }
}

static void tell_alarms(struct rcv *r)
{
    uint64_t delay_ms = r->config.timers.critical_service_down_delay_ms;
    Muster__Service failed = services_failed(&r->services, delay_ms, r->now);

    if (r->stopping)
        return;
    set_alarm(r, ALARM_PEER_DOWN, rcv_peer_dead(r), "");
    /* The name is of the first that failed; another one changes nothing for the operator. */
    set_alarm(r, ALARM_SERVICE_DOWN, failed != MUSTER__SERVICE__SERVICE_NONE, service_name(failed));
    set_alarm(r, ALARM_DEGRADED, is_degraded(r), "");
    set_alarm(r, ALARM_DATABASE_DOWN, roles_database_failed(r) && r->disk.goal != RCV_INIT, "");
    set_alarm(r, ALARM_BACKUP_MODE, r->disk.goal == RCV_BOTH && r->reported == RCV_BOTH, "");
    set_alarm(r, ALARM_FAILED_MODE, r->disk.goal == RCV_FAILED, "");
    tell_restarts(r);
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
        sure_ms = mono_until(r->now, mono_min(r->sure_until, unheard_at(r)));
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
    note_sleep(r);
    take(r, event);
    if (!rcv_alone(r)) {
        peer_tick(&r->peer, r->now);
        if (peer_asks_for_connection(&r->peer, r->now))
            (void)rcv_effect(r, RCV_RECONNECT);
        doubt(r);
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

/* Users of a plan that was in force when recoveryd ended, and is still. */
static void go_on(struct rcv *r)
{
    const struct rcv_timers *t = &r->config.timers;
    struct rcv_users goal = rcv_claims(r->disk.goal), done = rcv_claims(r->disk.reported);

    r->reported = r->disk.reported;
    r->granted.own = goal.own && done.own;
    r->granted.peers = goal.peers && done.peers;
    if (r->disk.reported == r->disk.goal)
        r->released_epoch = r->disk.epoch;
    if (rcv_alone(r))
        return;
    /* The peer heard our predecessor last when this lease began, or an interval before that. */
    r->sure_until = mono_after(
        r->config.inherited_lease,
        t->heartbeat_timeout_ms > t->serving_lease_ms + 2 * t->heartbeat_interval_ms
            ? t->heartbeat_timeout_ms - t->serving_lease_ms - 2 * t->heartbeat_interval_ms
            : 0);
}

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
        go_on(r);
    else
        begin_anew(r);
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
