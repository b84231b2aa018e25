// SPDX-License-Identifier: Apache-2.0
#include <signal.h>
#include <stdio.h>

#include "recoveryd/pg/files.h"
#include "recoveryd/pg/settings.h"
#include "recoveryd/pg/steps.h"

enum { START_ATTEMPTS = 10, START_RETRY_MS = 500, QUIT_AFTER_MAX_MS = 15000 };

/* ---- what steps share ---- */

const struct postgres_status *step_status(const struct operation *op)
{
    return watch_status(op->watch);
}

const struct view_node *step_peer(const struct operation *op)
{
    return op->request.peer == op->conf->node ? NULL
                                              : view_find(&op->conf->nodes, op->request.peer);
}

struct step_path step_in_dir(const struct operation *op, const char *name)
{
    struct step_path p;

    snprintf(p.text, sizeof(p.text), "%s/%s", op->conf->dir, name);
    return p;
}

struct step_path step_program(const struct operation *op, const char *name)
{
    struct step_path p;

    snprintf(p.text, sizeof(p.text), "%s/%s", op->conf->postgres_bin, name);
    return p;
}

void step_fail_with_words(struct operation *op, const char *tool, const char *output)
{
    char words[STEP_WORDS_MAX];

    child_last_words(output, words, sizeof(words));
    operation_fail(op, POSTGRES_FAILED, "%s failed: %s", tool, words);
}

/* ---- configuration ---- */

typedef void settings_writer(struct buf *out, const struct operation *op);

static void put_main(struct buf *out, const struct operation *op)
{
    settings_main(out, op->conf);
}

static void put_hba(struct buf *out, const struct operation *op)
{
    (void)op;
    settings_hba(out);
}

static void put_ident(struct buf *out, const struct operation *op)
{
    (void)op;
    settings_ident(out);
}

static void put_upstream(struct buf *out, const struct operation *op)
{
    settings_upstream(out, op->conf, step_peer(op));
}

static void put_alone(struct buf *out, const struct operation *op)
{
    (void)op;
    settings_synchronous(out, 0);
}

static int write_setting(struct operation *op, const char *name, settings_writer *put,
                         struct err *ret_err)
{
    struct step_path path = step_in_dir(op, name);
    bool changed = false;
    struct buf b;
    int r = -1;

    buf_init(&b, SETTINGS_TEXT_MAX);
    put(&b, op);
    if (b.full)
        err_set(ret_err, "%s would be too long", path.text);
    else
        r = files_write(path.text, buf_str(&b), &changed, ret_err);
    op->settings_changed |= changed;
    buf_done(&b);
    return r;
}

static int write_settings(struct operation *op, struct err *ret_err)
{
    if (write_setting(op, "postgres/pg_hba.conf", put_hba, ret_err) != 0 ||
        write_setting(op, "postgres/pg_ident.conf", put_ident, ret_err) != 0)
        return -1;
    return write_setting(op, "postgres/postgresql.conf", put_main, ret_err);
}

static int write_upstream(struct operation *op, struct err *ret_err)
{
    return write_setting(op, "postgres/upstream.conf", put_upstream, ret_err);
}

static int write_alone(struct operation *op, struct err *ret_err)
{
    return write_setting(op, "postgres/synchronous.conf", put_alone, ret_err);
}

static void on_settings(struct operation *op)
{
    if (op->settings_changed)
        watch_signal(op->watch, SIGHUP);
    op->settings_changed = false;
    operation_next(op);
}

void step_set_configuration(struct operation *op)
{
    operation_work(op, write_settings, on_settings);
}

void step_set_upstream(struct operation *op)
{
    operation_work(op, write_upstream, on_settings);
}

/* The new primary must not wait for the node whose place it takes. */
void step_set_alone(struct operation *op)
{
    if (step_status(op)->standby)
        operation_work(op, write_alone, on_settings);
    else
        operation_next(op);
}

/* ---- running and not running ---- */

static int read_last_fatal(struct operation *op, struct err *ret_err)
{
    char line[STEP_WORDS_MAX];

    files_last_fatal(op->conf, line, sizeof(line));
    return err_set(ret_err, "PostgreSQL does not start: %s",
                   line[0] ? line : "see log/postgresql.log");
}

/* Left-over processes of a killed postmaster hold its shared memory, and for a moment its port. */
void step_be_started(struct operation *op)
{
    uint64_t now = uv_now(op->loop);
    int r;

    if (step_status(op)->up) {
        operation_next(op);
        return;
    }
    operation_await(op, step_be_started);
    if (step_status(op)->running || !watch_is_fresh(op->watch) || watch_leftovers(op->watch) ||
        now < op->retry_at)
        return;
    op->await = NULL;
    if (op->attempts++ == START_ATTEMPTS) {
        operation_work(op, read_last_fatal, operation_next);
        return;
    }
    op->retry_at = now + START_RETRY_MS;
    r = watch_spawn(op->watch);
    if (r != 0 && r != UV_EAGAIN)
        operation_fail(op, POSTGRES_FAILED, "cannot run postgres: %s", uv_strerror(r));
    else
        operation_await(op, step_be_started);
}

