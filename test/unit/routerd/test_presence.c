// SPDX-License-Identifier: Apache-2.0
/*
 * Rosters, subscriptions and presence, told as stories between users of two nodes.
 */
#include "test/unit/routerd/world.h"

#define ROSTER "jabber:iq:roster"

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

/* Logged in, with the roster asked for, and available. */
static struct world_client *arrive(struct world *w, uint32_t node, const char *user,
                                   const char *resource)
{
    struct world_client *c = world_login(w, node, user, resource);

    world_enable(w, c);
    world_say(w, c, "<iq type='get' id='r'><query xmlns='" ROSTER "'/></iq>");
    world_expect(c, "id=\"r\"");
    world_say(w, c, "<presence/>");
    world_ignore(c);
    return c;
}

static void befriend(struct world *w, struct world_client *a, const char *b)
{
    world_say(w, a, "<presence to='%s@muster.test' type='subscribe'/>", b);
}

static void a_contact_is_stored_and_told_to_all_clients(void **state)
{
    struct world *w = *state;
    struct world_client *phone = arrive(w, 1, "alice", "phone");
    struct world_client *desk = arrive(w, 1, "alice", "desk");

    world_say(w, phone,
              "<iq type='set' id='s'><query xmlns='" ROSTER "'><item jid='Bob@muster.test' "
              "name='Bobby'><group>Friends</group></item></query></iq>");
    world_expect(desk, "<item jid=\"bob@muster.test\" name=\"Bobby\" subscription=\"none\">"
                       "<group>Friends</group></item>");
    world_expect(phone, "<iq type=\"result\" id=\"s\"");
    assert_string_equal(world_row(w, "alice@muster.test", "bob@muster.test")->name, "Bobby");
    world_say(w, desk, "<iq type='get' id='g'><query xmlns='" ROSTER "'/></iq>");
    world_expect(desk, "<item jid=\"bob@muster.test\" name=\"Bobby\"");
    world_say(w, phone,
              "<iq type='set' id='d'><query xmlns='" ROSTER "'><item "
              "jid='bob@muster.test' subscription='remove'/></query></iq>");
    world_expect(desk, "<item jid=\"bob@muster.test\" subscription=\"remove\"/>");
    world_expect(phone, "<iq type=\"result\" id=\"d\"");
    assert_null(world_row(w, "alice@muster.test", "bob@muster.test"));
}

static void what_no_roster_takes_is_refused(void **state)
{
    static const struct {
        const char *item;
        const char *condition;
    } rows[] = {
        {"<item jid='@'/>", "<jid-malformed"},
        {"<item jid='alice@muster.test'/>", "<not-allowed"},
        {"", "<bad-request"},
        {"<item jid='bob@muster.test'/><item jid='carol@muster.test'/>", "<bad-request"},
        {"<item jid='bob@muster.test'><group/></item>", "<not-acceptable"},
        {"<item jid='bob@muster.test'><group>x</group><group>x</group></item>", "<not-acceptable"},
        {"<item jid='eve@muster.test' subscription='remove'/>", "<item-not-found"},
    };
    struct world *w = *state;
    struct world_client *alice = arrive(w, 1, "alice", "phone");

    for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
        world_say(w, alice, "<iq type='set' id='s'><query xmlns='" ROSTER "'>%s</query></iq>",
                  rows[i].item);
        world_expect(alice, rows[i].condition);
    }
    assert_null(w->rows);
}

static void a_roster_change_is_acknowledged_when_it_is_stored(void **state)
{
    struct world *w = *state;
    struct world_client *alice = arrive(w, 1, "alice", "phone");

    world_put(w, alice,
              "<iq type='set' id='s'><query xmlns='" ROSTER "'><item "
              "jid='bob@muster.test'/></query></iq><r xmlns='urn:xmpp:sm:3'/>");
    world_flush(w);
    world_never(alice, "h=\"3\"");
    world_run(w);
    world_expect(alice, "<a xmlns=\"urn:xmpp:sm:3\" h=\"3\"/>");
}

