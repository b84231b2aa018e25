// SPDX-License-Identifier: Apache-2.0
/*
 * Instant messages: who gets them, what is stored, what is refused; SIP devices; the same message
 * twice. And IQs, which are routed by the same addresses.
 */
#include "test/unit/routerd/world.h"

enum {
    ACCEPTED = MUSTER__IM_REPLY__RESULT__ACCEPTED,
    NOT_FOUND = MUSTER__IM_REPLY__RESULT__NOT_FOUND,
    UNAVAILABLE = MUSTER__IM_REPLY__RESULT__UNAVAILABLE,
    REFUSED = MUSTER__IM_REPLY__RESULT__REFUSED,
    BUSY = MUSTER__IM_REPLY__RESULT__BUSY,
};

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

/* ---- proxyd ---- */

static void proxyd(struct world *w, uint32_t node, bool up)
{
    w->nodes[node].proxyd = up;
    router_on_proxyd_link(w->nodes[node].router, up, &w->now);
    world_run(w);
}

static void registered(struct world *w, uint32_t node, const char *aor, uint32_t bindings)
{
    Muster__Envelope e = MUSTER__ENVELOPE__INIT;
    Muster__Registration m = MUSTER__REGISTRATION__INIT;

    m.aor = (char *)aor;
    m.bindings = bindings;
    e.body_case = MUSTER__ENVELOPE__BODY_REGISTRATION;
    e.registration = &m;
    router_on_proxyd(w->nodes[node].router, &e, &w->now);
    world_run(w);
}

static void from_sip(struct world *w, uint32_t node, uint64_t number, const char *from,
                     const char *to, const char *id, const char *type, const char *body)
{
    Muster__Envelope e = MUSTER__ENVELOPE__INIT;
    Muster__Im im = MUSTER__IM__INIT;

    im.from = (char *)from;
    im.to = (char *)to;
    im.id = (char *)id;
    im.content_type = (char *)type;
    im.body = (ProtobufCBinaryData){strlen(body), (uint8_t *)body};
    im.sent_unix_ms = w->now.unix_ms;
    e.id = number;
    e.body_case = MUSTER__ENVELOPE__BODY_IM;
    e.im = &im;
    router_on_proxyd(w->nodes[node].router, &e, &w->now);
    world_run(w);
}

static void device_says(struct world *w, uint32_t node, int result)
{
    Muster__Envelope e = MUSTER__ENVELOPE__INIT;
    Muster__ImReply m = MUSTER__IM_REPLY__INIT;

    m.result = (Muster__ImReply__Result)result;
    e.id = w->nodes[node].last_im;
    e.body_case = MUSTER__ENVELOPE__BODY_IM_REPLY;
    e.im_reply = &m;
    router_on_proxyd(w->nodes[node].router, &e, &w->now);
    world_run(w);
}

#define expect_told(w, node, part) expect_told_at(w, node, part, __LINE__)
static void expect_told_at(struct world *w, uint32_t node, const char *part, int line)
{
    struct buf *told = &w->nodes[node].to_proxyd;
    const char *at = told->len ? strstr(told->data, part) : NULL;

    if (!at)
        fail_msg("line %d: proxyd was not told %s but %s", line, part,
                 told->len ? told->data : "nothing");
    buf_drop(told, (size_t)(at - told->data) + strlen(part));
}

static void expect_reply(struct world *w, uint32_t node, uint64_t number, int result)
{
    char line[64];

    snprintf(line, sizeof(line), "ImReply id=%d result=%d\n", (int)number, result);
    expect_told(w, node, line);
}

