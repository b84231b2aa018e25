// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * The node's own PostgreSQL: a cluster in DIR/data, a primary or the standby of another node.
 *
 * This is a shell: it carries out what the core decided, one operation at a time, and reports what
 * it sees. It decides nothing: neither who is primary nor whether commits wait for the standby.
 *
 *     DIR/data          the cluster; data.old-TIME: one that could not be rewound, never deleted
 *     DIR/postgres      its configuration, outside of what pg_rewind and pg_basebackup overwrite
 *     DIR/run           the Unix socket (directory mode 0700), for us alone: user muster, superuser
 *     DIR/log/postgresql.log
 *     DIR/state/database.unusable   the cluster is being rebuilt: only REJOIN or MAKE_STANDBY may
 *                                   follow, whatever happens in between
 *
 * Others reach it by TLS on the node's address and port.database, with a certificate of our CA.
 * PostgreSQL outlives recoveryd, which finds it again by its pid file. All operations are
 * idempotent, may be repeated after a crash at any point, and never block the loop.
 *
 * Everything is called, and calls back, on the loop's thread.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <uv.h>

#include "common/conf.h"

struct postgres;

enum { POSTGRES_WHY_MAX = 256 };

/* What is known now. Numbers of a cluster that is not `up` are the last ones known; 0: never. */
struct postgres_status {
    bool known;    /* the first look has ended; before, the rest says nothing */
    bool exists;   /* there is a cluster in DIR/data */
    bool unusable; /* ... that a REJOIN or MAKE_STANDBY left half done */
    bool running;  /* its postmaster lives */
    bool up;       /* and answers queries */
    bool standby;  /* follows another node: in recovery, or, when down, would start so */
    uint32_t timeline;
    uint64_t lsn;       /* primary: flushed; standby: received and flushed, or replayed */
    uint64_t system_id; /* the same for all copies of one database */
    uint32_t pid;       /* of the postmaster; 0: not running */

    /* Of a primary. */
    uint32_t synchronous;       /* node whose acknowledgement commits wait for; 0: none */
    uint32_t replica;           /* node of the standby that is connected; 0: none */
    char replica_state[16];     /* "streaming", "catchup", "backup", ...; "" without one */
    char replica_sync[16];      /* "sync", "async", "potential", "quorum"; "" without one */
    uint64_t replica_lag_bytes; /* flushed here and not yet there */

    /* Of a standby. */
    bool receiving; /* has been streaming from its primary for a second at least */
};

struct postgres_config {
    const struct conf *conf; /* borrowed */
    /* Something of the status has changed, `lsn` and lag alone excepted. Death of the postmaster is
     * told at once; the rest is polled every POSTGRES_POLL_MS. */
    void (*on_status)(void *ctx, const struct postgres_status *status);
    void *ctx;
};

enum { POSTGRES_POLL_MS = 250 };

enum postgres_op {
    /* A new, empty database, running as primary, with user and database `muster` and a slot for
     * each other node of the group. Where a cluster exists: as START. */
    POSTGRES_INIT_PRIMARY,
    /* Starts the cluster as what it is. Waits for left-over processes of a killed one to end. */
    POSTGRES_START,
    /* Gets a whole copy of `peer`'s database and follows it. An existing cluster is moved aside. */
    POSTGRES_MAKE_STANDBY,
    /* Makes this cluster follow `peer`, as cheaply as it can: starts it if it is a standby that can
     * stream, else rewinds it, else as MAKE_STANDBY. Ends when it is receiving. */
    POSTGRES_REJOIN,
    /* A running standby becomes primary, asynchronous until told otherwise, with slots for the
     * other nodes of the group. A running primary: nothing to do. */
    POSTGRES_PROMOTE,
    /* Fast shutdown; SIGQUIT when half of the time has passed. */
    POSTGRES_STOP,
};

enum {
    POSTGRES_OK = 0,
    POSTGRES_FAILED = 1, /* `why` has the tool's last words */
    POSTGRES_TIMEOUT = 2,
    POSTGRES_CANCELLED = 3, /* by a newer operation, postgres_cancel() or postgres_close() */
    POSTGRES_REFUSED = 4,   /* makes no sense now: no cluster, unusable, no such peer, a primary */
};

/* `why`: one sentence, "" when POSTGRES_OK. Never called from within postgres_run(). */
typedef void postgres_done_cb(void *ctx, int status, const char *why);

struct postgres_request {
    enum postgres_op op;
    uint32_t peer;       /* node to follow, of MAKE_STANDBY and REJOIN */
    uint64_t timeout_ms; /* 0: 30 s for START, STOP and PROMOTE, else 10 min */
    postgres_done_cb *done;
    void *ctx;
};

/* Creates what is missing of DIR's folders, looks for a running postmaster, begins to poll. */
struct postgres *postgres_start(uv_loop_t *loop, const struct postgres_config *config);
/* Lets go of it without stopping it. An operation in progress is cancelled (done is called from
 * within); then nothing comes. Frees itself when its handles are closed. */
void postgres_close(struct postgres *p);

const struct postgres_status *postgres_status(const struct postgres *p);

/* Begins an operation. One that is still in progress is cancelled first: the newest wish counts. */
void postgres_run(struct postgres *p, const struct postgres_request *request);
/* Ends the operation in progress, if any, with POSTGRES_CANCELLED, later. */
void postgres_cancel(struct postgres *p);
bool postgres_busy(const struct postgres *p);

/* From now on commits wait for `node`'s standby; 0: for nobody, and those that wait are released.
 * Independent of operations; kept over restarts of PostgreSQL. `done` (may be NULL) comes when the
 * running primary says that it is in force; POSTGRES_REFUSED where there is no running primary,
 * POSTGRES_CANCELLED where a newer call overtook it, POSTGRES_TIMEOUT after 10 s. */
void postgres_set_synchronous(struct postgres *p, uint32_t node, postgres_done_cb *done, void *ctx);

const char *postgres_op_name(enum postgres_op op);

/* Conninfo of the Unix socket, superuser, as `database`; valid in this process only while `p` is
 * open. For migrate. */
void postgres_local_conninfo(const struct postgres *p, const char *database, char *ret_conninfo,
                             size_t size);
