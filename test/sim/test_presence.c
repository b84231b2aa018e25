// SPDX-License-Identifier: Apache-2.0
/*
 * Two presence engines with their replicas, phones that publish, watchers that subscribe, and nodes
 * that die and come back at any moment.
 *
 * Whatever happens, as long as one of the two memories lives on: a publication and a subscription
 * that were answered with 2xx are there at the end, unless their owner ended them or they expired;
 * NOTIFYs within a dialog carry ever higher numbers, whichever node sends them; and once it is
 * quiet, the last that every watcher was told is what the presentity is.
 *
 * test_presence [FIRST_SEED COUNT]; a failure names its seed.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/mem.h"
#include "presenced/engine.h"

enum { NODES = 2, PHONES = 4, WATCHERS = 6, STEPS = 250, FRAMES_MAX = 4096, NOTIFIES_MAX = 256 };

/* Phone i publishes for user i % 2. */
struct phone {
    char etag[64]; /* as last answered; empty: nothing is published */
    bool asked;    /* a request is out: what it did is not known */
    bool asked_end;
    uint64_t request;
};

/* A dialog; watcher i watches user i % 2. */
struct watcher {
    unsigned dialog; /* which one; 0: none */
    uint32_t cseq, remote_cseq;
    bool subscribed; /* answered with 2xx */
    bool asked;
    uint64_t request;
    bool told_open, told;
};

struct notified {
    uint64_t request, answer_at;
    uint32_t code;
};

struct node {
    struct sim *sim;
    uint32_t number;
    struct engine *engine; /* NULL: dead */
    struct replica *replica;
    struct params params;
    struct metrics metrics;
    uint8_t *frames[FRAMES_MAX]; /* from it, on their way */
    size_t sizes[FRAMES_MAX], frame_count;
    struct notified notifies[NOTIFIES_MAX];
    size_t notify_count;
    uint64_t view_done;
};

struct sim {
    struct node nodes[NODES];
    struct phone phones[PHONES];
    struct watcher watchers[WATCHERS];
    struct directory *directory;
    struct view view; /* as it is decided */
    bool moving;      /* the giver knows it, the taker does not yet */
    uint32_t giver;
    struct engine_now now;
    uint64_t seed, random, requests;
    unsigned dialogs;
    bool linked;
    uint64_t links;
    bool quiet;
    unsigned takeovers, moves, notifies;
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
                      (unsigned long long)(s)->now.mono.ms);                                       \
        fail_msg(__VA_ARGS__);                                                                     \
    } while (0)

static const char *const users[] = {"alice@x", "bob@x"};

static struct node *owner_of(struct sim *s, unsigned user)
{
    struct node *n = &s->nodes[s->view.nodes[user].served_by - 1];

    return n->engine ? n : NULL;
}

/* ---- what the engines say ---- */

static void on_publish_reply(void *ctx, uint64_t request, const Muster__PublishReply *reply)
{
    struct sim *s = ((struct node *)ctx)->sim;

    for (int i = 0; i < PHONES; i++) {
        struct phone *p = &s->phones[i];

        if (!p->asked || p->request != request)
            continue;
        p->asked = false;
        if (reply->code == 412)
            FAIL(s, "phone %d: its entity tag %s is not known", i, p->etag);
        if (reply->code != 200)
            continue;
        (void)snprintf(p->etag, sizeof(p->etag), "%s", p->asked_end ? "" : reply->etag);
    }
}

static void on_subscribe_reply(void *ctx, uint64_t request, const Muster__SubscribeReply *reply)
{
    struct sim *s = ((struct node *)ctx)->sim;

    for (int i = 0; i < WATCHERS; i++) {
        struct watcher *w = &s->watchers[i];

        if (!w->asked || w->request != request)
            continue;
        w->asked = false;
        if (reply->code == 481 && w->subscribed)
            FAIL(s, "watcher %d: its subscription is gone", i);
        w->subscribed = reply->code == 200 || (w->subscribed && reply->code != 481);
        if (!w->subscribed)
            w->dialog = 0;
    }
}

