// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * The machine's inside, shared by the files that make it up and by nobody else:
 *
 *     rcv.c        events in; the order in which a step does things
 *     rules.c      the numbered decisions: what the next plan is
 *     commands.c   what an operator may ask for, and the refusals
 *     edges.c      the plan on disk is carried out: release, acquire, report
 *     roles.c      which node's database is the primary, and what PostgreSQL is told to do
 *     state_view.c what others see: state, reason, view, heartbeat
 *     tell.c       what operators are told: changes of state, alarms
 *     sure.c       whether what we last knew still holds
 *     facts.c      questions that several of these ask
 */
#include "recoveryd/peer.h"
#include "recoveryd/rcv.h"
#include "recoveryd/services.h"

/* Of users: ours (whose home is this node) and the peer's. */
struct rcv_users {
    bool own, peers;
};

enum { RCV_SENT_MAX = 64 };

enum rcv_sync {
    RCV_SYNC_OFF,      /* commits wait for nobody */
    RCV_SYNC_SETTING,  /* RCV_SET_SYNCHRONOUS(peer) is on its way */
    RCV_SYNC_CATCHING, /* in force; the standby lacks what was committed before */
    RCV_SYNC_ON,       /* the standby holds every acknowledged commit */
    RCV_SYNC_DROPPING, /* it is gone: waiting until that is on the right disks */
    RCV_SYNC_CLEARING, /* RCV_SET_SYNCHRONOUS(0) is on its way */
};

struct rcv {
    struct rcv_config config;
    struct rcv_update *update; /* of the step that runs */
    mono_t now;
    uint64_t unix_ms;
    mono_t started;

    /* The plan. */
    struct rcv_plan disk; /* durable */
    struct rcv_plan next; /* being saved */
    bool saving;
    uint64_t last_id; /* of effects */
    uint64_t save_id;
    mono_t save_again_at;

    /* How far it is carried out. */
    enum rcv_role reported;
    struct rcv_users granted; /* as the last view says */
    uint64_t granted_version; /* of the view that changed it */
    uint64_t released_epoch;
    bool drain;
    mono_t goal_since;
    bool late_killed; /* daemons that held up this move */

    /* Are we sure that nobody has taken over? Not after sleeping longer than the lease. */
    bool sure;
    uint64_t sure_seq; /* a heartbeat that answers this one makes us sure */
    mono_t sure_until; /* after a restart, until the peer has heard us; else MONO_NEVER */
    mono_t echoed_at;  /* when we sent the last heartbeat that the peer has answered */
    mono_t sent_at[RCV_SENT_MAX]; /* by seq */
    mono_t last_step;

    /* Conversation. */
    struct peer peer;
    uint64_t seq;
    uint64_t decided_seq; /* of the first heartbeat that tells what we last decided */
    mono_t heartbeat_at;
    mono_t view_at;
    bool push_now, beat_now;
    struct rcv_view view; /* the last one */

    struct services services;

    /* Database. */
    struct rcv_database database;
    uint32_t wanted_node;    /* in INIT: decided, not yet on disk */
    enum rcv_database_op op; /* in progress */
    uint64_t op_id;
    mono_t op_again_at;
    uint64_t op_backoff_ms;
    mono_t database_ill_since; /* MONO_NEVER: a writable database can be reached */
    mono_t following_lost;     /* a standby's stream is broken since; MONO_NEVER: it is not */
    enum rcv_sync sync;
    uint64_t sync_id;
    uint64_t sync_lsn;
    mono_t sync_at; /* deadline or retry of the sync machine */

    /* Operators. */
    enum rcv_wish wish;
    mono_t wish_until;
    bool failover_asked;
    bool forced; /* ha recover: go on with what we have */
    bool stopping;

    /* Automatic fallback. */
    mono_t fallback_ready_since;
    mono_t takeovers[2]; /* the last two; ms 0: none */

