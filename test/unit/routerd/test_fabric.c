// SPDX-License-Identifier: Apache-2.0
/*
 * Two nodes in one loop, and the link between them: who makes it, who is refused, what arrives, and
 * that it comes back.
 */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "common/daemon.h"
#include "common/mem.h"
#include "common/metrics.h"
#include "routerd/fabric.h"
#include "test/unit/certs.h"

static struct certs certs;

struct node {
    struct story *story;
    struct conf conf;
    struct metrics metrics;
    struct fabric *fabric;
    unsigned ups, downs, frames;
    uint64_t link_id;
    char last[64];
    bool drop_next; /* break the link from within on_frame */
};

struct story {
    uv_loop_t loop;
    struct node one, two;
    uv_timer_t limit; /* a test that hangs fails */
};

static void on_link(void *ctx, uint32_t node, bool up, uint64_t link_id)
{
    struct node *n = ctx;

    assert_int_equal(node, 3 - n->conf.node);
    if (up) {
        assert_true(link_id != 0 && link_id != n->link_id);
        n->ups++;
    } else {
        n->downs++;
    }
    n->link_id = link_id;
    assert_int_equal(fabric_link_id(n->fabric, node), link_id);
}

static void on_frame(void *ctx, uint32_t node, const Muster__Envelope *e)
{
    struct node *n = ctx;

    assert_int_equal(node, 3 - n->conf.node);
    n->frames++;
    if (e->body_case == MUSTER__ENVELOPE__BODY_IM)
        (void)snprintf(n->last, sizeof(n->last), "%s", e->im->id);
}

static void fill_conf(struct conf *conf, uint32_t number, const char *certificate)
{
    uint16_t port = (uint16_t)(20000 + getpid() % 20000);

    *conf = (struct conf){.node = number};
    certs_conf(&certs, certificate, conf);
    conf->ports[CONF_PORT_FABRIC] = port;
    conf->nodes.self = number;
    conf->nodes.count = 2;
    conf->nodes.nodes[0] =
        (struct view_node){.node = 1, .group = 1, .name = "n1", .address = "127.0.0.1"};
    conf->nodes.nodes[1] =
        (struct view_node){.node = 2, .group = 1, .name = "n2", .address = "127.0.0.2"};
}

static void on_limit(uv_timer_t *timer)
{
    (void)timer;
    fail_msg("nothing happens any more");
}

static void begin(struct story *s)
{
    memset(s, 0, sizeof(*s));
    uv_loop_init(&s->loop);
    uv_timer_init(&s->loop, &s->limit);
    uv_timer_start(&s->limit, on_limit, 10000, 0);
    s->one.story = s->two.story = s;
    fill_conf(&s->one.conf, 1, "n1");
    fill_conf(&s->two.conf, 2, "n2");
}

static void start(struct node *n, uint64_t epoch)
{
    struct err err;

    n->fabric = fabric_start(&(struct fabric_config){.loop = &n->story->loop,
                                                     .conf = &n->conf,
                                                     .boot_id = n->conf.node,
                                                     .metrics = &n->metrics,
                                                     .on_link = on_link,
                                                     .on_frame = on_frame,
                                                     .ctx = n},
                             &err);
    if (!n->fabric)
        fail_msg("%s", err.text);
    fabric_set_epoch(n->fabric, epoch);
}

static void stop(struct node *n)
{
    fabric_close(n->fabric);
    n->fabric = NULL;
}

static void end(struct story *s)
{
    if (s->one.fabric)
        stop(&s->one);
    if (s->two.fabric)
        stop(&s->two);
    uv_close((uv_handle_t *)&s->limit, NULL);
    uv_run(&s->loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&s->loop), 0);
}

#define UNTIL(s, condition)                                                                        \
    while (!(condition))                                                                           \
    uv_run(&(s)->loop, UV_RUN_ONCE)

static bool send_im(struct node *n, const char *id, size_t body_bytes)
{
    Muster__Envelope e = MUSTER__ENVELOPE__INIT;
    Muster__Im im = MUSTER__IM__INIT;
    bool sent;

    im.id = (char *)id;
    im.body.data = mem_new(body_bytes);
    im.body.len = body_bytes;
    e.body_case = MUSTER__ENVELOPE__BODY_IM;
    e.im = &im;
    sent = fabric_send(n->fabric, 3 - n->conf.node, &e);
    mem_free(im.body.data);
    return sent;
}

