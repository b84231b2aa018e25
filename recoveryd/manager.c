// SPDX-License-Identifier: Apache-2.0
#include "recoveryd/manager.h"

#include <assert.h>
#include <string.h>

#include "common/daemon.h"
#include "common/log.h"
#include "common/loop.h"
#include "common/tls.h"
#include "recoveryd/services.h"

/* ---- the door to the core ---- */

static void on_database(void *ctx, const struct postgres_status *s);

static void on_timer(uv_timer_t *timer)
{
    struct manager *m = timer->data;

    /* How far the standby is behind changes without a word. */
    if (m->postgres)
        on_database(m, postgres_status(m->postgres));
    manager_step(m, (struct rcv_event){.type = RCV_TICK});
}

static void arm(struct manager *m)
{
    uv_timer_start(&m->timer, on_timer, mono_until(loop_now(m->loop), rcv_deadline(m->rcv)), 0);
}

static void close_all(struct manager *m);

static void step_once(struct manager *m, struct rcv_event *event)
{
    event->now = loop_now(m->loop);
    event->unix_ms = daemon_unix_ms();
    rcv_step(m->rcv, event, &m->update);
    for (size_t i = 0; i < m->update.count; i++)
        effects_carry_out(m, &m->update.effects[i]);
}

void manager_step(struct manager *m, struct rcv_event event)
{
    if (m->stopped)
        return;
    if (m->stepping) {
        assert(m->queued < MANAGER_QUEUE_MAX);
        m->queue[m->queued++] = event;
        return;
    }
    m->stepping = true;
    step_once(m, &event);
    for (size_t i = 0; i < m->queued; i++) {
        struct rcv_event next = m->queue[i];

        step_once(m, &next);
    }
    m->queued = 0;
    m->stepping = false;
    if (rcv_stopped(m->rcv))
        close_all(m);
    else
        arm(m);
}

void manager_command(struct manager *m, enum rcv_command command, Muster__Service service,
                     struct rcv_effect *ret_reply)
{
    *ret_reply = (struct rcv_effect){.type = RCV_REPLY, .reply = {1, "recoveryd is stopping"}};
    m->reply = ret_reply;
    manager_step(m, (struct rcv_event){.type = RCV_COMMAND, .command = {command, service}});
    m->reply = NULL;
}

void manager_stop(struct manager *m)
{
    manager_step(m, (struct rcv_event){.type = RCV_STOP});
}

/* ---- what happens ---- */

static void on_heard(void *ctx, const Muster__Heartbeat *heartbeat)
{
    manager_step(ctx, (struct rcv_event){.type = RCV_HEARD, .heartbeat = heartbeat});
}

static void on_link_lost(void *ctx)
{
    log_info("heartbeat_link_lost");
    manager_step(ctx, (struct rcv_event){.type = RCV_LINK_LOST});
}

static void on_connect_failed(void *ctx, bool refused, bool listeners_refused)
{
    manager_step(ctx, (struct rcv_event){.type = RCV_CONNECT_FAILED,
                                         .connect = {refused, listeners_refused}});
}

static void on_service_exit(void *ctx, Muster__Service service)
{
    struct manager *m = ctx;

    metrics_add(&m->metrics, METRIC_SERVICE_RESTARTS, 1);
    manager_step(m, (struct rcv_event){.type = RCV_SERVICE_EXITED, .process = {service, 0}});
}

static void on_ack(void *ctx, Muster__Service service, const Muster__ViewAck *ack)
{
    manager_step(ctx, (struct rcv_event){.type = RCV_SERVICE_ACKED, .ack = {service, ack}});
}

static void on_alarm(void *ctx, Muster__Service service, const Muster__Alarm *alarm)
{
    struct manager *m = ctx;

    if (alarm_list_set(&m->alarms, service, alarm->name, alarm->raised, alarm->detail,
                       daemon_unix_ms()))
        log_warning(alarm->raised ? "alarm_raised" : "alarm_cleared", log_str("name", alarm->name),
                    log_str("from", ipc_service_name(service)), log_str("detail", alarm->detail));
}

static uint32_t node_named(const struct manager *m, uint32_t node)
{
    return view_find(&m->conf.nodes, node) ? node : 0;
}

