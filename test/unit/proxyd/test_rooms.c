// SPDX-License-Identifier: Apache-2.0
/*
 * What goes between clients and the rooms (presenced, routerd) and between nodes, as stories.
 */
#include "common/util.h"
#include "test/unit/proxyd/world.h"

#define TO_BOB    " > udp 192.0.2.9:5070\n"
#define PUBLISHED "presenced: publish bob@muster.test [] application/pidf+xml\n"
#define PIDF      "Event: presence\r\nContent-Type: application/pidf+xml\r\n"

static void ready(struct world *w)
{
    world_begin(w);
    world_challenge(w);
}

/* ---- PUBLISH ---- */

static void published(struct world *w, uint32_t code, const char *etag, uint32_t expires_s)
{
    Muster__Envelope e = MUSTER__ENVELOPE__INIT;
    Muster__PublishReply reply = MUSTER__PUBLISH_REPLY__INIT;

    reply.code = code;
    reply.etag = (char *)etag;
    reply.expires_s = expires_s;
    e.id = w->envelope;
    e.body_case = MUSTER__ENVELOPE__BODY_PUBLISH_REPLY;
    e.publish_reply = &reply;
    proxy_presenced(w->proxy, &e, w->now);
}

static void publish(struct world *w)
{
    world_request(w, "bob", "PUBLISH", "sip:bob@muster.test", PIDF, "<presence/>");
}

static void publication_waits_for_presenced(void **state)
{
    struct world w;

    (void)state;
    ready(&w);
    publish(&w);
    world_expect(&w, PUBLISHED);
    published(&w, 200, "e1", 3600);
    published(&w, 200, "e1", 3600); /* nobody waits any more */
    world_expect(&w, "SIP/2.0 200 OK" TO_BOB);
    world_sent(&w, "\r\nSIP-ETag: e1\r\nExpires: 3600\r\n");
    publish(&w);
    published(&w, 423, "", 60);
    world_expect(&w, PUBLISHED "SIP/2.0 423 Interval Too Brief" TO_BOB);
    world_sent(&w, "\r\nMin-Expires: 60\r\n");
    publish(&w);
    published(&w, 412, "", 0);
    world_expect(&w, PUBLISHED "SIP/2.0 412 Conditional Request Failed" TO_BOB);
    publish(&w);
    published(&w, 7, "", 0);
    world_expect(&w, PUBLISHED "SIP/2.0 500 Server Internal Error" TO_BOB);
    world_end(&w);
}

static void presence_is_ones_own(void **state)
{
    struct world w;

    (void)state;
    ready(&w);
    world_request(&w, "bob", "PUBLISH", "sip:alice@muster.test", PIDF, "<presence/>");
    world_request(&w, "bob", "PUBLISH", "sip:bob@muster.test", "Event: dialog\r\n", "");
    world_expect(&w, "SIP/2.0 403 Not Your Presence" TO_BOB "SIP/2.0 489 Bad Event" TO_BOB);
    world_sent(&w, "Allow-Events: presence\r\n");
    world_end(&w);
}

static void question_is_asked_again_on_a_new_link(void **state)
{
    struct world w;

    (void)state;
    ready(&w);
    publish(&w);
    proxy_presenced_link(w.proxy, false, w.now);
    world_wait(&w, 2900);
    proxy_presenced_link(w.proxy, true, w.now);
    world_wait(&w, 5000);
    published(&w, 200, "e1", 3600);
    world_expect(&w, PUBLISHED PUBLISHED "SIP/2.0 200 OK" TO_BOB);
    world_end(&w);
}

static void link_that_stays_away_is_503(void **state)
{
    struct world w;

    (void)state;
    ready(&w);
    publish(&w);
    proxy_presenced_link(w.proxy, false, w.now);
    world_wait(&w, 2999);
    publish(&w);
    world_expect(&w, PUBLISHED);
    world_wait(&w, 1);
    world_expect(&w, "SIP/2.0 503 Service Unavailable" TO_BOB);
    world_sent(&w, "Retry-After: ");
    world_wait(&w, 2999);
    world_expect(&w, "SIP/2.0 503 Service Unavailable" TO_BOB);
    world_end(&w);
}

static void room_that_says_nothing_is_503(void **state)
{
    struct world w;

    (void)state;
    ready(&w);
    publish(&w);
    world_wait(&w, 9999);
    world_expect(&w, PUBLISHED);
    world_wait(&w, 1);
    published(&w, 200, "late", 3600);
    world_expect(&w, "SIP/2.0 503 Service Unavailable" TO_BOB);
    w.presenced_refuses = true; /* its queue is full */
    publish(&w);
    world_expect(&w, PUBLISHED "SIP/2.0 503 Service Unavailable" TO_BOB);
    world_end(&w);
}

