// SPDX-License-Identifier: Apache-2.0
/*
 * Two real PostgreSQLs through the life of a group: made, copied, killed, promoted, rewound,
 * forgotten and found again. One story; each chapter starts where the last one ended.
 */
#include "cluster.h"

static struct cluster the;

static void a_new_primary(void **state)
{
    (void)state;
    expect(&the, 1, POSTGRES_START, 0, POSTGRES_REFUSED); /* there is none yet */
    expect(&the, 1, POSTGRES_INIT_PRIMARY, 0, POSTGRES_OK);
    assert_true(status_of(&the, 1)->up);
    assert_false(status_of(&the, 1)->standby);
    assert_int_equal(status_of(&the, 1)->timeline, 1);
    sql(&the, 1, "CREATE TABLE t (x int)", NULL, 0);
    sql(&the, 1, "INSERT INTO t VALUES (1)", NULL, 0);

    /* Again is nothing. */
    expect(&the, 1, POSTGRES_INIT_PRIMARY, 0, POSTGRES_OK);
    assert_true(sql_is(&the, 1, "SELECT count(*) FROM t", "1"));
}

static void a_standby_of_it(void **state)
{
    (void)state;
    expect(&the, 2, POSTGRES_REJOIN, 1, POSTGRES_OK); /* nothing here: a whole copy */
    assert_true(status_of(&the, 2)->standby && status_of(&the, 2)->receiving);
    assert_int_equal(status_of(&the, 1)->system_id, status_of(&the, 2)->system_id);
    UNTIL(&the, strcmp(status_of(&the, 1)->replica_state, "streaming") == 0);
    assert_int_equal(status_of(&the, 1)->replica, 2);
    assert_string_equal(status_of(&the, 1)->replica_sync, "async");

    expect_synchronous(&the, 1, 2, POSTGRES_OK);
    UNTIL(&the, strcmp(status_of(&the, 1)->replica_sync, "sync") == 0);
    expect_synchronous(&the, 2, 1, POSTGRES_REFUSED); /* a standby */
    sql(&the, 1, "SET synchronous_commit = remote_apply; INSERT INTO t VALUES (2)", NULL, 0);
    assert_true(sql_is(&the, 2, "SELECT count(*) FROM t", "2"));
}

static void a_dead_standby_does_not_hold_up_commits(void **state)
{
    PGconn *conn = open_sql(&the, 1, "muster");

    (void)state;
    kill_postmaster(&the, 2);
    UNTIL(&the, !status_of(&the, 2)->running);
    UNTIL(&the, status_of(&the, 1)->replica == 0);

    /* A commit that waits... */
    assert_int_equal(PQsendQuery(conn, "INSERT INTO t VALUES (3)"), 1);
    expect_synchronous(&the, 1, 2, POSTGRES_OK); /* what it is already: nothing changes */
    assert_true(PQconsumeInput(conn) && PQisBusy(conn));
    /* ... is released. */
    expect_synchronous(&the, 1, 0, POSTGRES_OK);
    PQclear(PQgetResult(conn));
    PQfinish(conn);
    assert_true(sql_is(&the, 1, "SELECT count(*) FROM t", "3"));
}

static void the_standby_comes_back(void **state)
{
    uint32_t pid;

    (void)state;
    expect(&the, 2, POSTGRES_START, 0, POSTGRES_OK);
    pid = status_of(&the, 2)->pid;
    expect(&the, 2, POSTGRES_REJOIN, 1, POSTGRES_OK); /* it follows already */
    assert_int_equal(status_of(&the, 2)->pid, pid);
    UNTIL(&the, sql_is(&the, 2, "SELECT count(*) FROM t", "3"));
    expect_synchronous(&the, 1, 2, POSTGRES_OK);
}

static void the_primary_dies_and_the_standby_takes_its_place(void **state)
{
    (void)state;
    sql(&the, 1, "INSERT INTO t VALUES (4)", NULL, 0);
    kill_postmaster(&the, 1);
    UNTIL(&the, !status_of(&the, 1)->running);
    assert_false(status_of(&the, 1)->up);
    expect(&the, 2, POSTGRES_PROMOTE, 0, POSTGRES_OK);
    assert_true(status_of(&the, 2)->up && !status_of(&the, 2)->standby);
    assert_int_equal(status_of(&the, 2)->timeline, 2);
    assert_int_equal(status_of(&the, 2)->synchronous, 0);
    assert_true(sql_is(&the, 2, "SELECT count(*) FROM t", "4"));
    sql(&the, 2, "INSERT INTO t VALUES (5)", NULL, 0);
    expect(&the, 2, POSTGRES_PROMOTE, 0, POSTGRES_OK); /* again is nothing */
    assert_int_equal(status_of(&the, 2)->timeline, 2);
}

