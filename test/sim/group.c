// SPDX-License-Identifier: Apache-2.0
#include "test/sim/group.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "common/mem.h"
#include "common/view.h"

enum { UNIX_MS = 1700000000, NET_MS = 1, CONNECT_TIMEOUT_MS = 1000, AGAIN_MS = 100 };

uint64_t group_random(struct group *g, uint64_t limit)
{
    g->random = g->random * 6364136223846793005u + 1442695040888963407u;
    return (g->random >> 33) % limit;
}

struct group_node *group_peer(struct group_node *n)
{
    return &n->group->nodes[2 - n->number];
}

static struct group_node *node_of(struct group *g, uint32_t node)
{
    return &g->nodes[node - 1];
}

bool group_reaches(const struct group *g, uint32_t from, uint32_t to)
{
    return g->nodes[from - 1].powered && g->nodes[to - 1].powered && !g->cut[from - 1];
}

/* ---- the queue ---- */

struct happening *group_happen(struct group *g, enum happening_type type, uint32_t node,
                               uint64_t after_ms)
{
    struct happening *h;

    assert(g->queued < GROUP_QUEUE_MAX);
    h = &g->queue[g->queued++];
    memset(h, 0, sizeof(*h));
    h->type = type;
    h->node = node;
    h->at = g->now + after_ms;
    h->order = ++g->order;
    h->boot_id = node ? g->nodes[node - 1].boot_id : 0;
    return h;
}

static bool take_next(struct group *g, uint64_t until, struct happening *ret)
{
    size_t best = 0;

    if (g->queued == 0)
        return false;
    for (size_t i = 1; i < g->queued; i++)
        if (g->queue[i].at < g->queue[best].at ||
            (g->queue[i].at == g->queue[best].at && g->queue[i].order < g->queue[best].order))
            best = i;
    if (g->queue[best].at > until)
        return false;
    *ret = g->queue[best];
    g->queue[best] = g->queue[--g->queued];
    return true;
}

/* ---- the trace ---- */

static void trace_effect(struct group *g, const struct group_node *n, const struct rcv_effect *e)
{
    const struct rcv_plan *on_disk = rcv_plan(n->rcv);

    switch (e->type) {
    case RCV_SAVE:
        if (e->plan.epoch != on_disk->epoch)
            buf_printf(&g->trace, "[%6d] n%u rule %u -> epoch %d, %s\n", (int)g->now, n->number,
                       e->plan.rule, (int)e->plan.epoch, rcv_role_name(e->plan.goal));
        break;
    case RCV_CHANGED:
        buf_printf(&g->trace, "[%6d] n%u %s (%s)\n", (int)g->now, n->number,
                   view_state_name(e->changed.state), view_reason_name(e->changed.reason));
        break;
    case RCV_RUN_DATABASE:
        buf_printf(&g->trace, "[%6d] n%u database: %s\n", (int)g->now, n->number,
                   rcv_database_op_name(e->database.op));
        break;
    case RCV_SET_SYNCHRONOUS:
        buf_printf(&g->trace, "[%6d] n%u commits wait for %u\n", (int)g->now, n->number,
                   e->database.peer);
        break;
    default:
        break;
    }
}

void group_note(struct group *g, const char *format, ...)
{
    char text[200];
    va_list args;

    if (!g->tracing)
        return;
    va_start(args, format);
    (void)vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    buf_printf(&g->trace, "[%6d] -- %s\n", (int)g->now, text);
}

void group_expect_trace(struct group *g, const char *expected)
{
    if (strcmp(g->trace.data ? g->trace.data : "", expected) != 0)
        group_fail(g, "another trace was expected");
    buf_clear(&g->trace);
}

