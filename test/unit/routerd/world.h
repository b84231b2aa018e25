// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Two nodes' routers with a world around them, for tests: replicas that are linked, a fabric, a
 * database, clients, and a clock that only the story moves. Nothing happens but in world_run(),
 * which goes on until nothing is left to do, and in those functions that end with it.
 *
 * The domain is muster.test. alice and dave are at home on node 1, bob and carol on node 2; the
 * password of each is "secret". A fake proxyd and presenced record what they are told.
 */
#include <assert.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <utlist.h>

#ifdef WORLD_WITHOUT_CMOCKA /* a fuzz target dies instead */
#define assert_true(a)         assert(a)
#define assert_false(a)        assert(!(a))
#define assert_non_null(a)     assert(a)
#define assert_int_equal(a, b) assert((a) == (b))
#define print_error(...)       fprintf(stderr, __VA_ARGS__)
#define fail()                 abort()
#else
#include <cmocka.h>
#endif

#include "common/db.h"
#include "common/digest.h"
#include "common/mem.h"
#include "common/xml.h"
#include "routerd/router.h"

enum { WORLD_NODES = 2, WORLD_GROUPS_MAX = 4, WORLD_OUT_MAX = 64 << 20 };

struct world;

struct world_node {
    struct world *world;
    uint32_t number;
    uint32_t incarnation;
    struct router *router; /* NULL: it is dead */
    struct replica *replica;
    struct metrics metrics;
    bool proxyd, presenced;             /* are there links? */
    struct buf to_proxyd, to_presenced; /* one line for each envelope */
    uint64_t last_im;                   /* id of the last Im to proxyd */
};

/* A stanza for another node, a frame of the replica. */
struct world_frame {
    struct world_frame *prev, *next;
    uint32_t from, to;
    size_t len;
    uint8_t bytes[];
};

struct world_row {
    struct world_row *prev, *next;
    char *aor, *contact, *name;
    char subscription[8];
    bool ask, pending_in, approved;
    char *groups[WORLD_GROUPS_MAX];
    size_t group_count;
};

struct world_message {
    struct world_message *prev, *next;
    uint64_t id;
    char *aor;
    Muster__Im *im;
};

enum world_work { WORK_ROSTER, WORK_PUT, WORK_DELETE, WORK_STORE, WORK_LIST, WORK_FORGET };

/* A question to the database. */
struct world_job {
    struct world_job *prev, *next;
    enum world_work work;
    uint32_t node, incarnation;
    uint64_t request, id;
    char *aor;
    struct world_row *row;
    Muster__Im *im;
};

struct world_client {
    struct world_client *prev, *next;
    uint64_t stream;
    uint32_t node;
    struct buf out; /* what it was sent and has not been expected yet */
    bool tls;       /* starttls was asked */
    bool ending;    /* the core closed it; on_stream_closed follows */
    bool closed;    /* no event any more */
    char smid[40];  /* of the last <enabled/> */
};

struct world {
    struct world_node nodes[WORLD_NODES + 1]; /* by number */
    struct directory *directory;
    struct params params;
    struct view view;
    struct router_now now;
    uint64_t random;
    uint64_t last_stream, last_link, last_id, last_boot;
    bool linked;
    int database; /* how it answers: DB_OK, or an error */
    struct world_frame *frames;
    struct world_job *jobs;
    struct world_row *rows;
    struct world_message *messages;
    struct world_client *clients;
};

static inline uint64_t world_random(struct world *w)
{
    w->random = w->random * 6364136223846793005u + 1442695040888963407u;
    return w->random >> 16;
}

/* ---- what the routers do ---- */

static inline struct world_client *world_client_of(struct world *w, uint64_t stream)
{
    struct world_client *c;

    DL_FOREACH (w->clients, c) {
        if (c->stream == stream)
            return c;
    }
    return NULL;
}

static inline void world_write(void *ctx, uint64_t stream, struct str bytes)
{
    struct world_node *n = ctx;
    struct world_client *c = world_client_of(n->world, stream);

    assert_non_null(c);
    assert_false(c->ending);
    buf_put_str(&c->out, bytes);
}

