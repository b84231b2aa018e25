// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * A group of two nodes for simulations of recoveryd: two cores as they are shipped, and models of
 * all that surrounds them: clock, network, disk, daemons with their leases, PostgreSQL, clients
 * that write and remember what was acknowledged.
 *
 * Time moves from one happening to the next. After each, what HA.md promises is checked: no home
 * is served by two nodes (but for a cut cable), an epoch of a home has one owner, epochs only grow.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "common/buf.h"
#include "recoveryd/rcv.h"

enum {
    GROUP_SERVICES = MUSTER__SERVICE__SYNCAGENT + 1,
    GROUP_QUEUE_MAX = 4096,
    GROUP_ITEMS_MAX = 20000,
    GROUP_EPOCHS_MAX = 2000,
    GROUP_NEVER = 1 << 30, /* ms, later than any end */
};

/* The memory of a daemon is its last view. */
struct group_daemon {
    bool running, hung, broken; /* broken: starts, and is never healthy */
    uint32_t pid;
    uint64_t started_at;
    uint64_t recoveryd_boot; /* of the view */
    struct rcv_view view;
    uint64_t lease_until;
    uint64_t done; /* version whose effects are complete */
};

/* A log of items; what a standby lacks of its primary's is lost if that is. */
struct group_database {
    bool exists, unusable, running, up, standby, receiving, broken;
    uint32_t timeline;
    uint32_t synchronous; /* node; 0: none */
    uint32_t *items;
    size_t count;
    bool busy; /* an operation, by its number */
    uint64_t op;
};

struct group_node {
    struct group *group;
    uint32_t number;
    bool powered;
    struct rcv *rcv; /* NULL: recoveryd does not run */
    uint64_t boot_id;
    uint64_t frozen_until;
    struct rcv_plan disk;
    struct rcv_plan writing;
    bool is_writing;
    uint64_t lease_until; /* the mark that a predecessor left */
    bool connected;       /* our heartbeat connection */
    uint64_t tick;        /* number of the tick that counts */
    struct group_daemon daemons[GROUP_SERVICES];
    struct group_database database;
    struct rcv_effect reply; /* to the last command */
    struct rcv_update update;
};

struct happening;

struct group {
    uint64_t now;
    uint64_t random;
    struct happening *queue;
    size_t queued;
    uint64_t order;
    struct group_node nodes[2];
    bool cut[2];          /* what node i + 1 says does not arrive */
    bool stream_cut;      /* heartbeats pass, replication does not */
    uint64_t cut_since;   /* 0: the link is whole */
    uint64_t cut_trouble; /* until then, a cut excuses two owners */
    unsigned slow_ms;     /* a heartbeat may take so much longer; none overtakes another */
    uint64_t last_arrival[2];
    unsigned crash_permille; /* recoveryd dies between two effects */
    bool clients;
    bool no_daemon_faults;
    /* What clients have been promised. */
    bool acknowledged[GROUP_ITEMS_MAX];
    uint32_t next_item;
    /* Who owned a home at an epoch: node; 0: nobody yet. */
    uint8_t owners[2][GROUP_EPOCHS_MAX];
    uint64_t epochs[2];
    struct rcv_timers timers;
    bool tracing;
    struct buf trace;
    uint64_t steps;
};

/* Both nodes powered, recoveryds just started, disks empty. */
void group_start(struct group *g, uint64_t seed);
void group_done(struct group *g);

void group_run(struct group *g, uint64_t ms);
/* Runs until `is_so`, at most `ms`; false if it never was. */
bool group_until(struct group *g, uint64_t ms, bool (*is_so)(const struct group *g));

/* A number below `limit`. */
uint64_t group_random(struct group *g, uint64_t limit);

/* ---- what can happen (node: 1 or 2) ---- */

void group_power_cut(struct group *g, uint32_t node); /* nobody hears anything any more */
void group_kill_all(struct group *g, uint32_t node);  /* kill -9 of everything: refused */
void group_power_on(struct group *g, uint32_t node);
void group_kill_recoveryd(struct group *g, uint32_t node, uint64_t back_after_ms);
void group_freeze_recoveryd(struct group *g, uint32_t node, uint64_t ms);
void group_kill_daemon(struct group *g, uint32_t node, Muster__Service service);
void group_hang_daemon(struct group *g, uint32_t node, Muster__Service service);
void group_break_daemon(struct group *g, uint32_t node, Muster__Service service, bool broken);
void group_kill_database(struct group *g, uint32_t node);
void group_break_database(struct group *g, uint32_t node, bool broken);
void group_cut(struct group *g, bool from_1, bool from_2);
void group_mend(struct group *g);
/* nodectl; the exit status. */
int group_command(struct group *g, uint32_t node, enum rcv_command command,
                  Muster__Service service);

/* ---- what is so ---- */

bool group_is_normal(const struct group *g);
bool group_shows(const struct group *g, uint32_t node, Muster__NodeState state,
                 Muster__StateReason reason);
/* Acknowledged items that the database which is in force lacks. */
unsigned group_lost(const struct group *g);
/* Every effect that matters since the start, a line a step; fails where it differs. */
void group_expect_trace(struct group *g, const char *expected);
/* A line of the test's own in the trace. */
void group_note(struct group *g, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Prints the trace, if there is one, the state of both, and the sentence, and fails. */
void group_fail(struct group *g, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* ---- between the files of this model ---- */

enum happening_type {
    HAPPEN_TICK,
    HAPPEN_HEARTBEAT,
    HAPPEN_LINK_LOST,
    HAPPEN_CONNECT,
    HAPPEN_CONNECT_FAILED,
    HAPPEN_SAVED,
    HAPPEN_VIEW,
    HAPPEN_DONE,
    HAPPEN_ACK,
    HAPPEN_SERVICE_EXITED,
    HAPPEN_DATABASE_POLL,
    HAPPEN_DATABASE_DONE,
    HAPPEN_SYNC_DONE,
    HAPPEN_RECOVERYD_START,
    HAPPEN_CLIENTS,
};

struct happening {
    enum happening_type type;
    uint64_t at, order;
    uint32_t node;
    uint64_t boot_id; /* of the recoveryd that it is for; 0: any */
    uint64_t id;
    Muster__Service service;
    uint32_t pid;
    bool ok, refused;
    union {
        Muster__Heartbeat heartbeat;
        struct rcv_view view;
        struct {
            enum rcv_database_op op;
            uint32_t peer;
        } database;
    };
};

struct happening *group_happen(struct group *g, enum happening_type type, uint32_t node,
                               uint64_t after_ms);
/* Tells the core of a node, if there is one, and carries out what it wants. */
void group_step(struct group_node *n, struct rcv_event event);
struct group_node *group_peer(struct group_node *n);
bool group_reaches(const struct group *g, uint32_t from, uint32_t to);

/* group_models.c */
void group_model(struct group *g, struct happening *h);
void group_model_effect(struct group_node *n, const struct rcv_effect *e);
void group_start_daemon(struct group_node *n, Muster__Service service);
void group_end_daemon(struct group_node *n, Muster__Service service);
void group_tell_database(struct group_node *n);
void group_check(struct group *g);
