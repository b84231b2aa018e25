// SPDX-License-Identifier: Apache-2.0
/*
 * Connections between two ends in one loop, plain and with TLS: what one says the other hears, who
 * is let in, what happens at limits, and that each end hears on_closed once.
 */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "common/buf.h"
#include "common/mem.h"
#include "common/net.h"
#include "common/tls.h"
#include "test/unit/certs.h"

/* One end; its callbacks say what happened, `on_event` makes the story go on. */
struct end {
    struct net_conn *conn;
    struct buf heard;
    unsigned opened, drained, closed;
    int error;
    bool was_tls, exporter_ok;
    uint8_t exporter[32];
    void (*on_event)(struct end *e);
    struct story *story;
};

struct story {
    uv_loop_t loop;
    struct end server, client;
    struct net_listener *listener;
    struct sockaddr_storage address;
    bool refuse;
    SSL_CTX *later; /* for STARTTLS */
};

static struct certs certs;
static struct conf server_conf, client_conf;

static void happened(struct end *e)
{
    if (e->on_event)
        e->on_event(e);
}

static void on_open(void *ctx, struct net_conn *c)
{
    struct end *e = ctx;

    e->conn = c;
    e->opened++;
    e->was_tls = net_is_tls(c);
    e->exporter_ok = net_exporter(c, e->exporter);
    happened(e);
}

static void on_data(void *ctx, struct net_conn *c, const uint8_t *data, size_t len)
{
    struct end *e = ctx;

    (void)c;
    assert_int_equal(e->closed, 0);
    buf_put(&e->heard, data, len);
    happened(e);
}

static void on_drained(void *ctx, struct net_conn *c)
{
    struct end *e = ctx;

    (void)c;
    e->drained++;
    happened(e);
}

static void on_closed(void *ctx, struct net_conn *c, int error)
{
    struct end *e = ctx;

    (void)c;
    e->closed++;
    e->error = error;
    e->conn = NULL;
    net_listener_close(e->story->listener);
    e->story->listener = NULL;
    happened(e);
}

static const struct net_ops ops = {on_open, on_data, on_drained, on_closed};

static void *on_accept(void *ctx, struct net_conn *c)
{
    struct story *s = ctx;

    (void)c;
    return s->refuse ? NULL : &s->server;
}

static void begin(struct story *s, const struct net_config *server)
{
    struct net_config config = *server;

    uv_loop_init(&s->loop);
    config.ops = &ops;
    s->server.story = s->client.story = s;
    buf_init(&s->server.heard, 8 << 20);
    buf_init(&s->client.heard, 8 << 20);
    /* A port that was free a moment ago. */
    for (uint16_t port = (uint16_t)(20000 + getpid() % 20000);; port++) {
        assert_int_equal(net_address("127.0.0.1", port, &s->address), 0);
        if (net_listen(&s->loop, &s->address, &config, on_accept, s, &s->listener) == 0)
            break;
        uv_run(&s->loop, UV_RUN_DEFAULT);
    }
}

static void connect_client(struct story *s, const struct net_config *client)
{
    struct net_config config = *client;

    config.ops = &ops;
    s->client.conn = net_connect(&s->loop, &s->address, &config, &s->client);
}

static void tell(struct story *s)
{
    uv_run(&s->loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&s->loop), 0);
    buf_done(&s->server.heard);
    buf_done(&s->client.heard);
}

static SSL_CTX *context(enum tls_role role, const struct conf *conf)
{
    struct err err;
    SSL_CTX *ctx = tls_new(role, conf, &err);

    if (!ctx)
        fail_msg("%s", err.text);
    return ctx;
}

/* The client says "hello" when open, the server repeats what it hears, the client then leaves. */
static void say_hello(struct end *e)
{
    if (e->opened == 1 && e->heard.len == 0 && !e->closed && e->drained == 0) {
        assert_int_equal(net_write(e->conn, "hel", 3), 0);
        assert_int_equal(net_write(e->conn, "lo", 2), 0);
    }
    if (e->heard.len == 5 && !e->closed)
        net_shutdown(e->conn);
}

static void echo(struct end *e)
{
    if (e->heard.len == 5 && !e->closed && e->drained == 0)
        assert_int_equal(net_write(e->conn, e->heard.data, 5), 0);
}