/* ---- SUBSCRIBE and NOTIFY ---- */

#define SUBSCRIBED                                                                                 \
    "presenced: subscribe bob@muster.test to alice@muster.test initially from 192.0.2.9:5070 "     \
    "via 127.0.1.1 over udp, target sip:bob@192.0.2.9:5070\n"

static void subscribed(struct world *w, uint32_t code)
{
    Muster__Envelope e = MUSTER__ENVELOPE__INIT;
    Muster__SubscribeReply reply = MUSTER__SUBSCRIBE_REPLY__INIT;

    reply.code = code;
    reply.expires_s = 600;
    e.id = w->envelope;
    e.body_case = MUSTER__ENVELOPE__BODY_SUBSCRIBE_REPLY;
    e.subscribe_reply = &reply;
    proxy_presenced(w->proxy, &e, w->now);
}

static void subscription_makes_a_dialog(void **state)
{
    struct world w;

    (void)state;
    ready(&w);
    world_request(&w, "bob", "SUBSCRIBE", "sip:alice@muster.test",
                  "Event: presence\r\nContact: <sip:bob@192.0.2.9:5070>\r\n"
                  "Record-Route: <sip:edge.example.com;lr>\r\n",
                  "");
    subscribed(&w, 200);
    world_expect(&w, SUBSCRIBED "SIP/2.0 200 OK" TO_BOB);
    world_sent(&w, "\r\nContact: <sip:127.0.1.1:5060;transport=udp>\r\n");
    world_sent(&w, "\r\nRecord-Route: <sip:edge.example.com;lr>\r\nExpires: 600\r\n");
    world_sent(&w, "To: <sip:alice@muster.test>;tag=");
    world_end(&w);
}

static void dialog_names_its_presentity_by_to(void **state)
{
    struct world w;

    (void)state;
    ready(&w);
    world_request(&w, "bob", "SUBSCRIBE", "sip:127.0.1.1:5060;transport=udp",
                  "Event: presence\r\nContact: <sip:bob@192.0.2.9:5070>\r\nExpires: 0\r\n"
                  "To: <sip:alice@muster.test>;tag=ours\r\n",
                  "");
    subscribed(&w, 481);
    world_expect(&w, "presenced: subscribe bob@muster.test to alice@muster.test from "
                     "192.0.2.9:5070 via 127.0.1.1 over udp, target sip:bob@192.0.2.9:5070\n"
                     "SIP/2.0 481 Call/Transaction Does Not Exist" TO_BOB);
    world_end(&w);
}

static void watcher_must_be_reachable_and_his_target_known(void **state)
{
    struct world w;

    (void)state;
    ready(&w);
    world_request(&w, "bob", "SUBSCRIBE", "sip:alice@muster.test", "Event: presence\r\n", "");
    world_request(&w, "bob", "SUBSCRIBE", "sip:nobody@muster.test",
                  "Event: presence\r\nContact: <sip:bob@192.0.2.9>\r\n", "");
    world_request(&w, "bob", "SUBSCRIBE", "sip:alice@example.com",
                  "Event: presence\r\nContact: <sip:bob@192.0.2.9>\r\n", "");
    world_expect(&w, "SIP/2.0 400 Missing Or Malformed Contact" TO_BOB
                     "SIP/2.0 404 Not Found" TO_BOB "SIP/2.0 404 Not Found" TO_BOB);
    world_end(&w);
}

static void notify_from(struct world *w, const char *target, const char *route,
                        const char *transport, size_t size, const char *source)
{
    static char document[4000];
    char *routes[] = {(char *)route};
    Muster__Envelope e = MUSTER__ENVELOPE__INIT;
    Muster__Notify n = MUSTER__NOTIFY__INIT;
    Muster__Dialog d = MUSTER__DIALOG__INIT;

    memset(document, 'x', sizeof(document));
    d.call_id = (char *)"call";
    d.local_tag = (char *)"ours";
    d.remote_tag = (char *)"his";
    d.local_uri = (char *)"sip:alice@muster.test";
    d.remote_uri = (char *)"sip:bob@muster.test";
    d.remote_target = (char *)target;
    d.route_set = routes;
    d.n_route_set = route != NULL;
    d.local_cseq = 17;
    d.transport = (char *)transport;
    d.source = (char *)source;
    n.dialog = &d;
    n.event_id = (char *)"4";
    n.subscription_state = (char *)"active;expires=599";
    n.content_type = (char *)"application/pidf+xml";
    n.document = (ProtobufCBinaryData){size, (uint8_t *)document};
    e.id = 99;
    e.body_case = MUSTER__ENVELOPE__BODY_NOTIFY;
    e.notify = &n;
    proxy_presenced(w->proxy, &e, w->now);
}

