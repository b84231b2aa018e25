// SPDX-License-Identifier: Apache-2.0
#include "common/db.h"

#include <assert.h>
#include <string.h>

#include "common/buf.h"
#include "common/db_conn.h"
#include "common/log.h"
#include "common/loop.h"
#include "common/mem.h"
#include "common/metrics.h"

enum { QUEUE_DEFAULT = 10000, WAIT_DEFAULT_MS = 15000, EXPIRY_MS = 100 };

/* ---- lists ---- */

void db_list_put(struct db_list *l, struct db_item *item)
{
    item->next = NULL;
    if (l->last)
        l->last->next = item;
    else
        l->first = item;
    l->last = item;
    l->count++;
}

struct db_item *db_list_take(struct db_list *l)
{
    struct db_item *item = l->first;

    if (!item)
        return NULL;
    l->first = item->next;
    if (!l->first)
        l->last = NULL;
    l->count--;
    item->next = NULL;
    return item;
}

/* ---- ends ---- */

void db_item_end(struct db *db, struct db_item *item, int status, const PGresult *result)
{
    const char *state = result ? PQresultErrorField(result, PG_DIAG_SQLSTATE) : NULL;
    struct db_result r = {
        .status = status,
        .sqlstate = state ? state : "",
        .rows = status == DB_OK ? result : NULL,
    };

    if (status != DB_OK && db->config.metrics)
        metrics_add(db->config.metrics, METRIC_DB_ERRORS, 1);
    if (status == DB_E_REFUSED)
        log_warning("db_query_refused", log_str("statement", db->statements[item->statement]->name),
                    log_str("sqlstate", r.sqlstate),
                    log_str("why", result ? PQresultErrorMessage(result) : ""));
    item->done(item->ctx, &r);
    mem_free(item);
}

/* Has waited too long, or is told that it never will be sent. */
static void give_up(struct db *db, struct db_item *item)
{
    db_item_end(db, item, item->was_sent ? DB_E_UNKNOWN : DB_E_DOWN, NULL);
}

static size_t waiting(const struct db *db)
{
    size_t count = db->refused.count;

    for (unsigned i = 0; i < db->config.connections; i++)
        count += db->conns[i].queue.count;
    return count;
}

static void on_expiry(uv_timer_t *timer)
{
    struct db *db = timer->data;
    mono_t now = loop_now(timer->loop);

    for (unsigned i = 0; i < db->config.connections && !db->closing; i++) {
        struct db_list *queue = &db->conns[i].queue;

        while (queue->first && mono_reached(now, queue->first->deadline))
            give_up(db, db_list_take(queue));
    }
    if (!db->closing && waiting(db) == 0)
        uv_timer_stop(timer);
}

static void on_flush(uv_idle_t *idle)
{
    struct db *db = idle->data;
    struct db_list refused = db->refused;
    struct db_item *item;

    uv_idle_stop(idle);
    db->refused = (struct db_list){0};
    for (unsigned i = 0; i < db->config.connections; i++)
        db_conn_send(&db->conns[i]);
    while ((item = db_list_take(&refused)))
        db_item_end(db, item, item->was_sent ? DB_E_REFUSED : DB_E_DOWN, NULL);
}

void db_count_up(struct db *db, int change)
{
    bool was_up = db->up > 0;

    db->up = (unsigned)((int)db->up + change);
    if (db->closing || was_up == (db->up > 0))
        return;
    if (db->up > 0 && db->config.on_up)
        db->config.on_up(db->config.ctx);
    if (db->up == 0 && db->config.on_down)
        db->config.on_down(db->config.ctx);
}

/* ---- queries ---- */

/* One block: the item, its pointers, its texts. NULL: a text has a NUL in it. */
static struct db_item *new_item(const struct str *params, size_t count)
{
    size_t bytes = sizeof(struct db_item) + count * sizeof(char *);
    struct db_item *item;
    char *text;

    for (size_t i = 0; i < count; i++) {
        if (params[i].p && memchr(params[i].p, '\0', params[i].len))
            return NULL;
        bytes += params[i].len + 1;
    }
    item = mem_new(bytes);
    item->count = count;
    text = (char *)&item->values[count];
    for (size_t i = 0; i < count; i++) {
        if (!params[i].p)
            continue;
        item->values[i] = text;
        memcpy(text, params[i].p, params[i].len);
        text += params[i].len + 1;
    }
    return item;
}

/* Queries of one order share a connection. Others take the next that is up. */
static struct db_conn *choose(struct db *db, uint64_t order)
{
    assert(db->config.connections > 0);
    if (order)
        return &db->conns[order % db->config.connections];
    for (unsigned i = 0; i < db->config.connections; i++) {
        struct db_conn *c = &db->conns[db->next++ % db->config.connections];

        if (c->state == DB_UP)
            return c;
    }
    return &db->conns[db->next % db->config.connections];
}

size_t db_add_statements(struct db *db, const struct db_statement *table)
{
    size_t first = db->statement_count;
    size_t count = 0;

    while (table && table[count].name)
        count++;
    db->statements = mem_grow(db->statements, first * sizeof(*db->statements),
                              (first + count) * sizeof(*db->statements));
    for (size_t i = 0; i < count; i++)
        db->statements[first + i] = &table[i];
    db->statement_count += count;
    for (unsigned i = 0; i < db->config.connections; i++)
        db_conn_prepare(&db->conns[i], first);
    return first;
}

