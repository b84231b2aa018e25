// SPDX-License-Identifier: Apache-2.0
/*
 * How a plan is carried out. The plans themselves, and their steps, are in plans.c.
 *
 * A step ends by calling exactly one of operation_next(), operation_fail() and operation_follow(),
 * at once or from the callback of what it began. Until then an abort waits for that callback,
 * except where it can be made sure that none comes.
 */
#include "recoveryd/pg/operation.h"

#include <stdarg.h>
#include <stdio.h>

#include "common/mem.h"
#include "common/util.h"
#include "recoveryd/pg/plans.h"

static void end(struct operation *op, int result)
{
    operation_end_cb *on_end = op->on_end;
    void *ctx = op->ctx;
    char why[POSTGRES_WHY_MAX];

    snprintf(why, sizeof(why), "%s", result == POSTGRES_OK ? "" : op->why);
    watch_hurry(op->watch, false);
    mem_free(op);
    on_end(ctx, result, why);
}

static void run_step(struct operation *op)
{
    operation_step *step = op->plan[op->at];

    op->await = NULL;
    op->attempts = 0;
    op->retry_at = 0;
    op->step_began = uv_now(op->loop);
    if (step)
        step(op);
    else
        end(op, POSTGRES_OK);
}

void operation_next(struct operation *op)
{
    op->at++;
    run_step(op);
}

void operation_follow(struct operation *op, operation_step *const *plan)
{
    op->plan = plan;
    op->at = 0;
    run_step(op);
}

void operation_fail(struct operation *op, int result, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    vsnprintf(op->why, sizeof(op->why), format, args);
    va_end(args);
    end(op, result);
}

/* ---- work on a thread ---- */

static void on_work(uv_work_t *work)
{
    struct operation *op = CONTAINER_OF(work, struct operation, work);

    op->work_result = op->file_work(op, &op->work_err);
}

static void on_worked(uv_work_t *work, int status)
{
    struct operation *op = CONTAINER_OF(work, struct operation, work);

    (void)status;
    op->working = false;
    if (op->abandoned)
        mem_free(op);
    else if (op->ending)
        end(op, op->ending);
    else if (op->work_result != 0)
        operation_fail(op, POSTGRES_FAILED, "%s", op->work_err.text);
    else
        op->on_worked(op);
}

void operation_work(struct operation *op, operation_file_work *work, operation_step *then)
{
    op->working = true;
    op->file_work = work;
    op->on_worked = then;
    (void)uv_queue_work(op->loop, &op->work, on_work, on_worked); /* fails only without callback */
}

/* ---- a tool ---- */

static void on_child_exit(void *ctx, int status, const char *output)
{
    struct operation *op = ctx;

    op->child = NULL;
    if (op->ending)
        end(op, op->ending);
    else
        op->on_child(op, status, output);
}

void operation_tool(struct operation *op, const char *const *args, operation_child_cb *then)
{
    struct child_config config = {.args = args, .on_exit = on_child_exit, .ctx = op};

    op->on_child = then;
    op->child = child_start(op->loop, &config);
}

/* ---- a statement ---- */

static void on_rows(void *ctx, const PGresult *rows, const char *why)
{
    struct operation *op = ctx;

    op->querying = false;
    if (rows)
        op->on_rows(op, rows);
    else
        operation_fail(op, POSTGRES_FAILED, "PostgreSQL said: %s", why);
}

void operation_query(struct operation *op, const char *sql, operation_rows_cb *then)
{
    if (!watch_status(op->watch)->up) {
        operation_fail(op, POSTGRES_FAILED, "PostgreSQL stopped answering");
        return;
    }
    op->querying = true;
    op->on_rows = then;
    watch_query(op->watch, sql, on_rows, op);
}

/* ---- waiting ---- */

void operation_await(struct operation *op, operation_step *until)
{
    op->await = until;
    watch_hurry(op->watch, true);
}

void operation_poll(struct operation *op)
{
    if (op->querying && !watch_status(op->watch)->up) {
        op->querying = false; /* its callback went with the connection */
        operation_fail(op, POSTGRES_FAILED, "PostgreSQL stopped answering");
    } else if (op->await) {
        op->await(op);
    }
}

/* ---- from outside ---- */

struct operation *operation_start(uv_loop_t *loop, const struct conf *conf, struct watch *watch,
                                  const struct postgres_request *request, operation_end_cb *on_end,
                                  void *ctx)
{
    struct operation *op = mem_new(sizeof(*op));

    op->loop = loop;
    op->conf = conf;
    op->watch = watch;
    op->request = *request;
    op->on_end = on_end;
    op->ctx = ctx;
    op->plan = plans_of(request->op);
    watch_look(watch);
    operation_await(op, plans_begin);
    return op;
}

void operation_abort(struct operation *op, int status, const char *why)
{
    snprintf(op->why, sizeof(op->why), "%s", why);
    if (op->working || op->child) {
        op->ending = status;
        if (op->child)
            child_kill(op->child);
        return;
    }
    if (op->querying)
        watch_drop(op->watch);
    end(op, status);
}

void operation_abandon(struct operation *op)
{
    if (op->child)
        child_abandon(op->child);
    op->abandoned = true;
    if (!op->working)
        mem_free(op);
}