static void notify(struct world *w, const char *target, const char *route, const char *transport,
                   size_t size)
{
    notify_from(w, target, route, transport, size, "192.0.2.9:6000 via 127.0.1.1");
}

#define NOTIFY(uri) "NOTIFY " uri " SIP/2.0"

static void notify_goes_to_the_target_and_its_answer_back(void **state)
{
    struct world w;

    (void)state;
    ready(&w);
    notify(&w, "sip:bob@192.0.2.9:5071", NULL, "udp", 100);
    world_sent(&w, "\r\nVia: SIP/2.0/UDP 127.0.1.1:5060;branch=z9hG4bK");
    world_sent(&w, "\r\nContact: <sip:127.0.1.1:5060;transport=udp>\r\n"
                   "From: <sip:alice@muster.test>;tag=ours\r\n"
                   "To: <sip:bob@muster.test>;tag=his\r\n"
                   "Call-ID: call\r\nCSeq: 17 NOTIFY\r\nMax-Forwards: 70\r\n"
                   "Event: presence;id=4\r\nSubscription-State: active;expires=599\r\n"
                   "Content-Type: application/pidf+xml\r\nContent-Length: 100\r\n\r\nxxx");
    world_wait(&w, 500);
    world_answer(&w, "200 OK", "");
    world_expect(&w, NOTIFY("sip:bob@192.0.2.9:5071") " > udp 192.0.2.9:5071\n" NOTIFY(
                         "sip:bob@192.0.2.9:5071") " > udp 192.0.2.9:5071\n"
                                                   "presenced: notify ended with 200\n");
    notify(&w, "sip:bob@192.0.2.9:5071", NULL, "udp", 100);
    world_answer(&w, "481 Gone", "");
    notify(&w, "sip:bob@192.0.2.9:5071", NULL, "udp", 100);
    buf_clear(&w.trace);
    world_wait(&w, 31999);
    buf_clear(&w.trace);
    world_wait(&w, 1);
    world_expect(&w, "presenced: notify ended with 408\n");
    world_end(&w);
}

struct way {
    const char *name, *target, *route, *transport;
    uint64_t connection;
    size_t size;
    const char *goes;
};

static void notify_finds_its_way(void **state)
{
    // clang-format off
    static const struct way ways[] = {
        {"UDP by default", "sip:b@192.0.2.9", NULL, "udp", 0, 9, NOTIFY("sip:b@192.0.2.9") " > udp 192.0.2.9:5060\n"},
        {"the URI decides", "sip:b@192.0.2.9;transport=tcp", NULL, "udp", 0, 9, NOTIFY("sip:b@192.0.2.9;transport=tcp") " > tcp 192.0.2.9:5060\n"},
        {"TLS has its port", "sip:b@192.0.2.9;transport=tls", NULL, "udp", 0, 9, NOTIFY("sip:b@192.0.2.9;transport=tls") " > tls 192.0.2.9:5061\n"},
        {"sips is TLS", "sips:b@192.0.2.9", NULL, "tcp", 0, 9, NOTIFY("sips:b@192.0.2.9") " > tls 192.0.2.9:5061\n"},
        {"as the SUBSCRIBE came", "sip:b@192.0.2.9:5999", NULL, "tcp", 0, 9, NOTIFY("sip:b@192.0.2.9:5999") " > tcp 192.0.2.9:5999\n"},
        {"on the connection that it came on", "sip:b@192.0.2.9:5999", NULL, "tcp", 77, 9, NOTIFY("sip:b@192.0.2.9:5999") " > tcp 192.0.2.9:6000\n"},
        {"by its route", "sip:b@192.0.2.9", "<sip:192.0.2.1:5080;lr>", "udp", 0, 9, NOTIFY("sip:b@192.0.2.9") " > udp 192.0.2.1:5080\n"},
        {"a large one by TCP", "sip:b@192.0.2.9", NULL, "udp", 0, 2000, NOTIFY("sip:b@192.0.2.9") " > tcp 192.0.2.9:5060\n"},
        {"unless the URI says UDP", "sip:b@192.0.2.9;transport=udp", NULL, "udp", 0, 2000, NOTIFY("sip:b@192.0.2.9;transport=udp") " > udp 192.0.2.9:5060\n"},
        {"IPv6", "sip:b@[2001:db8::9]:5070", NULL, "udp", 0, 9, NOTIFY("sip:b@[2001:db8::9]:5070") " > udp 2001:db8::9:5070\n"},
        {"a name is looked up", "sip:b@phone.example.com", NULL, "udp", 0, 9, "resolve phone.example.com:0\n"},
    };
    // clang-format on
    struct world w;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(ways); i++) {
        ready(&w);
        w.connection = ways[i].connection;
        notify(&w, ways[i].target, ways[i].route, ways[i].transport, ways[i].size);
        if (strcmp(w.trace.data, ways[i].goes) != 0)
            fail_msg("%s: %s", ways[i].name, w.trace.data);
        world_end(&w);
    }
}

