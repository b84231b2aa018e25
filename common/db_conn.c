// SPDX-License-Identifier: Apache-2.0
#include "common/db_conn.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "common/log.h"
#include "common/mem.h"
#include "common/metrics.h"

enum { ATTEMPT_MS = 1000, PREPARE_MS = 5000, PAUSE_FIRST_MS = 100, PAUSE_MAX_MS = 500 };

static void on_ready(uv_poll_t *poll, int status, int events);
static void fail(struct db_conn *c, const char *why);

/* ---- watching the socket ---- */

static void on_poll_closed(uv_handle_t *handle)
{
    mem_free(handle);
}

static void unwatch(struct db_conn *c)
{
    if (c->poll)
        uv_close((uv_handle_t *)c->poll, on_poll_closed);
    c->poll = NULL;
}

/* libpq may change its socket while it connects, even to one of the same number: a handle is good
 * for one step then. */
static void watch(struct db_conn *c, int events)
{
    if (!c->poll) {
        c->poll = mem_new(sizeof(*c->poll));
        c->poll->data = c;
        if (uv_poll_init(c->db->loop, c->poll, PQsocket(c->pg))) {
            mem_free(c->poll);
            c->poll = NULL;
            fail(c, "socket cannot be watched");
            return;
        }
    }
    uv_poll_start(c->poll, events, on_ready);
}

/* ---- one attempt ---- */

/* The `index`th of a comma-separated list; the only one, if there is one. */
static struct str list_item(const char *list, unsigned index)
{
    struct str rest = str_of(list);
    struct str item;
    bool more = str_cut(rest, ',', &item, &rest);

    if (!more)
        return item;
    while (index-- > 0 && more)
        more = str_cut(rest, ',', &item, &rest);
    return item;
}

static bool is_list(const char *keyword)
{
    return strcmp(keyword, "host") == 0 || strcmp(keyword, "hostaddr") == 0 ||
           strcmp(keyword, "port") == 0;
}

static void on_notice(void *ctx, const char *text)
{
    (void)ctx, (void)text; /* libpq would print it */
}

static PGconn *connect_to(const struct db *db, unsigned host)
{
    /* A node that dies without a word is noticed within 3 s. */
    static const char *const ours[][2] = {
        {"target_session_attrs", "read-write"},
        {"tcp_user_timeout", "3000"},
        {"keepalives_idle", "1"},
        {"keepalives_interval", "1"},
        {"keepalives_count", "3"},
    };
    const char *keywords[DB_OPTIONS_MAX + 1] = {0}, *values[DB_OPTIONS_MAX + 1] = {0};
    char items[3][256];
    unsigned count = 0, lists = 0;

    for (const PQconninfoOption *o = db->options; o->keyword; o++) {
        if (!o->val || count == DB_OPTIONS_MAX - sizeof(ours) / sizeof(ours[0]))
            continue;
        keywords[count] = o->keyword;
        values[count] = o->val;
        if (is_list(o->keyword)) {
            struct str item = list_item(o->val, host);

            (void)snprintf(items[lists], sizeof(items[0]), "%.*s", STR_ARG(item));
            values[count] = items[lists++];
        }
        count++;
    }
    for (size_t i = 0; i < sizeof(ours) / sizeof(ours[0]); i++, count++) {
        keywords[count] = ours[i][0];
        values[count] = ours[i][1];
    }
    return PQconnectStartParams(keywords, values, 0); /* of two with one name the last counts */
}

static void on_timer(uv_timer_t *timer)
{
    struct db_conn *c = timer->data;

    if (c->state == DB_AWAY)
        db_conn_start(c);
    else
        fail(c, "no answer");
}

void db_conn_start(struct db_conn *c)
{
    assert(c->state == DB_AWAY && !c->pg);
    c->state = DB_CONNECTING;
    c->setup_failed = false;
    c->pg = connect_to(c->db, c->host);
    uv_timer_start(&c->timer, on_timer, ATTEMPT_MS, 0);
    if (!c->pg || PQstatus(c->pg) == CONNECTION_BAD)
        fail(c, c->pg ? PQerrorMessage(c->pg) : "no memory");
    else
        watch(c, UV_WRITABLE); /* as the manual says of PQconnectPoll */
    if (c->pg)
        PQsetNoticeProcessor(c->pg, on_notice, NULL);
}

/* What was sent and not answered is repeated if it can be, before what waits; else it may or may
 * not have been done. Callbacks come last: they may make new queries. */
static void give_back(struct db_conn *c)
{
    struct db_list sent = c->sent, waiting = c->queue;
    struct db_list unknown = {0};
    struct db_item *item;

    c->sent = c->queue = (struct db_list){0};
    while ((item = db_list_take(&sent))) {
        item->was_sent = true;
        if (!item->done)
            mem_free(item);
        else
            db_list_put(item->repeatable ? &c->queue : &unknown, item);
    }
    while ((item = db_list_take(&waiting)))
        db_list_put(&c->queue, item);
    while ((item = db_list_take(&unknown)))
        db_item_end(c->db, item, DB_E_UNKNOWN, NULL);
}