static void a_sip_message_reaches_a_client(void **state)
{
    struct world *w = *state;
    struct world_client *alice = world_online(w, 1, "alice", "phone");

    proxyd(w, 2, true);
    from_sip(w, 2, 7, "bob@muster.test", "alice@muster.test", "c1@x", "text/plain;charset=utf-8",
             "<hi>");
    world_expect(alice, "<message from=\"bob@muster.test/sip\" id=\"c1@x\" "
                        "to=\"alice@muster.test\" type=\"chat\"><body>&lt;hi&gt;</body>");
    expect_reply(w, 2, 7, ACCEPTED);
    from_sip(w, 2, 8, "bob@muster.test", "alice@muster.test", "c1@x", "text/plain", "<hi>");
    world_never(alice, "<hi>");
    expect_reply(w, 2, 8, ACCEPTED);
}

static void a_client_writes_to_a_sip_device(void **state)
{
    struct world *w = *state;
    struct world_client *alice = world_online(w, 1, "alice", "phone");

    proxyd(w, 2, true);
    registered(w, 2, "bob@muster.test", 1);
    world_say(w, alice,
              "<message to='bob@muster.test/sip' type='chat' id='9'><body>hi</body>"
              "<origin-id xmlns='urn:xmpp:sid:0' id='o9'/></message>"
              "<r xmlns='urn:xmpp:sm:3'/>");
    expect_told(w, 2, "Im from=alice@muster.test/phone to=bob@muster.test id=o9 body=hi\n");
    world_never(alice, "h=\"2\"");
    device_says(w, 2, ACCEPTED);
    world_expect(alice, "h=\"2\"");
}

static void a_device_that_does_not_answer_is_no_loss(void **state)
{
    struct world *w = *state;
    struct world_client *alice = world_online(w, 1, "alice", "phone");

    proxyd(w, 2, true);
    registered(w, 2, "bob@muster.test", 1);
    world_say(w, alice,
              "<message to='bob@muster.test' type='chat' id='9'><body>hi</body></message>"
              "<r xmlns='urn:xmpp:sm:3'/>");
    device_says(w, 2, UNAVAILABLE);
    world_expect(alice, "h=\"2\"");
    assert_non_null(w->messages);
    registered(w, 2, "bob@muster.test", 2);
    expect_told(w, 2, "body=hi\n");
    expect_told(w, 2, "body=hi\n");
    device_says(w, 2, ACCEPTED);
    assert_null(w->messages);
}

static void what_is_for_the_device_goes_there_first(void **state)
{
    struct world *w = *state;
    struct world_client *alice = world_online(w, 1, "alice", "phone");
    struct world_client *bob = world_online(w, 2, "bob", "desk");

    proxyd(w, 2, true);
    registered(w, 2, "bob@muster.test", 1);
    world_say(w, alice, "<message to='bob@muster.test/sip' id='1'><body>one</body></message>");
    expect_told(w, 2, "body=one\n");
    device_says(w, 2, ACCEPTED);
    world_never(bob, "one");
    world_say(w, alice, "<message to='bob@muster.test/sip' id='2'><body>two</body></message>");
    device_says(w, 2, UNAVAILABLE);
    world_expect(bob, "<body>two</body>");
    world_say(w, alice, "<message to='bob@muster.test' id='3'><body>all</body></message>");
    world_expect(bob, "<body>all</body>");
    expect_told(w, 2, "body=all\n");
}

static void a_device_that_refuses_is_heard(void **state)
{
    struct world *w = *state;
    struct world_client *alice = world_online(w, 1, "alice", "phone");

    proxyd(w, 2, true);
    registered(w, 2, "bob@muster.test", 1);
    world_say(w, alice, "<message to='bob@muster.test' id='9'><body>hi</body></message>");
    device_says(w, 2, REFUSED);
    world_expect(alice, "<not-acceptable");
    assert_null(w->messages);
}

