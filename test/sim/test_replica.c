// SPDX-License-Identifier: Apache-2.0
/*
 * Two replicas and everything that can happen to them: frames that are late, links that break for
 * both sides or are seen to break by one only, daemons that crash and come back without memory,
 * nodes that die and are taken over, users that move from node to node while the link comes and
 * goes.
 *
 * Whatever happens: a commit that called back while the nodes were in sync means that the peer held
 * the change; what was committed so is never lost while one of the two memories lives on; a daemon
 * that comes back gets everything back; and once it is quiet, both hold the same, which is what the
 * owners had.
 *
 * test_replica [FIRST_SEED COUNT]; a failure names its seed.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/mem.h"
#include "common/replica.h"

enum { SERVICE = 2, USERS = 6, KEYS = 4, TABLES = 2, ITEMS = USERS * KEYS * TABLES };
enum { NOBODY = 2, COMMIT_TIMEOUT_MS = 200, RESTORE_TIMEOUT_MS = 3000, STEPS = 400 };

struct sim_frame {
    struct sim_frame *next;
    uint64_t at;
    size_t len;
    uint8_t bytes[];
};

struct node {
    struct sim *sim;
    struct replica *replica; /* NULL: the daemon does not run */
    int self;
    bool alive; /* the machine; its daemon may be down all the same */
    bool restored;
    uint64_t boot_id, booted_at;
    uint64_t back_at; /* the daemon starts again */
    uint64_t epoch;
    int served_by[2]; /* by home, as this node knows it */
    uint64_t view_at; /* when a daemon that has just started is told the view */
    bool link_seen;
    uint64_t link_at; /* when it learns of the link's state */
    struct pending *pending;
    struct sim_frame *in, **in_tail;
    uint64_t in_last; /* no frame overtakes another */
};

/* Version of an item: which change it was of all; 0: never made. */
struct pending {
    struct pending *next;
    struct node *node;
    uint64_t versions[ITEMS];
    uint64_t peer_boot;
};

struct sim {
    struct node nodes[2];
    uint64_t seed, random, now, versions, link_id;
    bool link_up;
    uint64_t epoch;
    int served_by[2]; /* as it is decided; NOBODY never */
    int moving;       /* home that is on its way, or -1 */
    bool released;
    size_t value_bytes;
    uint64_t last_delete[ITEMS];
    uint64_t safe[ITEMS]; /* committed in both memories */
    bool safe_deleted[ITEMS];
    struct {
        uint64_t version;
        bool deleted;
    } changes[4 * STEPS + 4];
    uint64_t in_sync_commits, restores;
};

static uint64_t draw(struct sim *s, uint64_t below)
{
    s->random ^= s->random << 13;
    s->random ^= s->random >> 7;
    s->random ^= s->random << 17;
    return (s->random * 0x2545F4914F6CDD1D >> 33) % below;
}

#define FAIL(s, ...)                                                                               \
    do {                                                                                           \
        print_message("seed %llu at %llu ms: ", (unsigned long long)(s)->seed,                     \
                      (unsigned long long)(s)->now);                                               \
        fail_msg(__VA_ARGS__);                                                                     \
    } while (0)

static struct node *other(struct node *n)
{
    return &n->sim->nodes[1 - n->self];
}

static mono_t now_of(const struct sim *s)
{
    return (mono_t){s->now};
}

/* ---- items ---- */

static int home_of_item(int item)
{
    return item / (KEYS * TABLES) % 2;
}

static struct str item_user(int item, char ret[16])
{
    snprintf(ret, 16, "u%d", item / (KEYS * TABLES));
    return str_of(ret);
}

static struct str item_key(int item, char ret[32])
{
    snprintf(ret, 32, "u%d/%d", item / (KEYS * TABLES), item % KEYS);
    return str_of(ret);
}

static uint32_t item_table(int item)
{
    return item / KEYS % TABLES ? 3 : 0;
}

static uint64_t held(const struct node *n, int item)
{
    struct replica_record record;
    uint64_t version;
    char key[32];

    if (!n->replica || !replica_find(n->replica, item_table(item), item_key(item, key), &record))
        return 0;
    memcpy(&version, record.value.p, sizeof(version));
    return version;
}

