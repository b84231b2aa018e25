// SPDX-License-Identifier: Apache-2.0
/*
 * What the core wants done, and how its end comes back.
 */
#include <signal.h>

#include "common/daemon.h"
#include "common/log.h"
#include "common/loop.h"
#include "recoveryd/manager.h"

/* ---- the plan ---- */

static void on_saved(void *ctx, bool ok)
{
    struct manager *m = ctx;

    manager_step(m, (struct rcv_event){.type = RCV_SAVED, .done = {m->save_id, ok}});
}

/* ---- the database ---- */

static enum postgres_op op_of(enum rcv_database_op op)
{
    static const enum postgres_op ops[] = {
        [RCV_DATABASE_INIT_PRIMARY] = POSTGRES_INIT_PRIMARY,
        [RCV_DATABASE_START] = POSTGRES_START,
        [RCV_DATABASE_MAKE_STANDBY] = POSTGRES_MAKE_STANDBY,
        [RCV_DATABASE_REJOIN] = POSTGRES_REJOIN,
        [RCV_DATABASE_PROMOTE] = POSTGRES_PROMOTE,
        [RCV_DATABASE_STOP] = POSTGRES_STOP,
    };
    return ops[op];
}

static void on_database_done(void *ctx, int status, const char *why)
{
    struct manager *m = ctx;

    if (status == POSTGRES_CANCELLED)
        return; /* a newer one was asked for, and its end is waited for */
    if (status != POSTGRES_OK)
        log_warning("database_operation_failed", log_str("why", why));
    manager_step(m, (struct rcv_event){.type = RCV_DATABASE_DONE,
                                       .done = {m->database_id, status == POSTGRES_OK}});
    if (!m->stopped)
        effects_migrate(m);
}

static void run_database(struct manager *m, const struct rcv_effect *e)
{
    const struct postgres_request request = {
        .op = op_of(e->database.op),
        .peer = e->database.peer,
        .done = on_database_done,
        .ctx = m,
    };

    log_info("database_operation", log_str("what", rcv_database_op_name(e->database.op)),
             log_u64("peer", e->database.peer));
    m->database_id = e->id;
    postgres_run(m->postgres, &request);
}

static void on_sync_done(void *ctx, int status, const char *why)
{
    struct manager *m = ctx;

    if (status == POSTGRES_CANCELLED)
        return;
    if (status != POSTGRES_OK)
        log_warning("database_synchronous_failed", log_str("why", why));
    manager_step(
        m, (struct rcv_event){.type = RCV_SYNC_DONE, .done = {m->sync_id, status == POSTGRES_OK}});
}

static void on_migrated(void *ctx, int status, unsigned applied, const char *why)
{
    struct manager *m = ctx;

    m->migrate = NULL;
    m->migrated = status == 0;
    if (status != 0)
        log_error("migration_failed", log_str("why", why));
    else if (applied > 0)
        log_info("migrated", log_u64("applied", applied));
}

void effects_migrate(struct manager *m)
{
    const struct postgres_status *s = postgres_status(m->postgres);
    char conninfo[1024], directory[CONF_PATH_MAX];
    struct err err;

    if (!s->up || s->standby) {
        m->migrated = false;
        return;
    }
    /* A cluster that is being made answers before the database is in it. */
    if (m->migrated || m->migrate || postgres_busy(m->postgres))
        return;
    if (migrate_directory(directory, sizeof(directory), &err)) {
        log_error("migration_failed", log_str("why", err.text));
        return;
    }
    postgres_local_conninfo(m->postgres, "muster", conninfo, sizeof(conninfo));
    m->migrate = migrate_start(m->loop, conninfo, directory, 0, on_migrated, m);
}

/* ---- services ---- */

static void start_service(struct manager *m, Muster__Service service)
{
    struct rcv_event event = {.type = RCV_SERVICE_STARTED};

    event.process.service = service;
    event.process.pid = supervisor_start(m->supervisor, service);
    manager_step(m, event);
}

/* ---- words ---- */

static void say_changed(struct manager *m, const struct rcv_effect *e)
{
    log_info("ha_state", log_str("state", view_state_name(e->changed.state)),
             log_str("reason", view_reason_name(e->changed.reason)),
             log_str("goal", rcv_role_name(e->changed.goal)),
             log_str("reported", rcv_role_name(e->changed.reported)),
             log_u64("rule", e->changed.rule), log_u64("epoch", e->changed.epoch));
    if (e->changed.state == MUSTER__NODE_STATE__TAKING_OVER)
        metrics_add(&m->metrics, METRIC_HA_FAILOVERS, 1);
    metrics_set(&m->metrics, METRIC_HA_STATE, e->changed.state);
    metrics_set(&m->metrics, METRIC_HA_EPOCH, (int64_t)e->changed.epoch);
}

static void set_alarm(struct manager *m, const struct rcv_effect *e)
{
    if (!alarm_list_set(&m->alarms, MUSTER__SERVICE__RECOVERYD, e->alarm.name, e->alarm.raised,
                        e->alarm.detail, daemon_unix_ms()))
        return;
    log_warning(e->alarm.raised ? "alarm_raised" : "alarm_cleared", log_str("name", e->alarm.name),
                log_str("detail", e->alarm.detail));
}

static void push_view(struct manager *m, const struct rcv_view *view)
{
    uint64_t now_ms = uv_hrtime() / 1000000;
    uint32_t lease_ms = (uint32_t)view->lease_ms;

    state_file_set_lease(m->state, view->inheritable ? now_ms + lease_ms : 0);
    daemon_links_push(m->links, view, now_ms, lease_ms);
}

void effects_carry_out(struct manager *m, const struct rcv_effect *e)
{
    switch (e->type) {
    case RCV_SAVE:
        m->save_id = e->id;
        state_file_save(m->state, &e->plan, on_saved, m);
        break;
    case RCV_PUSH_VIEW:
        push_view(m, &e->view);
        break;
    case RCV_SEND_HEARTBEAT:
        if (m->heartbeat)
            heartbeat_send(m->heartbeat, &e->heartbeat);
        break;
    case RCV_RECONNECT:
        if (m->heartbeat)
            heartbeat_reconnect(m->heartbeat);
        break;
    case RCV_START_SERVICE:
        start_service(m, e->service);
        break;
    case RCV_TERMINATE_SERVICE:
        supervisor_signal(m->supervisor, e->service, SIGTERM);
        break;
    case RCV_KILL_SERVICE:
        supervisor_signal(m->supervisor, e->service, SIGKILL);
        break;
    case RCV_RUN_DATABASE:
        run_database(m, e);
        break;
    case RCV_SET_SYNCHRONOUS:
        m->sync_id = e->id;
        postgres_set_synchronous(m->postgres, e->database.peer, on_sync_done, m);
        break;
    case RCV_ALARM:
        set_alarm(m, e);
        break;
    case RCV_CHANGED:
        say_changed(m, e);
        break;
    case RCV_REPLY:
        if (m->reply)
            *m->reply = *e;
        break;
    }
}