static void a_database_that_fails_is_told(void **state)
{
    struct world *w = *state;
    struct world_client *alice = arrive(w, 1, "alice", "phone");

    w->database = DB_E_DOWN;
    world_say(w, alice,
              "<iq type='set' id='s'><query xmlns='" ROSTER "'><item "
              "jid='bob@muster.test'/></query></iq>");
    world_expect(alice, "<internal-server-error");
    w->database = DB_OK;
    world_say(w, alice, "<iq type='get' id='g'><query xmlns='" ROSTER "'/></iq>");
    world_expect(alice, "<iq type=\"result\" id=\"g\"");
    world_never(alice, "bob");
}

static void local_users_may_watch_each_other(void **state)
{
    struct world *w = *state;
    struct world_client *alice = arrive(w, 1, "alice", "phone");
    struct world_client *bob = arrive(w, 2, "bob", "desk");

    befriend(w, alice, "bob");
    world_expect(alice, "<item jid=\"bob@muster.test\" subscription=\"none\" ask=\"subscribe\"/>");
    world_expect(alice, "from=\"bob@muster.test/desk\""); /* while the item is being stored */
    world_expect(alice, "<item jid=\"bob@muster.test\" subscription=\"to\"/>");
    world_expect(bob, "<item jid=\"alice@muster.test\" subscription=\"from\"/>");
    assert_string_equal(world_row(w, "bob@muster.test", "alice@muster.test")->subscription, "from");
    assert_string_equal(world_row(w, "alice@muster.test", "bob@muster.test")->subscription, "to");
    befriend(w, bob, "alice");
    world_expect(alice, "<item jid=\"bob@muster.test\" subscription=\"both\"/>");
    world_expect(bob, "<item jid=\"alice@muster.test\" subscription=\"both\"/>");
}

static void presence_reaches_contacts_on_both_nodes(void **state)
{
    struct world *w = *state;
    struct world_client *alice = arrive(w, 1, "alice", "phone");
    struct world_client *bob = arrive(w, 2, "bob", "desk");

    befriend(w, bob, "alice");
    world_ignore(bob);
    world_say(w, alice, "<presence><show>away</show><status>lunch</status></presence>");
    world_expect(bob, "from=\"alice@muster.test/phone\"");
    world_expect(bob, "<show>away</show><status>lunch</status>");
    world_say(w, alice, "<presence type='unavailable'/>");
    world_expect(bob, "type=\"unavailable\"");
    world_say(w, alice, "<presence/>");
    world_ignore(bob);
    router_on_stream_end(w->nodes[1].router, alice->stream, &w->now);
    world_run(w);
    world_expect(bob, "type=\"unavailable\"");
}

static void who_comes_is_told_who_is_there(void **state)
{
    struct world *w = *state;
    struct world_client *alice = arrive(w, 1, "alice", "phone");
    struct world_client *bob = arrive(w, 2, "bob", "desk");

    befriend(w, bob, "alice");
    world_say(w, bob, "<presence type='unavailable'/>");
    world_say(w, alice, "<presence><show>dnd</show></presence>");
    world_ignore(bob);
    world_say(w, bob, "<presence/>");
    world_expect(bob, "from=\"alice@muster.test/phone\"");
    world_expect(bob, "<show>dnd</show>");
}

static void presence_of_a_broken_stream_does_not_change(void **state)
{
    struct world *w = *state;
    struct world_client *alice = arrive(w, 1, "alice", "phone");
    struct world_client *bob = arrive(w, 2, "bob", "desk");

    befriend(w, bob, "alice");
    world_ignore(bob);
    world_break(w, alice);
    world_pass(w, 30000);
    world_never(bob, "unavailable");
}

static void the_window_of_a_lost_client_ends(void **state)
{
    struct world *w = *state;
    struct world_client *alice = arrive(w, 1, "alice", "phone");
    struct world_client *bob = world_login(w, 2, "bob", "desk");

    world_say(w, bob, "<presence/>");
    befriend(w, bob, "alice");
    world_ignore(bob);
    world_break(w, alice);
    world_pass(w, w->params.routerd_resume_window_ms - 1000);
    world_never(bob, "unavailable");
    world_pass(w, 2000);
    world_expect(bob, "from=\"alice@muster.test/phone\" type=\"unavailable\"");
}

