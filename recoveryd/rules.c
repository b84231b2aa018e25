// SPDX-License-Identifier: Apache-2.0
/*
 * The decisions: a table of numbered rules, of which the first that applies gives the next plan.
 * Numbers are stable; they are in the log and in the plan.
 *
 * Three families. 1x: the peer has decided, we follow. 2x to 5x: we decide, for both. 6x: a move
 * that does not end. A rule that decides for both looks at a peer that is either known dead or has
 * done all of the plan that we last wrote, and says so in answer to it (rcv_peer_settled), so that
 * nobody decides from an old copy.
 */
#include <assert.h>

#include "common/util.h"
#include "recoveryd/rcv_core.h"

enum {
    INIT_WINDOWS = 3,         /* of init_heartbeat_timeout: for a peer that is slow to get ready */
    MOVE_MS = 30000,          /* for users to move */
    FAILED_RETRY_MS = 10000,  /* Running in Failed Mode, and only we are able */
    FLAP_MS = 60 * 60 * 1000, /* two takeovers within this: no automatic fallback */
};

typedef bool rule_when(const struct rcv *r);
typedef void rule_then(struct rcv *r, struct rcv_plan *n);

/* ---- helpers ---- */

static enum rcv_role peer_goal(const struct rcv *r)
{
    return (enum rcv_role)r->peer.last.goal;
}

static bool peer_is_init(const struct rcv *r)
{
    return rcv_peer_alive(r) && peer_goal(r) == RCV_INIT;
}

static bool peer_has_plan(const struct rcv *r)
{
    return rcv_peer_alive(r) && peer_goal(r) != RCV_INIT;
}

static bool init_window_over(const struct rcv *r)
{
    uint64_t ms = INIT_WINDOWS * r->config.timers.init_heartbeat_timeout_ms;

    return mono_reached(r->now, mono_after(r->started, ms));
}

/* Both decide at the same time only where nobody has yet; then the lower node does. */
static bool is_first(const struct rcv *r)
{
    return r->config.node < r->config.peer;
}

static bool claims_nothing(const struct rcv *r)
{
    return r->disk.goal == RCV_NONE || r->disk.goal == RCV_FAILED;
}

/* The one place that makes a plan. */
static void plan(struct rcv *r, struct rcv_plan *n, enum rcv_role goal, Muster__StateReason cause,
                 uint64_t epoch)
{
    n->from_init = r->disk.goal == RCV_INIT && goal != RCV_INIT;
    n->goal = goal;
    n->cause = cause;
    n->epoch = epoch;
    n->base_epoch = r->disk.epoch;
    if (peer_known(&r->peer) && r->peer.last.epoch > n->base_epoch)
        n->base_epoch = r->peer.last.epoch;
    n->reported = r->reported;
    n->resume = RCV_UNKNOWN;
    n->database_kept = false;
}

static void decide(struct rcv *r, struct rcv_plan *n, enum rcv_role goal, Muster__StateReason cause)
{
    plan(r, n, goal, cause, rcv_next_epoch(r));
}

/* ---- 1x: the peer has decided ---- */

/* We took over, so did the peer without knowing it, and it promoted its database while ours went
 * on. */
static bool both_took_over(const struct rcv *r)
{
    const Muster__Heartbeat *last = &r->peer.last;

    if (!rcv_peer_alive(r) || r->disk.goal != RCV_BOTH || peer_goal(r) != RCV_BOTH ||
        last->epoch < r->disk.epoch || last->base_epoch >= r->disk.epoch)
        return false;
    if (r->disk.database_kept != last->database_kept)
        return r->disk.database_kept;
    return is_first(r);
}

static void insist(struct rcv *r, struct rcv_plan *n)
{
    bool kept = n->database_kept;

    decide(r, n, RCV_BOTH, n->cause);
    n->database_kept = kept;
}

/* May a node that initialises begin what the peer's plan leaves to it? */
static bool may_join(const struct rcv *r)
{
    if (rcv_ready(r))
        return true;
    /* Nobody waits for it: it can as well be seen where it is. */
    return (peer_goal(r) == RCV_BOTH || peer_goal(r) == RCV_FAILED) && init_window_over(r);
}

static bool peer_is_ahead(const struct rcv *r)
{
    return peer_has_plan(r) && r->peer.last.epoch > r->disk.epoch &&
           (r->disk.goal != RCV_INIT || may_join(r));
}

