// SPDX-License-Identifier: Apache-2.0
/*
 * Answers to nodectl (proto/admin.proto).
 */
#include <string.h>

#include "common/alarms.h"
#include "common/log.h"
#include "common/loop.h"
#include "recoveryd/manager.h"
#include "recoveryd/services.h"

enum { SERVICES = MUSTER__SERVICE__SYNCAGENT + 1, NODES = 2 };

/* What an answer points to, for as long as it is being sent. */
struct answer {
    Muster__AdminReply reply;
    Muster__AdminNode nodes[NODES], *node_list[NODES];
    Muster__AdminService services[SERVICES], *service_list[SERVICES];
    Muster__AdminAlarm alarms[ALARM_LIST_MAX], *alarm_list[ALARM_LIST_MAX];
    Muster__AdminReplication replication[NODES], *replication_list[NODES];
    struct rcv_effect said;
};

static void tell_node(struct manager *m, struct answer *a, bool peer)
{
    struct rcv_node_status status = rcv_status(m->rcv, peer);
    const struct view_node *named = view_find(&m->conf.nodes, peer ? m->peer : m->conf.node);
    Muster__AdminNode *n = &a->nodes[a->reply.n_nodes];

    muster__admin_node__init(n);
    n->node = named->node;
    n->name = (char *)named->name;
    n->state = status.heard ? status.state : MUSTER__NODE_STATE__STATE_UNKNOWN;
    n->reason = status.heard ? status.reason : MUSTER__STATE_REASON__REASON_UNKNOWN;
    n->since_unix_ms = status.since_unix_ms;
    n->epoch = status.epoch;
    n->served_by = status.served_by;
    n->database_primary = status.database_primary;
    n->goal = (char *)rcv_role_name(status.goal);
    n->reported = (char *)rcv_role_name(status.reported);
    a->node_list[a->reply.n_nodes++] = n;
    a->reply.nodes = a->node_list;
}

/* In the order of their numbers, so that both nodes answer alike. */
static void tell_status(struct manager *m, struct answer *a)
{
    bool peer_first = m->peer && m->peer < m->conf.node;

    if (m->peer && peer_first)
        tell_node(m, a, true);
    tell_node(m, a, false);
    if (m->peer && !peer_first)
        tell_node(m, a, true);
}

static void tell_service(struct manager *m, struct answer *a, Muster__Service service)
{
    const struct service *s = rcv_service(m->rcv, service);
    Muster__AdminService *to = &a->services[a->reply.n_services];

    muster__admin_service__init(to);
    to->name = (char *)ipc_service_name(service);
    to->state = (char *)rcv_service_state(m->rcv, service, loop_now(m->loop));
    to->pid = s->pid;
    to->since_unix_ms = s->since_unix_ms;
    to->restarts = (uint32_t)s->restart_sum;
    to->critical = services_is_critical(service);
    to->complaint = (char *)s->complaint;
    a->service_list[a->reply.n_services++] = to;
    a->reply.services = a->service_list;
}

static void tell_database(struct manager *m, struct answer *a)
{
    const struct postgres_status *s = postgres_status(m->postgres);
    Muster__AdminService *to = &a->services[a->reply.n_services];

    muster__admin_service__init(to);
    to->name = (char *)"database";
    to->state = (char *)(s->up ? "running" : s->running ? "starting" : "stopped");
    to->pid = s->pid;
    to->critical = true;
    a->service_list[a->reply.n_services++] = to;
}

static void tell_services(struct manager *m, struct answer *a)
{
    for (size_t i = 0; i < SERVICES_COUNT - 1; i++)
        tell_service(m, a, services_order[i]);
    if (m->postgres)
        tell_database(m, a);
}

static void tell_alarms(struct manager *m, struct answer *a)
{
    for (size_t i = 0; i < m->alarms.count; i++) {
        const struct alarm_entry *entry = &m->alarms.entries[i];
        const struct alarm_info *info = alarms_find(entry->name);
        Muster__AdminAlarm *to = &a->alarms[i];

        muster__admin_alarm__init(to);
        to->name = (char *)info->name;
        to->severity = (char *)info->severity;
        to->cause = (char *)info->cause;
        to->action = (char *)info->action;
        to->detail = (char *)entry->detail;
        to->since_unix_ms = entry->since_unix_ms;
        to->node = m->conf.node;
        a->alarm_list[i] = to;
    }
    a->reply.alarms = a->alarm_list;
    a->reply.n_alarms = m->alarms.count;
}

