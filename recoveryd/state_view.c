// SPDX-License-Identifier: Apache-2.0
/*
 * What others see of the machine: the operators' state and reason, the view for the daemons, the
 * heartbeat for the peer. Nothing here decides anything.
 */
#include "common/util.h"
#include "recoveryd/rcv_core.h"

static const struct row {
    enum rcv_role goal, reported;
    Muster__NodeState state;
} rows[] = {
#define STATE(goal, reported, state) {RCV_##goal, RCV_##reported, MUSTER__NODE_STATE__##state},
#include "recoveryd/group_states.def"
#undef STATE
};

const char *rcv_role_name(enum rcv_role role)
{
    static const char *const names[RCV_ROLES] = {
        [RCV_UNKNOWN] = "unknown", [RCV_INIT] = "initialise", [RCV_OWN] = "own",
        [RCV_BOTH] = "both",       [RCV_NONE] = "none",       [RCV_FAILED] = "failed",
    };
    return role < RCV_ROLES ? names[role] : "unknown";
}

const char *rcv_database_op_name(enum rcv_database_op op)
{
    static const char *const names[] = {
        [RCV_DATABASE_NOTHING] = "nothing", [RCV_DATABASE_INIT_PRIMARY] = "init_primary",
        [RCV_DATABASE_START] = "start",     [RCV_DATABASE_MAKE_STANDBY] = "make_standby",
        [RCV_DATABASE_REJOIN] = "rejoin",   [RCV_DATABASE_PROMOTE] = "promote",
        [RCV_DATABASE_STOP] = "stop",
    };
    return names[op];
}

/* A node that serves nobody for the time being, and why. */
static Muster__NodeState idle_state(const struct rcv *r)
{
    if (r->disk.cause == MUSTER__STATE_REASON__ON_ADMIN_REQUEST)
        return MUSTER__NODE_STATE__IDLE;
    /* Where its database failed, that must follow the other one again. */
    if (r->disk.cause == MUSTER__STATE_REASON__DATABASE_FAILURE && !r->config.database_external &&
        !r->database.receiving)
        return MUSTER__NODE_STATE__FAILED_OVER_CRITICAL;
    return rcv_ready(r) ? MUSTER__NODE_STATE__FAILED_OVER
                        : MUSTER__NODE_STATE__FAILED_OVER_CRITICAL;
}

Muster__NodeState state_view_state(const struct rcv *r)
{
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        const struct row *row = &rows[i];

        if (row->goal != r->disk.goal ||
            (row->reported != RCV_UNKNOWN && row->reported != r->reported))
            continue;
        return row->state == MUSTER__NODE_STATE__IDLE ? idle_state(r) : row->state;
    }
    return MUSTER__NODE_STATE__STATE_UNKNOWN;
}

static bool is_about_us(Muster__StateReason cause)
{
    return cause == MUSTER__STATE_REASON__PEER_DOWN || cause == MUSTER__STATE_REASON__PEER_REBOOT ||
           cause == MUSTER__STATE_REASON__PEER_DOWN_DURING_INITIALIZATION;
}

Muster__StateReason state_view_reason(const struct rcv *r)
{
    const struct rcv_plan *plan = &r->disk;

    switch (state_view_state(r)) {
    case MUSTER__NODE_STATE__NORMAL:
        return MUSTER__STATE_REASON__REASON_NORMAL;
    case MUSTER__NODE_STATE__INITIALIZING:
        return MUSTER__STATE_REASON__INITIALIZATION;
    case MUSTER__NODE_STATE__TAKING_OVER:
    case MUSTER__NODE_STATE__RUNNING_IN_BACKUP_MODE:
        /* Both nodes were restarted in the state that an operator had brought them to. */
        if (plan->from_init && plan->cause == MUSTER__STATE_REASON__ON_ADMIN_REQUEST)
            return MUSTER__STATE_REASON__INITIALIZATION;
        return plan->cause;
    case MUSTER__NODE_STATE__IDLE:
    case MUSTER__NODE_STATE__FAILED_OVER:
    case MUSTER__NODE_STATE__FAILED_OVER_CRITICAL:
    case MUSTER__NODE_STATE__FAILING_OVER:
        if (plan->from_init)
            return MUSTER__STATE_REASON__INITIALIZATION;
        /* The peer took us for dead, and we live. */
        return is_about_us(plan->cause) ? MUSTER__STATE_REASON__PEER_UNREACHABLE : plan->cause;
    default:
        return plan->cause;
    }
}

/* ---- the view ---- */

static bool peer_claims(const struct rcv *r, bool its_own)
{
    struct rcv_users claims = rcv_claims((enum rcv_role)r->peer.last.goal);

    return rcv_peer_alive(r) && (its_own ? claims.own : claims.peers);
}

/* Who serves users that we do not: the peer, or nobody that we could name. */
static uint32_t served_elsewhere(const struct rcv *r, bool our_home)
{
    switch (r->disk.goal) {
    case RCV_OWN:
        return our_home ? 0 : r->config.peer;
    case RCV_NONE:
        return r->config.peer;
    case RCV_INIT:
        return peer_claims(r, !our_home) ? r->config.peer : 0;
    default:
        return 0;
    }
}

