// SPDX-License-Identifier: Apache-2.0
/*
 * SIP transactions, told as stories: what happens at which millisecond, and all that follows from
 * it, as a trace.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "common/mem.h"
#include "common/util.h"
#include "proxyd/sip/print.h"
#include "proxyd/sip/transactions.h"

struct world {
    struct sip_transactions *all;
    struct buf trace;
    mono_t now;
    struct sip_server *server; /* of the last new request */
    uint64_t token;            /* of the last request that was sent */
};

static void on_send(void *ctx, const struct sip_flow *to, struct str bytes, uint64_t token)
{
    struct world *w = ctx;
    struct str line, rest;

    str_cut(bytes, '\r', &line, &rest);
    if (token)
        w->token = token;
    buf_printf(&w->trace, "[%d] %.*s to %s:%u\n", (int)w->now.ms, STR_ARG(line), to->remote.host,
               to->remote.port);
}

static void on_response(void *ctx, unsigned code, const struct sip_msg *response, mono_t now)
{
    struct world *w = ctx;

    (void)response;
    buf_printf(&w->trace, "[%d] told %u\n", (int)now.ms, code);
}

static struct world begin(void)
{
    struct world w = {0};

    buf_init(&w.trace, 1 << 20);
    return w;
}

static void start(struct world *w)
{
    w->all = sip_tx_new(&(struct sip_tx_config){.send = on_send, .ctx = w, .max = 100});
}

static void end(struct world *w, const char *expected)
{
    if (strcmp(w->trace.data ? w->trace.data : "", expected) != 0)
        fail_msg("it was\n%s, not\n%s", w->trace.data, expected);
    sip_tx_check(w->all);
    sip_tx_free(w->all);
    buf_done(&w->trace);
}

/* Lets time pass, each deadline at its instant. */
static void until(struct world *w, uint64_t ms)
{
    while (sip_tx_deadline(w->all).ms <= ms) {
        w->now = sip_tx_deadline(w->all);
        sip_tx_tick(w->all, w->now);
        sip_tx_check(w->all);
    }
    w->now.ms = ms;
}

static struct sip_msg *message(const char *start_line, const char *method, const char *branch,
                               const char *to_tag, enum sip_transport transport)
{
    struct sip_flow flow = {.transport = transport, .remote = {"192.0.2.9", 5070}};
    struct sip_msg *m;
    struct buf text;

    buf_init(&text, 4096);
    buf_printf(&text,
               "%s\r\nVia: SIP/2.0/UDP 192.0.2.9:5070;branch=%s\r\nFrom: <sip:a@x.test>;tag=1\r\n"
               "To: <sip:b@x.test>%s\r\nCall-ID: c\r\nCSeq: 7 %s\r\nContent-Length: 0\r\n\r\n",
               start_line, branch, to_tag, method);
    m = sip_msg_parse(buf_str(&text), &flow);
    assert_non_null(m);
    buf_done(&text);
    return m;
}

static void request_over(struct world *w, const char *method, const char *branch,
                         enum sip_transport transport)
{
    static const char *const verdicts[] = {"new", "merged", "absorbed", "full"};
    struct sip_msg *m;
    enum sip_tx_verdict verdict;
    char line[100];

    snprintf(line, sizeof(line), "%s sip:b@x.test SIP/2.0", method);
    m = message(line, method, branch, "", transport);
    verdict = sip_tx_request(w->all, m, w->now, &w->server);
    if (verdict == SIP_TX_FULL)
        sip_msg_free(m);
    buf_printf(&w->trace, "[%d] %s is %s\n", (int)w->now.ms, method, verdicts[verdict]);
    sip_tx_check(w->all);
}

static void request(struct world *w, const char *method, const char *branch)
{
    request_over(w, method, branch, SIP_UDP);
}

static void reply(struct world *w, unsigned code)
{
    char bytes[100];

    snprintf(bytes, sizeof(bytes), "SIP/2.0 %u X\r\n", code);
    sip_server_reply(w->server, code, str_of(bytes), w->now);
    sip_tx_check(w->all);
}