/* A watcher gets a NOTIFY. */
static void hear(struct sim *s, struct watcher *w, const Muster__Notify *notify)
{
    if (notify->dialog->local_cseq <= w->cseq)
        FAIL(s, "dialog %u: NOTIFY %u after %u", w->dialog, notify->dialog->local_cseq, w->cseq);
    w->cseq = notify->dialog->local_cseq;
    w->told = true;
    w->told_open = memmem(notify->document.data, notify->document.len, ">open<", 6) != NULL;
}

static bool on_notify(void *ctx, uint64_t request, const Muster__Notify *notify)
{
    struct node *n = ctx;
    struct sim *s = n->sim;
    unsigned dialog = (unsigned)strtoul(notify->dialog->call_id, NULL, 10);
    struct notified *to = &n->notifies[n->notify_count];

    if (n->notify_count == NOTIFIES_MAX || (!s->quiet && draw(s, 50) == 0))
        return false;
    n->notify_count++;
    s->notifies++;
    *to = (struct notified){request, s->now.mono.ms + draw(s, 60), 481};
    for (int i = 0; i < WATCHERS; i++) {
        struct watcher *w = &s->watchers[i];

        if (w->dialog != dialog)
            continue;
        to->code = s->quiet || draw(s, 20) ? 200 : 408;
        if (to->code == 200)
            hear(s, w, notify);
    }
    return true;
}

static bool on_availability(void *ctx, const Muster__Availability *availability)
{
    (void)ctx;
    (void)availability;
    return true;
}

static void on_presence_sync(void *ctx)
{
    (void)ctx;
}

static void on_view_done(void *ctx, uint64_t version)
{
    ((struct node *)ctx)->view_done = version;
}

static void on_random(void *ctx, void *ret_bytes, size_t len)
{
    uint8_t *bytes = ret_bytes;

    for (size_t i = 0; i < len; i++)
        bytes[i] = (uint8_t)draw(((struct node *)ctx)->sim, 256);
}

static const struct engine_ops ops = {
    on_publish_reply, on_subscribe_reply, on_notify, on_availability,
    on_presence_sync, on_view_done,       on_random,
};

static bool on_frame(void *ctx, const Muster__ReplicaFrame *frame)
{
    struct node *n = ctx;
    size_t size = muster__replica_frame__get_packed_size(frame);

    if (n->frame_count == FRAMES_MAX)
        return false;
    n->frames[n->frame_count] = mem_new(size);
    muster__replica_frame__pack(frame, n->frames[n->frame_count]);
    n->sizes[n->frame_count++] = size;
    return true;
}

/* ---- nodes ---- */

static bool is_mine(void *ctx, struct str user)
{
    return engine_is_mine(((struct node *)ctx)->engine, user);
}

static bool is_peers(void *ctx, struct str user)
{
    return engine_is_peers(((struct node *)ctx)->engine, user);
}

static void on_restored(void *ctx)
{
    engine_on_restored(((struct node *)ctx)->engine);
}

static bool in_sync(const struct node *n)
{
    return n->engine && replica_state(n->replica) == MUSTER__REPLICA_STATE__REPLICA_IN_SYNC;
}

static void say_view(struct node *n)
{
    struct view view = n->sim->view;

    if (!n->engine)
        return;
    view.self = n->number;
    engine_on_view(n->engine, &view, &n->sim->now);
    replica_view(n->replica, view.epoch, n->sim->nodes[2 - n->number].engine != NULL,
                 n->sim->now.mono);
}

static void link_up(struct sim *s)
{
    if (s->linked || !s->nodes[0].engine || !s->nodes[1].engine)
        return;
    s->linked = true;
    s->links++;
    for (int i = 0; i < NODES; i++)
        replica_link_up(s->nodes[i].replica, s->links, s->now.mono);
}

static void link_down(struct sim *s)
{
    s->linked = false;
    for (int i = 0; i < NODES; i++) {
        struct node *n = &s->nodes[i];

        for (size_t f = 0; f < n->frame_count; f++)
            mem_free(n->frames[f]);
        n->frame_count = 0;
        if (n->engine)
            replica_link_down(n->replica, s->now.mono);
    }
}

