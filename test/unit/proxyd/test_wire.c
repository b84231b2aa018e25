// SPDX-License-Identifier: Apache-2.0
/*
 * The wire, with real sockets on this machine: two nodes that send each other requests and answer
 * each on the flow that it came by, and a client that cuts its bytes as it likes.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "common/log.h"
#include "common/mem.h"
#include "common/net.h"
#include "common/util.h"
#include "proxyd/sip/print.h"
#include "proxyd/wire.h"
#include "test/unit/certs.h"

enum { PATIENCE_MS = 10000, TRACE_MAX = 10000 };

struct node {
    struct wire *wire;
    struct conf conf;
    struct metrics metrics;
    struct buf trace;
    bool mute; /* does not answer */
};

static struct certs certs;
static uv_loop_t loop;
static struct node n1, n2;
static bool timed_out;

/* ---- what nodes do ---- */

static void answer(struct node *n, const struct sip_msg *m)
{
    struct sip_flow to = sip_response_flow(m);
    struct buf out;

    buf_init(&out, SIP_MESSAGE_MAX);
    sip_put_response(&out, m, m->refusal.code ? m->refusal.code : 200, NULL, STR("tag"));
    sip_put_body(&out, (struct str){"", 0}, (struct str){"", 0});
    wire_send(n->wire, &to, buf_str(&out), 0);
    buf_done(&out);
}

static void on_message(void *ctx, struct sip_msg *m)
{
    static const char *const names[] = {"udp", "tcp", "tls", "peer"};
    struct node *n = ctx;

    if (m->request)
        buf_printf(&n->trace, "%.*s %u %s\n", STR_ARG(m->method_text), m->cseq.number,
                   names[m->flow.transport]);
    else
        buf_printf(&n->trace, "%u %u %s\n", m->status, m->cseq.number, names[m->flow.transport]);
    if (m->request && !n->mute)
        answer(n, m);
    sip_msg_free(m);
}

static void on_failed(void *ctx, uint64_t token)
{
    struct node *n = ctx;

    buf_printf(&n->trace, "failed %d\n", (int)token);
}

static void on_timeout(uv_timer_t *timer)
{
    (void)timer;
    timed_out = true;
}

/* Lets the world turn until a node's trace says so. */
static void wait_for(struct node *n, const char *expected)
{
    uv_timer_t timer;

    timed_out = false;
    uv_timer_init(&loop, &timer);
    uv_timer_start(&timer, on_timeout, PATIENCE_MS, 0);
    while (!timed_out && (!n->trace.data || strcmp(n->trace.data, expected) != 0))
        uv_run(&loop, UV_RUN_ONCE);
    uv_close((uv_handle_t *)&timer, NULL);
    uv_run(&loop, UV_RUN_NOWAIT);
    if (timed_out)
        fail_msg("it was\n%s, not\n%s", n->trace.data ? n->trace.data : "", expected);
    buf_clear(&n->trace);
}

static void wait_until_listening(struct node *n)
{
    int error;

    while (!wire_is_listening(n->wire, &error))
        uv_run(&loop, UV_RUN_ONCE);
}

static void request(struct node *n, unsigned cseq, const struct sip_flow *to, uint64_t token)
{
    struct buf out;

    buf_init(&out, 4096);
    buf_printf(&out,
               "OPTIONS sip:a@b SIP/2.0\r\nVia: SIP/2.0/X %s:%u;branch=z9hG4bK%u;rport\r\n"
               "From: <sip:a@b>;tag=1\r\nTo: <sip:a@b>\r\nCall-ID: c\r\nCSeq: %u OPTIONS\r\n"
               "Content-Length: 0\r\n\r\n",
               conf_self(&n->conf)->address, n->conf.ports[CONF_PORT_SIP], cseq, cseq);
    wire_send(n->wire, to, buf_str(&out), token);
    buf_done(&out);
}

static struct sip_flow flow_to(const struct node *n, enum sip_transport transport)
{
    struct sip_flow flow = {.transport = transport};
    enum conf_port port = transport == SIP_PEER  ? CONF_PORT_SIP_PEER
                          : transport == SIP_TLS ? CONF_PORT_SIPS
                                                 : CONF_PORT_SIP;

    snprintf(flow.remote.host, sizeof(flow.remote.host), "127.0.0.%u", n->conf.node);
    flow.remote.port = n->conf.ports[port];
    return flow;
}

/* ---- stories ---- */

