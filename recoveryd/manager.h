// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * The shell around the recovery manager's core: one struct that holds every module of recoveryd,
 * events to the core through one door, its effects carried out in their order.
 */
#include <uv.h>

#include "common/conf.h"
#include "common/db.h"
#include "common/metrics.h"
#include "common/params.h"
#include "recoveryd/alarm_list.h"
#include "recoveryd/daemon_links.h"
#include "recoveryd/heartbeat.h"
#include "recoveryd/metrics_http.h"
#include "recoveryd/migrate.h"
#include "recoveryd/params_source.h"
#include "recoveryd/postgres.h"
#include "recoveryd/rcv.h"
#include "recoveryd/state_file.h"
#include "recoveryd/supervisor.h"

enum { MANAGER_QUEUE_MAX = 32 };

struct manager {
    uv_loop_t *loop;
    struct conf conf;
    struct params params;
    struct metrics metrics;
    uint64_t boot_id;
    uint32_t peer; /* 0: a group of one */

    struct rcv *rcv;
    struct rcv_update update; /* of the last step */
    uv_timer_t timer;
    bool stepping;
    /* What effects led to at once, for the steps that follow. Borrowed things are never in it. */
    struct rcv_event queue[MANAGER_QUEUE_MAX];
    size_t queued;

    struct state_file *state;
    struct supervisor *supervisor;
    struct daemon_links *links;
    struct heartbeat *heartbeat; /* NULL in a group of one */
    SSL_CTX *server, *client;
    struct postgres *postgres; /* NULL: database = external */
    struct db *db;
    struct params_source *source;
    struct migrate *migrate; /* runs */
    bool migrated;           /* the primary that we have is of our version */
    struct metrics_http *http;
    struct alarm_list alarms;

    uint64_t save_id, database_id, sync_id; /* of effects in progress */
    struct rcv_effect *reply;               /* where RCV_REPLY goes while a command runs */
    bool stopped;
};

/* 0, or -1 with a sentence; then everything that was started closes in the loop. */
int manager_start(struct manager *m, struct err *ret_err) __attribute__((warn_unused_result));
/* SIGTERM: daemons and database are stopped; then everything closes, and the loop ends. */
void manager_stop(struct manager *m);

/* Tells the core; `now` and `unix_ms` are filled in. Effects are carried out before it returns,
 * unless it is called from one. */
void manager_step(struct manager *m, struct rcv_event event);

/* One command of an operator; *ret_reply is its RCV_REPLY. */
void manager_command(struct manager *m, enum rcv_command command, Muster__Service service,
                     struct rcv_effect *ret_reply);

/* ---- effects.c ---- */

void effects_carry_out(struct manager *m, const struct rcv_effect *e);
/* The database has just been seen: migrations run on a primary that has come up. */
void effects_migrate(struct manager *m);

/* ---- admin.c ---- */

/* Answers nodectl. */
void admin_on_request(void *ctx, struct ipc_link *link, uint64_t id,
                      const Muster__AdminRequest *request);
