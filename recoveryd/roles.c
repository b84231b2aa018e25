// SPDX-License-Identifier: Apache-2.0
/*
 * The database: whose is the primary, what PostgreSQL is told to do, and whether commits wait for
 * the standby.
 *
 * Waiting is itself a fence. A primary acknowledges alone only after `database_alone` is on its own
 * disk and the standby, if it can be heard, has written down that it is no longer in sync. So a
 * standby that says `synced` holds everything, and may be promoted; and after both nodes were down,
 * the one that acknowledged last knows it.
 */
#include <string.h>

#include "recoveryd/rcv_core.h"

enum {
    STREAM_LOST_MS = 2000,  /* without a stream for so long, commits stop waiting for the standby */
    REJOIN_AFTER_MS = 6000, /* a standby connects again by itself; after this it is helped */
    AGAIN_MS = 300,         /* until the status shows what an operation did */
    BACKOFF_FIRST_MS = 100,
    BACKOFF_MAX_MS = 2000,
};

static bool is_ours(const struct rcv *r)
{
    return r->disk.database_node == r->config.node;
}

static bool is_peers(const struct rcv *r)
{
    return r->disk.database_node != 0 && !is_ours(r);
}

static bool runs_as_primary(const struct rcv_database *d)
{
    return d->exists && d->running && !d->standby;
}

static bool peer_is_primary(const struct rcv *r)
{
    return rcv_peer_alive(r) && r->peer.last.database_primary && r->peer.last.database_up;
}

bool roles_database_ok(const struct rcv *r)
{
    if (r->config.database_external)
        return r->database.up;
    if (is_ours(r))
        return runs_as_primary(&r->database) && r->database.up &&
               r->op != RCV_DATABASE_INIT_PRIMARY;
    /* A peer that has just fallen silent is not yet a failure of its database. */
    return is_peers(r) && !rcv_peer_dead(r) && r->peer.last.database_primary &&
           r->peer.last.database_up;
}

bool roles_can_be_primary(const struct rcv *r)
{
    if (r->config.database_external)
        return true;
    if (!r->database.exists || r->database.unusable)
        return false;
    if (is_ours(r) || r->forced)
        return true;
    return r->disk.database_synced && r->database.standby;
}

bool roles_database_failed(const struct rcv *r)
{
    uint64_t delay_ms = r->config.timers.critical_service_down_delay_ms;

    /* While users move, the move has a deadline of its own. */
    return r->disk.goal == r->reported && !roles_database_ok(r) &&
           mono_reached(r->now, mono_after(r->database_ill_since, delay_ms));
}

bool roles_released(const struct rcv *r)
{
    return r->config.database_external || !is_peers(r) || !runs_as_primary(&r->database);
}

/* ---- whose ---- */

/* Of two nodes that start with what they have on disk: is ours newer? Both nodes compute this
 * from the same facts, and never both say yes. */
static bool ours_is_newer(const struct rcv *r)
{
    const Muster__Heartbeat *theirs = &r->peer.last;
    bool exists = r->database.exists && !r->database.unusable;
    bool primary = exists && !r->database.standby;
    bool their_primary = theirs->database_exists && !theirs->database_unpromoted;

    if (exists != theirs->database_exists)
        return exists;
    if (r->disk.database_alone != theirs->database_alone)
        return r->disk.database_alone;
    if (r->database.timeline != theirs->timeline)
        return r->database.timeline > theirs->timeline;
    if (primary != their_primary)
        return primary;
    if (r->disk.epoch != theirs->epoch)
        return r->disk.epoch > theirs->epoch;
    return r->config.node < r->config.peer;
}

/* While initialising and the peer is there to ask; 0 when it cannot be said yet. What a peer that
 * initialises has chosen already may be older than what we know: both look at the facts, which only
 * ever speak more for the one that was chosen. */
