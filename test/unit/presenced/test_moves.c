// SPDX-License-Identifier: Apache-2.0
/*
 * What watchers see when nodes, daemons, links and users come and go, told as stories.
 */
#include "test/unit/presenced/world.h"

static void the_peer_goes_on_in_the_same_dialog(void **state)
{
    struct world *w = world();
    struct node *a = &w->nodes[0], *b = &w->nodes[1];
    uint32_t cseq;

    (void)state;
    subscribe(w, a, "bob@x", "alice@x", true, 1, 600);
    answer_notify(w, a, 200);
    publish(w, a, "alice@x", "", 3600, "open");
    answer_notify(w, a, 200);
    cseq = last(a)->cseq;
    assert_int_equal(b->notify_count, 0);

    die(w, 1);
    w->linked = false;
    replica_link_down(b->replica, w->now.mono);
    serve(w, 2, 2);
    engine_on_presence_sync(b->engine, &w->now);
    pass(w, 200);
    assert_int_equal(b->view_done, w->view.version);
    assert_int_equal(b->notify_count, 1);
    assert_true(is_open(last(b)));
    assert_true(last(b)->cseq > cseq);
    answer_notify(w, b, 200);
    assert_string_equal(b->availability, "alice@x 1  ");
    subscribe(w, b, "bob@x", "alice@x", false, 2, 600);
    assert_int_equal(b->code, 200);
    answer_notify(w, b, 200);
    cseq = last(b)->cseq;

    /* The node returns without its memory, and gets its users back with all that is theirs. */
    boot(w, 1);
    join(w);
    serve(w, 2, 2);
    pass(w, 500);
    connect_all(w, 1);
    assert_int_equal(a->notify_count, 0);
    serve(w, 1, 2);
    engine_on_presence_sync(a->engine, &w->now);
    pass(w, 500);
    assert_int_equal(a->notify_count, 1);
    assert_true(is_open(last(a)));
    assert_true(last(a)->cseq > cseq);
    subscribe(w, a, "bob@x", "alice@x", false, 3, 600);
    assert_int_equal(a->code, 200);
    end(w);
}

static void a_crashed_engine_comes_back_with_what_it_had(void **state)
{
    struct world *w = world();
    struct node *a = &w->nodes[0];

    (void)state;
    subscribe(w, a, "bob@x", "alice@x", true, 1, 600);
    publish(w, a, "alice@x", "", 3600, "open");
    die(w, 1);
    boot(w, 1);
    join(w);
    serve(w, 1, 2);
    connect_all(w, 1);
    pass(w, 300);
    assert_int_equal(a->notify_count, 1);
    assert_true(is_open(last(a)));
    end(w);
}

static void nobody_flaps_while_devices_are_unknown(void **state)
{
    struct world *w = world();
    struct node *a = &w->nodes[0];

    (void)state;
    device(w, a, "alice@x", true);
    subscribe(w, a, "bob@x", "alice@x", true, 1, 6000);
    assert_true(is_open(last(a)));
    answer_notify(w, a, 200);

    /* routerd restarts: it says the device again, and the watcher hears nothing. */
    engine_on_routerd_link(a->engine, false, &w->now);
    engine_on_routerd_link(a->engine, true, &w->now);
    device(w, a, "alice@x", true);
    engine_on_presence_sync(a->engine, &w->now);
    pass(w, 10000);
    assert_int_equal(a->notify_count, 1);

    /* It does not say it again: the device is gone. */
    engine_on_routerd_link(a->engine, false, &w->now);
    engine_on_routerd_link(a->engine, true, &w->now);
    assert_int_equal(a->notify_count, 1);
    engine_on_presence_sync(a->engine, &w->now);
    settle(w);
    assert_int_equal(a->notify_count, 2);
    assert_false(is_open(last(a)));
    end(w);
}

