// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * What is seen of the node's PostgreSQL: files on disk, the life of the postmaster (a pidfd tells
 * its death at once), and what it answers on its Unix socket. Keeps the postgres_status.
 */
#include <uv.h>

#include "recoveryd/pg/pq.h"
#include "recoveryd/postgres.h"

struct watch;

struct watch_config {
    const struct conf *conf;      /* borrowed */
    void (*on_change)(void *ctx); /* the status, beyond lsn and lag */
    void (*on_tick)(void *ctx);   /* each time it has looked around */
    void *ctx;
};

struct watch *watch_start(uv_loop_t *loop, const struct watch_config *config);
/* No callback comes any more. Frees itself when its handles are closed and its thread is back. */
void watch_close(struct watch *w);

const struct postgres_status *watch_status(const struct watch *w);

/* Looks around ten times as often, while an operation waits for something. */
void watch_hurry(struct watch *w, bool hurry);
/* The disk was changed by us: look at it again. */
void watch_look(struct watch *w);
/* Has the disk been looked at since watch_look() and since the postmaster died? */
bool watch_is_fresh(const struct watch *w);
/* Living processes of a postmaster that is gone: it cannot be started while there are some. */
unsigned watch_leftovers(const struct watch *w);

/* Starts the postmaster; 0 or UV_E... (UV_EAGAIN: the last one is not quite gone). Where it ends
 * again, the status says so. */
int watch_spawn(struct watch *w) __attribute__((warn_unused_result));
/* Signals it; nothing if there is none. */
void watch_signal(struct watch *w, int signum);

/* Runs `sql` on our connection; the status must be `up`. */
void watch_query(struct watch *w, const char *sql, pq_done_cb *done, void *ctx);
/* Drops the connection, so that no pq_done_cb comes any more. A new one is made. */
void watch_drop(struct watch *w);

void watch_conninfo(const struct watch *w, const char *database, char *ret_conninfo, size_t size);