void db_conn_stop(struct db_conn *c)
{
    bool was_up = c->state == DB_UP;

    c->state = DB_AWAY;
    unwatch(c);
    uv_timer_stop(&c->timer);
    PQclear(c->result);
    c->result = NULL;
    PQfinish(c->pg);
    c->pg = NULL;
    give_back(c);
    if (was_up)
        db_count_up(c->db, -1);
}

/* The next host at once, if it was not tried yet; else a pause that grows. */
static void fail(struct db_conn *c, const char *why)
{
    uint64_t pause_ms = 0;

    if (c->state == DB_UP)
        log_warning("db_connection_lost", log_u64("host", c->host), log_str("why", why));
    else
        log_debug("db_connection_failed", log_u64("host", c->host), log_str("why", why));
    db_conn_stop(c);
    if (c->db->closing)
        return;
    c->failures++;
    c->host = (c->host + 1) % c->db->hosts;
    if (c->failures % c->db->hosts == 0) {
        unsigned rounds = c->failures / c->db->hosts;

        pause_ms = rounds > 5 ? PAUSE_MAX_MS : PAUSE_FIRST_MS << (rounds - 1);
        pause_ms = pause_ms > PAUSE_MAX_MS ? PAUSE_MAX_MS : pause_ms;
    }
    uv_timer_start(&c->timer, on_timer, pause_ms, 0);
}

/* ---- sending ---- */

static void put_sent(struct db_conn *c, struct db_item *item)
{
    (void)PQpipelineSync(c->pg); /* a failure is the connection's, and flush() sees it */
    db_list_put(&c->sent, item);
}

/* Ours have no `done`: what matters is that they don't fail, and when `l` listens. */
static struct db_item *own_item(const struct db_listener *l)
{
    struct db_item *item = mem_new(sizeof(*item));

    item->ctx = (void *)l;
    return item;
}

static void flush(struct db_conn *c)
{
    int more = PQflush(c->pg);

    if (more < 0)
        fail(c, PQerrorMessage(c->pg));
    else
        watch(c, more ? UV_READABLE | UV_WRITABLE : UV_READABLE);
}

void db_conn_send(struct db_conn *c)
{
    struct db_item *item;

    if (c->state != DB_UP || c->queue.count == 0)
        return;
    while (c->sent.count < DB_SENT_MAX && (item = db_list_take(&c->queue))) {
        const struct db_statement *s = c->db->statements[item->statement];
        int sent =
            PQsendQueryPrepared(c->pg, s->name, (int)item->count, item->values, NULL, NULL, 0);

        put_sent(c, item);
        if (c->db->config.metrics)
            metrics_add(c->db->config.metrics, METRIC_DB_QUERIES, 1);
        if (!sent) {
            fail(c, PQerrorMessage(c->pg));
            return;
        }
    }
    flush(c);
}

void db_conn_listen(struct db_conn *c, const struct db_listener *l)
{
    char sql[128];
    char *name;

    if (c->index != 0 || c->state < DB_PREPARING)
        return;
    name = PQescapeIdentifier(c->pg, l->channel, strlen(l->channel));
    (void)snprintf(sql, sizeof(sql), "LISTEN %s", name ? name : "");
    PQfreemem(name);
    (void)PQsendQueryParams(c->pg, sql, 0, NULL, NULL, NULL, NULL, 0); /* as above */
    put_sent(c, own_item(l));
    if (c->state == DB_UP)
        flush(c);
}

void db_conn_prepare(struct db_conn *c, size_t first)
{
    if (c->state < DB_PREPARING)
        return;
    for (size_t i = first; i < c->db->statement_count; i++) {
        const struct db_statement *s = c->db->statements[i];

        (void)PQsendPrepare(c->pg, s->name, s->sql, 0, NULL); /* a failure is the connection's */
        put_sent(c, own_item(NULL));
    }
}

static void prepare(struct db_conn *c)
{
    c->state = DB_PREPARING;
    uv_timer_start(&c->timer, on_timer, PREPARE_MS, 0);
    if (PQsetnonblocking(c->pg, 1) || !PQenterPipelineMode(c->pg)) {
        fail(c, PQerrorMessage(c->pg));
        return;
    }
    db_conn_prepare(c, 0);
    for (struct db_listener *l = c->db->listeners; l; l = l->next)
        db_conn_listen(c, l);
    if (c->sent.count == 0)
        put_sent(c, own_item(NULL)); /* an empty sync point says that PostgreSQL answers */
    flush(c);
}

static void go_up(struct db_conn *c)
{
    c->state = DB_UP;
    c->failures = 0;
    uv_timer_stop(&c->timer);
    log_info("db_connection_up", log_u64("host", c->host), log_str("address", PQhost(c->pg)));
    db_count_up(c->db, 1);
    if (c->state != DB_UP)
        return;
    /* What was notified meanwhile is lost. */
    for (struct db_listener *l = c->index == 0 ? c->db->listeners : NULL; l && !c->db->closing;
         l = l->next)
        l->on_notify(l->ctx, NULL);
    db_conn_send(c);
}