static void boot(struct node *n)
{
    struct sim *s = n->sim;
    const struct engine_config config = {&ops, n, s->directory, &n->params, &n->metrics};
    const struct replica_config replica = {
        .service = 2,
        .boot_id = draw(s, 1u << 30) << 20 | 1,
        .commit_timeout_ms = 200,
        .restore_timeout_ms = 20000,
        .bytes_max = 1 << 22,
        .is_mine = is_mine,
        .is_peers = is_peers,
        .send = on_frame,
        .on_restored = on_restored,
        .ctx = n,
    };

    params_defaults(&n->params);
    n->engine = engine_new(&config);
    n->replica = replica_new(&replica);
    engine_set_replica(n->engine, n->replica);
    n->notify_count = 0;
    n->view_done = 0;
    engine_on_proxyd_link(n->engine, true, &s->now);
    engine_on_routerd_link(n->engine, true, &s->now);
    say_view(n);
}

static void bury(struct node *n)
{
    engine_free(n->engine);
    replica_free(n->replica);
    n->engine = NULL;
    n->replica = NULL;
}

/* Who waited for an answer will never know what became of the request, and starts anew. */
static void forget_requests(struct sim *s, uint32_t number)
{
    for (unsigned i = 0; i < PHONES; i++)
        if (s->phones[i].asked && s->view.nodes[i % 2].served_by == number)
            s->phones[i] = (struct phone){.etag = ""};
    for (unsigned i = 0; i < WATCHERS; i++)
        if (s->watchers[i].asked && s->view.nodes[i % 2].served_by == number)
            s->watchers[i] = (struct watcher){.dialog = 0};
}

/* Only one memory may go at a time: what is not in both yet is not promised to survive. */
static void kill_node(struct node *n)
{
    struct sim *s = n->sim;
    struct node *survivor = &s->nodes[2 - n->number];

    if (!in_sync(n) || !in_sync(survivor))
        return;
    forget_requests(s, n->number);
    link_down(s);
    bury(n);
    s->moving = false;
    s->view.version++;
    s->view.epoch++;
    s->view.nodes[0].served_by = s->view.nodes[1].served_by = survivor->number;
    say_view(survivor);
    s->takeovers++;
}

/* The daemon alone crashes and is started again at once. */
static void crash_daemon(struct node *n)
{
    struct sim *s = n->sim;

    if (!in_sync(n) || !in_sync(&s->nodes[2 - n->number]) || s->moving)
        return;
    forget_requests(s, n->number);
    link_down(s);
    bury(n);
    boot(n);
    link_up(s);
}

static void begin_move(struct sim *s, unsigned user)
{
    struct node *giver = owner_of(s, user);

    if (s->moving || !giver || !in_sync(giver) || !in_sync(&s->nodes[2 - giver->number]))
        return;
    s->view.version++;
    s->view.epoch++;
    s->view.nodes[user].served_by = 3 - giver->number;
    s->moving = true;
    s->giver = giver->number;
    say_view(giver);
}

static void go_on_with_move(struct sim *s)
{
    struct node *giver = &s->nodes[s->giver - (s->giver > 0)];

    if (!s->moving || giver->view_done != s->view.version || !in_sync(giver))
        return;
    s->moving = false;
    s->moves++;
    say_view(&s->nodes[2 - giver->number]);
}

/* ---- what clients do ---- */

static void use_phone(struct sim *s, unsigned i)
{
    struct phone *p = &s->phones[i];
    struct node *n = owner_of(s, i % 2);
    Muster__PidfTuple tuple = MUSTER__PIDF_TUPLE__INIT, *tuples[] = {&tuple};
    Muster__Publish m = MUSTER__PUBLISH__INIT;
    Muster__Pidf pidf = MUSTER__PIDF__INIT;
    bool is_refresh = *p->etag && (s->quiet || draw(s, 3) == 0);

    if (!n || p->asked)
        return;
    p->asked = true;
    p->asked_end = *p->etag && !is_refresh && draw(s, 4) == 0;
    p->request = ++s->requests;
    m.presentity = (char *)users[i % 2];
    m.etag = p->etag;
    m.has_expires = p->asked_end;
    tuple.id = (char *)"t";
    tuple.open = draw(s, 2);
    pidf.tuples = tuples;
    pidf.n_tuples = 1;
    engine_on_publish(n->engine, p->request, &m, is_refresh || p->asked_end ? NULL : &pidf,
                      &s->now);
}

