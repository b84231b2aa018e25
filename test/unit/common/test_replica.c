// SPDX-License-Identifier: Apache-2.0
/*
 * A replica and the peer it talks to, told as stories. Two replicas are joined by a wire that holds
 * frames until the story lets them pass; test/sim/test_replica.c is for everything that isn't told.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "common/mem.h"
#include "common/replica.h"
#include "common/util.h"

enum { TABLE = 1, WIRE_MAX = 4096 };

struct side {
    struct replica *replica;
    struct side *peer;
    const char *own; /* users whose name begins so are ours */
    uint8_t *wire[WIRE_MAX];
    size_t wire_len[WIRE_MAX], wire_first, wire_count; /* frames for us */
    bool wire_broken;
    int committed, restored;
    Muster__ReplicaState told;
    size_t ops_frames, op_records, acks;
};

struct pair {
    struct side a, b;
    mono_t now;
};

static bool is_mine(void *ctx, struct str user)
{
    struct side *s = ctx;

    return s->own && str_starts(user, str_of(s->own));
}

static bool is_peers(void *ctx, struct str user)
{
    struct side *s = ctx;

    return is_mine(s->peer, user);
}

static bool send_frame(void *ctx, const Muster__ReplicaFrame *frame)
{
    struct side *s = ctx, *to = s->peer;
    size_t len = muster__replica_frame__get_packed_size(frame);

    if (s->wire_broken)
        return false;
    if (frame->body_case == MUSTER__REPLICA_FRAME__BODY_OPS) {
        s->ops_frames++;
        s->op_records += frame->ops->n_records;
    }
    s->acks += frame->body_case == MUSTER__REPLICA_FRAME__BODY_ACK;
    assert_true(len < 1 << 20);
    assert_true(to->wire_count < WIRE_MAX);
    to->wire[to->wire_count] = mem_new(len + 1);
    muster__replica_frame__pack(frame, to->wire[to->wire_count]);
    to->wire_len[to->wire_count++] = len;
    return true;
}

static void on_state(void *ctx, Muster__ReplicaState state)
{
    struct side *s = ctx;

    s->told = state;
}

static void on_restored(void *ctx)
{
    struct side *s = ctx;

    s->restored++;
}

static void on_commit(void *ctx)
{
    struct side *s = ctx;

    s->committed++;
}

static void side_start(struct side *s, uint64_t boot_id, size_t bytes_max)
{
    struct replica_config config = {
        .service = 2,
        .boot_id = boot_id,
        .commit_timeout_ms = 200,
        .restore_timeout_ms = 5000,
        .bytes_max = bytes_max,
        .is_mine = is_mine,
        .is_peers = is_peers,
        .send = send_frame,
        .on_state = on_state,
        .on_restored = on_restored,
        .ctx = s,
    };

    s->replica = replica_new(&config);
    s->told = MUSTER__REPLICA_STATE__REPLICA_FRESH;
}

static void side_stop(struct side *s)
{
    replica_free(s->replica);
    s->replica = NULL;
    while (s->wire_first < s->wire_count)
        mem_free(s->wire[s->wire_first++]);
    s->wire_first = s->wire_count = 0;
}

static void pair_start(struct pair *p)
{
    *p = (struct pair){.a = {.own = "a"}, .b = {.own = "b"}, .now = {1000}};
    p->a.peer = &p->b;
    p->b.peer = &p->a;
    side_start(&p->a, 1000, 1 << 24);
    side_start(&p->b, 2000, 1 << 24);
}

static void pair_stop(struct pair *p)
{
    side_stop(&p->a);
    side_stop(&p->b);
}

static void flush(struct pair *p, struct side *s)
{
    replica_flush(s->replica, p->now);
    replica_check(s->replica);
}

/* One frame reaches `s`; what receive says. */
static int pass_one(struct pair *p, struct side *s)
{
    size_t i = s->wire_first++;
    Muster__ReplicaFrame *frame = muster__replica_frame__unpack(NULL, s->wire_len[i], s->wire[i]);
    int r;

    assert_non_null(frame);
    r = replica_receive(s->replica, frame, p->now);
    muster__replica_frame__free_unpacked(frame, NULL);
    mem_free(s->wire[i]);
    if (s->wire_first == s->wire_count)
        s->wire_first = s->wire_count = 0;
    flush(p, s);
    return r;
}

