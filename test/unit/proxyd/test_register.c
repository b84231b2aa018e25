// SPDX-License-Identifier: Apache-2.0
/*
 * Authentication and the registrar, as stories: what a client sends, what it is told.
 */
#include "common/util.h"
#include "test/unit/proxyd/world.h"

#define OK      "SIP/2.0 200 OK > udp 192.0.2.9:5070\n"
#define CONTACT "Contact: <sip:bob@192.0.2.9:5070>\r\n"

static void reg(struct world *w, const char *headers)
{
    world_request(w, "bob", "REGISTER", "sip:muster.test", headers, "");
}

/* ---- who are you? ---- */

static void stranger_is_challenged(void **state)
{
    struct world w;

    (void)state;
    world_begin(&w);
    reg(&w, CONTACT);
    world_expect(&w, "SIP/2.0 401 Unauthorized > udp 192.0.2.9:5070\n");
    world_sent(&w, "algorithm=SHA-256\r\nWWW-Authenticate: Digest realm=\"muster.test\", "
                   "qop=\"auth\", nonce=\"");
    world_sent(&w, "algorithm=MD5\r\n");
    reg(&w, CONTACT);
    world_expect(&w, "routerd: bob@muster.test has 1\n" OK);
    world_end(&w);
}

struct login {
    const char *name, *userid, *password;
    bool sha256;
    uint64_t later_ms;
    const char *said;
};

static void credentials_are_checked(void **state)
{
    // clang-format off
    static const struct login logins[] = {
        {"SHA-256", "bob", "secret-bob", true, 0, OK},
        {"MD5", "bob", "secret-bob", false, 0, OK},
        {"wrong password", "bob", "secret-alice", true, 0, "SIP/2.0 401 Unauthorized > udp 192.0.2.9:5070\n"},
        {"nobody", "nobody", "secret-bob", true, 0, "SIP/2.0 401 Unauthorized > udp 192.0.2.9:5070\n"},
        {"somebody else", "alice", "secret-alice", true, 0, "SIP/2.0 403 From Is Not Who You Are > udp 192.0.2.9:5070\n"},
        {"just in time", "bob", "secret-bob", true, 299999, OK},
        {"old nonce", "bob", "secret-bob", true, 300000, "SIP/2.0 401 Unauthorized > udp 192.0.2.9:5070\n"},
    };
    // clang-format on
    struct sip_flow flow = {.transport = SIP_UDP, .remote = {"192.0.2.9", 5070}};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(logins); i++) {
        const struct login *l = &logins[i];
        struct world w;
        struct buf out;

        world_begin(&w);
        world_challenge(&w);
        world_wait(&w, l->later_ms);
        buf_init(&out, 4096);
        buf_puts(&out, "REGISTER sip:muster.test SIP/2.0\r\n"
                       "Via: SIP/2.0/UDP 192.0.2.9:5070;branch=z9hG4bKx\r\n"
                       "From: <sip:bob@muster.test>;tag=1\r\nTo: <sip:bob@muster.test>\r\n"
                       "Call-ID: x\r\nCSeq: 9 REGISTER\r\n");
        put_authorization(&out, l->userid, l->password, "REGISTER", w.nonce, l->sha256);
        buf_puts(&out, "\r\n");
        world_receive(&w, &flow, out.data);
        if (strcmp(w.trace.data, l->said) != 0)
            fail_msg("%s: said %s", l->name, w.trace.data);
        if (l->later_ms >= 300000)
            world_sent(&w, "stale=true");
        buf_done(&out);
        world_end(&w);
    }
}

static void forged_nonce_is_worth_nothing(void **state)
{
    struct world w;

    (void)state;
    world_begin(&w);
    world_challenge(&w);
    w.nonce[15] ^= 1; /* a millisecond younger or older */
    reg(&w, CONTACT);
    world_expect(&w, "SIP/2.0 401 Unauthorized > udp 192.0.2.9:5070\n");
    assert_null(strstr(w.sent.data, "stale"));
    world_end(&w);
}

/* ---- bindings ---- */