static void the_former_primary_is_rewound(void **state)
{
    (void)state;
    /* It went on alone for a while, as in a partition: what it wrote is not in the new history. */
    expect(&the, 1, POSTGRES_START, 0, POSTGRES_OK);
    expect_synchronous(&the, 1, 0, POSTGRES_OK);
    sql(&the, 1, "INSERT INTO t VALUES (99)", NULL, 0);
    kill_postmaster(&the, 1);

    expect(&the, 1, POSTGRES_REJOIN, 2, POSTGRES_OK);
    assert_true(status_of(&the, 1)->standby && status_of(&the, 1)->receiving);
    UNTIL(&the, sql_is(&the, 1, "SELECT string_agg(x::text, ' ' ORDER BY x) FROM t", "1 2 3 4 5"));
    assert_true(sql_is(&the, 1, "SELECT count(*) FROM pg_replication_slots", "0"));
    shell("! ls -d %s/n1/data.old-* 2>/dev/null", the.dir); /* rewound, not copied */
    expect_synchronous(&the, 2, 1, POSTGRES_OK);
    UNTIL(&the, strcmp(status_of(&the, 2)->replica_sync, "sync") == 0);
}

static void recoveryd_restarts_and_finds_them(void **state)
{
    uint32_t pid1 = status_of(&the, 1)->pid, pid2 = status_of(&the, 2)->pid;

    (void)state;
    postgres_close(the.nodes[1].postgres);
    postgres_close(the.nodes[2].postgres);
    open_node(&the, 1);
    open_node(&the, 2);
    UNTIL(&the, status_of(&the, 1)->up && status_of(&the, 2)->up);
    assert_int_equal(status_of(&the, 1)->pid, pid1);
    assert_int_equal(status_of(&the, 2)->pid, pid2);
    assert_true(status_of(&the, 1)->standby);
    assert_int_equal(status_of(&the, 2)->synchronous, 1);
    UNTIL(&the, status_of(&the, 1)->receiving);
}

static void a_cluster_that_is_half_rebuilt_is_not_started(void **state)
{
    (void)state;
    expect(&the, 1, POSTGRES_STOP, 0, POSTGRES_OK);
    assert_false(status_of(&the, 1)->running);
    shell("touch %s/n1/state/database.unusable", the.dir);
    expect(&the, 1, POSTGRES_START, 0, POSTGRES_REFUSED);
    expect(&the, 1, POSTGRES_PROMOTE, 0, POSTGRES_REFUSED);
    expect(&the, 1, POSTGRES_INIT_PRIMARY, 0, POSTGRES_REFUSED);
    expect(&the, 1, POSTGRES_REJOIN, 1, POSTGRES_REFUSED); /* itself */
    expect(&the, 1, POSTGRES_REJOIN, 2, POSTGRES_OK);
    assert_false(status_of(&the, 1)->unusable);
    shell("! ls -d %s/n1/data.old-* %s/n1/data.replaced 2>/dev/null", the.dir, the.dir);
}

static void a_standby_whose_wal_is_gone_is_copied_anew(void **state)
{
    (void)state;
    expect(&the, 1, POSTGRES_STOP, 0, POSTGRES_OK);
    expect_synchronous(&the, 2, 0, POSTGRES_OK);
    UNTIL(&the, status_of(&the, 2)->replica == 0);
    sql(&the, 2, "SELECT pg_drop_replication_slot('node1')", NULL, 0);
    /* wal_keep_size is 64 MB: five segments. */
    for (int i = 0; i < 6; i++) {
        sql(&the, 2, "INSERT INTO t VALUES (6)", NULL, 0);
        sql(&the, 2, "SELECT pg_switch_wal()", NULL, 0);
    }
    sql(&the, 2, "CHECKPOINT", NULL, 0);
    expect(&the, 1, POSTGRES_REJOIN, 2, POSTGRES_OK);
    UNTIL(&the, sql_is(&the, 1, "SELECT count(*) FROM t", "11"));
}

static void a_former_primary_that_cannot_be_rewound_is_kept(void **state)
{
    (void)state;
    /* Somebody promotes the standby by hand: two histories of which none is the other's past. */
    sql(&the, 1, "SELECT pg_promote()", NULL, 0);
    UNTIL(&the, status_of(&the, 1)->up && !status_of(&the, 1)->standby);
    sql(&the, 1, "INSERT INTO t VALUES (100)", NULL, 0);
    expect(&the, 1, POSTGRES_STOP, 0, POSTGRES_OK);
    shell("find %s/n1/data/pg_wal -name '0*' -delete", the.dir);
    expect(&the, 1, POSTGRES_REJOIN, 2, POSTGRES_OK);
    shell("ls -d %s/n1/data.old-*/PG_VERSION >/dev/null", the.dir);
    UNTIL(&the, sql_is(&the, 1, "SELECT count(*) FROM t", "11"));
}

