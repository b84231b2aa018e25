// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * What every main() shares: options, log, configuration, loop, signals, the sockets of the node,
 * and the conversation with recoveryd: the view with its lease, parameters, metrics, alarms.
 *
 *     proxyd --dir DIR [--log-level LEVEL] | --version | --help
 *
 * The daemon listens on its own socket, and recoveryd connects to it. Handlers for recoveryd's
 * frames are daemon.c's; the daemon's own go into daemon_config.
 */
#include <uv.h>

#include "common/conf.h"
#include "common/ipc.h"
#include "common/loop.h"
#include "common/metrics.h"
#include "common/params.h"
#include "common/version.h"
#include "common/view.h"

struct daemon;

enum { DAEMON_BODIES_MAX = 128, DAEMON_ALARMS_MAX = 32 };

struct daemon_config {
    Muster__Service service;
    const char *summary;                /* one line, for --help */
    const struct ipc_handler *handlers; /* beside those of this module; ctx is the struct daemon */
    size_t handler_count;

    /* A new version of the view, not each renewal; and the first of a new recoveryd, which may say
     * the same. Do what it says, then, when all that it took away is let go and committed, and all
     * that it gave is served, call daemon_view_done(). */
    void (*on_view)(struct daemon *d, const struct view *view);
    /* The lease ran out (false) or was renewed after that (true): close or open the listeners. It
     * is true first after the first view. */
    void (*on_serving)(struct daemon *d, bool serving);
    void (*on_params)(struct daemon *d, const struct params *params); /* d->params has changed */
    void (*on_link_up)(struct daemon *d, struct ipc_link *link);
    void (*on_link_down)(struct daemon *d, struct ipc_link *link);
    /* Fills in replica, healthy and complaint; the rest is set. May be NULL. */
    void (*on_health)(struct daemon *d, Muster__ViewAck *ack);
    /* SIGTERM: close all modules; when the last handle is closed the loop ends. Links and timers of
     * this module close right after; what was sent on links before still goes out. */
    void (*on_stop)(struct daemon *d);
};

struct daemon {
    const struct daemon_config *config;
    uv_loop_t loop;
    struct conf conf;
    struct params params;
    struct metrics metrics;
    struct view view; /* version 0 until the first one */
    struct ipc *ipc;
    uint64_t boot_id;
    uint64_t view_done; /* newest version whose effects are complete */
    bool serving;       /* the lease holds */
    uint32_t raised;    /* alarms that hold, by row of alarms.def */
    struct loop_signals signals;
    uv_timer_t lease_timer;
    void *ctx; /* the daemon's own */

    /* Of this module alone. */
    struct ipc_handler handlers[DAEMON_BODIES_MAX];
    struct ipc_link *recoveryd; /* NULL while it is away */
    uint64_t recoveryd_boot_id; /* of the one that sent the view */
    uint32_t told;              /* alarms that were ever raised: said again to a new recoveryd */
    char *details[DAEMON_ALARMS_MAX];
    char *run_dir;
    bool in_view;       /* on_view runs: the answer follows */
    bool has_log_level; /* --log-level: not a matter of the parameter */
};

/* Reads the options and node.conf, starts the log, the loop, the socket. 0; else the exit status,
 * after a sentence on standard error (0 for --help is told by *ret_exit). */
int daemon_init(struct daemon *d, const struct daemon_config *config, int argc, char **argv,
                bool *ret_exit) __attribute__((warn_unused_result));

/* Says "ready", runs the loop until on_stop has closed everything, and frees what is left. */
int daemon_run(struct daemon *d);

void daemon_view_done(struct daemon *d, uint64_t version);

/* Raises or clears an alarm of alarms.def; said again whenever recoveryd comes back. */
void daemon_alarm(struct daemon *d, const char *name, bool raised, const char *detail);

/* Bytes from getrandom; dies where there are none. */
void daemon_random(void *ret_bytes, size_t len);
/* Never 0. */
uint64_t daemon_random_u64(void);

/* Wall clock, for protocols only. */
uint64_t daemon_unix_ms(void);
