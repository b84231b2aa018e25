// SPDX-License-Identifier: Apache-2.0
/*
 * Streams before they are bound, told as stories: headers, STARTTLS, SASL, binding, and how each
 * can fail.
 */
#include "test/unit/routerd/world.h"

#define SASL_NS "urn:ietf:params:xml:ns:xmpp-sasl"
#define BIND    "<iq type='set' id='b'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/></iq>"

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

static void tls_comes_first(void **state)
{
    struct world *w = *state;
    struct world_client *c = world_connect(w, 1, false);

    world_expect(c, "<?xml version=\"1.0\"?><stream:stream xmlns=\"jabber:client\"");
    world_expect(c, "from=\"muster.test\"");
    world_expect(c, "version=\"1.0\">");
    world_expect(c, "<starttls xmlns=\"urn:ietf:params:xml:ns:xmpp-tls\"><required/></starttls>");
    world_never(c, "mechanism");
    world_say(w, c, "<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>");
    world_expect(c, "<proceed xmlns=\"urn:ietf:params:xml:ns:xmpp-tls\"/>");
    assert_true(c->tls);
    world_open(w, c, "muster.test", true);
    world_expect(c, "<mechanism>SCRAM-SHA-256</mechanism>");
    world_expect(c, "<mechanism>PLAIN</mechanism>");
    world_never(c, "starttls");
}

static void nothing_is_said_without_tls(void **state)
{
    struct world *w = *state;
    struct world_client *c = world_connect(w, 1, false);

    world_say(w, c, "<auth xmlns='" SASL_NS "' mechanism='PLAIN'>AGFsaWNlAHNlY3JldA==</auth>");
    world_expect(c, "<policy-violation xmlns=\"urn:ietf:params:xml:ns:xmpp-streams\"/>");
    assert_true(c->closed);
}

static void a_host_that_is_not_ours_is_unknown(void **state)
{
    struct world *w = *state;
    struct world_client *c = world_dial(w, 1);

    world_open(w, c, "example.org", true);
    world_expect(c, "<stream:stream");
    world_expect(c, "<stream:error><host-unknown");
    world_expect(c, "</stream:error></stream:stream>");
    assert_true(c->closed);
}

static void a_parser_that_gave_up_is_explained(void **state)
{
    struct world *w = *state;
    struct world_client *c = world_connect(w, 1, true);
    struct world_client *d = world_connect(w, 1, true);

    router_on_stream_error(w->nodes[1].router, c->stream, XML_E_MALFORMED, &w->now);
    router_on_stream_error(w->nodes[1].router, d->stream, XML_E_RESTRICTED, &w->now);
    world_run(w);
    world_expect(c, "<not-well-formed");
    world_expect(d, "<restricted-xml");
}

static void five_failures_are_enough(void **state)
{
    struct world *w = *state;
    struct world_client *c = world_connect(w, 1, true);

    for (int i = 0; i < 5; i++) {
        assert_false(c->closed);
        world_say(w, c, "<auth xmlns='" SASL_NS "' mechanism='PLAIN'>AGFsaWNlAHdyb25n</auth>");
        world_expect(c, "<failure xmlns=\"" SASL_NS "\"><not-authorized/></failure>");
    }
    world_expect(c, "<policy-violation");
    assert_true(c->closed);
}

static void scram_without_initial_response_is_asked_for_it(void **state)
{
    struct world *w = *state;
    struct world_client *c = world_connect(w, 1, true);

    world_say(w, c, "<auth xmlns='" SASL_NS "' mechanism='SCRAM-SHA-1'/>");
    world_expect(c, "<challenge xmlns=\"" SASL_NS "\"/>");
    world_say(w, c, "<response xmlns='" SASL_NS "'>biwsbj1hbGljZSxyPWNsaWVudG5vbmNl</response>");
    world_expect(c, "<challenge xmlns=\"" SASL_NS "\">");
    world_say(w, c, "<abort xmlns='" SASL_NS "'/>");
    world_expect(c, "<aborted/>");
    world_say(w, c, "<auth xmlns='" SASL_NS "' mechanism='X'/>");
    world_expect(c, "<invalid-mechanism/>");
    world_say(w, c, "<auth xmlns='" SASL_NS "' mechanism='PLAIN'>!</auth>");
    world_expect(c, "<incorrect-encoding/>");
}

static void a_stanza_before_its_time_ends_the_stream(void **state)
{
    struct world *w = *state;
    struct world_client *c = world_connect(w, 1, true);
    struct world_client *d = world_authenticate(w, 1, "alice");

    world_say(w, c, "<message to='dave@muster.test'><body>x</body></message>");
    world_expect(c, "<not-authorized");
    world_say(w, d, "<message to='dave@muster.test'><body>x</body></message>");
    world_expect(d, "<not-authorized");
    assert_true(c->closed && d->closed);
}

static void who_does_not_get_on_is_closed(void **state)
{
    struct world *w = *state;
    struct world_client *c = world_connect(w, 1, true);

    world_pass(w, 61000);
    world_expect(c, "<connection-timeout");
    assert_true(c->closed);
}

