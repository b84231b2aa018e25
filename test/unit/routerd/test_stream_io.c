// SPDX-License-Identifier: Apache-2.0
/*
 * Streams through real sockets and threads: the test is the core, and the clients are connections
 * of common/net in the core's loop.
 */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "common/mem.h"
#include "common/metrics.h"
#include "common/net.h"
#include "common/tls.h"
#include "common/xml.h"
#include "routerd/router.h"
#include "routerd/stream_io.h"
#include "test/unit/certs.h"

static struct certs certs;

struct story {
    uv_loop_t loop;
    uv_timer_t limit;
    struct conf conf;
    struct metrics metrics;
    struct stream_io *io;
    /* the core's side */
    uint64_t stream;
    struct buf told;
    unsigned opened, closed;
    bool tls, exporter;
    size_t last_bytes; /* of the last stanza's text */
    unsigned counted;  /* stanzas <n/> */
    /* the client's */
    struct net_conn *client;
    const char *says; /* when it is open */
    struct buf heard;
    unsigned client_closed;
    int client_error;
};

/* ---- the core ---- */

static void on_open(void *ctx, uint64_t stream, const struct router_stream_open *open)
{
    struct story *s = ctx;

    assert_true(s->stream == 0 || s->stream == stream);
    s->stream = stream;
    s->opened++;
    s->tls = open->tls;
    s->exporter = open->has_exporter;
    assert_memory_equal(open->peer, "127.0.0.1:", 10);
    buf_printf(&s->told, "open %.*s;", STR_ARG(xml_get(open->root, "to")));
    stream_io_write(s->io, stream, STR("<features/>"));
}

/* Obeys stanzas by their names. */
static void on_stanza(void *ctx, uint64_t stream, struct arena *arena, struct xml_node *stanza)
{
    struct story *s = ctx;

    assert_int_equal(stream, s->stream);
    s->last_bytes = xml_text(arena, stanza).len;
    (void)arena_alloc(arena, 100); /* as the core does */
    if (xml_is(stanza, NULL, "n")) {
        s->counted++;
        return;
    }
    buf_printf(&s->told, "%.*s;", STR_ARG(stanza->name));
    if (xml_is(stanza, NULL, "ping"))
        stream_io_write(s->io, stream, STR("<pong/>"));
    if (xml_is(stanza, NULL, "auth")) {
        stream_io_limit(s->io, stream, 200000);
        stream_io_restart(s->io, stream);
        stream_io_write(s->io, stream, STR("<success/>"));
    }
    if (xml_is(stanza, NULL, "flood")) {
        static char much[3 << 20];

        memset(much, 'm', sizeof(much));
        stream_io_write(s->io, stream, (struct str){much, sizeof(much)});
        stream_io_write(s->io, stream, (struct str){much, sizeof(much)});
    }
}

static void on_error(void *ctx, uint64_t stream, int error)
{
    struct story *s = ctx;

    buf_printf(&s->told, "error %d;", error);
    stream_io_write(s->io, stream, STR("<error/>"));
    stream_io_end(s->io, stream);
}

static void on_end(void *ctx, uint64_t stream)
{
    struct story *s = ctx;

    buf_puts(&s->told, "end;");
    stream_io_write(s->io, stream, STR("</stream>"));
    stream_io_end(s->io, stream);
}

static void on_closed(void *ctx, uint64_t stream)
{
    struct story *s = ctx;

    assert_int_equal(stream, s->stream);
    s->closed++;
    stream_io_write(s->io, stream, STR("too late")); /* does nothing */
}

static const struct stream_io_ops core_ops = {on_open, on_stanza, on_error, on_end, on_closed};

/* ---- the client ---- */

static void on_client_open(void *ctx, struct net_conn *c)
{
    struct story *s = ctx;

    assert_int_equal(net_write(c, s->says, strlen(s->says)), 0);
}

static void on_client_data(void *ctx, struct net_conn *c, const uint8_t *data, size_t len)
{
    struct story *s = ctx;

    (void)c;
    buf_put(&s->heard, data, len);
}

static void on_client_closed(void *ctx, struct net_conn *c, int error)
{
    struct story *s = ctx;

    (void)c;
    s->client_closed++;
    s->client_error = error;
    s->client = NULL;
}

static const struct net_ops client_ops = {
    .on_open = on_client_open, .on_data = on_client_data, .on_closed = on_client_closed};