static void binding_is_made_refreshed_listed_and_removed(void **state)
{
    struct world w;

    (void)state;
    world_begin(&w);
    world_challenge(&w);
    reg(&w, CONTACT "Expires: 600\r\n");
    world_expect(&w, "routerd: bob@muster.test has 1\n" OK);
    world_sent(&w, "Contact: <sip:bob@192.0.2.9:5070>;expires=600\r\n");
    world_sent(&w, "Date: Tue, 14 Nov 2023 22:13:20 GMT\r\n");
    world_wait(&w, 100000);
    reg(&w, "");
    world_sent(&w, "Contact: <sip:bob@192.0.2.9:5070>;expires=500\r\n");
    reg(&w, "m: \"Bob\" <sip:bob@192.0.2.9:5070>;expires=100;q=0.5\r\n"
            "Contact: <sip:bob@192.0.2.9:5090>\r\n");
    world_expect(&w, OK "routerd: bob@muster.test has 2\n" OK);
    world_sent(&w, "Contact: <sip:bob@192.0.2.9:5070>;q=0.5;expires=100\r\n"
                   "Contact: <sip:bob@192.0.2.9:5090>;expires=3600\r\n");
    reg(&w, "Contact: <sip:bob@192.0.2.9:5090>;expires=0\r\n");
    world_expect(&w, "routerd: bob@muster.test has 1\n" OK);
    world_wait(&w, 100000);
    world_expect(&w, "routerd: bob@muster.test has 0\n");
    assert_int_equal(replica_count(w.replica, 1), 0);
    world_end(&w);
}

static void star_removes_all(void **state)
{
    struct world w;

    (void)state;
    world_begin(&w);
    world_challenge(&w);
    reg(&w, CONTACT "Contact: <sip:bob@192.0.2.10>\r\n");
    reg(&w, "Contact: *\r\n");
    world_expect(&w, "routerd: bob@muster.test has 2\n" OK
                     "SIP/2.0 400 Contact * Needs Expires 0 Alone > udp 192.0.2.9:5070\n");
    reg(&w, "Contact: *, <sip:bob@192.0.2.10>\r\nExpires: 0\r\n");
    world_expect(&w, "SIP/2.0 400 Contact * Needs Expires 0 Alone > udp 192.0.2.9:5070\n");
    reg(&w, "Contact: *\r\nExpires: 0\r\n");
    world_expect(&w, "routerd: bob@muster.test has 0\n" OK);
    assert_int_equal(replica_count(w.replica, 1), 0);
    world_end(&w);
}

static void instance_has_one_binding_wherever_it_is(void **state)
{
    struct world w;

    (void)state;
    world_begin(&w);
    world_challenge(&w);
    reg(&w, "Contact: <sip:bob@192.0.2.9:5070>;+sip.instance=\"<urn:uuid:1>\"\r\n");
    reg(&w, "Contact: <sip:bob@192.0.2.77:9999>;+sip.instance=\"<urn:uuid:1>\"\r\n");
    world_expect(&w, "routerd: bob@muster.test has 1\n" OK OK);
    world_sent(&w,
               "Contact: <sip:bob@192.0.2.77:9999>;+sip.instance=\"<urn:uuid:1>\";expires=3600");
    world_end(&w);
}

static void refusals_change_nothing(void **state)
{
    // clang-format off
    static const struct { const char *headers, *said; } rows[] = {
        {"Contact: <sip:bob@192.0.2.10>;expires=59\r\n", "SIP/2.0 423 Interval Too Brief"},
        {"Contact: <sip:bob@192.0.2.10>, <sip:bob@192.0.2.11>;expires=1\r\n", "SIP/2.0 423 Interval Too Brief"},
        {"Contact: <mailto:bob@192.0.2.10>\r\n", "SIP/2.0 400 Malformed Contact"},
        {"Contact: sip:user@example.com?Route=%3Csip:sip.example.com%3E\r\n", "SIP/2.0 400 Malformed Contact"},
        {"Contact: <sip:bob@192.0.2.10\r\n", "SIP/2.0 400 Malformed Contact"},
        {"To: <sip:alice@muster.test>\r\n", "SIP/2.0 403 Not Your Address Of Record"},
        {"To: <sip:bob@example.com>\r\n", "SIP/2.0 404 Not Found"},
        {"Require: outbound\r\n", "SIP/2.0 420 Bad Extension"},
        {"Contact: <sip:1@a>,<sip:2@a>,<sip:3@a>,<sip:4@a>,<sip:5@a>,<sip:6@a>,<sip:7@a>,<sip:8@a>,<sip:9@a>,<sip:10@a>\r\n",
         "SIP/2.0 403 Too Many Bindings"},
    };
    // clang-format on
    struct world w;

    (void)state;
    world_begin(&w);
    world_challenge(&w);
    reg(&w, CONTACT);
    world_expect(&w, "routerd: bob@muster.test has 1\n" OK);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        reg(&w, rows[i].headers);
        if (strncmp(w.sent.data, rows[i].said, strlen(rows[i].said)) != 0)
            fail_msg("to %s it said %s", rows[i].headers, w.sent.data);
        buf_clear(&w.trace);
        assert_int_equal(replica_count(w.replica, 1), 1);
    }
    world_end(&w);
}

