// SPDX-License-Identifier: Apache-2.0
/*
 * The database pool against a real PostgreSQL: results and errors, order, notifications, and what
 * happens to queries when connections break, the server stops, or it turns read-only.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "common/buf.h"
#include "common/db.h"
#include "common/util.h"
#include "test/unit/postgres.h"

enum { ADD, LIST, PUT, PUT_BYTES, DIE, WRONG, CLEAR, NOTIFY };

static const struct db_statement statements[] = {
    [ADD] = {"add", "INSERT INTO log (what) VALUES ($1)", false},
    [LIST] = {"list", "SELECT string_agg(what, ',' ORDER BY id) FROM log", true},
    [PUT] = {"put", "INSERT INTO things (name, value) VALUES ($1, $2) RETURNING value", false},
    [PUT_BYTES] = {"put_bytes", "SELECT $1::bytea, NULL", true},
    /* Ends its own session before it answers, once. */
    [DIE] = {"die",
             "SELECT CASE WHEN nextval('deaths') = 1 "
             "THEN pg_terminate_backend(pg_backend_pid()) ELSE false END",
             true},
    [WRONG] = {"wrong", "SELECT 1 / ($1::int)", true},
    [CLEAR] = {"clear", "DELETE FROM log", true},
    [NOTIFY] = {"notify", "SELECT pg_notify('news', $1)", true},
    {NULL, NULL, false},
};

static struct postgres pg;

struct answer {
    bool came;
    int status;
    char sqlstate[6];
    char text[256];
};

struct story {
    uv_loop_t loop;
    struct db *db;
    unsigned ups, downs, renewals;
    char news[64];
};

static void on_up(void *ctx)
{
    ((struct story *)ctx)->ups++;
}

static void on_down(void *ctx)
{
    ((struct story *)ctx)->downs++;
}

static void on_news(void *ctx, const char *payload)
{
    struct story *s = ctx;

    if (!payload)
        s->renewals++;
    else
        (void)snprintf(s->news, sizeof(s->news), "%s", payload);
}

static void begin(struct story *s, const char *conninfo, unsigned connections, uint64_t wait_ms)
{
    *s = (struct story){0};
    uv_loop_init(&s->loop);
    s->db = db_start(&s->loop, &(struct db_config){
                                   .conninfo = conninfo,
                                   .connections = connections,
                                   .statements = statements,
                                   .wait_ms = wait_ms,
                                   .queue_max = 1000,
                                   .on_up = on_up,
                                   .on_down = on_down,
                                   .ctx = s,
                               });
}

static void end(struct story *s)
{
    if (s->db)
        db_close(s->db);
    uv_run(&s->loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&s->loop), 0);
}

static void on_answer(void *ctx, const struct db_result *r)
{
    struct answer *a = ctx;
    struct str text = STR("");

    assert_false(a->came);
    a->came = true;
    a->status = r->status;
    (void)snprintf(a->sqlstate, sizeof(a->sqlstate), "%s", r->sqlstate);
    assert_true(!r->rows == (r->status != DB_OK));
    if (r->rows && PQntuples(r->rows) > 0)
        text = db_text(r, 0, 0);
    (void)snprintf(a->text, sizeof(a->text), "%.*s", STR_ARG(text));
}

static void ask(struct story *s, size_t statement, const char *one, const char *two,
                struct answer *ret)
{
    struct str params[2] = {str_of(one), str_of(two)};

    *ret = (struct answer){0};
    db_query(s->db, statement, params, two ? 2 : one ? 1 : 0, 1, on_answer, ret);
    assert_false(ret->came); /* never from within */
}

/* Turns the loop until the last answer came. */
static void wait_for(struct story *s, const struct answer *a)
{
    while (!a->came)
        uv_run(&s->loop, UV_RUN_ONCE);
}

static void ask_now(struct story *s, size_t statement, const char *one, const char *two,
                    struct answer *ret)
{
    ask(s, statement, one, two, ret);
    wait_for(s, ret);
}

static void answers_and_errors(void **state)
{
    struct story s;
    struct answer a[8];

    (void)state;
    begin(&s, pg.conninfo, 2, 0);
    ask(&s, PUT, "one", "1", &a[0]);
    ask(&s, PUT, "one", "2", &a[1]);
    ask(&s, WRONG, "0", NULL, &a[2]);
    ask(&s, WRONG, "1", NULL, &a[3]);
    ask(&s, WRONG, "x", NULL, &a[4]);
    ask(&s, PUT, "two", "\xff", &a[5]);
    ask(&s, PUT, "quote", "it's \"$1\"", &a[6]);
    db_query(s.db, PUT, (struct str[]){STR("nul"), STR("a\0b")}, 2, 1, on_answer,
             (a[7] = (struct answer){0}, &a[7]));
    wait_for(&s, &a[6]);
    assert_int_equal(a[0].status, DB_OK);
    assert_string_equal(a[0].text, "1");
    assert_int_equal(a[1].status, DB_E_CONFLICT);
    assert_string_equal(a[1].sqlstate, "23505");
    assert_int_equal(a[2].status, DB_E_REFUSED);
    assert_string_equal(a[2].sqlstate, "22012");
    assert_int_equal(a[3].status, DB_OK);
    assert_int_equal(a[4].status, DB_E_REFUSED);
    assert_int_equal(a[5].status, DB_E_REFUSED);
    assert_string_equal(a[6].text, "it's \"$1\"");
    assert_int_equal(a[7].status, DB_E_REFUSED);
    assert_int_equal(s.ups, 1);
    end(&s);
    assert_int_equal(s.downs, 0);
}