static void a_resource_is_given_or_chosen(void **state)
{
    struct world *w = *state;
    struct world_client *c = world_authenticate(w, 1, "alice");
    struct world_client *d = world_authenticate(w, 1, "dave");

    world_say(w, c, BIND);
    world_expect(c, "<iq type=\"result\" id=\"b\">");
    world_expect(c, "<jid>alice@muster.test/");
    world_say(w, d,
              "<iq type='set' id='b'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'>"
              "<resource>desk top</resource></bind></iq>");
    world_expect(d, "<jid>dave@muster.test/desk top</jid>");
}

static void who_is_deleted_is_logged_out(void **state)
{
    struct world *w = *state;
    struct world_client *alice = world_online(w, 1, "alice", "phone");
    struct world_client *dave = world_online(w, 1, "dave", "desk");

    directory_remove(w->directory, STR("alice@muster.test"));
    router_on_users(w->nodes[1].router, "alice@muster.test", &w->now);
    world_run(w);
    world_expect(alice, "<not-authorized");
    world_user(w, "dave", 2);
    router_on_users(w->nodes[1].router, NULL, &w->now);
    world_run(w);
    world_expect(dave, "<see-other-host");
}

static void the_newer_session_of_a_resource_wins(void **state)
{
    struct world *w = *state;
    struct world_client *old = world_online(w, 1, "alice", "phone");
    struct world_client *new = world_login(w, 1, "alice", "phone");

    world_expect(old, "<conflict");
    assert_true(old->closed && !new->closed);
    old = world_resume(w, 1, "alice", old, 0);
    world_expect(old, "<failed xmlns=\"urn:xmpp:sm:3\"><item-not-found");
}

static void one_user_has_so_many_sessions(void **state)
{
    struct world *w = *state;
    struct world_client *c;
    char resource[16];

    w->params.routerd_sessions_per_user_max = 3;
    for (int i = 0; i < 3; i++) {
        snprintf(resource, sizeof(resource), "r%d", i);
        world_login(w, 1, "alice", resource);
    }
    c = world_authenticate(w, 1, "alice");
    world_say(w, c, BIND);
    world_expect(c, "<error type=\"wait\"><resource-constraint");
}

static void a_false_from_ends_the_stream(void **state)
{
    struct world *w = *state;
    struct world_client *c = world_login(w, 1, "alice", "phone");

    world_say(w, c,
              "<message from='alice@muster.test' to='dave@muster.test'><body>x</body></message>");
    assert_false(c->closed);
    world_say(w, c,
              "<message from='bob@muster.test' to='dave@muster.test'><body>x</body></message>");
    world_expect(c, "<invalid-from");
    assert_true(c->closed);
}

static void what_is_no_stanza_is_not_supported(void **state)
{
    struct world *w = *state;
    struct world_client *c = world_login(w, 1, "alice", "phone");

    world_say(w, c, "<parcel/>");
    world_expect(c, "<unsupported-stanza-type");
}

static void a_login_waits_while_the_user_moves(void **state)
{
    struct world *w = *state;
    struct world_client *bob, *late;

    world_serve(w, 1, 0);
    bob = world_authenticate(w, 1, "bob");
    late = world_authenticate(w, 2, "bob");
    world_say(w, bob, BIND);
    world_never(bob, "<jid>");
    world_pass(w, 1000);
    world_serve(w, 1, 1);
    world_expect(bob, "<jid>bob@muster.test/");
    world_say(w, late, BIND);
    world_expect(late, "<see-other-host");
}

static void nobody_waits_for_ever(void **state)
{
    struct world *w = *state;
    struct world_client *bob;

    world_serve(w, 1, 0);
    bob = world_authenticate(w, 1, "bob");
    world_say(w, bob, BIND);
    world_pass(w, 6000);
    world_expect(bob, "<resource-constraint");
    assert_true(bob->closed);
}

static void without_a_lease_nobody_is_served(void **state)
{
    struct world *w = *state;
    struct world_client *alice = world_online(w, 1, "alice", "phone");
    struct world_client *c;

    router_on_serving(w->nodes[1].router, false, &w->now);
    world_run(w);
    world_expect(alice, "<system-shutdown");
    assert_true(alice->closed);
    c = world_connect(w, 1, true);
    world_expect(c, "<system-shutdown");
    router_on_serving(w->nodes[1].router, true, &w->now);
    world_run(w);
    alice = world_resume(w, 1, "alice", alice, 0);
    world_expect(alice, "<resumed");
}

#define STORY(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        STORY(tls_comes_first),
        STORY(nothing_is_said_without_tls),
        STORY(a_host_that_is_not_ours_is_unknown),
        STORY(a_parser_that_gave_up_is_explained),
        STORY(five_failures_are_enough),
        STORY(scram_without_initial_response_is_asked_for_it),
        STORY(a_stanza_before_its_time_ends_the_stream),
        STORY(who_does_not_get_on_is_closed),
        STORY(a_resource_is_given_or_chosen),
        STORY(who_is_deleted_is_logged_out),
        STORY(the_newer_session_of_a_resource_wins),
        STORY(one_user_has_so_many_sessions),
        STORY(a_false_from_ends_the_stream),
        STORY(what_is_no_stanza_is_not_supported),
        STORY(a_login_waits_while_the_user_moves),
        STORY(nobody_waits_for_ever),
        STORY(without_a_lease_nobody_is_served),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