static void ask(struct world *w, enum sip_method method, enum sip_transport transport)
{
    struct buf bytes;

    buf_init(&bytes, 4096);
    buf_printf(&bytes,
               "%s sip:b@x.test SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bKme\r\n"
               "From: <sip:a@x.test>;tag=1\r\nTo: <sip:b@x.test>\r\nCall-ID: c\r\nCSeq: 7 %s\r\n"
               "Content-Length: 0\r\n\r\n",
               sip_method_name(method), sip_method_name(method));
    sip_client_start(w->all,
                     &(struct sip_client_config){.method = method,
                                                 .branch = STR("z9hG4bKme"),
                                                 .to = {transport, {"192.0.2.9", 5070}, 0},
                                                 .bytes = buf_str(&bytes),
                                                 .on_response = on_response,
                                                 .ctx = w},
                     w->now);
    buf_done(&bytes);
    sip_tx_check(w->all);
}

static void answer(struct world *w, unsigned code, const char *method)
{
    char line[100];
    struct sip_msg *m;

    snprintf(line, sizeof(line), "SIP/2.0 %u X", code);
    m = message(line, method, "z9hG4bKme", ";tag=2", SIP_UDP);
    if (!sip_tx_response(w->all, m, w->now))
        buf_printf(&w->trace, "[%d] %u belongs to nothing\n", (int)w->now.ms, code);
    sip_msg_free(m);
    sip_tx_check(w->all);
}

/* ---- servers ---- */

static void request_is_handled_once_and_answered_as_often_as_it_comes(void **state)
{
    struct world w = begin();

    (void)state;
    start(&w);
    request(&w, "MESSAGE", "z9hG4bK1");
    until(&w, 400);
    request(&w, "MESSAGE", "z9hG4bK1"); /* nothing to say yet */
    until(&w, 500);
    reply(&w, 200);
    until(&w, 900);
    request(&w, "MESSAGE", "z9hG4bK1");
    until(&w, 32499);
    request(&w, "MESSAGE", "z9hG4bK1");
    until(&w, 32500);
    assert_int_equal(sip_tx_count(w.all), 0);
    request(&w, "MESSAGE", "z9hG4bK1"); /* J has passed: nobody remembers */
    end(&w, "[0] MESSAGE is new\n"
            "[400] MESSAGE is absorbed\n"
            "[500] SIP/2.0 200 X to 192.0.2.9:5070\n"
            "[900] SIP/2.0 200 X to 192.0.2.9:5070\n"
            "[900] MESSAGE is absorbed\n"
            "[32499] SIP/2.0 200 X to 192.0.2.9:5070\n"
            "[32499] MESSAGE is absorbed\n"
            "[32500] MESSAGE is new\n");
}

static void on_streams_a_transaction_ends_with_its_answer(void **state)
{
    struct world w = begin();

    (void)state;
    start(&w);
    request_over(&w, "MESSAGE", "z9hG4bK1", SIP_TCP);
    reply(&w, 200);
    assert_int_equal(sip_tx_count(w.all), 0);
    end(&w, "[0] MESSAGE is new\n[0] SIP/2.0 200 X to 192.0.2.9:5070\n");
}

static void the_same_request_by_two_ways_is_merged(void **state)
{
    struct world w = begin();

    (void)state;
    start(&w);
    request(&w, "SUBSCRIBE", "z9hG4bK1");
    reply(&w, 200);
    request(&w, "SUBSCRIBE", "z9hG4bK2");
    reply(&w, 482);
    request_over(&w, "SUBSCRIBE", "z9hG4bK3", SIP_PEER); /* the client went to another node */
    request(&w, "MESSAGE", "z9hG4bK4");
    request(&w, "MESSAGE", "z9hG4bK5"); /* the router knows it by its id */
    end(&w, "[0] SUBSCRIBE is new\n[0] SIP/2.0 200 X to 192.0.2.9:5070\n"
            "[0] SUBSCRIBE is merged\n[0] SIP/2.0 482 X to 192.0.2.9:5070\n"
            "[0] SUBSCRIBE is new\n[0] MESSAGE is new\n[0] MESSAGE is new\n");
}

