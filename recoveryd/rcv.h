// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * The recovery manager of a node, as a pure machine: events in, effects out (HA.md).
 *
 * Two nodes make a group. What a node is to do is its *goal*, which stands in its *plan*: a durable
 * record with an epoch. How far it has come is *reported*.
 *
 *     INIT    serves nobody yet: finds out what there is
 *     OWN     serves the users whose home it is; the peer does the same
 *     BOTH    serves all users of the group; the peer is NONE, or dead
 *     NONE    serves nobody; the peer is BOTH
 *     FAILED  serves nobody, and neither does the peer
 *
 * The plans of two nodes always belong together (OWN and OWN, BOTH and NONE, FAILED and FAILED):
 * whoever decides writes a plan with a higher epoch, and the other one, seeing that in a heartbeat,
 * writes the plan that belongs to it (rules.c). The nodes draw from odd and from even epochs, so no
 * epoch ever has two authors. Nothing is done, and nothing is told to the peer, before the plan is
 * on disk. Then edges.c carries it out: users that it takes away are released at once; users that
 * it gives are served once the peer has released them, or is dead.
 *
 * What operators see, state and reason, is derived (group_states.def); it decides nothing.
 *
 * The caller has one struct rcv, feeds every event to rcv_step(), carries out the effects in their
 * order, and calls with RCV_TICK no later than rcv_deadline(). No clock, no I/O, no randomness.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <control.pb-c.h>
#include <envelope.pb-c.h>
#include <heartbeat.pb-c.h>

#include "common/mono.h"

/* Goal and reported. Numbers are on the wire and on disk. */
enum rcv_role {
    RCV_UNKNOWN = 0,
    RCV_INIT = 1,
    RCV_OWN = 2,
    RCV_BOTH = 3,
    RCV_NONE = 4,
    RCV_FAILED = 5,
    RCV_ROLES,
};

/* What an operator asked for and the peer must help with. On the wire. */
enum rcv_wish { RCV_WISH_NOTHING = 0, RCV_WISH_FALLBACK = 1, RCV_WISH_RECOVER = 2 };

/* The durable record. All zero: there is none yet. */
struct rcv_plan {
    uint64_t epoch;
    enum rcv_role goal;
    enum rcv_role reported; /* what was known to be done; it may be more, never less */
    Muster__StateReason cause;
    enum rcv_role resume;   /* while INIT: the goal that an operator's failover had given it */
    uint32_t database_node; /* whose database is the primary; 0: undecided */
    bool database_alone;    /* of the primary: the peer may lack commits that it acknowledged */
    bool database_synced;   /* of the standby: it holds every acknowledged commit */
    bool database_kept;     /* BOTH was reached without a promotion */
    uint64_t base_epoch;    /* highest that was known when this one was decided */
    bool from_init;         /* the goal was reached from INIT: reason Initialization */
    uint32_t rule;          /* that gave the goal */
    uint64_t since_unix_ms; /* of state and reason, as operators see them */
};

struct rcv_timers {
    uint64_t heartbeat_interval_ms;
    uint64_t heartbeat_timeout_ms;
    uint64_t init_heartbeat_timeout_ms;
    uint64_t serving_lease_ms;
    uint64_t critical_service_down_delay_ms;
    uint64_t automatic_fallback_delay_ms;
    bool automatic_fallback;
};

struct rcv_config {
    uint32_t node;
    uint32_t peer;    /* 0: a group of one */
    uint64_t boot_id; /* not 0 */
    bool database_external;
    struct rcv_timers timers;
    struct rcv_plan plan; /* from disk */
    /* Pids of daemons that a predecessor left running, by service; 0: none. */
    uint32_t found[MUSTER__SERVICE__SYNCAGENT + 1];
    /* Until when the lease lasts that our predecessor gave to the daemons, if one of those whose
     * listeners the peer tries lives; else 0. While it lasts nobody can have taken over, so we go
     * on where it stopped; and soon after it we must have been heard. */
    mono_t inherited_lease;
};

