// SPDX-License-Identifier: Apache-2.0
#include "recoveryd/pg/pq.h"

#include <string.h>

#include "common/err.h"
#include "common/mem.h"
#include "common/str.h"

struct query {
    struct query *next;
    char *sql;
    pq_done_cb *done;
    void *ctx;
};

struct pq {
    struct pq_config config;
    PGconn *conn;
    uv_poll_t poll;
    uv_timer_t soon; /* tells a failure that was known before the loop was */
    unsigned handles;
    bool polling, up, down, closed;
    bool sent;        /* the first query is with PostgreSQL */
    PGresult *result; /* what came of it so far */
    struct query *first, *last;
};

static void on_handle_closed(uv_handle_t *handle)
{
    struct pq *pq = handle->data;

    if (--pq->handles == 0)
        mem_free(pq);
}

/* libpq ends its messages with a newline. */
static void copy_error(struct err *e, const char *text)
{
    struct str line = str_trim(str_of(text));

    (void)err_set(e, "%.*s", STR_ARG(line));
}

static struct query *take_query(struct pq *pq)
{
    struct query *q = pq->first;

    pq->first = q->next;
    if (!pq->first)
        pq->last = NULL;
    return q;
}

static void free_query(struct query *q)
{
    mem_free(q->sql);
    mem_free(q);
}

static void go_down(struct pq *pq)
{
    struct err why;

    if (pq->down || pq->closed)
        return;
    pq->down = true;
    pq->up = false;
    if (pq->polling)
        uv_poll_stop(&pq->poll);
    copy_error(&why, PQerrorMessage(pq->conn));
    while (pq->first && !pq->closed) {
        struct query *q = take_query(pq);

        q->done(q->ctx, NULL, why.text);
        free_query(q);
    }
    if (!pq->closed)
        pq->config.on_down(pq->config.ctx, why.text);
}

static void on_soon(uv_timer_t *timer)
{
    go_down(timer->data);
}

/* Where a caller of ours may be below. */
static void go_down_soon(struct pq *pq)
{
    uv_timer_start(&pq->soon, on_soon, 0, 0);
}

static void on_ready(uv_poll_t *poll, int status, int events);

static void want(struct pq *pq, int events)
{
    if (uv_poll_start(&pq->poll, events, on_ready) != 0)
        go_down_soon(pq);
}

static void want_for_sending(struct pq *pq)
{
    int r = PQflush(pq->conn);

    if (r < 0)
        go_down_soon(pq);
    else
        want(pq, r == 1 ? UV_READABLE | UV_WRITABLE : UV_READABLE);
}

static void send_next(struct pq *pq)
{
    if (!pq->up || pq->sent || !pq->first)
        return;
    pq->sent = true;
    if (PQsendQuery(pq->conn, pq->first->sql) != 1)
        go_down_soon(pq);
    else
        want_for_sending(pq);
}

static void end_query(struct pq *pq)
{
    struct query *q = take_query(pq);
    PGresult *result = pq->result;
    ExecStatusType status = PQresultStatus(result);
    bool good = status == PGRES_COMMAND_OK || status == PGRES_TUPLES_OK;
    struct err why = {""};

    pq->sent = false;
    pq->result = NULL;
    if (!good)
        copy_error(&why, result ? PQresultErrorMessage(result) : "no answer");
    q->done(q->ctx, good ? result : NULL, why.text);
    PQclear(result);
    free_query(q);
}

/* Keeps the last result, or the first that is an error. */
static void keep(struct pq *pq, PGresult *result)
{
    if (pq->result && PQresultStatus(pq->result) == PGRES_FATAL_ERROR) {
        PQclear(result);
        return;
    }
    PQclear(pq->result);
    pq->result = result;
}

static void read_results(struct pq *pq)
{
    if (PQconsumeInput(pq->conn) != 1) {
        go_down(pq);
        return;
    }
    while (!pq->closed && pq->sent && !PQisBusy(pq->conn)) {
        PGresult *result = PQgetResult(pq->conn);

        if (result)
            keep(pq, result);
        else
            end_query(pq);
    }
    if (pq->closed)
        return;
    if (PQstatus(pq->conn) == CONNECTION_BAD)
        go_down(pq);
    else
        send_next(pq);
}

static void connect_more(struct pq *pq)
{
    switch (PQconnectPoll(pq->conn)) {
    case PGRES_POLLING_READING:
        want(pq, UV_READABLE);
        return;
    case PGRES_POLLING_WRITING:
        want(pq, UV_WRITABLE);
        return;
    case PGRES_POLLING_OK:
        pq->up = true;
        (void)PQsetnonblocking(pq->conn, 1);
        want(pq, UV_READABLE);
        pq->config.on_up(pq->config.ctx);
        if (!pq->closed)
            send_next(pq);
        return;
    default:
        go_down(pq);
    }
}

static void on_ready(uv_poll_t *poll, int status, int events)
{
    struct pq *pq = poll->data;

    if (status < 0) {
        go_down(pq);
        return;
    }
    if (!pq->up) {
        connect_more(pq);
        return;
    }
    if (events & UV_WRITABLE)
        want_for_sending(pq);
    if ((events & UV_READABLE) && !pq->down && !pq->closed)
        read_results(pq);
}

struct pq *pq_start(uv_loop_t *loop, const struct pq_config *config)
{
    struct pq *pq = mem_new(sizeof(*pq));

    pq->config = *config;
    pq->conn = PQconnectStart(config->conninfo);
    pq->handles = 1;
    uv_timer_init(loop, &pq->soon);
    pq->soon.data = pq;
    pq->poll.data = pq;
    if (pq->conn && PQstatus(pq->conn) != CONNECTION_BAD &&
        uv_poll_init(loop, &pq->poll, PQsocket(pq->conn)) == 0) {
        pq->polling = true;
        pq->handles++;
        if (uv_poll_start(&pq->poll, UV_WRITABLE, on_ready) == 0)
            return pq;
    }
    go_down_soon(pq);
    return pq;
}

void pq_close(struct pq *pq)
{
    if (!pq || pq->closed)
        return;
    pq->closed = true;
    pq->up = false;
    while (pq->first)
        free_query(take_query(pq));
    PQclear(pq->result);
    if (pq->polling) {
        uv_poll_stop(&pq->poll);
        uv_close((uv_handle_t *)&pq->poll, on_handle_closed);
    }
    uv_close((uv_handle_t *)&pq->soon, on_handle_closed);
    PQfinish(pq->conn);
}

bool pq_is_up(const struct pq *pq)
{
    return pq && pq->up;
}

bool pq_is_idle(const struct pq *pq)
{
    return !pq->first;
}

void pq_query(struct pq *pq, const char *sql, pq_done_cb *done, void *ctx)
{
    struct query *q = mem_new(sizeof(*q));

    q->sql = mem_strdup(sql);
    q->done = done;
    q->ctx = ctx;
    if (pq->last)
        pq->last->next = q;
    else
        pq->first = q;
    pq->last = q;
    send_next(pq);
}
