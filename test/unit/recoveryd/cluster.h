// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Two nodes' PostgreSQLs for tests: real ones, on 127.0.1.1 and 127.0.1.2 and one free port, in a
 * folder below /tmp. Their shells run on one loop in this process. PostgreSQL refuses root, so as
 * root the process becomes nobody.
 */
#include <netinet/in.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>
#include <libpq-fe.h>

#include "common/log.h"
#include "common/util.h"
#include "recoveryd/postgres.h"

enum { WAIT_MS = 60000 };

/* The answer to the last request of a node. */
struct answer {
    bool came;
    int status;
    char why[POSTGRES_WHY_MAX];
};

struct test_node {
    struct conf conf;
    struct postgres *postgres;
    struct answer answer;
    unsigned changes;
};

struct cluster {
    char dir[64];
    uv_loop_t loop;
    uv_timer_t guard;
    struct test_node nodes[3]; /* by number, from 1 */
};

static inline void shell(const char *format, ...)
{
    char command[4096];
    va_list args;

    va_start(args, format);
    vsnprintf(command, sizeof(command), format, args);
    va_end(args);
    if (system(command) != 0)
        fail_msg("%s", command);
}

static inline uint16_t free_port(void)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(0x7f000101)};
    socklen_t len = sizeof(a);
    int fd = socket(AF_INET, SOCK_STREAM, 0);

    assert_int_equal(bind(fd, (struct sockaddr *)&a, len), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&a, &len), 0);
    close(fd);
    return ntohs(a.sin_port);
}

static inline void make_certificates(const char *dir)
{
    shell("cd %s && openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 9 "
          "-subj '/CN=Test CA' -keyout ca.key -out ca.crt 2>/dev/null",
          dir);
    for (int n = 1; n <= 2; n++) {
        shell("mkdir -p %s/n%d/tls && cd %s/n%d/tls && cp ../../ca.crt . && "
              "printf 'subjectAltName=IP:127.0.1.%d' >ext && "
              "openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=n%d "
              "-keyout node.key -out csr 2>/dev/null && "
              "openssl x509 -req -in csr -CA ../../ca.crt -CAkey ../../ca.key -CAcreateserial "
              "-days 9 -extfile ext -out node.crt 2>/dev/null && chmod 600 node.key",
              dir, n, dir, n, n, n);
    }
}

static inline void write_conf(const char *dir, int n, uint16_t port)
{
    char path[128];
    FILE *f;

    snprintf(path, sizeof(path), "%s/n%d/node.conf", dir, n);
    f = fopen(path, "w");
    fprintf(f,
            "node = %d\ndomain = muster.test\nnodes = 1:n1:1:127.0.1.1 2:n2:1:127.0.1.2\n"
            "postgres_bin = /usr/lib/postgresql/15/bin\nport.database = %u\n"
            "conninfo = host=127.0.1.1,127.0.1.2 port=%u dbname=muster user=muster "
            "sslmode=verify-full sslrootcert=%s/ca.crt sslcert=%s/n%d/tls/node.crt "
            "sslkey=%s/n%d/tls/node.key connect_timeout=2\n",
            n, port, port, dir, dir, n, dir, n);
    fclose(f);
}

static inline void on_status(void *ctx, const struct postgres_status *status)
{
    struct test_node *n = ctx;

    (void)status;
    n->changes++;
}

static inline void open_node(struct cluster *c, int n)
{
    struct postgres_config config = {
        .conf = &c->nodes[n].conf, .on_status = on_status, .ctx = &c->nodes[n]};

    c->nodes[n].postgres = postgres_start(&c->loop, &config);
}

static inline int cluster_up(struct cluster *c)
{
    uint16_t port = free_port();
    char dir[96];
    struct err e;

    log_init("test", "-", getenv("TEST_LOG") ? LOG_DEBUG : LOG_ERROR);
    signal(SIGPIPE, SIG_IGN);
    umask(077);
    snprintf(c->dir, sizeof(c->dir), "/tmp/muster-test-XXXXXX");
    assert_non_null(mkdtemp(c->dir));
    shell("cp -r deploy/schema %s/", c->dir); /* nobody may not be let into the tree */
    if (geteuid() == 0) {
        shell("chown -R 65534:65534 %s", c->dir);
        if (setgid(65534) != 0 || setuid(65534) != 0)
            return -1;
    }
    make_certificates(c->dir);
    uv_loop_init(&c->loop);
    uv_timer_init(&c->loop, &c->guard);
    for (int n = 1; n <= 2; n++) {
        write_conf(c->dir, n, port);
        snprintf(dir, sizeof(dir), "%s/n%d", c->dir, n);
        if (conf_load(dir, &c->nodes[n].conf, &e) != 0)
            fail_msg("%s", e.text);
        open_node(c, n);
    }
    return 0;
}