/* ---- receiving ---- */

static const char *sqlstate_of(const PGresult *result)
{
    const char *state = result ? PQresultErrorField(result, PG_DIAG_SQLSTATE) : NULL;

    return state ? state : "";
}

static int status_of(const PGresult *result)
{
    static const char *const conflicts[] = {"23505", "40001", "40P01"};
    ExecStatusType status = PQresultStatus(result);
    const char *state = sqlstate_of(result);

    if (status == PGRES_COMMAND_OK || status == PGRES_TUPLES_OK)
        return DB_OK;
    for (size_t i = 0; i < sizeof(conflicts) / sizeof(conflicts[0]); i++)
        if (strcmp(state, conflicts[i]) == 0)
            return DB_E_CONFLICT;
    return DB_E_REFUSED;
}

/* The server is no primary any more, or it is leaving: the answer says nothing about the query. */
static bool is_farewell(const PGresult *result)
{
    static const char *const farewells[] = {"25006", "57P01", "57P02", "57P03"};
    const char *state = sqlstate_of(result);

    for (size_t i = 0; i < sizeof(farewells) / sizeof(farewells[0]); i++)
        if (strcmp(state, farewells[i]) == 0)
            return true;
    return false;
}

static void end_own(struct db_conn *c, struct db_item *item, PGresult *result)
{
    const struct db_listener *l = item->ctx;

    mem_free(item);
    if (result && status_of(result) != DB_OK) {
        log_warning("db_statement_refused", log_str("why", PQresultErrorMessage(result)));
        c->setup_failed = true;
    } else if (l && c->state == DB_UP) { /* else go_up() tells */
        l->on_notify(l->ctx, NULL);
    }
    PQclear(result);
}

/* A sync point: the first of `sent` has ended. */
static void end_first(struct db_conn *c)
{
    struct db_item *item = db_list_take(&c->sent);
    PGresult *result = c->result;

    c->result = NULL;
    if (!item->done) {
        end_own(c, item, result);
        return;
    }
    db_item_end(c->db, item, result ? status_of(result) : DB_E_UNKNOWN, result);
    PQclear(result);
}

/* True: there may be more. */
static bool take_result(struct db_conn *c)
{
    PGresult *result = PQgetResult(c->pg);
    ExecStatusType status = result ? PQresultStatus(result) : PGRES_EMPTY_QUERY;

    if (!result)
        return true; /* the end of one query's results */
    if (is_farewell(result)) {
        /* 25006 did nothing, and can be done elsewhere. */
        if (c->sent.first && strcmp(sqlstate_of(result), "25006") == 0)
            c->sent.first->repeatable = true;
        fail(c, PQresultErrorMessage(result));
        PQclear(result);
        return false;
    }
    if (status == PGRES_PIPELINE_SYNC) {
        PQclear(result);
        end_first(c);
    } else if (status == PGRES_PIPELINE_ABORTED) {
        PQclear(result);
    } else {
        PQclear(c->result);
        c->result = result;
    }
    return c->pg;
}

static void tell_notifications(struct db_conn *c)
{
    PGnotify *n;

    while (c->pg && (n = PQnotifies(c->pg))) {
        for (struct db_listener *l = c->db->listeners; l && c->pg; l = l->next)
            if (strcmp(l->channel, n->relname) == 0)
                l->on_notify(l->ctx, n->extra);
        PQfreemem(n);
    }
}

static void receive(struct db_conn *c)
{
    if (!PQconsumeInput(c->pg)) {
        fail(c, PQerrorMessage(c->pg));
        return;
    }
    while (c->sent.first && PQstatus(c->pg) == CONNECTION_OK && !PQisBusy(c->pg))
        if (!take_result(c))
            return;
    if (PQstatus(c->pg) == CONNECTION_BAD || c->setup_failed) {
        fail(c, c->setup_failed ? "a statement was refused" : PQerrorMessage(c->pg));
        return;
    }
    tell_notifications(c);
    if (c->pg && c->state == DB_PREPARING && !c->sent.first)
        go_up(c);
    if (c->pg)
        db_conn_send(c);
}

static void on_ready(uv_poll_t *poll, int status, int events)
{
    struct db_conn *c = poll->data;

    (void)status; /* libpq finds out itself what is wrong */
    if (c->state != DB_CONNECTING) {
        if (events & UV_WRITABLE)
            flush(c);
        if (c->pg && (events & UV_READABLE || status))
            receive(c);
        return;
    }
    unwatch(c);
    switch (PQconnectPoll(c->pg)) {
    case PGRES_POLLING_READING:
        watch(c, UV_READABLE);
        break;
    case PGRES_POLLING_WRITING:
        watch(c, UV_WRITABLE);
        break;
    case PGRES_POLLING_OK:
        prepare(c);
        break;
    case PGRES_POLLING_FAILED:
    case PGRES_POLLING_ACTIVE:
        fail(c, PQerrorMessage(c->pg));
        break;
    }
}