static void a_proxyd_that_comes_back_is_asked_again(void **state)
{
    struct world *w = *state;
    struct world_client *alice = world_online(w, 1, "alice", "phone");

    proxyd(w, 2, true);
    registered(w, 2, "bob@muster.test", 1);
    world_say(w, alice, "<message to='bob@muster.test' id='9'><body>hi</body></message>");
    expect_told(w, 2, "body=hi\n");
    proxyd(w, 2, false);
    world_pass(w, 1000);
    proxyd(w, 2, true);
    expect_told(w, 2, "body=hi\n");
    proxyd(w, 2, false);
    world_pass(w, 6000);
    assert_non_null(w->messages);
}

static void bindings_that_are_not_repeated_are_gone(void **state)
{
    struct world *w = *state;
    struct world_client *alice = world_online(w, 1, "alice", "phone");

    proxyd(w, 2, true);
    registered(w, 2, "bob@muster.test", 1);
    registered(w, 2, "carol@muster.test", 1);
    proxyd(w, 2, false);
    proxyd(w, 2, true);
    registered(w, 2, "carol@muster.test", 1);
    registered(w, 2, "", 0);
    buf_clear(&w->nodes[2].to_proxyd);
    world_say(w, alice,
              "<message to='bob@muster.test' id='1'><body>hi</body></message>"
              "<message to='carol@muster.test' id='2'><body>ho</body></message>");
    expect_told(w, 2, "body=ho\n");
    assert_non_null(w->messages);
}

static void what_no_client_can_read_is_refused(void **state)
{
    struct world *w = *state;
    struct world_client *alice = world_online(w, 1, "alice", "phone");

    proxyd(w, 2, true);
    from_sip(w, 2, 7, "bob@muster.test", "alice@muster.test", "c1", "image/png", "x");
    expect_reply(w, 2, 7, REFUSED);
    from_sip(w, 2, 8, "bob@muster.test", "eve@muster.test", "c2", "text/plain", "x");
    expect_reply(w, 2, 8, NOT_FOUND);
    world_never(alice, "message");
}

static void an_im_without_a_way_is_busy_after_a_while(void **state)
{
    struct world *w = *state;

    proxyd(w, 2, true);
    world_link(w, false);
    from_sip(w, 2, 7, "bob@muster.test", "alice@muster.test", "c1", "text/plain", "x");
    assert_int_equal(w->nodes[2].to_proxyd.len, 0);
    world_pass(w, 31000);
    expect_reply(w, 2, 7, BUSY);
}

/* ---- who gets what (RFC 6121, 8.5) ---- */

static void the_bare_jid_means_all_that_are_there(void **state)
{
    struct world *w = *state;
    struct world_client *alice = world_online(w, 1, "alice", "phone");
    struct world_client *one = world_online(w, 2, "bob", "one");
    struct world_client *two = world_online(w, 2, "bob", "two");
    struct world_client *shy = world_online(w, 2, "bob", "shy");

    world_say(w, shy, "<presence><priority>-1</priority></presence>");
    world_ignore(shy);
    world_say(w, alice, "<message to='bob@muster.test' type='chat'><body>all</body></message>");
    world_expect(one, "<body>all</body>");
    world_expect(two, "<body>all</body>");
    world_never(shy, "<body>all</body>");
    world_say(w, alice, "<message to='bob@muster.test/shy' type='chat'><body>shy</body></message>");
    world_expect(shy, "<body>shy</body>");
    world_never(one, "<body>shy</body>");
    world_say(w, alice, "<message to='bob@muster.test/gone' type='chat'><body>x</body></message>");
    world_expect(one, "<body>x</body>");
}

