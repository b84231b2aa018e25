// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * PostgreSQL, asynchronously: libpq in pipeline mode on the loop, prepared statements, a few
 * connections, one callback a query.
 *
 * Statements stand in one table per daemon and are prepared on each new connection. A connection
 * that breaks comes back by itself (100 ms, doubling to 0.5 s), to whichever host of the conninfo
 * is writable. Hosts are numeric addresses or socket directories: a look-up would block. Queries
 * made while there is none wait, up to `queue_max`, and fail with DB_E_DOWN after wait_ms. A query
 * whose connection broke after it was sent ends with DB_E_UNKNOWN: it may have been done, so its
 * caller looks, or makes statements that can be repeated (ON CONFLICT). Idempotent statements are
 * marked so, and sent again by this module instead.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <libpq-fe.h>
#include <uv.h>

#include "common/str.h"

struct db;
struct metrics;

struct db_statement {
    const char *name; /* NULL ends the table */
    const char *sql;
    bool repeatable; /* twice is as good as once */
};

enum {
    DB_OK = 0,
    DB_E_DOWN = 1,     /* not sent */
    DB_E_UNKNOWN = 2,  /* sent, and then the connection broke */
    DB_E_REFUSED = 3,  /* PostgreSQL said no: see sqlstate */
    DB_E_CONFLICT = 4, /* 23505: there is one already; 40001, 40P01: serialisation */
};

struct db_result {
    int status;
    const char *sqlstate; /* five characters, or "" */
    const PGresult *rows; /* NULL unless DB_OK; text format; freed after the callback */
};

typedef void db_done_cb(void *ctx, const struct db_result *result);

struct db_config {
    const char *conninfo; /* several hosts; target_session_attrs=read-write is added */
    unsigned connections; /* 1 to 8 */
    size_t queue_max;     /* 0: 10000 */
    uint64_t wait_ms;     /* 0: 15 s */
    const struct db_statement *statements; /* NULL: none */
    void (*on_up)(void *ctx);              /* a connection came up when there was none */
    void (*on_down)(void *ctx);            /* the last one broke */
    struct metrics *metrics;               /* may be NULL */
    void *ctx;
};

struct db *db_start(uv_loop_t *loop, const struct db_config *config);
/* Outstanding queries end with DB_E_DOWN or DB_E_UNKNOWN from within; then nothing comes. */
void db_close(struct db *db);
bool db_is_up(const struct db *db);

/* More statements, of a module that shares the connections: the index of the first. */
size_t db_add_statements(struct db *db, const struct db_statement *table);

/* `statement`: index into the table; `params`: `count` texts, .p NULL for SQL NULL; copied. All
 * queries with one `order` key (not 0) run in the order in which they were made. */
void db_query(struct db *db, size_t statement, const struct str *params, size_t count,
              uint64_t order, db_done_cb *done, void *ctx);

/* Calls `on_notify` for each NOTIFY on `channel`, and with NULL when it begins to listen: at first
 * and after each reconnect, when some may have been missed. */
void db_listen(struct db *db, const char *channel,
               void (*on_notify)(void *ctx, const char *payload), void *ctx);
/* No more of these; for a module that ends before the pool does. */
void db_unlisten(struct db *db, void (*on_notify)(void *ctx, const char *payload), void *ctx);

/* Column of a row as text; empty for NULL. */
struct str db_text(const struct db_result *result, int row, int column);
/* bytea column, decoded, appended to `out`; false if it is not. */
struct buf;
bool db_bytes(const struct db_result *result, int row, int column, struct buf *out);
/* "\x..." for a bytea parameter. */
void db_put_bytes(struct buf *out, struct str bytes);