static inline void world_starttls(void *ctx, uint64_t stream)
{
    struct world_node *n = ctx;

    world_client_of(n->world, stream)->tls = true;
}

static inline void world_restart(void *ctx, uint64_t stream)
{
    (void)ctx;
    (void)stream;
}

static inline void world_limit(void *ctx, uint64_t stream, size_t stanza_bytes_max)
{
    (void)ctx;
    (void)stream;
    (void)stanza_bytes_max;
}

static inline void world_close(void *ctx, uint64_t stream)
{
    struct world_node *n = ctx;

    world_client_of(n->world, stream)->ending = true;
}

static inline bool world_to_proxyd(void *ctx, const Muster__Envelope *e)
{
    struct world_node *n = ctx;

    if (!n->proxyd)
        return false;
    if (e->body_case == MUSTER__ENVELOPE__BODY_IM) {
        n->last_im = e->id;
        buf_printf(&n->to_proxyd, "Im from=%s to=%s id=%s body=%.*s\n", e->im->from, e->im->to,
                   e->im->id, (int)e->im->body.len, (const char *)e->im->body.data);
    } else if (e->body_case == MUSTER__ENVELOPE__BODY_IM_REPLY) {
        buf_printf(&n->to_proxyd, "ImReply id=%d result=%d\n", (int)e->id,
                   (int)e->im_reply->result);
    }
    return true;
}

static inline bool world_to_presenced(void *ctx, const Muster__Envelope *e)
{
    struct world_node *n = ctx;

    if (!n->presenced)
        return false;
    if (e->body_case == MUSTER__ENVELOPE__BODY_DEVICE_STATUS)
        buf_printf(&n->to_presenced, "DeviceStatus %s/%s %s%s\n", e->device_status->user,
                   e->device_status->resource,
                   e->device_status->available ? "available " : "unavailable ",
                   e->device_status->show);
    else
        buf_puts(&n->to_presenced, "PresenceSync\n");
    return true;
}

static inline bool world_send(struct world_node *n, uint32_t to, const Muster__Envelope *e)
{
    struct world *w = n->world;
    size_t len = muster__envelope__get_packed_size(e);
    struct world_frame *f;

    if (!w->linked || to < 1 || to > WORLD_NODES || !w->nodes[to].router)
        return false;
    f = mem_new(sizeof(*f) + len);
    f->from = n->number;
    f->to = to;
    f->len = len;
    muster__envelope__pack(e, f->bytes);
    DL_APPEND(w->frames, f);
    return true;
}

static inline bool world_to_node(void *ctx, uint32_t node, const Muster__Envelope *e)
{
    return world_send(ctx, node, e);
}

static inline bool world_send_replica(void *ctx, const Muster__ReplicaFrame *frame)
{
    struct world_node *n = ctx;
    Muster__Envelope e = MUSTER__ENVELOPE__INIT;

    e.body_case = MUSTER__ENVELOPE__BODY_REPLICA;
    e.replica = (Muster__ReplicaFrame *)frame;
    return world_send(n, 3 - n->number, &e);
}

static inline bool world_is_mine(void *ctx, struct str user)
{
    return router_is_mine(((struct world_node *)ctx)->router, user);
}

static inline bool world_is_peers(void *ctx, struct str user)
{
    return router_is_peers(((struct world_node *)ctx)->router, user);
}

static inline void world_on_restored(void *ctx)
{
    router_on_restored(((struct world_node *)ctx)->router);
}

static inline void world_random_bytes(void *ctx, void *ret_bytes, size_t len)
{
    struct world_node *n = ctx;

    for (size_t i = 0; i < len; i++)
        ((uint8_t *)ret_bytes)[i] = (uint8_t)world_random(n->world);
}

/* ---- the database ---- */

static inline struct world_job *world_job(struct world_node *n, enum world_work work,
                                          uint64_t request, struct str aor)
{
    struct world_job *j = mem_new(sizeof(*j));

    j->work = work;
    j->node = n->number;
    j->incarnation = n->incarnation;
    j->request = request;
    j->aor = str_dup(aor);
    DL_APPEND(n->world->jobs, j);
    return j;
}