/* What is seen of the node's own PostgreSQL (postgres.h). */
struct rcv_database {
    bool known;
    bool exists;
    bool unusable;
    bool running;
    bool up;
    bool standby;
    bool receiving;
    uint32_t timeline;
    uint64_t lsn;
    uint32_t synchronous; /* node that commits wait for; 0: none */
    uint32_t replica;     /* node whose standby is connected; 0: none */
    bool streaming;       /* that standby has caught up and streams */
    bool sync;            /* and commits do wait for it */
    uint64_t replica_lag_bytes;
};

enum rcv_event_type {
    RCV_TICK,            /* time has passed */
    RCV_HEARD,           /* heartbeat: a heartbeat of the peer, its fields in range */
    RCV_LINK_LOST,       /* a heartbeat connection that was open has ended */
    RCV_CONNECT_FAILED,  /* connect: a heartbeat connection could not be made */
    RCV_SERVICE_STARTED, /* process: it runs (pid), or could not be started (0) */
    RCV_SERVICE_EXITED,  /* process */
    RCV_SERVICE_ACKED,   /* ack: a daemon answers a view */
    RCV_DATABASE,        /* database: what is seen of it now */
    RCV_DATABASE_DONE,   /* done: of RCV_RUN_DATABASE */
    RCV_SYNC_DONE,       /* done: of RCV_SET_SYNCHRONOUS */
    RCV_SAVED,           /* done: of RCV_SAVE */
    RCV_COMMAND,         /* command: an operator's; RCV_REPLY is among the effects */
    RCV_TIMERS,          /* timers: parameters have changed */
    RCV_STOP,            /* we are being ended in good order */
};

enum rcv_command {
    RCV_FAILOVER,
    RCV_FALLBACK,
    RCV_RECOVER,
    RCV_SERVICE_START,
    RCV_SERVICE_STOP,
    RCV_SERVICE_RESTART,
};

struct rcv_event {
    enum rcv_event_type type;
    mono_t now;
    uint64_t unix_ms;
    union {
        const Muster__Heartbeat *heartbeat; /* borrowed */
        struct {
            bool refused;           /* at once, by the peer's kernel: nobody listens there */
            bool listeners_refused; /* and neither does any daemon of the peer */
        } connect;
        struct {
            Muster__Service service;
            uint32_t pid;
        } process;
        struct {
            Muster__Service service;
            const Muster__ViewAck *ack; /* borrowed */
        } ack;
        struct rcv_database database;
        struct {
            uint64_t id;
            bool ok;
        } done;
        struct {
            enum rcv_command command;
            Muster__Service service; /* of the RCV_SERVICE_ ones; DATABASE is refused */
        } command;
        struct rcv_timers timers;
    };
};

/* A node of the group in a view. */
struct rcv_view_node {
    uint32_t node;
    Muster__NodeState state;
    Muster__StateReason reason;
    uint32_t served_by;
    uint64_t epoch;
    bool services_up;
};

struct rcv_view {
    uint64_t version;
    uint64_t epoch;
    bool drain;
    /* A successor may go on under this lease: the plan on disk is the one in force. Otherwise no
     * mark of a lease may be left. */
    bool inheritable;
    uint64_t lease_ms; /* from now on; 0: none */
    uint32_t count;
    struct rcv_view_node nodes[2]; /* ours first */
};

enum rcv_database_op {
    RCV_DATABASE_NOTHING,
    RCV_DATABASE_INIT_PRIMARY,
    RCV_DATABASE_START,
    RCV_DATABASE_MAKE_STANDBY,
    RCV_DATABASE_REJOIN,
    RCV_DATABASE_PROMOTE,
    RCV_DATABASE_STOP,
};

