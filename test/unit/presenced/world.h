// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * A small world for stories about the presence engine: two nodes with an engine and a replica each,
 * joined by a link that loses nothing, users alice@x at home on the first and bob@x on the second,
 * and what the engines said last.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>
#include <envelope.pb-c.h>

#include "common/mem.h"
#include "common/util.h"
#include "presenced/engine.h"

enum { NODES = 2, FRAMES_MAX = 256, NOTIFIES_MAX = 64 };

struct node {
    uint32_t number;
    struct world *world;
    struct engine *engine;
    struct replica *replica;
    struct params params;
    struct metrics metrics;
    uint8_t *frames[FRAMES_MAX]; /* from this node, on their way */
    size_t frame_sizes[FRAMES_MAX], frame_count;
    /* What it said. */
    uint32_t code, expires_s;
    char etag[64];
    unsigned answers;
    struct notified {
        uint64_t request;
        uint32_t cseq;
        char state[64];
        char document[4096];
    } notifies[NOTIFIES_MAX];
    size_t notify_count;
    char availability[256];
    unsigned availabilities, syncs;
    uint64_t view_done;
};

struct world {
    struct directory *directory;
    struct engine_now now;
    struct view view;
    struct node nodes[NODES];
    bool linked;
    uint8_t random;
};

/* ---- what the engine wants done ---- */

static inline void on_publish_reply(void *ctx, uint64_t request, const Muster__PublishReply *reply)
{
    struct node *n = ctx;

    (void)request;
    n->code = reply->code;
    n->expires_s = reply->expires_s;
    n->answers++;
    (void)snprintf(n->etag, sizeof(n->etag), "%s", reply->etag);
}

static inline void on_subscribe_reply(void *ctx, uint64_t request,
                                      const Muster__SubscribeReply *reply)
{
    struct node *n = ctx;

    (void)request;
    n->code = reply->code;
    n->expires_s = reply->expires_s;
    n->answers++;
}

static inline bool on_notify(void *ctx, uint64_t request, const Muster__Notify *notify)
{
    struct node *n = ctx;
    struct notified *to = &n->notifies[n->notify_count++];

    assert_true(n->notify_count < NOTIFIES_MAX);
    to->request = request;
    to->cseq = notify->dialog->local_cseq;
    (void)snprintf(to->state, sizeof(to->state), "%s", notify->subscription_state);
    (void)snprintf(to->document, sizeof(to->document), "%.*s", (int)notify->document.len,
                   notify->document.data ? (char *)notify->document.data : "");
    return true;
}

static inline bool on_availability(void *ctx, const Muster__Availability *a)
{
    struct node *n = ctx;

    (void)snprintf(n->availability, sizeof(n->availability), "%s %d %s %s", a->presentity,
                   a->available, a->show, a->status);
    n->availabilities++;
    return true;
}

static inline void on_presence_sync(void *ctx)
{
    ((struct node *)ctx)->syncs++;
}

static inline void on_view_done(void *ctx, uint64_t version)
{
    ((struct node *)ctx)->view_done = version;
}

static inline void on_random(void *ctx, void *ret_bytes, size_t len)
{
    memset(ret_bytes, ++((struct node *)ctx)->world->random, len);
}

static inline bool on_frame(void *ctx, const Muster__ReplicaFrame *frame)
{
    struct node *n = ctx;
    size_t size = muster__replica_frame__get_packed_size(frame);

    assert_true(n->frame_count < FRAMES_MAX);
    n->frames[n->frame_count] = mem_new(size);
    muster__replica_frame__pack(frame, n->frames[n->frame_count]);
    n->frame_sizes[n->frame_count++] = size;
    return true;
}

static inline void on_replica_state(void *ctx, Muster__ReplicaState state)
{
    (void)ctx;
    (void)state;
}

static const struct engine_ops ops = {
    on_publish_reply, on_subscribe_reply, on_notify, on_availability,
    on_presence_sync, on_view_done,       on_random,
};

static inline bool node_is_mine(void *ctx, struct str user)
{
    return engine_is_mine(((struct node *)ctx)->engine, user);
}