static inline void world_roster_load(void *ctx, uint64_t request, struct str aor)
{
    world_job(ctx, WORK_ROSTER, request, aor);
}

static inline void world_roster_put(void *ctx, uint64_t request, struct str aor,
                                    const struct router_roster_item *item)
{
    struct world_row *row = mem_new(sizeof(*row));

    row->aor = str_dup(aor);
    row->contact = str_dup(item->contact);
    row->name = str_dup(item->name);
    snprintf(row->subscription, sizeof(row->subscription), "%.*s", STR_ARG(item->subscription));
    row->ask = item->ask;
    row->pending_in = item->pending_in;
    row->approved = item->approved;
    for (; row->group_count < item->group_count; row->group_count++)
        row->groups[row->group_count] = str_dup(item->groups[row->group_count]);
    world_job(ctx, WORK_PUT, request, aor)->row = row;
}

static inline void world_roster_delete(void *ctx, uint64_t request, struct str aor,
                                       struct str contact)
{
    struct world_row *row = mem_new(sizeof(*row));

    row->contact = str_dup(contact);
    world_job(ctx, WORK_DELETE, request, aor)->row = row;
}

static inline Muster__Im *world_copy(const Muster__Im *im)
{
    size_t len = muster__im__get_packed_size(im);
    uint8_t *bytes = mem_new(len);
    Muster__Im *copy;

    muster__im__pack(im, bytes);
    copy = muster__im__unpack(NULL, len, bytes);
    mem_free(bytes);
    return copy;
}

static inline void world_offline_put(void *ctx, uint64_t request, struct str aor,
                                     const Muster__Im *im)
{
    world_job(ctx, WORK_STORE, request, aor)->im = world_copy(im);
}

static inline void world_offline_list(void *ctx, uint64_t request, struct str aor)
{
    world_job(ctx, WORK_LIST, request, aor);
}

static inline void world_offline_delete(void *ctx, uint64_t request, uint64_t id)
{
    world_job(ctx, WORK_FORGET, request, str_of(""))->id = id;
}

static const struct router_ops world_ops = {
    .write = world_write,
    .starttls = world_starttls,
    .restart = world_restart,
    .limit = world_limit,
    .close = world_close,
    .to_proxyd = world_to_proxyd,
    .to_presenced = world_to_presenced,
    .to_node = world_to_node,
    .roster_load = world_roster_load,
    .roster_put = world_roster_put,
    .roster_delete = world_roster_delete,
    .offline_put = world_offline_put,
    .offline_list = world_offline_list,
    .offline_delete = world_offline_delete,
    .random = world_random_bytes,
};

static inline void world_row_free(struct world_row *row)
{
    if (!row)
        return;
    for (size_t i = 0; i < row->group_count; i++)
        mem_free(row->groups[i]);
    mem_free(row->aor);
    mem_free(row->contact);
    mem_free(row->name);
    mem_free(row);
}

static inline struct world_row *world_row(struct world *w, const char *aor, const char *contact)
{
    struct world_row *row;

    DL_FOREACH (w->rows, row) {
        if (strcmp(row->aor, aor) == 0 && strcmp(row->contact, contact) == 0)
            return row;
    }
    return NULL;
}

static inline void world_store_row(struct world *w, struct world_job *j)
{
    struct world_row *old = world_row(w, j->aor, j->row->contact);

    if (old) {
        DL_DELETE(w->rows, old);
        world_row_free(old);
    }
    if (j->work == WORK_PUT) {
        DL_APPEND(w->rows, j->row);
        j->row = NULL;
    }
}

static inline void world_store_message(struct world *w, struct world_job *j)
{
    struct world_message *m;

    DL_FOREACH (w->messages, m) {
        if (strcmp(m->aor, j->aor) == 0 && j->im->id[0] && strcmp(m->im->id, j->im->id) == 0 &&
            strcmp(m->im->from, j->im->from) == 0)
            return;
    }
    m = mem_new(sizeof(*m));
    m->id = ++w->last_id;
    m->aor = j->aor;
    m->im = j->im;
    j->aor = NULL;
    j->im = NULL;
    DL_APPEND(w->messages, m);
}