static void what_cannot_be_sent_takes_the_next_way(void **state)
{
    struct world w;

    (void)state;
    ready(&w);
    notify(&w, "sip:b@192.0.2.9", NULL, "udp", 2000);
    proxy_send_failed(w.proxy, w.token, w.now);
    proxy_send_failed(w.proxy, w.token, w.now);
    world_expect(&w, NOTIFY("sip:b@192.0.2.9") " > tcp 192.0.2.9:5060\n" NOTIFY(
                         "sip:b@192.0.2.9") " > udp 192.0.2.9:5060\n"
                                            "presenced: notify ended with 503\n");
    notify(&w, "sip:b@phone.example.com", NULL, "udp", 9);
    proxy_resolved(w.proxy, w.question, &(struct sip_address){"192.0.2.99", 5088}, w.now);
    world_answer(&w, "200 OK", "");
    notify(&w, "sip:b@phone.example.com", NULL, "udp", 9);
    proxy_resolved(w.proxy, w.question, NULL, w.now);
    world_expect(&w, "resolve phone.example.com:0\n" NOTIFY(
                         "sip:b@phone.example.com") " > udp 192.0.2.99:5088\n"
                                                    "presenced: notify ended with 200\n"
                                                    "resolve phone.example.com:0\n"
                                                    "presenced: notify ended with 503\n");
    notify(&w, "sip:b@192.0.2.9;transport=sctp", NULL, "udp", 9);
    notify(&w, "tel:+1", NULL, "udp", 9);
    world_expect(&w, "");
    world_wait(&w, 0);
    world_expect(&w, "presenced: notify ended with 503\npresenced: notify ended with 503\n");
    world_end(&w);
}

/* ---- MESSAGE ---- */

static void answered(struct world *w, Muster__ImReply__Result result)
{
    Muster__Envelope e = MUSTER__ENVELOPE__INIT;
    Muster__ImReply reply = MUSTER__IM_REPLY__INIT;

    reply.result = result;
    e.id = w->envelope;
    e.body_case = MUSTER__ENVELOPE__BODY_IM_REPLY;
    e.im_reply = &reply;
    proxy_routerd(w->proxy, &e, w->now);
}

static void router_decides_about_a_message(void **state)
{
    // clang-format off
    static const struct { Muster__ImReply__Result result; const char *said; } rows[] = {
        {MUSTER__IM_REPLY__RESULT__ACCEPTED,    "SIP/2.0 200 OK"},
        {MUSTER__IM_REPLY__RESULT__NOT_FOUND,   "SIP/2.0 404 Not Found"},
        {MUSTER__IM_REPLY__RESULT__UNAVAILABLE, "SIP/2.0 480 Temporarily Unavailable"},
        {MUSTER__IM_REPLY__RESULT__REFUSED,     "SIP/2.0 403 Forbidden"},
        {MUSTER__IM_REPLY__RESULT__BUSY,        "SIP/2.0 503 Service Unavailable"},
        {MUSTER__IM_REPLY__RESULT__NOT_SERVING, "SIP/2.0 503 Service Unavailable"},
    };
    // clang-format on
    struct world w;

    (void)state;
    ready(&w);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        char expected[300];

        world_request(&w, "bob", "MESSAGE", "sip:Alice@muster.test",
                      "Content-Type: text/plain;charset=UTF-8\r\n", "hi");
        answered(&w, rows[i].result);
        snprintf(expected, sizeof(expected),
                 "routerd: im bob@muster.test to alice@muster.test [call-bob %u] "
                 "text/plain;charset=UTF-8 \"hi\"\n%s" TO_BOB,
                 w.cseq, rows[i].said);
        world_expect(&w, expected);
    }
    world_end(&w);
}

