// SPDX-License-Identifier: Apache-2.0
/*
 * What operators are told: changes of state, and alarms.
 */
#include <stdio.h>

#include "recoveryd/rcv_core.h"

enum { DEGRADED_MS = 5000, RESTARTED_MS = 60000 };

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

void tell_state(struct rcv *r)
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

void tell_alarms(struct rcv *r)
{
    const struct rcv_timers *t = &r->config.timers;
    /* While a node initialises its services wait for the database. */
    uint64_t delay_ms = r->disk.goal == RCV_INIT ? 3 * t->init_heartbeat_timeout_ms
                                                 : t->critical_service_down_delay_ms;
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
