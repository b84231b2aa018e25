// SPDX-License-Identifier: Apache-2.0
#include "recoveryd/pg/plans.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "common/buf.h"
#include "common/log.h"
#include "common/mem.h"
#include "recoveryd/pg/files.h"
#include "recoveryd/pg/settings.h"

enum {
    START_ATTEMPTS = 20,
    START_RETRY_MS = 500,
    RECEIVING_MS = 10000, /* a standby that can stream does so within this */
    QUIT_AFTER_MAX_MS = 15000,
    WORDS_MAX = 200, /* of a tool, in our sentence */
    TEXT_MAX = 8 * 1024,
};

static operation_step *const open_plan[], *const follow_plan[], *const rewind_plan[],
                                                                    *const copy_plan[];

static const struct postgres_status *status(const struct operation *op)
{
    return watch_status(op->watch);
}

static const struct view_node *peer(const struct operation *op)
{
    return op->request.peer == op->conf->node ? NULL
                                              : view_find(&op->conf->nodes, op->request.peer);
}

/* DIR/name. */
struct path {
    char text[CONF_PATH_MAX + 64];
};

static struct path in_dir(const struct operation *op, const char *name)
{
    struct path p;

    snprintf(p.text, sizeof(p.text), "%s/%s", op->conf->dir, name);
    return p;
}

static struct path program(const struct operation *op, const char *name)
{
    struct path p;

    snprintf(p.text, sizeof(p.text), "%s/%s", op->conf->postgres_bin, name);
    return p;
}

static void fail_with_words(struct operation *op, const char *tool, const char *output)
{
    char words[WORDS_MAX];

    child_last_words(output, words, sizeof(words));
    operation_fail(op, POSTGRES_FAILED, "%s failed: %s", tool, words);
}

/* ---- what is there ---- */

void plans_begin(struct operation *op)
{
    if (watch_is_fresh(op->watch) && status(op)->known)
        operation_follow(op, op->plan);
}

static void refuse_unusable(struct operation *op)
{
    operation_fail(op, POSTGRES_REFUSED,
                   "the database of this node is half rebuilt and must first rejoin its peer");
}

static void must_be_startable(struct operation *op)
{
    if (status(op)->unusable)
        refuse_unusable(op);
    else if (!status(op)->exists)
        operation_fail(op, POSTGRES_REFUSED, "there is no database on this node");
    else
        operation_next(op);
}

static void must_be_empty(struct operation *op)
{
    if (status(op)->unusable)
        refuse_unusable(op);
    else if (status(op)->exists)
        operation_follow(op, open_plan);
    else
        operation_next(op);
}

static void choose_how_to_rejoin(struct operation *op)
{
    if (!status(op)->exists || status(op)->unusable)
        operation_follow(op, copy_plan);
    else
        operation_follow(op, status(op)->standby ? follow_plan : rewind_plan);
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
    settings_upstream(out, op->conf, peer(op));
}

static void put_alone(struct buf *out, const struct operation *op)
{
    (void)op;
    settings_synchronous(out, 0);
}