static void print_node(const struct group_node *n)
{
    const struct rcv_plan *p = n->rcv ? rcv_plan(n->rcv) : &n->disk;
    const struct group_database *d = &n->database;
    struct rcv_node_status s = {0};

    if (n->rcv)
        s = rcv_status(n->rcv, false);
    fprintf(stderr, "n%u %s %s: %s (%s), epoch %d, goal %s, reported %s, rule %u,", n->number,
            n->powered ? "on" : "off", n->rcv ? "up" : "down", view_state_name(s.state),
            view_reason_name(s.reason), (int)p->epoch, rcv_role_name(p->goal),
            rcv_role_name(s.reported), p->rule);
    fprintf(stderr, " database of %u%s%s%s;", p->database_node, p->database_alone ? " alone" : "",
            p->database_synced ? " synced" : "", p->database_kept ? " kept" : "");
    fprintf(stderr, " here%s%s%s%s%s, timeline %u, items %d, synchronous %u\n",
            d->exists ? "" : " none", d->running ? " runs" : "", d->standby ? " standby" : "",
            d->unusable ? " unusable" : "", d->receiving ? " receiving" : "", d->timeline,
            (int)d->count, d->synchronous);
    for (int i = 1; i < GROUP_SERVICES; i++)
        fprintf(stderr, "   service %d%s%s%s: view %d of epoch %d, done %d, lease %d\n", i,
                n->daemons[i].running ? " runs" : "", n->daemons[i].hung ? " hangs" : "",
                n->daemons[i].broken ? " broken" : "", (int)n->daemons[i].view.version,
                (int)n->daemons[i].view.epoch, (int)n->daemons[i].done,
                (int)n->daemons[i].lease_until);
}

void group_fail(struct group *g, const char *format, ...)
{
    va_list args;

    fprintf(stderr, "%sat %d ms: ", g->trace.data ? g->trace.data : "\n", (int)g->now);
    va_start(args, format);
    (void)vfprintf(stderr, format, args);
    va_end(args);
    fprintf(stderr, "\n");
    print_node(&g->nodes[0]);
    print_node(&g->nodes[1]);
    fail();
}

/* ---- the machine and its surroundings ---- */

static void carry_out(struct group_node *n, const struct rcv_effect *e);

static void arm(struct group_node *n)
{
    mono_t deadline = rcv_deadline(n->rcv);
    uint64_t after = mono_until((mono_t){n->group->now}, deadline);
    struct happening *h;

    if (after > GROUP_NEVER)
        after = GROUP_NEVER;
    /* A timer never fires in the turn that sets it. */
    h = group_happen(n->group, HAPPEN_TICK, n->number, after ? after : 1);
    h->id = ++n->tick;
}

void group_step(struct group_node *n, struct rcv_event event)
{
    struct group *g = n->group;

    if (!n->rcv)
        return;
    event.now = (mono_t){g->now};
    event.unix_ms = UNIX_MS + g->now;
    rcv_step(n->rcv, &event, &n->update);
    g->steps++;
    rcv_check(n->rcv);
    if (rcv_plan(n->rcv)->epoch < g->epochs[n->number - 1])
        group_fail(g, "an epoch fell");
    g->epochs[n->number - 1] = rcv_plan(n->rcv)->epoch;
    for (size_t i = 0; i < n->update.count; i++) {
        if (g->crash_permille && group_random(g, 1000) < g->crash_permille &&
            n->update.effects[i].type != RCV_PUSH_VIEW &&
            n->update.effects[i].type != RCV_SEND_HEARTBEAT) {
            group_kill_recoveryd(g, n->number, 100 + group_random(g, 1000));
            return;
        }
        carry_out(n, &n->update.effects[i]);
        if (!n->rcv)
            return;
    }
    arm(n);
}

static void save(struct group_node *n, const struct rcv_effect *e)
{
    struct happening *h =
        group_happen(n->group, HAPPEN_SAVED, n->number, 1 + group_random(n->group, 15));

    h->id = e->id;
    n->writing = e->plan;
    n->is_writing = true;
}

/* What was on its way to the disk is there, or not. */
static void lose_unsynced(struct group_node *n)
{
    if (n->is_writing && group_random(n->group, 2) == 0)
        n->disk = n->writing;
    n->is_writing = false;
}

static void send_heartbeat(struct group_node *n, const Muster__Heartbeat *heartbeat)
{
    struct group *g = n->group;
    struct group_node *peer = group_peer(n);
    struct happening *h;
    uint64_t arrival;

    if (!n->connected || !peer->rcv || !group_reaches(g, n->number, peer->number))
        return;
    arrival = g->now + NET_MS + (g->slow_ms ? group_random(g, g->slow_ms) : 0);
    if (arrival < g->last_arrival[n->number - 1])
        arrival = g->last_arrival[n->number - 1];
    g->last_arrival[n->number - 1] = arrival;
    h = group_happen(g, HAPPEN_HEARTBEAT, peer->number, arrival - g->now);
    h->heartbeat = *heartbeat;
}

