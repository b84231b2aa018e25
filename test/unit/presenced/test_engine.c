// SPDX-License-Identifier: Apache-2.0
/*
 * PUBLISH, SUBSCRIBE and NOTIFY, told as stories.
 */
#include "test/unit/presenced/world.h"

static void an_entity_tag_is_used_once(void **state)
{
    struct world *w = world();
    struct node *a = &w->nodes[0];
    char first[64], second[64];

    (void)state;
    publish(w, a, "alice@x", "", 3600, "open");
    assert_int_equal(a->code, 200);
    assert_int_equal(a->expires_s, 3600);
    (void)snprintf(first, sizeof(first), "%s", a->etag);
    publish(w, a, "alice@x", first, 3600, NULL);
    assert_int_equal(a->code, 200);
    (void)snprintf(second, sizeof(second), "%s", a->etag);
    assert_string_not_equal(first, second);
    publish(w, a, "alice@x", first, 3600, NULL);
    assert_int_equal(a->code, 412);
    publish(w, a, "bob@x", second, 3600, NULL); /* somebody else's */
    assert_int_equal(a->code, 503);
    publish(w, a, "alice@x", second, 0, NULL);
    assert_int_equal(a->code, 200);
    publish(w, a, "alice@x", second, 3600, NULL);
    assert_int_equal(a->code, 412);
    end(w);
}

static void bad_publications_are_refused(void **state)
{
    struct world *w = world();
    struct node *a = &w->nodes[0];

    (void)state;
    publish(w, a, "nobody@x", "", 3600, "open");
    assert_int_equal(a->code, 404);
    publish(w, a, "bob@x", "", 3600, "open");
    assert_int_equal(a->code, 503);
    publish(w, a, "alice@x", "", 5, "open");
    assert_int_equal(a->code, 423);
    assert_int_equal(a->expires_s, 60);
    publish(w, a, "alice@x", "", 3600, NULL);
    assert_int_equal(a->code, 400);
    for (int i = 0; i < ENGINE_PUBLICATIONS_MAX; i++)
        publish(w, a, "alice@x", "", -1, "open");
    assert_int_equal(a->code, 200);
    publish(w, a, "alice@x", "", -1, "open");
    assert_int_equal(a->code, 403);
    end(w);
}

static void a_watcher_is_told_what_changes(void **state)
{
    struct world *w = world();
    struct node *a = &w->nodes[0];

    (void)state;
    subscribe(w, a, "bob@x", "alice@x", true, 1, 600);
    assert_int_equal(a->code, 200);
    assert_int_equal(a->notify_count, 1);
    assert_string_equal(last(a)->state, "active;expires=600");
    assert_false(is_open(last(a)));

    /* One NOTIFY at a time; what happens meanwhile is in the next. */
    publish(w, a, "alice@x", "", 3600, "open");
    publish(w, a, "alice@x", a->etag, 3600, "closed");
    publish(w, a, "alice@x", a->etag, 3600, "open");
    assert_int_equal(a->notify_count, 1);
    answer_notify(w, a, 200);
    assert_int_equal(a->notify_count, 2);
    assert_true(is_open(last(a)));
    assert_true(last(a)->cseq > a->notifies[0].cseq);
    answer_notify(w, a, 200);
    assert_int_equal(a->notify_count, 2);
    assert_string_equal(a->availability, "alice@x 1  ");

    /* A publication that nobody refreshes ends by itself. */
    pass(w, 500000);
    subscribe(w, a, "bob@x", "alice@x", false, 2, 7200);
    answer_notify(w, a, 200);
    pass(w, 3200000);
    assert_false(is_open(last(a)));
    assert_string_equal(a->availability, "alice@x 0  ");
    end(w);
}

static void a_subscription_ends(void **state)
{
    struct world *w = world();
    struct node *a = &w->nodes[0];

    (void)state;
    subscribe(w, a, "bob@x", "alice@x", false, 1, 600);
    assert_int_equal(a->code, 481);
    subscribe(w, a, "bob@x", "alice@x", true, 1, 10);
    assert_int_equal(a->code, 423);
    subscribe(w, a, "bob@x", "alice@x", true, 1, 600);
    answer_notify(w, a, 200);
    subscribe(w, a, "bob@x", "alice@x", false, 1, 600);
    assert_int_equal(a->code, 500); /* CSeq did not grow */
    subscribe(w, a, "bob@x", "alice@x", false, 2, 0);
    assert_int_equal(a->code, 200);
    assert_string_equal(last(a)->state, "terminated;reason=timeout");
    answer_notify(w, a, 200);
    subscribe(w, a, "bob@x", "alice@x", false, 3, 600);
    assert_int_equal(a->code, 481);

    /* By silence, and by a device that knows nothing of it. */
    subscribe(w, a, "bob@x", "alice@x", true, 1, 60);
    answer_notify(w, a, 200);
    pass(w, 60000);
    assert_string_equal(last(a)->state, "terminated;reason=timeout");
    answer_notify(w, a, 200);
    subscribe(w, a, "bob@x", "alice@x", true, 1, 600);
    answer_notify(w, a, 481);
    subscribe(w, a, "bob@x", "alice@x", false, 2, 600);
    assert_int_equal(a->code, 481);

    /* A fetch. */
    subscribe(w, a, "bob@x", "alice@x", true, 1, 0);
    assert_int_equal(a->code, 200);
    assert_string_equal(last(a)->state, "terminated;reason=timeout");
    answer_notify(w, a, 200);
    assert_int_equal(replica_count(a->replica, ENGINE_TABLE_SUBSCRIPTIONS), 0);
    end(w);
}

