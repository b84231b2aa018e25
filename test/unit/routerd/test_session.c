// SPDX-License-Identifier: Apache-2.0
/*
 * Sessions, told as stories: messages between users of two nodes, acknowledgements, resumption on
 * either node.
 */
#include "test/unit/routerd/world.h"

static int set_up(void **state)
{
    *state = world_new();
    return 0;
}

static int tear_down(void **state)
{
    world_free(*state);
    return 0;
}

static void both_nodes_are_in_sync(void **state)
{
    struct world *w = *state;

    assert_int_equal(replica_state(w->nodes[1].replica), MUSTER__REPLICA_STATE__REPLICA_IN_SYNC);
    assert_int_equal(replica_state(w->nodes[2].replica), MUSTER__REPLICA_STATE__REPLICA_IN_SYNC);
    assert_int_equal(router_view_done(w->nodes[1].router), w->view.version);
}

static void a_message_reaches_a_user_of_the_same_node(void **state)
{
    struct world *w = *state;
    struct world_client *alice = world_online(w, 1, "alice", "phone");
    struct world_client *dave = world_online(w, 1, "dave", "desk");

    world_say(w, alice,
              "<message to='dave@muster.test' type='chat' id='1'><body>hi</body></message>"
              "<r xmlns='urn:xmpp:sm:3'/>");
    world_expect(dave, "from=\"alice@muster.test/phone\"");
    world_expect(dave, "<body>hi</body>");
    world_expect(alice, "<a xmlns=\"urn:xmpp:sm:3\" h=\"2\"/>");
}

static void a_message_reaches_a_user_of_the_other_node(void **state)
{
    struct world *w = *state;
    struct world_client *alice = world_online(w, 1, "alice", "phone");
    struct world_client *bob = world_online(w, 2, "bob", "desk");

    world_say(w, alice,
              "<message to='bob@muster.test' type='chat' id='1'><body>hi</body></message>"
              "<r xmlns='urn:xmpp:sm:3'/>");
    world_expect(bob, "<body>hi</body>");
    world_expect(alice, "<a xmlns=\"urn:xmpp:sm:3\" h=\"2\"/>");
}

static void an_acknowledgement_waits_for_the_other_node(void **state)
{
    struct world *w = *state;
    struct world_client *alice = world_online(w, 1, "alice", "phone");

    world_link(w, false);
    world_say(w, alice,
              "<message to='bob@muster.test' type='chat' id='1'><body>hi</body></message>"
              "<r xmlns='urn:xmpp:sm:3'/>");
    world_never(alice, "h=\"2\"");
    world_pass(w, 40000);
    world_never(alice, "h=\"2\"");
    world_never(alice, "error");
    world_link(w, true);
    world_pass(w, 1000);
    world_expect(alice, "<a xmlns=\"urn:xmpp:sm:3\" h=\"2\"/>");
}

static void a_stored_message_comes_with_the_next_presence(void **state)
{
    struct world *w = *state;
    struct world_client *alice = world_online(w, 1, "alice", "phone");
    struct world_client *bob;

    world_say(w, alice,
              "<message to='bob@muster.test' id='1'><body>one</body></message>"
              "<message to='bob@muster.test' id='2'><body>two</body></message>"
              "<r xmlns='urn:xmpp:sm:3'/>");
    world_expect(alice, "<a xmlns=\"urn:xmpp:sm:3\" h=\"3\"/>");
    bob = world_login(w, 2, "bob", "desk");
    world_enable(w, bob);
    world_never(bob, "one");
    world_say(w, bob, "<presence/>");
    world_expect(bob, "<body>one</body>");
    world_expect(bob, "<delay xmlns=\"urn:xmpp:delay\" from=\"muster.test\"");
    world_expect(bob, "<body>two</body>");
    assert_null(w->messages);
}

static void a_broken_stream_is_resumed_with_what_was_missed(void **state)
{
    struct world *w = *state;
    struct world_client *alice = world_online(w, 1, "alice", "phone");
    struct world_client *bob = world_online(w, 2, "bob", "desk");

    world_break(w, bob);
    world_say(w, alice,
              "<message to='bob@muster.test' type='chat' id='1'><body>hi</body></message>"
              "<r xmlns='urn:xmpp:sm:3'/>");
    world_expect(alice, "<a xmlns=\"urn:xmpp:sm:3\" h=\"2\"/>");
    bob = world_resume(w, 2, "bob", bob, 1);
    world_expect(bob, "<resumed xmlns=\"urn:xmpp:sm:3\" previd=\"");
    world_expect(bob, "h=\"1\"/>");
    world_expect(bob, "<body>hi</body>");
    world_say(w, bob, "<a xmlns='urn:xmpp:sm:3' h='2'/>");
    world_never(bob, "<body>hi</body>");
}

