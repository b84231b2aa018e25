// SPDX-License-Identifier: Apache-2.0
/*
 * Models of what surrounds the cores: daemons that obey views and leases, PostgreSQL with
 * synchronous replication, clients that write through whoever serves them; and the invariants.
 */
#include <assert.h>
#include <string.h>

#include "common/view.h"
#include "test/sim/group.h"

enum { POLL_MS = 100, CLIENTS_MS = 50, HEALTHY_AFTER_MS = 60, IN_SYNC_AFTER_MS = 200 };

static struct group_node *node_of(struct group *g, uint32_t node)
{
    return &g->nodes[node - 1];
}

/* ---- daemons ---- */

void group_start_daemon(struct group_node *n, Muster__Service service)
{
    struct group_daemon *d = &n->daemons[service];
    struct group *g = n->group;
    bool broken = d->broken;

    *d = (struct group_daemon){.running = true, .broken = broken, .started_at = g->now};
    d->pid = (uint32_t)++g->order;
    group_step(n, (struct rcv_event){.type = RCV_SERVICE_STARTED, .process = {service, d->pid}});
}

void group_end_daemon(struct group_node *n, Muster__Service service)
{
    struct group_daemon *d = &n->daemons[service];
    struct happening *h;

    if (!d->running)
        return;
    *d = (struct group_daemon){.broken = d->broken};
    h = group_happen(n->group, HAPPEN_SERVICE_EXITED, n->number, 1);
    h->service = service;
}

void group_kill_daemon(struct group *g, uint32_t node, Muster__Service service)
{
    group_end_daemon(node_of(g, node), service);
}

void group_hang_daemon(struct group *g, uint32_t node, Muster__Service service)
{
    node_of(g, node)->daemons[service].hung = true;
}

void group_break_daemon(struct group *g, uint32_t node, Muster__Service service, bool broken)
{
    node_of(g, node)->daemons[service].broken = broken;
}

static bool replicates(struct group_node *n, Muster__Service service)
{
    struct group *g = n->group;
    struct group_node *peer = group_peer(n);
    const struct group_daemon *ours = &n->daemons[service], *theirs = &peer->daemons[service];

    return ours->running && theirs->running && !theirs->hung &&
           group_reaches(g, n->number, peer->number) && group_reaches(g, peer->number, n->number) &&
           g->now > ours->started_at + IN_SYNC_AFTER_MS &&
           g->now > theirs->started_at + IN_SYNC_AFTER_MS;
}

static void answer(struct group_node *n, Muster__Service service)
{
    const struct group_daemon *d = &n->daemons[service];
    struct happening *h;

    if (!n->rcv)
        return;
    h = group_happen(n->group, HAPPEN_ACK, n->number, 1);
    h->service = service;
    h->pid = d->pid;
    h->id = d->done;
}

static void see_view(struct group_node *n, const struct happening *h)
{
    struct group_daemon *d = &n->daemons[h->service];
    struct happening *done;
    bool is_new;

    if (!d->running || d->hung || d->pid != h->pid || h->view.epoch < d->view.epoch)
        return;
    is_new = h->view.version != d->view.version || d->recoveryd_boot != n->boot_id;
    if (d->recoveryd_boot != n->boot_id)
        d->done = 0;
    d->recoveryd_boot = n->boot_id;
    d->view = h->view;
    d->lease_until = h->id;
    if (is_new) {
        done = group_happen(n->group, HAPPEN_DONE, n->number,
                            1 + group_random(n->group, h->view.drain ? 100 : 30));
        done->service = h->service;
        done->pid = d->pid;
        done->id = h->view.version;
    }
    answer(n, h->service);
}

static void see_done(struct group_node *n, const struct happening *h)
{
    struct group_daemon *d = &n->daemons[h->service];

    if (!d->running || d->hung || d->pid != h->pid || h->boot_id != n->boot_id ||
        h->id <= d->done || h->id > d->view.version)
        return;
    d->done = h->id;
    answer(n, h->service);
}

