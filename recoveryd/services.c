// SPDX-License-Identifier: Apache-2.0
#include "recoveryd/services.h"

#include <assert.h>
#include <stdio.h>

#include "common/util.h"

enum { BACKOFF_FIRST_MS = 100, BACKOFF_MAX_MS = 2000 };

const Muster__Service services_order[SERVICES_COUNT - 1] = {
    MUSTER__SERVICE__ROUTERD,
    MUSTER__SERVICE__PRESENCED,
    MUSTER__SERVICE__PROXYD,
    MUSTER__SERVICE__SYNCAGENT,
};

static bool answers(const struct service *s, mono_t now)
{
    return s->state == SERVICE_RUNNING &&
           !mono_reached(now, mono_after(s->last_ack, SERVICES_ANSWER_MS));
}

static bool is_healthy(const struct service *s, mono_t now)
{
    return answers(s, now) && s->healthy;
}

/* The one place that starts and ends an illness. */
static void note_health(struct service *s, mono_t now)
{
    if (!s->wanted || is_healthy(s, now))
        s->ill_since = MONO_NEVER;
    else if (s->ill_since.ms == MONO_NEVER.ms)
        s->ill_since = now;
}

static bool shall_run(const struct service *s)
{
    return s->wanted && !s->stopped_by_operator;
}

void services_init(struct services *s, mono_t now)
{
    *s = (struct services){0};
    for (size_t i = 0; i < SERVICES_COUNT; i++) {
        s->all[i].backoff_ms = BACKOFF_FIRST_MS;
        s->all[i].start_at = now;
        s->all[i].ill_since = MONO_NEVER;
    }
}

bool services_is_critical(Muster__Service service)
{
    return service == MUSTER__SERVICE__PROXYD || service == MUSTER__SERVICE__PRESENCED ||
           service == MUSTER__SERVICE__ROUTERD;
}

void services_want(struct services *s, Muster__Service service, bool wanted, mono_t now)
{
    struct service *one = &s->all[service];

    if (one->wanted == wanted)
        return;
    one->wanted = wanted;
    one->start_at = now;
    note_health(one, now);
}

void services_operator(struct services *s, Muster__Service service, bool run, mono_t now)
{
    struct service *one = &s->all[service];

    one->stopped_by_operator = !run;
    one->backoff_ms = BACKOFF_FIRST_MS;
    one->start_at = now;
    note_health(one, now);
}

void services_restart(struct services *s, Muster__Service service, mono_t now)
{
    services_operator(s, service, true, now);
    s->all[service].restart_asked = s->all[service].pid != 0;
}

void services_started(struct services *s, Muster__Service service, uint32_t pid, mono_t now,
                      uint64_t unix_ms)
{
    struct service *one = &s->all[service];

    if (pid == 0) {
        (void)services_exited(s, service, now, unix_ms);
        return;
    }
    one->pid = pid;
    one->restart_asked = false;
    one->state = SERVICE_STARTING;
    one->began = one->last_ack = now;
    one->since_unix_ms = unix_ms;
    one->acked = 0;
    one->healthy = one->serving = false;
    one->replica = MUSTER__REPLICA_STATE__REPLICA_FRESH;
    one->complaint[0] = '\0';
    note_health(one, now);
}

bool services_exited(struct services *s, Muster__Service service, mono_t now, uint64_t unix_ms)
{
    struct service *one = &s->all[service];
    bool by_itself = one->state != SERVICE_STOPPING && shall_run(one);
    bool was_steady =
        one->pid != 0 && mono_reached(now, mono_after(one->began, SERVICES_STEADY_MS));

    if (was_steady) {
        one->backoff_ms = BACKOFF_FIRST_MS;
        one->restarts = 0;
    }
    one->start_at = one->state == SERVICE_STOPPING ? now : mono_after(now, one->backoff_ms);
    if (by_itself) {
        one->restarts++;
        one->restart_sum++;
        one->backoff_ms =
            one->backoff_ms * 2 < BACKOFF_MAX_MS ? one->backoff_ms * 2 : BACKOFF_MAX_MS;
    }
    one->state = SERVICE_DOWN;
    one->pid = 0;
    one->since_unix_ms = unix_ms;
    one->acked = 0;
    one->healthy = one->serving = false;
    note_health(one, now);
    return by_itself;
}

void services_acked(struct services *s, Muster__Service service, const Muster__ViewAck *ack,
                    mono_t now)
{
    struct service *one = &s->all[service];

    if (one->state == SERVICE_DOWN)
        return;
    if (one->state == SERVICE_STARTING)
        one->state = SERVICE_RUNNING;
    one->last_ack = now;
    one->acked = ack->version;
    one->healthy = ack->healthy;
    one->serving = ack->serving;
    one->replica = (Muster__ReplicaState)ack->replica;
    (void)snprintf(one->complaint, sizeof(one->complaint), "%s", ack->complaint);
    note_health(one, now);
}

/* When the process is too long without a word; MONO_NEVER without a process. */
static mono_t hangs_at(const struct service *s)
{
    switch (s->state) {
    case SERVICE_DOWN:
        return MONO_NEVER;
    case SERVICE_STARTING:
        return mono_after(s->began, SERVICES_START_MS);
    case SERVICE_RUNNING:
        return mono_after(s->last_ack, SERVICES_HANG_MS);
    case SERVICE_STOPPING:
        return s->kill_at;
    }
    return MONO_NEVER;
}