static void on_database(void *ctx, const struct postgres_status *s)
{
    struct manager *m = ctx;
    struct rcv_event event = {.type = RCV_DATABASE};

    event.database = (struct rcv_database){
        .known = s->known,
        .exists = s->exists,
        .unusable = s->unusable,
        .running = s->running,
        .up = s->up,
        .standby = s->standby,
        .receiving = s->receiving,
        .timeline = s->timeline,
        .lsn = s->lsn,
        .synchronous = node_named(m, s->synchronous),
        .replica = node_named(m, s->replica),
        .streaming = strcmp(s->replica_state, "streaming") == 0,
        .sync = strcmp(s->replica_sync, "sync") == 0,
        .replica_lag_bytes = s->replica_lag_bytes,
    };
    manager_step(m, event);
    if (!m->stopped)
        effects_migrate(m);
}

/* ---- parameters ---- */

static struct rcv_timers timers_of(const struct params *p)
{
    return (struct rcv_timers){
        .heartbeat_interval_ms = p->recoveryd_heartbeat_interval_ms,
        .heartbeat_timeout_ms = p->recoveryd_heartbeat_timeout_ms,
        .init_heartbeat_timeout_ms = p->recoveryd_init_heartbeat_timeout_ms,
        .serving_lease_ms = p->recoveryd_serving_lease_ms,
        .critical_service_down_delay_ms = p->recoveryd_critical_service_down_delay_ms,
        .automatic_fallback_delay_ms = p->recoveryd_automatic_fallback_delay_ms,
        .automatic_fallback = p->recoveryd_automatic_fallback,
    };
}

/* A lease as long as the silence after which the peer takes over would let two nodes serve. */
static void check_lease(struct params *p)
{
    if (p->recoveryd_serving_lease_ms < p->recoveryd_heartbeat_timeout_ms)
        return;
    p->recoveryd_serving_lease_ms = p->recoveryd_heartbeat_timeout_ms * 2 / 3;
    log_warning("serving_lease_too_long", log_u64("used_ms", p->recoveryd_serving_lease_ms));
}

static void read_params(struct manager *m)
{
    params_apply(&m->params, m->source ? params_source_message(m->source) : NULL, &m->conf);
    check_lease(&m->params);
}

static void on_params(void *ctx)
{
    struct manager *m = ctx;

    read_params(m);
    if (m->heartbeat)
        heartbeat_set_connect_timeout(m->heartbeat, m->params.recoveryd_connect_timeout_ms);
    daemon_links_send_params(m->links);
    manager_step(m, (struct rcv_event){.type = RCV_TIMERS, .timers = timers_of(&m->params)});
}

static const Muster__Params *give_params(void *ctx)
{
    struct manager *m = ctx;

    return params_source_message(m->source);
}

/* ---- metrics ---- */

static void on_refresh(void *ctx)
{
    struct manager *m = ctx;
    struct buf text;

    buf_init(&text, 65536);
    metrics_print(&m->metrics, &text);
    metrics_http_put(m->http, "recoveryd", buf_str(&text));
    buf_done(&text);
    metrics_http_health(m->http, rcv_serves(m->rcv, false) || rcv_serves(m->rcv, true),
                        view_state_name(rcv_status(m->rcv, false).state));
    daemon_links_ask_metrics(m->links);
}

static void on_metrics(void *ctx, Muster__Service service, struct str text)
{
    struct manager *m = ctx;

    if (m->http)
        metrics_http_put(m->http, ipc_service_name(service), text);
}

/* ---- start ---- */

/* Daemons of a predecessor go on as if nothing had happened. True when one of those that the peer
 * can see was there all the time: without them it may have taken over at once, lease or not. */
static bool find_daemons(struct manager *m, uint32_t ret_pids[SERVICES_COUNT])
{
    for (int service = MUSTER__SERVICE__PROXYD; service < SERVICES_COUNT; service++)
        ret_pids[service] = supervisor_find(m->supervisor, (Muster__Service)service);
    return ret_pids[MUSTER__SERVICE__PROXYD] || ret_pids[MUSTER__SERVICE__ROUTERD];
}

static int start_core(struct manager *m, struct err *ret_err)
{
    struct rcv_config config = {
        .node = m->conf.node,
        .peer = m->peer,
        .boot_id = m->boot_id,
        .database_external = m->conf.database_external,
        .timers = timers_of(&m->params),
    };

    /* Where no daemon is left, the peer may have seen that, and not waited for the lease. */
    if (find_daemons(m, config.found))
        config.inherited_lease = (mono_t){state_file_lease(m->state)};
    if (state_file_load(m->state, &config.plan, ret_err))
        return -1;
    m->rcv = rcv_new(&config, loop_now(m->loop), daemon_unix_ms());
    return 0;
}

