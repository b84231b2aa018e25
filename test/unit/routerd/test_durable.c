// SPDX-License-Identifier: Apache-2.0
/*
 * Rosters and stored messages against a real PostgreSQL with our schema.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>
#include <uv.h>

#include "common/db.h"
#include "common/params.h"
#include "common/util.h"
#include "routerd/durable.h"
#include "routerd/router.h"
#include "test/unit/postgres.h"

static struct postgres pg;

struct story {
    uv_loop_t loop;
    struct db *db;
    struct params params;
    struct durable *durable;
    uint64_t request; /* of the last answer */
    int status;
    char text[1024]; /* what it brought */
    uint64_t ids[8];
};

static void on_roster(void *ctx, uint64_t request, int status,
                      const struct router_roster_item *items, size_t count)
{
    struct story *s = ctx;
    struct buf b;

    buf_init(&b, sizeof(s->text) - 1);
    for (size_t i = 0; i < count; i++) {
        buf_printf(&b, "%.*s '%.*s' %.*s %d%d%d", STR_ARG(items[i].contact), STR_ARG(items[i].name),
                   STR_ARG(items[i].subscription), items[i].ask, items[i].pending_in,
                   items[i].approved);
        for (size_t k = 0; k < items[i].group_count; k++)
            buf_printf(&b, " [%.*s]", STR_ARG(items[i].groups[k]));
        buf_puts(&b, "\n");
    }
    (void)snprintf(s->text, sizeof(s->text), "%s", buf_str(&b).p);
    buf_done(&b);
    s->status = status;
    s->request = request;
}

static void on_stored(void *ctx, uint64_t request, int status)
{
    struct story *s = ctx;

    s->status = status;
    s->request = request;
}

static void on_offline(void *ctx, uint64_t request, int status,
                       const struct router_offline *messages, size_t count)
{
    struct story *s = ctx;
    size_t len = 0;

    s->text[0] = '\0';
    for (size_t i = 0; i < count; i++) {
        len += (size_t)snprintf(s->text + len, sizeof(s->text) - len, "%s:%s:%.*s ",
                                messages[i].im->from, messages[i].im->id,
                                (int)messages[i].im->body.len,
                                (const char *)messages[i].im->body.data);
        if (i < ARRAY_LEN(s->ids))
            s->ids[i] = messages[i].id;
    }
    s->status = status;
    s->request = request;
}

static const struct durable_ops ops = {on_roster, on_stored, on_offline};

static void begin(struct story *s)
{
    *s = (struct story){0};
    uv_loop_init(&s->loop);
    s->params.routerd_offline_messages_max = 3;
    s->db = db_start(&s->loop, &(struct db_config){.conninfo = pg.conninfo, .connections = 3});
    s->durable = durable_new(s->db, &s->params, &ops, s);
}

static void end(struct story *s)
{
    db_close(s->db);
    durable_free(s->durable);
    uv_run(&s->loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&s->loop), 0);
}

static int wait_for(struct story *s, uint64_t request)
{
    while (s->request != request)
        uv_run(&s->loop, UV_RUN_ONCE);
    return s->status;
}

#define ALICE STR("alice@muster.test")

