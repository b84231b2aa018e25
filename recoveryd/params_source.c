// SPDX-License-Identifier: Apache-2.0
#include "recoveryd/params_source.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/log.h"
#include "common/mem.h"
#include "common/params.h"
#include "recoveryd/params_text.h"

enum { ALL };

/* Those of the node come after those of the cluster, and replace them. */
static const struct db_statement statements[] = {
    [ALL] = {"params_all",
             "SELECT service, name, value FROM parameters WHERE node IN (0, $1)"
             " ORDER BY node, service, name",
             true},
    {NULL, NULL, false},
};

struct params_source {
    struct params_source_config config;
    size_t first_statement;
    bool asking, again, closed;
    struct params_rows rows;
    Muster__Params message;
    Muster__Param params[PARAMS_TEXT_ROWS_MAX];
    Muster__Param *pointers[PARAMS_TEXT_ROWS_MAX];
};

static void make_message(struct params_source *s)
{
    uint64_t version = s->message.version + 1;

    muster__params__init(&s->message);
    for (size_t i = 0; i < s->rows.count; i++) {
        muster__param__init(&s->params[i]);
        s->params[i].service = s->rows.rows[i].service;
        s->params[i].name = s->rows.rows[i].name;
        s->params[i].value = s->rows.rows[i].value;
        s->pointers[i] = &s->params[i];
    }
    s->message.version = version;
    s->message.n_params = s->rows.count;
    s->message.params = s->pointers;
}

/* ---- the copy ---- */

static void copy_path(const struct params_source *s, const char *suffix, char *ret_path,
                      size_t size)
{
    snprintf(ret_path, size, "%s/state/params%s", s->config.conf->dir, suffix);
}

static void read_copy(struct params_source *s)
{
    char path[CONF_PATH_MAX + 32];
    char *text;
    ssize_t n;
    int fd;

    copy_path(s, "", path, sizeof(path));
    fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return; /* the first start */
    text = mem_new(PARAMS_TEXT_MAX);
    n = read(fd, text, PARAMS_TEXT_MAX);
    close(fd);
    if (params_rows_parse(str_of_bytes(text, n > 0 ? (size_t)n : 0), &s->rows) > 0)
        log_warning("params_copy_damaged", log_str("file", path));
    mem_free(text);
}

/* Not synced: it is only a copy, and the database has it again soon. */
static void write_copy(const struct params_source *s)
{
    char path[CONF_PATH_MAX + 32], new_path[CONF_PATH_MAX + 32];
    struct buf text;
    bool good;
    int fd;

    buf_init(&text, PARAMS_TEXT_MAX);
    params_rows_print(&text, &s->rows);
    copy_path(s, "", path, sizeof(path));
    copy_path(s, ".new", new_path, sizeof(new_path));
    fd = open(new_path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    good = fd >= 0 && write(fd, text.data ? text.data : "", text.len) == (ssize_t)text.len;
    if (fd >= 0)
        close(fd);
    if (!good || rename(new_path, path) != 0)
        log_warning("params_copy_not_written", log_str("file", path));
    buf_done(&text);
}

/* ---- the database ---- */

static void take_rows(struct params_source *s, const struct db_result *result)
{
    struct params_rows *rows = mem_new(sizeof(*rows));

    for (int i = 0; i < PQntuples(result->rows); i++)
        if (!params_rows_put(rows, db_text(result, i, 0), db_text(result, i, 1),
                             db_text(result, i, 2)))
            log_warning("parameter_ignored", log_str("service", PQgetvalue(result->rows, i, 0)),
                        log_str("name", PQgetvalue(result->rows, i, 1)),
                        log_str("value", PQgetvalue(result->rows, i, 2)));
    if (!params_rows_equal(rows, &s->rows)) {
        s->rows = *rows;
        make_message(s);
        write_copy(s);
        s->config.on_change(s->config.ctx);
    }
    mem_free(rows);
}

static void ask(struct params_source *s);

static void on_rows(void *ctx, const struct db_result *result)
{
    struct params_source *s = ctx;

    s->asking = false;
    if (s->closed) {
        mem_free(s);
        return;
    }
    if (result->status == DB_OK)
        take_rows(s, result); /* else we are told when the database is there again */
    if (s->again)
        ask(s);
}

static void ask(struct params_source *s)
{
    char node[12];
    struct str param;

    s->again = s->asking;
    if (s->asking)
        return;
    s->asking = true;
    snprintf(node, sizeof(node), "%u", s->config.conf->node);
    param = str_of(node);
    db_query(s->config.db, s->first_statement + ALL, &param, 1, 0, on_rows, s);
}

static void on_notify(void *ctx, const char *payload)
{
    (void)payload;
    ask(ctx);
}

struct params_source *params_source_start(const struct params_source_config *config)
{
    struct params_source *s = mem_new(sizeof(*s));

    s->config = *config;
    read_copy(s);
    make_message(s);
    s->first_statement = db_add_statements(config->db, statements);
    db_listen(config->db, "muster_params", on_notify, s);
    return s;
}

void params_source_close(struct params_source *s)
{
    db_unlisten(s->config.db, on_notify, s);
    s->closed = true;
    if (!s->asking)
        mem_free(s);
}

const Muster__Params *params_source_message(const struct params_source *s)
{
    return &s->message;
}
