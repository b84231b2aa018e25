// SPDX-License-Identifier: Apache-2.0
/*
 * The directory follows the table `users` of our own schema: all at first, one when it changes, all
 * again when many do or the database was away.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>
#include <uv.h>

#include "common/users.h"
#include "test/unit/postgres.h"

static struct postgres pg;

struct story {
    uv_loop_t loop;
    struct db *db;
    struct directory *directory;
    struct users *users;
    unsigned all, one;
    char last[64];
};

static void on_change(void *ctx, const char *aor)
{
    struct story *s = ctx;

    if (aor)
        s->one++;
    else
        s->all++;
    (void)snprintf(s->last, sizeof(s->last), "%s", aor ? aor : "");
}

static void begin(struct story *s)
{
    *s = (struct story){.directory = directory_new()};
    uv_loop_init(&s->loop);
    s->db = db_start(&s->loop, &(struct db_config){.conninfo = pg.conninfo, .connections = 2});
    s->users = users_start(s->db, s->directory, on_change, s);
    assert_false(users_loaded(s->users));
    while (!users_loaded(s->users))
        uv_run(&s->loop, UV_RUN_ONCE);
}

static void end(struct story *s)
{
    users_close(s->users);
    db_close(s->db);
    uv_run(&s->loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&s->loop), 0);
    directory_free(s->directory);
}

#define ADD(from, to)                                                                              \
    "INSERT INTO users SELECT 'u' || i || '@muster.test', 'u' || i, 'User ' || i, '', '', i % 2 "  \
    "+ 1, decode(repeat('ab', 16), 'hex'), 4096, decode(repeat('01', 20), 'hex'), "                \
    "decode(repeat('02', 20), 'hex'), decode(repeat('03', 32), 'hex'), "                           \
    "decode(repeat('04', 32), 'hex'), repeat('5', 32), repeat('6', 64) "                           \
    "FROM generate_series(" #from ", " #to ") i"

static void all_are_loaded_and_changes_followed(void **state)
{
    struct story s;
    const struct user *u;

    (void)state;
    assert_int_equal(postgres_sql(&pg, ADD(1, 2500)), 0);
    begin(&s);
    assert_int_equal(directory_count(s.directory), 2500);
    u = directory_find(s.directory, STR("u17@muster.test"));
    assert_non_null(u);
    assert_string_equal(u->display_name, "User 17");
    assert_int_equal(u->home, 2);
    assert_int_equal(u->credentials.iterations, 4096);
    assert_int_equal(u->credentials.salt[15], 0xab);
    assert_int_equal(u->credentials.sha256_server_key[31], 4);
    assert_string_equal(u->credentials.digest_sha256 + 60, "6666");

    assert_int_equal(postgres_sql(&pg, "UPDATE users SET home = 3 WHERE userid = 'u17'"), 0);
    while (s.one < 1)
        uv_run(&s.loop, UV_RUN_ONCE);
    assert_string_equal(s.last, "u17@muster.test");
    assert_int_equal(directory_find(s.directory, STR("u17@muster.test"))->home, 3);

    assert_int_equal(postgres_sql(&pg, "DELETE FROM users WHERE userid = 'u17'"), 0);
    while (s.one < 2)
        uv_run(&s.loop, UV_RUN_ONCE);
    assert_null(directory_find(s.directory, STR("u17@muster.test")));

    /* Many at once, twice: "*". */
    assert_int_equal(postgres_sql(&pg, ADD(3001, 3200) "; DELETE FROM users WHERE home = 1"), 0);
    while (directory_count(s.directory) != 1349)
        uv_run(&s.loop, UV_RUN_ONCE);
    assert_true(s.all >= 2);
    end(&s);
}

static void what_was_missed_is_loaded(void **state)
{
    struct story s;

    (void)state;
    begin(&s);
    postgres_stop(&pg);
    while (db_is_up(s.db))
        uv_run(&s.loop, UV_RUN_ONCE);
    postgres_start(&pg);
    assert_int_equal(postgres_sql(&pg, "DELETE FROM users"), 0);
    while (directory_count(s.directory) > 0)
        uv_run(&s.loop, UV_RUN_ONCE);
    end(&s);
}

static void closed_while_it_loads(void **state)
{
    struct story s = {.directory = directory_new()};

    (void)state;
    uv_loop_init(&s.loop);
    s.db = db_start(&s.loop, &(struct db_config){.conninfo = pg.conninfo, .connections = 1});
    s.users = users_start(s.db, s.directory, on_change, &s);
    while (!db_is_up(s.db))
        uv_run(&s.loop, UV_RUN_ONCE);
    end(&s);
    assert_int_equal(s.all, 0);
}

static int start_server(void **state)
{
    (void)state;
    postgres_init(&pg);
    return postgres_sql_file(&pg, "deploy/schema/001_users.sql");
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
        cmocka_unit_test(all_are_loaded_and_changes_followed),
        cmocka_unit_test(what_was_missed_is_loaded),
        cmocka_unit_test(closed_while_it_loads),
    };
    return cmocka_run_group_tests(tests, start_server, stop_server);
}