/* Until nothing is said any more. */
static void pass_all(struct pair *p)
{
    for (bool more = true; more;) {
        flush(p, &p->a);
        flush(p, &p->b);
        more = p->a.wire_count || p->b.wire_count || replica_pending(p->a.replica) ||
               replica_pending(p->b.replica);
        while (p->a.wire_count)
            pass_one(p, &p->a);
        while (p->b.wire_count)
            pass_one(p, &p->b);
    }
}

static void pass_time(struct pair *p, uint64_t ms)
{
    p->now = mono_after(p->now, ms);
    replica_tick(p->a.replica, p->now);
    replica_tick(p->b.replica, p->now);
    flush(p, &p->a);
    flush(p, &p->b);
}

static void join(struct pair *p, uint64_t link_id)
{
    replica_link_up(p->a.replica, link_id, p->now);
    replica_link_up(p->b.replica, link_id, p->now);
    pass_all(p);
}

static void part(struct pair *p)
{
    replica_link_down(p->a.replica, p->now);
    replica_link_down(p->b.replica, p->now);
    for (struct side *s = &p->a;; s = &p->b) {
        while (s->wire_first < s->wire_count)
            mem_free(s->wire[s->wire_first++]);
        s->wire_first = s->wire_count = 0;
        flush(p, s);
        if (s == &p->b)
            break;
    }
}

/* Both have come up, and hold nothing. */
static void come_up(struct pair *p)
{
    pair_start(p);
    replica_view(p->a.replica, 1, true, p->now);
    replica_view(p->b.replica, 1, true, p->now);
    join(p, 7);
    assert_int_equal(replica_state(p->a.replica), MUSTER__REPLICA_STATE__REPLICA_IN_SYNC);
    assert_int_equal(replica_state(p->b.replica), MUSTER__REPLICA_STATE__REPLICA_IN_SYNC);
}

static bool put(struct side *s, const char *key, const char *value)
{
    struct replica_record record = {str_of(key), str_of(key), str_of(value)};

    return replica_put(s->replica, TABLE, &record);
}

static void expect(struct side *s, const char *key, const char *value)
{
    struct replica_record record;
    bool found = replica_find(s->replica, TABLE, str_of(key), &record);

    if (found != (value != NULL) || (found && !str_eq_c(record.value, value)))
        fail_msg("%s: expected %s, there is %.*s", key, value ? value : "nothing",
                 found ? (int)record.value.len : 7, found ? record.value.p : "nothing");
    if (found)
        assert_true(str_eq_c(record.user, key));
}

/* ---- stories ---- */

static void both_fresh_become_one(void **state)
{
    struct pair p;

    (void)state;
    come_up(&p);
    assert_int_equal(p.a.restored, 1);
    assert_int_equal(p.b.restored, 1);
    assert_int_equal(p.a.told, MUSTER__REPLICA_STATE__REPLICA_IN_SYNC);
    pair_stop(&p);
}

static void a_commit_waits_for_the_peer(void **state)
{
    struct pair p;

    (void)state;
    come_up(&p);
    assert_true(put(&p.a, "alice", "1"));
    replica_commit(p.a.replica, on_commit, &p.a);
    assert_int_equal(p.a.committed, 0); /* never from within */
    flush(&p, &p.a);
    assert_int_equal(p.a.committed, 0);
    pass_one(&p, &p.b);
    expect(&p.b, "alice", "1");
    assert_int_equal(p.a.committed, 0);
    pass_one(&p, &p.a);
    assert_int_equal(p.a.committed, 1);

    replica_commit(p.a.replica, on_commit, &p.a); /* nothing new to wait for */
    assert_int_equal(p.a.committed, 1);
    flush(&p, &p.a);
    assert_int_equal(p.a.committed, 2);
    pair_stop(&p);
}

static void changes_of_a_turn_are_one_frame_and_one_ack(void **state)
{
    struct pair p;

    (void)state;
    come_up(&p);
    p.a.ops_frames = p.b.acks = 0;
    for (int i = 0; i < 100; i++) {
        assert_true(put(&p.a, "alice", i % 2 ? "odd" : "even"));
        replica_commit(p.a.replica, on_commit, &p.a);
    }
    pass_all(&p);
    assert_int_equal(p.a.committed, 100);
    assert_int_equal(p.a.ops_frames, 1);
    assert_int_equal(p.b.acks, 1);
    expect(&p.b, "alice", "odd");
    replica_delete(p.a.replica, TABLE, STR("alice"));
    pass_all(&p);
    expect(&p.b, "alice", NULL);
    pair_stop(&p);
}