static struct rcv_view_node own_entry(const struct rcv *r)
{
    return (struct rcv_view_node){
        .node = r->config.node,
        .state = r->state,
        .reason = r->reason,
        .served_by = r->granted.own ? r->config.node : served_elsewhere(r, true),
        .epoch = r->disk.epoch,
        .services_up = services_running(&r->services),
    };
}

static struct rcv_view_node peer_entry(const struct rcv *r)
{
    const Muster__Heartbeat *last = &r->peer.last;
    bool is_heard = peer_known(&r->peer) && !rcv_peer_dead(r);
    struct rcv_view_node n = {
        .node = r->config.peer,
        .reason = MUSTER__STATE_REASON__PEER_DOWN,
        .served_by = r->granted.peers ? r->config.node : served_elsewhere(r, false),
        .epoch = r->disk.epoch,
    };

    if (!peer_known(&r->peer))
        n.reason = MUSTER__STATE_REASON__REASON_UNKNOWN;
    if (is_heard) {
        n.state = (Muster__NodeState)last->state;
        n.reason = (Muster__StateReason)last->reason;
        n.services_up = last->services_running;
    }
    return n;
}

static bool same_node(const struct rcv_view_node *a, const struct rcv_view_node *b)
{
    return a->node == b->node && a->state == b->state && a->reason == b->reason &&
           a->served_by == b->served_by && a->epoch == b->epoch && a->services_up == b->services_up;
}

static bool same_view(const struct rcv_view *a, const struct rcv_view *b)
{
    return a->epoch == b->epoch && a->drain == b->drain && a->count == b->count &&
           same_node(&a->nodes[0], &b->nodes[0]) &&
           (a->count < 2 || same_node(&a->nodes[1], &b->nodes[1]));
}

void state_view_update(struct rcv *r)
{
    struct rcv_view v = {.epoch = r->disk.epoch, .drain = r->drain, .count = 1};

    v.nodes[0] = own_entry(r);
    if (!rcv_alone(r)) {
        v.nodes[1] = peer_entry(r);
        v.count = 2;
    }
    v.version = r->view.version;
    if (r->view.count != 0 && same_view(&v, &r->view))
        return;
    v.version++;
    r->view = v;
    r->push_now = true;
}

/* ---- the heartbeat ---- */

static void tell_database(const struct rcv *r, Muster__Heartbeat *h)
{
    const struct rcv_database *d = &r->database;

    h->database_known = d->known;
    h->database_exists = d->exists && !d->unusable;
    h->database_primary = d->exists && !d->standby && d->running;
    h->database_unpromoted = d->standby;
    /* A cluster that is being made answers before it is complete. */
    h->database_up = d->up && r->op != RCV_DATABASE_INIT_PRIMARY;
    h->wal_lsn = d->lsn;
    h->timeline = d->timeline;
    h->database_node = r->disk.database_node;
    h->database_alone = r->disk.database_alone;
    h->database_kept = r->disk.database_kept;
    h->database_following = d->standby && d->receiving;
    if (r->disk.database_node == r->config.node)
        h->database_synced =
            !r->disk.database_alone && r->sync != RCV_SYNC_DROPPING && r->sync != RCV_SYNC_CLEARING;
    else
        h->database_synced = r->disk.database_synced;
}

void state_view_heartbeat(struct rcv *r, Muster__Heartbeat *ret_heartbeat)
{
    Muster__Heartbeat h = MUSTER__HEARTBEAT__INIT;

    h.node = r->config.node;
    h.boot_id = r->config.boot_id;
    h.seq = ++r->seq;
    h.epoch = r->disk.epoch;
    h.base_epoch = r->disk.base_epoch;
    h.goal = r->disk.goal;
    h.reported = r->reported;
    h.cause = (uint32_t)r->disk.cause;
    h.resume = r->disk.resume;
    h.state = (uint32_t)r->state;
    h.reason = (uint32_t)r->reason;
    h.since_unix_ms = r->since_unix_ms;
    h.critical_up = services_all_healthy(&r->services, r->now);
    h.services_running = services_running(&r->services);
    h.replicas_in_sync = services_replicated(&r->services);
    h.ready = rcv_ready(r);
    h.able = rcv_able(r);
    h.released_epoch = r->released_epoch;
    h.request = r->wish;
    h.stopping = r->stopping;
    h.echo_boot_id = r->peer.last.boot_id;
    h.echo_seq = r->peer.last.seq;
    tell_database(r, &h);
    *ret_heartbeat = h;
}

struct rcv_node_status rcv_status(const struct rcv *r, bool peer)
{
    const Muster__Heartbeat *last = &r->peer.last;
    struct rcv_view_node n = peer ? peer_entry(r) : own_entry(r);
    struct rcv_node_status s = {
        .node = n.node,
        .heard = !peer || peer_known(&r->peer),
        .state = n.state,
        .reason = n.reason,
        .served_by = n.served_by,
        .since_unix_ms = peer ? last->since_unix_ms : r->since_unix_ms,
        .epoch = peer ? last->epoch : r->disk.epoch,
        .goal = peer ? (enum rcv_role)last->goal : r->disk.goal,
        .reported = peer ? (enum rcv_role)last->reported : r->reported,
        .database_primary = r->database.running && !r->database.standby,
    };

    if (peer)
        s.database_primary = rcv_peer_alive(r) && last->database_primary;
    return s;
}