static void follow(struct rcv *r, struct rcv_plan *n)
{
    const Muster__Heartbeat *last = &r->peer.last;

    plan(r, n, rcv_complement(peer_goal(r)), (Muster__StateReason)last->cause, last->epoch);
    if (last->database_node == 0 || last->database_node == n->database_node)
        return;
    /* It changes hands by the peer's word, or while we were thought dead. */
    n->database_node = last->database_node;
    n->database_synced = false;
    n->database_alone = n->database_node == r->config.node;
}

/* We come back with the peer's epoch: what belongs to its plan needs a new one. A peer whose plan
 * is older than what we did before we restarted will notice, and start anew too. */
static bool peer_went_on(const struct rcv *r)
{
    return r->disk.goal == RCV_INIT && peer_has_plan(r) && rcv_peer_fresh(r) &&
           r->peer.last.epoch == r->disk.epoch && peer_goal(r) != RCV_FAILED && may_join(r);
}

static void join(struct rcv *r, struct rcv_plan *n)
{
    decide(r, n, rcv_complement(peer_goal(r)), (Muster__StateReason)r->peer.last.cause);
}

/* ---- 2x: the peer is dead, or serves nobody and does not know it ---- */

static bool is_lonely(const struct rcv *r)
{
    return rcv_peer_dead(r) && r->disk.goal != RCV_INIT &&
           (r->disk.goal != RCV_BOTH || r->disk.database_node == r->config.peer || !r->sure);
}

static bool peer_is_dead(const struct rcv *r)
{
    return is_lonely(r) && rcv_able(r) && roles_can_be_primary(r);
}

static bool peer_is_dead_and_we_cannot(const struct rcv *r)
{
    return rcv_peer_dead(r) && r->disk.goal != RCV_INIT && r->disk.goal != RCV_FAILED &&
           (!rcv_able(r) || (is_lonely(r) && !roles_can_be_primary(r)));
}

static bool peer_lost_its_memory(const struct rcv *r)
{
    return peer_is_init(r) && rcv_peer_fresh(r) && !r->peer.last.ready && r->sure &&
           (r->disk.goal == RCV_OWN || r->disk.goal == RCV_NONE) && rcv_able(r);
}

static Muster__StateReason why_lonely(const struct rcv *r)
{
    if (peer_is_init(r) || r->peer.last.stopping)
        return MUSTER__STATE_REASON__PEER_REBOOT;
    return MUSTER__STATE_REASON__PEER_DOWN;
}

static void take_over(struct rcv *r, struct rcv_plan *n)
{
    bool was_ours = n->database_node == r->config.node;
    /* Alone as before, only surer or with another database: the reason stays. */
    bool same = r->disk.goal == RCV_BOTH;

    decide(r, n, RCV_BOTH, same ? n->cause : why_lonely(r));
    n->database_kept = was_ours;
    if (rcv_peer_dead(r)) {
        n->database_node = r->config.node;
        n->database_alone = true;
        n->database_synced = false;
    }
}

static void give_up(struct rcv *r, struct rcv_plan *n)
{
    Muster__StateReason why = rcv_unable_because(r);

    if (why == MUSTER__STATE_REASON__REASON_NORMAL)
        why = MUSTER__STATE_REASON__DATABASE_FAILURE;
    decide(r, n, RCV_FAILED, why);
}

/* ---- 3x: we are unable ---- */

/* It is our database that has failed, and the peer cannot go on with its own. */
static bool database_would_be_lost(const struct rcv *r)
{
    return rcv_unable_because(r) == MUSTER__STATE_REASON__DATABASE_FAILURE &&
           r->disk.database_node == r->config.node && !r->peer.last.database_synced;
}

static bool peer_can_take_over(const struct rcv *r)
{
    const Muster__Heartbeat *last = &r->peer.last;
    bool rests = r->disk.cause == MUSTER__STATE_REASON__ON_ADMIN_REQUEST;

    return rcv_peer_settled(r) && last->able && !database_would_be_lost(r) &&
           (last->goal != RCV_NONE || last->critical_up || rests);
}

static bool serves_in_vain(const struct rcv *r)
{
    return (r->disk.goal == RCV_OWN || r->disk.goal == RCV_BOTH) && !rcv_able(r) && r->sure;
}