static void a_takeover_changes_no_presence(void **state)
{
    struct world *w = *state;
    struct world_client *alice = arrive(w, 1, "alice", "phone");
    struct world_client *bob = arrive(w, 2, "bob", "desk");

    befriend(w, bob, "alice");
    world_ignore(bob);
    world_kill(w, 1);
    world_serve(w, 2, 2);
    world_pass(w, 5000);
    world_never(bob, "unavailable");
    alice = world_resume(w, 2, "alice", alice, 3);
    world_never(bob, "unavailable");
    world_say(w, alice, "<presence><show>xa</show></presence>");
    world_expect(bob, "<show>xa</show>");
}

static void sessions_without_resumption_go_with_their_node(void **state)
{
    struct world *w = *state;
    struct world_client *alice = world_login(w, 1, "alice", "phone");
    struct world_client *bob = arrive(w, 2, "bob", "desk");

    world_say(w, alice, "<presence/>");
    befriend(w, bob, "alice");
    world_ignore(bob);
    world_kill(w, 1);
    world_never(bob, "unavailable");
    world_serve(w, 2, 2);
    world_expect(bob, "from=\"alice@muster.test/phone\" type=\"unavailable\"");
}

static void presence_that_found_no_way_is_caught_up(void **state)
{
    struct world *w = *state;
    struct world_client *alice = arrive(w, 1, "alice", "phone");
    struct world_client *bob = arrive(w, 2, "bob", "desk");

    befriend(w, bob, "alice");
    world_ignore(bob);
    world_link(w, false);
    world_say(w, alice, "<presence><show>away</show></presence>");
    world_say(w, alice, "<presence><show>dnd</show></presence>");
    world_never(bob, "show");
    world_link(w, true);
    world_pass(w, 1000);
    world_never(bob, "<show>away</show>");
    world_expect(bob, "<show>dnd</show>");
}

static void directed_presence_is_taken_back(void **state)
{
    struct world *w = *state;
    struct world_client *alice = arrive(w, 1, "alice", "phone");
    struct world_client *bob = arrive(w, 2, "bob", "desk");

    world_say(w, alice, "<presence to='bob@muster.test/desk'><show>chat</show></presence>");
    world_expect(bob, "<show>chat</show>");
    world_kill(w, 1);
    world_serve(w, 2, 2);
    world_pass(w, w->params.routerd_resume_window_ms - 250000);
    world_never(bob, "unavailable");
    world_ignore(bob);
    bob = world_resume(w, 2, "bob", bob, 2);
    world_pass(w, 40000);
    alice = world_resume(w, 2, "alice", alice, 1);
    router_on_stream_end(w->nodes[2].router, alice->stream, &w->now);
    world_run(w);
    world_expect(bob, "from=\"alice@muster.test/phone\" type=\"unavailable\"");
}

static void requests_wait_for_an_answer_if_they_must(void **state)
{
    struct world *w = *state;
    struct world_client *alice = arrive(w, 1, "alice", "phone");
    struct world_client *bob;

    w->params.presenced_automatic_authorization = false;
    befriend(w, alice, "bob");
    world_never(alice, "subscription=\"to\"");
    assert_true(world_row(w, "bob@muster.test", "alice@muster.test")->pending_in);
    bob = arrive(w, 2, "bob", "desk");
    world_say(w, bob, "<presence type='unavailable'/><presence/>");
    world_expect(bob, "type=\"subscribe\"");
    world_say(w, bob, "<iq type='get' id='g'><query xmlns='" ROSTER "'/></iq>");
    world_never(bob, "<item");
    world_say(w, bob, "<presence to='alice@muster.test' type='subscribed'/>");
    world_expect(bob, "<item jid=\"alice@muster.test\" subscription=\"from\"/>");
    world_expect(alice, "from=\"bob@muster.test/desk\"");
    world_expect(alice, "type=\"subscribed\"");
    world_expect(alice, "<item jid=\"bob@muster.test\" subscription=\"to\"/>");
    world_say(w, bob, "<presence to='alice@muster.test' type='unsubscribed'/>");
    world_expect(alice, "from=\"bob@muster.test/desk\" type=\"unavailable\"");
    world_expect(alice, "<item jid=\"bob@muster.test\" subscription=\"none\"/>");
}