static inline void world_message_free(struct world *w, struct world_message *m)
{
    DL_DELETE(w->messages, m);
    mem_free(m->aor);
    muster__im__free_unpacked(m->im, NULL);
    mem_free(m);
}

static inline void world_forget_message(struct world *w, uint64_t id)
{
    struct world_message *m, *next;

    DL_FOREACH_SAFE (w->messages, m, next) {
        if (m->id == id)
            world_message_free(w, m);
    }
}

static inline void world_answer_roster(struct world *w, struct router *r, struct world_job *j,
                                       int status)
{
    struct router_roster_item items[64];
    struct str groups[64][WORLD_GROUPS_MAX];
    struct world_row *row;
    size_t count = 0;

    DL_FOREACH (w->rows, row) {
        if (strcmp(row->aor, j->aor) != 0 || count == 64)
            continue;
        for (size_t i = 0; i < row->group_count; i++)
            groups[count][i] = str_of(row->groups[i]);
        items[count] = (struct router_roster_item){
            .contact = str_of(row->contact),
            .name = str_of(row->name),
            .subscription = str_of(row->subscription),
            .ask = row->ask,
            .pending_in = row->pending_in,
            .approved = row->approved,
            .groups = groups[count],
            .group_count = row->group_count,
        };
        count++;
    }
    router_on_roster(r, j->request, status, items, status ? 0 : count, &w->now);
}

static inline void world_answer_list(struct world *w, struct router *r, struct world_job *j,
                                     int status)
{
    struct router_offline *list = mem_new(1000 * sizeof(*list));
    struct world_message *m;
    size_t count = 0;

    DL_FOREACH (w->messages, m) {
        if (strcmp(m->aor, j->aor) == 0 && count < 1000)
            list[count++] = (struct router_offline){m->id, world_copy(m->im)};
    }
    router_on_offline(r, j->request, status, list, status ? 0 : count, &w->now);
    for (size_t i = 0; i < count; i++)
        muster__im__free_unpacked((Muster__Im *)list[i].im, NULL);
    mem_free(list);
}

static inline void world_job_free(struct world_job *j)
{
    world_row_free(j->row);
    if (j->im)
        muster__im__free_unpacked(j->im, NULL);
    mem_free(j->aor);
    mem_free(j);
}

/* Does the oldest job, and tells who asked, if it still lives. */
static inline void world_do_job(struct world *w)
{
    struct world_job *j = w->jobs;
    struct world_node *n = &w->nodes[j->node];
    struct router *r = n->incarnation == j->incarnation ? n->router : NULL;

    DL_DELETE(w->jobs, j);
    if (w->database == DB_OK && (j->work == WORK_PUT || j->work == WORK_DELETE))
        world_store_row(w, j);
    else if (w->database == DB_OK && j->work == WORK_STORE)
        world_store_message(w, j);
    else if (w->database == DB_OK && j->work == WORK_FORGET)
        world_forget_message(w, j->id);
    if (r && j->work == WORK_ROSTER)
        world_answer_roster(w, r, j, w->database);
    else if (r && j->work == WORK_LIST)
        world_answer_list(w, r, j, w->database);
    else if (r)
        router_on_stored(r, j->request, w->database, &w->now);
    world_job_free(j);
}

/* ---- making things happen ---- */

static inline void world_deliver(struct world *w, struct world_frame *f)
{
    struct world_node *n = &w->nodes[f->to];
    Muster__Envelope *e = muster__envelope__unpack(NULL, f->len, f->bytes);

    DL_DELETE(w->frames, f);
    assert_non_null(e);
    if (n->router && e->body_case == MUSTER__ENVELOPE__BODY_REPLICA)
        (void)replica_receive(n->replica, e->replica, w->now.mono);
    else if (n->router)
        router_on_node(n->router, f->from, e, &w->now);
    muster__envelope__free_unpacked(e, NULL);
    mem_free(f);
}

