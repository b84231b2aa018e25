// SPDX-License-Identifier: Apache-2.0
/*
 * The cluster view: which messages are views, and who serves whom according to one.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "common/util.h"
#include "common/view.h"

/* Two groups of two; node 1 serves its own users and those of node 2; nobody those of node 4. */
struct message {
    Muster__View view;
    Muster__NodeView nodes[VIEW_NODES_MAX + 1];
    Muster__NodeView *pointers[VIEW_NODES_MAX + 1];
    char names[VIEW_NODES_MAX + 1][VIEW_NAME_MAX + 2];
};

static void make(struct message *m)
{
    static const uint32_t groups[] = {1, 1, 2, 2}, served_by[] = {1, 1, 3, 0};

    memset(m, 0, sizeof(*m));
    muster__view__init(&m->view);
    m->view.version = 8;
    m->view.epoch = 4;
    m->view.self = 1;
    m->view.made_at_ms = 1000;
    m->view.lease_ms = 2000;
    m->view.n_nodes = ARRAY_LEN(groups);
    m->view.nodes = m->pointers;
    for (uint32_t i = 0; i < ARRAY_LEN(m->nodes); i++) {
        muster__node_view__init(&m->nodes[i]);
        snprintf(m->names[i], sizeof(m->names[i]), "n%u", i + 1);
        m->nodes[i].node = i + 1;
        m->nodes[i].group = i < ARRAY_LEN(groups) ? groups[i] : 3;
        m->nodes[i].served_by = i < ARRAY_LEN(groups) ? served_by[i] : 0;
        m->nodes[i].name = m->names[i];
        m->nodes[i].address = "127.0.1.1";
        m->pointers[i] = &m->nodes[i];
    }
}

static void says_who_serves_whom_and_until_when(void **state)
{
    static const mono_t now = {2999}, late = {3000};
    struct message m;
    struct view v;

    (void)state;
    make(&m);
    assert_true(view_of(&m.view, &v));
    assert_int_equal(v.lease_until.ms, 3000);
    assert_true(view_is_mine(&v, 1, now) && view_is_mine(&v, 2, now));
    assert_false(view_is_mine(&v, 3, now));
    assert_false(view_is_mine(&v, 4, now));
    assert_false(view_is_mine(&v, 0, now)); /* a user without a home */
    assert_false(view_is_mine(&v, 99, now));
    assert_false(view_is_mine(&v, 1, late));
    assert_int_equal(view_serving(&v, 2), 1);
    assert_int_equal(view_serving(&v, 4), 0);
    assert_int_equal(view_peer(&v), 2);
    assert_string_equal(view_find(&v, 3)->name, "n3");
    assert_null(view_find(&v, 5));
    v.self = 3;
    assert_int_equal(view_peer(&v), 4);
    v.self = 2; /* its peer serves for both */
    assert_true(view_is_peers(&v, 1) && view_is_peers(&v, 2));
    assert_false(view_is_peers(&v, 3));
    assert_false(view_is_peers(&v, 0));
    v.self = 1;
    assert_false(view_is_peers(&v, 1) || view_is_peers(&v, 4));
}

static void no_view_is_nobodys(void **state)
{
    struct view v = {0};

    (void)state;
    assert_false(view_is_mine(&v, 0, (mono_t){0}));
    assert_int_equal(view_peer(&v), 0);
    assert_false(view_is_peers(&v, 0));
}

static void lone_node_has_no_peer(void **state)
{
    struct message m;
    struct view v;

    (void)state;
    make(&m);
    m.view.n_nodes = 1;
    assert_true(view_of(&m.view, &v));
    assert_int_equal(view_peer(&v), 0);
}

static void version_0(struct message *m)
{
    m->view.version = 0;
}
static void self_is_not_listed(struct message *m)
{
    m->view.self = 5;
}
static void too_many_nodes(struct message *m)
{
    m->view.n_nodes = VIEW_NODES_MAX + 1;
}
static void number_too_high(struct message *m)
{
    m->nodes[3].node = VIEW_NODES_MAX + 1;
}
static void number_0(struct message *m)
{
    m->nodes[3].node = 0;
}
static void number_twice(struct message *m)
{
    m->nodes[3].node = 2;
}
static void group_0(struct message *m)
{
    m->nodes[3].group = 0;
}
static void name_empty(struct message *m)
{
    m->nodes[2].name = "";
}
static void name_too_long(struct message *m)
{
    memset(m->names[2], 'x', VIEW_NAME_MAX + 1);
}
static void address_empty(struct message *m)
{
    m->nodes[2].address = "";
}
static void served_by_too_high(struct message *m)
{
    m->nodes[2].served_by = VIEW_NODES_MAX + 1;
}

static void refuses_what_breaks_a_limit(void **state)
{
    static void (*const spoil[])(struct message * m) = {
        version_0,       self_is_not_listed, too_many_nodes,
        number_too_high, number_0,           number_twice,
        group_0,         name_empty,         name_too_long,
        address_empty,   served_by_too_high,
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(spoil); i++) {
        struct message m;
        struct view v = {.version = 77};

        make(&m);
        spoil[i](&m);
        if (view_of(&m.view, &v))
            fail_msg("row %zu was taken", i);
        assert_int_equal(v.version, 77); /* untouched */
    }
}

static void lease_does_not_overflow(void **state)
{
    struct message m;
    struct view v;

    (void)state;
    make(&m);
    m.view.made_at_ms = UINT64_MAX - 1;
    assert_true(view_of(&m.view, &v));
    assert_int_equal(v.lease_until.ms, UINT64_MAX);
}

static void states_have_the_names_that_operators_know(void **state)
{
    (void)state;
    assert_string_equal(view_state_name(MUSTER__NODE_STATE__FAILED_OVER_CRITICAL),
                        "Failed Over with Critical Services Not Running");
    assert_string_equal(view_reason_name(MUSTER__STATE_REASON__PEER_UNREACHABLE),
                        "Peer Unreachable");
    assert_string_equal(view_state_name((Muster__NodeState)99), "Unknown");
    assert_string_equal(view_reason_name((Muster__StateReason)-1), "Unknown");
    for (int i = 0; i <= MUSTER__NODE_STATE__RUNNING_IN_FAILED_MODE; i++)
        assert_non_null(view_state_name((Muster__NodeState)i));
    for (int i = 0; i <= MUSTER__STATE_REASON__PEER_UNREACHABLE; i++)
        assert_non_null(view_reason_name((Muster__StateReason)i));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(says_who_serves_whom_and_until_when),
        cmocka_unit_test(no_view_is_nobodys),
        cmocka_unit_test(lone_node_has_no_peer),
        cmocka_unit_test(refuses_what_breaks_a_limit),
        cmocka_unit_test(lease_does_not_overflow),
        cmocka_unit_test(states_have_the_names_that_operators_know),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
