// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * What recoveryd knows of the daemons that it supervises, and when each is started, stopped or
 * killed. A core: the supervisor (supervisor.h) and the links (view_push.h) tell it what happened.
 *
 *               start                    first ViewAck
 *     DOWN --------------> STARTING ----------------------> RUNNING
 *      ^ ^                    |                              |   |
 *      | +---- process ends --+------------------------------+   | not wanted any more
 *      |                                                         v
 *      +------------------- process ends ------------------- STOPPING
 *
 * Health is an answer in time, not a living process: a daemon that has not acknowledged a view for
 * SERVICES_ANSWER_MS is unhealthy, and one that has not for SERVICES_HANG_MS is killed. One that
 * ends by itself is started again, after 0.1 s, doubling to 2 s while it does not stay up.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <control.pb-c.h>
#include <envelope.pb-c.h>

#include "common/mono.h"

enum {
    SERVICES_COUNT = MUSTER__SERVICE__SYNCAGENT + 1, /* indexed by Muster__Service; 0 is none */
    SERVICES_ANSWER_MS = 1500,
    SERVICES_HANG_MS = 3000,
    SERVICES_START_MS = 10000,  /* from start to the first acknowledgement, else it is killed */
    SERVICES_STOP_MS = 5000,    /* from SIGTERM to SIGKILL */
    SERVICES_STEADY_MS = 10000, /* up for so long, the next restart is quick again */
    SERVICES_COMPLAINT_MAX = 160,
};

enum service_state { SERVICE_DOWN, SERVICE_STARTING, SERVICE_RUNNING, SERVICE_STOPPING };

struct service {
    enum service_state state;
    bool wanted;
    bool stopped_by_operator;
    bool restart_asked;
    uint32_t pid; /* 0: no process */
    uint64_t since_unix_ms;
    uint32_t restarts;    /* since it last was steady: it ended, and we did not ask it to */
    uint64_t restart_sum; /* ... ever */
    uint64_t backoff_ms;
    mono_t start_at;  /* DOWN and wanted: when to start it */
    mono_t began;     /* of this process */
    mono_t last_ack;  /* began, until there is one */
    mono_t kill_at;   /* STOPPING */
    mono_t ill_since; /* not healthy, though wanted, since; MONO_NEVER: healthy or not wanted */
    uint64_t acked;   /* version of the newest view whose effects are complete */
    bool healthy;     /* what it says of itself */
    bool serving;
    Muster__ReplicaState replica;
    char complaint[SERVICES_COMPLAINT_MAX];
};

struct services {
    struct service all[SERVICES_COUNT];
};

enum service_action { SERVICE_START, SERVICE_TERMINATE, SERVICE_KILL };

typedef void services_do(void *ctx, Muster__Service service, enum service_action action);

/* In the order in which they are started. */
extern const Muster__Service services_order[SERVICES_COUNT - 1];

void services_init(struct services *s, mono_t now);

/* A critical one makes its node fail over. */
bool services_is_critical(Muster__Service service);

/* Shall it run? An operator's stop counts more. */
void services_want(struct services *s, Muster__Service service, bool wanted, mono_t now);
/* nodectl service start, stop, restart. */
void services_operator(struct services *s, Muster__Service service, bool run, mono_t now);
void services_restart(struct services *s, Muster__Service service, mono_t now);

/* Its process is there: just started, or found running. pid 0: it could not be started. */
void services_started(struct services *s, Muster__Service service, uint32_t pid, mono_t now,
                      uint64_t unix_ms);
/* True when it ended by itself, which is worth an alarm. */
bool services_exited(struct services *s, Muster__Service service, mono_t now, uint64_t unix_ms);
void services_acked(struct services *s, Muster__Service service, const Muster__ViewAck *ack,
                    mono_t now);

/* Time has passed: calls `act` for what is to be done now. */
void services_tick(struct services *s, mono_t now, services_do *act, void *ctx);
mono_t services_deadline(const struct services *s);

/* Runs, answers, and says that it can do its work. */
bool services_healthy(const struct services *s, Muster__Service service, mono_t now);
bool services_all_healthy(const struct services *s, mono_t now);
/* The critical service that is ill for `delay_ms` or more; SERVICE_NONE: there is none. */
Muster__Service services_failed(const struct services *s, uint64_t delay_ms, mono_t now);

/* No process is behind view `version`: each that there is has completed it. */
bool services_released(const struct services *s, uint64_t version);
/* All critical ones are there, healthy, and have completed it. */
bool services_activated(const struct services *s, uint64_t version, mono_t now);
/* Kills those that are behind `version`. */
void services_kill_late(struct services *s, uint64_t version, services_do *act, void *ctx);

/* All critical ones have what the peer has. */
bool services_replicated(const struct services *s);
/* All critical ones have a process that answers. */
bool services_running(const struct services *s);
/* Is any process left? */
bool services_any(const struct services *s);

/* "running", "starting", "stopped", "failed". */
const char *services_state_name(const struct service *s, uint64_t delay_ms, mono_t now);

void services_check(const struct services *s);