static uint32_t agree_on_node(const struct rcv *r)
{
    const Muster__Heartbeat *last = &r->peer.last;
    uint32_t ours = r->disk.database_node, theirs = last->database_node;

    if (last->goal != RCV_INIT)
        return last->epoch < r->disk.epoch ? 0 : theirs; /* 0: its plan is older than ours was */
    if (theirs == ours && ours != 0)
        return ours;
    if (!last->database_known || !rcv_peer_fresh(r))
        return ours;
    return ours_is_newer(r) ? r->config.node : r->config.peer;
}

static uint32_t choose_node(const struct rcv *r)
{
    bool usable = r->database.exists && !r->database.unusable;

    if (!r->database.known)
        return 0;
    if (rcv_peer_alive(r))
        return agree_on_node(r);
    /* Nobody to ask. Only who acknowledged alone is sure to have the newest. */
    if (rcv_peer_dead(r) && (r->forced || (r->disk.database_alone && usable)))
        return r->config.node;
    return r->disk.database_node;
}

static void set_node(struct rcv *r, struct rcv_plan *n, uint32_t node)
{
    if (node == 0 || node == n->database_node)
        return;
    n->database_node = node;
    n->database_synced = false;
    /* Only who was the primary before knows that its standby has everything. */
    if (node != r->config.node)
        n->database_alone = false;
    else if (r->config.plan.database_node != node)
        n->database_alone = true;
}

/* The standby writes down what the primary says of it. */
static void note_synced(const struct rcv *r, struct rcv_plan *n)
{
    const Muster__Heartbeat *last = &r->peer.last;

    if (!rcv_peer_alive(r) || last->database_node != r->config.peer)
        return;
    n->database_synced = last->database_synced && r->database.standby && !r->database.unusable;
}

static bool peer_knows_it_is_behind(const struct rcv *r)
{
    return rcv_peer_dead(r) || (rcv_peer_fresh(r) && !r->peer.last.database_synced);
}

static void note_alone(const struct rcv *r, struct rcv_plan *n)
{
    if (r->sync == RCV_SYNC_DROPPING && peer_knows_it_is_behind(r))
        n->database_alone = true;
    else if (r->sync == RCV_SYNC_OFF && runs_as_primary(&r->database) && r->database.up &&
             r->database.synchronous == 0)
        n->database_alone = true;
    else if (r->sync == RCV_SYNC_ON)
        n->database_alone = false;
}

void roles_decide(struct rcv *r, struct rcv_plan *n)
{
    if (r->config.database_external)
        return;
    if (rcv_alone(r))
        set_node(r, n, r->config.node);
    else if (r->disk.goal == RCV_INIT)
        set_node(r, n, choose_node(r));
    if (n->database_node == r->config.node)
        n->database_synced = false;
    if (n->database_node == r->config.node && is_ours(r))
        note_alone(r, n);
    else if (n->database_node == r->config.peer)
        note_synced(r, n);
}

/* ---- what PostgreSQL is told ---- */

/* The peer may still acknowledge as the primary: it has not said that it stopped. */
static bool may_promote(const struct rcv *r)
{
    return rcv_alone(r) || rcv_peer_dead(r) || r->disk.goal == RCV_INIT ||
           rcv_peer_holds_nothing(r) || r->peer.last.released_epoch >= r->disk.epoch;
}

static enum rcv_database_op op_as_primary(const struct rcv *r)
{
    const struct rcv_database *d = &r->database;

    if (d->unusable)
        return RCV_DATABASE_NOTHING;
    if (!d->exists)
        return RCV_DATABASE_INIT_PRIMARY;
    if (!d->running)
        return RCV_DATABASE_START;
    if (d->standby && d->up && may_promote(r))
        return RCV_DATABASE_PROMOTE;
    return RCV_DATABASE_NOTHING;
}

static enum rcv_database_op op_as_standby(const struct rcv *r)
{
    const struct rcv_database *d = &r->database;

    if (runs_as_primary(d))
        return RCV_DATABASE_STOP;
    if (!peer_is_primary(r))
        return d->exists && !d->unusable && d->standby && !d->running ? RCV_DATABASE_START
                                                                      : RCV_DATABASE_NOTHING;
    if (!d->exists || d->unusable)
        return RCV_DATABASE_MAKE_STANDBY;
    if (!d->running || mono_reached(r->now, mono_after(r->following_lost, REJOIN_AFTER_MS)))
        return RCV_DATABASE_REJOIN;
    return RCV_DATABASE_NOTHING;
}

