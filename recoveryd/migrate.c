// SPDX-License-Identifier: Apache-2.0
#include "recoveryd/migrate.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/buf.h"
#include "common/log.h"
#include "common/mem.h"
#include "common/str.h"
#include "recoveryd/pg/pq.h"

enum {
    FILES_MAX = 1000,
    FILE_BYTES_MAX = 1 << 20,
    DEFAULT_MS = 60000,
    LOCK = 7401,
    NAME_BYTES = 64
};

struct migration {
    unsigned number;
    char name[NAME_BYTES]; /* "001_users.sql" */
};

struct migrate {
    struct pq *pq;
    uv_timer_t timer;
    migrate_done_cb *done;
    void *ctx;
    char directory[PATH_MAX];
    struct migration *files; /* in order */
    size_t count, at;        /* `at`: the one that is being applied */
    unsigned applied;
    struct err why; /* that of a failure before the loop was reached */
};

static void on_timer_closed(uv_handle_t *handle)
{
    struct migrate *m = handle->data;

    mem_free(m->files);
    mem_free(m);
}

void migrate_close(struct migrate *m)
{
    pq_close(m->pq);
    uv_close((uv_handle_t *)&m->timer, on_timer_closed);
}

static void end(struct migrate *m, int status, const char *why)
{
    migrate_done_cb *done = m->done;
    void *ctx = m->ctx;
    unsigned applied = m->applied;
    struct err copy;

    (void)err_set(&copy, "%s", why);
    migrate_close(m);
    done(ctx, status, applied, copy.text);
}

/* ---- the files ---- */

/* "NNN_subject.sql", and NNN is not 0. */
static bool is_migration(const char *name, unsigned *ret_number)
{
    struct str s = str_of(name);
    uint32_t number;

    if (s.len >= NAME_BYTES || s.len < 9 || s.p[3] != '_' || !str_ends(s, STR(".sql")) ||
        !str_u32(str_sub(s, 0, 3), &number) || number == 0)
        return false;
    for (size_t i = 4; i < s.len; i++) /* it is put into a statement */
        if (!strchr("abcdefghijklmnopqrstuvwxyz0123456789_.", s.p[i]))
            return false;
    *ret_number = number;
    return true;
}

static int by_number(const void *a, const void *b)
{
    const struct migration *x = a, *y = b;

    return x->number < y->number ? -1 : x->number > y->number;
}

static int list_files(struct migrate *m, struct err *e)
{
    DIR *dir = opendir(m->directory);
    const struct dirent *entry;

    if (!dir)
        return err_set(e, "cannot read %s: %s", m->directory, strerror(errno));
    m->files = mem_new(FILES_MAX * sizeof(*m->files));
    while (m->count < FILES_MAX && (entry = readdir(dir))) {
        struct migration *file = &m->files[m->count];

        if (!is_migration(entry->d_name, &file->number))
            continue;
        memcpy(file->name, entry->d_name, strlen(entry->d_name) + 1);
        m->count++;
    }
    closedir(dir);
    qsort(m->files, m->count, sizeof(*m->files), by_number);
    for (size_t i = 1; i < m->count; i++)
        if (m->files[i].number == m->files[i - 1].number)
            return err_set(e, "%s: %s and %s have one number", m->directory, m->files[i - 1].name,
                           m->files[i].name);
    return m->count ? 0 : err_set(e, "%s has no migrations", m->directory);
}

static int read_file(const struct migrate *m, const char *name, struct buf *out, struct err *e)
{
    char path[PATH_MAX + NAME_BYTES];
    ssize_t n = 0;
    int fd;

    snprintf(path, sizeof(path), "%s/%s", m->directory, name);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return err_set(e, "cannot read %s: %s", path, strerror(errno));
    do {
        char *room = buf_reserve(out, 16384);

        if (!room) {
            close(fd);
            return err_set(e, "%s is larger than %d bytes", path, FILE_BYTES_MAX);
        }
        n = read(fd, room, 16384);
        out->len += n > 0 ? (size_t)n : 0;
    } while (n > 0);
    close(fd);
    return n == 0 ? 0 : err_set(e, "cannot read %s", path);
}

/* ---- applying ---- */

static void apply_next(struct migrate *m);

static void on_applied(void *ctx, const PGresult *rows, const char *why)
{
    struct migrate *m = ctx;
    struct err e;

    if (!rows) {
        (void)err_set(&e, "%s: %s", m->files[m->at].name, why);
        end(m, -1, e.text);
        return;
    }
    log_info("migration_applied", log_str("file", m->files[m->at].name));
    m->applied++;
    m->at++;
    apply_next(m);
}