static void on_bytes(void *ctx, const struct db_result *r)
{
    struct buf *b = ctx;

    assert_int_equal(r->status, DB_OK);
    assert_true(db_bytes(r, 0, 0, b));
    assert_false(db_bytes(r, 0, 1, b));
    assert_int_equal(db_text(r, 0, 1).len, 0);
}

static void bytes_come_back_as_they_went(void **state)
{
    struct story s;
    struct buf text, bytes;
    char all[256];

    (void)state;
    for (size_t i = 0; i < sizeof(all); i++)
        all[i] = (char)i;
    buf_init(&text, 1000);
    buf_init(&bytes, 1000);
    db_put_bytes(&text, (struct str){all, sizeof(all)});
    begin(&s, pg.conninfo, 1, 0);
    db_query(s.db, PUT_BYTES, (struct str[]){buf_str(&text)}, 1, 0, on_bytes, &bytes);
    while (bytes.len == 0)
        uv_run(&s.loop, UV_RUN_ONCE);
    assert_int_equal(bytes.len, sizeof(all));
    assert_memory_equal(bytes.data, all, sizeof(all));
    buf_done(&text);
    buf_done(&bytes);
    end(&s);
}

static void one_order_is_kept(void **state)
{
    struct story s;
    struct answer a[42];

    (void)state;
    begin(&s, pg.conninfo, 4, 0);
    ask(&s, CLEAR, NULL, NULL, &a[40]);
    for (int i = 0; i < 40; i++)
        ask(&s, ADD, (const char *[]){"a", "b", "c", "d"}[i % 4], NULL, &a[i]);
    ask_now(&s, LIST, NULL, NULL, &a[41]);
    assert_string_equal(a[41].text, "a,b,c,d,a,b,c,d,a,b,c,d,a,b,c,d,a,b,c,d,a,b,c,d,a,b,c,d,a,b,c,"
                                    "d,a,b,c,d,a,b,c,d");
    end(&s);
}

static void news_are_heard(void **state)
{
    struct story s;
    struct answer a;

    (void)state;
    begin(&s, pg.conninfo, 2, 0);
    db_listen(s.db, "news", on_news, &s);
    ask_now(&s, NOTIFY, "first", NULL, &a);
    while (s.renewals == 0 || !s.news[0]) {
        uv_run(&s.loop, UV_RUN_ONCE);
        if (s.renewals && !s.news[0] && a.came)
            ask_now(&s, NOTIFY, "first", NULL, &a);
    }
    assert_string_equal(s.news, "first");
    db_listen(s.db, "more", on_news, &s); /* when it is up already */
    while (s.renewals < 2)
        uv_run(&s.loop, UV_RUN_ONCE);
    end(&s);
}

/* Somebody ends our sessions: what can be repeated is, the rest is unknown, and we come back. */
static void broken_connections_come_back(void **state)
{
    struct story s;
    struct answer a[4];

    (void)state;
    assert_int_equal(postgres_sql(&pg, "ALTER SEQUENCE deaths RESTART"), 0);
    begin(&s, pg.conninfo, 1, 0);
    db_listen(s.db, "news", on_news, &s);
    ask_now(&s, CLEAR, NULL, NULL, &a[0]);
    ask(&s, DIE, NULL, NULL, &a[0]);
    ask(&s, ADD, "x", NULL, &a[1]);
    ask(&s, WRONG, "1", NULL, &a[2]);
    ask_now(&s, LIST, NULL, NULL, &a[3]);
    assert_int_equal(a[0].status, DB_OK);
    assert_int_equal(a[1].status, DB_E_UNKNOWN);
    assert_int_equal(a[2].status, DB_OK);
    assert_int_equal(a[3].status, DB_OK);
    assert_string_equal(a[3].text, "");
    assert_int_equal(s.ups, 2);
    assert_int_equal(s.downs, 1);
    assert_int_equal(s.renewals, 2);
    end(&s);
}

static void a_stopped_server_is_waited_for(void **state)
{
    struct story s;
    struct answer a[3];

    (void)state;
    begin(&s, pg.conninfo, 2, 300);
    ask_now(&s, LIST, NULL, NULL, &a[0]);
    postgres_stop(&pg);
    ask(&s, ADD, "while down", NULL, &a[0]);
    while (s.downs == 0)
        uv_run(&s.loop, UV_RUN_ONCE);
    assert_false(db_is_up(s.db));
    ask(&s, ADD, "while down", NULL, &a[1]);
    wait_for(&s, &a[1]);
    assert_int_equal(a[1].status, DB_E_DOWN);
    assert_true(a[0].status == DB_E_UNKNOWN || a[0].status == DB_E_DOWN);
    postgres_start(&pg);
    while (s.ups < 2)
        uv_run(&s.loop, UV_RUN_ONCE);
    ask_now(&s, CLEAR, NULL, NULL, &a[2]);
    assert_int_equal(a[2].status, DB_OK);
    end(&s);
}

