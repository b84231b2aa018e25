// SPDX-License-Identifier: Apache-2.0
#include <stdio.h>

#include "common/log.h"
#include "recoveryd/pg/files.h"
#include "recoveryd/pg/plans.h"
#include "recoveryd/pg/settings.h"
#include "recoveryd/pg/steps.h"

enum { RECEIVING_MS = 8000 }; /* a standby that can stream does so: after 5 s its slot is free */

static void run_psql(struct operation *op, const char *sql, operation_child_cb *then)
{
    struct step_path psql = step_program(op, "psql");
    const char *args[] = {psql.text, "-XqAt", "-v", "ON_ERROR_STOP=1", "-d", NULL, "-c", sql, NULL};
    struct buf conninfo;

    buf_init(&conninfo, STEP_TEXT_MAX);
    settings_conninfo(&conninfo, op->conf, step_peer(op), "postgres", "recoveryd");
    args[5] = conninfo.data;
    operation_tool(op, args, then);
    buf_done(&conninfo);
}

static void on_peer_asked(struct operation *op, int result, const char *output)
{
    if (result != 0)
        step_fail_with_words(op, "asking the peer's database", output);
    else if (!str_eq_c(str_trim(str_of(output)), "f"))
        operation_fail(op, POSTGRES_FAILED, "the peer's database is not a primary");
    else
        operation_next(op);
}

/* First, so that nothing is given up for a peer that cannot be followed. */
void step_ask_peer(struct operation *op)
{
    if (!step_peer(op))
        operation_fail(op, POSTGRES_REFUSED, "there is no other node %u", op->request.peer);
    else
        run_psql(op, "SELECT pg_is_in_recovery()", on_peer_asked);
}

static void on_peer_prepared(struct operation *op, int result, const char *output)
{
    if (result != 0)
        step_fail_with_words(op, "preparing the peer's database", output);
    else
        operation_next(op);
}

static void run_preparation(struct operation *op, const char *first)
{
    struct buf sql;

    buf_init(&sql, STEP_TEXT_MAX);
    buf_puts(&sql, first);
    step_put_slot(&sql, op->conf->node);
    run_psql(op, sql.data, on_peer_prepared);
    buf_done(&sql);
}

void step_have_slot(struct operation *op)
{
    run_preparation(op, "");
}

/* The sender of our former standby may believe for five seconds that we are there. */
void step_free_slot(struct operation *op)
{
    struct buf sql;

    buf_init(&sql, STEP_TEXT_MAX);
    buf_printf(&sql,
               "SELECT pg_terminate_backend(active_pid, 2000) FROM pg_replication_slots"
               " WHERE slot_name = 'node%u' AND active_pid IS NOT NULL;",
               op->conf->node);
    run_preparation(op, sql.data);
    buf_done(&sql);
}

/* pg_rewind reads the peer's timeline from its last checkpoint. */
void step_make_checkpoint(struct operation *op)
{
    run_psql(op, "CHECKPOINT", on_peer_prepared);
}

static int mark_unusable(struct operation *op, struct err *ret_err)
{
    return files_mark(op->conf, ret_err);
}

void step_mark(struct operation *op)
{
    operation_work(op, mark_unusable, step_on_disk_changed);
}

static void on_rewound(struct operation *op, int result, const char *output)
{
    char words[STEP_WORDS_MAX];

    child_last_words(output, words, sizeof(words));
    log_info("postgres_rewind", log_u64("status", (uint64_t)result), log_str("said", words));
    if (result == 0)
        operation_next(op);
    else
        operation_follow(op, plans_copy);
}

void step_rewind(struct operation *op)
{
    struct step_path rewind = step_program(op, "pg_rewind"), data = step_in_dir(op, "data");
    const char *args[] = {rewind.text, "-D", data.text, "--source-server", NULL, NULL};
    struct buf conninfo;

    buf_init(&conninfo, STEP_TEXT_MAX);
    settings_conninfo(&conninfo, op->conf, step_peer(op), "postgres", "recoveryd");
    args[4] = conninfo.data;
    operation_tool(op, args, on_rewound);
    buf_done(&conninfo);
}

static int become_follower(struct operation *op, struct err *ret_err)
{
    return files_follow(op->conf, ret_err);
}

void step_follow(struct operation *op)
{
    operation_work(op, become_follower, step_on_disk_changed);
}

static void on_copied(struct operation *op, int result, const char *output)
{
    if (result == 0)
        operation_next(op);
    else
        step_fail_with_words(op, "pg_basebackup", output);
}

void step_copy(struct operation *op)
{
    struct step_path basebackup = step_program(op, "pg_basebackup"),
                     data = step_in_dir(op, "data.new");
    const char *args[] = {
        basebackup.text, "-D", data.text, "-d", NULL, "-X", "stream", "-S", NULL, "-c",
        "fast",          "-w", NULL};
    struct buf conninfo, slot;

    buf_init(&conninfo, STEP_TEXT_MAX);
    buf_init(&slot, 32);
    settings_conninfo(&conninfo, op->conf, step_peer(op), "replication", "recoveryd");
    settings_standby_name(&slot, op->conf->node);
    args[4] = conninfo.data;
    args[8] = slot.data;
    operation_tool(op, args, on_copied);
    buf_done(&slot);
    buf_done(&conninfo);
}

/* A standby that cannot stream (its WAL is gone there, or it went another way) needs a new copy. */
void step_be_receiving(struct operation *op)
{
    if (step_status(op)->receiving) {
        operation_next(op);
        return;
    }
    operation_await(op, step_be_receiving);
    if (op->plan != plans_copy && uv_now(op->loop) - op->step_began >= RECEIVING_MS) {
        log_warning("postgres_cannot_follow", log_u64("peer", op->request.peer));
        operation_follow(op, plans_copy);
    }
}
