// SPDX-License-Identifier: Apache-2.0
/*
 * Two sources, and what each is trusted for: the disk (a cluster exists, it is marked, the pid file
 * names a living process) while no postmaster runs; the postmaster's answers while one does. A look
 * at the disk blocks, so it happens on a thread, one at a time. A new postmaster is noticed by its
 * pid file (or because we started it), its death by its pidfd, that it hangs by a query that is not
 * answered in ANSWER_MS.
 *
 *     no postmaster:  look at the disk at each tick; run pg_controldata once
 *     postmaster:     connect, again at each tick that finds no connection; ask at each tick
 */
#include "recoveryd/pg/watch.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "common/buf.h"
#include "common/log.h"
#include "common/mem.h"
#include "common/util.h"
#include "recoveryd/pg/child.h"
#include "recoveryd/pg/control.h"
#include "recoveryd/pg/files.h"
#include "recoveryd/pg/settings.h"

enum {
    HURRY_MS = 25,
    ANSWER_MS = 3000,
    STEADY_MS =
        1000, /* a standby that cannot stream has a receiver for a moment, again and again */
    ROOM_MAX = 2 * CONF_PATH_MAX,
};

struct watch {
    struct watch_config config;
    uv_loop_t *loop;
    unsigned handles;
    bool closed;
    struct postgres_status status, told;

    uv_timer_t timer;
    uint64_t interval_ms;

    uv_work_t work; /* a look at the disk */
    bool looking, fresh, prepared;
    uint64_t looks_wanted, look_number;
    struct files_look found; /* the thread's */
    struct files_look seen;
    struct err error;

    uv_poll_t *death; /* the pidfd of the postmaster */
    int pidfd;
    uv_process_t *process; /* while it is our child */

    struct child *control;
    bool control_read;

    int run_fd; /* DIR/run, so that the socket's path is short */
    struct pq *pq;
    bool asking;
    uint64_t asked_at;
    uint32_t receiver_pid;
    uint64_t receiver_since;
};

/* In this order: see the columns of read_status(). */
static const char status_query[] =
    "SELECT i.recovering,"
    " CASE WHEN i.recovering THEN greatest(pg_last_wal_receive_lsn(), pg_last_wal_replay_lsn())"
    " ELSE pg_current_wal_flush_lsn() END,"
    " CASE WHEN i.recovering THEN coalesce(nullif(w.received_tli, 0), c.timeline_id)"
    " ELSE ('x' || substr(pg_walfile_name(pg_current_wal_flush_lsn()), 1, 8))::bit(32)::int END,"
    " (SELECT system_identifier FROM pg_control_system()),"
    " current_setting('synchronous_standby_names'),"
    " s.application_name, s.state, s.sync_state,"
    " CASE WHEN i.recovering THEN 0"
    " ELSE greatest(pg_current_wal_flush_lsn() - s.flush_lsn, 0)::bigint END,"
    " w.pid"
    " FROM (SELECT pg_is_in_recovery() AS recovering) i"
    " CROSS JOIN pg_control_checkpoint() c"
    " LEFT JOIN (SELECT * FROM pg_stat_replication WHERE application_name ~ '^node[0-9]+$'"
    " ORDER BY state = 'streaming' DESC LIMIT 1) s ON true"
    " LEFT JOIN (SELECT * FROM pg_stat_wal_receiver WHERE status = 'streaming') w ON true";

static void on_handle_closed(uv_handle_t *handle)
{
    struct watch *w = handle->data;

    if (--w->handles == 0)
        mem_free(w);
}

static void tell(struct watch *w)
{
    struct postgres_status now = w->status;

    now.lsn = w->told.lsn;
    now.replica_lag_bytes = w->told.replica_lag_bytes;
    /* Padding that differs costs a call too many. */
    if (w->closed || memcmp(&now, &w->told, sizeof(now)) == 0) // NOLINT(bugprone-*)
        return;
    w->told = w->status;
    w->config.on_change(w->config.ctx);
}

/* ---- the postmaster's life ---- */

static void forget_answers(struct watch *w)
{
    w->status.up = false;
    w->status.receiving = false;
    w->status.replica = 0;
    w->status.replica_lag_bytes = 0;
    memset(w->status.replica_state, 0, sizeof(w->status.replica_state));
    memset(w->status.replica_sync, 0, sizeof(w->status.replica_sync));
    w->receiver_pid = 0;
}

