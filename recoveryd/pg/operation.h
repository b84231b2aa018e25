// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * One operation on the cluster: a plan, which is a list of steps, done one after the other. A step
 * is a tool that runs, a change on disk (on a thread), a statement, or something that is waited
 * for. A step may choose another plan.
 */
#include <uv.h>

#include "recoveryd/pg/child.h"
#include "recoveryd/pg/watch.h"
#include "recoveryd/postgres.h"

struct operation;

/* `status`: POSTGRES_OK, ...; once, and then the operation is gone. */
typedef void operation_end_cb(void *ctx, int status, const char *why);

/* Begins at the first operation_poll() after a look at the disk. */
struct operation *operation_start(uv_loop_t *loop, const struct conf *conf, struct watch *watch,
                                  const struct postgres_request *request, operation_end_cb *on_end,
                                  void *ctx);
/* From the watch: look whether what is waited for has come. */
void operation_poll(struct operation *op);
/* Ends it with `status`, at once or when the step can be left. */
void operation_abort(struct operation *op, int status, const char *why);
/* on_end does not come; what runs is killed, or left to its thread. */
void operation_abandon(struct operation *op);

/* ---- for steps ---- */

typedef void operation_step(struct operation *op);
typedef int operation_file_work(struct operation *op, struct err *ret_err); /* on a thread */
typedef void operation_child_cb(struct operation *op, int status, const char *output);
typedef void operation_rows_cb(struct operation *op, const PGresult *rows);

struct operation {
    uv_loop_t *loop;
    const struct conf *conf;
    struct watch *watch;
    struct postgres_request request;
    operation_end_cb *on_end;
    void *ctx;

    operation_step *const *plan; /* ends with NULL */
    size_t at;
    int ending; /* aborted: the status to end with; 0: go on */
    char why[POSTGRES_WHY_MAX];

    /* Of the step: zero when it begins. */
    operation_step *await; /* called at each poll */
    unsigned attempts;
    uint64_t retry_at, step_began; /* of the loop's clock */

    bool settings_changed; /* by file work */

    uv_work_t work;
    operation_file_work *file_work;
    operation_step *on_worked;
    struct err work_err;
    int work_result;
    bool working, abandoned;

    struct child *child;
    operation_child_cb *on_child;

    operation_rows_cb *on_rows;
    bool querying;
};

void operation_next(struct operation *op);
void operation_follow(struct operation *op, operation_step *const *plan);
void operation_fail(struct operation *op, int result, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Each ends the step's turn; `then` comes later. A failure of work or query fails the operation. */
void operation_work(struct operation *op, operation_file_work *work, operation_step *then);
void operation_tool(struct operation *op, const char *const *args, operation_child_cb *then);
void operation_query(struct operation *op, const char *sql, operation_rows_cb *then);
void operation_await(struct operation *op, operation_step *until);