static void refusal_of_an_invite_is_repeated_until_its_ack(void **state)
{
    struct world w = begin();

    (void)state;
    start(&w);
    request(&w, "INVITE", "z9hG4bK1");
    reply(&w, 405);
    until(&w, 1600);
    request(&w, "ACK", "z9hG4bK1");
    until(&w, 6600);
    assert_int_equal(sip_tx_count(w.all), 0);
    end(&w, "[0] INVITE is new\n"
            "[0] SIP/2.0 405 X to 192.0.2.9:5070\n"
            "[500] SIP/2.0 405 X to 192.0.2.9:5070\n"
            "[1500] SIP/2.0 405 X to 192.0.2.9:5070\n"
            "[1600] ACK is absorbed\n");
}

static void invite_whose_ack_never_comes_ends_after_h(void **state)
{
    struct world w = begin();

    (void)state;
    start(&w);
    request(&w, "INVITE", "z9hG4bK1");
    reply(&w, 405);
    until(&w, 31999);
    assert_int_equal(sip_tx_count(w.all), 1);
    assert_int_equal(sip_tx_retransmits(w.all), 10);
    until(&w, 32000);
    assert_int_equal(sip_tx_count(w.all), 0);
    sip_tx_free(w.all);
    buf_done(&w.trace);
}

static void accepted_invite_swallows_its_copies(void **state)
{
    struct world w = begin();

    (void)state;
    start(&w);
    request(&w, "INVITE", "z9hG4bK1");
    reply(&w, 180);
    request(&w, "INVITE", "z9hG4bK1");
    reply(&w, 200);
    request(&w, "INVITE", "z9hG4bK1"); /* the 2xx is the user's to repeat (RFC 6026) */
    until(&w, 32000);
    assert_int_equal(sip_tx_count(w.all), 0);
    end(&w, "[0] INVITE is new\n[0] SIP/2.0 180 X to 192.0.2.9:5070\n"
            "[0] SIP/2.0 180 X to 192.0.2.9:5070\n[0] INVITE is absorbed\n"
            "[0] SIP/2.0 200 X to 192.0.2.9:5070\n[0] INVITE is absorbed\n");
}

static void cancel_finds_its_invite(void **state)
{
    struct world w = begin();
    struct sip_msg *cancel =
        message("CANCEL sip:b@x.test SIP/2.0", "CANCEL", "z9hG4bK1", "", SIP_UDP);
    struct sip_msg *other =
        message("CANCEL sip:b@x.test SIP/2.0", "CANCEL", "z9hG4bK2", "", SIP_UDP);

    (void)state;
    start(&w);
    request(&w, "INVITE", "z9hG4bK1");
    assert_true(sip_tx_cancels(w.all, cancel));
    assert_false(sip_tx_cancels(w.all, other));
    sip_msg_free(cancel);
    sip_msg_free(other);
    end(&w, "[0] INVITE is new\n");
}

static void old_clients_are_matched_without_a_cookie(void **state)
{
    struct world w = begin();

    (void)state;
    start(&w);
    request(&w, "MESSAGE", "1");
    request(&w, "MESSAGE", "1");
    request(&w, "OPTIONS", "1");
    end(&w, "[0] MESSAGE is new\n[0] MESSAGE is absorbed\n[0] OPTIONS is new\n");
}

static void beyond_the_limit_there_is_no_transaction(void **state)
{
    struct world w = begin();
    char branch[32];

    (void)state;
    start(&w);
    for (int i = 0; i < 100; i++) {
        snprintf(branch, sizeof(branch), "z9hG4bK%d", i);
        request(&w, "MESSAGE", branch);
    }
    buf_clear(&w.trace);
    request(&w, "MESSAGE", "z9hG4bKlast");
    request(&w, "MESSAGE", "z9hG4bK5");
    end(&w, "[0] MESSAGE is full\n[0] MESSAGE is absorbed\n");
}

/* ---- clients ---- */