static void see_ack(struct group_node *n, const struct happening *h)
{
    const struct group_daemon *d = &n->daemons[h->service];
    Muster__ViewAck ack = MUSTER__VIEW_ACK__INIT;

    if (!d->running || d->pid != h->pid)
        return;
    ack.version = h->id;
    ack.healthy = !d->broken && n->group->now > d->started_at + HEALTHY_AFTER_MS;
    ack.serving = true;
    ack.replica = replicates(n, h->service) ? MUSTER__REPLICA_STATE__REPLICA_IN_SYNC
                                            : MUSTER__REPLICA_STATE__REPLICA_ALONE;
    group_step(n, (struct rcv_event){.type = RCV_SERVICE_ACKED, .ack = {h->service, &ack}});
}

/* ---- PostgreSQL ---- */

static bool is_primary(const struct group_database *d)
{
    return d->running && d->up && !d->standby;
}

static bool is_prefix(const struct group_database *a, const struct group_database *b)
{
    return a->count <= b->count && memcmp(a->items, b->items, a->count * sizeof(*a->items)) == 0;
}

static void copy_items(struct group_database *to, const struct group_database *from)
{
    memcpy(to->items, from->items, from->count * sizeof(*from->items));
    to->count = from->count;
    to->timeline = from->timeline;
}

/* What a standby has of its primary is what the primary acknowledges. */
static void replicate(struct group *g, struct group_node *n)
{
    struct group_database *standby = &n->database, *primary = &group_peer(n)->database;

    standby->receiving = standby->running && standby->up && standby->standby &&
                         is_primary(primary) && !g->stream_cut && group_reaches(g, 1, 2) &&
                         group_reaches(g, 2, 1) && standby->timeline <= primary->timeline &&
                         is_prefix(standby, primary);
    if (standby->receiving)
        copy_items(standby, primary);
}

static void write_item(struct group *g, struct group_node *n)
{
    struct group_database *d = &n->database;
    struct group_node *peer = group_peer(n);
    uint32_t item = g->next_item;

    if (!is_primary(d) || item >= GROUP_ITEMS_MAX || d->count >= GROUP_ITEMS_MAX)
        return;
    g->next_item++;
    d->items[d->count++] = item;
    replicate(g, peer);
    g->acknowledged[item] = d->synchronous == 0 || peer->database.receiving;
}

static bool serves(const struct group *g, const struct group_node *n, Muster__Service service,
                   uint32_t home)
{
    const struct group_daemon *d = &n->daemons[service];

    if (!d->running || g->now >= d->lease_until)
        return false;
    for (uint32_t i = 0; i < d->view.count; i++)
        if (d->view.nodes[i].node == home)
            return d->view.nodes[i].served_by == n->number;
    return false;
}

static void write_of_clients(struct group *g)
{
    group_happen(g, HAPPEN_CLIENTS, 0, CLIENTS_MS);
    for (uint32_t node = 1; node <= 2 && g->clients; node++) {
        struct group_node *n = node_of(g, node), *peer = group_peer(n);

        if (!serves(g, n, MUSTER__SERVICE__ROUTERD, 1) &&
            !serves(g, n, MUSTER__SERVICE__ROUTERD, 2))
            continue;
        if (is_primary(&n->database))
            write_item(g, n);
        else if (group_reaches(g, 1, 2) && group_reaches(g, 2, 1))
            write_item(g, peer);
    }
}

void group_tell_database(struct group_node *n)
{
    const struct group_database *d = &n->database;
    const struct group_node *peer = group_peer(n);
    bool streams = is_primary(d) && peer->database.receiving;
    struct rcv_event event = {.type = RCV_DATABASE};

    event.database = (struct rcv_database){
        .known = true,
        .exists = d->exists,
        .unusable = d->unusable,
        .running = d->running,
        .up = d->up,
        .standby = d->standby,
        .receiving = d->receiving,
        .timeline = d->timeline,
        .lsn = d->count,
        .synchronous = d->up ? d->synchronous : 0,
        .replica = streams ? peer->number : 0,
        .streaming = streams,
        .sync = streams && d->synchronous == peer->number,
        .replica_lag_bytes = streams ? d->count - peer->database.count : 0,
    };
    group_step(n, event);
}