static void alone_nothing_waits(void **state)
{
    struct pair p;

    (void)state;
    pair_start(&p);
    flush(&p, &p.a);
    assert_int_equal(p.a.restored, 0);
    replica_view(p.a.replica, 1, false, p.now);
    flush(&p, &p.a);
    assert_int_equal(p.a.restored, 1);
    assert_int_equal(p.a.told, MUSTER__REPLICA_STATE__REPLICA_ALONE);
    assert_true(put(&p.a, "alice", "1"));
    replica_commit(p.a.replica, on_commit, &p.a);
    flush(&p, &p.a);
    assert_int_equal(p.a.committed, 1);
    pair_stop(&p);
}

static void a_peer_that_does_not_come_is_waited_for_until_the_timeout(void **state)
{
    struct pair p;

    (void)state;
    pair_start(&p);
    replica_view(p.a.replica, 1, true, p.now);
    pass_time(&p, 4999);
    assert_int_equal(p.a.restored, 0);
    assert_int_equal(replica_deadline(p.a.replica).ms, 6000);
    pass_time(&p, 1);
    assert_int_equal(p.a.restored, 1);
    pair_stop(&p);
}

static void a_silent_peer_is_left_behind_and_caught_up_with(void **state)
{
    struct pair p;

    (void)state;
    come_up(&p);
    assert_true(put(&p.a, "alice", "1"));
    replica_commit(p.a.replica, on_commit, &p.a);
    pass_time(&p, 0);
    pass_time(&p, 199);
    assert_int_equal(p.a.committed, 0);
    pass_time(&p, 1);
    assert_int_equal(p.a.committed, 1);
    assert_int_equal(p.a.told, MUSTER__REPLICA_STATE__REPLICA_ALONE);
    assert_true(put(&p.a, "anna", "2")); /* nobody is told now */

    pass_all(&p); /* the peer reads what lay there, and answers */
    expect(&p.b, "alice", "1");
    expect(&p.b, "anna", "2");
    assert_int_equal(p.a.told, MUSTER__REPLICA_STATE__REPLICA_IN_SYNC);
    pair_stop(&p);
}

static void a_crashed_daemon_gets_everything_back(void **state)
{
    struct pair p;

    (void)state;
    come_up(&p);
    assert_true(put(&p.a, "alice", "1"));
    assert_true(put(&p.b, "bob", "2"));
    pass_all(&p);
    side_stop(&p.a);
    side_start(&p.a, 3000, 1 << 24);
    p.a.restored = 0;
    replica_view(p.a.replica, 1, true, p.now);
    replica_link_up(p.a.replica, 7, p.now); /* the peer saw nothing of it */
    pass_all(&p);
    assert_int_equal(p.a.restored, 1);
    expect(&p.a, "alice", "1");
    expect(&p.a, "bob", "2");
    expect(&p.b, "alice", "1");
    assert_int_equal(p.a.told, MUSTER__REPLICA_STATE__REPLICA_IN_SYNC);
    assert_int_equal(p.b.told, MUSTER__REPLICA_STATE__REPLICA_IN_SYNC);
    pair_stop(&p);
}

static void what_was_deleted_meanwhile_goes_and_what_is_ours_stays(void **state)
{
    struct pair p;

    (void)state;
    come_up(&p);
    assert_true(put(&p.a, "alice", "1"));
    assert_true(put(&p.a, "anna", "1"));
    assert_true(put(&p.b, "bob", "1"));
    pass_all(&p);
    part(&p);
    replica_delete(p.a.replica, TABLE, STR("alice"));
    assert_true(put(&p.a, "anna", "2"));
    assert_true(put(&p.b, "bob", "2"));
    join(&p, 8);
    for (struct side *s = &p.a;; s = &p.b) {
        expect(s, "alice", NULL);
        expect(s, "anna", "2");
        expect(s, "bob", "2");
        if (s == &p.b)
            break;
    }
    pair_stop(&p);
}