static void exchange(struct story *s, const struct net_config *server,
                     const struct net_config *client)
{
    begin(s, server);
    s->client.on_event = say_hello;
    s->server.on_event = echo;
    connect_client(s, client);
    uv_run(&s->loop, UV_RUN_DEFAULT);
    assert_string_equal(buf_str(&s->client.heard).p, "hello");
    assert_string_equal(buf_str(&s->server.heard).p, "hello");
    assert_int_equal(s->client.closed, 1);
    assert_int_equal(s->server.closed, 1);
    assert_int_equal(s->client.error, 0);
    assert_int_equal(s->server.error, 0);
    assert_int_equal(s->client.drained, 1);
    tell(s);
}

static void plain_exchange(void **state)
{
    struct story s = {0};

    (void)state;
    exchange(&s, &(struct net_config){0}, &(struct net_config){0});
    assert_false(s.client.was_tls);
    assert_false(s.client.exporter_ok);
}

static void mutual_tls_exchange(void **state)
{
    struct story s = {0};
    SSL_CTX *server = context(TLS_SERVER_MUTUAL, &server_conf);
    SSL_CTX *client = context(TLS_CLIENT_MUTUAL, &client_conf);

    (void)state;
    exchange(&s, &(struct net_config){.tls = server},
             &(struct net_config){.tls = client, .server_name = "n1"});
    assert_true(s.client.was_tls && s.server.was_tls);
    assert_true(s.client.exporter_ok && s.server.exporter_ok);
    assert_memory_equal(s.client.exporter, s.server.exporter, 32);

    memset(&s, 0, sizeof(s)); /* the same by address */
    exchange(
        &s, &(struct net_config){.tls = server},
        &(struct net_config){.tls = client, .server_name = "127.0.0.1", .dead_after_ms = 3000});
    SSL_CTX_free(server);
    SSL_CTX_free(client);
}

static void check_peer(struct end *e)
{
    if (e->opened && e->conn) {
        assert_true(net_peer_is(e->conn, "n2"));
        assert_true(net_peer_is(e->conn, "127.0.0.2"));
        assert_false(net_peer_is(e->conn, "n1"));
        assert_false(net_peer_is(e->conn, "127.0.0.1"));
        net_abort(e->conn);
    }
}

static void peers_are_known_by_their_certificates(void **state)
{
    struct story s = {0};
    SSL_CTX *server = context(TLS_SERVER_MUTUAL, &server_conf);
    SSL_CTX *client = context(TLS_CLIENT_MUTUAL, &client_conf);

    (void)state;
    begin(&s, &(struct net_config){.tls = server});
    s.server.on_event = check_peer;
    connect_client(&s, &(struct net_config){.tls = client, .server_name = "n1"});
    tell(&s);
    assert_int_equal(s.server.closed, 1);
    assert_int_equal(s.client.closed, 1);
    SSL_CTX_free(server);
    SSL_CTX_free(client);
}

/* Refused by the client because of the name, by the server because of the certificate. */
static void strangers_are_refused(void **state)
{
    struct story s = {0};
    struct certs others = {0};
    struct conf other_conf = {0};
    SSL_CTX *server = context(TLS_SERVER_MUTUAL, &server_conf);
    SSL_CTX *client = context(TLS_CLIENT_MUTUAL, &client_conf);
    SSL_CTX *other;

    (void)state;
    begin(&s, &(struct net_config){.tls = server});
    connect_client(&s, &(struct net_config){.tls = client, .server_name = "n3"});
    tell(&s);
    assert_int_equal(s.client.opened, 0);
    assert_int_equal(s.client.error, UV_EPROTO);
    assert_int_equal(s.server.error, UV_EPROTO);

    certs_init(&others);
    certs_make(&others, "n2", "DNS:n2");
    certs_conf(&others, "n2", &other_conf);
    (void)snprintf(other_conf.tls_ca, sizeof(other_conf.tls_ca), "%s", client_conf.tls_ca);
    other = context(TLS_CLIENT_MUTUAL, &other_conf);
    memset(&s, 0, sizeof(s));
    begin(&s, &(struct net_config){.tls = server});
    connect_client(&s, &(struct net_config){.tls = other, .server_name = "n1"});
    tell(&s);
    assert_int_equal(s.server.opened, 0);
    assert_int_equal(s.server.error, UV_EPROTO);
    certs_done(&others, (const char *[]){"n2", NULL});
    SSL_CTX_free(other);
    SSL_CTX_free(server);
    SSL_CTX_free(client);
}

