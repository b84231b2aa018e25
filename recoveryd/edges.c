// SPDX-License-Identifier: Apache-2.0
/*
 * Carries out the plan on disk, again and again, from wherever it stands: each call does what can
 * be done now. So it does not matter in which state recoveryd was restarted.
 *
 *     1. users that the goal does not claim: out of the view, at once; the daemons let go of them
 *     2. when every daemon has: released_epoch, which the next heartbeat tells
 *     3. users that it claims: into the view once the peer has released them, serves nobody, or is
 *        dead
 *     4. when the daemons serve them, or have let go: reported = goal
 */
#include "recoveryd/rcv_core.h"

enum { LATE_MS = 10000 /* a daemon that has not let go, or not begun, is started anew */ };

struct rcv_users rcv_claims(enum rcv_role goal)
{
    return (struct rcv_users){
        .own = goal == RCV_OWN || goal == RCV_BOTH,
        .peers = goal == RCV_BOTH,
    };
}

static bool includes(struct rcv_users all, struct rcv_users some)
{
    return (all.own || !some.own) && (all.peers || !some.peers);
}

/* Nobody else serves what our plan gives us. */
static bool may_acquire(const struct rcv *r)
{
    const Muster__Heartbeat *last = &r->peer.last;

    if (rcv_alone(r))
        return true;
    /* There is a newer plan than ours: it counts, and ours never begins. */
    if (peer_known(&r->peer) && last->epoch > r->disk.epoch)
        return false;
    return rcv_peer_dead(r) || rcv_peer_holds_nothing(r) ||
           (peer_known(&r->peer) && last->released_epoch >= r->disk.epoch);
}

/* The one place that changes whom we serve. */
static void grant(struct rcv *r, struct rcv_users users, bool drain)
{
    r->granted = users;
    r->drain = drain;
    state_view_update(r);
    r->granted_version = r->view.version;
}

static void follow_plan(struct rcv *r)
{
    struct rcv_users claims = rcv_claims(r->disk.goal);
    struct rcv_users both;

    if (!r->sure)
        claims = (struct rcv_users){0};
    both.own = r->granted.own && claims.own;
    both.peers = r->granted.peers && claims.peers;
    if (!includes(claims, r->granted))
        grant(r, both, rcv_peer_alive(r) && r->sure && r->disk.goal != RCV_FAILED);
    else if (!includes(r->granted, claims) && may_acquire(r))
        grant(r, claims, false);
}

static void note_release(struct rcv *r)
{
    if (r->released_epoch >= r->disk.epoch || !r->sure ||
        !includes(rcv_claims(r->disk.goal), r->granted) ||
        !services_released(&r->services, r->granted_version) || !roles_released(r))
        return;
    r->released_epoch = r->disk.epoch;
    r->beat_now = true;
}

static bool is_done(const struct rcv *r)
{
    struct rcv_users claims = rcv_claims(r->disk.goal);

    if (r->disk.goal == RCV_INIT)
        return true;
    if (r->released_epoch < r->disk.epoch)
        return false;
    if (!claims.own)
        return true;
    return includes(r->granted, claims) && roles_database_ok(r) &&
           services_activated(&r->services, r->granted_version, r->now);
}

static void note_done(struct rcv *r)
{
    if (r->reported == r->disk.goal || !r->sure || !is_done(r))
        return;
    r->reported = r->disk.goal;
    r->decided_seq = r->seq + 1;
    r->drain = false;
    r->beat_now = true;
}

/* Idle by an operator's word: its daemons rest until it is wanted again. */
static bool may_rest(const struct rcv *r)
{
    const Muster__Heartbeat *last = &r->peer.last;

    /* What the peer has just decided may be a fallback. */
    if (rcv_peer_alive(r) && (last->request == RCV_WISH_FALLBACK || last->epoch > r->disk.epoch))
        return false;
    return r->disk.goal == RCV_NONE && r->reported == RCV_NONE &&
           r->disk.cause == MUSTER__STATE_REASON__ON_ADMIN_REQUEST && r->wish != RCV_WISH_FALLBACK;
}

static void follow_services(struct rcv *r)
{
    bool wanted = !r->stopping && !may_rest(r);

    for (size_t i = 0; i < SERVICES_COUNT - 1; i++)
        services_want(&r->services, services_order[i], wanted, r->now);
    if (r->reported != r->disk.goal && !r->late_killed &&
        mono_reached(r->now, mono_after(r->goal_since, LATE_MS))) {
        r->late_killed = true;
        services_kill_late(&r->services, r->granted_version, rcv_act, r);
    }
    services_tick(&r->services, r->now, rcv_act, r);
}

void edges_carry_out(struct rcv *r)
{
    follow_plan(r);
    note_release(r);
    note_done(r);
    follow_services(r);
}

mono_t edges_deadline(const struct rcv *r)
{
    if (r->reported == r->disk.goal || r->late_killed)
        return MONO_NEVER;
    return mono_after(r->goal_since, LATE_MS);
}