static void use_watcher(struct sim *s, unsigned i)
{
    struct watcher *w = &s->watchers[i];
    struct node *n = owner_of(s, i % 2);
    Muster__Subscribe m = MUSTER__SUBSCRIBE__INIT;
    Muster__Dialog dialog = MUSTER__DIALOG__INIT;
    char call_id[16];

    if (!n || w->asked)
        return;
    if (!w->dialog)
        *w = (struct watcher){.dialog = ++s->dialogs};
    (void)snprintf(call_id, sizeof(call_id), "%u", w->dialog);
    dialog.call_id = call_id;
    dialog.remote_cseq = ++w->remote_cseq;
    m.initial = !w->subscribed;
    m.presentity = (char *)users[i % 2];
    m.watcher = (char *)users[1 - i % 2];
    m.dialog = &dialog;
    w->asked = true;
    w->request = ++s->requests;
    engine_on_subscribe(n->engine, w->request, &m, &s->now);
}

/* ---- time ---- */

static void deliver(struct node *n)
{
    struct node *peer = &n->sim->nodes[2 - n->number];
    size_t count = n->frame_count;

    n->frame_count = 0;
    for (size_t i = 0; i < count; i++) {
        Muster__ReplicaFrame *frame =
            muster__replica_frame__unpack(NULL, n->sizes[i], n->frames[i]);

        assert_non_null(frame);
        if (n->sim->linked && peer->engine)
            (void)replica_receive(peer->replica, frame, n->sim->now.mono);
        muster__replica_frame__free_unpacked(frame, NULL);
        mem_free(n->frames[i]);
    }
}

static void answer_notifies(struct node *n)
{
    size_t left = 0;

    for (size_t i = 0; i < n->notify_count; i++) {
        struct notified it = n->notifies[i];

        if (it.answer_at > n->sim->now.mono.ms)
            n->notifies[left++] = it;
        else
            engine_on_notify_reply(n->engine, it.request, it.code, &n->sim->now);
    }
    n->notify_count = left;
}

static void run_node(struct node *n)
{
    struct sim *s = n->sim;

    if (!n->engine)
        return;
    answer_notifies(n);
    replica_tick(n->replica, s->now.mono);
    engine_tick(n->engine, &s->now);
    replica_flush(n->replica, s->now.mono);
    engine_check(n->engine);
    replica_check(n->replica);
}

static void pass(struct sim *s, uint64_t ms)
{
    for (uint64_t end = s->now.mono.ms + ms; s->now.mono.ms < end;) {
        uint64_t step = 1 + draw(s, 5);

        s->now.mono.ms += step;
        s->now.unix_ms += step;
        for (int i = 0; i < NODES; i++)
            run_node(&s->nodes[i]);
        for (int i = 0; i < NODES; i++)
            deliver(&s->nodes[i]);
    }
}

static void something_happens(struct sim *s)
{
    struct node *n = &s->nodes[draw(s, NODES)];

    switch (draw(s, 24)) {
    case 0:
        kill_node(n);
        break;
    case 1:
        crash_daemon(n);
        break;
    case 2:
    case 3:
        if (!n->engine)
            boot(n);
        link_up(s);
        break;
    case 4:
        link_down(s);
        break;
    case 5:
    case 6:
        link_up(s);
        break;
    case 7:
        begin_move(s, (unsigned)draw(s, 2));
        break;
    case 8:
    case 9:
    case 10:
        go_on_with_move(s);
        break;
    case 11:
        if (n->engine)
            engine_on_presence_sync(n->engine, &s->now);
        break;
    case 12:
    case 13:
    case 14:
    case 15:
    case 16:
        use_phone(s, (unsigned)draw(s, PHONES));
        break;
    default:
        use_watcher(s, (unsigned)draw(s, WATCHERS));
    }
}

