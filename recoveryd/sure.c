// SPDX-License-Identifier: Apache-2.0
/*
 * When may we believe that what we last knew still holds? Whoever is not sure serves nobody until
 * the peer has answered a heartbeat that was sent after the doubt arose.
 */
#include "recoveryd/rcv_core.h"

/* The peer talks, but has not heard us for so long that it may take over: until when we are sure
 * that it has not. MONO_NEVER where it hears us, or is silent itself: then it may be dead. */
mono_t sure_unheard_at(const struct rcv *r)
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
void sure_note_sleep(struct rcv *r)
{
    mono_t lease_end = mono_after(r->last_step, r->config.timers.serving_lease_ms);
    uint64_t moment_ms = 2 * r->config.timers.heartbeat_interval_ms;
    bool slept = mono_reached(r->now, lease_end);

    if (mono_reached(r->now, mono_after(r->last_step, moment_ms)))
        peer_dozed(&r->peer, r->now, moment_ms);
    r->last_step = r->now;
    if (rcv_alone(r) ||
        (!slept && !mono_reached(r->now, mono_min(r->sure_until, sure_unheard_at(r)))))
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
void sure_begin_anew(struct rcv *r)
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
    r->disk.database_synced = false; /* what the peer has acknowledged since is not here */
    r->disk.rule = 0;
}

/* We slept, and there is nobody to ask what happened: the peer may have taken over meanwhile. */
static bool may_be_outdated(const struct rcv *r)
{
    return !r->sure && rcv_peer_dead(r) && !r->disk.database_alone && !r->config.database_external;
}

/* The peer has, and restarted since. */
static bool is_outdated(const struct rcv *r)
{
    return rcv_peer_alive(r) && r->peer.last.goal == RCV_INIT && r->peer.last.epoch > r->disk.epoch;
}

/* As after a cold start, we find out with the peer who has the newest, or wait for an operator. */
void sure_doubt(struct rcv *r)
{
    if (r->saving || r->disk.goal == RCV_INIT || (!may_be_outdated(r) && !is_outdated(r)))
        return;
    r->config.plan = r->disk;
    r->started = r->now;
    sure_begin_anew(r);
}

/* Users of a plan that was in force when recoveryd ended, and is still. */
void sure_go_on(struct rcv *r)
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
