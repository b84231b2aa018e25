// SPDX-License-Identifier: Apache-2.0
/*
 * Who gets which home, with a PostgreSQL of the test's own and the schema of the service.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>
#include <libpq-fe.h>

#include "common/buf.h"
#include "common/log.h"
#include "common/mem.h"
#include "common/util.h"
#include "syncagent/agent.h"
#include "test/unit/postgres.h"

enum { PATIENCE_MS = 30000 };

struct room {
    struct postgres pg;
    PGconn *sql;
    uv_loop_t loop;
    uv_timer_t watchdog;
    struct agent *agent;
    unsigned looks;
    uint64_t assigned;
};

static void on_looked(void *ctx, uint64_t assigned)
{
    struct room *room = ctx;

    room->looks++;
    room->assigned += assigned;
}

static void on_watchdog(uv_timer_t *timer)
{
    (void)timer;
    fail_msg("what was waited for did not happen in %d ms", PATIENCE_MS);
}

#define UNTIL(room, condition)                                                                     \
    do {                                                                                           \
        uv_timer_start(&(room)->watchdog, on_watchdog, PATIENCE_MS, 0);                            \
        while (!(condition))                                                                       \
            uv_run(&(room)->loop, UV_RUN_ONCE);                                                    \
        uv_timer_stop(&(room)->watchdog);                                                          \
    } while (0)

static struct agent *start_agent(struct room *room)
{
    return agent_start(
        &room->loop,
        &(struct agent_config){.conninfo = room->pg.conninfo, .on_looked = on_looked, .ctx = room});
}

/* ---- the database ---- */

static void run(struct room *room, const char *sql)
{
    PGresult *r = PQexec(room->sql, sql);

    if (PQresultStatus(r) != PGRES_COMMAND_OK && PQresultStatus(r) != PGRES_TUPLES_OK)
        fail_msg("%s", PQresultErrorMessage(r));
    PQclear(r);
}

static void run_file(struct room *room, const char *path)
{
    FILE *f = fopen(path, "r");
    char text[8192];
    size_t len;

    assert_non_null(f);
    len = fread(text, 1, sizeof(text) - 1, f);
    fclose(f);
    text[len] = '\0';
    run(room, text);
}

/* `count` users PREFIX000000@x, ... at `home`. */
static void add_users(struct room *room, const char *prefix, int count, int home)
{
    char sql[600];

    snprintf(
        sql, sizeof(sql),
        "INSERT INTO users (aor, userid, home, salt, iterations, sha1_stored_key, "
        "sha1_server_key, sha256_stored_key, sha256_server_key, digest_md5, digest_sha256) "
        "SELECT id || '@x', id, %d, '', 1, '', '', '', '', '', '' "
        "FROM (SELECT '%s' || lpad(i::text, 6, '0') AS id FROM generate_series(0, %d) AS i) AS n",
        home, prefix, count - 1);
    run(room, sql);
}

/* The first column of all rows, separated by spaces. */
static void expect(struct room *room, const char *sql, const char *text)
{
    PGresult *r = PQexec(room->sql, sql);
    struct buf all;

    assert_int_equal(PQresultStatus(r), PGRES_TUPLES_OK);
    buf_init(&all, 10000);
    for (int i = 0; i < PQntuples(r); i++)
        buf_printf(&all, "%s%s", i ? " " : "", PQgetvalue(r, i, 0));
    assert_string_equal(all.data ? all.data : "", text);
    buf_done(&all);
    PQclear(r);
}

#define HOMES  "SELECT userid || '=' || home FROM users ORDER BY aor"
#define COUNTS "SELECT home || ':' || count(*) FROM users GROUP BY home ORDER BY home"

/* ---- the room ---- */

static int open_database(void **state)
{
    struct room *room = mem_new(sizeof(*room));

    log_init("test", "n1", LOG_ERROR);
    postgres_init(&room->pg);
    room->sql = PQconnectdb(room->pg.conninfo);
    assert_int_equal(PQstatus(room->sql), CONNECTION_OK);
    run_file(room, "deploy/schema/001_users.sql");
    *state = room;
    return 0;
}

static int close_database(void **state)
{
    struct room *room = *state;

    PQfinish(room->sql);
    postgres_done(&room->pg);
    mem_free(room);
    return 0;
}

static int start(void **state)
{
    struct room *room = *state;

    run(room, "TRUNCATE users CASCADE");
    room->looks = 0;
    room->assigned = 0;
    uv_loop_init(&room->loop);
    uv_timer_init(&room->loop, &room->watchdog);
    uv_unref((uv_handle_t *)&room->watchdog);
    room->agent = start_agent(room);
    return 0;
}

static int stop(void **state)
{
    struct room *room = *state;

    agent_close(room->agent);
    uv_close((uv_handle_t *)&room->watchdog, NULL);
    uv_run(&room->loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&room->loop), 0);
    return 0;
}

static const struct view *nodes(uint32_t count)
{
    static struct view v;

    v = (struct view){.version = 1, .count = count};
    for (uint32_t i = 0; i < count; i++)
        v.nodes[i].node = i + 1;
    return &v;
}