static void what_is_no_im_is_refused(void **state)
{
    struct world w;

    (void)state;
    ready(&w);
    world_request(&w, "bob", "MESSAGE", "sip:alice@muster.test",
                  "Content-Type: application/im-iscomposing+xml\r\n", "<x/>");
    world_sent(&w, "Accept: text/plain, text/html, message/cpim\r\n");
    world_request(&w, "bob", "MESSAGE", "sip:alice@muster.test", "Content-Encoding: gzip\r\n", "x");
    world_request(&w, "bob", "MESSAGE", "sip:alice@example.com", "", "x");
    world_request(&w, "bob", "MESSAGE", "sip:alice@muster.test",
                  "To: <sip:alice@muster.test>;tag=1\r\n", "x");
    world_request(&w, "bob", "MESSAGE", "sip:alice@muster.test", "Require: x, y\r\n", "x");
    world_sent(&w, "\r\nUnsupported: x\r\nUnsupported: y\r\n");
    world_expect(&w, "SIP/2.0 415 Unsupported Media Type" TO_BOB
                     "SIP/2.0 415 Unsupported Media Type" TO_BOB "SIP/2.0 404 Not Found" TO_BOB
                     "SIP/2.0 481 Call/Transaction Does Not Exist" TO_BOB
                     "SIP/2.0 420 Bad Extension" TO_BOB);
    world_end(&w);
}

static void other_methods_are_named(void **state)
{
    struct world w;

    (void)state;
    ready(&w);
    world_request(&w, "bob", "OPTIONS", "sip:muster.test", "", "");
    world_sent(&w, "\r\nAllow: OPTIONS, REGISTER, PUBLISH, SUBSCRIBE, MESSAGE\r\n");
    world_request(&w, "bob", "REFER", "sip:alice@muster.test", "", "");
    world_sent(&w, "\r\nAllow: OPTIONS, REGISTER, PUBLISH, SUBSCRIBE, MESSAGE\r\n");
    world_request(&w, "bob", "BYE", "sip:alice@muster.test", "", "");
    world_request(&w, "bob", "CANCEL", "sip:alice@muster.test", "", "");
    world_request(&w, "bob", "ACK", "sip:alice@muster.test", "", "");
    world_request(&w, "bob", "INVITE", "sip:alice@muster.test", "", "");
    w.branch--;
    world_request(&w, "bob", "CANCEL", "sip:alice@muster.test", "", "");
    world_expect(&w, "SIP/2.0 200 OK" TO_BOB "SIP/2.0 405 Method Not Allowed" TO_BOB
                     "SIP/2.0 481 Call/Transaction Does Not Exist" TO_BOB
                     "SIP/2.0 481 Call/Transaction Does Not Exist" TO_BOB
                     "SIP/2.0 405 Method Not Allowed" TO_BOB "SIP/2.0 200 OK" TO_BOB);
    world_end(&w);
}

/* ---- IMs for devices ---- */

static void im(struct world *w, uint64_t envelope, const char *id, const char *text)
{
    Muster__Envelope e = MUSTER__ENVELOPE__INIT;
    Muster__Im m = MUSTER__IM__INIT;

    m.from = (char *)"alice@muster.test/phone";
    m.to = (char *)"bob@muster.test";
    m.id = (char *)id;
    m.content_type = (char *)"text/plain";
    m.body = (ProtobufCBinaryData){strlen(text), (uint8_t *)text};
    m.sent_unix_ms = 1289690940000;
    e.id = envelope;
    e.body_case = MUSTER__ENVELOPE__BODY_IM;
    e.im = &m;
    proxy_routerd(w->proxy, &e, w->now);
}

static void register_at(struct world *w, const char *contacts)
{
    world_request(w, "bob", "REGISTER", "sip:muster.test", contacts, "");
    buf_clear(&w->trace);
}

#define SENT(port) "MESSAGE sip:bob@192.0.2.9:" port " SIP/2.0 > udp 192.0.2.9:" port "\n"

static void im_goes_to_the_device(void **state)
{
    struct world w;

    (void)state;
    ready(&w);
    im(&w, 5, "m1", "hello");
    world_expect(&w, "routerd: im 5 UNAVAILABLE 0\n");
    register_at(&w, "Contact: <sip:bob@192.0.2.9:7000>\r\n");
    im(&w, 6, "m1", "hello");
    world_sent(&w, "\r\nFrom: <sip:alice@muster.test>;tag=");
    world_sent(&w, "\r\nTo: <sip:bob@muster.test>\r\n");
    world_sent(&w, "\r\nCSeq: 1 MESSAGE\r\n");
    world_sent(&w, "\r\nDate: Sat, 13 Nov 2010 23:29:00 GMT\r\n");
    world_sent(&w, "\r\nContent-Type: text/plain\r\nContent-Length: 5\r\n\r\nhello");
    world_answer(&w, "200 OK", "");
    world_expect(&w, SENT("7000") "routerd: im 6 ACCEPTED 200\n");
    world_end(&w);
}