/* A client that says nothing, and one that says nonsense, in place of a handshake. */
static void a_handshake_has_a_time_and_a_form(void **state)
{
    struct story s = {0};
    SSL_CTX *server = context(TLS_SERVER, &server_conf);

    (void)state;
    begin(&s, &(struct net_config){.tls = server, .open_timeout_ms = 50});
    connect_client(&s, &(struct net_config){0});
    tell(&s);
    assert_int_equal(s.server.error, UV_ETIMEDOUT);
    assert_int_equal(s.server.opened, 0);

    memset(&s, 0, sizeof(s));
    begin(&s, &(struct net_config){.tls = server});
    s.client.on_event = say_hello;
    connect_client(&s, &(struct net_config){0});
    tell(&s);
    assert_int_equal(s.server.error, UV_EPROTO);
    SSL_CTX_free(server);
}

static void nobody_listens(void **state)
{
    struct story s = {0};

    (void)state;
    begin(&s, &(struct net_config){0});
    net_listener_close(s.listener);
    s.listener = NULL;
    uv_run(&s.loop, UV_RUN_DEFAULT);
    connect_client(&s, &(struct net_config){0});
    assert_int_equal(net_write(s.client.conn, "x", 1), NET_E_CLOSED);
    tell(&s);
    assert_int_equal(s.client.error, UV_ECONNREFUSED);
    assert_int_equal(s.client.closed, 1);
}

static void refused_by_its_owner_and_by_number(void **state)
{
    struct story s = {.refuse = true};

    (void)state;
    begin(&s, &(struct net_config){0});
    connect_client(&s, &(struct net_config){0});
    tell(&s);
    assert_int_equal(s.client.closed, 1);
    assert_int_equal(s.server.closed, 0);
}

enum { MUCH = 3 << 20 };

static void write_much(struct end *e)
{
    static char much[MUCH];

    if (e->opened == 1 && !e->closed && e->drained == 0) {
        memset(much, 'm', sizeof(much));
        assert_int_equal(net_write(e->conn, much, sizeof(much)), 0);
        assert_int_equal(net_write(e->conn, much, (4 << 20) - sizeof(much) + 1), NET_E_FULL);
        assert_int_equal(net_write(e->conn, much, 1), 0);
        net_shutdown(e->conn);
        assert_int_equal(net_write(e->conn, much, 1), NET_E_CLOSED);
    }
}

/* All that was taken arrives before the end does. */
static void much_is_sent_before_the_end(void **state)
{
    SSL_CTX *server = context(TLS_SERVER, &server_conf);
    SSL_CTX *client = context(TLS_CLIENT_MUTUAL, &client_conf);

    (void)state;
    for (int tls = 0; tls < 2; tls++) {
        struct story s = {0};

        begin(&s, &(struct net_config){.tls = tls ? server : NULL});
        s.server.on_event = write_much;
        connect_client(&s, &(struct net_config){.tls = tls ? client : NULL, .server_name = "n1"});
        uv_run(&s.loop, UV_RUN_DEFAULT);
        assert_int_equal(s.client.heard.len, MUCH + 1);
        assert_int_equal(s.client.error, 0);
        assert_int_equal(s.server.error, 0);
        tell(&s);
    }
    SSL_CTX_free(server);
    SSL_CTX_free(client);
}

static void pause_at_open(struct end *e)
{
    if (e->opened && !e->closed && e->heard.len == 0)
        net_pause(e->conn);
}

static void on_resume_time(uv_timer_t *timer)
{
    struct story *s = timer->data;

    assert_int_equal(s->client.heard.len, 0);
    net_resume(s->client.conn);
    uv_close((uv_handle_t *)timer, NULL);
}

static void paused_means_nothing_is_read(void **state)
{
    struct story s = {0};
    uv_timer_t timer = {.data = &s};

    (void)state;
    begin(&s, &(struct net_config){0});
    s.server.on_event = write_much;
    s.client.on_event = pause_at_open;
    connect_client(&s, &(struct net_config){0});
    uv_timer_init(&s.loop, &timer);
    uv_timer_start(&timer, on_resume_time, 50, 0);
    uv_run(&s.loop, UV_RUN_DEFAULT);
    assert_int_equal(s.client.heard.len, MUCH + 1);
    tell(&s);
}

/* The server: "proceed", then TLS. The client here is plain TCP that we upgrade by hand: OpenSSL
 * over the bytes that it hears. */
struct upgrade {
    SSL *ssl;
    BIO *in, *out;
};

static struct upgrade upgrade;

static void pump(struct end *e)
{
    char bytes[4096];
    int len;

    while ((len = BIO_read(upgrade.out, bytes, sizeof(bytes))) > 0)
        assert_int_equal(net_write(e->conn, bytes, (size_t)len), 0);
}