    /* As last shown. */
    Muster__NodeState state;
    Muster__StateReason reason;
    uint64_t since_unix_ms;
    uint64_t raised; /* bit set of enum rcv_alarm */
    bool restarted[SERVICES_COUNT], restart_told[SERVICES_COUNT];
};

struct rcv_effect *rcv_effect(struct rcv *r, enum rcv_effect_type type);
/* For services.c: `ctx` is the struct rcv. */
void rcv_act(void *ctx, Muster__Service service, enum service_action action);

/* ---- facts ---- */

bool rcv_alone(const struct rcv *r); /* a group of one */
bool rcv_peer_alive(const struct rcv *r);
bool rcv_peer_dead(const struct rcv *r);
/* Its last heartbeat answers what we said after our last decision. */
bool rcv_peer_fresh(const struct rcv *r);
/* Nothing of the plan is left to do. */
bool rcv_settled(const struct rcv *r);
/* The peer has done its part of our plan, and its word is fresh. */
bool rcv_peer_settled(const struct rcv *r);
/* It initialises, knows our plan, and so begins nothing but what belongs to it. */
bool rcv_peer_holds_nothing(const struct rcv *r);
/* Could serve now. */
bool rcv_ready(const struct rcv *r);
/* Has not been unable for critical_service_down_delay. */
bool rcv_able(const struct rcv *r);
/* NORMAL while it is; else why not. */
Muster__StateReason rcv_unable_because(const struct rcv *r);
struct rcv_users rcv_claims(enum rcv_role goal);
enum rcv_role rcv_complement(enum rcv_role goal);
/* Higher than any known, and one that the peer never uses. */
uint64_t rcv_next_epoch(const struct rcv *r);
/* Does each of the two databases hold what the other has acknowledged? */
bool rcv_databases_in_sync(const struct rcv *r);
/* Would a fallback or failover lose nothing? NULL, or what it must wait for. */
const char *rcv_move_waits_for(const struct rcv *r);

/* ---- parts of a step ---- */

/* Changes *n, which begins as a copy of the plan on disk. */
void rules_decide(struct rcv *r, struct rcv_plan *n);
void edges_carry_out(struct rcv *r);
mono_t edges_deadline(const struct rcv *r);

void roles_decide(struct rcv *r, struct rcv_plan *n);
void roles_carry_out(struct rcv *r);
void roles_database_done(struct rcv *r, uint64_t id, bool ok);
void roles_sync_done(struct rcv *r, uint64_t id, bool ok);
mono_t roles_deadline(const struct rcv *r);
/* Can a writable database be reached? */
bool roles_database_ok(const struct rcv *r);
bool roles_database_failed(const struct rcv *r);
/* Is it ours, or can it be made ours without loss? */
bool roles_can_be_primary(const struct rcv *r);
/* The users' other half: nothing is acknowledged by our database that the plan gives to the peer.
 */
bool roles_released(const struct rcv *r);

/* The peer talks, but has not heard us for so long that it may take over: until when we are sure
 * that it has not. MONO_NEVER where it hears us, or is silent itself: then it may be dead. */
mono_t sure_unheard_at(const struct rcv *r);
/* Did we sleep, or were we not heard? */
void sure_note_sleep(struct rcv *r);
/* May the peer have taken over without our knowing? Then we start anew. */
void sure_doubt(struct rcv *r);
/* At our start: as our predecessor's heir, or from what is on disk. */
void sure_go_on(struct rcv *r);
void sure_begin_anew(struct rcv *r);

void tell_state(struct rcv *r);
void tell_alarms(struct rcv *r);

void commands_run(struct rcv *r, enum rcv_command command, Muster__Service service);

void state_view_update(struct rcv *r);
void state_view_heartbeat(struct rcv *r, Muster__Heartbeat *ret_heartbeat);
Muster__NodeState state_view_state(const struct rcv *r);
Muster__StateReason state_view_reason(const struct rcv *r);
