// SPDX-License-Identifier: Apache-2.0
#include "recoveryd/daemon_links.h"

#include <stdio.h>

#include "common/log.h"
#include "common/mem.h"
#include "common/util.h"

/* Those that are supervised, in no order that matters. */
static const Muster__Service daemons[] = {
    MUSTER__SERVICE__ROUTERD,
    MUSTER__SERVICE__PRESENCED,
    MUSTER__SERVICE__PROXYD,
    MUSTER__SERVICE__SYNCAGENT,
};

struct daemon_links {
    struct daemon_links_config config;
    struct ipc *ipc;
    struct ipc_link *links[ARRAY_LEN(daemons)];
    char run_dir[CONF_PATH_MAX + 8];
    struct rcv_view view; /* the last one; version 0: none yet */
    uint64_t made_at_ms;
    uint32_t lease_ms;
};

/* What does not fit its link is said again with the next view: acknowledgements are missed, and
 * the core notices. */
static void send_on(struct ipc_link *link, const Muster__Envelope *envelope)
{
    if (ipc_is_up(link) && ipc_send(link, envelope) != 0)
        log_warning("daemon_not_reached", log_str("name", ipc_service_name(ipc_peer(link))));
}

/* ---- views ---- */

static void fill_node(const struct daemon_links *l, const struct view_node *from,
                      Muster__NodeView *to)
{
    muster__node_view__init(to);
    to->node = from->node;
    to->group = from->group;
    to->name = (char *)from->name;
    to->address = (char *)from->address;
    to->served_by = from->node; /* of another group, which looks after itself */
    for (uint32_t i = 0; i < l->view.count; i++) {
        const struct rcv_view_node *n = &l->view.nodes[i];

        if (n->node != from->node)
            continue;
        to->state = n->state;
        to->reason = n->reason;
        to->served_by = n->served_by;
        to->epoch = n->epoch;
        to->services_up = n->services_up;
    }
}

static void send_view(struct daemon_links *l, struct ipc_link *link)
{
    const struct view *all = &l->config.conf->nodes;
    Muster__NodeView nodes[VIEW_NODES_MAX], *pointers[VIEW_NODES_MAX];
    Muster__Envelope e = MUSTER__ENVELOPE__INIT;
    Muster__View view = MUSTER__VIEW__INIT;

    for (uint32_t i = 0; i < all->count; i++) {
        fill_node(l, &all->nodes[i], &nodes[i]);
        pointers[i] = &nodes[i];
    }
    view.version = l->view.version;
    view.epoch = l->view.epoch;
    view.self = l->config.conf->node;
    view.nodes = pointers;
    view.n_nodes = all->count;
    view.made_at_ms = l->made_at_ms;
    view.lease_ms = l->lease_ms;
    view.drain = l->view.drain;
    e.body_case = MUSTER__ENVELOPE__BODY_VIEW;
    e.view = &view;
    send_on(link, &e);
}

void daemon_links_push(struct daemon_links *l, const struct rcv_view *view, uint64_t made_at_ms,
                       uint32_t lease_ms)
{
    l->view = *view;
    l->made_at_ms = made_at_ms;
    l->lease_ms = lease_ms;
    for (size_t i = 0; i < ARRAY_LEN(daemons); i++)
        send_view(l, l->links[i]);
}

/* ---- parameters and metrics ---- */

static void send_params(struct daemon_links *l, struct ipc_link *link)
{
    Muster__Envelope e = MUSTER__ENVELOPE__INIT;

    e.body_case = MUSTER__ENVELOPE__BODY_PARAMS;
    e.params = (Muster__Params *)l->config.params(l->config.ctx);
    if (e.params)
        send_on(link, &e);
}

void daemon_links_send_params(struct daemon_links *l)
{
    for (size_t i = 0; i < ARRAY_LEN(daemons); i++)
        send_params(l, l->links[i]);
}