void step_be_stopped(struct operation *op)
{
    uint64_t passed_ms = uv_now(op->loop) - op->step_began;
    uint64_t quit_ms = op->request.timeout_ms / 2;

    if (!step_status(op)->running) {
        operation_await(op, step_be_stopped);
        if (watch_is_fresh(op->watch) && !watch_leftovers(op->watch))
            operation_next(op);
        return;
    }
    if (quit_ms > QUIT_AFTER_MAX_MS)
        quit_ms = QUIT_AFTER_MAX_MS;
    if (op->attempts == 0 || (op->attempts == 1 && passed_ms >= quit_ms))
        watch_signal(op->watch, op->attempts++ ? SIGQUIT : SIGINT);
    operation_await(op, step_be_stopped);
}

/* ---- a new cluster ---- */

static int clear_new(struct operation *op, struct err *ret_err)
{
    return files_clear_new(op->conf, ret_err);
}

static int install_primary(struct operation *op, struct err *ret_err)
{
    return files_install(op->conf, false, ret_err);
}

static int install_standby(struct operation *op, struct err *ret_err)
{
    return files_install(op->conf, true, ret_err);
}

void step_on_disk_changed(struct operation *op)
{
    watch_look(op->watch);
    operation_next(op);
}

void step_make_room(struct operation *op)
{
    operation_work(op, clear_new, operation_next);
}

void step_put_in_place_as_primary(struct operation *op)
{
    operation_work(op, install_primary, step_on_disk_changed);
}

void step_put_in_place_as_standby(struct operation *op)
{
    operation_work(op, install_standby, step_on_disk_changed);
}

static void on_initdb(struct operation *op, int result, const char *output)
{
    if (result == 0)
        operation_next(op);
    else
        step_fail_with_words(op, "initdb", output);
}

void step_run_initdb(struct operation *op)
{
    struct step_path initdb = step_program(op, "initdb"), data = step_in_dir(op, "data.new");
    const char *args[] = {initdb.text,
                          "-D",
                          data.text,
                          "-U",
                          "muster",
                          "-A",
                          "trust",
                          "--data-checksums",
                          "--encoding=UTF8",
                          "--locale=C",
                          "--no-instructions",
                          NULL};

    operation_tool(op, args, on_initdb);
}

static void on_done(struct operation *op, const PGresult *rows)
{
    (void)rows;
    operation_next(op);
}

static void on_database_looked_up(struct operation *op, const PGresult *rows)
{
    if (PQntuples(rows) == 0)
        operation_query(op, "CREATE DATABASE muster", on_done);
    else
        operation_next(op);
}

void step_make_database(struct operation *op)
{
    if (step_status(op)->standby)
        operation_next(op);
    else
        operation_query(op, "SELECT FROM pg_database WHERE datname = 'muster'",
                        on_database_looked_up);
}

/* ---- slots ---- */

/* A slot that lost its WAL (max_slot_wal_keep_size) is of no use to anybody. */
void step_put_slot(struct buf *out, uint32_t node)
{
    buf_printf(out,
               "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots"
               " WHERE slot_name = 'node%u' AND wal_status = 'lost' AND NOT active;"
               "SELECT pg_create_physical_replication_slot('node%u', true) WHERE NOT EXISTS"
               " (SELECT FROM pg_replication_slots WHERE slot_name = 'node%u');",
               node, node, node);
}

void step_make_slots(struct operation *op)
{
    const struct view *nodes = &op->conf->nodes;
    struct buf sql;

    if (step_status(op)->standby) {
        operation_next(op);
        return;
    }
    buf_init(&sql, STEP_TEXT_MAX);
    buf_puts(&sql, "SELECT;");
    for (uint32_t i = 0; i < nodes->count; i++)
        if (nodes->nodes[i].node != op->conf->node &&
            nodes->nodes[i].group == conf_self(op->conf)->group)
            step_put_slot(&sql, nodes->nodes[i].node);
    operation_query(op, sql.data, on_done);
    buf_done(&sql);
}

/* Those of the time when this node was primary would hold WAL for ever. */
void step_drop_slots(struct operation *op)
{
    operation_query(op,
                    "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots"
                    " WHERE NOT active",
                    on_done);
}

/* ---- becoming primary ---- */

static void poll_promoted(struct operation *op)
{
    if (step_status(op)->up && !step_status(op)->standby)
        operation_next(op);
}

static void on_promoting(struct operation *op, const PGresult *rows)
{
    (void)rows;
    operation_await(op, poll_promoted);
}

void step_promote(struct operation *op)
{
    if (!step_status(op)->standby)
        operation_next(op);
    else
        operation_query(op, "SELECT pg_promote(false)", on_promoting);
}
