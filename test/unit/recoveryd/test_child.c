// SPDX-License-Identifier: Apache-2.0
/*
 * Tools that run: their end, their output, and that none outlives the one who started it.
 */
#include <errno.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/util.h"
#include "recoveryd/pg/child.h"

struct outcome {
    unsigned count;
    int status;
    char output[CHILD_OUTPUT_MAX + 1];
};

static void on_exit_of_it(void *ctx, int status, const char *output)
{
    struct outcome *o = ctx;

    o->count++;
    o->status = status;
    snprintf(o->output, sizeof(o->output), "%s", output);
}

static struct child *start(uv_loop_t *loop, const char *script, struct outcome *o)
{
    const char *const args[] = {"/bin/sh", "-c", script, NULL};
    struct child_config config = {.args = args, .on_exit = on_exit_of_it, .ctx = o};
    struct child *c;

    memset(o, 0, sizeof(*o));
    c = child_start(loop, &config);
    assert_int_equal(o->count, 0);
    return c;
}

static void output_and_status(void **state)
{
    struct outcome o;
    uv_loop_t loop;

    (void)state;
    uv_loop_init(&loop);
    start(&loop, "echo one; echo two >&2; exit 3", &o);
    uv_run(&loop, UV_RUN_DEFAULT);
    assert_int_equal(o.count, 1);
    assert_int_equal(o.status, 3);
    assert_string_equal(o.output, "one\ntwo\n");

    /* Only the end is kept. */
    start(&loop, "i=0; while [ $i -lt 9999 ]; do echo line $i; i=$((i + 1)); done", &o);
    uv_run(&loop, UV_RUN_DEFAULT);
    assert_int_equal(o.status, 0);
    assert_non_null(strstr(o.output, "\nline 9998\n"));
    assert_null(strstr(o.output, "line 1\n"));

    start(&loop, "kill -9 $$", &o);
    uv_run(&loop, UV_RUN_DEFAULT);
    assert_int_equal(o.status, 128 + SIGKILL);
    assert_int_equal(uv_loop_close(&loop), 0);
}

static void what_cannot_be_run(void **state)
{
    const char *const args[] = {"/nonexistent/tool", NULL};
    struct child_config config = {.args = args, .on_exit = on_exit_of_it};
    struct outcome o = {0};
    uv_loop_t loop;

    (void)state;
    config.ctx = &o;
    uv_loop_init(&loop);
    child_start(&loop, &config);
    uv_run(&loop, UV_RUN_DEFAULT);
    assert_int_equal(o.count, 1);
    assert_int_not_equal(o.status, 0);
    assert_non_null(strstr(o.output, "/nonexistent/tool"));
    assert_int_equal(uv_loop_close(&loop), 0);
}

static void kill_and_abandon(void **state)
{
    struct outcome o;
    struct child *c;
    uv_loop_t loop;

    (void)state;
    uv_loop_init(&loop);
    c = start(&loop, "sleep 60 & sleep 60", &o); /* its children too */
    child_kill(c);
    uv_run(&loop, UV_RUN_DEFAULT);
    assert_int_equal(o.count, 1);
    assert_int_equal(o.status, 128 + SIGTERM);

    c = start(&loop, "sleep 60", &o);
    child_abandon(c);
    uv_run(&loop, UV_RUN_DEFAULT);
    assert_int_equal(o.count, 0);
    assert_int_equal(uv_loop_close(&loop), 0);
}

/* The other end of the pipe is held by the tool alone, once its parent is dead. */
static void none_outlives_us(void **state)
{
    struct pollfd p;
    int ends[2];
    pid_t pid;
    char c;

    (void)state;
    assert_int_equal(pipe(ends), 0);
    pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        char script[64];
        struct outcome o;
        uv_loop_t loop;

        snprintf(script, sizeof(script), "echo x >/proc/%d/fd/%d; exec sleep 60", (int)getpid(),
                 ends[1]);
        uv_loop_init(&loop);
        start(&loop, script, &o);
        uv_run(&loop, UV_RUN_DEFAULT);
        _exit(0);
    }
    assert_int_equal(read(ends[0], &c, 1), 1); /* it runs */
    close(ends[1]);
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
    p = (struct pollfd){.fd = ends[0], .events = POLLIN};
    while (poll(&p, 1, 10000) == 1 && read(ends[0], &c, 1) > 0)
        ;
    assert_true(p.revents & POLLHUP);
    close(ends[0]);
}

static void last_words(void **state)
{
    static const struct {
        const char *output, *words;
    } cases[] = {
        {"", ""},
        {"\n\n", ""},
        {"one", "one"},
        {"one\ntwo\n\n", "two"},
        {"psql: error: connection failed\n\tIs the server running?\n",
         "psql: error: connection failed"},
        {"pg_rewind: fatal: no\npg_rewind: hint: try\npg_rewind: detail: x\n",
         "pg_rewind: fatal: no"},
    };
    char words[40];

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        child_last_words(cases[i].output, words, sizeof(words));
        assert_string_equal(words, cases[i].words);
    }
    child_last_words("0123456789012345678901234567890123456789", words, sizeof(words));
    assert_int_equal(strlen(words), sizeof(words) - 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(output_and_status), cmocka_unit_test(what_cannot_be_run),
        cmocka_unit_test(kill_and_abandon),  cmocka_unit_test(none_outlives_us),
        cmocka_unit_test(last_words),
    };

    signal(SIGPIPE, SIG_IGN);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