static inline void world_flush(struct world *w)
{
    for (uint32_t i = 1; i <= WORLD_NODES; i++)
        if (w->nodes[i].router)
            replica_flush(w->nodes[i].replica, w->now.mono);
}

static inline bool world_pending(struct world *w)
{
    for (uint32_t i = 1; i <= WORLD_NODES; i++)
        if (w->nodes[i].router && replica_pending(w->nodes[i].replica))
            return true;
    return false;
}

static inline bool world_end_streams(struct world *w)
{
    struct world_client *c;
    bool any = false;

    DL_FOREACH (w->clients, c) {
        if (!c->ending || c->closed)
            continue;
        c->closed = any = true;
        if (w->nodes[c->node].router)
            router_on_stream_closed(w->nodes[c->node].router, c->stream, &w->now);
    }
    return any;
}

static inline void world_check(struct world *w)
{
    for (uint32_t i = 1; i <= WORLD_NODES; i++) {
        if (!w->nodes[i].router)
            continue;
        router_check(w->nodes[i].router);
        replica_check(w->nodes[i].replica);
    }
}

static inline void world_tick(struct world *w)
{
    for (uint32_t i = 1; i <= WORLD_NODES; i++) {
        if (w->nodes[i].router && mono_reached(w->now.mono, router_deadline(w->nodes[i].router)))
            router_tick(w->nodes[i].router, &w->now);
        if (w->nodes[i].router && mono_reached(w->now.mono, replica_deadline(w->nodes[i].replica)))
            replica_tick(w->nodes[i].replica, w->now.mono);
    }
}

/* Ticks what is due, and goes on until nothing happens any more. */
static inline void world_run(struct world *w)
{
    for (int rounds = 0; rounds < 100000; rounds++) {
        world_tick(w);
        world_flush(w);
        if (w->frames)
            world_deliver(w, w->frames);
        else if (w->jobs)
            world_do_job(w);
        else if (!world_end_streams(w) && !world_pending(w))
            break;
    }
    world_check(w);
}

static inline mono_t world_deadline(const struct world *w)
{
    mono_t soonest = MONO_NEVER;

    for (uint32_t i = 1; i <= WORLD_NODES; i++) {
        const struct world_node *n = &w->nodes[i];

        if (n->router && router_deadline(n->router).ms < soonest.ms)
            soonest = router_deadline(n->router);
        if (n->router && replica_deadline(n->replica).ms < soonest.ms)
            soonest = replica_deadline(n->replica);
    }
    return soonest;
}

/* Moves the clock, stopping at each deadline. */
static inline void world_pass(struct world *w, uint64_t ms)
{
    mono_t end = mono_after(w->now.mono, ms);

    while (w->now.mono.ms < end.ms) {
        mono_t next = world_deadline(w);

        if (next.ms > end.ms)
            next = end;
        if (next.ms <= w->now.mono.ms)
            next.ms = w->now.mono.ms + 1;
        w->now.unix_ms += next.ms - w->now.mono.ms;
        w->now.mono = next;
        world_run(w);
    }
}

/* ---- nodes ---- */

static inline void world_give_view(struct world *w, struct world_node *n)
{
    struct view v = w->view;

    if (!n->router)
        return;
    v.self = n->number;
    router_on_view(n->router, &v, &w->now);
    replica_view(n->replica, v.epoch, w->nodes[3 - n->number].router != NULL, w->now.mono);
    router_on_serving(n->router, true, &w->now);
}

/* A new view: who serves the users of node 1 and of node 2; 0: nobody. No node is told yet. */
static inline void world_change_view(struct world *w, uint32_t of1, uint32_t of2)
{
    w->view.version++;
    w->view.epoch++;
    w->view.nodes[0].served_by = of1;
    w->view.nodes[1].served_by = of2;
}