static void the_peer_cannot_write_what_is_ours(void **state)
{
    struct pair p;

    (void)state;
    come_up(&p);
    assert_true(put(&p.a, "alice", "mine"));
    pass_all(&p);
    assert_true(put(&p.b, "alice", "stolen"));
    assert_true(put(&p.b, "bob", "his own"));
    flush(&p, &p.b);
    assert_int_equal(pass_one(&p, &p.a), REPLICA_E_REFUSED);
    expect(&p.a, "alice", "mine");
    expect(&p.a, "bob", "his own");
    pair_stop(&p);
}

/* A planned move during which the link breaks: for a moment nobody serves alice. */
static void a_record_that_nobody_serves_is_not_lost(void **state)
{
    struct pair p;

    (void)state;
    come_up(&p);
    assert_true(put(&p.a, "alice", "1"));
    pass_all(&p);
    p.a.own = NULL;
    replica_view(p.a.replica, 2, true, p.now);
    part(&p);
    join(&p, 8);
    expect(&p.a, "alice", "1");
    expect(&p.b, "alice", "1");
    p.b.own = ""; /* everybody */
    replica_view(p.b.replica, 2, true, p.now);
    pass_all(&p);
    assert_true(put(&p.b, "alice", "2"));
    pass_all(&p);
    expect(&p.a, "alice", "2");
    pair_stop(&p);
}

/* The nodes were of different epochs when they compared what they hold, so they do it again: in the
 * midst of changes, of which none is lost, and none is called committed before it is. */
static void to_compare_again_is_not_to_be_out_of_sync(void **state)
{
    struct pair p;

    (void)state;
    come_up(&p);
    replica_view(p.a.replica, 2, true, p.now);
    part(&p);
    join(&p, 8);
    assert_int_equal(p.a.told, MUSTER__REPLICA_STATE__REPLICA_IN_SYNC);
    assert_true(put(&p.a, "alice", "1"));
    replica_commit(p.a.replica, on_commit, &p.a);
    flush(&p, &p.a);
    replica_view(p.b.replica, 2, true, p.now);
    flush(&p, &p.b); /* asks, before it has seen the change */
    while (p.a.wire_count)
        pass_one(&p, &p.a);
    assert_int_equal(p.a.told, MUSTER__REPLICA_STATE__REPLICA_IN_SYNC);
    assert_int_equal(p.a.committed, 0);
    assert_true(put(&p.a, "anna", "1"));
    replica_commit(p.a.replica, on_commit, &p.a);
    pass_all(&p);
    assert_int_equal(p.a.committed, 2);
    assert_int_equal(p.a.told, MUSTER__REPLICA_STATE__REPLICA_IN_SYNC);
    expect(&p.b, "alice", "1");
    expect(&p.b, "anna", "1");
    pair_stop(&p);
}

static void frames_of_another_life_are_dropped(void **state)
{
    struct pair p;

    (void)state;
    come_up(&p);
    assert_true(put(&p.a, "alice", "1"));
    flush(&p, &p.a);
    replica_link_down(p.b.replica, p.now);
    assert_int_equal(pass_one(&p, &p.b), REPLICA_E_STALE);
    replica_link_up(p.b.replica, 8, p.now);
    assert_true(put(&p.a, "anna", "1"));
    flush(&p, &p.a);
    assert_int_equal(pass_one(&p, &p.b), REPLICA_E_STALE);
    expect(&p.b, "anna", NULL);
    pass_all(&p);
    expect(&p.b, "alice", "1");
    expect(&p.b, "anna", "1");
    pair_stop(&p);
}

static void a_large_snapshot_goes_in_a_window(void **state)
{
    static char value[60000];
    struct pair p;
    char key[16];

    (void)state;
    come_up(&p);
    part(&p);
    memset(value, 'x', sizeof(value) - 1);
    for (int i = 0; i < 100; i++) {
        snprintf(key, sizeof(key), "a%d", i);
        assert_true(put(&p.a, key, value));
    }
    p.a.ops_frames = 0;
    replica_link_up(p.a.replica, 8, p.now);
    replica_link_up(p.b.replica, 8, p.now);
    flush(&p, &p.a);
    flush(&p, &p.b);
    pass_one(&p, &p.a);
    assert_int_equal(p.a.ops_frames, 4);
    assert_true(put(&p.a, "a99", "changed meanwhile"));
    replica_delete(p.a.replica, TABLE, STR("a98"));
    pass_all(&p);
    expect(&p.b, "a99", "changed meanwhile");
    expect(&p.b, "a98", NULL);
    assert_int_equal(replica_count(p.b.replica, TABLE), 99);
    assert_int_equal(p.a.told, MUSTER__REPLICA_STATE__REPLICA_IN_SYNC);
    pair_stop(&p);
}