static bool unable_and_peer_can(const struct rcv *r)
{
    return !rcv_alone(r) && serves_in_vain(r) && rcv_settled(r) && peer_can_take_over(r);
}

static void hand_over(struct rcv *r, struct rcv_plan *n)
{
    Muster__StateReason why = rcv_unable_because(r);
    bool is_database = why == MUSTER__STATE_REASON__DATABASE_FAILURE;

    if (is_database && n->database_node == r->config.node) {
        n->database_node = r->config.peer;
        n->database_alone = n->database_synced = false;
    }
    if (r->disk.goal == RCV_BOTH)
        why = is_database ? MUSTER__STATE_REASON__AUTO_RECOVER_DATABASE_FAILURE
                          : MUSTER__STATE_REASON__AUTO_RECOVER_CRITICAL_SERVICE_DOWN;
    decide(r, n, RCV_NONE, why);
}

static bool unable_and_nobody_can(const struct rcv *r)
{
    return serves_in_vain(r) && (rcv_alone(r) || (rcv_peer_settled(r) && !peer_can_take_over(r)));
}

/* ---- 4x: operators, and the automatic fallback ---- */

static bool failover_is_asked(const struct rcv *r)
{
    return r->failover_asked && r->disk.goal == RCV_OWN && rcv_settled(r) && rcv_peer_settled(r);
}

static void fail_over(struct rcv *r, struct rcv_plan *n)
{
    r->failover_asked = false;
    decide(r, n, RCV_NONE, MUSTER__STATE_REASON__ON_ADMIN_REQUEST);
}

static bool can_fall_back(const struct rcv *r)
{
    return r->disk.goal == RCV_BOTH && rcv_settled(r) && rcv_peer_settled(r) &&
           !rcv_move_waits_for(r);
}

static bool fallback_is_asked(const struct rcv *r)
{
    return can_fall_back(r) &&
           (r->wish == RCV_WISH_FALLBACK || r->peer.last.request == RCV_WISH_FALLBACK);
}

static bool fallback_is_due(const struct rcv *r)
{
    bool flaps =
        r->takeovers[0].ms != 0 && !mono_reached(r->now, mono_after(r->takeovers[0], FLAP_MS));

    return r->config.timers.automatic_fallback && can_fall_back(r) && !flaps &&
           r->disk.cause != MUSTER__STATE_REASON__ON_ADMIN_REQUEST &&
           mono_reached(r->now, mono_after(r->fallback_ready_since,
                                           r->config.timers.automatic_fallback_delay_ms));
}

static void fall_back(struct rcv *r, struct rcv_plan *n)
{
    decide(r, n, RCV_OWN, MUSTER__STATE_REASON__ON_ADMIN_REQUEST);
}

static void fall_back_automatically(struct rcv *r, struct rcv_plan *n)
{
    decide(r, n, RCV_OWN, MUSTER__STATE_REASON__AUTOMATIC_FALLBACK);
}

/* ---- 5x: nobody serves ---- */

static bool starts_alone(const struct rcv *r)
{
    return rcv_alone(r) && r->disk.goal != RCV_OWN && rcv_ready(r);
}

static void serve_own(struct rcv *r, struct rcv_plan *n)
{
    decide(r, n, RCV_OWN, MUSTER__STATE_REASON__REASON_NORMAL);
}

static bool all_start(const struct rcv *r)
{
    return r->disk.goal == RCV_INIT && peer_is_init(r) && is_first(r) && rcv_peer_fresh(r) &&
           rcv_ready(r) && r->peer.last.ready && (rcv_databases_in_sync(r) || init_window_over(r));
}

/* Where an operator had moved users away, they stay away. */
static void resume_all(struct rcv *r, struct rcv_plan *n)
{
    enum rcv_role ours = r->disk.resume, theirs = (enum rcv_role)r->peer.last.resume;

    if (ours != RCV_UNKNOWN && theirs == rcv_complement(ours))
        decide(r, n, ours, MUSTER__STATE_REASON__ON_ADMIN_REQUEST);
    else
        serve_own(r, n);
}

static bool starts_without_peer(const struct rcv *r)
{
    if (r->disk.goal != RCV_INIT || !rcv_ready(r) || rcv_alone(r))
        return false;
    if (peer_is_init(r))
        return init_window_over(r) && !r->peer.last.ready;
    return rcv_peer_dead(r) &&
           (r->config.database_external || r->disk.database_node == r->config.node);
}

