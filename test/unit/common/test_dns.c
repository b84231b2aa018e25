// SPDX-License-Identifier: Apache-2.0
/*
 * DNS against a server of our own in the same loop: addresses, services in their order, what is
 * remembered and for how long, and replies that are none.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "common/dns.h"
#include "common/dns_reply.h"
#include "common/net.h"
#include "common/util.h"

/* ---- a server ---- */

struct story {
    uv_loop_t loop;
    uv_udp_t server;
    struct dns *dns;
    unsigned asked; /* questions that reached the server */
    char datagram[1500];
    unsigned told;
    int status;
    size_t count;
    struct dns_target targets[DNS_ANSWERS_MAX];
};

static void put_u16(uint8_t *reply, size_t *len, unsigned value)
{
    reply[(*len)++] = (uint8_t)(value >> 8);
    reply[(*len)++] = (uint8_t)value;
}

static void put_record(uint8_t *reply, size_t *len, unsigned type, const void *data, size_t size)
{
    put_u16(reply, len, 0xc00c); /* the name of the question */
    put_u16(reply, len, type);
    put_u16(reply, len, 1);
    put_u16(reply, len, 0);
    put_u16(reply, len, 60); /* TTL */
    put_u16(reply, len, (unsigned)size);
    memcpy(reply + *len, data, size);
    *len += size;
}

/* Knows "good" (two addresses), "_sip" (three targets); nothing else. */
static size_t answer(const uint8_t *question, size_t len, uint8_t *reply)
{
    static const uint8_t srv[3][9] = {{0, 20, 0, 0, 0x13, 0xc4, 1, 'c', 0},
                                      {0, 10, 0, 0, 0x13, 0xc4, 1, 'b', 0},
                                      {0, 10, 0, 9, 0x13, 0xc5, 1, 'a', 0}};
    unsigned type = question[len - 3];
    size_t end = len;
    unsigned answers = 0;

    memcpy(reply, question, len);
    if (memcmp(question + 13, "good", 4) == 0 && type == 1) {
        put_record(reply, &end, 1, "\xc0\x00\x02\x01", 4);
        put_record(reply, &end, 1, "\xc0\x00\x02\x02", 4);
        answers = 2;
    }
    if (memcmp(question + 13, "_sip", 4) == 0 && type == 33)
        for (; answers < 3; answers++)
            put_record(reply, &end, 33, srv[answers], 9);
    reply[2] = 0x81;
    reply[3] = memcmp(question + 13, "good", 4) == 0 || answers ? 0x80 : 0x83;
    reply[7] = (uint8_t)answers;
    reply[9] = reply[11] = 0; /* no authority, nothing more */
    return end;
}

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *ret_buf)
{
    struct story *s = handle->data;

    (void)suggested;
    *ret_buf = uv_buf_init(s->datagram, sizeof(s->datagram));
}

static void on_question(uv_udp_t *server, ssize_t len, const uv_buf_t *buf,
                        const struct sockaddr *from, unsigned flags)
{
    struct story *s = server->data;
    uint8_t reply[2000];
    size_t question;
    uv_buf_t b;

    (void)flags;
    if (len < 18 || !from)
        return;
    s->asked++;
    /* Without the additional record that c-ares may add. */
    for (question = 12; buf->base[question]; question += (uint8_t)buf->base[question] + 1u)
        ;
    b = uv_buf_init((char *)reply,
                    (unsigned)answer((const uint8_t *)buf->base, question + 5, reply));
    assert_int_equal(uv_udp_try_send(server, &b, 1, from), (int)b.len);
}

static void begin(struct story *s)
{
    struct sockaddr_storage address;
    int len = sizeof(address);
    char servers[80];

    *s = (struct story){0};
    uv_loop_init(&s->loop);
    uv_udp_init(&s->loop, &s->server);
    s->server.data = s;
    assert_int_equal(net_address("127.0.0.1", 0, &address), 0);
    assert_int_equal(uv_udp_bind(&s->server, (struct sockaddr *)&address, 0), 0);
    assert_int_equal(uv_udp_recv_start(&s->server, on_alloc, on_question), 0);
    assert_int_equal(uv_udp_getsockname(&s->server, (struct sockaddr *)&address, &len), 0);
    net_address_text((struct sockaddr *)&address, servers, sizeof(servers));
    s->dns = dns_start(&s->loop, servers);
}

static void end(struct story *s)
{
    dns_close(s->dns);
    uv_close((uv_handle_t *)&s->server, NULL);
    uv_run(&s->loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&s->loop), 0);
}

static void on_answer(void *ctx, int status, const struct dns_target *targets, size_t count)
{
    struct story *s = ctx;

    s->told++;
    s->status = status;
    s->count = count;
    if (count)
        memcpy(s->targets, targets, count * sizeof(*targets));
}