static inline void kill_postmaster(const struct cluster *c, int n)
{
    uint32_t pid = postgres_status(c->nodes[n].postgres)->pid;

    assert_true(pid > 1); /* 0 would be all of us */
    kill((pid_t)pid, SIGKILL);
}

/* By the pid file, so that it also cleans up after a test that failed. */
static inline void end_postmaster(const struct cluster *c, int n)
{
    char path[128], line[32];
    FILE *f;

    snprintf(path, sizeof(path), "%s/n%d/data/postmaster.pid", c->dir, n);
    f = fopen(path, "r");
    if (!f)
        return;
    if (fgets(line, sizeof(line), f) && strtol(line, NULL, 10) > 1)
        kill((pid_t)strtol(line, NULL, 10), SIGQUIT);
    fclose(f);
}

static inline int cluster_down(struct cluster *c)
{
    for (int n = 1; n <= 2; n++) {
        postgres_close(c->nodes[n].postgres);
        end_postmaster(c, n);
    }
    uv_close((uv_handle_t *)&c->guard, NULL);
    uv_run(&c->loop, UV_RUN_DEFAULT);
    if (uv_loop_close(&c->loop) != 0)
        return -1;
    if (!getenv("TEST_KEEP"))
        shell("sleep 0.3; rm -rf %s", c->dir);
    return 0;
}

static inline void on_guard(uv_timer_t *timer)
{
    *(bool *)timer->data = true;
}

/* Turns the loop until `condition`; fails the test after WAIT_MS. */
#define UNTIL(c, condition)                                                                        \
    do {                                                                                           \
        bool late = false;                                                                         \
        (c)->guard.data = &late;                                                                   \
        uv_timer_start(&(c)->guard, on_guard, WAIT_MS, 0);                                         \
        while (!(condition) && !late)                                                              \
            uv_run(&(c)->loop, UV_RUN_ONCE);                                                       \
        uv_timer_stop(&(c)->guard);                                                                \
        if (late)                                                                                  \
            fail_msg("line %d: it did not come: %s", __LINE__, #condition);                        \
    } while (0)

static inline const struct postgres_status *status_of(struct cluster *c, int n)
{
    return postgres_status(c->nodes[n].postgres);
}

static inline void on_done(void *ctx, int status, const char *why)
{
    struct answer *a = ctx;

    assert_false(a->came); /* once */
    a->came = true;
    a->status = status;
    snprintf(a->why, sizeof(a->why), "%s", why);
}

static inline void begin(struct cluster *c, int n, enum postgres_op op, uint32_t peer,
                         struct answer *a)
{
    struct postgres_request r = {.op = op, .peer = peer, .done = on_done, .ctx = a};

    memset(a, 0, sizeof(*a));
    postgres_run(c->nodes[n].postgres, &r);
}

/* Runs an operation to its end and checks how it ended. */
static inline void expect(struct cluster *c, int n, enum postgres_op op, uint32_t peer, int status)
{
    struct answer a;

    begin(c, n, op, peer, &a);
    UNTIL(c, a.came);
    if (a.status != status)
        fail_msg("%s on node %d: %d %s", postgres_op_name(op), n, a.status, a.why);
}

static inline void expect_synchronous(struct cluster *c, int n, uint32_t standby, int status)
{
    struct answer a = {0};

    postgres_set_synchronous(c->nodes[n].postgres, standby, on_done, &a);
    assert_false(a.came);
    UNTIL(c, a.came);
    if (a.status != status)
        fail_msg("synchronous %u on node %d: %d %s", standby, n, a.status, a.why);
}

/* As another process would, over the node's socket. */
static inline PGconn *open_sql(struct cluster *c, int n, const char *database)
{
    char conninfo[256];
    PGconn *conn;

    snprintf(conninfo, sizeof(conninfo), "host=%s/n%d/run port=%u user=muster dbname=%s", c->dir, n,
             c->nodes[n].conf.ports[CONF_PORT_DATABASE], database);
    conn = PQconnectdb(conninfo);
    if (PQstatus(conn) != CONNECTION_OK)
        fail_msg("%s", PQerrorMessage(conn));
    return conn;
}

/* The first value; "" when there is none. */
static inline void sql(struct cluster *c, int n, const char *text, char *ret_value, size_t size)
{
    PGconn *conn = open_sql(c, n, "muster");
    PGresult *r = PQexec(conn, text);

    if (PQresultStatus(r) != PGRES_COMMAND_OK && PQresultStatus(r) != PGRES_TUPLES_OK)
        fail_msg("%s: %s", text, PQerrorMessage(conn));
    if (ret_value)
        snprintf(ret_value, size, "%s", PQntuples(r) ? PQgetvalue(r, 0, 0) : "");
    PQclear(r);
    PQfinish(conn);
}

static inline bool sql_is(struct cluster *c, int n, const char *text, const char *value)
{
    char got[128];

    sql(c, n, text, got, sizeof(got));
    return strcmp(got, value) == 0;
}
