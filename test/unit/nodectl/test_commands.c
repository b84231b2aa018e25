// SPDX-License-Identifier: Apache-2.0
/*
 * Command lines, on a real PostgreSQL: what they do, print and refuse. Each is run in a child.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <jansson.h>
#include <libpq-fe.h>

#include "../postgres.h"
#include "common/digest.h"
#include "common/log.h"
#include "common/util.h"
#include "recoveryd/nodectl/nodectl.h"

enum { WORDS_MAX = 16, OUTPUT_MAX = 1 << 16 };

static struct postgres the;
static char output[OUTPUT_MAX], errors[OUTPUT_MAX];

static void read_file(const char *name, char ret_text[OUTPUT_MAX])
{
    char path[128];
    FILE *f;
    size_t n;

    snprintf(path, sizeof(path), "%s/%s", the.dir, name);
    f = fopen(path, "r");
    n = f ? fread(ret_text, 1, OUTPUT_MAX - 1, f) : 0;
    ret_text[n] = '\0';
    if (f)
        fclose(f);
}

static void redirect(const char *name, const char *mode, FILE *stream)
{
    char path[128];

    snprintf(path, sizeof(path), "%s/%s", the.dir, name);
    // cppcheck-suppress leakReturnValNotUsed ; it is the stream that was given
    if (freopen(path, mode, stream) != stream)
        _exit(99);
}

static void write_file(const char *name, const char *text)
{
    char path[128];
    FILE *f;

    snprintf(path, sizeof(path), "%s/%s", the.dir, name);
    f = fopen(path, "w");
    assert_non_null(f);
    fputs(text, f);
    fclose(f);
}

/* Runs `nodectl --dir DIR WORDS`, split at spaces. The exit status; output and errors are in the
 * variables of those names. */