static void the_newest_wish_counts(void **state)
{
    struct answer copy, start, stop;

    (void)state;
    begin(&the, 1, POSTGRES_MAKE_STANDBY, 2, &copy);
    for (int i = 0; i < 20; i++)
        uv_run(&the.loop, UV_RUN_ONCE);
    begin(&the, 1, POSTGRES_START, 0, &start);
    begin(&the, 1, POSTGRES_STOP, 0, &stop);
    assert_false(copy.came || start.came || stop.came); /* never from within */
    UNTIL(&the, stop.came);
    assert_true(copy.came && start.came);
    assert_int_equal(copy.status, POSTGRES_CANCELLED);
    assert_int_equal(start.status, POSTGRES_CANCELLED);
    assert_int_equal(stop.status, POSTGRES_OK);
    assert_false(status_of(&the, 1)->running);
    expect(&the, 1, POSTGRES_REJOIN, 2, POSTGRES_OK);
}

static void a_peer_that_cannot_be_followed_costs_nothing(void **state)
{
    uint32_t pid = status_of(&the, 1)->pid;

    (void)state;
    expect(&the, 2, POSTGRES_REJOIN, 1, POSTGRES_FAILED); /* node 1 is a standby */
    assert_true(status_of(&the, 2)->up && !status_of(&the, 2)->standby);
    expect(&the, 2, POSTGRES_STOP, 0, POSTGRES_OK);
    expect(&the, 1, POSTGRES_REJOIN, 2, POSTGRES_FAILED); /* and now node 2 is down */
    expect(&the, 1, POSTGRES_MAKE_STANDBY, 2, POSTGRES_FAILED);
    assert_int_equal(status_of(&the, 1)->pid, pid);
    expect(&the, 2, POSTGRES_START, 0, POSTGRES_OK);
}

static void a_hung_database_is_not_up(void **state)
{
    pid_t pid = (pid_t)status_of(&the, 2)->pid;

    (void)state;
    shell("pkill -STOP -P %d; kill -STOP %d", pid, pid);
    UNTIL(&the, !status_of(&the, 2)->up);
    assert_true(status_of(&the, 2)->running);
    shell("kill -CONT %d; pkill -CONT -P %d", pid, pid);
    UNTIL(&the, status_of(&the, 2)->up);
}

static void a_port_that_is_taken_is_told(void **state)
{
    struct postgres_request r = {.op = POSTGRES_START, .timeout_ms = 20000, .done = on_done};
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(0x7f000101)};
    int one = 1, fd = socket(AF_INET, SOCK_STREAM, 0);
    struct answer answer = {0};

    (void)state;
    expect(&the, 1, POSTGRES_STOP, 0, POSTGRES_OK);
    a.sin_port = htons(the.nodes[1].conf.ports[CONF_PORT_DATABASE]);
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
    assert_int_equal(bind(fd, (struct sockaddr *)&a, sizeof(a)), 0);
    assert_int_equal(listen(fd, 1), 0);
    r.ctx = &answer;
    postgres_run(the.nodes[1].postgres, &r);
    UNTIL(&the, answer.came);
    assert_int_equal(answer.status, POSTGRES_FAILED);
    assert_non_null(strstr(answer.why, "FATAL"));
    close(fd);
    expect(&the, 1, POSTGRES_START, 0, POSTGRES_OK);
}

static int up(void **state)
{
    (void)state;
    return cluster_up(&the);
}

static int down(void **state)
{
    (void)state;
    return cluster_down(&the);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_new_primary),
        cmocka_unit_test(a_standby_of_it),
        cmocka_unit_test(a_dead_standby_does_not_hold_up_commits),
        cmocka_unit_test(the_standby_comes_back),
        cmocka_unit_test(the_primary_dies_and_the_standby_takes_its_place),
        cmocka_unit_test(the_former_primary_is_rewound),
        cmocka_unit_test(recoveryd_restarts_and_finds_them),
        cmocka_unit_test(a_cluster_that_is_half_rebuilt_is_not_started),
        cmocka_unit_test(a_standby_whose_wal_is_gone_is_copied_anew),
        cmocka_unit_test(a_former_primary_that_cannot_be_rewound_is_kept),
        cmocka_unit_test(the_newest_wish_counts),
        cmocka_unit_test(a_peer_that_cannot_be_followed_costs_nothing),
        cmocka_unit_test(a_hung_database_is_not_up),
        cmocka_unit_test(a_port_that_is_taken_is_told),
    };

    return cmocka_run_group_tests(tests, up, down);
}