void db_query(struct db *db, size_t statement, const struct str *params, size_t count,
              uint64_t order, db_done_cb *done, void *ctx)
{
    struct db_item *item = new_item(params, count);
    bool refused = !item || waiting(db) >= db->config.queue_max || db->closing;

    if (!item) {
        item = mem_new(sizeof(*item));
        item->was_sent = true; /* refused, as PostgreSQL would have */
    }
    item->statement = statement;
    item->done = done;
    item->ctx = ctx;
    item->repeatable = db->statements[statement]->repeatable;
    item->deadline = mono_after(loop_now(db->loop), db->config.wait_ms);
    db_list_put(refused ? &db->refused : &choose(db, order)->queue, item);
    if (db->closing)
        return; /* db_close() tells */
    uv_idle_start(&db->flush, on_flush);
    if (!uv_is_active((uv_handle_t *)&db->expiry))
        uv_timer_start(&db->expiry, on_expiry, EXPIRY_MS, EXPIRY_MS);
}

void db_listen(struct db *db, const char *channel,
               void (*on_notify)(void *ctx, const char *payload), void *ctx)
{
    struct db_listener *l = mem_new(sizeof(*l));

    l->channel = mem_strdup(channel);
    l->on_notify = on_notify;
    l->ctx = ctx;
    l->next = db->listeners;
    db->listeners = l;
    db_conn_listen(&db->conns[0], l);
}

static void hear_nothing(void *ctx, const char *payload)
{
    (void)ctx, (void)payload;
}

/* It stays in the list, which may be in use: a database of a few channels does not grow by it. */
void db_unlisten(struct db *db, void (*on_notify)(void *ctx, const char *payload), void *ctx)
{
    for (struct db_listener *l = db->listeners; l; l = l->next)
        if (l->on_notify == on_notify && l->ctx == ctx)
            l->on_notify = hear_nothing;
}

bool db_is_up(const struct db *db)
{
    return db->up > 0;
}

/* ---- start and close ---- */

static unsigned count_hosts(const PQconninfoOption *options)
{
    unsigned most = 1;

    for (; options->keyword; options++) {
        unsigned count = 1;

        if (!options->val || strncmp(options->keyword, "host", 4) != 0)
            continue;
        for (const char *p = options->val; *p; p++)
            count += *p == ',';
        most = count > most ? count : most;
    }
    return most;
}

struct db *db_start(uv_loop_t *loop, const struct db_config *config)
{
    struct db *db = mem_new(sizeof(*db));
    char *error = NULL;

    assert(config->connections >= 1 && config->connections <= DB_CONNECTIONS_MAX);
    db->loop = loop;
    db->config = *config;
    db->config.queue_max = config->queue_max ? config->queue_max : QUEUE_DEFAULT;
    db->config.wait_ms = config->wait_ms ? config->wait_ms : WAIT_DEFAULT_MS;
    db->options = PQconninfoParse(config->conninfo, &error);
    if (!db->options)
        log_error("conninfo_malformed", log_str("why", error ? error : "no memory"));
    PQfreemem(error);
    db->hosts = db->options ? count_hosts(db->options) : 1;
    (void)db_add_statements(db, config->statements);
    uv_idle_init(loop, &db->flush);
    uv_timer_init(loop, &db->expiry);
    db->flush.data = db->expiry.data = db;
    db->handles = 2 + config->connections;
    for (unsigned i = 0; i < config->connections; i++) {
        struct db_conn *c = &db->conns[i];

        c->db = db;
        c->index = i;
        uv_timer_init(loop, &c->timer);
        c->timer.data = c;
        if (db->options)
            db_conn_start(c);
    }
    return db;
}

static void on_handle_closed(uv_handle_t *handle)
{
    struct db *db = handle->data;

    if (--db->handles > 0)
        return;
    while (db->listeners) {
        struct db_listener *l = db->listeners;

        db->listeners = l->next;
        mem_free(l->channel);
        mem_free(l);
    }
    PQconninfoFree(db->options);
    mem_free(db->statements);
    mem_free(db);
}

static void on_timer_closed(uv_handle_t *handle)
{
    struct db_conn *c = handle->data;

    handle->data = c->db;
    on_handle_closed(handle);
}

void db_close(struct db *db)
{
    struct db_item *item;

    assert(!db->closing);
    db->closing = true;
    uv_close((uv_handle_t *)&db->flush, on_handle_closed);
    uv_close((uv_handle_t *)&db->expiry, on_handle_closed);
    for (unsigned i = 0; i < db->config.connections; i++) {
        struct db_conn *c = &db->conns[i];

        db_conn_stop(c);
        while ((item = db_list_take(&c->queue)))
            give_up(db, item);
        uv_close((uv_handle_t *)&c->timer, on_timer_closed);
    }
    while ((item = db_list_take(&db->refused)))
        give_up(db, item);
}

/* ---- values ---- */

struct str db_text(const struct db_result *result, int row, int column)
{
    return (struct str){PQgetvalue(result->rows, row, column),
                        (size_t)PQgetlength(result->rows, row, column)};
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return -1;
}

bool db_bytes(const struct db_result *result, int row, int column, struct buf *out)
{
    struct str text = db_text(result, row, column);
    size_t start = out->len;

    if (!str_starts(text, STR("\\x")) || text.len % 2)
        return false;
    for (size_t i = 2; i < text.len; i += 2) {
        int high = hex_digit(text.p[i]);
        int low = hex_digit(text.p[i + 1]);

        if (high < 0 || low < 0) {
            out->len = start;
            return false;
        }
        buf_put_c(out, (char)(high << 4 | low));
    }
    return !out->full;
}

void db_put_bytes(struct buf *out, struct str bytes)
{
    static const char digits[] = "0123456789abcdef";

    buf_puts(out, "\\x");
    for (size_t i = 0; i < bytes.len; i++) {
        buf_put_c(out, digits[(unsigned char)bytes.p[i] >> 4]);
        buf_put_c(out, digits[bytes.p[i] & 15]);
    }
}
