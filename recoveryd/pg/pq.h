// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * One connection to one PostgreSQL, asynchronous, queries one after the other: for the little that
 * recoveryd says to its own database over the Unix socket. Daemons use common/db.h.
 */
#include <stdbool.h>

#include <libpq-fe.h>
#include <uv.h>

struct pq;

struct pq_config {
    const char *conninfo; /* one host */
    void (*on_up)(void *ctx);
    /* It could not be made, or broke. Queries were told before. Only pq_close() may follow. */
    void (*on_down)(void *ctx, const char *why);
    void *ctx;
};

/* `result`: of the last statement of the query, freed after the callback; NULL when one failed or
 * the connection broke, and then `why` says so. */
typedef void pq_done_cb(void *ctx, const PGresult *result, const char *why);

/* Never calls back from within. */
struct pq *pq_start(uv_loop_t *loop, const struct pq_config *config);
/* No callback comes any more. NULL is fine. */
void pq_close(struct pq *pq);

bool pq_is_up(const struct pq *pq);
/* No query is under way or waiting. */
bool pq_is_idle(const struct pq *pq);

/* Copies `sql`; may be several statements, then one transaction. Waits for earlier ones. */
void pq_query(struct pq *pq, const char *sql, pq_done_cb *done, void *ctx);