static void connect_client(struct story *s, enum conf_port port)
{
    struct sockaddr_storage address;
    struct err err;
    SSL_CTX *tls = port == CONF_PORT_XMPPS ? tls_new(TLS_CLIENT_MUTUAL, &s->conf, &err) : NULL;

    assert_int_equal(net_address("127.0.0.1", s->conf.ports[port], &address), 0);
    s->client =
        net_connect(&s->loop, &address, &(struct net_config){.ops = &client_ops, .tls = tls}, s);
    SSL_CTX_free(tls);
}

static void on_limit(uv_timer_t *timer)
{
    struct story *s = timer->data;

    fail_msg("nothing happens any more; told: %s heard: %s", buf_str(&s->told).p,
             buf_str(&s->heard).p);
}

/* The listeners open on other threads, some time: until then a client tries again. */
static void connect_until_served(struct story *s, enum conf_port port)
{
    do {
        s->client_closed = 0;
        connect_client(s, port);
        while (s->client && s->heard.len == 0 && s->opened == 0)
            uv_run(&s->loop, UV_RUN_ONCE);
    } while (!s->client && s->client_error == UV_ECONNREFUSED);
}

static void begin(struct story *s, const char *says)
{
    struct err err;

    *s = (struct story){.says = says};
    uv_loop_init(&s->loop);
    uv_timer_init(&s->loop, &s->limit);
    s->limit.data = s;
    uv_timer_start(&s->limit, on_limit, 20000, 0);
    buf_init(&s->told, 4096);
    buf_init(&s->heard, 16 << 20);
    certs_conf(&certs, "n1", &s->conf);
    s->conf.node = s->conf.nodes.self = 1;
    s->conf.nodes.count = 1;
    s->conf.nodes.nodes[0] =
        (struct view_node){.node = 1, .group = 1, .name = "n1", .address = "127.0.0.1"};
    s->conf.ports[CONF_PORT_XMPP] = (uint16_t)(20000 + getpid() % 20000);
    s->conf.ports[CONF_PORT_XMPPS] = (uint16_t)(s->conf.ports[CONF_PORT_XMPP] + 1);
    s->io = stream_io_start(&(struct stream_io_config){.loop = &s->loop,
                                                       .conf = &s->conf,
                                                       .threads = 2,
                                                       .metrics = &s->metrics,
                                                       .ops = &core_ops,
                                                       .ctx = s},
                            &err);
    if (!s->io)
        fail_msg("%s", err.text);
    stream_io_serve(s->io, true);
}

static void end(struct story *s)
{
    stream_io_close(s->io);
    if (s->client)
        net_abort(s->client);
    uv_close((uv_handle_t *)&s->limit, NULL);
    uv_run(&s->loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&s->loop), 0);
    assert_int_equal(atomic_load(&s->metrics.values[METRIC_CONNECTIONS]), 0);
    buf_done(&s->told);
    buf_done(&s->heard);
}

static void say(struct story *s, const char *text)
{
    assert_int_equal(net_write(s->client, text, strlen(text)), 0);
}

static bool has_heard(const struct story *s, const char *text)
{
    return strstr(buf_str(&s->heard).p, text);
}

#define UNTIL(s, condition)                                                                        \
    while (!(condition))                                                                           \
    uv_run(&(s)->loop, UV_RUN_ONCE)

#define HEADER        "<s:stream to='muster.test' xmlns='jabber:client' xmlns:s='" NS_STREAM_URI "'>"
#define NS_STREAM_URI "http://etherx.jabber.org/streams"

/* ---- stories ---- */

static void a_stream_from_header_to_end(void **state)
{
    struct story s;

    (void)state;
    begin(&s, HEADER "<ping/>");
    connect_until_served(&s, CONF_PORT_XMPP);
    UNTIL(&s, has_heard(&s, "<features/><pong/>"));
    assert_false(s.tls);
    say(&s, "<auth/>");
    UNTIL(&s, has_heard(&s, "<success/>"));
    say(&s, HEADER "<ping/></s:stream><ignored/>");
    UNTIL(&s, s.client_closed);
    UNTIL(&s, s.closed);
    assert_string_equal(s.told.data, "open muster.test;ping;auth;open muster.test;ping;end;");
    assert_true(has_heard(&s, "<features/><pong/></stream>"));
    end(&s);
    assert_int_equal(s.closed, 1);
}

static void direct_tls(void **state)
{
    struct story s;

    (void)state;
    begin(&s, HEADER "<ping/>");
    connect_until_served(&s, CONF_PORT_XMPPS);
    UNTIL(&s, has_heard(&s, "<pong/>"));
    assert_true(s.tls && s.exporter);
    end(&s); /* in the middle: told from within the close */
    assert_int_equal(s.closed, 1);
}