/* ---- the end ---- */

static void settle(struct sim *s)
{
    s->quiet = true;
    for (int i = 0; i < NODES; i++)
        if (!s->nodes[i].engine)
            boot(&s->nodes[i]);
    link_up(s);
    for (int i = 0; i < 100; i++) {
        pass(s, 100);
        go_on_with_move(s);
    }
    if (s->moving || !in_sync(&s->nodes[0]) || !in_sync(&s->nodes[1]))
        FAIL(s, "the group did not settle");
    for (unsigned i = 0; i < PHONES; i++)
        if (*s->phones[i].etag)
            use_phone(s, i);
    for (unsigned i = 0; i < WATCHERS; i++)
        use_watcher(s, i);
    pass(s, 80000); /* every retry has had its turn */
}

static void expect_truth(struct sim *s)
{
    for (unsigned i = 0; i < WATCHERS; i++) {
        const struct watcher *w = &s->watchers[i];
        struct sim truth = {.quiet = true, .watchers = {{.dialog = 1}}};
        struct node *n = owner_of(s, i % 2);
        Muster__Subscribe m = MUSTER__SUBSCRIBE__INIT;
        Muster__Dialog dialog = MUSTER__DIALOG__INIT;

        if (!w->told || !w->subscribed)
            FAIL(s, "watcher %u was told nothing", i);
        dialog.call_id = (char *)"1";
        dialog.local_tag = (char *)"fetch";
        m.initial = m.has_expires = true; /* a fetch, heard by somebody else */
        m.presentity = (char *)users[i % 2];
        m.watcher = (char *)users[1 - i % 2];
        m.dialog = &dialog;
        n->sim = &truth;
        truth.now = s->now;
        engine_on_subscribe(n->engine, ++s->requests, &m, &s->now);
        replica_flush(n->replica, s->now.mono);
        n->sim = s;
        pass(s, 100);
        if (!truth.watchers[0].told || truth.watchers[0].told_open != w->told_open)
            FAIL(s, "watcher %u was told %s, which is not so", i, w->told_open ? "open" : "closed");
    }
}

static void run_seed(uint64_t seed, struct sim *total)
{
    struct sim *s = mem_new(sizeof(*s));

    s->seed = seed;
    s->random = seed * 0x9E3779B97F4A7C15 | 1;
    s->now = (struct engine_now){{1000}, 1700000000000};
    s->directory = directory_new();
    s->view = (struct view){.version = 1, .epoch = 1, .count = NODES};
    for (uint32_t i = 0; i < NODES; i++) {
        directory_put(s->directory,
                      &(struct user){.aor = users[i], .display_name = "", .home = i + 1});
        s->view.nodes[i] = (struct view_node){.node = i + 1, .group = 1, .served_by = i + 1};
        s->nodes[i].sim = s;
        s->nodes[i].number = i + 1;
    }
    for (int i = 0; i < NODES; i++)
        boot(&s->nodes[i]);
    link_up(s);
    pass(s, 1000);
    for (int i = 0; i < STEPS; i++) {
        something_happens(s);
        pass(s, draw(s, 6) == 0 ? draw(s, 1500) : draw(s, 40));
    }
    settle(s);
    expect_truth(s);
    total->takeovers += s->takeovers;
    total->moves += s->moves;
    total->notifies += s->notifies;
    link_down(s);
    for (int i = 0; i < NODES; i++)
        bury(&s->nodes[i]);
    directory_free(s->directory);
    mem_free(s);
}

static uint64_t first_seed = 1, seeds = 1000;

static void every_seed(void **state)
{
    static struct sim total;

    (void)state;
    for (uint64_t seed = first_seed; seed < first_seed + seeds; seed++)
        run_seed(seed, &total);
    print_message("%u takeovers, %u moves, %u NOTIFYs\n", total.takeovers, total.moves,
                  total.notifies);
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