/* Our own database, and, if it is a primary, the standby that is connected to it. */
static void tell_replication(struct manager *m, struct answer *a)
{
    const struct postgres_status *s = postgres_status(m->postgres);
    Muster__AdminReplication *own = &a->replication[0], *peer = &a->replication[1];

    muster__admin_replication__init(own);
    own->node = m->conf.node;
    own->role = (char *)(!s->up ? "down" : s->standby ? "standby" : "primary");
    own->state = (char *)(s->standby && s->receiving ? "streaming" : "");
    own->sync_state = (char *)(s->synchronous ? "sync" : "none");
    own->timeline = s->timeline;
    a->replication_list[a->reply.n_replication++] = own;
    if (s->up && !s->standby && s->replica) {
        muster__admin_replication__init(peer);
        peer->node = s->replica;
        peer->role = (char *)"standby";
        peer->state = (char *)s->replica_state;
        peer->sync_state = (char *)s->replica_sync;
        peer->lag_bytes = s->replica_lag_bytes;
        peer->timeline = s->timeline;
        a->replication_list[a->reply.n_replication++] = peer;
    }
    a->reply.replication = a->replication_list;
}

static void refuse(struct answer *a, const char *sentence)
{
    a->reply.status = 1;
    a->reply.sentence = (char *)sentence;
}

static void command(struct manager *m, struct answer *a, enum rcv_command what, const char *name)
{
    Muster__Service service = *name ? ipc_service_of(name) : MUSTER__SERVICE__SERVICE_NONE;

    if (what >= RCV_SERVICE_START &&
        (service < MUSTER__SERVICE__PROXYD || service > MUSTER__SERVICE__SYNCAGENT)) {
        refuse(a, "there is no such service: proxyd, presenced, routerd and syncagent are");
        return;
    }
    manager_command(m, what, service, &a->said);
    a->reply.status = (uint32_t)a->said.reply.status;
    a->reply.sentence = a->said.reply.sentence;
}

static void fill_in(struct manager *m, struct answer *a, const Muster__AdminRequest *request)
{
    switch (request->command) {
    case MUSTER__ADMIN_REQUEST__COMMAND__HA_STATUS:
        tell_status(m, a);
        return;
    case MUSTER__ADMIN_REQUEST__COMMAND__HA_FAILOVER:
        command(m, a, RCV_FAILOVER, "");
        return;
    case MUSTER__ADMIN_REQUEST__COMMAND__HA_FALLBACK:
        command(m, a, RCV_FALLBACK, "");
        return;
    case MUSTER__ADMIN_REQUEST__COMMAND__HA_RECOVER:
        command(m, a, RCV_RECOVER, "");
        return;
    case MUSTER__ADMIN_REQUEST__COMMAND__SERVICE_LIST:
        tell_services(m, a);
        return;
    case MUSTER__ADMIN_REQUEST__COMMAND__SERVICE_START:
        command(m, a, RCV_SERVICE_START, request->argument);
        return;
    case MUSTER__ADMIN_REQUEST__COMMAND__SERVICE_STOP:
        command(m, a, RCV_SERVICE_STOP, request->argument);
        return;
    case MUSTER__ADMIN_REQUEST__COMMAND__SERVICE_RESTART:
        command(m, a, RCV_SERVICE_RESTART, request->argument);
        return;
    case MUSTER__ADMIN_REQUEST__COMMAND__REPLICATION_STATE:
        if (m->postgres)
            tell_replication(m, a);
        else
            refuse(a, "the database is external: its own tools tell how it replicates");
        return;
    case MUSTER__ADMIN_REQUEST__COMMAND__ALARM_LIST:
        tell_alarms(m, a);
        return;
    case MUSTER__ADMIN_REQUEST__COMMAND__NOTHING:
    case _MUSTER__ADMIN_REQUEST__COMMAND_IS_INT_SIZE:
        break;
    }
    refuse(a, "this recoveryd does not know that command: it is older than nodectl");
}

void admin_on_request(void *ctx, struct ipc_link *link, uint64_t id,
                      const Muster__AdminRequest *request)
{
    struct manager *m = ctx;
    Muster__Envelope e = MUSTER__ENVELOPE__INIT;
    struct answer a = {.reply = MUSTER__ADMIN_REPLY__INIT};

    fill_in(m, &a, request);
    e.id = id;
    e.body_case = MUSTER__ENVELOPE__BODY_ADMIN_REPLY;
    e.admin_reply = &a.reply;
    if (ipc_send(link, &e) != 0)
        log_warning("admin_reply_dropped");
}