enum rcv_effect_type {
    RCV_SAVE,              /* id, plan: make it durable, then RCV_SAVED. One at a time */
    RCV_PUSH_VIEW,         /* view: to every daemon, with its lease, which begins now */
    RCV_SEND_HEARTBEAT,    /* heartbeat */
    RCV_RECONNECT,         /* the peer is silent: make the connection to it anew */
    RCV_START_SERVICE,     /* service: RCV_SERVICE_STARTED follows */
    RCV_TERMINATE_SERVICE, /* service: SIGTERM; RCV_SERVICE_EXITED follows */
    RCV_KILL_SERVICE,      /* service: SIGKILL; the same */
    RCV_RUN_DATABASE,      /* id, database.op, .peer; RCV_DATABASE_DONE follows */
    RCV_SET_SYNCHRONOUS,   /* id, database.peer: 0 is nobody; RCV_SYNC_DONE follows */
    RCV_ALARM,             /* alarm: raised or cleared */
    RCV_CHANGED,           /* changed: another state or reason; for the log */
    RCV_REPLY,             /* reply: to RCV_COMMAND */
};

enum { RCV_EFFECTS_MAX = 64, RCV_SENTENCE_MAX = 240 };

struct rcv_effect {
    enum rcv_effect_type type;
    uint64_t id;
    union {
        struct rcv_plan plan;
        struct rcv_view view;
        Muster__Heartbeat heartbeat;
        Muster__Service service;
        struct {
            enum rcv_database_op op;
            uint32_t peer;
        } database;
        struct {
            const char *name; /* of alarms.def */
            bool raised;
            char detail[RCV_SENTENCE_MAX];
        } alarm;
        struct {
            Muster__NodeState state;
            Muster__StateReason reason;
            uint32_t rule;
            enum rcv_role goal, reported;
            uint64_t epoch;
        } changed;
        struct {
            int status; /* exit status of nodectl */
            char sentence[RCV_SENTENCE_MAX];
        } reply;
    };
};

/* What a step wants done, in this order. The caller owns it and reads it after the step. */
struct rcv_update {
    size_t count;
    struct rcv_effect effects[RCV_EFFECTS_MAX];
};

struct rcv;
struct service;

struct rcv *rcv_new(const struct rcv_config *config, mono_t now, uint64_t unix_ms);
void rcv_free(struct rcv *r);

/* Never fails. Events come one at a time, with time that never goes back; the effects of the last
 * step have been begun. */
void rcv_step(struct rcv *r, const struct rcv_event *event, struct rcv_update *ret_update);

/* When RCV_TICK must come at the latest. */
mono_t rcv_deadline(const struct rcv *r);

/* Asserts every invariant; for tests and fuzzers. */
void rcv_check(const struct rcv *r);

/* ---- what is shown ---- */

/* A node, as the group's heartbeats tell of it. */
struct rcv_node_status {
    uint32_t node;
    bool heard; /* false: of the peer nothing is known */
    Muster__NodeState state;
    Muster__StateReason reason;
    uint64_t since_unix_ms;
    uint64_t epoch;
    uint32_t served_by;
    bool database_primary;
    enum rcv_role goal, reported;
};

/* Of ourselves (peer false) or the peer. */
struct rcv_node_status rcv_status(const struct rcv *r, bool peer);

/* Borrowed until the next step. */
const struct service *rcv_service(const struct rcv *r, Muster__Service service);
const char *rcv_service_state(const struct rcv *r, Muster__Service service, mono_t now);

/* The plan that is on disk. */
const struct rcv_plan *rcv_plan(const struct rcv *r);
/* Do we serve them now? Of our own users, and of the peer's. */
bool rcv_serves(const struct rcv *r, bool peers);
/* RCV_STOP has come, and no daemon is left, and no database that runs. */
bool rcv_stopped(const struct rcv *r);

/* "initialise", "own", "both", "none", "failed". */
const char *rcv_role_name(enum rcv_role role);
/* "start", "rejoin", ... */
const char *rcv_database_op_name(enum rcv_database_op op);