static void same_im_is_the_same_request(void **state)
{
    struct world w;
    char first[2000];

    (void)state;
    ready(&w);
    register_at(&w, "Contact: <sip:bob@192.0.2.9:7000>\r\n");
    im(&w, 1, "m1", "hello");
    snprintf(first, sizeof(first), "%s", w.sent.data);
    im(&w, 2, "m1", "hello"); /* the router's link broke: it asks again and is answered there */
    world_answer(&w, "482 Loop Detected", "");
    world_expect(&w, SENT("7000") "routerd: im 2 ACCEPTED 482\n");
    im(&w, 3, "m1", "hello");
    assert_string_equal(first, w.sent.data);
    world_answer(&w, "200 OK", "");
    im(&w, 4, "m2", "hello");
    assert_string_not_equal(first, w.sent.data);
    world_end(&w);
}

static void first_device_that_says_yes_decides(void **state)
{
    struct world w;

    (void)state;
    ready(&w);
    register_at(&w, "Contact: <sip:bob@192.0.2.9:7000>,<sip:bob@192.0.2.9:7001>\r\n");
    im(&w, 1, "m1", "hello");
    world_answer(&w, "200 OK", ""); /* the second one */
    world_expect(&w, SENT("7000") SENT("7001") "routerd: im 1 ACCEPTED 200\n");
    im(&w, 2, "m1", "hello"); /* the first one still rings */
    world_expect(&w, "routerd: im 2 ACCEPTED 200\n");
    world_wait(&w, 40000);
    world_end(&w);
}

static void refusal_of_all_devices_is_one(void **state)
{
    struct world w;

    (void)state;
    ready(&w);
    register_at(&w, "Contact: <sip:bob@192.0.2.9:7000>\r\n");
    im(&w, 1, "m1", "hello");
    world_answer(&w, "603 Decline", "");
    im(&w, 2, "m2", "hello");
    world_answer(&w, "486 Busy", "");
    world_expect(&w, SENT("7000") "routerd: im 1 REFUSED 603\n" SENT(
                         "7000") "routerd: im 2 UNAVAILABLE 486\n");
    world_end(&w);
}

static void silent_device_is_unavailable_after_a_while(void **state)
{
    struct world w;

    (void)state;
    ready(&w);
    register_at(&w, "Contact: <sip:bob@192.0.2.9:7000>\r\n");
    im(&w, 1, "m1", "hello");
    world_wait(&w, 4999);
    world_expect(&w, SENT("7000") SENT("7000") SENT("7000") SENT("7000"));
    world_wait(&w, 1);
    world_answer(&w, "200 OK", ""); /* too late */
    world_wait(&w, 60000);
    world_expect(&w, "routerd: im 1 UNAVAILABLE 408\n");
    world_end(&w);
}

static void im_for_somebody_elses_user_goes_back(void **state)
{
    struct world w;

    (void)state;
    ready(&w);
    world_view(&w, 2, 2);
    im(&w, 1, "m1", "hello");
    world_expect(&w, "routerd: im 1 NOT_SERVING 0\n");
    world_end(&w);
}

/* ---- other nodes ---- */

#define FORWARDED "SUBSCRIBE sip:carol@muster.test SIP/2.0 > peer 127.0.1.2:5062\n"

static void watch_carol(struct world *w)
{
    world_request(w, "bob", "SUBSCRIBE", "sip:carol@muster.test",
                  "Event: presence\r\nContact: <sip:bob@192.0.2.9:5070>\r\n"
                  "P-Asserted-Identity: <sip:alice@muster.test>\r\n",
                  "");
}

static void request_goes_to_the_node_that_serves(void **state)
{
    struct world w;

    (void)state;
    ready(&w);
    watch_carol(&w);
    world_sent(&w, "SUBSCRIBE sip:carol@muster.test SIP/2.0\r\n"
                   "Via: SIP/2.0/TLS 127.0.1.1:5062;branch=z9hG4bK");
    world_sent(&w, "\r\nVia: SIP/2.0/UDP 192.0.2.9:5070;branch=");
    world_sent(&w, ";received=192.0.2.9;rport=5070\r\n");
    world_sent(&w, "\r\nMax-Forwards: 69\r\n");
    world_sent(&w, "\r\nP-Asserted-Identity: <sip:bob@muster.test>\r\n");
    assert_null(strstr(w.sent.data, "alice"));
    assert_null(strstr(w.sent.data, "Authorization"));
    world_answer(&w, "200 OK", "Contact: <sip:127.0.1.2:5060>\r\n");
    world_expect(&w, FORWARDED "SIP/2.0 200 OK" TO_BOB);
    world_sent(&w, "\r\nVia: SIP/2.0/UDP 192.0.2.9:5070;branch=");
    world_sent(&w, "\r\nContact: <sip:127.0.1.2:5060>\r\n");
    assert_null(strstr(w.sent.data, "5062"));
    world_end(&w);
}