static inline bool node_is_peers(void *ctx, struct str user)
{
    return engine_is_peers(((struct node *)ctx)->engine, user);
}

static inline void node_on_restored(void *ctx)
{
    engine_on_restored(((struct node *)ctx)->engine);
}

/* ---- the world ---- */

static inline bool settle_node(struct world *w, struct node *n)
{
    struct node *other = &w->nodes[2 - n->number];
    size_t count;

    replica_flush(n->replica, w->now.mono);
    count = n->frame_count;
    n->frame_count = 0;
    for (size_t i = 0; i < count; i++) {
        Muster__ReplicaFrame *frame =
            muster__replica_frame__unpack(NULL, n->frame_sizes[i], n->frames[i]);

        assert_non_null(frame);
        if (w->linked && other->replica)
            (void)replica_receive(other->replica, frame, w->now.mono);
        muster__replica_frame__free_unpacked(frame, NULL);
        mem_free(n->frames[i]);
    }
    return count > 0 || replica_pending(n->replica);
}

/* Until nothing is on its way. */
static inline void settle(struct world *w)
{
    bool busy = true;

    while (busy) {
        busy = false;
        for (int i = 0; i < NODES; i++)
            if (w->nodes[i].engine && settle_node(w, &w->nodes[i]))
                busy = true;
    }
    for (int i = 0; i < NODES; i++)
        if (w->nodes[i].engine)
            engine_check(w->nodes[i].engine);
}

static inline void pass(struct world *w, uint64_t ms)
{
    for (uint64_t step = ms < 100 ? ms : 100; ms > 0; ms -= step < ms ? step : ms) {
        w->now.mono.ms += step < ms ? step : ms;
        w->now.unix_ms += step < ms ? step : ms;
        for (int i = 0; i < NODES; i++) {
            if (!w->nodes[i].engine)
                continue;
            replica_tick(w->nodes[i].replica, w->now.mono);
            engine_tick(w->nodes[i].engine, &w->now);
        }
        settle(w);
    }
}

/* Who serves the users of nodes 1 and 2 from now on. */
static inline void serve(struct world *w, uint32_t first, uint32_t second)
{
    w->view.version++;
    w->view.epoch++;
    w->view.nodes[0].served_by = first;
    w->view.nodes[1].served_by = second;
    for (uint32_t i = 0; i < NODES; i++) {
        struct view view = w->view;

        view.self = i + 1;
        if (!w->nodes[i].engine)
            continue;
        engine_on_view(w->nodes[i].engine, &view, &w->now);
        replica_view(w->nodes[i].replica, view.epoch, w->linked, w->now.mono);
    }
    settle(w);
}

static inline void boot(struct world *w, uint32_t number)
{
    struct node *n = &w->nodes[number - 1];
    struct engine_config config = {&ops, n, w->directory, &n->params, &n->metrics};
    struct replica_config replica = {
        .service = MUSTER__SERVICE__PRESENCED,
        .boot_id = 1000 + number + w->now.mono.ms,
        .commit_timeout_ms = 200,
        .restore_timeout_ms = 1000,
        .bytes_max = 1 << 20,
        .is_mine = node_is_mine,
        .is_peers = node_is_peers,
        .send = on_frame,
        .on_state = on_replica_state,
        .on_restored = node_on_restored,
        .ctx = n,
    };

    *n = (struct node){.number = number, .world = w};
    params_defaults(&n->params);
    n->engine = engine_new(&config);
    n->replica = replica_new(&replica);
    engine_set_replica(n->engine, n->replica);
}

static inline void die(struct world *w, uint32_t number)
{
    struct node *n = &w->nodes[number - 1];

    engine_free(n->engine);
    replica_free(n->replica);
    for (size_t i = 0; i < n->frame_count; i++)
        mem_free(n->frames[i]);
    n->frame_count = 0;
    n->engine = NULL;
    n->replica = NULL;
}