/* Does the node know of that change, or of a later one? */
static bool knows(const struct node *n, int item, uint64_t version, bool deleted)
{
    uint64_t has = held(n, item);

    if (!n->replica)
        return false;
    if (has == 0)
        return deleted || n->sim->last_delete[item] > version;
    return deleted ? has > version : has >= version;
}

/* ---- the replica's callbacks ---- */

static int home_of(struct str user)
{
    return (user.p[1] - '0') % 2;
}

static bool is_mine(void *ctx, struct str user)
{
    struct node *n = ctx;

    return n->served_by[home_of(user)] == n->self;
}

static bool is_peers(void *ctx, struct str user)
{
    struct node *n = ctx;

    return n->served_by[home_of(user)] == 1 - n->self;
}

static bool send(void *ctx, const Muster__ReplicaFrame *message)
{
    struct node *n = ctx, *to = other(n);
    struct sim *s = n->sim;
    size_t len = muster__replica_frame__get_packed_size(message);
    uint64_t delay = draw(s, 20) == 0 ? draw(s, 500) : draw(s, 12);
    struct sim_frame *frame;

    if (draw(s, 300) == 0)
        return false;
    if (!s->link_up || !to->alive)
        return true; /* lost on its way */
    frame = mem_new(sizeof(*frame) + len);
    frame->len = muster__replica_frame__pack(message, frame->bytes);
    to->in_last = frame->at = s->now + delay > to->in_last ? s->now + delay : to->in_last;
    *to->in_tail = frame;
    to->in_tail = &frame->next;
    return true;
}

static bool in_sync(const struct node *n)
{
    return n->replica && replica_state(n->replica) == MUSTER__REPLICA_STATE__REPLICA_IN_SYNC;
}

static void on_restored(void *ctx)
{
    struct node *n = ctx;
    struct sim *s = n->sim;

    n->restored = true;
    s->restores++;
    for (int i = 0; i < ITEMS; i++) {
        if (!s->safe[i] || n->served_by[home_of_item(i)] != n->self ||
            knows(n, i, s->safe[i], s->safe_deleted[i]))
            continue;
        if (s->now < n->booted_at + RESTORE_TIMEOUT_MS && other(n)->replica && other(n)->restored &&
            s->link_up)
            FAIL(s, "node %d came back without item %d", n->self, i);
        s->safe[i] = 0; /* there was nobody to ask */
    }
}

/* Commits are called in the order in which they were made. */
static void pending_free(struct node *n, struct pending *p)
{
    if (n->pending != p)
        FAIL(n->sim, "node %d: a commit came out of order, or twice", n->self);
    n->pending = p->next;
    mem_free(p);
}

static void pending_add(struct node *n, struct pending *p)
{
    struct pending **at = &n->pending;

    while (*at)
        at = &(*at)->next;
    *at = p;
}

static void on_commit(void *ctx)
{
    struct pending *p = ctx;
    struct node *n = p->node;
    struct sim *s = n->sim;

    if (in_sync(n) && p->peer_boot == other(n)->boot_id && other(n)->replica)
        for (int i = 0; i < ITEMS; i++) {
            uint64_t v = p->versions[i];

            if (!v)
                continue;
            s->in_sync_commits++;
            if (!knows(other(n), i, v, s->changes[v].deleted))
                FAIL(s, "node %d: item %d was committed as %d, but the peer has %d", n->self, i,
                     (int)v, (int)held(other(n), i));
            if (v > s->safe[i]) {
                s->safe[i] = v;
                s->safe_deleted[i] = s->changes[v].deleted;
            }
        }
    pending_free(n, p);
}

/* Like recoveryd, which moves users only while the replicas are in sync. */
static void on_released(void *ctx)
{
    struct node *n = ctx;

    n->sim->released = in_sync(n);
}

/* ---- daemons and nodes ---- */

static void drop_frames(struct node *n)
{
    while (n->in) {
        struct sim_frame *frame = n->in;

        n->in = frame->next;
        mem_free(frame);
    }
    n->in_tail = &n->in;
}