static void on_death_closed(uv_handle_t *handle)
{
    struct watch *w = handle->data;

    mem_free(handle);
    if (--w->handles == 0)
        mem_free(w);
}

static void stop_watching(struct watch *w)
{
    if (!w->death)
        return;
    uv_poll_stop(w->death);
    uv_close((uv_handle_t *)w->death, on_death_closed);
    close(w->pidfd);
    w->death = NULL;
}

void watch_drop(struct watch *w)
{
    pq_close(w->pq);
    w->pq = NULL;
    w->asking = false;
}

static void on_dead(uv_poll_t *poll, int status, int events)
{
    struct watch *w = poll->data;

    (void)status;
    (void)events;
    log_info("postgres_ended", log_u64("pid", w->status.pid));
    stop_watching(w);
    watch_drop(w);
    forget_answers(w);
    w->status.running = false;
    w->status.pid = 0;
    w->control_read = false;
    watch_look(w);
    tell(w);
}

static void watch_pid(struct watch *w, uint32_t pid)
{
    int fd = (int)syscall(SYS_pidfd_open, pid, 0);

    if (fd < 0)
        return; /* ended already: the next look tells */
    w->death = mem_new(sizeof(*w->death));
    w->pidfd = fd;
    if (uv_poll_init(w->loop, w->death, fd) != 0) {
        mem_free(w->death);
        w->death = NULL;
        close(fd);
        return;
    }
    w->handles++;
    w->death->data = w;
    (void)uv_poll_start(w->death, UV_READABLE, on_dead); /* of a valid fd it cannot fail */
    w->status.running = true;
    w->status.pid = pid;
}

static void on_process_closed(uv_handle_t *handle)
{
    mem_free(handle);
}

/* Stops waiting for it; it goes on. */
static void close_process(struct watch *w)
{
    if (w->process)
        uv_close((uv_handle_t *)w->process, on_process_closed);
    w->process = NULL;
}

/* ---- the disk ---- */

static void on_look(uv_work_t *work)
{
    struct watch *w = CONTAINER_OF(work, struct watch, work);

    if (!w->prepared && files_prepare(w->config.conf, &w->error) != 0)
        return;
    w->prepared = true;
    files_look(w->config.conf, &w->found);
}

static void on_control(void *ctx, int status, const char *output)
{
    struct watch *w = ctx;
    struct control control;

    w->control = NULL;
    w->control_read = true;
    if (status == 0 && !w->status.running && control_parse(str_of(output), &control)) {
        w->status.system_id = control.system_id;
        w->status.timeline = control.timeline;
        w->status.lsn = control.lsn;
    }
    w->status.known = true;
    tell(w);
}

static void read_control(struct watch *w)
{
    char program[ROOM_MAX], data[ROOM_MAX];
    const char *args[] = {program, "-D", data, NULL};
    struct child_config config = {.args = args, .on_exit = on_control, .ctx = w};

    snprintf(program, sizeof(program), "%s/pg_controldata", w->config.conf->postgres_bin);
    snprintf(data, sizeof(data), "%s/data", w->config.conf->dir);
    w->control = child_start(w->loop, &config);
}

static void on_looked(uv_work_t *work, int status)
{
    struct watch *w = CONTAINER_OF(work, struct watch, work);

    (void)status;
    w->looking = false;
    if (w->closed) {
        if (--w->handles == 0)
            mem_free(w);
        return;
    }
    w->handles--; /* the timer is one more */
    if (!w->prepared) {
        log_error("postgres_folders", log_str("why", w->error.text));
        return;
    }
    w->seen = w->found;
    w->fresh = w->look_number == w->looks_wanted;
    w->status.exists = w->seen.exists;
    w->status.unusable = w->seen.unusable;
    if (!w->status.running && w->seen.pid)
        watch_pid(w, w->seen.pid);
    if (!w->status.up)
        w->status.standby = w->seen.standby;
    if (w->status.running || !w->status.exists)
        w->status.known = true;
    else if (!w->control_read && !w->control)
        read_control(w);
    tell(w);
}

static void look(struct watch *w)
{
    if (w->looking)
        return;
    w->looking = true;
    w->handles++;
    w->look_number = w->looks_wanted;
    (void)uv_queue_work(w->loop, &w->work, on_look, on_looked); /* fails only without callback */
}

void watch_look(struct watch *w)
{
    w->fresh = false;
    w->looks_wanted++;
    look(w);
}