static void client_upgrades(struct end *e)
{
    char text[16];

    if (e->closed)
        return;
    if (e->opened == 1 && e->drained == 0 && e->heard.len == 0)
        assert_int_equal(net_write(e->conn, "starttls", 8), 0);
    if (!upgrade.ssl && e->heard.len >= 7) {
        SSL_CTX *ctx = context(TLS_CLIENT_MUTUAL, &client_conf);

        upgrade.ssl = SSL_new(ctx);
        SSL_CTX_free(ctx);
        upgrade.in = BIO_new(BIO_s_mem());
        upgrade.out = BIO_new(BIO_s_mem());
        SSL_set_bio(upgrade.ssl, upgrade.in, upgrade.out);
        SSL_set_connect_state(upgrade.ssl);
        assert_memory_equal(e->heard.data, "proceed", 7);
        buf_drop(&e->heard, 7);
    }
    if (!upgrade.ssl)
        return;
    if (e->heard.len)
        BIO_write(upgrade.in, e->heard.data, (int)e->heard.len);
    buf_clear(&e->heard);
    if (SSL_do_handshake(upgrade.ssl) == 1 && SSL_read(upgrade.ssl, text, sizeof(text)) == 6) {
        assert_memory_equal(text, "secret", 6);
        net_shutdown(e->conn);
    } else {
        pump(e);
    }
}

static void server_upgrades(struct end *e)
{
    if (e->closed)
        return;
    if (e->opened == 1 && e->heard.len == 8 && !net_is_tls(e->conn)) {
        assert_int_equal(net_write(e->conn, "proceed", 7), 0);
        assert_int_equal(net_starttls(e->conn, e->story->later), 0);
        assert_int_equal(net_starttls(e->conn, e->story->later), NET_E_CLOSED);
        assert_int_equal(net_write(e->conn, "too early", 9), NET_E_CLOSED);
    }
    if (e->opened == 2 && e->was_tls)
        (void)net_write(e->conn, "secret", 6);
}

static void starttls(void **state)
{
    struct story s = {0};

    (void)state;
    s.later = context(TLS_SERVER, &server_conf);
    begin(&s, &(struct net_config){0});
    s.client.on_event = client_upgrades;
    s.server.on_event = server_upgrades;
    connect_client(&s, &(struct net_config){0});
    tell(&s);
    assert_int_equal(s.server.opened, 2);
    assert_int_equal(s.server.closed, 1);
    assert_int_equal(s.client.closed, 1);
    SSL_free(upgrade.ssl);
    SSL_CTX_free(s.later);
}

static void addresses(void **state)
{
    struct sockaddr_storage a;
    char text[80];

    (void)state;
    assert_int_equal(net_address("127.0.1.1", 5060, &a), 0);
    net_address_text((struct sockaddr *)&a, text, sizeof(text));
    assert_string_equal(text, "127.0.1.1:5060");
    assert_int_equal(net_address("::1", 5060, &a), 0);
    net_address_text((struct sockaddr *)&a, text, sizeof(text));
    assert_string_equal(text, "[::1]:5060");
    assert_int_equal(net_address("example.org", 5060, &a), UV_EINVAL);
    assert_int_equal(net_address("", 5060, &a), UV_EINVAL);
}

static int make_certs(void **state)
{
    (void)state;
    certs_init(&certs);
    certs_make(&certs, "n1", "DNS:n1,IP:127.0.0.1");
    certs_make(&certs, "n2", "DNS:n2,IP:127.0.0.2");
    certs_conf(&certs, "n1", &server_conf);
    certs_conf(&certs, "n2", &client_conf);
    return 0;
}

static int remove_certs(void **state)
{
    (void)state;
    certs_done(&certs, (const char *[]){"n1", "n2", NULL});
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(plain_exchange),
        cmocka_unit_test(mutual_tls_exchange),
        cmocka_unit_test(peers_are_known_by_their_certificates),
        cmocka_unit_test(strangers_are_refused),
        cmocka_unit_test(a_handshake_has_a_time_and_a_form),
        cmocka_unit_test(nobody_listens),
        cmocka_unit_test(refused_by_its_owner_and_by_number),
        cmocka_unit_test(much_is_sent_before_the_end),
        cmocka_unit_test(paused_means_nothing_is_read),
        cmocka_unit_test(starttls),
        cmocka_unit_test(addresses),
    };
    signal(SIGPIPE, SIG_IGN);
    return cmocka_run_group_tests(tests, make_certs, remove_certs);
}