static int start_heartbeat(struct manager *m, struct err *ret_err)
{
    struct heartbeat_config config = {
        .conf = &m->conf,
        .peer = m->peer,
        .on_heard = on_heard,
        .on_link_lost = on_link_lost,
        .on_connect_failed = on_connect_failed,
        .ctx = m,
    };

    if (!m->peer)
        return 0;
    m->server = tls_new(TLS_SERVER_MUTUAL, &m->conf, ret_err);
    m->client = m->server ? tls_new(TLS_CLIENT_MUTUAL, &m->conf, ret_err) : NULL;
    if (!m->client)
        return -1;
    config.server = m->server;
    config.client = m->client;
    m->heartbeat = heartbeat_start(m->loop, &config, ret_err);
    if (!m->heartbeat)
        return -1;
    heartbeat_set_connect_timeout(m->heartbeat, m->params.recoveryd_connect_timeout_ms);
    return 0;
}

static int start_links(struct manager *m, struct err *ret_err)
{
    const struct daemon_links_config config = {
        .conf = &m->conf,
        .boot_id = m->boot_id,
        .metrics = &m->metrics,
        .params = give_params,
        .on_ack = on_ack,
        .on_alarm = on_alarm,
        .on_metrics = on_metrics,
        .on_admin = admin_on_request,
        .ctx = m,
    };

    m->links = daemon_links_start(m->loop, &config, ret_err);
    return m->links ? 0 : -1;
}

static void start_params(struct manager *m)
{
    static const struct db_statement no_statements[] = {{0}};
    const struct db_config db = {
        .conninfo = m->conf.conninfo,
        .connections = 1,
        .statements = no_statements,
        .metrics = &m->metrics,
    };
    struct params_source_config config = {.conf = &m->conf, .on_change = on_params, .ctx = m};

    m->db = db_start(m->loop, &db);
    config.db = m->db;
    m->source = params_source_start(&config);
    read_params(m);
}

static void start_http(struct manager *m)
{
    const struct view_node *self = conf_self(&m->conf);
    const struct metrics_http_config config = {
        .address = self->address,
        .port = m->conf.ports[CONF_PORT_METRICS],
        .node = self->name,
        .on_refresh = on_refresh,
        .ctx = m,
    };
    struct err err;

    m->http = metrics_http_start(m->loop, &config, &err);
    if (!m->http) /* a node serves without it */
        log_error("metrics_not_served", log_str("why", err.text));
}

int manager_start(struct manager *m, struct err *ret_err)
{
    const struct supervisor_config supervisor = {
        .dir = m->conf.dir, .on_exit = on_service_exit, .ctx = m};
    const struct postgres_config postgres = {.conf = &m->conf, .on_status = on_database, .ctx = m};

    m->peer = view_peer(&m->conf.nodes);
    m->boot_id = daemon_random_u64();
    m->state = state_file_open(m->loop, m->conf.dir, ret_err);
    if (!m->state)
        return -1;
    m->supervisor = supervisor_new(m->loop, &supervisor);
    start_params(m);
    if (start_core(m, ret_err))
        return -1;
    uv_timer_init(m->loop, &m->timer);
    m->timer.data = m;
    if (start_links(m, ret_err) || start_heartbeat(m, ret_err))
        return -1;
    if (!m->conf.database_external)
        m->postgres = postgres_start(m->loop, &postgres);
    start_http(m);
    arm(m);
    return 0;
}

/* ---- stop ---- */

static void close_all(struct manager *m)
{
    log_info("stopping");
    m->stopped = true;
    if (m->http)
        metrics_http_close(m->http);
    if (m->migrate)
        migrate_close(m->migrate);
    if (m->postgres)
        postgres_close(m->postgres);
    if (m->heartbeat)
        heartbeat_close(m->heartbeat);
    daemon_links_close(m->links);
    supervisor_close(m->supervisor);
    params_source_close(m->source);
    db_close(m->db);
    state_file_close(m->state);
    uv_close((uv_handle_t *)&m->timer, NULL);
    SSL_CTX_free(m->server);
    SSL_CTX_free(m->client);
    rcv_free(m->rcv);
}