/* ---- the answers ---- */

static bool is_null(const PGresult *rows, int column)
{
    return PQgetisnull(rows, 0, column) != 0;
}

static void copy_text(const PGresult *rows, int column, char *ret_text, size_t size)
{
    memset(ret_text, 0, size); /* compared with memcmp */
    snprintf(ret_text, size, "%s", PQgetvalue(rows, 0, column));
}

static void note_receiver(struct watch *w, uint32_t pid)
{
    uint64_t now = uv_now(w->loop);

    if (!pid || pid != w->receiver_pid)
        w->receiver_since = now;
    w->receiver_pid = pid;
    w->status.receiving = w->status.standby && pid && now - w->receiver_since >= STEADY_MS;
}

static void read_status(struct watch *w, const PGresult *rows)
{
    struct postgres_status *s = &w->status;
    uint32_t receiver = 0;

    s->up = true;
    s->standby = *PQgetvalue(rows, 0, 0) == 't';
    (void)control_parse_lsn(str_of(PQgetvalue(rows, 0, 1)), &s->lsn); /* NULL keeps the last one */
    (void)str_u32(str_of(PQgetvalue(rows, 0, 2)), &s->timeline);
    (void)str_u64(str_of(PQgetvalue(rows, 0, 3)), &s->system_id);
    s->synchronous = settings_standby_of(str_of(PQgetvalue(rows, 0, 4)));
    s->replica = settings_standby_of(str_of(PQgetvalue(rows, 0, 5)));
    copy_text(rows, 6, s->replica_state, sizeof(s->replica_state));
    copy_text(rows, 7, s->replica_sync, sizeof(s->replica_sync));
    s->replica_lag_bytes = 0;
    (void)str_u64(str_of(PQgetvalue(rows, 0, 8)), &s->replica_lag_bytes); /* NULL: unknown, 0 */
    if (!is_null(rows, 9))
        (void)str_u32(str_of(PQgetvalue(rows, 0, 9)), &receiver);
    note_receiver(w, receiver);
}

/* An error is no silence: a query that meets the end of recovery half way fails once. */
static void on_answer(void *ctx, const PGresult *rows, const char *why)
{
    struct watch *w = ctx;

    w->asking = false;
    if (rows && PQntuples(rows) == 1)
        read_status(w, rows);
    else
        log_debug("postgres_status_failed", log_str("why", why));
    tell(w);
}

static void ask(struct watch *w)
{
    w->asking = true;
    w->asked_at = uv_now(w->loop);
    pq_query(w->pq, status_query, on_answer, w);
}

static void on_pq_up(void *ctx)
{
    ask(ctx);
}

static void on_pq_down(void *ctx, const char *why)
{
    struct watch *w = ctx;

    log_debug("postgres_connection_down", log_str("why", why));
    watch_drop(w);
    forget_answers(w);
    tell(w);
}

void watch_conninfo(const struct watch *w, const char *database, char *ret_conninfo, size_t size)
{
    struct buf b;

    buf_init(&b, size);
    buf_printf(&b, "host=/proc/self/fd/%d port=%u user=muster ", w->run_fd,
               w->config.conf->ports[CONF_PORT_DATABASE]);
    settings_put_conninfo(&b, "dbname", database);
    buf_puts(&b, "application_name=recoveryd sslmode=disable gssencmode=disable "
                 "options='-c synchronous_commit=local' connect_timeout=3");
    snprintf(ret_conninfo, size, "%s", b.data);
    buf_done(&b);
}

static void connect_to_it(struct watch *w)
{
    char run[ROOM_MAX], conninfo[512];
    struct pq_config config = {
        .conninfo = conninfo, .on_up = on_pq_up, .on_down = on_pq_down, .ctx = w};

    if (w->run_fd < 0) {
        snprintf(run, sizeof(run), "%s/run", w->config.conf->dir);
        w->run_fd = open(run, O_PATH | O_DIRECTORY | O_CLOEXEC);
    }
    watch_conninfo(w, "postgres", conninfo, sizeof(conninfo));
    w->asking = true; /* connecting counts as the first question */
    w->asked_at = uv_now(w->loop);
    w->pq = pq_start(w->loop, &config);
}