static void rosters_come_back_as_they_were(void **state)
{
    const struct str groups[] = {STR("Friends, \"old\" {ones}"), STR("Work\\")};
    struct router_roster_item bob = {.contact = STR("bob@muster.test"),
                                     .name = STR("Bob's \\ name"),
                                     .subscription = STR("none"),
                                     .ask = true,
                                     .groups = groups,
                                     .group_count = 2};
    struct router_roster_item carol = {.contact = STR("carol@muster.test"),
                                       .subscription = STR("both"),
                                       .pending_in = true,
                                       .approved = true};
    struct story s;

    (void)state;
    begin(&s);
    durable_roster_put(s.durable, 1, ALICE, &bob);
    durable_roster_put(s.durable, 2, ALICE, &carol);
    durable_roster_load(s.durable, 3, ALICE);
    assert_int_equal(wait_for(&s, 3), DB_OK);
    assert_string_equal(s.text, "bob@muster.test 'Bob's \\ name' none 100 "
                                "[Friends, \"old\" {ones}] [Work\\]\n"
                                "carol@muster.test '' both 011\n");
    bob.subscription = STR("to");
    bob.ask = false;
    bob.group_count = 0;
    durable_roster_put(s.durable, 4, ALICE, &bob);
    durable_roster_delete(s.durable, 5, ALICE, carol.contact);
    durable_roster_load(s.durable, 6, ALICE);
    assert_int_equal(wait_for(&s, 6), DB_OK);
    assert_string_equal(s.text, "bob@muster.test 'Bob's \\ name' to 000\n");
    durable_roster_load(s.durable, 7, STR("nobody@muster.test"));
    assert_int_equal(wait_for(&s, 7), DB_OK);
    assert_string_equal(s.text, "");
    durable_roster_put(s.durable, 8, STR("nobody@muster.test"), &bob);
    assert_int_equal(wait_for(&s, 8), DB_E_REFUSED);
    end(&s);
}

static int put(struct story *s, uint64_t request, const char *from, const char *id,
               const char *body)
{
    Muster__Im im = MUSTER__IM__INIT;

    im.from = (char *)from;
    im.id = (char *)id;
    im.body.data = (uint8_t *)body;
    im.body.len = strlen(body);
    durable_offline_put(s->durable, request, ALICE, &im);
    return wait_for(s, request);
}

static void messages_wait_in_their_order(void **state)
{
    struct story s;

    (void)state;
    begin(&s);
    assert_int_equal(put(&s, 1, "bob@muster.test/x", "m1", "one"), DB_OK);
    assert_int_equal(put(&s, 2, "bob@muster.test/y", "m1", "one again"), DB_OK); /* known */
    assert_int_equal(put(&s, 3, "carol@muster.test/x", "m1", "two"), DB_OK);
    assert_int_equal(put(&s, 4, "bob@muster.test/x", "", "three"), DB_OK);
    assert_int_equal(put(&s, 5, "bob@muster.test/x", "m4", "four"), DB_E_REFUSED); /* no room */
    assert_int_equal(put(&s, 6, "bob@muster.test/x", "m1", "one"), DB_OK);         /* known still */
    durable_offline_list(s.durable, 7, ALICE);
    assert_int_equal(wait_for(&s, 7), DB_OK);
    assert_string_equal(s.text, "bob@muster.test/x:m1:one carol@muster.test/x:m1:two "
                                "bob@muster.test/x::three ");
    durable_offline_delete(s.durable, 8, s.ids[1]);
    durable_offline_delete(s.durable, 9, s.ids[1]);
    durable_offline_list(s.durable, 10, ALICE); /* after the deletion, without waiting for it */
    assert_int_equal(wait_for(&s, 10), DB_OK);
    assert_string_equal(s.text, "bob@muster.test/x:m1:one bob@muster.test/x::three ");
    durable_offline_list(s.durable, 11, STR("bob@muster.test"));
    assert_int_equal(wait_for(&s, 11), DB_OK);
    assert_string_equal(s.text, "");
    end(&s);
}

static int start_server(void **state)
{
    (void)state;
    postgres_init(&pg);
    return postgres_sql_file(&pg, "deploy/schema/001_users.sql") ||
           postgres_sql_file(&pg, "deploy/schema/002_messaging.sql") ||
           postgres_sql(&pg, "INSERT INTO users VALUES ('alice@muster.test', 'alice', '', '', '', "
                             "1, '', 1, '', '', '', '', '', '')");
}

static int stop_server(void **state)
{
    (void)state;
    postgres_done(&pg);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rosters_come_back_as_they_were),
        cmocka_unit_test(messages_wait_in_their_order),
    };
    return cmocka_run_group_tests(tests, start_server, stop_server);
}
