// SPDX-License-Identifier: Apache-2.0
/*
 * node.conf: what a good one says, and which sentence a bad one gets.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/conf.h"
#include "common/util.h"

#define LEAST                                                                                      \
    "node = 1\n"                                                                                   \
    "domain = muster.test\n"                                                                       \
    "nodes = 1:n1:1:127.0.1.1 2:n2:1:127.0.1.2\n"

static int parse(const char *text, struct conf *c, struct err *e)
{
    return conf_parse("/srv/n1", "node.conf", str_of(text), c, e);
}

static void least_that_is_needed(void **state)
{
    static struct conf c;
    struct err e;

    (void)state;
    assert_int_equal(parse(LEAST, &c, &e), 0);
    assert_string_equal(c.dir, "/srv/n1");
    assert_string_equal(c.domain, "muster.test");
    assert_int_equal(c.nodes.count, 2);
    assert_int_equal(c.nodes.version, 0);
    assert_string_equal(conf_self(&c)->address, "127.0.1.1");
    assert_string_equal(view_find(&c.nodes, 2)->name, "n2");
    assert_string_equal(c.tls_cert, "/srv/n1/tls/node.crt");
    assert_string_equal(c.tls_ca, "/srv/n1/tls/ca.crt");
    assert_string_equal(c.postgres_bin, "/usr/lib/postgresql/15/bin");
    assert_false(c.database_external);
    assert_int_equal(c.ports[CONF_PORT_SIP], 5060);
    assert_int_equal(c.ports[CONF_PORT_DATABASE], 5432);
}

static void everything_that_can_be_said(void **state)
{
    static struct conf c;
    struct err e;

    (void)state;
    assert_int_equal(parse("# node 2\r\n"
                           "\n"
                           "  node=2 # ours\n"
                           "domain = muster.test\n"
                           "nodes =  1:n1:1:127.0.1.1  2:n2:1:::1\n"
                           "tls_cert = certificates/a.pem\n"
                           "tls_key = /etc/muster/key.pem\n"
                           "tls_ca = ca\n"
                           "database = external\n"
                           "postgres_bin = /opt/pg\n"
                           "conninfo = host=127.0.1.1,127.0.1.2 port=5432 dbname=muster\n"
                           "port.sip = 15060\n"
                           "port.database = 1\n"
                           "set.recoveryd.heartbeat_interval = 100ms\n"
                           "set.common.log_level = debug",
                           &c, &e),
                     0);
    assert_int_equal(c.node, 2);
    assert_string_equal(conf_self(&c)->address, "::1");
    assert_string_equal(c.tls_cert, "/srv/n1/certificates/a.pem");
    assert_string_equal(c.tls_key, "/etc/muster/key.pem");
    assert_true(c.database_external);
    assert_string_equal(c.conninfo, "host=127.0.1.1,127.0.1.2 port=5432 dbname=muster");
    assert_int_equal(c.ports[CONF_PORT_SIP], 15060);
    assert_int_equal(c.ports[CONF_PORT_DATABASE], 1);
    assert_int_equal(c.set_count, 2);
    assert_string_equal(c.sets[0].service, "recoveryd");
    assert_string_equal(c.sets[0].name, "heartbeat_interval");
    assert_string_equal(c.sets[0].value, "100ms");
}

static void bad_lines_are_told_with_what_is_allowed(void **state)
{
    static const struct {
        const char *text, *sentence;
    } rows[] = {
        {"", "node.conf: node = NUMBER is missing"},
        {"node = 1\n", "node.conf: domain = DOMAIN is missing"},
        {"node = 3\ndomain = x\nnodes = 1:n1:1:127.0.1.1\n", "node.conf: nodes must name node 3"},
        {"# ok\n\nnode = 7\n", "node.conf:3: node: a number from 1 to 6"},
        {"node = one\n", "node.conf:1: node: a number from 1 to 6"},
        {"node 1\n", "node.conf:1: key = value, or # and a comment"},
        {"domain =\n", "node.conf:1: domain: 1 to 255 bytes"},
        {"database = mysql\n", "node.conf:1: database: managed or external"},
        {"port.sip = 0\n", "node.conf:1: port.sip: a number from 1 to 65535"},
        {"port.sip = 65536\n", "node.conf:1: port.sip: a number from 1 to 65535"},
        {"port.smtp = 25\n", "node.conf:1: port.smtp: there is no such port"},
        {"set.recoveryd.heartbeat_interval = 1ms\n",
         "node.conf:1: recoveryd.heartbeat_interval: 50ms to 10s"},
        {"set.recoveryd.colour = red\n",
         "node.conf:1: recoveryd.colour: there is no such parameter"},
        {"set.recoveryd = red\n",
         "node.conf:1: set.SERVICE.NAME = VALUE: a parameter, and at most 127 bytes"},
    };
    static struct conf c;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct err e;

        assert_int_equal(parse(rows[i].text, &c, &e), -1);
        assert_string_equal(e.text, rows[i].sentence);
    }
}

static void bad_nodes_are_refused(void **state)
{
    static const char *const rows[] = {
        "nodes = 1:n1:1",
        "nodes = 1:n1:1:",
        "nodes = 1::1:127.0.1.1",
        "nodes = 0:n1:1:127.0.1.1",
        "nodes = 7:n1:1:127.0.1.1",
        "nodes = 1:n1:0:127.0.1.1",
        "nodes = 1:n1:1:node1.example.org",
        "nodes = 1:n1:1:127.0.1.1 1:n2:1:127.0.1.2",
        "nodes = 1:n1:1:127.0.1.1, 2:n2:1:127.0.1.2",
        "nodes = 1:a:1:::1 2:b:1:::1 3:c:2:::1 4:d:2:::1 5:e:3:::1 6:f:3:::1 1:g:3:::1",
        "nodes = 1:a-name-of-more-than-sixty-four-bytes-a-name-of-more-than-sixty-four-bytes:1:::1",
    };
    static struct conf c;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct err e;

        assert_int_equal(parse(rows[i], &c, &e), -1);
        assert_string_equal(e.text, "node.conf:1: nodes: 1 to 6 of number:name:group:address, "
                                    "each number once");
    }
}

static void limits_hold(void **state)
{
    static struct conf c;
    static char text[100000];
    size_t len = 0;
    struct err e;

    (void)state;
    len += (size_t)snprintf(text, sizeof(text), LEAST);
    for (size_t i = 0; i <= CONF_SETS_MAX; i++)
        len += (size_t)snprintf(text + len, sizeof(text) - len, "set.common.io_threads = 2\n");
    assert_int_equal(parse(text, &c, &e), -1);
    assert_string_equal(e.text, "node.conf:68: at most 64 parameters can be set here");

    memset(text, 'x', 600);
    memcpy(text, "tls_key = ", 10);
    text[600] = '\0';
    assert_int_equal(parse(text, &c, &e), -1);
    assert_string_equal(e.text, "node.conf:1: tls_key: a path of at most 511 bytes");

    memset(text, 'd', 300);
    text[300] = '\0';
    assert_int_equal(conf_parse(text, "node.conf", STR(LEAST), &c, &e), -1);
}

static void is_read_from_a_directory(void **state)
{
    char dir[] = "/tmp/muster-conf-XXXXXX";
    char path[64];
    static struct conf c;
    struct err e;
    FILE *f;

    (void)state;
    assert_non_null(mkdtemp(dir));
    assert_int_equal(conf_load(dir, &c, &e), -1);
    assert_non_null(strstr(e.text, "node.conf: No such file or directory"));
    assert_int_equal(conf_load("/nowhere/at/all", &c, &e), -1);

    snprintf(path, sizeof(path), "%s/node.conf", dir);
    f = fopen(path, "w");
    fputs(LEAST, f);
    fclose(f);
    assert_int_equal(conf_load(dir, &c, &e), 0);
    assert_string_equal(c.dir, dir);

    f = fopen(path, "w");
    for (int i = 0; i < 70000; i++)
        fputc('#', f);
    fclose(f);
    assert_int_equal(conf_load(dir, &c, &e), -1);
    assert_non_null(strstr(e.text, "at most 65536 bytes"));
    unlink(path);
    rmdir(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(least_that_is_needed),
        cmocka_unit_test(everything_that_can_be_said),
        cmocka_unit_test(bad_lines_are_told_with_what_is_allowed),
        cmocka_unit_test(bad_nodes_are_refused),
        cmocka_unit_test(limits_hold),
        cmocka_unit_test(is_read_from_a_directory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