static int write_setting(struct operation *op, const char *name, settings_writer *put,
                         struct err *ret_err)
{
    struct path path = in_dir(op, name);
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

static void set_configuration(struct operation *op)
{
    operation_work(op, write_settings, on_settings);
}

static void set_upstream(struct operation *op)
{
    operation_work(op, write_upstream, on_settings);
}

/* The new primary must not wait for the node whose place it takes. */
static void set_alone(struct operation *op)
{
    if (status(op)->standby)
        operation_work(op, write_alone, on_settings);
    else
        operation_next(op);
}

/* ---- running and not running ---- */

static int read_last_fatal(struct operation *op, struct err *ret_err)
{
    char line[WORDS_MAX];

    files_last_fatal(op->conf, line, sizeof(line));
    return err_set(ret_err, "PostgreSQL does not start: %s",
                   line[0] ? line : "see log/postgresql.log");
}

/* Left-over processes of a killed postmaster hold its shared memory, and for a moment its port. */
static void be_started(struct operation *op)
{
    uint64_t now = uv_now(op->loop);
    int r;

    if (status(op)->up) {
        operation_next(op);
        return;
    }
    operation_await(op, be_started);
    if (status(op)->running || !watch_is_fresh(op->watch) || watch_leftovers(op->watch) ||
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
        operation_await(op, be_started);
}

static void be_stopped(struct operation *op)
{
    uint64_t passed_ms = uv_now(op->loop) - op->step_began;
    uint64_t quit_ms = op->request.timeout_ms / 2;

    if (!status(op)->running) {
        operation_await(op, be_stopped);
        if (watch_is_fresh(op->watch) && !watch_leftovers(op->watch))
            operation_next(op);
        return;
    }
    if (quit_ms > QUIT_AFTER_MAX_MS)
        quit_ms = QUIT_AFTER_MAX_MS;
    if (op->attempts == 0 || (op->attempts == 1 && passed_ms >= quit_ms))
        watch_signal(op->watch, op->attempts++ ? SIGQUIT : SIGINT);
    operation_await(op, be_stopped);
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

static void on_disk_changed(struct operation *op)
{
    watch_look(op->watch);
    operation_next(op);
}

static void make_room(struct operation *op)
{
    operation_work(op, clear_new, operation_next);
}

static void put_in_place_as_primary(struct operation *op)
{
    operation_work(op, install_primary, on_disk_changed);
}

static void put_in_place_as_standby(struct operation *op)
{
    operation_work(op, install_standby, on_disk_changed);
}

static void on_initdb(struct operation *op, int result, const char *output)
{
    if (result == 0)
        operation_next(op);
    else
        fail_with_words(op, "initdb", output);
}

static void run_initdb(struct operation *op)
{
    struct path initdb = program(op, "initdb"), data = in_dir(op, "data.new");
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

static void make_database(struct operation *op)
{
    if (status(op)->standby)
        operation_next(op);
    else
        operation_query(op, "SELECT FROM pg_database WHERE datname = 'muster'",
                        on_database_looked_up);
}

/* ---- slots ---- */

/* A slot that lost its WAL (max_slot_wal_keep_size) is of no use to anybody. */
static void put_slot(struct buf *out, uint32_t node)
{
    buf_printf(out,
               "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots"
               " WHERE slot_name = 'node%u' AND wal_status = 'lost' AND NOT active;"
               "SELECT pg_create_physical_replication_slot('node%u', true) WHERE NOT EXISTS"
               " (SELECT FROM pg_replication_slots WHERE slot_name = 'node%u');",
               node, node, node);
}

static void make_slots(struct operation *op)
{
    const struct view *nodes = &op->conf->nodes;
    struct buf sql;

    if (status(op)->standby) {
        operation_next(op);
        return;
    }
    buf_init(&sql, TEXT_MAX);
    buf_puts(&sql, "SELECT;");
    for (uint32_t i = 0; i < nodes->count; i++)
        if (nodes->nodes[i].node != op->conf->node &&
            nodes->nodes[i].group == conf_self(op->conf)->group)
            put_slot(&sql, nodes->nodes[i].node);
    operation_query(op, sql.data, on_done);
    buf_done(&sql);
}

/* Those of the time when this node was primary would hold WAL for ever. */
static void drop_slots(struct operation *op)
{
    operation_query(op,
                    "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots"
                    " WHERE NOT active",
                    on_done);
}

/* ---- becoming primary ---- */

static void poll_promoted(struct operation *op)
{
    if (status(op)->up && !status(op)->standby)
        operation_next(op);
}

static void on_promoting(struct operation *op, const PGresult *rows)
{
    (void)rows;
    operation_await(op, poll_promoted);
}

static void promote(struct operation *op)
{
    if (!status(op)->standby)
        operation_next(op);
    else
        operation_query(op, "SELECT pg_promote(false)", on_promoting);
}

/* ---- following the peer ---- */

static void run_psql(struct operation *op, const char *sql, operation_child_cb *then)
{
    struct path psql = program(op, "psql");
    const char *args[] = {psql.text, "-XqAt", "-v", "ON_ERROR_STOP=1", "-d", NULL, "-c", sql, NULL};
    struct buf conninfo;

    buf_init(&conninfo, TEXT_MAX);
    settings_conninfo(&conninfo, op->conf, peer(op), "postgres", "recoveryd");
    args[5] = conninfo.data;
    operation_tool(op, args, then);
    buf_done(&conninfo);
}

static void on_peer_asked(struct operation *op, int result, const char *output)
{
    if (result != 0)
        fail_with_words(op, "asking the peer's database", output);
    else if (!str_eq_c(str_trim(str_of(output)), "f"))
        operation_fail(op, POSTGRES_FAILED, "the peer's database is not a primary");
    else
        operation_next(op);
}

/* First, so that nothing is given up for a peer that cannot be followed. */
static void ask_peer(struct operation *op)
{
    if (!peer(op))
        operation_fail(op, POSTGRES_REFUSED, "there is no other node %u", op->request.peer);
    else
        run_psql(op, "SELECT pg_is_in_recovery()", on_peer_asked);
}

static void on_peer_prepared(struct operation *op, int result, const char *output)
{
    if (result != 0)
        fail_with_words(op, "preparing the peer's database", output);
    else
        operation_next(op);
}

static void run_preparation(struct operation *op, const char *first)
{
    struct buf sql;

    buf_init(&sql, TEXT_MAX);
    buf_puts(&sql, first);
    put_slot(&sql, op->conf->node);
    run_psql(op, sql.data, on_peer_prepared);
    buf_done(&sql);
}

static void have_slot(struct operation *op)
{
    run_preparation(op, "");
}

/* The sender of our former standby may believe for five seconds that we are there. */
static void free_slot(struct operation *op)
{
    struct buf sql;

    buf_init(&sql, TEXT_MAX);
    buf_printf(&sql,
               "SELECT pg_terminate_backend(active_pid, 2000) FROM pg_replication_slots"
               " WHERE slot_name = 'node%u' AND active_pid IS NOT NULL;",
               op->conf->node);
    run_preparation(op, sql.data);
    buf_done(&sql);
}

/* pg_rewind reads the peer's timeline from its last checkpoint. */
static void make_checkpoint(struct operation *op)
{
    run_psql(op, "CHECKPOINT", on_peer_prepared);
}

static int mark_unusable(struct operation *op, struct err *ret_err)
{
    return files_mark(op->conf, ret_err);
}

static void mark(struct operation *op)
{
    operation_work(op, mark_unusable, on_disk_changed);
}

static void on_rewound(struct operation *op, int result, const char *output)
{
    char words[WORDS_MAX];

    child_last_words(output, words, sizeof(words));
    log_info("postgres_rewind", log_u64("status", (uint64_t)result), log_str("said", words));
    if (result == 0)
        operation_next(op);
    else
        operation_follow(op, copy_plan);
}

static void rewind_it(struct operation *op)
{
    struct path rewind = program(op, "pg_rewind"), data = in_dir(op, "data");
    const char *args[] = {rewind.text, "-D", data.text, "--source-server", NULL, NULL};
    struct buf conninfo;

    buf_init(&conninfo, TEXT_MAX);
    settings_conninfo(&conninfo, op->conf, peer(op), "postgres", "recoveryd");
    args[4] = conninfo.data;
    operation_tool(op, args, on_rewound);
    buf_done(&conninfo);
}

static int become_follower(struct operation *op, struct err *ret_err)
{
    return files_follow(op->conf, ret_err);
}

static void follow(struct operation *op)
{
    operation_work(op, become_follower, on_disk_changed);
}

static void on_copied(struct operation *op, int result, const char *output)
{
    if (result == 0)
        operation_next(op);
    else
        fail_with_words(op, "pg_basebackup", output);
}

static void copy(struct operation *op)
{
    struct path basebackup = program(op, "pg_basebackup"), data = in_dir(op, "data.new");
    const char *args[] = {
        basebackup.text, "-D", data.text, "-d", NULL, "-X", "stream", "-S", NULL, "-c",
        "fast",          "-w", NULL};
    struct buf conninfo, slot;

    buf_init(&conninfo, TEXT_MAX);
    buf_init(&slot, 32);
    settings_conninfo(&conninfo, op->conf, peer(op), "replication", "recoveryd");
    settings_standby_name(&slot, op->conf->node);
    args[4] = conninfo.data;
    args[8] = slot.data;
    operation_tool(op, args, on_copied);
    buf_done(&slot);
    buf_done(&conninfo);
}

/* A standby that cannot stream (its WAL is gone there, or it went another way) needs a new copy. */
static void be_receiving(struct operation *op)
{
    if (status(op)->receiving) {
        operation_next(op);
        return;
    }
    operation_await(op, be_receiving);
    if (op->plan != copy_plan && uv_now(op->loop) - op->step_began >= RECEIVING_MS) {
        log_warning("postgres_cannot_follow", log_u64("peer", op->request.peer));
        operation_follow(op, copy_plan);
    }
}

/* ---- the plans ---- */

// clang-format off
static operation_step *const start_plan[] = {
    must_be_startable, set_configuration, be_started, NULL,
};

static operation_step *const init_plan[] = {
    must_be_empty, make_room, run_initdb, put_in_place_as_primary,
    set_configuration, be_started, make_database, make_slots, NULL,
};

static operation_step *const open_plan[] = {
    set_configuration, be_started, make_database, make_slots, NULL,
};

static operation_step *const promote_plan[] = {
    must_be_startable, set_alone, set_configuration, be_started, promote, make_slots, NULL,
};

static operation_step *const stop_plan[] = {
    be_stopped, NULL,
};

static operation_step *const rejoin_plan[] = {
    choose_how_to_rejoin, NULL,
};

static operation_step *const follow_plan[] = {
    ask_peer, have_slot, set_upstream, set_configuration, be_started, be_receiving, drop_slots,
    NULL,
};

static operation_step *const rewind_plan[] = {
    ask_peer, be_stopped, free_slot, make_checkpoint, mark, rewind_it, follow,
    set_upstream, set_configuration, be_started, be_receiving, drop_slots, NULL,
};

static operation_step *const copy_plan[] = {
    ask_peer, be_stopped, free_slot, make_room, copy, put_in_place_as_standby,
    set_upstream, set_configuration, be_started, be_receiving, drop_slots, NULL,
};
// clang-format on

operation_step *const *plans_of(enum postgres_op op)
{
    switch (op) {
    case POSTGRES_INIT_PRIMARY:
        return init_plan;
    case POSTGRES_START:
        return start_plan;
    case POSTGRES_MAKE_STANDBY:
        return copy_plan;
    case POSTGRES_REJOIN:
        return rejoin_plan;
    case POSTGRES_PROMOTE:
        return promote_plan;
    case POSTGRES_STOP:
        return stop_plan;
    }
    return stop_plan; /* not reached: all values are above */
}
