// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * What stands around the proxy's core: the wire, the rooms' links, the replica, the users, the
 * view. It feeds events to the core and carries out what that wants; it decides only when to
 * listen.
 *
 * We listen while the lease holds, the users are known, and what the peer held of ours has come
 * back (replica.h, FRESH).
 */
#include "common/daemon.h"
#include "common/db.h"
#include "common/dns.h"
#include "common/replica_link.h"
#include "common/users.h"
#include "proxyd/proxy.h"
#include "proxyd/wire.h"

struct shell {
    struct daemon daemon;
    struct directory *directory;
    struct db *db;
    struct users *users;
    struct dns *dns;
    struct replica_link *replica;
    struct proxy *proxy; /* NULL: not started, or stopped */
    struct wire *wire;
    struct ipc_link *presenced, *routerd;
    uv_timer_t deadline;
    uv_prepare_t arm; /* arms `deadline` before each wait */
    bool restored;
};

extern const struct daemon_config shell_config;

/* After daemon_init(). 0, or the exit status after a sentence in the log. */
int shell_start(struct shell *s) __attribute__((warn_unused_result));
/* After daemon_run(). */
void shell_done(struct shell *s);