static void requests_and_answers_find_their_way(void **state)
{
    static const struct {
        enum sip_transport transport;
        const char *asked, *answered;
    } rows[] = {
        {SIP_UDP, "OPTIONS 7 udp\n", "200 7 udp\n"},
        {SIP_TCP, "OPTIONS 7 tcp\n", "200 7 tcp\n"},
        {SIP_TLS, "OPTIONS 7 tls\n", "200 7 tls\n"},
        {SIP_PEER, "OPTIONS 7 peer\n", "200 7 peer\n"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct sip_flow to = flow_to(&n2, rows[i].transport);

        request(&n1, 7, &to, 1);
        wait_for(&n2, rows[i].asked);
        wait_for(&n1, rows[i].answered);
    }
}

static void connections_are_used_again(void **state)
{
    struct sip_flow to = flow_to(&n2, SIP_TCP);
    uint64_t id;

    (void)state;
    request(&n1, 1, &to, 0);
    wait_for(&n1, "200 1 tcp\n");
    id = wire_connection(n1.wire, SIP_TCP, &to.remote);
    assert_true(id != 0);
    request(&n1, 2, &to, 0);
    wait_for(&n1, "200 2 tcp\n");
    assert_true(wire_connection(n1.wire, SIP_TCP, &to.remote) == id);
    assert_true(wire_connection(n1.wire, SIP_TLS, &to.remote) == 0);
    buf_clear(&n2.trace);
}

static void what_cannot_be_sent_is_told(void **state)
{
    struct sip_flow to = flow_to(&n2, SIP_TCP);

    (void)state;
    to.remote.port = 9; /* nobody */
    request(&n1, 1, &to, 77);
    wait_for(&n1, "failed 77\n");
    snprintf(to.remote.host, sizeof(to.remote.host), "no address");
    request(&n1, 1, &to, 78);
    wait_for(&n1, "failed 78\n");
}

static unsigned failures_told(const struct node *n)
{
    unsigned count = 0;

    for (const char *at = n->trace.data; at && (at = strstr(at, "failed ")); at++)
        count++;
    return count;
}

static void request_on_a_connection_that_breaks_is_told(void **state)
{
    struct sip_flow to = flow_to(&n2, SIP_PEER);

    (void)state;
    n2.mute = true;
    request(&n1, 1, &to, 5);
    wait_for(&n2, "OPTIONS 1 peer\n");
    wire_listen(n2.wire, false);
    n2.mute = false;
    /* Those that were answered over TCP, TLS and to the peer are told as well: it does not know. */
    while (failures_told(&n1) < 4)
        uv_run(&loop, UV_RUN_ONCE);
    assert_non_null(strstr(n1.trace.data, "failed 5\n"));
    buf_clear(&n1.trace);
    to = flow_to(&n1, SIP_UDP);
    request(&n2, 2, &to, 6); /* who does not listen does not speak */
    wait_for(&n2, "failed 6\n");
    wire_listen(n2.wire, true);
    wait_until_listening(&n2);
}

/* ---- a client that cuts its bytes as it likes ---- */

struct client {
    struct net_conn *conn;
    struct buf in;
    bool open, closed;
};

static void on_open(void *ctx, struct net_conn *conn)
{
    struct client *c = ctx;

    (void)conn;
    c->open = true;
}

static void on_data(void *ctx, struct net_conn *conn, const uint8_t *data, size_t len)
{
    struct client *c = ctx;

    (void)conn;
    buf_put(&c->in, data, len);
}

static void on_closed(void *ctx, struct net_conn *conn, int error)
{
    struct client *c = ctx;

    (void)conn;
    (void)error;
    c->closed = true;
}

static void connect_client(struct client *c)
{
    static const struct net_ops client_ops = {
        .on_open = on_open, .on_data = on_data, .on_closed = on_closed};
    struct sip_flow to = flow_to(&n1, SIP_TCP);
    struct sockaddr_storage address;

    *c = (struct client){.open = false};
    buf_init(&c->in, 1 << 20);
    assert_int_equal(net_address(to.remote.host, to.remote.port, &address), 0);
    c->conn = net_connect(&loop, &address, &(struct net_config){.ops = &client_ops}, c);
    while (!c->open)
        uv_run(&loop, UV_RUN_ONCE);
}

static void hear(struct client *c, const char *text)
{
    while (!c->in.data || !strstr(c->in.data, text)) {
        assert_false(c->closed);
        uv_run(&loop, UV_RUN_ONCE);
    }
    buf_clear(&c->in);
}

static void hear_end(struct client *c)
{
    while (!c->closed)
        uv_run(&loop, UV_RUN_ONCE);
    buf_done(&c->in);
}

#define MESSAGE(cseq, length)                                                                      \
    "OPTIONS sip:a@b SIP/2.0\r\nVia: SIP/2.0/TCP a;branch=z9hG4bK\r\nf: <sip:a@b>;tag=1\r\n"       \
    "t: <sip:a@b>\r\ni: c\r\nCSeq: " cseq " OPTIONS\r\n" length "\r\n"

static void messages_are_found_in_a_stream(void **state)
{
    static const char text[] = MESSAGE("1", "l: 3\r\n") "abc\r\n" MESSAGE("2", "l: 0\r\n");
    struct client c;

    (void)state;
    connect_client(&c);
    for (size_t i = 0; i + 1 < sizeof(text); i++) {
        assert_int_equal(net_write(c.conn, text + i, 1), 0);
        uv_run(&loop, UV_RUN_NOWAIT);
    }
    wait_for(&n1, "OPTIONS 1 tcp\nOPTIONS 2 tcp\n");
    assert_int_equal(net_write(c.conn, text, sizeof(text) - 1), 0);
    wait_for(&n1, "OPTIONS 1 tcp\nOPTIONS 2 tcp\n");
    buf_clear(&c.in);
    assert_int_equal(net_write(c.conn, "\r\n\r\n", 4), 0);
    hear(&c, "\r\n");
    net_abort(c.conn);
    hear_end(&c);
}

static void stream_that_cannot_be_understood_is_ended(void **state)
{
    struct client c;

    (void)state;
    connect_client(&c);
    (void)net_write(c.conn, STR(MESSAGE("1", "l: 70000\r\n")).p,
                    sizeof(MESSAGE("1", "l: 70000\r\n")) - 1);
    hear(&c, "SIP/2.0 413 Request Entity Too Large\r\n");
    hear_end(&c);
    connect_client(&c);
    (void)net_write(c.conn, STR(MESSAGE("1", "")).p, sizeof(MESSAGE("1", "")) - 1);
    hear(&c, "SIP/2.0 400 Bad Request\r\n");
    hear_end(&c);
    connect_client(&c);
    (void)net_write(c.conn, "\rX", 2);
    hear_end(&c);
    buf_clear(&n1.trace);
}

/* ---- two nodes ---- */

/* Ports that are free at both addresses; somebody may be faster, but hardly on these. */
static uint16_t free_port(void)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(a);
    int fd = socket(AF_INET, SOCK_STREAM, 0);

    assert_int_equal(bind(fd, (struct sockaddr *)&a, len), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&a, &len), 0);
    close(fd);
    return ntohs(a.sin_port);
}