static void each_type_has_its_rule(void **state)
{
    static const struct {
        const char *to, *type;
        bool stored;
        const char *error; /* NULL: none */
    } rows[] = {
        {"bob@muster.test", "chat", true, NULL},
        {"bob@muster.test", "normal", true, NULL},
        {"bob@muster.test/x", "chat", true, NULL},
        {"bob@muster.test", "headline", false, NULL},
        {"bob@muster.test", "groupchat", false, "<service-unavailable"},
        {"bob@muster.test/x", "groupchat", false, "<service-unavailable"},
        {"bob@muster.test", "error", false, NULL},
        {"eve@muster.test", "chat", false, "<service-unavailable"},
        {"eve@muster.test", "error", false, NULL},
        {"muster.test", "chat", false, "<service-unavailable"},
        {"bob@example.org", "chat", false, "<remote-server-not-found"},
        {"@", "chat", false, "<jid-malformed"},
    };
    struct world *w = *state;
    struct world_client *alice = world_online(w, 1, "alice", "phone");

    for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
        print_message("%s %s\n", rows[i].to, rows[i].type);
        world_ignore(alice);
        world_say(w, alice, "<message to='%s' type='%s' id='i%zu'><body>x</body></message>",
                  rows[i].to, rows[i].type, i);
        assert_int_equal(w->messages != NULL, rows[i].stored);
        if (rows[i].error)
            world_expect(alice, rows[i].error);
        else
            world_never(alice, "error");
        while (w->messages)
            world_message_free(w, w->messages);
    }
}

static void what_nobody_would_miss_is_not_stored(void **state)
{
    struct world *w = *state;
    struct world_client *alice = world_online(w, 1, "alice", "phone");

    world_say(w, alice,
              "<message to='bob@muster.test' type='chat'><composing "
              "xmlns='http://jabber.org/protocol/chatstates'/></message>"
              "<r xmlns='urn:xmpp:sm:3'/>");
    world_expect(alice, "h=\"2\"");
    assert_null(w->messages);
}

static void a_full_store_is_told(void **state)
{
    struct world *w = *state;
    struct world_client *alice = world_online(w, 1, "alice", "phone");

    w->database = DB_E_REFUSED;
    world_say(w, alice,
              "<message to='bob@muster.test' id='1'><body>x</body></message>"
              "<r xmlns='urn:xmpp:sm:3'/>");
    world_expect(alice, "<service-unavailable");
    world_pass(w, 1000);
    world_expect(alice, "h=\"2\"");
}

static void a_store_that_is_away_is_waited_for(void **state)
{
    struct world *w = *state;
    struct world_client *alice = world_online(w, 1, "alice", "phone");

    w->database = DB_E_DOWN;
    world_say(w, alice,
              "<message to='bob@muster.test' id='1'><body>x</body></message>"
              "<r xmlns='urn:xmpp:sm:3'/>");
    world_pass(w, 5000);
    world_never(alice, "h=\"2\"");
    w->database = DB_OK;
    world_pass(w, 1500);
    world_expect(alice, "h=\"2\"");
    assert_non_null(w->messages);
}

static void a_store_in_doubt_is_never_called_lost(void **state)
{
    struct world *w = *state;
    struct world_client *alice = world_online(w, 1, "alice", "phone");

    w->database = DB_E_UNKNOWN;
    world_say(w, alice,
              "<message to='bob@muster.test' id='1'><body>x</body></message>"
              "<r xmlns='urn:xmpp:sm:3'/>");
    world_pass(w, 50000);
    world_never(alice, "error");
    world_never(alice, "h=\"2\"");
    w->database = DB_OK;
    world_pass(w, 1500);
    world_expect(alice, "h=\"2\"");
}

/* ---- the same and not the same ---- */

static void an_id_that_begins_anew_is_another_message(void **state)
{
    struct world *w = *state;
    struct world_client *alice = world_online(w, 1, "alice", "phone");
    struct world_client *bob = world_online(w, 2, "bob", "desk");

    world_say(w, alice,
              "<message to='bob@muster.test' id='1'><body>one</body></message>"
              "<message to='bob@muster.test' id='1'><body>two</body></message>"
              "<message to='bob@muster.test' id='1'><body>one</body></message>");
    world_expect(bob, "<body>one</body>");
    world_expect(bob, "<body>two</body>");
    world_never(bob, "<body>one</body>");
}