static void frames_go_both_ways(void **state)
{
    struct story s;

    (void)state;
    begin(&s);
    start(&s.one, 1); /* alone at first: it tries again until the other is there */
    assert_false(send_im(&s.one, "too early", 0));
    start(&s.two, 1);
    UNTIL(&s, s.one.link_id && s.two.link_id);
    assert_true(send_im(&s.one, "a", 10));
    assert_true(send_im(&s.one, "b", 900000));
    assert_true(send_im(&s.two, "c", 10));
    for (int i = 0; i < 100; i++)
        assert_true(send_im(&s.one, i == 99 ? "last" : "many", 1000));
    UNTIL(&s, s.two.frames == 102 && s.one.frames == 1);
    assert_string_equal(s.two.last, "last");
    assert_string_equal(s.one.last, "c");
    assert_false(send_im(&s.one, "beyond", 2 << 20)); /* no frame is so large; the link stays */
    assert_true(send_im(&s.one, "after", 0));
    UNTIL(&s, s.two.frames == 103);
    assert_int_equal(s.one.downs, 0);
    end(&s);
}

static void a_link_comes_back(void **state)
{
    struct story s;
    uint64_t before;

    (void)state;
    begin(&s);
    start(&s.one, 1);
    start(&s.two, 1);
    UNTIL(&s, s.one.link_id && s.two.link_id);
    before = s.one.link_id;
    stop(&s.two);
    UNTIL(&s, s.one.downs == 1);
    start(&s.two, 1);
    s.two.link_id = 0;
    UNTIL(&s, s.one.ups == 2 && s.two.ups == 2);
    assert_true(s.one.link_id != before);
    end(&s);
}

/* What the other side does not take breaks the link; nothing is left out of the middle. */
static void too_much_breaks_the_link(void **state)
{
    struct story s;
    bool sent = true;

    (void)state;
    begin(&s);
    start(&s.one, 1);
    start(&s.two, 1);
    UNTIL(&s, s.one.link_id && s.two.link_id);
    for (int i = 0; i < 40 && sent; i++)
        sent = send_im(&s.one, "x", 1000000);
    assert_false(sent);
    assert_false(send_im(&s.one, "small", 0));
    assert_int_equal(s.one.downs, 0); /* never from within */
    UNTIL(&s, s.one.ups == 2 && s.two.ups == 2);
    end(&s);
}

static void an_older_epoch_waits(void **state)
{
    struct story s;

    (void)state;
    begin(&s);
    start(&s.one, 4);
    start(&s.two, 5);
    UNTIL(&s, atomic_load(&s.two.metrics.values[METRIC_FABRIC_REFUSED]) > 1);
    assert_int_equal(s.two.ups, 0);
    fabric_set_epoch(s.one.fabric, 5);
    UNTIL(&s, s.one.link_id && s.two.link_id);
    end(&s);
}

/* Node 2's name with a certificate of another node of the same authority. */
static void an_impostor_is_refused(void **state)
{
    struct story s;

    (void)state;
    begin(&s);
    fill_conf(&s.two.conf, 2, "n3");
    start(&s.one, 1);
    start(&s.two, 1);
    UNTIL(&s, atomic_load(&s.one.metrics.values[METRIC_FABRIC_REFUSED]) > 1);
    assert_int_equal(s.one.ups, 0);
    end(&s);

    begin(&s);
    fill_conf(&s.one.conf, 1, "n3");
    start(&s.one, 1);
    start(&s.two, 1);
    UNTIL(&s, atomic_load(&s.two.metrics.values[METRIC_FABRIC_REFUSED]) > 1);
    assert_int_equal(s.two.ups, 0);
    end(&s);
}

static int make_certs(void **state)
{
    (void)state;
    certs_init(&certs);
    certs_make(&certs, "n1", "DNS:n1,IP:127.0.0.1");
    certs_make(&certs, "n2", "IP:127.0.0.2"); /* its address is enough */
    certs_make(&certs, "n3", "DNS:n3,IP:127.0.0.3");
    return 0;
}

static int remove_certs(void **state)
{
    (void)state;
    certs_done(&certs, (const char *[]){"n1", "n2", "n3", NULL});
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(frames_go_both_ways),      cmocka_unit_test(a_link_comes_back),
        cmocka_unit_test(too_much_breaks_the_link), cmocka_unit_test(an_older_epoch_waits),
        cmocka_unit_test(an_impostor_is_refused),
    };
    signal(SIGPIPE, SIG_IGN);
    return cmocka_run_group_tests(tests, make_certs, remove_certs);
}