static void start_node(struct node *n, uint32_t number, const uint16_t ports[3])
{
    struct err err;

    buf_init(&n->trace, TRACE_MAX);
    n->conf.node = number;
    certs_conf(&certs, number == 1 ? "n1" : "n2", &n->conf);
    n->conf.nodes.count = 2;
    n->conf.nodes.nodes[0] = (struct view_node){.node = 1, .name = "n1", .address = "127.0.0.1"};
    n->conf.nodes.nodes[1] = (struct view_node){.node = 2, .name = "n2", .address = "127.0.0.2"};
    n->conf.ports[CONF_PORT_SIP] = ports[0];
    n->conf.ports[CONF_PORT_SIPS] = ports[1];
    n->conf.ports[CONF_PORT_SIP_PEER] = ports[2];
    n->wire = wire_start(&loop,
                         &(struct wire_config){.conf = &n->conf,
                                               .threads = 2,
                                               .metrics = &n->metrics,
                                               .on_message = on_message,
                                               .on_failed = on_failed,
                                               .ctx = n},
                         &err);
    assert_non_null(n->wire);
    wire_listen(n->wire, true);
    wait_until_listening(n);
}

static int start(void **state)
{
    uint16_t ports[3];

    (void)state;
    log_init("test", "n1", LOG_ERROR);
    uv_loop_init(&loop);
    certs_init(&certs);
    certs_make(&certs, "n1", "DNS:n1,IP:127.0.0.1");
    certs_make(&certs, "n2", "DNS:n2,IP:127.0.0.2");
    for (size_t i = 0; i < 3; i++)
        ports[i] = free_port();
    start_node(&n1, 1, ports);
    start_node(&n2, 2, ports);
    return 0;
}

static int stop(void **state)
{
    (void)state;
    wire_close(n1.wire);
    wire_close(n2.wire);
    uv_run(&loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&loop), 0);
    buf_done(&n1.trace);
    buf_done(&n2.trace);
    certs_done(&certs, (const char *[]){"n1", "n2", NULL});
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(requests_and_answers_find_their_way),
        cmocka_unit_test(connections_are_used_again),
        cmocka_unit_test(what_cannot_be_sent_is_told),
        cmocka_unit_test(request_on_a_connection_that_breaks_is_told),
        cmocka_unit_test(messages_are_found_in_a_stream),
        cmocka_unit_test(stream_that_cannot_be_understood_is_ended),
    };
    return cmocka_run_group_tests(tests, start, stop);
}