static void old_requests_do_not_undo_new_ones(void **state)
{
    struct world w;

    (void)state;
    world_begin(&w);
    world_challenge(&w);
    reg(&w, CONTACT);
    world_expect(&w, "routerd: bob@muster.test has 1\n" OK);
    world_wait(&w, 40000);
    w.cseq -= 2;
    reg(&w, CONTACT "Expires: 0\r\n");
    world_expect(&w, "SIP/2.0 500 CSeq Out Of Order > udp 192.0.2.9:5070\n");
    world_end(&w);
}

static void ten_bindings_can_be_replaced_by_ten(void **state)
{
    struct world w;

    (void)state;
    world_begin(&w);
    world_challenge(&w);
    reg(&w, "Contact: <sip:1@a>,<sip:2@a>,<sip:3@a>,<sip:4@a>,<sip:5@a>,<sip:6@a>,<sip:7@a>,"
            "<sip:8@a>,<sip:9@a>,<sip:10@a>\r\n");
    world_expect(&w, "routerd: bob@muster.test has 10\n" OK);
    reg(&w, "Contact: <sip:1@a>;expires=0,<sip:11@a>\r\n");
    world_expect(&w, OK);
    reg(&w, "Contact: <sip:12@a>\r\n");
    world_expect(&w, "SIP/2.0 403 Too Many Bindings > udp 192.0.2.9:5070\n");
    world_end(&w);
}

/* ---- who serves whom ---- */

static void bindings_follow_the_view(void **state)
{
    struct world w;

    (void)state;
    world_begin(&w);
    world_challenge(&w);
    reg(&w, CONTACT "Expires: 600\r\n");
    buf_clear(&w.trace);
    world_view(&w, 2, 2);
    world_expect(&w, "routerd: bob@muster.test has 0\n");
    assert_int_equal(replica_count(w.replica, 1), 1);
    world_wait(&w, 500000);
    world_expect(&w, "");
    world_view(&w, 1, 2);
    world_expect(&w, "routerd: bob@muster.test has 1\n");
    world_wait(&w, 99999);
    world_expect(&w, "");
    world_wait(&w, 1);
    world_expect(&w, "routerd: bob@muster.test has 0\n");
    assert_int_equal(replica_count(w.replica, 1), 0);
    world_end(&w);
}

static void new_link_to_routerd_is_told_everything(void **state)
{
    struct world w;

    (void)state;
    world_begin(&w);
    world_challenge(&w);
    proxy_routerd_link(w.proxy, false, w.now);
    reg(&w, CONTACT);
    world_expect(&w, OK);
    proxy_routerd_link(w.proxy, true, w.now);
    world_expect(&w, "routerd: bob@muster.test has 1\nrouterd: nobody else has 0\n");
    world_end(&w);
}

static void deleted_user_leaves_nothing(void **state)
{
    struct world w;

    (void)state;
    world_begin(&w);
    world_challenge(&w);
    reg(&w, CONTACT);
    buf_clear(&w.trace);
    directory_remove(w.users, STR("bob@muster.test"));
    proxy_users_changed(w.proxy, "bob@muster.test", w.now);
    world_expect(&w, "routerd: bob@muster.test has 0\n");
    assert_int_equal(replica_count(w.replica, 1), 0);
    world_end(&w);
}

static void users_without_a_node_wait(void **state)
{
    struct world w;

    (void)state;
    world_begin(&w);
    world_challenge(&w);
    world_view(&w, 0, 2);
    reg(&w, CONTACT);
    world_expect(&w, "SIP/2.0 503 Service Unavailable > udp 192.0.2.9:5070\n");
    world_sent(&w, "Retry-After: ");
    world_end(&w);
}

static void without_a_lease_nobody_is_served(void **state)
{
    struct world w;

    (void)state;
    world_begin(&w);
    world_challenge(&w);
    w.view.lease_until = mono_after(w.now.mono, 2000);
    world_wait(&w, 2001);
    reg(&w, CONTACT);
    world_expect(&w, "SIP/2.0 503 Service Unavailable > udp 192.0.2.9:5070\n");
    world_end(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(stranger_is_challenged),
        cmocka_unit_test(credentials_are_checked),
        cmocka_unit_test(forged_nonce_is_worth_nothing),
        cmocka_unit_test(binding_is_made_refreshed_listed_and_removed),
        cmocka_unit_test(star_removes_all),
        cmocka_unit_test(instance_has_one_binding_wherever_it_is),
        cmocka_unit_test(refusals_change_nothing),
        cmocka_unit_test(old_requests_do_not_undo_new_ones),
        cmocka_unit_test(ten_bindings_can_be_replaced_by_ten),
        cmocka_unit_test(bindings_follow_the_view),
        cmocka_unit_test(new_link_to_routerd_is_told_everything),
        cmocka_unit_test(deleted_user_leaves_nothing),
        cmocka_unit_test(users_without_a_node_wait),
        cmocka_unit_test(without_a_lease_nobody_is_served),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