/* The same, and all that live are told. */
static inline void world_serve(struct world *w, uint32_t of1, uint32_t of2)
{
    world_change_view(w, of1, of2);
    for (uint32_t i = 1; i <= WORLD_NODES; i++)
        world_give_view(w, &w->nodes[i]);
    world_run(w);
}

static inline void world_set_link(struct world *w, bool up)
{
    w->linked = up && w->nodes[1].router && w->nodes[2].router;
    if (w->linked)
        w->last_link++;
    while (!w->linked && w->frames) {
        struct world_frame *f = w->frames;

        DL_DELETE(w->frames, f);
        mem_free(f);
    }
    for (uint32_t i = 1; i <= WORLD_NODES; i++) {
        struct world_node *n = &w->nodes[i];

        if (!n->router)
            continue;
        if (w->linked)
            replica_link_up(n->replica, w->last_link, w->now.mono);
        else
            replica_link_down(n->replica, w->now.mono);
        router_on_node_link(n->router, 3 - i, w->linked, &w->now);
    }
}

static inline void world_link(struct world *w, bool up)
{
    world_set_link(w, up);
    world_run(w);
}

static inline void world_start(struct world *w, uint32_t number)
{
    struct world_node *n = &w->nodes[number];

    n->world = w;
    n->number = number;
    n->incarnation++;
    n->router = router_new(&(struct router_config){
        .ops = &world_ops,
        .ctx = n,
        .domain = "muster.test",
        .directory = w->directory,
        .params = &w->params,
        .metrics = &n->metrics,
    });
    n->replica = replica_new(&(struct replica_config){
        .service = MUSTER__SERVICE__ROUTERD,
        .boot_id = ++w->last_boot << 32, /* the replica counts on from it */
        .commit_timeout_ms = 200,
        .restore_timeout_ms = 1000,
        .bytes_max = 64 << 20,
        .is_mine = world_is_mine,
        .is_peers = world_is_peers,
        .send = world_send_replica,
        .on_restored = world_on_restored,
        .ctx = n,
    });
    router_set_replica(n->router, n->replica);
    buf_init(&n->to_proxyd, WORLD_OUT_MAX);
    buf_init(&n->to_presenced, WORLD_OUT_MAX);
}

/* A power cut: its connections break, too. */
static inline void world_power_off(struct world *w, uint32_t number)
{
    struct world_node *n = &w->nodes[number];
    struct world_client *c;

    DL_FOREACH (w->clients, c) {
        if (c->node == number)
            c->closed = c->ending = true;
    }
    replica_free(n->replica);
    router_free(n->router);
    buf_done(&n->to_proxyd);
    buf_done(&n->to_presenced);
    n->router = NULL;
    n->replica = NULL;
    n->proxyd = n->presenced = false;
    world_set_link(w, false);
}

static inline void world_kill(struct world *w, uint32_t number)
{
    world_power_off(w, number);
    world_run(w);
}

static inline void world_user(struct world *w, const char *name, uint32_t home)
{
    static struct {
        char name[16];
        struct credentials credentials;
    } made[8]; /* they cost some milliseconds */
    struct user user = {.home = home, .display_name = name};
    char aor[64];
    size_t i = 0;

    snprintf(aor, sizeof(aor), "%s@muster.test", name);
    user.aor = aor;
    while (made[i].name[0] && strcmp(made[i].name, name) != 0)
        i++;
    if (!made[i].name[0]) {
        digest_credentials(str_of(name), STR("muster.test"), STR("secret"),
                           (const uint8_t *)"0123456789abcdef", &made[i].credentials);
        snprintf(made[i].name, sizeof(made[i].name), "%s", name);
    }
    user.credentials = made[i].credentials;
    directory_put(w->directory, &user);
}