static void memory_has_a_limit(void **state)
{
    struct pair p;
    struct replica_record huge = {STR("alice"), STR("alice"), {NULL, REPLICA_VALUE_MAX + 1}};

    (void)state;
    pair_start(&p);
    side_stop(&p.a);
    side_start(&p.a, 1000, 1000);
    assert_false(replica_put(p.a.replica, TABLE, &huge));
    assert_true(put(&p.a, "alice", "a value of some length, to be replaced by a shorter one"));
    for (int i = 0; i < 20; i++) {
        char key[16];

        snprintf(key, sizeof(key), "a%d", i);
        (void)put(&p.a, key, "some value");
    }
    assert_false(put(&p.a, "anna", "1"));
    assert_true(put(&p.a, "alice", "shorter"));
    assert_true(replica_count(p.a.replica, TABLE) < 10);
    replica_check(p.a.replica);
    pair_stop(&p);
}

static void a_link_that_takes_nothing_is_tried_again(void **state)
{
    struct pair p;

    (void)state;
    come_up(&p);
    p.a.wire_broken = true;
    assert_true(put(&p.a, "alice", "1"));
    replica_commit(p.a.replica, on_commit, &p.a);
    flush(&p, &p.a);
    flush(&p, &p.a);
    assert_int_equal(p.a.committed, 1);
    assert_int_equal(p.a.told, MUSTER__REPLICA_STATE__REPLICA_ALONE);
    p.a.wire_broken = false;
    pass_time(&p, 1000);
    pass_all(&p);
    assert_int_equal(p.a.told, MUSTER__REPLICA_STATE__REPLICA_IN_SYNC);
    expect(&p.b, "alice", "1");
    pair_stop(&p);
}

static void delete_each(void *ctx, const struct replica_record *record)
{
    struct side *s = ctx;

    if (str_eq_c(record->value, "1"))
        replica_delete(s->replica, TABLE, record->key);
    else
        assert_true(put(s, "anna", "3"));
}

static void records_may_be_changed_while_they_are_shown(void **state)
{
    struct pair p;

    (void)state;
    come_up(&p);
    assert_true(put(&p.a, "alice", "1"));
    assert_true(put(&p.a, "anna", "2"));
    assert_true(put(&p.a, "andy", "1"));
    replica_each(p.a.replica, TABLE, delete_each, &p.a);
    pass_all(&p);
    assert_int_equal(replica_count(p.b.replica, TABLE), 1);
    expect(&p.b, "anna", "3");
    pair_stop(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(both_fresh_become_one),
        cmocka_unit_test(a_commit_waits_for_the_peer),
        cmocka_unit_test(changes_of_a_turn_are_one_frame_and_one_ack),
        cmocka_unit_test(alone_nothing_waits),
        cmocka_unit_test(a_peer_that_does_not_come_is_waited_for_until_the_timeout),
        cmocka_unit_test(a_silent_peer_is_left_behind_and_caught_up_with),
        cmocka_unit_test(a_crashed_daemon_gets_everything_back),
        cmocka_unit_test(what_was_deleted_meanwhile_goes_and_what_is_ours_stays),
        cmocka_unit_test(the_peer_cannot_write_what_is_ours),
        cmocka_unit_test(a_record_that_nobody_serves_is_not_lost),
        cmocka_unit_test(to_compare_again_is_not_to_be_out_of_sync),
        cmocka_unit_test(frames_of_another_life_are_dropped),
        cmocka_unit_test(a_large_snapshot_goes_in_a_window),
        cmocka_unit_test(memory_has_a_limit),
        cmocka_unit_test(a_link_that_takes_nothing_is_tried_again),
        cmocka_unit_test(records_may_be_changed_while_they_are_shown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