static void without_the_lease_nothing_is_decided(void **state)
{
    struct world *w = world();
    struct node *a = &w->nodes[0];

    (void)state;
    subscribe(w, a, "bob@x", "alice@x", true, 1, 600);
    answer_notify(w, a, 200);
    publish(w, a, "alice@x", "", 60, "open");
    answer_notify(w, a, 200);
    engine_on_lease(a->engine, false, &w->now);
    assert_int_equal(engine_deadline(a->engine).ms, UINT64_MAX);
    publish(w, a, "alice@x", "", 3600, "open");
    assert_int_equal(a->code, 503);
    subscribe(w, a, "bob@x", "alice@x", false, 2, 600);
    assert_int_equal(a->code, 503);
    pass(w, 61000);
    assert_int_equal(a->notify_count, 2);
    assert_int_equal(replica_count(a->replica, ENGINE_TABLE_PUBLICATIONS), 1);

    engine_on_lease(a->engine, true, &w->now);
    settle(w);
    assert_int_equal(a->notify_count, 3);
    assert_false(is_open(last(a)));
    assert_int_equal(replica_count(a->replica, ENGINE_TABLE_PUBLICATIONS), 0);
    end(w);
}

static void routerd_is_told_all_when_the_records_are_here(void **state)
{
    struct world *w = world();
    struct node *a = &w->nodes[0];

    (void)state;
    publish(w, a, "alice@x", "", 3600, "open");
    die(w, 1);
    boot(w, 1);
    engine_on_routerd_link(a->engine, true, &w->now);
    settle(w);
    assert_int_equal(a->syncs, 0);
    join(w);
    serve(w, 1, 2);
    pass(w, 300);
    assert_int_equal(a->syncs, 1);
    assert_int_equal(a->availabilities, 1);
    assert_string_equal(a->availability, "alice@x 1  ");
    end(w);
}

static void closed_is_not_said_in_doubt_and_open_at_once(void **state)
{
    struct world *w = world();
    struct node *a = &w->nodes[0], *b = &w->nodes[1];

    (void)state;
    device(w, a, "alice@x", true);
    subscribe(w, a, "bob@x", "alice@x", true, 1, 6000);
    answer_notify(w, a, 200);
    die(w, 1);
    w->linked = false;
    replica_link_down(b->replica, w->now.mono);
    serve(w, 2, 2);
    pass(w, 1000);
    assert_int_equal(b->notify_count, 0);
    device(w, b, "alice@x", true); /* her stream can be resumed: routerd says so */
    assert_int_equal(b->notify_count, 1);
    assert_true(is_open(last(b)));
    answer_notify(w, b, 200);
    pass(w, 6000);
    assert_int_equal(b->notify_count, 1);
    end(w);

    w = world();
    a = &w->nodes[0];
    b = &w->nodes[1];
    subscribe(w, a, "bob@x", "alice@x", true, 1, 6000);
    die(w, 1);
    w->linked = false;
    replica_link_down(b->replica, w->now.mono);
    serve(w, 2, 2);
    pass(w, 4900);
    assert_int_equal(b->notify_count, 0);
    pass(w, 200);
    assert_int_equal(b->notify_count, 1);
    assert_false(is_open(last(b)));
    end(w);
}

static void what_a_deleted_user_had_ends(void **state)
{
    struct world *w = world();
    struct node *a = &w->nodes[0], *b = &w->nodes[1];

    (void)state;
    publish(w, a, "alice@x", "", 3600, "open");
    subscribe(w, a, "bob@x", "alice@x", true, 1, 600);
    answer_notify(w, a, 200);
    directory_remove(w->directory, STR("alice@x"));
    engine_on_users(a->engine, "alice@x", &w->now);
    engine_on_users(b->engine, "alice@x", &w->now);
    settle(w);
    assert_string_equal(last(a)->state, "terminated;reason=noresource");
    assert_false(is_open(last(a)));
    pass(w, 1000);
    for (int i = 0; i < NODES; i++) {
        assert_int_equal(replica_count(w->nodes[i].replica, ENGINE_TABLE_PUBLICATIONS), 0);
        assert_int_equal(replica_count(w->nodes[i].replica, ENGINE_TABLE_SUBSCRIPTIONS), 0);
    }
    publish(w, a, "alice@x", "", 3600, "open");
    assert_int_equal(a->code, 404);
    end(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_peer_goes_on_in_the_same_dialog),
        cmocka_unit_test(a_crashed_engine_comes_back_with_what_it_had),
        cmocka_unit_test(nobody_flaps_while_devices_are_unknown),
        cmocka_unit_test(without_the_lease_nothing_is_decided),
        cmocka_unit_test(routerd_is_told_all_when_the_records_are_here),
        cmocka_unit_test(closed_is_not_said_in_doubt_and_open_at_once),
        cmocka_unit_test(what_a_deleted_user_had_ends),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