static enum rcv_database_op wanted_op(const struct rcv *r)
{
    if (!r->database.known || r->config.database_external)
        return RCV_DATABASE_NOTHING;
    if (r->stopping)
        return r->database.running && !services_any(&r->services) ? RCV_DATABASE_STOP
                                                                  : RCV_DATABASE_NOTHING;
    if (is_ours(r))
        return op_as_primary(r);
    return is_peers(r) ? op_as_standby(r) : RCV_DATABASE_NOTHING;
}

/* An operation in progress is only cut short by one that contradicts it. */
static bool is_cut_short(const struct rcv *r, enum rcv_database_op wanted)
{
    switch (r->op) {
    case RCV_DATABASE_NOTHING:
        return true;
    case RCV_DATABASE_MAKE_STANDBY:
    case RCV_DATABASE_REJOIN:
        /* It lasts; meanwhile the cluster looks stopped or unusable. */
        return r->stopping || is_ours(r);
    case RCV_DATABASE_START:
        return wanted == RCV_DATABASE_STOP;
    case RCV_DATABASE_INIT_PRIMARY:
    case RCV_DATABASE_PROMOTE:
    case RCV_DATABASE_STOP:
        return false;
    }
    return false;
}

static void run_op(struct rcv *r)
{
    enum rcv_database_op wanted = wanted_op(r);
    struct rcv_effect *e;

    if (wanted == RCV_DATABASE_NOTHING || wanted == r->op || !is_cut_short(r, wanted) ||
        (r->op == RCV_DATABASE_NOTHING && !mono_reached(r->now, r->op_again_at)))
        return;
    e = rcv_effect(r, RCV_RUN_DATABASE);
    e->database.op = wanted;
    e->database.peer = r->config.peer;
    r->op = wanted;
    r->op_id = e->id;
}

void roles_database_done(struct rcv *r, uint64_t id, bool ok)
{
    if (id != r->op_id || r->op == RCV_DATABASE_NOTHING)
        return;
    r->op = RCV_DATABASE_NOTHING;
    r->following_lost = MONO_NEVER;
    if (ok) {
        r->op_backoff_ms = BACKOFF_FIRST_MS;
        r->op_again_at = mono_after(r->now, AGAIN_MS);
        return;
    }
    r->op_again_at = mono_after(r->now, r->op_backoff_ms);
    r->op_backoff_ms =
        r->op_backoff_ms * 2 < BACKOFF_MAX_MS ? r->op_backoff_ms * 2 : BACKOFF_MAX_MS;
}

/* ---- do commits wait? ---- */

static void set_synchronous(struct rcv *r, uint32_t node, enum rcv_sync next)
{
    struct rcv_effect *e = rcv_effect(r, RCV_SET_SYNCHRONOUS);

    e->database.peer = node;
    r->sync_id = e->id;
    r->sync = next;
}

static bool peer_streams(const struct rcv *r)
{
    return r->database.streaming && r->database.replica == r->config.peer;
}

/* The one place that says that the stream is lost; a database that is down has none to lose. */
static bool lost_stream(struct rcv *r)
{
    if (rcv_peer_dead(r))
        return true;
    if (peer_streams(r) || !r->database.up) {
        r->sync_at = MONO_NEVER;
        return false;
    }
    if (r->sync_at.ms == MONO_NEVER.ms)
        r->sync_at = mono_after(r->now, STREAM_LOST_MS);
    return mono_reached(r->now, r->sync_at);
}

static void sync_off(struct rcv *r)
{
    if (r->database.synchronous == r->config.peer) {
        /* It was so before we started. */
        r->sync_lsn = r->database.lsn;
        r->sync_at = MONO_NEVER;
        r->sync = r->disk.database_alone ? RCV_SYNC_CATCHING : RCV_SYNC_ON;
    } else if (r->disk.database_alone && peer_streams(r) && rcv_peer_alive(r) &&
               !r->peer.last.stopping && r->peer.last.database_node == r->config.node &&
               (r->sync_at.ms == MONO_NEVER.ms || mono_reached(r->now, r->sync_at))) {
        set_synchronous(r, r->config.peer, RCV_SYNC_SETTING);
    }
}