void group_kill_database(struct group *g, uint32_t node)
{
    struct group_database *d = &node_of(g, node)->database;

    d->running = d->up = d->receiving = false;
}

void group_break_database(struct group *g, uint32_t node, bool broken)
{
    node_of(g, node)->database.broken = broken;
    if (broken)
        group_kill_database(g, node);
}

static uint64_t duration(struct group *g, enum rcv_database_op op)
{
    switch (op) {
    case RCV_DATABASE_INIT_PRIMARY:
        return 1500;
    case RCV_DATABASE_MAKE_STANDBY:
    case RCV_DATABASE_REJOIN:
        return 500 + group_random(g, 2000);
    default:
        return 100 + group_random(g, 600);
    }
}

static void run_database(struct group_node *n, const struct rcv_effect *e)
{
    struct group_database *d = &n->database;
    struct happening *h =
        group_happen(n->group, HAPPEN_DATABASE_DONE, n->number, duration(n->group, e->database.op));

    h->id = e->id;
    h->database.op = e->database.op;
    h->database.peer = e->database.peer;
    d->busy = true;
    d->op = e->id;
    if (e->database.op == RCV_DATABASE_REJOIN || e->database.op == RCV_DATABASE_MAKE_STANDBY) {
        assert(!is_primary(d)); /* the core stops a primary first */
        /* A standby that needs nothing but a stream is not touched. */
        d->unusable =
            !d->exists || d->unusable || !(d->standby && is_prefix(d, &group_peer(n)->database));
        d->running = d->up = d->receiving = false;
    }
}

static bool follow(struct group_node *n)
{
    struct group_node *peer = group_peer(n);
    struct group_database *d = &n->database;

    if (!is_primary(&peer->database) || n->group->stream_cut || !group_reaches(n->group, 1, 2) ||
        !group_reaches(n->group, 2, 1))
        return false;
    copy_items(d, &peer->database);
    d->exists = d->running = d->up = d->standby = d->receiving = true;
    d->unusable = false;
    d->synchronous = 0;
    return true;
}

static bool promote(struct group_database *d)
{
    if (!d->running || !d->standby)
        return d->running;
    d->standby = d->receiving = false;
    d->timeline++;
    d->synchronous = 0;
    return true;
}

static bool complete(struct group_node *n, enum rcv_database_op op)
{
    struct group_database *d = &n->database;

    if (d->broken && op != RCV_DATABASE_STOP)
        return false;
    switch (op) {
    case RCV_DATABASE_INIT_PRIMARY:
        if (!d->exists)
            *d = (struct group_database){.exists = true, .timeline = 1, .items = d->items};
        d->running = d->up = true;
        return true;
    case RCV_DATABASE_START:
        if (!d->exists || d->unusable)
            return false;
        d->running = d->up = true;
        return true;
    case RCV_DATABASE_MAKE_STANDBY:
    case RCV_DATABASE_REJOIN:
        return follow(n);
    case RCV_DATABASE_PROMOTE:
        return promote(d);
    case RCV_DATABASE_STOP:
        d->running = d->up = d->receiving = false;
        return true;
    case RCV_DATABASE_NOTHING:
        break;
    }
    return false;
}

static void end_operation(struct group_node *n, const struct happening *h)
{
    struct rcv_event event = {.type = RCV_DATABASE_DONE};

    if (!n->database.busy || n->database.op != h->id)
        return; /* a newer one was asked for */
    event.done.id = h->id;
    event.done.ok = complete(n, h->database.op);
    n->database.busy =
        h->database.op == RCV_DATABASE_INIT_PRIMARY && n->database.busy && n->database.op != h->id;
    group_tell_database(n);
    group_step(n, event);
}

static void set_synchronous(struct group_node *n, const struct happening *h)
{
    struct rcv_event event = {.type = RCV_SYNC_DONE};

    event.done.id = h->id;
    event.done.ok = is_primary(&n->database);
    if (event.done.ok)
        n->database.synchronous = h->database.peer;
    group_tell_database(n);
    group_step(n, event);
}

/* ---- effects and happenings ---- */