static inline struct world *world_new(void)
{
    struct world *w = mem_new(sizeof(*w));

    w->now = (struct router_now){{1000000}, 1770000000000};
    w->random = 42;
    w->last_boot = 100;
    w->directory = directory_new();
    params_defaults(&w->params);
    world_user(w, "alice", 1);
    world_user(w, "bob", 2);
    world_user(w, "carol", 2);
    world_user(w, "dave", 1);
    w->view = (struct view){.version = 1, .epoch = 1, .count = 2, .lease_until = MONO_NEVER};
    for (uint32_t i = 0; i < WORLD_NODES; i++) {
        w->view.nodes[i] = (struct view_node){.node = i + 1, .group = 1, .services_up = true};
        snprintf(w->view.nodes[i].address, sizeof(w->view.nodes[i].address), "127.0.1.%u",
                 (unsigned)i + 1);
    }
    world_start(w, 1);
    world_start(w, 2);
    world_serve(w, 1, 2);
    world_link(w, true);
    world_pass(w, 2000);
    return w;
}

static inline void world_free(struct world *w)
{
    for (uint32_t i = 1; i <= WORLD_NODES; i++) {
        struct world_node *n = &w->nodes[i];

        if (!n->router)
            continue;
        replica_free(n->replica);
        router_free(n->router);
        buf_done(&n->to_proxyd);
        buf_done(&n->to_presenced);
        n->router = NULL;
    }
    while (w->clients) {
        struct world_client *c = w->clients;

        DL_DELETE(w->clients, c);
        buf_done(&c->out);
        mem_free(c);
    }
    while (w->frames) {
        struct world_frame *f = w->frames;

        DL_DELETE(w->frames, f);
        mem_free(f);
    }
    while (w->jobs) {
        struct world_job *j = w->jobs;

        DL_DELETE(w->jobs, j);
        world_job_free(j);
    }
    while (w->rows) {
        struct world_row *row = w->rows;

        DL_DELETE(w->rows, row);
        world_row_free(row);
    }
    while (w->messages)
        world_message_free(w, w->messages);
    directory_free(w->directory);
    mem_free(w);
}

/* ---- clients ---- */

/* The header of a stream comes, or comes again after a restart; nothing else happens yet. */
static inline void world_header(struct world *w, struct world_client *c, const char *to, bool tls)
{
    struct arena arena;
    struct xml_node *root;
    struct router_stream_open open = {.tls = tls, .peer = "192.0.2.1:50000"};
    char text[256];

    snprintf(text, sizeof(text),
             "<s:stream xmlns:s='http://etherx.jabber.org/streams' to='%s' version='1.0'/>", to);
    arena_init(&arena, 65536);
    assert_int_equal(xml_parse(&arena, str_of(text), &root), 0);
    open.root = root;
    router_on_stream_open(w->nodes[c->node].router, c->stream, &open, &w->now);
    arena_done(&arena);
}

/* The same, and all that follows. */
static inline void world_open(struct world *w, struct world_client *c, const char *to, bool tls)
{
    world_header(w, c, to, tls);
    world_run(w);
}

/* A connection on which nothing was said yet. */
static inline struct world_client *world_dial(struct world *w, uint32_t node)
{
    struct world_client *c = mem_new(sizeof(*c));

    c->stream = ++w->last_stream;
    c->node = node;
    buf_init(&c->out, WORLD_OUT_MAX);
    DL_APPEND(w->clients, c);
    return c;
}

static inline struct world_client *world_connect(struct world *w, uint32_t node, bool tls)
{
    struct world_client *c = world_dial(w, node);

    world_open(w, c, "muster.test", tls);
    return c;
}

/* A child of the stream's root, as the shell would parse it; nothing else happens yet. */
static inline void world_put(struct world *w, struct world_client *c, const char *xml)
{
    struct arena arena;
    struct xml_node *root, *node;
    struct buf text;

    buf_init(&text, WORLD_OUT_MAX);
    buf_printf(&text, "<x xmlns='jabber:client'>%s</x>", xml);
    arena_init(&arena, 4 << 20);
    assert_int_equal(xml_parse(&arena, buf_str(&text), &root), 0);
    while (!c->closed && !c->ending && (node = xml_first(root))) {
        xml_remove(node);
        router_on_stanza(w->nodes[c->node].router, c->stream, &arena, node, &w->now);
    }
    arena_done(&arena);
    buf_done(&text);
}