static void push_view(struct group_node *n, const struct rcv_view *view)
{
    uint64_t lease_until = n->group->now + view->lease_ms;

    n->lease_until = view->inheritable ? lease_until : 0;
    for (int s = 1; s < GROUP_SERVICES; s++) {
        struct happening *h;

        if (!n->daemons[s].running)
            continue;
        h = group_happen(n->group, HAPPEN_VIEW, n->number, 0);
        h->service = (Muster__Service)s;
        h->pid = n->daemons[s].pid;
        h->view = *view;
        h->id = lease_until;
    }
}

static void carry_out(struct group_node *n, const struct rcv_effect *e)
{
    if (n->group->tracing)
        trace_effect(n->group, n, e);
    switch (e->type) {
    case RCV_SAVE:
        save(n, e);
        break;
    case RCV_PUSH_VIEW:
        push_view(n, &e->view);
        break;
    case RCV_SEND_HEARTBEAT:
        send_heartbeat(n, &e->heartbeat);
        break;
    case RCV_RECONNECT:
        if (n->connected) {
            n->connected = false;
            group_happen(n->group, HAPPEN_LINK_LOST, n->number, 0);
            group_happen(n->group, HAPPEN_CONNECT, n->number, 1);
        }
        break;
    case RCV_REPLY:
        n->reply = *e;
        break;
    case RCV_ALARM:
    case RCV_CHANGED:
        break;
    default:
        group_model_effect(n, e);
        break;
    }
}

/* ---- the heartbeat connection ---- */

static bool is_visible(int service)
{
    return service == MUSTER__SERVICE__PROXYD || service == MUSTER__SERVICE__ROUTERD;
}

/* Does any daemon of `n` still listen? Without a lease they don't; for one that hangs the kernel
 * does. */
static bool listens(const struct group_node *n)
{
    for (int s = 1; s < GROUP_SERVICES; s++)
        if (is_visible(s) && n->daemons[s].running &&
            (n->daemons[s].hung || n->group->now < n->daemons[s].lease_until))
            return true;
    return false;
}

static mono_t inherited_lease(const struct group_node *n)
{
    for (int s = 1; s < GROUP_SERVICES; s++)
        if (is_visible(s) && n->daemons[s].running)
            return (mono_t){n->lease_until};
    return (mono_t){0};
}

static void connect(struct group_node *n)
{
    struct group *g = n->group;
    struct group_node *peer = group_peer(n);
    struct happening *h;

    if (n->connected)
        return;
    if (!group_reaches(g, n->number, peer->number) || !group_reaches(g, peer->number, n->number) ||
        (peer->rcv && peer->frozen_until > g->now)) {
        group_happen(g, HAPPEN_CONNECT_FAILED, n->number, CONNECT_TIMEOUT_MS);
        return;
    }
    if (peer->rcv) {
        n->connected = true;
        return;
    }
    h = group_happen(g, HAPPEN_CONNECT_FAILED, n->number, NET_MS);
    h->refused = true;
    h->ok = !listens(peer);
}

static void note_connect_failed(struct group_node *n, const struct happening *h)
{
    struct rcv_event event = {.type = RCV_CONNECT_FAILED};

    group_happen(n->group, HAPPEN_CONNECT, n->number, AGAIN_MS);
    event.connect.refused = h->refused;
    event.connect.listeners_refused = h->ok;
    group_step(n, event);
}

/* Its end: the other side's kernel says so, if it can. */
static void break_connections(struct group_node *n)
{
    struct group_node *peer = group_peer(n);

    n->connected = false;
    if (!n->powered || !group_reaches(n->group, n->number, peer->number))
        return;
    if (peer->connected) {
        peer->connected = false;
        group_happen(n->group, HAPPEN_CONNECT, peer->number, NET_MS + 1);
    }
    group_happen(n->group, HAPPEN_LINK_LOST, peer->number, NET_MS);
}

/* ---- recoveryd's life ---- */