static void sync_drop(struct rcv *r)
{
    r->sync = RCV_SYNC_DROPPING;
    r->sync_at = MONO_NEVER;
    /* The peer's answer must be to the heartbeat that tells it. */
    r->decided_seq = r->seq + 1;
    r->beat_now = true;
}

static void sync_step(struct rcv *r)
{
    const struct rcv_database *d = &r->database;

    switch (r->sync) {
    case RCV_SYNC_OFF:
        sync_off(r);
        break;
    case RCV_SYNC_CATCHING:
        if (lost_stream(r))
            sync_drop(r);
        else if (d->sync && peer_streams(r) && d->lsn >= r->sync_lsn + d->replica_lag_bytes)
            r->sync = RCV_SYNC_ON;
        break;
    case RCV_SYNC_ON:
        if (lost_stream(r))
            sync_drop(r);
        break;
    case RCV_SYNC_DROPPING:
        if (!r->disk.database_alone && !rcv_peer_dead(r) && peer_streams(r)) {
            r->sync = RCV_SYNC_CATCHING;
            r->sync_at = MONO_NEVER;
        } else if (r->disk.database_alone && d->up &&
                   (r->sync_at.ms == MONO_NEVER.ms || mono_reached(r->now, r->sync_at)))
            set_synchronous(r, 0, RCV_SYNC_CLEARING);
        break;
    case RCV_SYNC_SETTING:
    case RCV_SYNC_CLEARING:
        break;
    }
}

void roles_sync_done(struct rcv *r, uint64_t id, bool ok)
{
    if (id != r->sync_id)
        return;
    if (r->sync == RCV_SYNC_SETTING) {
        r->sync = ok ? RCV_SYNC_CATCHING : RCV_SYNC_OFF;
        r->sync_lsn = r->database.lsn;
        r->sync_at = ok ? MONO_NEVER : mono_after(r->now, BACKOFF_MAX_MS);
    } else if (r->sync == RCV_SYNC_CLEARING) {
        r->sync = ok ? RCV_SYNC_OFF : RCV_SYNC_DROPPING;
        /* The status may still say what it was. */
        r->database.synchronous = ok ? 0 : r->database.synchronous;
        r->sync_at = mono_after(r->now, AGAIN_MS);
    }
}

/* ---- */

static void note_health(struct rcv *r)
{
    if (roles_database_ok(r))
        r->database_ill_since = MONO_NEVER;
    else if (r->database_ill_since.ms == MONO_NEVER.ms)
        r->database_ill_since = r->now;

    if (!is_peers(r) || !r->database.running || r->database.receiving || !peer_is_primary(r))
        r->following_lost = MONO_NEVER;
    else if (r->following_lost.ms == MONO_NEVER.ms)
        r->following_lost = r->now;
}

void roles_carry_out(struct rcv *r)
{
    note_health(r);
    if (r->config.database_external)
        return;
    run_op(r);
    if (!rcv_alone(r) && is_ours(r) && runs_as_primary(&r->database))
        sync_step(r);
    else if (!is_ours(r))
        r->sync = RCV_SYNC_OFF;
}

mono_t roles_deadline(const struct rcv *r)
{
    uint64_t delay_ms = r->config.timers.critical_service_down_delay_ms;
    mono_t deadline = MONO_NEVER;

    if (r->op == RCV_DATABASE_NOTHING && wanted_op(r) != RCV_DATABASE_NOTHING)
        deadline = r->op_again_at;
    if (!mono_reached(r->now, mono_after(r->database_ill_since, delay_ms)))
        deadline = mono_min(deadline, mono_after(r->database_ill_since, delay_ms));
    if (!mono_reached(r->now, r->sync_at))
        deadline = mono_min(deadline, r->sync_at);
    return deadline;
}