/* All statements of one query are one transaction, with the one that records it. */
static void apply_next(struct migrate *m)
{
    const struct migration *file = &m->files[m->at];
    struct err e = {""};
    struct buf sql;

    if (m->at == m->count) {
        end(m, 0, "");
        return;
    }
    buf_init(&sql, FILE_BYTES_MAX);
    if (read_file(m, file->name, &sql, &e) == 0) {
        buf_printf(&sql, "\n;INSERT INTO schema_migrations (number, name) VALUES (%u, '%s')",
                   file->number, file->name);
        pq_query(m->pq, sql.data, on_applied, m);
        buf_done(&sql);
        return;
    }
    buf_done(&sql);
    end(m, -1, e.text);
}

static bool is_recorded(const PGresult *rows, unsigned number)
{
    uint32_t recorded;

    for (int i = 0; i < PQntuples(rows); i++)
        if (str_u32(str_of(PQgetvalue(rows, i, 0)), &recorded) && recorded == number)
            return true;
    return false;
}

static void on_recorded(void *ctx, const PGresult *rows, const char *why)
{
    struct migrate *m = ctx;
    size_t missing = 0;

    if (!rows) {
        end(m, -1, why);
        return;
    }
    for (size_t i = 0; i < m->count; i++)
        if (!is_recorded(rows, m->files[i].number))
            m->files[missing++] = m->files[i];
    m->count = missing;
    apply_next(m);
}

static void on_locked(void *ctx, const PGresult *rows, const char *why)
{
    struct migrate *m = ctx;

    if (rows)
        pq_query(m->pq, "SELECT number FROM schema_migrations", on_recorded, m);
    else
        end(m, -1, why);
}

/* The lock goes with the connection. Two queries, since the second must see what the last holder of
 * the lock has committed. */
static void on_up(void *ctx)
{
    struct migrate *m = ctx;
    char sql[400];

    snprintf(sql, sizeof(sql),
             "SET client_min_messages = warning; SELECT pg_advisory_lock(%d);"
             "CREATE TABLE IF NOT EXISTS schema_migrations (number integer PRIMARY KEY,"
             " name text NOT NULL, applied_at timestamptz NOT NULL DEFAULT now())",
             LOCK);
    pq_query(m->pq, sql, on_locked, m);
}

static void on_down(void *ctx, const char *why)
{
    end(ctx, -1, why);
}

static void on_late(uv_timer_t *timer)
{
    struct migrate *m = timer->data;

    end(m, -1, m->why.text);
}

struct migrate *migrate_start(uv_loop_t *loop, const char *conninfo, const char *directory,
                              uint64_t timeout_ms, migrate_done_cb *done, void *ctx)
{
    struct migrate *m = mem_new(sizeof(*m));
    struct pq_config config = {.conninfo = conninfo, .on_up = on_up, .on_down = on_down, .ctx = m};

    m->done = done;
    m->ctx = ctx;
    snprintf(m->directory, sizeof(m->directory), "%s", directory);
    uv_timer_init(loop, &m->timer);
    m->timer.data = m;
    if (list_files(m, &m->why) != 0) {
        uv_timer_start(&m->timer, on_late, 0, 0);
        return m;
    }
    (void)err_set(&m->why, "the migrations took too long: is another node applying them?");
    uv_timer_start(&m->timer, on_late, timeout_ms ? timeout_ms : DEFAULT_MS, 0);
    m->pq = pq_start(loop, &config);
    return m;
}

int migrate_directory(char *ret_path, size_t size, struct err *ret_err)
{
    static const char *const places[] = {"../share/muster/schema", "../../../deploy/schema"};
    char program[PATH_MAX], path[PATH_MAX + 32];
    ssize_t n = readlink("/proc/self/exe", program, sizeof(program) - 1);
    const char *slash;

    program[n > 0 ? n : 0] = '\0';
    slash = strrchr(program, '/');
    for (size_t i = 0; slash && i < 2; i++) {
        snprintf(path, sizeof(path), "%.*s/%s", (int)(slash - program), program, places[i]);
        if (access(path, X_OK) == 0 && (size_t)snprintf(ret_path, size, "%s", path) < size)
            return 0;
    }
    return err_set(ret_err, "there are no schema migrations in %s beside the program", places[0]);
}