static void say_view(struct node *n)
{
    if (n->replica && n->sim->now >= n->view_at)
        replica_view(n->replica, n->epoch, other(n)->alive, now_of(n->sim));
}

static void start_daemon(struct node *n)
{
    struct sim *s = n->sim;
    struct replica_config config = {
        .service = SERVICE,
        .boot_id = n->boot_id = draw(s, 1u << 30) << 20 | 1,
        .commit_timeout_ms = COMMIT_TIMEOUT_MS,
        .restore_timeout_ms = RESTORE_TIMEOUT_MS,
        .bytes_max = 64 << 20,
        .is_mine = is_mine,
        .is_peers = is_peers,
        .send = send,
        .on_restored = on_restored,
        .ctx = n,
    };

    n->replica = replica_new(&config);
    n->booted_at = s->now;
    n->restored = false;
    n->link_seen = false;
    n->link_at = s->now + draw(s, 100);
    n->view_at = s->now + (draw(s, 2) ? draw(s, 300) : 0);
    say_view(n);
}

static void stop_daemon(struct node *n)
{
    struct sim *s = n->sim;

    if (!n->replica)
        return;
    for (int i = 0; i < ITEMS; i++)
        if (s->safe[i] && !knows(other(n), i, s->safe[i], s->safe_deleted[i]))
            s->safe[i] = 0; /* now both memories have been lost */
    replica_free(n->replica);
    n->replica = NULL;
    while (n->pending)
        pending_free(n, n->pending);
    if (draw(s, 2))
        drop_frames(n);
}

static void decide(struct sim *s, int home, int server)
{
    s->served_by[home] = server;
    s->moving = -1;
}

static void learn(struct node *n)
{
    n->epoch = n->sim->epoch;
    memcpy(n->served_by, n->sim->served_by, sizeof(n->served_by));
    say_view(n);
}

static void kill_node(struct node *n)
{
    struct sim *s = n->sim;
    struct node *survivor = other(n);

    if (!n->alive)
        return;
    stop_daemon(n);
    n->alive = false;
    s->link_up = false;
    for (int i = 0; i < 2; i++)
        s->nodes[i].link_at = s->now + draw(s, 50);
    if (!survivor->alive)
        return;
    s->epoch++;
    decide(s, 0, survivor->self);
    decide(s, 1, survivor->self);
    learn(survivor);
}

static void revive_node(struct node *n)
{
    struct sim *s = n->sim;

    if (n->alive)
        return;
    n->alive = true;
    if (!other(n)->alive) {
        s->epoch++;
        decide(s, 0, n->self);
        decide(s, 1, n->self);
    }
    if (s->moving < 0)
        learn(n);
    start_daemon(n);
    say_view(other(n));
}

static void begin_move(struct sim *s, int home)
{
    struct node *giver = &s->nodes[s->served_by[home]], *taker = other(giver);

    if (s->moving >= 0 || !giver->restored || !in_sync(giver) || !taker->alive)
        return;
    s->epoch++;
    s->served_by[home] = taker->self;
    s->moving = home;
    s->released = false;
    learn(giver);
}

static void go_on_with_move(struct sim *s)
{
    struct node *taker;

    if (s->moving < 0)
        return;
    taker = &s->nodes[s->served_by[s->moving]];
    if (!s->released && in_sync(other(taker)))
        replica_commit(other(taker)->replica, on_released, other(taker));
    if (!s->released || !in_sync(other(taker)) || !in_sync(taker))
        return;
    if (draw(s, 2) && taker->epoch != s->epoch) {
        int server = s->served_by[s->moving];

        s->served_by[s->moving] = NOBODY;
        learn(taker);
        s->served_by[s->moving] = server;
        return;
    }
    s->moving = -1;
    learn(taker);
}

/* ---- work ---- */

static void change_item(struct node *n, int item, struct pending *p)
{
    struct sim *s = n->sim;
    static char value[70000];
    char key[32], user[16];
    uint64_t version = ++s->versions;
    bool delete = draw(s, 4) == 0 && held(n, item);

    memcpy(value, &version, sizeof(version));
    if (delete)
        replica_delete(n->replica, item_table(item), item_key(item, key));
    else
        assert_true(replica_put(n->replica, item_table(item),
                                &(struct replica_record){item_key(item, key),
                                                         item_user(item, user),
                                                         {value, s->value_bytes}}));
    s->changes[version].deleted = delete;
    if (delete)
        s->last_delete[item] = version;
    p->versions[item] = version;
}