static void nobody_does_not_answer(void **state)
{
    struct world *w = *state;
    struct world_client *alice = arrive(w, 1, "alice", "phone");

    befriend(w, alice, "eve");
    world_expect(alice, "ask=\"subscribe\"");
    world_expect(alice, "<item jid=\"eve@muster.test\" subscription=\"none\"/>");
}

static void an_unsubscribed_contact_is_not_shown(void **state)
{
    struct world *w = *state;
    struct world_client *alice = arrive(w, 1, "alice", "phone");
    struct world_client *bob = arrive(w, 2, "bob", "desk");

    befriend(w, bob, "alice");
    world_say(w, bob, "<presence to='alice@muster.test' type='unsubscribe'/>");
    world_expect(alice, "<item jid=\"bob@muster.test\" subscription=\"none\"/>");
    world_ignore(bob);
    world_say(w, alice, "<presence><show>away</show></presence>");
    world_never(bob, "away");
}

static void who_removes_a_contact_ends_both_subscriptions(void **state)
{
    struct world *w = *state;
    struct world_client *alice = arrive(w, 1, "alice", "phone");
    struct world_client *bob = arrive(w, 2, "bob", "desk");

    befriend(w, bob, "alice");
    befriend(w, alice, "bob");
    world_ignore(bob);
    world_say(w, alice,
              "<iq type='set' id='d'><query xmlns='" ROSTER "'><item "
              "jid='bob@muster.test' subscription='remove'/></query></iq>");
    world_expect(bob, "<item jid=\"alice@muster.test\" subscription=\"none\"/>");
    assert_null(world_row(w, "alice@muster.test", "bob@muster.test"));
}

static Muster__Envelope availability_of(Muster__Availability *m, const char *user, const char *show)
{
    Muster__Envelope e = MUSTER__ENVELOPE__INIT;

    muster__availability__init(m);
    m->presentity = (char *)user;
    m->available = show != NULL;
    m->show = (char *)(show ? show : "");
    e.body_case = MUSTER__ENVELOPE__BODY_AVAILABILITY;
    e.availability = m;
    return e;
}

static void tell(struct world *w, uint32_t node, const char *user, const char *show)
{
    Muster__Availability m;
    Muster__Envelope e = availability_of(&m, user, show);

    router_on_presenced(w->nodes[node].router, &e, &w->now);
    world_run(w);
}

static void presenced(struct world *w, uint32_t node)
{
    w->nodes[node].presenced = true;
    router_on_presenced_link(w->nodes[node].router, true, &w->now);
    world_run(w);
}

static void synced(struct world *w, uint32_t node)
{
    Muster__Envelope e = MUSTER__ENVELOPE__INIT;
    Muster__PresenceSync m = MUSTER__PRESENCE_SYNC__INIT;

    e.body_case = MUSTER__ENVELOPE__BODY_PRESENCE_SYNC;
    e.presence_sync = &m;
    router_on_presenced(w->nodes[node].router, &e, &w->now);
    world_run(w);
}

static void sip_devices_are_one_more_resource(void **state)
{
    struct world *w = *state;
    struct world_client *bob = arrive(w, 2, "bob", "desk");

    presenced(w, 1);
    befriend(w, bob, "alice");
    world_ignore(bob);
    tell(w, 1, "alice@muster.test", "away");
    world_expect(bob, "from=\"alice@muster.test/sip\"");
    world_expect(bob, "<show>away</show>");
    tell(w, 1, "alice@muster.test", "away");
    world_never(bob, "away");
    world_say(w, bob, "<presence type='unavailable'/><presence/>");
    world_expect(bob, "from=\"alice@muster.test/sip\"");
    tell(w, 1, "alice@muster.test", NULL);
    world_expect(bob, "from=\"alice@muster.test/sip\" type=\"unavailable\"");
}