static void node_that_cannot_be_reached_is_503(void **state)
{
    struct world w;

    (void)state;
    ready(&w);
    watch_carol(&w);
    proxy_send_failed(w.proxy, w.token, w.now);
    world_expect(&w, FORWARDED "SIP/2.0 503 Service Unavailable" TO_BOB);
    world_request(&w, "bob", "SUBSCRIBE", "sip:carol@muster.test",
                  "Event: presence\r\nContact: <sip:bob@192.0.2.9>\r\nMax-Forwards: 0\r\n", "");
    world_expect(&w, "SIP/2.0 483 Too Many Hops" TO_BOB);
    world_end(&w);
}

static void request_follows_its_user_in_a_takeover(void **state)
{
    struct world w;

    (void)state;
    ready(&w);
    watch_carol(&w);
    world_expect(&w, FORWARDED);
    world_view(&w, 1, 1);
    world_expect(&w, "presenced: subscribe bob@muster.test to carol@muster.test initially from "
                     "192.0.2.9:5070 via 127.0.1.1 over udp, target sip:bob@192.0.2.9:5070\n");
    subscribed(&w, 200);
    world_expect(&w, "SIP/2.0 200 OK" TO_BOB);
    world_end(&w);
}

static const char from_peer[] =
    "%s sip:%s SIP/2.0\r\nVia: SIP/2.0/TLS 127.0.1.2:5062;branch=z9hG4bKp%u\r\n"
    "Via: SIP/2.0/TCP 10.1.1.1;branch=z9hG4bKc;received=192.0.2.50;rport=4321\r\n"
    "From: <sip:carol@muster.test>;tag=1\r\nTo: <sip:%s>\r\nCall-ID: x%u\r\nCSeq: 1 %s\r\n"
    "Contact: <sip:carol@10.1.1.1>\r\nEvent: presence\r\n%sContent-Length: 0\r\n\r\n";

static void peer_says(struct world *w, enum sip_transport transport, const char *method,
                      const char *to, const char *headers)
{
    struct sip_flow flow = {.transport = transport, .remote = {"192.0.2.2", 40000}};
    char text[2000];

    w->branch++;
    snprintf(text, sizeof(text), from_peer, method, to, w->branch, to, w->branch, method, headers);
    world_receive(w, &flow, text);
}

static void peers_word_is_trusted_on_its_connection_only(void **state)
{
    struct world w;

    (void)state;
    ready(&w);
    peer_says(&w, SIP_PEER, "SUBSCRIBE", "bob@muster.test",
              "P-Asserted-Identity: <sip:carol@muster.test>\r\n");
    subscribed(&w, 200);
    world_expect(&w, "presenced: subscribe carol@muster.test to bob@muster.test initially from "
                     "192.0.2.50:4321 via 127.0.1.2 over tcp, target sip:carol@10.1.1.1\n"
                     "SIP/2.0 200 OK > peer 192.0.2.2:5062\n");
    world_sent(&w, "\r\nContact: <sip:127.0.1.1:5060;transport=tcp>\r\n");
    peer_says(&w, SIP_TLS, "SUBSCRIBE", "bob@muster.test",
              "P-Asserted-Identity: <sip:carol@muster.test>\r\n");
    world_expect(&w, "SIP/2.0 401 Unauthorized > tls 192.0.2.2:5062\n");
    peer_says(&w, SIP_PEER, "SUBSCRIBE", "bob@muster.test", "");
    world_expect(&w, "SIP/2.0 403 Unknown Identity > peer 192.0.2.2:5062\n");
    world_end(&w);
}

static void nodes_do_not_send_a_request_around(void **state)
{
    struct world w;

    (void)state;
    ready(&w);
    peer_says(&w, SIP_PEER, "SUBSCRIBE", "carol@muster.test",
              "P-Asserted-Identity: <sip:carol@muster.test>\r\n");
    world_expect(&w, "SIP/2.0 503 Service Unavailable > peer 192.0.2.2:5062\n");
    world_end(&w);
}

static void connection_that_another_node_has_is_used(void **state)
{
    struct world w;

    (void)state;
    ready(&w);
    notify_from(&w, "sip:b@192.0.2.9", NULL, "tls", 9, "192.0.2.9:6000 via 127.0.1.2");
    world_sent(&w, "\r\nRoute: <sip:127.0.1.2:5062;lr;flow=tls/192.0.2.9:6000>\r\n");
    world_sent(&w, "\r\nContact: <sip:127.0.1.1:5061;transport=tls>\r\n");
    world_answer(&w, "200 OK", "");
    world_expect(&w, NOTIFY("sip:b@192.0.2.9") " > peer 127.0.1.2:5062\n"
                                               "presenced: notify ended with 200\n");
    notify_from(&w, "sip:b@192.0.2.9", NULL, "tls", 9, "192.0.2.9:6000 via 127.0.1.2");
    world_answer(&w, "430 Flow Failed", "");
    world_answer(&w, "200 OK", "");
    world_expect(&w, NOTIFY("sip:b@192.0.2.9") " > peer 127.0.1.2:5062\n" NOTIFY(
                         "sip:b@192.0.2.9") " > tls 192.0.2.9:5061\n"
                                            "presenced: notify ended with 200\n");
    world_view(&w, 1, 1); /* that node is dead */
    notify_from(&w, "sip:b@192.0.2.9", NULL, "tls", 9, "192.0.2.9:6000 via 127.0.1.2");
    world_expect(&w, NOTIFY("sip:b@192.0.2.9") " > tls 192.0.2.9:5061\n");
    world_end(&w);
}