static int run(const char *input, const char *words)
{
    char text[1024], *rest = text;
    char *list[WORDS_MAX + 1] = {"nodectl", "--dir", the.dir};
    int status, count = 3;
    pid_t pid;

    snprintf(text, sizeof(text), "%s", words);
    while (count < WORDS_MAX && (list[count] = strsep(&rest, " ")))
        count++;
    write_file("input", input);
    pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        redirect("input", "r", stdin);
        redirect("out", "w", stdout);
        redirect("err", "w", stderr);
        exit(nodectl_main(count, list));
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    read_file("out", output);
    read_file("err", errors);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static void sql_is(const char *sql, const char *value)
{
    PGconn *conn = PQconnectdb(the.conninfo);
    PGresult *r = PQexec(conn, sql);

    if (PQresultStatus(r) != PGRES_TUPLES_OK)
        fail_msg("%s: %s", sql, PQerrorMessage(conn));
    assert_string_equal(PQntuples(r) ? PQgetvalue(r, 0, 0) : "", value);
    PQclear(r);
    PQfinish(conn);
}

static void a_user_from_add_to_delete(void **state)
{
    char hex[DIGEST_HEX_MAX];

    (void)state;
    assert_int_equal(run("secret\n", "user add Alice --mail a@b --display-name A"), DONE);
    sql_is("SELECT aor || ' ' || userid || ' ' || mail || ' ' || display_name || ' ' || home"
           " FROM users",
           "alice@muster.test alice a@b A 1");
    digest_hex(DIGEST_SHA256, STR("alice:muster.test:secret"), hex);
    sql_is("SELECT digest_sha256 FROM users", hex);
    sql_is("SELECT length(salt) || ' ' || length(sha1_stored_key) || ' ' ||"
           " length(sha256_server_key) FROM users",
           "16 20 32");

    /* The next one goes to the node with fewer. */
    assert_int_equal(run("x\n", "user add bob"), DONE);
    assert_int_equal(run("x\n", "user add carol --home 2"), DONE);
    sql_is("SELECT string_agg(userid || home, ' ' ORDER BY userid) FROM users",
           "alice1 bob2 carol2");

    assert_int_equal(run("x\n", "user add alice"), REFUSED);
    assert_string_equal(errors, "nodectl: there is a user alice already: nodectl user passwd\n");
    assert_int_equal(run("new\n", "user passwd alice@muster.test"), DONE);
    digest_hex(DIGEST_MD5, STR("alice:muster.test:new"), hex);
    sql_is("SELECT digest_md5 FROM users WHERE userid = 'alice'", hex);

    assert_int_equal(run("", "user delete carol"), DONE);
    assert_int_equal(run("", "user delete carol"), REFUSED);
    assert_string_equal(errors, "nodectl: there is no such user\n");
    assert_int_equal(run("x\n", "user passwd carol"), REFUSED);
}

static void what_a_user_may_not_be(void **state)
{
    static const struct {
        const char *words, *input, *says;
    } cases[] = {
        {"user add a@example.com", "x\n",
         "nodectl: a@example.com: the domain here is muster.test\n"},
        {"user add a\"b", "x\n", "nodectl: a\"b is no user id\n"},
        {"user add dora --home 7", "x\n", "nodectl: there is no node 7\n"},
        {"user add dora", "\n", "nodectl: a password has 1 to 256 bytes\n"},
        {"user add dora", "", "nodectl: a password has 1 to 256 bytes\n"},
        {"user add dora --password-file /nonexistent", "x\n",
         "nodectl: cannot read /nonexistent: No such file or directory\n"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        assert_int_equal(run(cases[i].input, cases[i].words), REFUSED);
        assert_string_equal(errors, cases[i].says);
    }
    sql_is("SELECT count(*) FROM users WHERE userid = 'dora'", "0");
}

static void an_import(void **state)
{
    json_t *root;

    (void)state;
    assert_int_equal(run("userid,password,display_name\n"
                         "alice,third,New Name\n"
                         "d1,p\nd2,p\nd3,p\nd4,\"p\",\"Tab\tand\\backslash\nand line\"\n",
                         "--json user import -"),
                     DONE);
    root = json_loads(output, 0, NULL);
    assert_int_equal(json_integer_value(json_object_get(root, "added")), 4);
    assert_int_equal(json_integer_value(json_object_get(root, "changed")), 1);
    json_decref(root);
    sql_is("SELECT display_name || home FROM users WHERE userid = 'alice'", "New Name1");
    sql_is("SELECT display_name FROM users WHERE userid = 'd4'", "Tab\tand\\backslash\nand line");
    sql_is("SELECT string_agg(n::text, ' ') FROM"
           " (SELECT count(*) AS n FROM users GROUP BY home ORDER BY home) x",
           "3 3");
    assert_int_equal(run("", "user import -"), DONE);
    assert_string_equal(output, "0 users added, 0 changed\n");
}

static void an_import_is_whole_or_not_at_all(void **state)
{
    (void)state;
    assert_int_equal(run("e1,p\ne2\ne3,p\ne1,q\n", "user import -"), REFUSED);
    assert_string_equal(errors,
                        "standard input: line 2: it needs at least a userid and a password\n"
                        "standard input: line 4: e1 is in line 1 already\n"
                        "nodectl: standard input has 2 mistakes; nothing was imported\n");
    sql_is("SELECT count(*) FROM users WHERE userid LIKE 'e%'", "0");
    assert_int_equal(run("", "user import /nonexistent"), REFUSED);
}

static void lists(void **state)
{
    json_t *root;

    (void)state;
    assert_int_equal(run("", "user list --home 1"), DONE);
    assert_true(str_starts(str_of(output), STR("USERID  DISPLAY NAME")));
    assert_non_null(strstr(output, "alice   New Name"));
    assert_int_equal(run("", "--json user list"), DONE);
    root = json_loads(output, 0, NULL);
    assert_int_equal(json_array_size(json_object_get(root, "users")), 6);
    json_decref(root);
}

static void parameters(void **state)
{
    (void)state;
    assert_int_equal(run("", "param get recoveryd heartbeat_interval"), DONE);
    assert_string_equal(output, "200ms\n");
    assert_int_equal(run("", "param set recoveryd heartbeat_interval 100ms"), DONE);
    assert_int_equal(run("", "param get recoveryd.heartbeat_interval"), DONE);
    assert_string_equal(output, "100ms\n");
    sql_is("SELECT node || ' ' || value FROM parameters", "0 100ms");
    assert_int_equal(run("", "param set recoveryd heartbeat_interval default"), DONE);
    sql_is("SELECT count(*) FROM parameters", "0");

    assert_int_equal(run("", "param set common log_level debug --node 2"), DONE);
    assert_int_equal(run("", "param get common log_level"), DONE);
    assert_string_equal(output, "info\n"); /* we are node 1 */
    assert_int_equal(run("", "--json param list"), DONE);
    json_decref(json_loads(output, 0, NULL));

    assert_int_equal(run("", "param set recoveryd serving_lease 5s"), REFUSED);
    assert_non_null(strstr(errors, "must be less than serving_lease"));
    assert_int_equal(run("", "param set recoveryd heartbeat_timeout 1ms"), REFUSED);
    assert_int_equal(run("", "param set recoveryd nonsense 1"), REFUSED);
    assert_int_equal(run("", "param set recoveryd serving_lease 1s --node 1"), REFUSED);
    assert_int_equal(run("", "param set recoveryd serving_lease"), USAGE);
    sql_is("SELECT count(*) FROM parameters", "1");
}

static void how_it_is_called(void **state)
{
    static const struct {
        const char *words;
        int status;
    } cases[] = {
        {"--help", DONE},
        {"help", DONE},
        {"user --help", DONE},
        {"user add --help", DONE},
        {"version", DONE},
        {"--version", DONE},
        {"utils version", DONE},
        {"version --json", DONE},
        {"--json utils user list", DONE},
        {"", USAGE},
        {"utils", USAGE},
        {"nonsense", USAGE},
        {"--nonsense version", USAGE},
        {"user", USAGE},
        {"user nonsense", USAGE},
        {"user add", USAGE},
        {"user add a b", USAGE},
        {"user add a --nonsense 1", USAGE},
        {"user add a --home", USAGE},
        {"user add a --password secret", USAGE},
        {"user list --home 1 x", USAGE},
        {"ha status now", USAGE},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        int status = run("", cases[i].words);

        if (status != cases[i].status)
            fail_msg("%s: %d, %s", cases[i].words, status, errors);
        assert_int_equal(*errors != '\0', status != DONE);
    }
}

static void no_recoveryd_and_no_database(void **state)
{
    (void)state;
    assert_int_equal(run("", "ha status"), REFUSED);
    assert_non_null(strstr(errors, "nodectl: "));
    postgres_stop(&the);
    assert_int_equal(run("", "user list"), REFUSED);
    assert_true(str_starts(str_of(errors), STR("nodectl: no writable database can be reached: ")));
    assert_int_equal(strlen(strchr(errors, '\n')), 1); /* one line */
    postgres_start(&the);
}

static int up(void **state)
{
    static const char *const files[] = {"001_users", "002_messaging", "003_parameters"};
    char text[1024];

    (void)state;
    log_init("test", "-", LOG_ERROR);
    postgres_init(&the);
    snprintf(text, sizeof(text),
             "node = 1\ndomain = muster.test\nnodes = 1:n1:1:127.0.1.1 2:n2:1:127.0.1.2\n"
             "postgres_bin = %s\nconninfo = %s\n",
             the.bin, the.conninfo);
    write_file("node.conf", text);
    for (size_t i = 0; i < ARRAY_LEN(files); i++) {
        snprintf(text, sizeof(text), "deploy/schema/%s.sql", files[i]);
        if (postgres_sql_file(&the, text) != 0)
            return -1;
    }
    return 0;
}

static int down(void **state)
{
    (void)state;
    postgres_done(&the);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_user_from_add_to_delete),
        cmocka_unit_test(what_a_user_may_not_be),
        cmocka_unit_test(an_import),
        cmocka_unit_test(an_import_is_whole_or_not_at_all),
        cmocka_unit_test(lists),
        cmocka_unit_test(parameters),
        cmocka_unit_test(how_it_is_called),
        cmocka_unit_test(no_recoveryd_and_no_database),
    };

    return cmocka_run_group_tests(tests, up, down);
}