void group_model_effect(struct group_node *n, const struct rcv_effect *e)
{
    struct happening *h;

    switch (e->type) {
    case RCV_START_SERVICE:
        /* The step that asked goes on; the answer is an event of its own. */
        h = group_happen(n->group, HAPPEN_SERVICE_EXITED, n->number, 2);
        h->service = e->service;
        h->ok = true;
        break;
    case RCV_TERMINATE_SERVICE:
    case RCV_KILL_SERVICE:
        group_end_daemon(n, e->service);
        break;
    case RCV_RUN_DATABASE:
        run_database(n, e);
        break;
    case RCV_SET_SYNCHRONOUS:
        h = group_happen(n->group, HAPPEN_SYNC_DONE, n->number, 20 + group_random(n->group, 100));
        h->id = e->id;
        h->database.peer = e->database.peer;
        break;
    default:
        assert(0);
    }
}

void group_model(struct group *g, struct happening *h)
{
    struct group_node *n = h->node ? node_of(g, h->node) : NULL;

    switch (h->type) {
    case HAPPEN_VIEW:
        if (h->boot_id == n->boot_id || n->boot_id == 0)
            see_view(n, h);
        break;
    case HAPPEN_DONE:
        see_done(n, h);
        break;
    case HAPPEN_ACK:
        see_ack(n, h);
        break;
    case HAPPEN_SERVICE_EXITED:
        if (h->ok && !n->daemons[h->service].running)
            group_start_daemon(n, h->service);
        else if (!h->ok)
            group_step(n,
                       (struct rcv_event){.type = RCV_SERVICE_EXITED, .process = {h->service, 0}});
        break;
    case HAPPEN_DATABASE_POLL:
        group_happen(g, HAPPEN_DATABASE_POLL, h->node, POLL_MS);
        replicate(g, n);
        replicate(g, group_peer(n));
        group_tell_database(n);
        break;
    case HAPPEN_DATABASE_DONE:
        end_operation(n, h);
        break;
    case HAPPEN_SYNC_DONE:
        set_synchronous(n, h);
        break;
    case HAPPEN_CLIENTS:
        write_of_clients(g);
        break;
    default:
        assert(0);
    }
}

/* ---- what must hold ---- */

unsigned group_lost(const struct group *g)
{
    const struct group_database *d = NULL;
    static bool there[GROUP_ITEMS_MAX];
    unsigned lost = 0;

    for (int i = 0; i < 2; i++)
        if (is_primary(&g->nodes[i].database))
            d = &g->nodes[i].database;
    if (!d)
        return 0;
    memset(there, 0, sizeof(there));
    for (size_t i = 0; i < d->count; i++)
        there[d->items[i]] = true;
    for (uint32_t item = 0; item < g->next_item; item++)
        lost += g->acknowledged[item] && !there[item];
    return lost;
}

static void note_owner(struct group *g, struct group_node *n, const struct rcv_view_node *of)
{
    uint8_t *owner;

    if (of->served_by != n->number || of->epoch >= GROUP_EPOCHS_MAX)
        return;
    owner = &g->owners[of->node - 1][of->epoch];
    if (*owner != 0 && *owner != n->number)
        group_fail(g, "home %u has two owners in epoch %d", of->node, (int)of->epoch);
    *owner = (uint8_t)n->number;
}

static bool is_excused(const struct group *g)
{
    return g->cut_since != 0 || g->now < g->cut_trouble;
}

void group_check(struct group *g)
{
    /* syncagent serves nobody. */
    for (int s = 1; s < MUSTER__SERVICE__SYNCAGENT; s++)
        for (uint32_t home = 1; home <= 2; home++)
            if (serves(g, &g->nodes[0], (Muster__Service)s, home) &&
                serves(g, &g->nodes[1], (Muster__Service)s, home) && !is_excused(g))
                group_fail(g, "two nodes serve the users of %u", home);
    for (int i = 0; i < 2; i++)
        for (int s = 1; s < GROUP_SERVICES; s++) {
            const struct group_daemon *d = &g->nodes[i].daemons[s];

            for (uint32_t k = 0; d->running && k < d->view.count; k++)
                note_owner(g, &g->nodes[i], &d->view.nodes[k]);
        }
}
