// SPDX-License-Identifier: Apache-2.0
/*
 * The front: which operation is in progress, which comes next, and who is to be told what. What is
 * seen of PostgreSQL is in pg/watch.c, how operations are done in pg/operation.c and pg/plans.c.
 *
 * Nothing calls back from within a call of ours: what has ended waits in a list for `soon`, a timer
 * of 0 ms, which also begins the next operation.
 */
#include "recoveryd/postgres.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "common/buf.h"
#include "common/log.h"
#include "common/mem.h"
#include "common/util.h"
#include "recoveryd/pg/files.h"
#include "recoveryd/pg/operation.h"
#include "recoveryd/pg/settings.h"
#include "recoveryd/pg/watch.h"

enum { SHORT_MS = 30000, LONG_MS = 600000, SYNCHRONOUS_MS = 10000 };

/* Somebody who waits for a done callback. */
struct waiter {
    struct waiter *next;
    postgres_done_cb *done;
    void *ctx;
    int status;
    char why[POSTGRES_WHY_MAX];
};

struct postgres {
    struct postgres_config config;
    uv_loop_t *loop;
    struct watch *watch;
    unsigned handles;
    bool closed;
    uv_timer_t soon;
    struct waiter *ended, **ended_end;

    struct operation *op; /* in progress */
    struct postgres_request request;
    uint64_t began;
    uv_timer_t deadline;
    bool has_next; /* the newest wish; begins when `op` has ended */
    struct postgres_request next;

    /* set_synchronous(): the file is written on a thread, then PostgreSQL reads it. */
    bool synchronous_pending; /* somebody wants to know */
    bool writing, written;
    uint32_t synchronous; /* wanted */
    uint32_t writing_node;
    uint64_t synchronous_began;
    postgres_done_cb *synchronous_done;
    void *synchronous_ctx;
    uv_work_t work;
    int work_result;
    struct err work_err;
};

const char *postgres_op_name(enum postgres_op op)
{
    static const char *const names[] = {
        [POSTGRES_INIT_PRIMARY] = "init_primary", [POSTGRES_START] = "start",
        [POSTGRES_MAKE_STANDBY] = "make_standby", [POSTGRES_REJOIN] = "rejoin",
        [POSTGRES_PROMOTE] = "promote",           [POSTGRES_STOP] = "stop",
    };

    return (size_t)op < ARRAY_LEN(names) ? names[op] : "?";
}

/* ---- telling ---- */

static void on_soon(uv_timer_t *timer);

static void act_soon(struct postgres *p)
{
    if (!p->closed)
        uv_timer_start(&p->soon, on_soon, 0, 0);
}

static void tell(struct postgres *p, postgres_done_cb *done, void *ctx, int status, const char *why)
{
    struct waiter *w = mem_new(sizeof(*w));

    w->done = done;
    w->ctx = ctx;
    w->status = status;
    snprintf(w->why, sizeof(w->why), "%s", why);
    *p->ended_end = w;
    p->ended_end = &w->next;
    act_soon(p);
}

static void call_ended(struct postgres *p)
{
    while (p->ended) {
        struct waiter *w = p->ended;

        p->ended = w->next;
        if (!p->ended)
            p->ended_end = &p->ended;
        if (w->done)
            w->done(w->ctx, w->status, w->why);
        mem_free(w);
    }
}

/* ---- operations ---- */

static void on_operation_end(void *ctx, int status, const char *why)
{
    struct postgres *p = ctx;

    p->op = NULL;
    uv_timer_stop(&p->deadline);
    if (status == POSTGRES_OK || status == POSTGRES_CANCELLED)
        log_info("postgres_operation", log_str("op", postgres_op_name(p->request.op)),
                 log_u64("status", (uint64_t)status),
                 log_u64("took_ms", uv_now(p->loop) - p->began));
    else
        log_warning("postgres_operation", log_str("op", postgres_op_name(p->request.op)),
                    log_u64("status", (uint64_t)status), log_str("why", why),
                    log_u64("took_ms", uv_now(p->loop) - p->began));
    tell(p, p->request.done, p->request.ctx, status, why);
}

static void on_deadline(uv_timer_t *timer)
{
    struct postgres *p = timer->data;
    char why[POSTGRES_WHY_MAX];

    if (!p->op)
        return;
    snprintf(why, sizeof(why), "%s took longer than %llu ms", postgres_op_name(p->request.op),
             (unsigned long long)p->request.timeout_ms);
    operation_abort(p->op, POSTGRES_TIMEOUT, why);
}

static void begin_next(struct postgres *p)
{
    if (p->op || !p->has_next || p->closed)
        return;
    p->has_next = false;
    p->request = p->next;
    p->began = uv_now(p->loop);
    log_info("postgres_begin", log_str("op", postgres_op_name(p->request.op)),
             log_u64("peer", p->request.peer));
    p->op = operation_start(p->loop, p->config.conf, p->watch, &p->request, on_operation_end, p);
    uv_timer_start(&p->deadline, on_deadline, p->request.timeout_ms, 0);
}

static void on_soon(uv_timer_t *timer)
{
    struct postgres *p = timer->data;

    call_ended(p);
    begin_next(p);
}

static uint64_t default_timeout(enum postgres_op op)
{
    bool is_short = op == POSTGRES_START || op == POSTGRES_STOP || op == POSTGRES_PROMOTE;

    return is_short ? SHORT_MS : LONG_MS;
}

static void cancel_next(struct postgres *p)
{
    if (p->has_next)
        tell(p, p->next.done, p->next.ctx, POSTGRES_CANCELLED, "a newer operation was asked for");
    p->has_next = false;
}