static void work(struct node *n)
{
    struct sim *s = n->sim;
    struct pending *p;

    if (!n->replica || !n->restored)
        return;
    p = mem_new(sizeof(*p));
    p->node = n;
    p->peer_boot = other(n)->boot_id;
    for (uint64_t i = 1 + draw(s, 3); i > 0; i--) {
        int item = (int)draw(s, ITEMS);

        if (n->served_by[home_of_item(item)] == n->self)
            change_item(n, item, p);
    }
    pending_add(n, p);
    replica_commit(n->replica, on_commit, p);
}

/* ---- time ---- */

static void see_link(struct node *n)
{
    struct sim *s = n->sim;

    if (!n->replica || s->now < n->link_at)
        return;
    n->link_at = UINT64_MAX;
    n->link_seen = s->link_up;
    if (s->link_up)
        replica_link_up(n->replica, s->link_id, now_of(s));
    else
        replica_link_down(n->replica, now_of(s));
}

static void deliver(struct node *n)
{
    while (n->in && n->in->at <= n->sim->now) {
        struct sim_frame *frame = n->in;
        Muster__ReplicaFrame *message;

        n->in = frame->next;
        if (!n->in)
            n->in_tail = &n->in;
        message = muster__replica_frame__unpack(NULL, frame->len, frame->bytes);
        assert_non_null(message);
        if (n->replica)
            replica_receive(n->replica, message, now_of(n->sim));
        muster__replica_frame__free_unpacked(message, NULL);
        mem_free(frame);
    }
}

static void run_node(struct node *n)
{
    struct sim *s = n->sim;

    if (n->alive && !n->replica && s->now >= n->back_at)
        start_daemon(n);
    if (n->replica && n->view_at && s->now >= n->view_at) {
        say_view(n);
        n->view_at = 0;
    }
    see_link(n);
    deliver(n);
    if (!n->replica)
        return;
    if (mono_reached(now_of(s), replica_deadline(n->replica)))
        replica_tick(n->replica, now_of(s));
    replica_flush(n->replica, now_of(s));
    replica_check(n->replica);
}

static void pass(struct sim *s, uint64_t ms)
{
    for (uint64_t end = s->now + ms; s->now < end; s->now += 1 + draw(s, 4)) {
        run_node(&s->nodes[0]);
        run_node(&s->nodes[1]);
    }
}

/* ---- faults ---- */

static void change_link(struct sim *s, bool up)
{
    if (s->link_up == up)
        return;
    s->link_up = up && s->nodes[0].alive && s->nodes[1].alive;
    s->link_id = draw(s, 1u << 30) + 1;
    for (int i = 0; i < 2; i++) {
        s->nodes[i].link_at = s->now + draw(s, 60);
        if (!up && draw(s, 2))
            drop_frames(&s->nodes[i]);
    }
}

/* The daemon's own connection to its router breaks and comes back; the peer does not see it. */
static void flap_locally(struct node *n)
{
    if (!n->replica || !n->sim->link_up)
        return;
    drop_frames(n);
    replica_link_down(n->replica, now_of(n->sim));
    n->link_at = n->sim->now + draw(n->sim, 40);
}

static void crash_daemon(struct node *n)
{
    stop_daemon(n);
    n->back_at = n->sim->now + draw(n->sim, 400);
}

static void something_happens(struct sim *s)
{
    struct node *n = &s->nodes[draw(s, 2)];

    switch (draw(s, 40)) {
    case 0:
    case 1:
        change_link(s, false);
        break;
    case 2:
    case 3:
    case 4:
    case 5:
        change_link(s, true);
        break;
    case 6:
        flap_locally(n);
        break;
    case 7:
        crash_daemon(n);
        break;
    case 8:
        kill_node(n);
        break;
    case 9:
    case 10:
        revive_node(n);
        break;
    case 11:
    case 12:
        begin_move(s, (int)draw(s, 2));
        break;
    case 13:
    case 14:
    case 15:
        go_on_with_move(s);
        break;
    default:
        work(n);
    }
}

