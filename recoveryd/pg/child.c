// SPDX-License-Identifier: Apache-2.0
#include "recoveryd/pg/child.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/mem.h"
#include "common/str.h"

enum { KILL_AFTER_MS = 2000, DRAIN_MS = 500 };

struct child {
    struct child_config config;
    uv_process_t process;
    uv_pipe_t pipe;
    uv_timer_t timer; /* first: from SIGTERM to SIGKILL; then: from the end to the last output */
    unsigned handles;
    bool has_process; /* `process` is a handle that must be closed */
    bool spawned, exited, told;
    int status;
    size_t len;
    char output[CHILD_OUTPUT_MAX + 1];
};

static void on_handle_closed(uv_handle_t *handle)
{
    struct child *c = handle->data;

    if (--c->handles == 0)
        mem_free(c);
}

static void close_all(struct child *c)
{
    if (c->has_process)
        uv_close((uv_handle_t *)&c->process, on_handle_closed);
    uv_close((uv_handle_t *)&c->pipe, on_handle_closed);
    uv_close((uv_handle_t *)&c->timer, on_handle_closed);
}

static void tell(struct child *c)
{
    if (c->told)
        return;
    c->told = true;
    c->output[c->len] = '\0';
    close_all(c);
    c->config.on_exit(c->config.ctx, c->status, c->output);
}

static void on_drained(uv_timer_t *timer)
{
    tell(timer->data);
}

/* A grandchild may hold the pipe open: its last output is waited for, but not for long. */
static void on_exit(uv_process_t *process, int64_t status, int signal)
{
    struct child *c = process->data;

    c->exited = true;
    c->status = signal ? 128 + signal : (int)status;
    uv_timer_start(&c->timer, on_drained, DRAIN_MS, 0);
    if (!uv_is_active((uv_handle_t *)&c->pipe))
        tell(c);
}

/* Always room for half of the buffer: the older half goes when it is full. */
static void on_alloc(uv_handle_t *handle, size_t size, uv_buf_t *ret_buf)
{
    struct child *c = handle->data;
    size_t half = CHILD_OUTPUT_MAX / 2;

    (void)size;
    if (c->len > half) {
        memmove(c->output, c->output + c->len - half, half);
        c->len = half;
    }
    *ret_buf = uv_buf_init(c->output + c->len, (unsigned)(CHILD_OUTPUT_MAX - c->len));
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
    struct child *c = stream->data;

    (void)buf;
    if (n >= 0) {
        c->len += (size_t)n;
        return;
    }
    uv_read_stop(stream);
    if (c->exited)
        tell(c);
}

/* Standard output and error in one pipe, in the order in which they were written. */
static int spawn(uv_loop_t *loop, struct child *c)
{
    /* It dies with us: a successor of ours must not meet a pg_rewind that is still at work. */
    char *args[CHILD_ARGS_MAX + 5] = {"setpriv", "--pdeathsig", "KILL", "--"};
    uv_file ends[2];
    int r = uv_pipe(ends, UV_NONBLOCK_PIPE, 0);

    if (r != 0)
        return r;
    r = uv_pipe_open(&c->pipe, ends[0]);
    if (r != 0) {
        close(ends[0]);
        close(ends[1]);
        return r;
    }
    for (size_t i = 0; i < CHILD_ARGS_MAX && c->config.args[i]; i++)
        args[i + 4] = (char *)c->config.args[i];

    uv_stdio_container_t stdio[] = {
        {.flags = UV_IGNORE},
        {.flags = UV_INHERIT_FD, .data.fd = ends[1]},
        {.flags = UV_INHERIT_FD, .data.fd = ends[1]},
    };
    uv_process_options_t options = {
        .file = args[0],
        .args = args,
        .cwd = "/", /* PostgreSQL's tools complain, in their output, of one that we may not enter */
        .exit_cb = on_exit,
        .stdio = stdio,
        .stdio_count = 3,
        .flags = UV_PROCESS_DETACHED, /* a Ctrl-C on the terminal is for recoveryd */
    };
    c->has_process = true;
    c->handles++;
    r = uv_spawn(loop, &c->process, &options);
    close(ends[1]);
    c->spawned = r == 0;
    if (c->spawned)
        (void)uv_read_start((uv_stream_t *)&c->pipe, on_alloc, on_read); /* without: no output */
    return r;
}

struct child *child_start(uv_loop_t *loop, const struct child_config *config)
{
    struct child *c = mem_new(sizeof(*c));
    int r;

    c->config = *config;
    c->process.data = c;
    c->pipe.data = c;
    c->timer.data = c;
    c->handles = 2;
    uv_pipe_init(loop, &c->pipe, 0);
    uv_timer_init(loop, &c->timer);
    r = spawn(loop, c);
    if (r != 0) {
        c->status = 127;
        c->len = (size_t)snprintf(c->output, CHILD_OUTPUT_MAX, "%s: %s", config->args[0],
                                  uv_strerror(r));
        uv_timer_start(&c->timer, on_drained, 0, 0);
    }
    return c;
}

static void on_kill(uv_timer_t *timer)
{
    struct child *c = timer->data;

    uv_kill(-c->process.pid, SIGKILL);
}

/* The group, since tools have children of their own (pg_basebackup, initdb). */
void child_kill(struct child *c)
{
    if (!c->spawned || c->exited)
        return;
    uv_kill(-c->process.pid, SIGTERM);
    uv_timer_start(&c->timer, on_kill, KILL_AFTER_MS, 0);
}

void child_abandon(struct child *c)
{
    if (c->spawned && !c->exited)
        uv_kill(-c->process.pid, SIGKILL);
    c->told = true;
    close_all(c);
}

/* PostgreSQL's tools say "psql: error: ...", and then hints, indented or labelled. */
static bool is_hint(struct str line)
{
    return str_empty(str_trim(line)) || line.p[0] == '\t' || line.p[0] == ' ' ||
           memmem(line.p, line.len, "hint:", 5) || memmem(line.p, line.len, "detail:", 7);
}

void child_last_words(const char *output, char *ret_line, size_t size)
{
    struct str line, words = {"", 0}, rest = str_of(output);

    while (rest.len) {
        (void)str_cut(rest, '\n', &line, &rest); /* without a newline it is the last one */
        if (!is_hint(line))
            words = str_trim(line);
    }
    snprintf(ret_line, size, "%.*s", STR_ARG(str_utf8_prefix(words, size - 1)));
}