static void messages_are_forgotten_after_a_while(void **state)
{
    struct world *w = *state;
    struct world_client *alice = world_login(w, 1, "alice", "phone");
    struct world_client *bob = world_login(w, 2, "bob", "desk");
    const char *again = "<message to='bob@muster.test'><body>x</body><origin-id "
                        "xmlns='urn:xmpp:sid:0' id='o'/></message>";

    world_say(w, bob, "<presence/>");
    world_say(w, alice, "%s", again);
    world_expect(bob, "<body>x</body>");
    world_pass(w, 590000);
    world_say(w, alice, "%s", again);
    world_never(bob, "<body>x</body>");
    world_pass(w, 20000);
    world_say(w, alice, "%s", again);
    world_expect(bob, "<body>x</body>");
}

static void only_we_speak_in_our_name(void **state)
{
    struct world *w = *state;
    struct world_client *alice = world_online(w, 1, "alice", "phone");
    struct world_client *bob = world_online(w, 2, "bob", "desk");

    world_say(w, alice,
              "<message to='bob@muster.test' id='1'><stanza-id xmlns='urn:xmpp:sid:0' "
              "by='bob@muster.test' id='forged'/><delay xmlns='urn:xmpp:delay' from='muster.test' "
              "stamp='2000-01-01T00:00:00Z'/><body>x</body></message>");
    world_never(bob, "forged");
    world_never(bob, "2000-01-01");
    world_expect(bob, "<stanza-id xmlns=\"urn:xmpp:sid:0\" by=\"bob@muster.test\"");
}

/* ---- limits ---- */

static void a_queue_that_is_full_overflows_into_the_store(void **state)
{
    struct world *w = *state;
    struct world_client *alice = world_online(w, 1, "alice", "phone");
    struct world_client *bob;

    w->params.routerd_queue_stanzas_max = 4;
    bob = world_online(w, 2, "bob", "desk"); /* its own presence is the first */
    world_break(w, bob);
    for (int i = 0; i < 6; i++)
        world_say(w, alice, "<message to='bob@muster.test'><body>m%d</body></message>", i);
    assert_non_null(w->messages);
    assert_memory_equal(w->messages->im->body.data, "m3", 2);
    bob = world_resume(w, 2, "bob", bob, 1);
    world_expect(bob, "<body>m0</body>");
    world_expect(bob, "<body>m2</body>");
}

static void a_client_that_says_it_had_more_is_cut_off(void **state)
{
    struct world *w = *state;
    struct world_client *bob = world_online(w, 2, "bob", "desk");

    world_say(w, bob, "<a xmlns='urn:xmpp:sm:3' h='50'/>");
    world_expect(bob, "<undefined-condition");
    world_expect(bob,
                 "<handled-count-too-high xmlns=\"urn:xmpp:sm:3\" h=\"50\" send-count=\"1\"/>");
    assert_true(bob->closed);
}

static void a_client_that_does_not_answer_is_taken_for_gone(void **state)
{
    struct world *w = *state;
    struct world_client *bob = world_online(w, 2, "bob", "desk");

    world_pass(w, 61000);
    world_expect(bob, "<connection-timeout");
    bob = world_resume(w, 2, "bob", bob, 1);
    world_expect(bob, "<resumed");
}

static void a_newer_connection_takes_the_session_over(void **state)
{
    struct world *w = *state;
    struct world_client *old = world_online(w, 2, "bob", "desk");
    struct world_client *new = world_resume(w, 2, "bob", old, 1);

    world_expect(old, "<conflict");
    world_expect(new, "<resumed");
    assert_true(old->closed && !new->closed);
}

static void a_session_is_resumed_by_its_user_only(void **state)
{
    struct world *w = *state;
    struct world_client *bob = world_online(w, 2, "bob", "desk");
    struct world_client *carol = world_resume(w, 2, "carol", bob, 0);

    world_expect(carol, "<item-not-found");
    assert_false(bob->closed);
}

/* ---- IQ ---- */