static void ask_if_idle(struct watch *w)
{
    if (!w->pq) {
        connect_to_it(w);
    } else if (w->asking && uv_now(w->loop) - w->asked_at >= ANSWER_MS) {
        log_warning("postgres_does_not_answer", log_u64("pid", w->status.pid));
        watch_drop(w);
        forget_answers(w);
        tell(w);
    } else if (pq_is_up(w->pq) && !w->asking && pq_is_idle(w->pq)) {
        ask(w);
    }
}

/* ---- turning ---- */

static void on_timer(uv_timer_t *timer)
{
    struct watch *w = timer->data;

    if (!w->status.running || !w->fresh)
        look(w);
    if (w->status.running)
        ask_if_idle(w);
    w->config.on_tick(w->config.ctx);
}

void watch_hurry(struct watch *w, bool hurry)
{
    uint64_t interval_ms = hurry ? HURRY_MS : POSTGRES_POLL_MS;

    if (interval_ms == w->interval_ms)
        return;
    w->interval_ms = interval_ms;
    uv_timer_start(&w->timer, on_timer, interval_ms, interval_ms);
}

struct watch *watch_start(uv_loop_t *loop, const struct watch_config *config)
{
    struct watch *w = mem_new(sizeof(*w));

    w->config = *config;
    w->loop = loop;
    w->run_fd = -1;
    w->handles = 1;
    w->timer.data = w;
    uv_timer_init(loop, &w->timer);
    watch_hurry(w, false);
    watch_look(w);
    return w;
}

void watch_close(struct watch *w)
{
    w->closed = true;
    watch_drop(w);
    stop_watching(w);
    close_process(w);
    if (w->control)
        child_abandon(w->control);
    if (w->run_fd >= 0)
        close(w->run_fd);
    uv_close((uv_handle_t *)&w->timer, on_handle_closed);
}

const struct postgres_status *watch_status(const struct watch *w)
{
    return &w->status;
}

bool watch_is_fresh(const struct watch *w)
{
    return w->fresh;
}

unsigned watch_leftovers(const struct watch *w)
{
    return w->seen.leftovers;
}

void watch_query(struct watch *w, const char *sql, pq_done_cb *done, void *ctx)
{
    pq_query(w->pq, sql, done, ctx);
}

void watch_signal(struct watch *w, int signum)
{
    if (w->status.running)
        (void)syscall(SYS_pidfd_send_signal, w->pidfd, signum, NULL, 0); /* gone is as good */
}

/* ---- starting it ---- */

static void on_process_exit(uv_process_t *process, int64_t status, int signal)
{
    struct watch *w = process->data;

    log_info("postgres_exit", log_u64("status", (uint64_t)status),
             log_u64("signal", (uint64_t)signal));
    close_process(w);
}

static int spawn(struct watch *w, uv_process_t *process, int log_fd)
{
    char program[ROOM_MAX], data[ROOM_MAX], setting[ROOM_MAX];
    char *args[] = {program, "-D", data, "-c", setting, NULL};
    uv_stdio_container_t stdio[] = {
        {.flags = UV_IGNORE},
        {.flags = UV_INHERIT_FD, .data.fd = log_fd},
        {.flags = UV_INHERIT_FD, .data.fd = log_fd},
    };
    uv_process_options_t options = {
        .file = program,
        .args = args,
        .cwd = w->config.conf->dir, /* maybe we may not enter our own */
        .exit_cb = on_process_exit,
        .stdio = stdio,
        .stdio_count = 3,
        .flags = UV_PROCESS_DETACHED, /* outlives us */
    };

    snprintf(program, sizeof(program), "%s/postgres", w->config.conf->postgres_bin);
    snprintf(data, sizeof(data), "%s/data", w->config.conf->dir);
    snprintf(setting, sizeof(setting), "config_file=%s/postgres/postgresql.conf",
             w->config.conf->dir);
    return uv_spawn(w->loop, process, &options);
}

int watch_spawn(struct watch *w)
{
    char log_path[ROOM_MAX];
    int r, log_fd;

    if (w->process)
        return UV_EAGAIN; /* its pidfd was faster than SIGCHLD */
    w->process = mem_new(sizeof(*w->process));
    w->process->data = w;
    snprintf(log_path, sizeof(log_path), "%s/log/postgresql.log", w->config.conf->dir);
    log_fd = open(log_path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    r = spawn(w, w->process, log_fd);
    if (log_fd >= 0)
        close(log_fd);
    if (r != 0) {
        close_process(w);
        return r;
    }
    watch_pid(w, (uint32_t)w->process->pid);
    tell(w);
    return 0;
}