static void tick_one(struct service *s, Muster__Service service, mono_t now, services_do *act,
                     void *ctx)
{
    note_health(s, now);
    if (s->state == SERVICE_DOWN) {
        if (shall_run(s) && mono_reached(now, s->start_at)) {
            s->start_at = mono_after(now, SERVICES_START_MS); /* the answer sets it anew */
            act(ctx, service, SERVICE_START);
        }
        return;
    }
    if (s->state != SERVICE_STOPPING && (!shall_run(s) || s->restart_asked)) {
        s->state = SERVICE_STOPPING;
        s->kill_at = mono_after(now, SERVICES_STOP_MS);
        act(ctx, service, SERVICE_TERMINATE);
    } else if (mono_reached(now, hangs_at(s))) {
        /* Said again after a while, until it has ended. */
        s->last_ack = s->began = now;
        s->kill_at = mono_after(now, SERVICES_STOP_MS);
        act(ctx, service, SERVICE_KILL);
    }
}

void services_tick(struct services *s, mono_t now, services_do *act, void *ctx)
{
    for (size_t i = 0; i < ARRAY_LEN(services_order); i++)
        tick_one(&s->all[services_order[i]], services_order[i], now, act, ctx);
}

static mono_t deadline_of(const struct service *s, mono_t deadline)
{
    deadline = mono_min(deadline, hangs_at(s));
    if (s->state == SERVICE_DOWN && shall_run(s))
        deadline = mono_min(deadline, s->start_at);
    /* The moment at which silence becomes an illness. */
    if (s->state == SERVICE_RUNNING && s->ill_since.ms == MONO_NEVER.ms)
        deadline = mono_min(deadline, mono_after(s->last_ack, SERVICES_ANSWER_MS));
    return deadline;
}

mono_t services_deadline(const struct services *s)
{
    mono_t deadline = MONO_NEVER;

    for (size_t i = 0; i < ARRAY_LEN(services_order); i++)
        deadline = deadline_of(&s->all[services_order[i]], deadline);
    return deadline;
}

bool services_healthy(const struct services *s, Muster__Service service, mono_t now)
{
    return is_healthy(&s->all[service], now);
}

bool services_all_healthy(const struct services *s, mono_t now)
{
    for (size_t i = 0; i < ARRAY_LEN(services_order); i++)
        if (services_is_critical(services_order[i]) && !is_healthy(&s->all[services_order[i]], now))
            return false;
    return true;
}

Muster__Service services_failed(const struct services *s, uint64_t delay_ms, mono_t now)
{
    for (size_t i = 0; i < ARRAY_LEN(services_order); i++) {
        const struct service *one = &s->all[services_order[i]];

        if (services_is_critical(services_order[i]) &&
            mono_reached(now, mono_after(one->ill_since, delay_ms)))
            return services_order[i];
    }
    return MUSTER__SERVICE__SERVICE_NONE;
}

bool services_released(const struct services *s, uint64_t version)
{
    for (size_t i = 0; i < ARRAY_LEN(services_order); i++) {
        const struct service *one = &s->all[services_order[i]];

        if (services_is_critical(services_order[i]) && one->pid != 0 && one->acked < version)
            return false;
    }
    return true;
}

bool services_activated(const struct services *s, uint64_t version, mono_t now)
{
    return services_all_healthy(s, now) && services_released(s, version);
}

void services_kill_late(struct services *s, uint64_t version, services_do *act, void *ctx)
{
    for (size_t i = 0; i < ARRAY_LEN(services_order); i++) {
        const struct service *one = &s->all[services_order[i]];

        if (services_is_critical(services_order[i]) && one->pid != 0 && one->acked < version)
            act(ctx, services_order[i], SERVICE_KILL);
    }
}

bool services_replicated(const struct services *s)
{
    for (size_t i = 0; i < ARRAY_LEN(services_order); i++)
        if (services_is_critical(services_order[i]) &&
            (s->all[services_order[i]].state != SERVICE_RUNNING ||
             s->all[services_order[i]].replica != MUSTER__REPLICA_STATE__REPLICA_IN_SYNC))
            return false;
    return true;
}

bool services_running(const struct services *s)
{
    for (size_t i = 0; i < ARRAY_LEN(services_order); i++)
        if (services_is_critical(services_order[i]) &&
            s->all[services_order[i]].state != SERVICE_RUNNING)
            return false;
    return true;
}

bool services_any(const struct services *s)
{
    for (size_t i = 0; i < ARRAY_LEN(services_order); i++)
        if (s->all[services_order[i]].pid != 0)
            return true;
    return false;
}

const char *services_state_name(const struct service *s, uint64_t delay_ms, mono_t now)
{
    if (shall_run(s) && mono_reached(now, mono_after(s->ill_since, delay_ms)))
        return "failed";
    if (s->state == SERVICE_RUNNING)
        return is_healthy(s, now) ? "running" : "starting";
    return shall_run(s) ? "starting" : "stopped";
}

void services_check(const struct services *s)
{
    for (size_t i = 0; i < ARRAY_LEN(services_order); i++) {
        const struct service *one = &s->all[services_order[i]];

        assert((one->pid == 0) == (one->state == SERVICE_DOWN));
        assert(one->backoff_ms >= BACKOFF_FIRST_MS && one->backoff_ms <= BACKOFF_MAX_MS);
        assert(one->pid != 0 || (one->acked == 0 && !one->healthy));
    }
}
