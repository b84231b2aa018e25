// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * One connection of the pool. Nobody but db.c and db_conn.c includes this.
 *
 *     AWAY --> CONNECTING --> PREPARING --> UP
 *      ^  \________|______________|_________|   an attempt failed: the next host,
 *      |___________________________________/    and a pause after the last one
 *
 * Each host of the conninfo is tried by itself, because libpq in its asynchronous mode has no time
 * limit for a host that does not answer. `queue` waits, `sent` is in PostgreSQL's hands, in order:
 * its first is the one whose result comes next. Every query has a sync point of its own, so that
 * one that fails takes no other with it.
 */
#include "common/db.h"
#include "common/mono.h"

enum {
    DB_CONNECTIONS_MAX = 8,
    DB_HOSTS_MAX = 8,
    DB_OPTIONS_MAX = 40,
    DB_SENT_MAX = 256, /* queries of one connection in PostgreSQL's hands */
};

enum db_conn_state { DB_AWAY, DB_CONNECTING, DB_PREPARING, DB_UP };

/* A query, with its parameters behind it. */
struct db_item {
    struct db_item *next;
    size_t statement;
    size_t count;
    db_done_cb *done; /* NULL: ours, to prepare or to listen */
    void *ctx;
    mono_t deadline; /* while it waits */
    bool repeatable;
    bool was_sent; /* and may have been done */
    const char *values[];
};

struct db_list {
    struct db_item *first, *last;
    size_t count;
};

struct db_conn {
    struct db *db;
    unsigned index;
    enum db_conn_state state;
    PGconn *pg;
    uv_poll_t *poll;
    uv_timer_t timer; /* of an attempt, or the pause before the next */
    unsigned host;
    unsigned failures; /* hosts in a row */
    struct db_list queue, sent;
    PGresult *result; /* of the first of `sent`, until its sync point */
    bool setup_failed;
};

struct db_listener {
    struct db_listener *next;
    char *channel;
    void (*on_notify)(void *ctx, const char *payload);
    void *ctx;
};

struct db {
    uv_loop_t *loop;
    struct db_config config;
    const struct db_statement **statements; /* rows of all tables */
    size_t statement_count;
    PQconninfoOption *options;
    unsigned hosts;
    struct db_conn conns[DB_CONNECTIONS_MAX];
    struct db_listener *listeners;
    struct db_list refused; /* to be told in the next turn of the loop */
    uv_idle_t flush;        /* active while something waits to be sent or told */
    uv_timer_t expiry;      /* active while queries wait */
    unsigned up, handles;
    unsigned next; /* connection for a query without order */
    bool closing;
};

void db_list_put(struct db_list *l, struct db_item *item);
struct db_item *db_list_take(struct db_list *l);

/* Calls back and frees. `result`: may be NULL; borrowed. */
void db_item_end(struct db *db, struct db_item *item, int status, const PGresult *result);

/* Starts an attempt now. */
void db_conn_start(struct db_conn *c);
/* Sends what waits, as far as it may. */
void db_conn_send(struct db_conn *c);
/* Sends PREPARE for the statements from `first` on, if the connection is there. */
void db_conn_prepare(struct db_conn *c, size_t first);
/* Sends LISTEN, if the connection is up and has that task. */
void db_conn_listen(struct db_conn *c, const struct db_listener *l);
/* Lets go of the connection; what it had not done goes back to the queue or ends. */
void db_conn_stop(struct db_conn *c);
/* A connection came or went. */
void db_count_up(struct db *db, int change);