static void start_recoveryd(struct group_node *n)
{
    struct group *g = n->group;
    struct rcv_config config = {
        .node = n->number,
        .peer = 3 - n->number,
        .boot_id = g->order * 2 + n->number,
        .timers = g->timers,
        .plan = n->disk,
        .inherited_lease = inherited_lease(n),
    };

    if (n->rcv || !n->powered)
        return;
    group_note(g, "recoveryd of n%u starts", n->number);
    n->boot_id = config.boot_id;
    n->frozen_until = 0;
    for (int s = 1; s < GROUP_SERVICES; s++)
        config.found[s] = n->daemons[s].running ? n->daemons[s].pid : 0;
    n->rcv = rcv_new(&config, (mono_t){g->now}, UNIX_MS + g->now);
    arm(n);
    group_happen(g, HAPPEN_CONNECT, n->number, 5);
    group_happen(g, HAPPEN_DATABASE_POLL, n->number, 10);
}

static void end_recoveryd(struct group_node *n)
{
    if (!n->rcv)
        return;
    group_note(n->group, "recoveryd of n%u ends", n->number);
    lose_unsynced(n);
    rcv_free(n->rcv);
    n->rcv = NULL;
    n->boot_id = 0;
    /* An operation of PostgreSQL's tools ends with who started it. */
    if (n->database.busy && n->database.unusable)
        n->database.running = false;
    n->database.busy = false;
    break_connections(n);
}

void group_kill_recoveryd(struct group *g, uint32_t node, uint64_t back_after_ms)
{
    struct group_node *n = node_of(g, node);

    if (!n->rcv)
        return;
    end_recoveryd(n);
    group_happen(g, HAPPEN_RECOVERYD_START, node, back_after_ms);
}

void group_freeze_recoveryd(struct group *g, uint32_t node, uint64_t ms)
{
    if (node_of(g, node)->rcv)
        node_of(g, node)->frozen_until = g->now + ms;
}

static void end_processes(struct group_node *n)
{
    end_recoveryd(n);
    for (int s = 1; s < GROUP_SERVICES; s++)
        group_end_daemon(n, (Muster__Service)s);
    n->database.running = n->database.up = n->database.receiving = n->database.busy = false;
}

void group_power_cut(struct group *g, uint32_t node)
{
    struct group_node *n = node_of(g, node);

    n->powered = false;
    end_processes(n);
    n->lease_until = 0;
}

void group_kill_all(struct group *g, uint32_t node)
{
    end_processes(node_of(g, node));
}

void group_power_on(struct group *g, uint32_t node)
{
    struct group_node *n = node_of(g, node);
    struct group_node *peer = group_peer(n);

    /* A kernel that does not know a connection resets it. */
    if (!n->powered && peer->connected) {
        peer->connected = false;
        n->powered = true;
        group_happen(g, HAPPEN_CONNECT, peer->number, AGAIN_MS);
    }
    n->powered = true;
    group_happen(g, HAPPEN_RECOVERYD_START, node, 1);
}

void group_cut(struct group *g, bool from_1, bool from_2)
{
    g->cut[0] = from_1;
    g->cut[1] = from_2;
    if (g->cut_since == 0)
        g->cut_since = g->now;
}

void group_mend(struct group *g)
{
    g->cut[0] = g->cut[1] = false;
    if (g->cut_since != 0)
        g->cut_trouble = g->now + 2 * g->timers.heartbeat_timeout_ms;
    g->cut_since = 0;
}

int group_command(struct group *g, uint32_t node, enum rcv_command command, Muster__Service service)
{
    struct group_node *n = node_of(g, node);

    n->reply = (struct rcv_effect){.reply = {.status = -1}};
    if (n->frozen_until > g->now)
        return -1; /* nodectl waits in vain */
    group_step(n, (struct rcv_event){.type = RCV_COMMAND, .command = {command, service}});
    return n->reply.reply.status;
}

/* ---- time ---- */

static bool is_for_recoveryd(const struct happening *h)
{
    return h->type != HAPPEN_RECOVERYD_START && h->type != HAPPEN_CLIENTS &&
           h->type != HAPPEN_VIEW && h->type != HAPPEN_DONE;
}