static void what_presenced_does_not_repeat_is_gone(void **state)
{
    struct world *w = *state;
    struct world_client *bob = arrive(w, 2, "bob", "desk");

    presenced(w, 1);
    befriend(w, bob, "alice");
    befriend(w, bob, "dave");
    tell(w, 1, "alice@muster.test", "");
    tell(w, 1, "dave@muster.test", "");
    world_ignore(bob);
    router_on_presenced_link(w->nodes[1].router, false, &w->now);
    presenced(w, 1);
    tell(w, 1, "dave@muster.test", "");
    world_never(bob, "unavailable");
    synced(w, 1);
    world_expect(bob, "from=\"alice@muster.test/sip\" type=\"unavailable\"");
    world_never(bob, "dave@muster.test/sip");
}

static void a_takeover_keeps_sip_presence_that_is_confirmed(void **state)
{
    struct world *w = *state;
    struct world_client *bob = arrive(w, 2, "bob", "desk");

    presenced(w, 1);
    presenced(w, 2);
    befriend(w, bob, "alice");
    befriend(w, bob, "dave");
    tell(w, 1, "alice@muster.test", "");
    tell(w, 1, "dave@muster.test", "");
    world_ignore(bob);
    world_kill(w, 1);
    world_serve(w, 2, 2);
    tell(w, 2, "dave@muster.test", "");
    world_pass(w, 5000);
    world_never(bob, "sip");
    world_pass(w, 6000);
    world_expect(bob, "from=\"alice@muster.test/sip\" type=\"unavailable\"");
    world_never(bob, "dave@muster.test/sip");
}

static void presenced_hears_of_sessions(void **state)
{
    struct world *w = *state;
    struct world_client *alice = arrive(w, 1, "alice", "phone");

    presenced(w, 1);
    assert_string_equal(w->nodes[1].to_presenced.data,
                        "DeviceStatus alice@muster.test/phone available \nPresenceSync\n");
    buf_clear(&w->nodes[1].to_presenced);
    world_say(w, alice, "<presence><show>dnd</show></presence>");
    assert_string_equal(w->nodes[1].to_presenced.data,
                        "DeviceStatus alice@muster.test/phone available dnd\n");
    buf_clear(&w->nodes[1].to_presenced);
    router_on_stream_end(w->nodes[1].router, alice->stream, &w->now);
    world_run(w);
    assert_non_null(strstr(w->nodes[1].to_presenced.data, "unavailable"));
}

#define STORY(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        STORY(a_contact_is_stored_and_told_to_all_clients),
        STORY(what_no_roster_takes_is_refused),
        STORY(a_roster_change_is_acknowledged_when_it_is_stored),
        STORY(a_database_that_fails_is_told),
        STORY(local_users_may_watch_each_other),
        STORY(presence_reaches_contacts_on_both_nodes),
        STORY(who_comes_is_told_who_is_there),
        STORY(presence_of_a_broken_stream_does_not_change),
        STORY(the_window_of_a_lost_client_ends),
        STORY(a_takeover_changes_no_presence),
        STORY(sessions_without_resumption_go_with_their_node),
        STORY(presence_that_found_no_way_is_caught_up),
        STORY(directed_presence_is_taken_back),
        STORY(requests_wait_for_an_answer_if_they_must),
        STORY(nobody_does_not_answer),
        STORY(an_unsubscribed_contact_is_not_shown),
        STORY(who_removes_a_contact_ends_both_subscriptions),
        STORY(sip_devices_are_one_more_resource),
        STORY(what_presenced_does_not_repeat_is_gone),
        STORY(a_takeover_keeps_sip_presence_that_is_confirmed),
        STORY(presenced_hears_of_sessions),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