#define ROUTE_TO_FLOW "Route: <sip:127.0.1.1:5062;lr;flow=tcp/192.0.2.7:41000>\r\n"

static void our_connection_is_lent_to_another_node(void **state)
{
    struct world w;

    (void)state;
    ready(&w);
    w.connection = 5;
    peer_says(&w, SIP_PEER, "NOTIFY", "carol@10.1.1.1", ROUTE_TO_FLOW);
    assert_null(strstr(w.sent.data, "Route"));
    assert_null(strstr(w.sent.data, "P-Asserted"));
    world_answer(&w, "200 OK", "");
    world_expect(&w, NOTIFY("sip:carol@10.1.1.1") " > tcp 192.0.2.7:41000\n"
                                                  "SIP/2.0 200 OK > peer 192.0.2.2:5062\n");
    w.connection = 0;
    peer_says(&w, SIP_PEER, "NOTIFY", "carol@10.1.1.1", ROUTE_TO_FLOW);
    world_expect(&w, "SIP/2.0 430 Flow Failed > peer 192.0.2.2:5062\n");
    w.connection = 5;
    peer_says(&w, SIP_TLS, "NOTIFY", "carol@10.1.1.1", ROUTE_TO_FLOW);
    world_expect(&w, "SIP/2.0 481 Call/Transaction Does Not Exist > tls 192.0.2.2:5062\n");
    world_end(&w);
}

static void malformed_requests_are_told_why(void **state)
{
    struct sip_flow flow = {.transport = SIP_UDP, .remote = {"192.0.2.9", 5070}};
    struct world w;

    (void)state;
    ready(&w);
    world_receive(&w, &flow,
                  "MESSAGE sip:bob@muster.test SIP/7.0\r\nVia: SIP/2.0/UDP 192.0.2.9:5070\r\n"
                  "From: <sip:a@b>\r\nTo: <sip:c@d>\r\nCall-ID: 1\r\nCSeq: 1 MESSAGE\r\n\r\n");
    world_expect(&w, "SIP/2.0 505 Version Not Supported" TO_BOB);
    world_end(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(publication_waits_for_presenced),
        cmocka_unit_test(presence_is_ones_own),
        cmocka_unit_test(question_is_asked_again_on_a_new_link),
        cmocka_unit_test(link_that_stays_away_is_503),
        cmocka_unit_test(room_that_says_nothing_is_503),
        cmocka_unit_test(subscription_makes_a_dialog),
        cmocka_unit_test(dialog_names_its_presentity_by_to),
        cmocka_unit_test(watcher_must_be_reachable_and_his_target_known),
        cmocka_unit_test(notify_goes_to_the_target_and_its_answer_back),
        cmocka_unit_test(notify_finds_its_way),
        cmocka_unit_test(what_cannot_be_sent_takes_the_next_way),
        cmocka_unit_test(router_decides_about_a_message),
        cmocka_unit_test(what_is_no_im_is_refused),
        cmocka_unit_test(other_methods_are_named),
        cmocka_unit_test(im_goes_to_the_device),
        cmocka_unit_test(same_im_is_the_same_request),
        cmocka_unit_test(first_device_that_says_yes_decides),
        cmocka_unit_test(refusal_of_all_devices_is_one),
        cmocka_unit_test(silent_device_is_unavailable_after_a_while),
        cmocka_unit_test(im_for_somebody_elses_user_goes_back),
        cmocka_unit_test(request_goes_to_the_node_that_serves),
        cmocka_unit_test(node_that_cannot_be_reached_is_503),
        cmocka_unit_test(request_follows_its_user_in_a_takeover),
        cmocka_unit_test(peers_word_is_trusted_on_its_connection_only),
        cmocka_unit_test(nodes_do_not_send_a_request_around),
        cmocka_unit_test(connection_that_another_node_has_is_used),
        cmocka_unit_test(our_connection_is_lent_to_another_node),
        cmocka_unit_test(malformed_requests_are_told_why),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