/* The primary's role has moved: a session that was writable says 25006. */
/* A reload is asked for, not waited for; sessions hear of it before a new one begins. */
static void make_read_only(void)
{
    assert_int_equal(postgres_sql(&pg, "ALTER SYSTEM SET default_transaction_read_only = on"), 0);
    assert_int_equal(postgres_sql(&pg, "SELECT pg_reload_conf()"), 0);
    while (postgres_sql(&pg, "SELECT 1 / (current_setting('default_transaction_read_only') = 'on')"
                             "::integer") != 0)
        ;
}

static void a_server_that_turned_read_only_is_left(void **state)
{
    struct story s;
    struct answer a;

    (void)state;
    begin(&s, pg.conninfo, 1, 5000);
    ask_now(&s, CLEAR, NULL, NULL, &a);
    make_read_only();
    ask(&s, ADD, "kept", NULL, &a);
    while (s.downs == 0)
        uv_run(&s.loop, UV_RUN_ONCE);
    assert_false(a.came);
    assert_int_equal(postgres_sql(&pg, "ALTER SYSTEM RESET default_transaction_read_only"), 0);
    assert_int_equal(postgres_sql(&pg, "SELECT pg_reload_conf()"), 0);
    wait_for(&s, &a);
    assert_int_equal(a.status, DB_OK);
    ask_now(&s, LIST, NULL, NULL, &a);
    assert_string_equal(a.text, "kept");
    end(&s);
}

static void hosts_are_tried_in_turn(void **state)
{
    struct story s;
    struct answer a;
    char conninfo[512];

    (void)state;
    (void)snprintf(conninfo, sizeof(conninfo),
                   "host=/nowhere,127.0.0.1,%s port=5432,1,5432 user=muster dbname=postgres",
                   pg.dir);
    begin(&s, conninfo, 1, 0);
    ask_now(&s, LIST, NULL, NULL, &a);
    assert_int_equal(a.status, DB_OK);
    end(&s);
}

static void the_queue_has_a_limit(void **state)
{
    static struct answer a[1002];
    struct story s;

    (void)state;
    begin(&s, "host=/nowhere", 2, 100);
    for (size_t i = 0; i < ARRAY_LEN(a); i++)
        ask(&s, LIST, NULL, NULL, &a[i]);
    uv_run(&s.loop, UV_RUN_NOWAIT);
    assert_true(a[1000].came && a[1001].came);
    assert_false(a[999].came);
    assert_int_equal(a[1001].status, DB_E_DOWN);
    wait_for(&s, &a[999]);
    ask(&s, LIST, NULL, NULL, &a[0]);
    end(&s);
    assert_int_equal(a[0].status, DB_E_DOWN); /* told by db_close() */
    assert_int_equal(s.ups, 0);
}

static struct story *closing;

static void on_close_time(void *ctx, const struct db_result *r)
{
    (void)ctx, (void)r;
    db_close(closing->db);
    closing->db = NULL;
}

/* Closed from within a callback, with queries in all places. */
static void closed_in_the_middle(void **state)
{
    struct story s;
    struct answer a[300];

    (void)state;
    closing = &s;
    begin(&s, pg.conninfo, 1, 0);
    db_query(s.db, LIST, NULL, 0, 1, on_close_time, NULL);
    for (size_t i = 0; i < ARRAY_LEN(a); i++)
        ask(&s, LIST, NULL, NULL, &a[i]);
    wait_for(&s, &a[299]);
    assert_int_equal(a[0].status, DB_E_UNKNOWN);
    assert_int_equal(a[299].status, DB_E_DOWN);
    end(&s);
}

static int start_server(void **state)
{
    (void)state;
    postgres_init(&pg);
    return postgres_sql(&pg, "CREATE TABLE log (id serial, what text);"
                             "CREATE TABLE things (name text PRIMARY KEY, value text);"
                             "CREATE SEQUENCE deaths");
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
        cmocka_unit_test(answers_and_errors),
        cmocka_unit_test(bytes_come_back_as_they_went),
        cmocka_unit_test(one_order_is_kept),
        cmocka_unit_test(news_are_heard),
        cmocka_unit_test(broken_connections_come_back),
        cmocka_unit_test(a_stopped_server_is_waited_for),
        cmocka_unit_test(a_server_that_turned_read_only_is_left),
        cmocka_unit_test(hosts_are_tried_in_turn),
        cmocka_unit_test(the_queue_has_a_limit),
        cmocka_unit_test(closed_in_the_middle),
    };
    return cmocka_run_group_tests(tests, start_server, stop_server);
}