/* Says it and lets everything happen that follows. */
static inline void world_say(struct world *w, struct world_client *c, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
static inline void world_say(struct world *w, struct world_client *c, const char *format, ...)
{
    char text[8192];
    va_list args;

    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    world_put(w, c, text);
    world_run(w);
}

/* `part` stands in what was sent; it and all before it are done with. */
#define world_expect(c, part) world_expect_at(c, part, __FILE__, __LINE__)
static inline void world_expect_at(struct world_client *c, const char *part, const char *file,
                                   int line)
{
    const char *at = c->out.len ? strstr(c->out.data, part) : NULL;

    if (!at) {
        print_error("%s:%d: expected\n  %s\nbut there was\n  %s\n", file, line, part,
                    c->out.len ? c->out.data : "nothing");
        fail();
    }
    buf_drop(&c->out, (size_t)(at - c->out.data) + strlen(part));
}

#define world_never(c, part) world_never_at(c, part, __FILE__, __LINE__)
static inline void world_never_at(struct world_client *c, const char *part, const char *file,
                                  int line)
{
    if (c->out.len && strstr(c->out.data, part)) {
        print_error("%s:%d: expected no\n  %s\nbut there was\n  %s\n", file, line, part,
                    c->out.data);
        fail();
    }
}

/* Forgets what was sent so far. */
static inline void world_ignore(struct world_client *c)
{
    buf_clear(&c->out);
}

/* The connection breaks. */
static inline void world_break(struct world *w, struct world_client *c)
{
    if (!c->closed)
        router_on_stream_closed(w->nodes[c->node].router, c->stream, &w->now);
    c->closed = c->ending = true;
    world_run(w);
}

/* TLS, PLAIN, but no resource yet. */
static inline struct world_client *world_authenticate(struct world *w, uint32_t node,
                                                      const char *user)
{
    struct world_client *c = world_connect(w, node, true);
    char plain[64];
    struct buf b;
    int len = snprintf(plain, sizeof(plain), "%c%s%csecret", 0, user, 0);

    buf_init(&b, 256);
    digest_base64(&b, str_of_bytes(plain, (size_t)len));
    world_say(w, c, "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>%s</auth>",
              b.data);
    buf_done(&b);
    world_expect(c, "<success xmlns=\"urn:ietf:params:xml:ns:xmpp-sasl\"/>");
    world_open(w, c, "muster.test", true);
    world_expect(c, "</stream:features>");
    return c;
}

static inline struct world_client *world_login(struct world *w, uint32_t node, const char *user,
                                               const char *resource)
{
    struct world_client *c = world_authenticate(w, node, user);

    world_say(w, c,
              "<iq type='set' id='b'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'><resource>%s"
              "</resource></bind></iq>",
              resource);
    world_expect(c, "</jid></bind></iq>");
    return c;
}

/* With resumption; c->smid names the session. */
static inline void world_enable(struct world *w, struct world_client *c)
{
    const char *id;

    world_say(w, c, "<enable xmlns='urn:xmpp:sm:3' resume='true'/>");
    world_expect(c, "<enabled xmlns=\"urn:xmpp:sm:3\"");
    id = strstr(c->out.data, "id=\"");
    assert_non_null(id);
    snprintf(c->smid, sizeof(c->smid), "%.32s", id + 4);
    world_ignore(c);
}

/* A new connection goes on with the session of `old`. */
static inline struct world_client *world_resume(struct world *w, uint32_t node, const char *user,
                                                const struct world_client *old, unsigned h)
{
    struct world_client *c = world_authenticate(w, node, user);

    memcpy(c->smid, old->smid, sizeof(c->smid));
    world_say(w, c, "<resume xmlns='urn:xmpp:sm:3' previd='%s' h='%u'/>", old->smid, h);
    return c;
}

/* Logged in with resumption, and available. */
static inline struct world_client *world_online(struct world *w, uint32_t node, const char *user,
                                                const char *resource)
{
    struct world_client *c = world_login(w, node, user, resource);

    world_enable(w, c);
    world_say(w, c, "<presence/>");
    world_ignore(c);
    return c;
}