void postgres_cancel(struct postgres *p)
{
    cancel_next(p);
    if (p->op)
        operation_abort(p->op, POSTGRES_CANCELLED, "a newer operation was asked for");
}

void postgres_run(struct postgres *p, const struct postgres_request *request)
{
    postgres_cancel(p);
    p->next = *request;
    if (!p->next.timeout_ms)
        p->next.timeout_ms = default_timeout(request->op);
    p->has_next = true;
    act_soon(p);
}

bool postgres_busy(const struct postgres *p)
{
    return p->op || p->has_next;
}

/* ---- synchronous or not ---- */

static void end_synchronous(struct postgres *p, int status, const char *why)
{
    if (!p->synchronous_pending)
        return;
    p->synchronous_pending = false;
    tell(p, p->synchronous_done, p->synchronous_ctx, status, why);
}

static void on_write(uv_work_t *work)
{
    struct postgres *p = CONTAINER_OF(work, struct postgres, work);
    char path[CONF_PATH_MAX + 64];
    struct buf b;

    buf_init(&b, SETTINGS_TEXT_MAX);
    settings_synchronous(&b, p->writing_node);
    snprintf(path, sizeof(path), "%s/postgres/synchronous.conf", p->config.conf->dir);
    p->work_result = files_write(path, buf_str(&b), NULL, &p->work_err);
    buf_done(&b);
}

static void on_handle_closed(uv_handle_t *handle)
{
    struct postgres *p = handle->data;

    if (--p->handles == 0)
        mem_free(p);
}

static void write_synchronous(struct postgres *p);

static void on_written(uv_work_t *work, int status)
{
    struct postgres *p = CONTAINER_OF(work, struct postgres, work);

    (void)status;
    p->writing = false;
    if (--p->handles == 0) {
        mem_free(p);
        return;
    }
    if (p->closed)
        return;
    if (p->work_result != 0) {
        end_synchronous(p, POSTGRES_FAILED, p->work_err.text);
    } else if (p->writing_node != p->synchronous) {
        write_synchronous(p);
    } else {
        p->written = true;
        watch_signal(p->watch, SIGHUP);
    }
}

static void write_synchronous(struct postgres *p)
{
    if (p->writing)
        return; /* on_written() sees the newer wish */
    p->writing = true;
    p->written = false;
    p->writing_node = p->synchronous;
    p->handles++;
    (void)uv_queue_work(p->loop, &p->work, on_write, on_written); /* fails only without callback */
}

static void check_synchronous(struct postgres *p)
{
    const struct postgres_status *s = watch_status(p->watch);

    if (!p->synchronous_pending)
        return;
    if (p->written && s->up && s->synchronous == p->synchronous)
        end_synchronous(p, POSTGRES_OK, "");
    else if (!s->running || s->standby)
        end_synchronous(p, POSTGRES_FAILED, "PostgreSQL ended or became a standby");
    else if (uv_now(p->loop) - p->synchronous_began >= SYNCHRONOUS_MS)
        end_synchronous(p, POSTGRES_TIMEOUT, "PostgreSQL did not take the setting");
}

void postgres_set_synchronous(struct postgres *p, uint32_t node, postgres_done_cb *done, void *ctx)
{
    const struct postgres_status *s = watch_status(p->watch);

    end_synchronous(p, POSTGRES_CANCELLED, "a newer setting was asked for");
    if (!s->running || s->standby) {
        tell(p, done, ctx, POSTGRES_REFUSED, "there is no running primary on this node");
        return;
    }
    p->synchronous_pending = true;
    p->synchronous = node;
    p->synchronous_done = done;
    p->synchronous_ctx = ctx;
    p->synchronous_began = uv_now(p->loop);
    write_synchronous(p);
}

/* ---- the whole ---- */

static void on_change(void *ctx)
{
    struct postgres *p = ctx;

    check_synchronous(p);
    if (p->op)
        operation_poll(p->op);
    p->config.on_status(p->config.ctx, watch_status(p->watch));
}

static void on_tick(void *ctx)
{
    struct postgres *p = ctx;

    check_synchronous(p);
    if (p->op)
        operation_poll(p->op);
}

struct postgres *postgres_start(uv_loop_t *loop, const struct postgres_config *config)
{
    struct postgres *p = mem_new(sizeof(*p));
    struct watch_config watch = {
        .conf = config->conf, .on_change = on_change, .on_tick = on_tick, .ctx = p};

    p->config = *config;
    p->loop = loop;
    p->ended_end = &p->ended;
    p->handles = 2;
    uv_timer_init(loop, &p->soon);
    uv_timer_init(loop, &p->deadline);
    p->soon.data = p;
    p->deadline.data = p;
    p->watch = watch_start(loop, &watch);
    return p;
}

void postgres_close(struct postgres *p)
{
    if (!p)
        return;
    p->closed = true;
    cancel_next(p);
    if (p->op) {
        operation_abandon(p->op);
        p->op = NULL;
        tell(p, p->request.done, p->request.ctx, POSTGRES_CANCELLED, "recoveryd stops");
    }
    end_synchronous(p, POSTGRES_CANCELLED, "recoveryd stops");
    call_ended(p);
    watch_close(p->watch);
    uv_close((uv_handle_t *)&p->soon, on_handle_closed);
    uv_close((uv_handle_t *)&p->deadline, on_handle_closed);
}

const struct postgres_status *postgres_status(const struct postgres *p)
{
    return watch_status(p->watch);
}

void postgres_local_conninfo(const struct postgres *p, const char *database, char *ret_conninfo,
                             size_t size)
{
    watch_conninfo(p->watch, database, ret_conninfo, size);
}
