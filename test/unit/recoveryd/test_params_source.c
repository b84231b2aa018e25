// SPDX-License-Identifier: Apache-2.0
/*
 * Parameters from a real database, and from the copy while there is none.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "../postgres.h"
#include "common/log.h"
#include "common/util.h"
#include "recoveryd/params_source.h"

static struct postgres the;
static struct conf conf;
static uv_loop_t loop;
static unsigned changes;

static void on_change(void *ctx)
{
    (void)ctx;
    changes++;
}

static const char *value_of(const struct params_source *s, const char *service, const char *name)
{
    const Muster__Params *m = params_source_message(s);

    for (size_t i = 0; i < m->n_params; i++)
        if (strcmp(m->params[i]->service, service) == 0 && strcmp(m->params[i]->name, name) == 0)
            return m->params[i]->value;
    return "default";
}

static void write_copy(const char *text)
{
    char path[128];
    FILE *f;

    snprintf(path, sizeof(path), "%s/state/params", the.dir);
    f = fopen(path, "w");
    assert_non_null(f);
    fputs(text, f);
    fclose(f);
}

static void wait_for_changes(unsigned count)
{
    while (changes < count)
        uv_run(&loop, UV_RUN_ONCE);
}

static struct db *open_db(const char *conninfo)
{
    static const struct db_statement none[] = {{NULL, NULL, false}};
    struct db_config config = {.conninfo = conninfo, .connections = 1, .statements = none};

    return db_start(&loop, &config);
}

static struct params_source *open_source(struct db *db)
{
    struct params_source_config config = {.conf = &conf, .db = db, .on_change = on_change};

    changes = 0;
    return params_source_start(&config);
}

static void close_all(struct params_source *s, struct db *db)
{
    params_source_close(s);
    db_close(db);
    uv_run(&loop, UV_RUN_DEFAULT);
}

static void from_the_database_as_it_changes(void **state)
{
    struct db *db = open_db(the.conninfo);
    struct params_source *s;
    uint64_t version;

    (void)state;
    postgres_sql(&the, "INSERT INTO parameters VALUES ('common', 'log_level', 0, 'warning'),"
                       " ('common', 'log_level', 1, 'debug'), ('common', 'log_level', 2, 'error'),"
                       " ('recoveryd', 'serving_lease', 0, '1s'),"
                       " ('recoveryd', 'heartbeat_interval', 0, 'nonsense'),"
                       " ('nobody', 'knows', 0, '1')");
    s = open_source(db);
    assert_int_equal(params_source_message(s)->n_params, 0);
    version = params_source_message(s)->version;
    wait_for_changes(1);
    assert_true(params_source_message(s)->version > version);
    assert_string_equal(value_of(s, "common", "log_level"), "debug"); /* that of node 1 */
    assert_string_equal(value_of(s, "recoveryd", "serving_lease"), "1s");
    assert_int_equal(params_source_message(s)->n_params, 2); /* what is wrong is left out */

    postgres_sql(&the, "DELETE FROM parameters WHERE node = 1");
    wait_for_changes(2);
    assert_string_equal(value_of(s, "common", "log_level"), "warning");
    close_all(s, db);
}

static void from_the_copy_while_there_is_no_database(void **state)
{
    struct db *db = open_db("host=/nonexistent");
    struct params_source *s = open_source(db);

    (void)state;
    assert_string_equal(value_of(s, "common", "log_level"), "warning");
    assert_string_equal(value_of(s, "recoveryd", "serving_lease"), "1s");
    close_all(s, db);
}

static void a_damaged_copy_gives_what_is_good_in_it(void **state)
{
    struct db *db = open_db("host=/nonexistent");
    struct params_source *s;

    (void)state;
    write_copy("\xff\xff\n\nrecoveryd serving_lease\nrecoveryd serving_lease 1 s\n"
               "common log_level error\nrecoveryd automatic_fall");
    s = open_source(db);
    assert_int_equal(params_source_message(s)->n_params, 1);
    assert_string_equal(value_of(s, "common", "log_level"), "error");
    close_all(s, db);
}

static int up(void **state)
{
    char state_dir[96];

    (void)state;
    log_init("test", "-", LOG_ERROR);
    postgres_init(&the);
    if (postgres_sql_file(&the, "deploy/schema/003_parameters.sql") != 0)
        return -1;
    snprintf(state_dir, sizeof(state_dir), "%s/state", the.dir);
    if (mkdir(state_dir, 0700) != 0)
        return -1;
    snprintf(conf.dir, sizeof(conf.dir), "%s", the.dir);
    conf.node = 1;
    return uv_loop_init(&loop);
}

static int down(void **state)
{
    (void)state;
    postgres_done(&the);
    return uv_loop_close(&loop);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(from_the_database_as_it_changes),
        cmocka_unit_test(from_the_copy_while_there_is_no_database),
        cmocka_unit_test(a_damaged_copy_gives_what_is_good_in_it),
    };

    return cmocka_run_group_tests(tests, up, down);
}