static void an_unreachable_device_is_tried_again(void **state)
{
    struct world *w = world();
    struct node *a = &w->nodes[0];

    (void)state;
    subscribe(w, a, "bob@x", "alice@x", true, 1, 600);
    answer_notify(w, a, 408);
    assert_int_equal(a->notify_count, 1);
    pass(w, 3000);
    assert_int_equal(a->notify_count, 2);
    answer_notify(w, a, 200);
    pass(w, 100000);
    assert_int_equal(a->notify_count, 2);
    end(w);
}

static void without_authorization_a_watcher_learns_nothing(void **state)
{
    struct world *w = world();
    struct node *a = &w->nodes[0];

    (void)state;
    a->params.presenced_automatic_authorization = false;
    publish(w, a, "alice@x", "", 3600, "open");
    subscribe(w, a, "bob@x", "alice@x", true, 1, 600);
    assert_int_equal(a->code, 202);
    assert_string_equal(last(a)->state, "pending;expires=600");
    assert_string_equal(last(a)->document, "");
    end(w);
}

static void a_watcher_that_cannot_read_pidf_is_refused(void **state)
{
    static const struct {
        const char *accept;
        uint32_t code;
    } rows[] = {
        {"", 200},
        {"application/pidf+xml", 200},
        {"text/plain, Application/PIDF+xml;q=0.5", 200},
        {"application/*", 200},
        {"*/*", 200},
        {"application/xpidf+xml", 406},
        {"text/plain,", 406},
    };
    struct world *w = world();
    struct node *a = &w->nodes[0];

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        Muster__Subscribe m = MUSTER__SUBSCRIBE__INIT;
        Muster__Dialog dialog = MUSTER__DIALOG__INIT;
        char call_id[16];

        (void)snprintf(call_id, sizeof(call_id), "call-%zu", i);
        dialog.call_id = call_id;
        m.presentity = (char *)"alice@x";
        m.watcher = (char *)"bob@x";
        m.initial = true;
        m.accept = (char *)rows[i].accept;
        m.dialog = &dialog;
        engine_on_subscribe(a->engine, 2, &m, &w->now);
        settle(w);
        assert_int_equal(a->code, rows[i].code);
    }
    end(w);
}

static void tuples_have_names_of_their_own(void **state)
{
    struct world *w = world();
    struct node *a = &w->nodes[0];
    char ids[2][32], first[64], *at;

    (void)state;
    publish(w, a, "alice@x", "", 3600, "open");
    (void)snprintf(first, sizeof(first), "%s", a->etag);
    publish(w, a, "alice@x", "", 3600, "open");
    subscribe(w, a, "bob@x", "alice@x", true, 1, 600);
    at = strstr(last(a)->document, "tuple id=");
    assert_non_null(at);
    (void)snprintf(ids[0], sizeof(ids[0]), "%.27s", at);
    at = strstr(at + 1, "tuple id=");
    assert_non_null(at);
    (void)snprintf(ids[1], sizeof(ids[1]), "%.27s", at);
    assert_string_not_equal(ids[0], ids[1]);
    answer_notify(w, a, 200);
    publish(w, a, "alice@x", first, 3600, "closed");
    assert_non_null(strstr(last(a)->document, ids[0]));
    assert_non_null(strstr(last(a)->document, ids[1]));
    end(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_entity_tag_is_used_once),
        cmocka_unit_test(bad_publications_are_refused),
        cmocka_unit_test(a_watcher_is_told_what_changes),
        cmocka_unit_test(a_subscription_ends),
        cmocka_unit_test(an_unreachable_device_is_tried_again),
        cmocka_unit_test(without_authorization_a_watcher_learns_nothing),
        cmocka_unit_test(a_watcher_that_cannot_read_pidf_is_refused),
        cmocka_unit_test(tuples_have_names_of_their_own),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