void daemon_links_ask_metrics(struct daemon_links *l)
{
    Muster__Envelope e = MUSTER__ENVELOPE__INIT;
    Muster__MetricsRequest request = MUSTER__METRICS_REQUEST__INIT;

    e.body_case = MUSTER__ENVELOPE__BODY_METRICS_REQUEST;
    e.metrics_request = &request;
    for (size_t i = 0; i < ARRAY_LEN(daemons); i++)
        if (ipc_is_up(l->links[i])) {
            e.id = ipc_next_id(l->ipc);
            send_on(l->links[i], &e);
        }
}

/* ---- what comes in ---- */

static void on_view_ack(void *ctx, struct ipc_link *link, const Muster__Envelope *e)
{
    struct daemon_links *l = ctx;

    l->config.on_ack(l->config.ctx, ipc_peer(link), e->view_ack);
}

static void on_alarm(void *ctx, struct ipc_link *link, const Muster__Envelope *e)
{
    struct daemon_links *l = ctx;

    l->config.on_alarm(l->config.ctx, ipc_peer(link), e->alarm);
}

static void on_metrics(void *ctx, struct ipc_link *link, const Muster__Envelope *e)
{
    struct daemon_links *l = ctx;

    l->config.on_metrics(l->config.ctx, ipc_peer(link),
                         str_of_bytes(e->metrics_reply->text.data, e->metrics_reply->text.len));
}

static void on_admin(void *ctx, struct ipc_link *link, const Muster__Envelope *e)
{
    struct daemon_links *l = ctx;

    l->config.on_admin(l->config.ctx, link, e->id, e->admin_request);
}

enum {
    FROM_DAEMONS = 1u << MUSTER__SERVICE__ROUTERD | 1u << MUSTER__SERVICE__PRESENCED |
                   1u << MUSTER__SERVICE__PROXYD | 1u << MUSTER__SERVICE__SYNCAGENT,
    FROM_NODECTL = 1u << MUSTER__SERVICE__NODECTL,
};

static const struct ipc_handler handlers[] = {
    [MUSTER__ENVELOPE__BODY_VIEW_ACK] = {on_view_ack, FROM_DAEMONS},
    [MUSTER__ENVELOPE__BODY_ALARM] = {on_alarm, FROM_DAEMONS},
    [MUSTER__ENVELOPE__BODY_METRICS_REPLY] = {on_metrics, FROM_DAEMONS},
    [MUSTER__ENVELOPE__BODY_ADMIN_REQUEST] = {on_admin, FROM_NODECTL},
};

/* A daemon that has just started, or that we have just found. */
static void on_up(void *ctx, struct ipc_link *link)
{
    struct daemon_links *l = ctx;

    if (!(1u << ipc_peer(link) & FROM_DAEMONS))
        return;
    send_params(l, link);
    if (l->view.version)
        send_view(l, link);
}

struct daemon_links *daemon_links_start(uv_loop_t *loop, const struct daemon_links_config *config,
                                        struct err *ret_err)
{
    struct daemon_links *l = mem_new(sizeof(*l));
    const struct ipc_config ipc = {
        .service = MUSTER__SERVICE__RECOVERYD,
        .node = config->conf->node,
        .boot_id = config->boot_id,
        .run_dir = l->run_dir,
        .handlers = handlers,
        .handler_count = ARRAY_LEN(handlers),
        .on_up = on_up,
        .metrics = config->metrics,
        .ctx = l,
    };
    int r;

    l->config = *config;
    (void)snprintf(l->run_dir, sizeof(l->run_dir), "%s/run", config->conf->dir);
    l->ipc = ipc_new(loop, &ipc);
    r = ipc_listen(l->ipc);
    if (r < 0) {
        (void)err_set(ret_err, "%s/recoveryd.sock: %s", l->run_dir, uv_strerror(r));
        daemon_links_close(l);
        return NULL;
    }
    for (size_t i = 0; i < ARRAY_LEN(daemons); i++)
        l->links[i] = ipc_connect(l->ipc, daemons[i]);
    return l;
}

void daemon_links_close(struct daemon_links *l)
{
    ipc_close(l->ipc);
    mem_free(l);
}