static void happen_to_recoveryd(struct group_node *n, struct happening *h)
{
    switch (h->type) {
    case HAPPEN_TICK:
        if (h->id == n->tick)
            group_step(n, (struct rcv_event){.type = RCV_TICK});
        break;
    case HAPPEN_HEARTBEAT:
        group_step(n, (struct rcv_event){.type = RCV_HEARD, .heartbeat = &h->heartbeat});
        break;
    case HAPPEN_LINK_LOST:
        group_step(n, (struct rcv_event){.type = RCV_LINK_LOST});
        break;
    case HAPPEN_CONNECT:
        connect(n);
        break;
    case HAPPEN_CONNECT_FAILED:
        note_connect_failed(n, h);
        break;
    case HAPPEN_SAVED:
        n->disk = n->writing;
        n->is_writing = false;
        group_step(n, (struct rcv_event){.type = RCV_SAVED, .done = {h->id, true}});
        break;
    default:
        group_model(n->group, h);
        break;
    }
}

static void happen(struct group *g, struct happening *h)
{
    struct group_node *n = h->node ? node_of(g, h->node) : NULL;

    if (h->type == HAPPEN_RECOVERYD_START) {
        start_recoveryd(n);
        return;
    }
    if (!is_for_recoveryd(h)) {
        group_model(g, h);
        return;
    }
    if (!n->rcv || h->boot_id != n->boot_id)
        return;
    if (n->frozen_until > g->now) {
        /* It waits in a socket or a timer. */
        struct happening *later;

        if (h->type == HAPPEN_TICK && h->id != n->tick)
            return;
        later = group_happen(g, h->type, h->node, 0);
        h->at = n->frozen_until;
        h->order = later->order;
        *later = *h;
        return;
    }
    happen_to_recoveryd(n, h);
}

bool group_until(struct group *g, uint64_t ms, bool (*is_so)(const struct group *g))
{
    uint64_t end = g->now + ms;
    struct happening h;

    while (take_next(g, end, &h)) {
        g->now = h.at;
        happen(g, &h);
        group_check(g);
        if (is_so && is_so(g))
            return true;
    }
    g->now = end;
    return false;
}

void group_run(struct group *g, uint64_t ms)
{
    (void)group_until(g, ms, NULL);
}

void group_start(struct group *g, uint64_t seed)
{
    memset(g, 0, sizeof(*g));
    g->now = 1000;
    g->random = seed * 2654435761u + 12345;
    g->queue = mem_new(GROUP_QUEUE_MAX * sizeof(*g->queue));
    g->clients = true;
    g->timers = (struct rcv_timers){
        .heartbeat_interval_ms = 200,
        .heartbeat_timeout_ms = 3000,
        .init_heartbeat_timeout_ms = 10000,
        .serving_lease_ms = 2000,
        .critical_service_down_delay_ms = 5000,
        .automatic_fallback_delay_ms = 1800000,
        .automatic_fallback = true,
    };
    buf_init(&g->trace, 1 << 20);
    for (uint32_t i = 0; i < 2; i++) {
        struct group_node *n = &g->nodes[i];

        n->group = g;
        n->number = i + 1;
        n->powered = true;
        n->database.items = mem_new(GROUP_ITEMS_MAX * sizeof(uint32_t));
        group_happen(g, HAPPEN_RECOVERYD_START, n->number, i * 20);
    }
    group_happen(g, HAPPEN_CLIENTS, 0, 50);
}

void group_done(struct group *g)
{
    for (int i = 0; i < 2; i++) {
        if (g->nodes[i].rcv)
            rcv_free(g->nodes[i].rcv);
        mem_free(g->nodes[i].database.items);
    }
    mem_free(g->queue);
    buf_done(&g->trace);
}

/* ---- what is so ---- */

bool group_shows(const struct group *g, uint32_t node, Muster__NodeState state,
                 Muster__StateReason reason)
{
    const struct group_node *n = &g->nodes[node - 1];
    struct rcv_node_status s;

    if (!n->rcv)
        return false;
    s = rcv_status(n->rcv, false);
    return s.state == state && s.reason == reason;
}

bool group_is_normal(const struct group *g)
{
    for (uint32_t node = 1; node <= 2; node++)
        if (!group_shows(g, node, MUSTER__NODE_STATE__NORMAL, MUSTER__STATE_REASON__REASON_NORMAL))
            return false;
    return true;
}
