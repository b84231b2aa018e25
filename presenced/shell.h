// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * The shell around the presence engine: links to proxyd and routerd, the directory, the replica,
 * one timer. It parses documents on their way in, and decides nothing else.
 */
#include "common/daemon.h"
#include "common/db.h"
#include "common/replica_link.h"
#include "common/users.h"
#include "presenced/engine.h"

struct presenced {
    struct daemon daemon;
    struct directory *directory;
    struct db *db;
    struct users *users;
    struct engine *engine;
    struct replica_link *replica;
    struct ipc_link *proxyd;  /* NULL while it is away */
    struct ipc_link *routerd; /* ours, always there; up or not */
    bool peer_up;             /* as routerd said last */
    uint64_t peer_link_id;
    bool users_seen; /* the directory has been loaded once */
    uv_timer_t timer;
};

/* Frames of proxyd and routerd. */
extern const struct ipc_handler shell_handlers[];
extern const size_t shell_handler_count;

/* Everything but the daemon, which is initialised already. */
void shell_start(struct presenced *p);
void shell_stop(struct presenced *p);

/* From daemon_config. */
void shell_on_view(struct daemon *d, const struct view *view);
void shell_on_serving(struct daemon *d, bool serving);
void shell_on_link_up(struct daemon *d, struct ipc_link *link);
void shell_on_link_down(struct daemon *d, struct ipc_link *link);
void shell_on_health(struct daemon *d, Muster__ViewAck *ack);