/* ---- stories ---- */

static void users_are_spread_in_their_order(void **state)
{
    struct room *room = *state;

    add_users(room, "u", 5, 0);
    agent_allow(room->agent, nodes(2));
    UNTIL(room, room->assigned == 5 && agent_is_idle(room->agent));
    expect(room, HOMES, "u000000=1 u000001=2 u000002=1 u000003=2 u000004=1");
}

static void fewest_users_come_first_and_nobody_moves(void **state)
{
    struct room *room = *state;

    add_users(room, "a", 3, 2);
    add_users(room, "b", 1, 3);
    add_users(room, "u", 6, 0);
    agent_allow(room->agent, nodes(3));
    UNTIL(room, room->assigned == 6 && agent_is_idle(room->agent));
    expect(room, HOMES,
           "a000000=2 a000001=2 a000002=2 b000000=3 "
           "u000000=1 u000001=1 u000002=3 u000003=1 u000004=3 u000005=1");
    expect(room, COUNTS, "1:4 2:3 3:3");
}

static void new_users_are_noticed(void **state)
{
    struct room *room = *state;

    agent_allow(room->agent, nodes(2));
    UNTIL(room, room->looks > 0 && agent_is_idle(room->agent));
    add_users(room, "one", 1, 0);
    UNTIL(room, room->assigned == 1 && agent_is_idle(room->agent));
    add_users(room, "many", 500, 0); /* told as "*" */
    UNTIL(room, room->assigned == 501 && agent_is_idle(room->agent));
    expect(room, COUNTS, "1:251 2:250");
}

static void large_numbers_go_in_batches(void **state)
{
    struct room *room = *state;

    add_users(room, "u", 15001, 0);
    agent_allow(room->agent, nodes(2));
    UNTIL(room, room->assigned == 15001 && agent_is_idle(room->agent));
    expect(room, COUNTS, "1:7501 2:7500");
    assert_true(room->looks >= 2);
}

static void nothing_is_done_without_a_view(void **state)
{
    struct room *room = *state;

    agent_allow(room->agent, nodes(2));
    UNTIL(room, room->looks > 0 && agent_is_idle(room->agent));
    agent_allow(room->agent, NULL);
    add_users(room, "u", 4, 0);
    for (int i = 0; i < 20; i++)
        uv_run(&room->loop, UV_RUN_NOWAIT);
    expect(room, COUNTS, "0:4");
    agent_allow(room->agent, nodes(2));
    UNTIL(room, room->assigned == 4);
}

static void two_agents_do_not_disturb_each_other(void **state)
{
    struct room *room = *state;
    struct agent *other = start_agent(room);

    add_users(room, "u", 12000, 0);
    agent_allow(room->agent, nodes(2));
    agent_allow(other, nodes(2));
    for (int round = 0; round < 10; round++) {
        char prefix[16];

        snprintf(prefix, sizeof(prefix), "r%d", round);
        add_users(room, prefix, 11, 0);
        uv_run(&room->loop, UV_RUN_ONCE);
    }
    UNTIL(room, room->assigned == 12110);
    expect(room, "SELECT count(*) FROM users WHERE home NOT IN (1, 2)", "0");
    agent_close(other);
}

/* The lock is somebody else's, who then dies: no NOTIFY tells of that. */
static void lock_of_another_is_respected(void **state)
{
    struct room *room = *state;

    run(room, "SELECT pg_advisory_lock(hashtext('muster.assign_homes'))");
    add_users(room, "u", 2, 0);
    agent_allow(room->agent, nodes(2));
    UNTIL(room, room->looks > 0);
    expect(room, COUNTS, "0:2");
    assert_false(agent_is_idle(room->agent)); /* it looks again by itself */
    run(room, "SELECT pg_advisory_unlock(hashtext('muster.assign_homes'))");
    UNTIL(room, room->assigned == 2);
}

static void restart_of_the_database_is_survived(void **state)
{
    struct room *room = *state;
    unsigned looks;

    agent_allow(room->agent, nodes(2));
    UNTIL(room, room->looks > 0 && agent_is_idle(room->agent));
    looks = room->looks;
    postgres_stop(&room->pg);
    postgres_start(&room->pg);
    PQreset(room->sql);
    add_users(room, "u", 3, 0); /* before the agent is back */
    UNTIL(room, room->assigned == 3);
    assert_true(room->looks > looks);
}

#define STORY(name) cmocka_unit_test_setup_teardown(name, start, stop)

int main(void)
{
    const struct CMUnitTest tests[] = {
        STORY(users_are_spread_in_their_order), STORY(fewest_users_come_first_and_nobody_moves),
        STORY(new_users_are_noticed),           STORY(large_numbers_go_in_batches),
        STORY(nothing_is_done_without_a_view),  STORY(two_agents_do_not_disturb_each_other),
        STORY(lock_of_another_is_respected),    STORY(restart_of_the_database_is_survived),
    };
    return cmocka_run_group_tests(tests, open_database, close_database);
}
