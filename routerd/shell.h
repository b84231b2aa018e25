// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * The shell around the router: streams, fabric, database, the links to proxyd and presenced, the
 * replica, one timer. It feeds the core and carries out its ops; it decides nothing about people.
 *
 * It is also the way of the other daemons' replica frames: from their sockets to the group's peer
 * and back (struct replica_path).
 */
#include "common/daemon.h"
#include "common/db.h"
#include "common/replica_link.h"
#include "common/users.h"
#include "routerd/durable.h"
#include "routerd/fabric.h"
#include "routerd/router.h"
#include "routerd/stream_io.h"

/* A daemon of this node that has a link to us. */
struct neighbour {
    struct ipc_link *link; /* NULL while it is away */
    bool frame_lost;       /* a replica frame for it did not fit: it must hear of a new link */
};

struct routerd {
    struct daemon daemon;
    struct directory *directory;
    struct db *db;
    struct users *users;
    struct durable *durable;
    struct router *router;
    struct replica_link *replica;
    struct fabric *fabric;
    struct stream_io *streams;
    struct neighbour proxyd, presenced;
    uv_timer_t timer;         /* the core's deadline; only wakes the loop up */
    uv_prepare_t before_wait; /* looks what the core wants, once a turn */
    bool restored;            /* the replica is: what we had before is here */
    bool listening;
    bool stopped;
};

/* Frames of proxyd and presenced. */
extern const struct ipc_handler shell_handlers[];
extern const size_t shell_handler_count;

/* What the core wants done (shell_ops.c); ctx is the struct routerd. */
extern const struct router_ops shell_router_ops;

/* Both clocks, now. */
struct router_now shell_now(const struct routerd *r);

/* Everything but the daemon, which is initialised already. -1 with a sentence; then shell_stop().
 */
int shell_start(struct routerd *r, struct err *ret_err);
void shell_stop(struct routerd *r);

/* From daemon_config. */
void shell_on_view(struct daemon *d, const struct view *view);
void shell_on_serving(struct daemon *d, bool serving);
void shell_on_link_up(struct daemon *d, struct ipc_link *link);
void shell_on_link_down(struct daemon *d, struct ipc_link *link);
void shell_on_health(struct daemon *d, Muster__ViewAck *ack);