static inline void connect_all(struct world *w, uint32_t number)
{
    struct node *n = &w->nodes[number - 1];

    engine_on_proxyd_link(n->engine, true, &w->now);
    engine_on_routerd_link(n->engine, true, &w->now);
    engine_on_presence_sync(n->engine, &w->now);
}

static inline void join(struct world *w)
{
    w->linked = true;
    for (int i = 0; i < NODES; i++)
        replica_link_up(w->nodes[i].replica, w->now.mono.ms + 7, w->now.mono);
    settle(w);
}

static inline struct world *world(void)
{
    struct world *w = mem_new(sizeof(*w));

    w->directory = directory_new();
    directory_put(w->directory, &(struct user){.aor = "alice@x", .display_name = "", .home = 1});
    directory_put(w->directory, &(struct user){.aor = "bob@x", .display_name = "", .home = 2});
    w->now = (struct engine_now){{1000}, 1700000000000};
    w->view.count = NODES;
    for (uint32_t i = 0; i < NODES; i++)
        w->view.nodes[i] = (struct view_node){.node = i + 1, .group = 1, .services_up = true};
    for (uint32_t i = 1; i <= NODES; i++)
        boot(w, i);
    join(w);
    serve(w, 1, 2);
    pass(w, 1000);
    connect_all(w, 1);
    connect_all(w, 2);
    return w;
}

static inline void end(struct world *w)
{
    for (uint32_t i = 1; i <= NODES; i++)
        if (w->nodes[i - 1].engine)
            die(w, i);
    directory_free(w->directory);
    mem_free(w);
}

/* ---- what clients do ---- */

static inline void publish(struct world *w, struct node *n, const char *who, const char *etag,
                           int expires, const char *basic)
{
    Muster__Publish m = MUSTER__PUBLISH__INIT;
    Muster__Pidf pidf = MUSTER__PIDF__INIT;
    Muster__PidfTuple tuple = MUSTER__PIDF_TUPLE__INIT, *tuples = &tuple;

    m.presentity = (char *)who;
    m.etag = (char *)etag;
    m.has_expires = expires >= 0;
    m.expires_s = expires >= 0 ? (uint32_t)expires : 0;
    tuple.id = (char *)"t1";
    tuple.open = basic && strcmp(basic, "open") == 0;
    pidf.tuples = &tuples;
    pidf.n_tuples = 1;
    n->code = 0;
    engine_on_publish(n->engine, 1, &m, basic ? &pidf : NULL, &w->now);
    settle(w);
}

static inline void subscribe(struct world *w, struct node *n, const char *watcher,
                             const char *presentity, bool initial, uint32_t cseq, int expires)
{
    Muster__Subscribe m = MUSTER__SUBSCRIBE__INIT;
    Muster__Dialog dialog = MUSTER__DIALOG__INIT;

    dialog.call_id = (char *)"call";
    dialog.local_tag = (char *)"local";
    dialog.remote_tag = (char *)"remote";
    dialog.remote_cseq = cseq;
    m.presentity = (char *)presentity;
    m.watcher = (char *)watcher;
    m.initial = initial;
    m.has_expires = true;
    m.expires_s = (uint32_t)expires;
    m.dialog = &dialog;
    n->code = 0;
    engine_on_subscribe(n->engine, 2, &m, &w->now);
    settle(w);
}

static inline void device(struct world *w, struct node *n, const char *user, bool available)
{
    Muster__DeviceStatus status = MUSTER__DEVICE_STATUS__INIT;

    status.user = (char *)user;
    status.resource = (char *)"phone";
    status.available = available;
    engine_on_device_status(n->engine, &status, &w->now);
    settle(w);
}

static inline struct notified *last(struct node *n)
{
    assert_true(n->notify_count > 0);
    return &n->notifies[n->notify_count - 1];
}

static inline void answer_notify(struct world *w, struct node *n, uint32_t code)
{
    engine_on_notify_reply(n->engine, last(n)->request, code, &w->now);
    settle(w);
}

static inline bool is_open(const struct notified *n)
{
    return strstr(n->document, "<basic>open</basic>") != NULL;
}