static void start_without_peer(struct rcv *r, struct rcv_plan *n)
{
    decide(r, n, RCV_BOTH, MUSTER__STATE_REASON__PEER_DOWN_DURING_INITIALIZATION);
    n->database_kept = true;
    if (rcv_peer_dead(r))
        n->database_alone = true;
}

/* Both of us serve nobody, or one does and the other starts, and both could. */
static bool all_have_recovered(const struct rcv *r)
{
    if (!rcv_peer_alive(r) || !rcv_peer_fresh(r) || !rcv_ready(r) || !r->peer.last.ready)
        return false;
    if (r->disk.goal == RCV_INIT)
        return peer_goal(r) == RCV_FAILED && r->peer.last.epoch == r->disk.epoch;
    return claims_nothing(r) && rcv_settled(r) && rcv_peer_settled(r) &&
           (peer_goal(r) == RCV_FAILED || peer_goal(r) == RCV_NONE) && is_first(r);
}

static void recover_all(struct rcv *r, struct rcv_plan *n)
{
    decide(r, n, RCV_OWN, r->disk.cause);
}

static bool only_we_have_recovered(const struct rcv *r)
{
    uint64_t wait_ms = r->forced ? 0 : FAILED_RETRY_MS;

    return r->disk.goal == RCV_FAILED && rcv_settled(r) && rcv_ready(r) && !rcv_alone(r) &&
           mono_reached(r->now, mono_after(r->goal_since, wait_ms)) &&
           (rcv_peer_dead(r) || (rcv_peer_alive(r) && rcv_peer_fresh(r) && !r->peer.last.ready &&
                                 (peer_goal(r) == RCV_FAILED || peer_goal(r) == RCV_INIT)));
}

static void recover_alone(struct rcv *r, struct rcv_plan *n)
{
    decide(r, n, RCV_BOTH, (Muster__StateReason)r->disk.cause);
    n->database_kept = n->database_node == r->config.node;
}

/* ---- 6x: a move does not end ---- */

static bool move_takes_too_long(const struct rcv *r)
{
    return r->disk.goal != r->reported &&
           (r->disk.goal == RCV_BOTH || (r->disk.goal == RCV_OWN && r->reported != RCV_BOTH)) &&
           mono_reached(r->now, mono_after(r->goal_since, MOVE_MS));
}

static void fail_move(struct rcv *r, struct rcv_plan *n)
{
    Muster__StateReason why = MUSTER__STATE_REASON__TAKE_BACK_USERS_FAILED;

    if (r->disk.goal == RCV_BOTH)
        why = MUSTER__STATE_REASON__TAKE_OVER_USERS_FAILED;
    else if (!services_all_healthy(&r->services, r->now))
        why = MUSTER__STATE_REASON__START_OF_CRITICAL_SERVICES_FAILED;
    decide(r, n, RCV_FAILED, why);
}

// clang-format off
static const struct rule {
    uint32_t number;
    rule_when *when;
    rule_then *then;
} rules[] = {
    {10, both_took_over,             insist},
    {11, peer_is_ahead,              follow},
    {12, peer_went_on,               join},
    {20, peer_is_dead,               take_over},
    {21, peer_lost_its_memory,       take_over},
    {22, peer_is_dead_and_we_cannot, give_up},
    {30, unable_and_peer_can,        hand_over},
    {31, unable_and_nobody_can,      give_up},
    {40, failover_is_asked,          fail_over},
    {41, fallback_is_asked,          fall_back},
    {42, fallback_is_due,            fall_back_automatically},
    {50, starts_alone,               serve_own},
    {51, all_start,                  resume_all},
    {52, starts_without_peer,        start_without_peer},
    {53, all_have_recovered,         recover_all},
    {54, only_we_have_recovered,     recover_alone},
    {60, move_takes_too_long,        fail_move},
};
// clang-format on

void rules_decide(struct rcv *r, struct rcv_plan *n)
{
    if (r->stopping)
        return;
    for (size_t i = 0; i < ARRAY_LEN(rules); i++) {
        if (!rules[i].when(r))
            continue;
        rules[i].then(r, n);
        n->rule = rules[i].number;
        assert(n->epoch > r->disk.epoch);
        return;
    }
}