static void request_is_repeated_until_its_answer(void **state)
{
    struct world w = begin();

    (void)state;
    start(&w);
    ask(&w, SIP_MESSAGE, SIP_UDP);
    until(&w, 1600);
    answer(&w, 100, "MESSAGE");
    until(&w, 6000);
    answer(&w, 200, "MESSAGE");
    answer(&w, 200, "MESSAGE");
    until(&w, 11000);
    answer(&w, 200, "MESSAGE");
    end(&w, "[0] MESSAGE sip:b@x.test SIP/2.0 to 192.0.2.9:5070\n"
            "[500] MESSAGE sip:b@x.test SIP/2.0 to 192.0.2.9:5070\n"
            "[1500] MESSAGE sip:b@x.test SIP/2.0 to 192.0.2.9:5070\n"
            "[1600] told 100\n"
            "[5600] MESSAGE sip:b@x.test SIP/2.0 to 192.0.2.9:5070\n"
            "[6000] told 200\n"
            "[11000] 200 belongs to nothing\n");
}

static void silence_is_told_as_408(void **state)
{
    struct world w = begin();

    (void)state;
    start(&w);
    ask(&w, SIP_MESSAGE, SIP_UDP);
    until(&w, 31999);
    assert_int_equal(sip_tx_retransmits(w.all), 10);
    buf_clear(&w.trace);
    until(&w, 32000);
    end(&w, "[32000] told 408\n");
}

static void what_cannot_be_sent_is_told_as_503(void **state)
{
    struct world w = begin();

    (void)state;
    start(&w);
    ask(&w, SIP_MESSAGE, SIP_TCP);
    until(&w, 9000);
    sip_tx_failed(w.all, w.token, w.now);
    sip_tx_failed(w.all, w.token, w.now);
    assert_int_equal(sip_tx_count(w.all), 0);
    end(&w, "[0] MESSAGE sip:b@x.test SIP/2.0 to 192.0.2.9:5070\n[9000] told 503\n");
}

static void refused_invite_gets_its_ack_each_time(void **state)
{
    struct world w = begin();

    (void)state;
    start(&w);
    ask(&w, SIP_INVITE, SIP_UDP);
    answer(&w, 180, "INVITE");
    until(&w, 60000);
    answer(&w, 486, "INVITE");
    answer(&w, 486, "INVITE");
    until(&w, 92000);
    answer(&w, 486, "INVITE");
    end(&w, "[0] INVITE sip:b@x.test SIP/2.0 to 192.0.2.9:5070\n"
            "[0] told 180\n"
            "[60000] ACK sip:b@x.test SIP/2.0 to 192.0.2.9:5070\n"
            "[60000] told 486\n"
            "[60000] ACK sip:b@x.test SIP/2.0 to 192.0.2.9:5070\n"
            "[92000] 486 belongs to nothing\n");
}

static void the_same_request_may_be_made_again(void **state)
{
    struct world w = begin();

    (void)state;
    start(&w);
    ask(&w, SIP_MESSAGE, SIP_UDP);
    answer(&w, 480, "MESSAGE");
    ask(&w, SIP_MESSAGE, SIP_UDP);
    answer(&w, 200, "MESSAGE");
    assert_int_equal(sip_tx_count(w.all), 1);
    end(&w, "[0] MESSAGE sip:b@x.test SIP/2.0 to 192.0.2.9:5070\n[0] told 480\n"
            "[0] MESSAGE sip:b@x.test SIP/2.0 to 192.0.2.9:5070\n[0] told 200\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(request_is_handled_once_and_answered_as_often_as_it_comes),
        cmocka_unit_test(on_streams_a_transaction_ends_with_its_answer),
        cmocka_unit_test(the_same_request_by_two_ways_is_merged),
        cmocka_unit_test(refusal_of_an_invite_is_repeated_until_its_ack),
        cmocka_unit_test(invite_whose_ack_never_comes_ends_after_h),
        cmocka_unit_test(accepted_invite_swallows_its_copies),
        cmocka_unit_test(cancel_finds_its_invite),
        cmocka_unit_test(old_clients_are_matched_without_a_cookie),
        cmocka_unit_test(beyond_the_limit_there_is_no_transaction),
        cmocka_unit_test(request_is_repeated_until_its_answer),
        cmocka_unit_test(silence_is_told_as_408),
        cmocka_unit_test(what_cannot_be_sent_is_told_as_503),
        cmocka_unit_test(refused_invite_gets_its_ack_each_time),
        cmocka_unit_test(the_same_request_may_be_made_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
