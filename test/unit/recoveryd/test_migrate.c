// SPDX-License-Identifier: Apache-2.0
/*
 * Migrations on a real PostgreSQL: those of the tree, twice, and some that are wrong.
 */
#include "cluster.h"
#include "recoveryd/migrate.h"

static struct cluster the;

struct outcome {
    bool came;
    int status;
    unsigned applied;
    char why[512];
};

static void on_migrated(void *ctx, int status, unsigned applied, const char *why)
{
    struct outcome *o = ctx;

    assert_false(o->came);
    *o = (struct outcome){.came = true, .status = status, .applied = applied};
    snprintf(o->why, sizeof(o->why), "%s", why);
}

/* `directory`: below the cluster's where it does not begin with a slash. */
static struct outcome migrate(const char *directory)
{
    struct outcome o = {0};
    char conninfo[256], path[128];

    snprintf(path, sizeof(path), "%s%s%s", *directory == '/' ? "" : the.dir,
             *directory == '/' ? "" : "/", directory);
    postgres_local_conninfo(the.nodes[1].postgres, "muster", conninfo, sizeof(conninfo));
    migrate_start(&the.loop, conninfo, path, 0, on_migrated, &o);
    assert_false(o.came);
    UNTIL(&the, o.came);
    return o;
}

static void the_schema_of_the_tree(void **state)
{
    struct outcome o = migrate("schema");

    (void)state;
    if (o.status != 0)
        fail_msg("%s", o.why);
    assert_true(o.applied >= 3);
    sql(&the, 1, "SELECT aor FROM users", NULL, 0);
    o = migrate("schema");
    assert_int_equal(o.status, 0);
    assert_int_equal(o.applied, 0);
}

static void only_what_is_new_and_nothing_by_halves(void **state)
{
    struct outcome o;

    (void)state;
    shell("mkdir %s/m && cd %s/m && echo 'CREATE TABLE seven (x int)' >907_seven.sql && "
          "printf 'CREATE TABLE eight (x int);\\nSELECT nonsense;' >908_eight.sql && "
          "echo '?' >README.md",
          the.dir, the.dir);
    o = migrate("m");
    assert_int_equal(o.status, -1);
    assert_int_equal(o.applied, 1);
    assert_non_null(strstr(o.why, "908_eight.sql"));
    assert_true(sql_is(&the, 1, "SELECT to_regclass('seven') IS NOT NULL", "t"));
    assert_true(sql_is(&the, 1, "SELECT to_regclass('eight') IS NULL", "t"));

    shell("echo 'CREATE TABLE eight (x int)' >%s/m/908_eight.sql", the.dir);
    o = migrate("m");
    assert_int_equal(o.status, 0);
    assert_int_equal(o.applied, 1);
}

static void what_cannot_be(void **state)
{
    struct outcome o = migrate("/nonexistent");

    (void)state;
    assert_int_equal(o.status, -1);
    shell("mkdir %s/d && touch %s/d/001_a.sql %s/d/001_b.sql", the.dir, the.dir, the.dir);
    o = migrate("d");
    assert_int_equal(o.status, -1);
    assert_string_not_equal(o.why, "");
}

static int up(void **state)
{
    (void)state;
    if (cluster_up(&the) != 0)
        return -1;
    expect(&the, 1, POSTGRES_INIT_PRIMARY, 0, POSTGRES_OK);
    return 0;
}

static int down(void **state)
{
    (void)state;
    return cluster_down(&the);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_schema_of_the_tree),
        cmocka_unit_test(only_what_is_new_and_nothing_by_halves),
        cmocka_unit_test(what_cannot_be),
    };

    return cmocka_run_group_tests(tests, up, down);
}