static void what_is_no_xml_is_told_and_ended(void **state)
{
    struct story s;

    (void)state;
    begin(&s, HEADER "<ping/><a></b><ping/>");
    connect_until_served(&s, CONF_PORT_XMPP);
    UNTIL(&s, s.client_closed && s.closed);
    assert_string_equal(s.told.data, "open muster.test;ping;error 1;");
    assert_true(has_heard(&s, "<error/>"));
    end(&s);

    begin(&s, "GET / HTTP/1.1\r\n\r\n");
    connect_until_served(&s, CONF_PORT_XMPP);
    UNTIL(&s, s.client_closed);
    end(&s);
    assert_int_equal(s.opened + s.closed, 0); /* nobody was bothered */
}

static void a_stanza_may_be_larger_after_the_login(void **state)
{
    static char text[150000];
    struct story s;

    (void)state;
    memset(text, 'x', sizeof(text));
    memcpy(text, "<m>", 3);
    memcpy(text + sizeof(text) - 5, "</m>", 5);
    begin(&s, HEADER "<auth/>");
    connect_until_served(&s, CONF_PORT_XMPP);
    UNTIL(&s, has_heard(&s, "<success/>"));
    say(&s, HEADER);
    say(&s, text);
    UNTIL(&s, s.last_bytes == sizeof(text) - 8);
    end(&s);

    begin(&s, HEADER);
    connect_until_served(&s, CONF_PORT_XMPP);
    UNTIL(&s, s.opened);
    say(&s, text);
    UNTIL(&s, s.client_closed);
    assert_string_equal(s.told.data, "open muster.test;error 3;");
    end(&s);
}

static void who_does_not_read_is_dropped(void **state)
{
    struct story s;

    (void)state;
    begin(&s, HEADER);
    connect_until_served(&s, CONF_PORT_XMPP);
    UNTIL(&s, s.opened);
    net_pause(s.client);
    say(&s, "<flood/><flood/><flood/>");
    UNTIL(&s, s.closed);
    end(&s);
}

/* Far more than the core may be behind: its reader pauses, often, and goes on. */
static void a_flood_is_slowed_and_not_lost(void **state)
{
    enum { COUNT = 100000 };
    struct story s;
    struct buf b;

    (void)state;
    buf_init(&b, 1 << 20);
    for (int i = 0; i < COUNT; i++)
        buf_puts(&b, "<n/>");
    begin(&s, HEADER);
    connect_until_served(&s, CONF_PORT_XMPPS);
    UNTIL(&s, s.opened);
    say(&s, b.data);
    UNTIL(&s, s.counted == COUNT);
    say(&s, "<ping/>");
    UNTIL(&s, has_heard(&s, "<pong/>"));
    buf_done(&b);
    end(&s);
}

/* Until the listeners are closed, a second client may get through; its stream is not this one's. */
static void closed_listeners_leave_streams_alone(void **state)
{
    struct story s;
    struct net_conn *first;

    (void)state;
    begin(&s, HEADER);
    connect_until_served(&s, CONF_PORT_XMPP);
    UNTIL(&s, s.opened);
    first = s.client;
    s.says = ""; /* the others say nothing: they are no streams for the core */
    stream_io_serve(s.io, false);
    do {
        s.client_closed = 0;
        connect_client(&s, CONF_PORT_XMPP);
        UNTIL(&s, s.client_closed || net_write(s.client, " ", 1) == 0);
        if (s.client)
            net_abort(s.client);
        UNTIL(&s, s.client_closed);
    } while (s.client_error != UV_ECONNREFUSED);
    s.client = first;
    say(&s, "<ping/>");
    UNTIL(&s, has_heard(&s, "<pong/>"));
    assert_int_equal(s.closed, 0);
    end(&s);
}

static int make_certs(void **state)
{
    (void)state;
    certs_init(&certs);
    certs_make(&certs, "n1", "DNS:n1,IP:127.0.0.1");
    return 0;
}

static int remove_certs(void **state)
{
    (void)state;
    certs_done(&certs, (const char *[]){"n1", NULL});
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_stream_from_header_to_end),
        cmocka_unit_test(direct_tls),
        cmocka_unit_test(what_is_no_xml_is_told_and_ended),
        cmocka_unit_test(a_stanza_may_be_larger_after_the_login),
        cmocka_unit_test(who_does_not_read_is_dropped),
        cmocka_unit_test(a_flood_is_slowed_and_not_lost),
        cmocka_unit_test(closed_listeners_leave_streams_alone),
    };
    signal(SIGPIPE, SIG_IGN);
    return cmocka_run_group_tests(tests, make_certs, remove_certs);
}