static void the_other_node_resumes_when_one_dies(void **state)
{
    struct world *w = *state;
    struct world_client *alice = world_online(w, 1, "alice", "phone");
    struct world_client *bob = world_online(w, 2, "bob", "desk");

    world_say(w, alice,
              "<message to='bob@muster.test' type='chat' id='1'><body>hi</body></message>");
    world_expect(bob, "<body>hi</body>");
    world_kill(w, 2);
    world_say(w, alice,
              "<message to='bob@muster.test' type='chat' id='2'><body>ho</body></message>"
              "<r xmlns='urn:xmpp:sm:3'/>");
    world_never(alice, "h=\"3\"");
    world_serve(w, 1, 1);
    world_pass(w, 1000);
    world_expect(alice, "<a xmlns=\"urn:xmpp:sm:3\" h=\"3\"/>");
    bob = world_resume(w, 1, "bob", bob, 2);
    world_expect(bob, "<resumed");
    world_never(bob, "<body>hi</body>");
    world_expect(bob, "<body>ho</body>");
    world_ignore(alice);
    world_say(w, bob, "<message to='alice@muster.test' id='1'><body>back</body></message>");
    world_expect(alice, "<body>back</body>");
}

static void a_message_that_is_sent_again_is_delivered_once(void **state)
{
    struct world *w = *state;
    struct world_client *alice = world_online(w, 1, "alice", "phone");
    struct world_client *bob = world_online(w, 2, "bob", "desk");
    const char *again = "<message to='bob@muster.test' type='chat' id='1'><body>hi</body>"
                        "<origin-id xmlns='urn:xmpp:sid:0' id='x1'/></message>";

    world_say(w, alice, "%s", again);
    world_expect(bob, "<body>hi</body>");
    world_kill(w, 1);
    world_serve(w, 2, 2);
    alice = world_resume(w, 2, "alice", alice, 0);
    world_expect(alice, "<resumed");
    world_say(w, alice, "%s<r xmlns='urn:xmpp:sm:3'/>", again);
    world_never(bob, "<body>hi</body>");
    world_expect(alice, "<a xmlns=\"urn:xmpp:sm:3\"");
}

static void what_a_lost_session_did_not_acknowledge_is_stored(void **state)
{
    struct world *w = *state;
    struct world_client *alice = world_online(w, 1, "alice", "phone");
    struct world_client *bob = world_online(w, 2, "bob", "desk");

    world_say(w, alice,
              "<message to='bob@muster.test' type='chat' id='1'><body>hi</body></message>");
    world_break(w, bob);
    assert_null(w->messages);
    world_pass(w, w->params.routerd_resume_window_ms + 1000);
    assert_non_null(w->messages);
    (void)world_online(w, 2, "bob", "desk");
    assert_null(w->messages);
}

static void a_planned_move_sends_clients_to_the_other_node(void **state)
{
    struct world *w = *state;
    struct world_client *alice = world_online(w, 1, "alice", "phone");
    struct world_client *bob = world_online(w, 2, "bob", "desk");

    world_say(w, alice,
              "<message to='bob@muster.test' type='chat' id='1'><body>hi</body></message>");
    world_serve(w, 1, 0);
    world_expect(bob,
                 "<see-other-host xmlns=\"urn:ietf:params:xml:ns:xmpp-streams\">127.0.1.1:5222");
    assert_int_equal(router_view_done(w->nodes[2].router), w->view.version);
    world_say(w, alice,
              "<message to='bob@muster.test' type='chat' id='2'><body>ho</body></message>");
    bob = world_resume(w, 1, "bob", bob, 1);
    world_never(bob, "<resumed");
    world_serve(w, 1, 1);
    world_pass(w, 1000);
    world_expect(bob, "<resumed");
    world_expect(bob, "<body>hi</body>");
    world_expect(bob, "<body>ho</body>");
}

static void a_login_at_the_wrong_node_is_sent_to_the_right_one(void **state)
{
    struct world *w = *state;
    struct world_client *bob = world_authenticate(w, 1, "bob");

    world_say(w, bob,
              "<iq type='set' id='b'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/></iq>");
    world_expect(bob,
                 "<see-other-host xmlns=\"urn:ietf:params:xml:ns:xmpp-streams\">127.0.1.2:5222");
    assert_true(bob->closed);
}

#define STORY(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        STORY(both_nodes_are_in_sync),
        STORY(a_message_reaches_a_user_of_the_same_node),
        STORY(a_message_reaches_a_user_of_the_other_node),
        STORY(an_acknowledgement_waits_for_the_other_node),
        STORY(a_stored_message_comes_with_the_next_presence),
        STORY(a_broken_stream_is_resumed_with_what_was_missed),
        STORY(the_other_node_resumes_when_one_dies),
        STORY(a_message_that_is_sent_again_is_delivered_once),
        STORY(what_a_lost_session_did_not_acknowledge_is_stored),
        STORY(a_planned_move_sends_clients_to_the_other_node),
        STORY(a_login_at_the_wrong_node_is_sent_to_the_right_one),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
