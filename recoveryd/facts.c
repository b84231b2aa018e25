// SPDX-License-Identifier: Apache-2.0
/*
 * What is so: questions that more than one part of the machine asks.
 */
#include "recoveryd/rcv_core.h"

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

    return rcv_peer_fresh(r) && last->epoch == r->disk.epoch && last->goal == last->reported &&
           last->goal == rcv_complement(r->disk.goal);
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