/* ---- the end ---- */

static void expect_equal(struct sim *s, const uint64_t before[ITEMS])
{
    for (int i = 0; i < ITEMS; i++) {
        struct node *owner = &s->nodes[s->served_by[home_of_item(i)]];

        if (held(&s->nodes[0], i) != held(&s->nodes[1], i))
            FAIL(s, "item %d of home %d: node 0 has %d, node 1 has %d, owner is %d", i,
                 home_of_item(i), (int)held(&s->nodes[0], i), (int)held(&s->nodes[1], i),
                 owner->self);
        if (held(owner, i) != before[i])
            FAIL(s, "item %d: its owner had %d and now %d", i, (int)before[i], (int)held(owner, i));
        if (s->safe[i] && !knows(owner, i, s->safe[i], s->safe_deleted[i]))
            FAIL(s, "item %d: %d was committed, %d is left", i, (int)s->safe[i],
                 (int)held(owner, i));
    }
}

static void settle(struct sim *s)
{
    uint64_t before[ITEMS];

    revive_node(&s->nodes[0]);
    revive_node(&s->nodes[1]);
    s->nodes[0].back_at = s->nodes[1].back_at = 0;
    change_link(s, true);
    pass(s, 2 * RESTORE_TIMEOUT_MS);
    for (int tries = 0; s->moving >= 0 && tries < 200; tries++) {
        go_on_with_move(s);
        pass(s, 50);
    }
    if (s->moving >= 0)
        FAIL(s, "home %d is still on its way", s->moving);
    for (int i = 0; i < ITEMS; i++)
        before[i] = held(&s->nodes[s->served_by[home_of_item(i)]], i);
    pass(s, 4000);
    for (int tries = 0; tries < 20; tries++) { /* a frame may have been refused or late just now */
        pass(s, 1000);
        if (in_sync(&s->nodes[0]) && in_sync(&s->nodes[1]))
            break;
    }
    for (int i = 0; i < 2; i++)
        if (!in_sync(&s->nodes[i]))
            FAIL(s, "node %d is in state %d", i, (int)replica_state(s->nodes[i].replica));
    expect_equal(s, before);
}

static void run_seed(uint64_t seed, uint64_t *commits, uint64_t *restores)
{
    struct sim *s = mem_new(sizeof(*s));

    s->seed = seed;
    s->random = seed * 0x9E3779B97F4A7C15 | 1;
    s->moving = -1;
    s->epoch = 1;
    s->value_bytes = seed % 32 == 0 ? 65000 : 8;
    for (int i = 0; i < 2; i++) {
        s->served_by[i] = i;
        s->nodes[i] = (struct node){.sim = s, .self = i, .alive = true, .link_at = UINT64_MAX};
        s->nodes[i].in_tail = &s->nodes[i].in;
    }
    for (int i = 0; i < 2; i++) {
        learn(&s->nodes[i]);
        start_daemon(&s->nodes[i]);
    }
    change_link(s, true);
    for (int i = 0; i < STEPS; i++) {
        something_happens(s);
        pass(s, draw(s, 8) == 0 ? draw(s, 800) : draw(s, 20));
    }
    settle(s);
    *commits += s->in_sync_commits;
    *restores += s->restores;
    for (int i = 0; i < 2; i++) {
        stop_daemon(&s->nodes[i]);
        drop_frames(&s->nodes[i]);
    }
    mem_free(s);
}

static uint64_t first_seed = 1, seeds = 1500;

static void every_seed(void **state)
{
    uint64_t commits = 0, restores = 0;

    (void)state;
    for (uint64_t seed = first_seed; seed < first_seed + seeds; seed++)
        run_seed(seed, &commits, &restores);
    print_message("%llu changes committed in both memories, %llu restores\n",
                  (unsigned long long)commits, (unsigned long long)restores);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_seed),
    };

    if (argc == 3) {
        first_seed = strtoull(argv[1], NULL, 10);
        seeds = strtoull(argv[2], NULL, 10);
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