static void the_server_answers(void **state)
{
    struct world *w = *state;
    struct world_client *alice = world_online(w, 1, "alice", "phone");

    world_say(w, alice,
              "<iq type='get' id='1' to='muster.test'><ping xmlns='urn:xmpp:ping'/></iq>");
    world_expect(alice, "<iq type=\"result\" id=\"1\" from=\"muster.test\" "
                        "to=\"alice@muster.test/phone\"/>");
    world_say(w, alice,
              "<iq type='get' id='2' to='muster.test'><query "
              "xmlns='http://jabber.org/protocol/disco#info'/></iq>");
    world_expect(alice, "<identity category=\"server\" type=\"im\"");
    world_expect(alice, "<feature var=\"urn:xmpp:ping\"/>");
    world_say(w, alice,
              "<iq type='set' id='3'><session "
              "xmlns='urn:ietf:params:xml:ns:xmpp-session'/></iq>");
    world_expect(alice, "<iq type=\"result\" id=\"3\"");
    world_say(w, alice, "<iq type='get' id='4'><query xmlns='jabber:iq:private'/></iq>");
    world_expect(alice, "<service-unavailable");
    world_say(w, alice, "<iq type='get' id='5'/>");
    world_expect(alice, "<bad-request");
    world_say(w, alice, "<iq type='get'><ping xmlns='urn:xmpp:ping'/></iq>");
    world_expect(alice, "<bad-request");
}

static void clients_ask_each_other(void **state)
{
    struct world *w = *state;
    struct world_client *alice = world_online(w, 1, "alice", "phone");
    struct world_client *bob = world_online(w, 2, "bob", "desk");

    world_say(w, alice, "<iq type='get' id='1' to='bob@muster.test/desk'><q xmlns='x:y'/></iq>");
    world_expect(bob, "from=\"alice@muster.test/phone\"");
    world_say(w, bob, "<iq type='result' id='1' to='alice@muster.test/phone'/>");
    world_expect(alice, "type=\"result\"");
    world_say(w, alice, "<iq type='get' id='2' to='bob@muster.test/gone'><q xmlns='x:y'/></iq>");
    world_expect(alice, "<iq type=\"error\" id=\"2\" from=\"bob@muster.test/gone\"");
    world_link(w, false);
    world_say(w, alice, "<iq type='get' id='3' to='bob@muster.test/desk'><q xmlns='x:y'/></iq>");
    world_expect(alice, "<service-unavailable");
}

#define STORY(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        STORY(a_sip_message_reaches_a_client),
        STORY(a_client_writes_to_a_sip_device),
        STORY(a_device_that_does_not_answer_is_no_loss),
        STORY(what_is_for_the_device_goes_there_first),
        STORY(a_device_that_refuses_is_heard),
        STORY(a_proxyd_that_comes_back_is_asked_again),
        STORY(bindings_that_are_not_repeated_are_gone),
        STORY(what_no_client_can_read_is_refused),
        STORY(an_im_without_a_way_is_busy_after_a_while),
        STORY(the_bare_jid_means_all_that_are_there),
        STORY(each_type_has_its_rule),
        STORY(what_nobody_would_miss_is_not_stored),
        STORY(a_full_store_is_told),
        STORY(a_store_that_is_away_is_waited_for),
        STORY(a_store_in_doubt_is_never_called_lost),
        STORY(an_id_that_begins_anew_is_another_message),
        STORY(messages_are_forgotten_after_a_while),
        STORY(only_we_speak_in_our_name),
        STORY(a_queue_that_is_full_overflows_into_the_store),
        STORY(a_client_that_says_it_had_more_is_cut_off),
        STORY(a_client_that_does_not_answer_is_taken_for_gone),
        STORY(a_newer_connection_takes_the_session_over),
        STORY(a_session_is_resumed_by_its_user_only),
        STORY(the_server_answers),
        STORY(clients_ask_each_other),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