static void wait_for(struct story *s, unsigned told)
{
    assert_int_equal(s->told, told - 1); /* never from within */
    while (s->told < told)
        uv_run(&s->loop, UV_RUN_ONCE);
}

static const char *text(const struct dns_target *t)
{
    static char s[80];

    net_address_text((const struct sockaddr *)&t->address, s, sizeof(s));
    return s;
}

static void addresses_are_found_and_remembered(void **state)
{
    struct story s;
    unsigned asked;

    (void)state;
    begin(&s);
    dns_address(s.dns, "good.example", 5060, on_answer, &s);
    wait_for(&s, 1);
    assert_int_equal(s.status, 0);
    assert_int_equal(s.count, 2);
    assert_string_equal(text(&s.targets[0]), "192.0.2.1:5060");
    assert_string_equal(text(&s.targets[1]), "192.0.2.2:5060");
    assert_string_equal(s.targets[0].host, "good.example");

    asked = s.asked;
    dns_address(s.dns, "good.example", 5061, on_answer, &s);
    wait_for(&s, 2);
    assert_int_equal(s.asked, asked);
    assert_string_equal(text(&s.targets[1]), "192.0.2.2:5061");

    dns_address(s.dns, "::1", 5060, on_answer, &s);
    wait_for(&s, 3);
    assert_int_equal(s.asked, asked);
    assert_string_equal(text(&s.targets[0]), "[::1]:5060");

    dns_address(s.dns, "bad.example", 5060, on_answer, &s);
    wait_for(&s, 4);
    assert_int_equal(s.status, UV_ENOENT);
    asked = s.asked;
    dns_address(s.dns, "bad.example", 5060, on_answer, &s);
    wait_for(&s, 5);
    assert_int_equal(s.status, UV_ENOENT);
    assert_int_equal(s.asked, asked);
    dns_address(s.dns, "", 5060, on_answer, &s);
    wait_for(&s, 6);
    assert_int_equal(s.status, UV_ENOENT);
    end(&s);
}

static void services_come_in_their_order(void **state)
{
    struct story s;

    (void)state;
    begin(&s);
    dns_srv(s.dns, "_sip._udp.example", on_answer, &s);
    wait_for(&s, 1);
    assert_int_equal(s.status, 0);
    assert_int_equal(s.count, 3);
    assert_string_equal(s.targets[2].host, "c");
    assert_int_equal(s.targets[2].priority, 20);
    assert_int_equal(s.targets[0].address.ss_family, 0);
    dns_srv(s.dns, "_none._udp.example", on_answer, &s);
    wait_for(&s, 2);
    assert_int_equal(s.status, UV_ENOENT);
    /* Nobody waits for these. */
    dns_srv(s.dns, "_sip._udp.example", on_answer, &s);
    dns_srv(s.dns, "_other._udp.example", on_answer, &s);
    end(&s);
    assert_int_equal(s.told, 2);
}

/* Weight 9 of 9 comes first nearly always, weight 0 sometimes; 1 and 3 in that proportion. */
static void weights_are_obeyed(void **state)
{
    unsigned first = 0;

    (void)state;
    for (uint64_t random = 0; random < 4000; random++) {
        struct dns_target t[3] = {
            {.host = "a", .weight = 3}, {.host = "b", .weight = 1}, {.host = "z", .priority = 1}};

        dns_reply_order(t, 3, random << 32);
        assert_string_equal(t[2].host, "z");
        first += t[0].host[0] == 'a';
    }
    assert_in_range(first, 2400, 3600);
}

/* Every prefix of a good reply, and every reply with one byte changed, is taken or refused. */
static void bad_replies_are_refused(void **state)
{
    static const uint8_t question[] = {0, 1, 1,   0,   0,   1,   0, 0, 0,  0, 0,
                                       0, 4, '_', 's', 'i', 'p', 0, 0, 33, 0, 1};
    struct dns_target targets[DNS_ANSWERS_MAX];
    uint8_t reply[200], bad[200];
    size_t len = answer(question, sizeof(question), reply);
    size_t count = 0;
    uint32_t ttl_s;

    (void)state;
    assert_true(dns_reply_srv(reply, len, targets, &count, &ttl_s));
    assert_int_equal(count, 3);
    assert_int_equal(ttl_s, 60);
    for (size_t cut = 0; cut < len; cut++) {
        count = 0;
        assert_false(dns_reply_srv(reply, cut, targets, &count, &ttl_s));
    }
    for (size_t i = 0; i < len * 255; i++) {
        memcpy(bad, reply, len);
        bad[i / 255] ^= (uint8_t)(i % 255 + 1);
        count = 0;
        (void)dns_reply_srv(bad, len, targets, &count, &ttl_s);
        assert_in_range(count, 0, DNS_ANSWERS_MAX);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(addresses_are_found_and_remembered),
        cmocka_unit_test(services_come_in_their_order),
        cmocka_unit_test(weights_are_obeyed),
        cmocka_unit_test(bad_replies_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
