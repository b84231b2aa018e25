// SPDX-License-Identifier: Apache-2.0
/*
 * NOTIFYs: one in flight in each dialog; what changes meanwhile is told by the next, which carries
 * the newest state. CSeq numbers are reserved in the replica in blocks, before they are used, so
 * that whoever takes the dialog over goes on above them.
 */
#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "presenced/model.h"

enum { CSEQ_BLOCK = 100, CSEQ_MARGIN = 20, STATE_MAX = 64 };
enum { PACE_MS = 100, PACE_COUNT = 200 };
enum { RETRY_MS = 2000, RETRY_MS_MAX = 64000 };

static void write_state(const struct subscription *s, char ret_state[STATE_MAX])
{
    uint64_t now_ms = s->engine->now.unix_ms;
    uint64_t left_ms =
        s->record->expires_unix_ms > now_ms ? s->record->expires_unix_ms - now_ms : 0;

    if (s->terminated)
        (void)snprintf(ret_state, STATE_MAX, "terminated;reason=%s", s->terminated);
    else
        (void)snprintf(ret_state, STATE_MAX, "%s;expires=%llu",
                       s->record->pending ? "pending" : "active",
                       (unsigned long long)(left_ms + 999) / 1000);
}

/* The next number, and more of them reserved when few are left. */
static uint32_t next_cseq(struct subscription *s)
{
    s->cseq++;
    if (s->cseq + CSEQ_MARGIN > s->record->dialog->local_cseq) {
        s->record->dialog->local_cseq = s->cseq + CSEQ_BLOCK;
        if (!s->terminated)
            (void)subscription_save(s); /* full: a takeover may then use a number twice */
    }
    return s->cseq;
}

void notify_reserve(struct subscription *s, uint32_t used)
{
    s->cseq = used;
    s->record->dialog->local_cseq = used + CSEQ_BLOCK;
    (void)subscription_save(s);
}

/* Closed, but only as far as we have been told? */
static bool is_in_doubt(const struct subscription *s)
{
    return (s->presentity->in_doubt || !s->engine->devices_known) && !s->record->pending &&
           !composition_is_open(s->presentity);
}

static bool is_held(const struct subscription *s)
{
    return s->engine->suspended || !s->engine->proxyd_up || !s->answered || s->in_flight ||
           s->in_activated || is_in_doubt(s);
}

static void send(struct subscription *s)
{
    struct engine *e = s->engine;
    Muster__Notify notify = MUSTER__NOTIFY__INIT;
    Muster__Dialog dialog = *s->record->dialog;
    char state[STATE_MAX];
    struct str document;

    write_state(s, state);
    dialog.local_cseq = next_cseq(s);
    notify.dialog = &dialog;
    notify.event_id = s->record->event_id;
    notify.subscription_state = state;
    /* Who is not authorised yet learns nothing (RFC 3856, 6.6.2). */
    if (!s->record->pending) {
        document = composition_document(s->presentity);
        notify.content_type = (char *)"application/pidf+xml";
        notify.document = (ProtobufCBinaryData){document.len, (uint8_t *)document.p};
    }
    if (e->config.ops->notify(e->config.ctx, e->last_request + 1, &notify)) {
        s->dirty = false;
        timer_clear(&e->timers, &s->retry);
        s->in_flight = ++e->last_request;
        HASH_ADD(in_flight_hh, e->in_flight, in_flight, sizeof(s->in_flight), s);
        metrics_add(e->config.metrics, METRIC_NOTIFIES, 1);
    } else {
        timer_set(&e->timers, &s->retry, mono_after(e->now.mono, RETRY_MS));
    }
}

void notify_landed(struct subscription *s)
{
    if (s->in_flight)
        HASH_DELETE(in_flight_hh, s->engine->in_flight, s);
    s->in_flight = 0;
}

void notify_soon(struct subscription *s)
{
    s->dirty = true;
    if (!is_held(s))
        send(s);
}

void notify_all(struct engine *e)
{
    struct subscription *s, *next;

    HASH_ITER (hh, e->subscriptions, s, next)
        if (s->dirty && !s->in_activated && !timer_is_set(&s->retry))
            notify_soon(s);
}

/* ---- after a takeover ---- */

void notify_paced(struct subscription *s)
{
    struct engine *e = s->engine;

    assert(!s->in_activated);
    s->in_activated = true;
    *e->activated_end = s;
    e->activated_end = &s->next_activated;
}

/* What was reserved is in both memories. If this node died before, the next one would use the
 * same numbers again. */
static void on_reserved(void *ctx)
{
    struct engine *e = ctx;

    e->reserving--;
    if (e->reserving == 0 && e->activated)
        timer_set(&e->timers, &e->pace, e->now.mono);
}

void notify_paced_begin(struct engine *e)
{
    if (!e->activated)
        return;
    e->reserving++;
    replica_commit(e->replica, on_reserved, e);
}

void notify_forget(struct subscription *s)
{
    struct engine *e = s->engine;
    struct subscription **at = &e->activated;

    if (!s->in_activated)
        return;
    while (*at != s)
        at = &(*at)->next_activated;
    *at = s->next_activated;
    if (e->activated_end == &s->next_activated)
        e->activated_end = at;
    s->in_activated = false;
    s->next_activated = NULL;
}

void notify_pace(void *engine)
{
    struct engine *e = engine;

    for (int i = 0; i < PACE_COUNT && e->activated && e->reserving == 0; i++) {
        struct subscription *s = e->activated;

        notify_forget(s);
        notify_soon(s);
    }
    if (e->activated)
        timer_set(&e->timers, &e->pace, mono_after(e->now.mono, PACE_MS));
}

/* ---- answers ---- */

/* Answers that end a subscription (RFC 6665, 4.2.2: all that RFC 5057 says end the dialog or
 * usage). */
static bool is_final(uint32_t code)
{
    static const uint16_t codes[] = {404, 405, 410, 416, 480, 481, 482,
                                     483, 484, 485, 489, 501, 604};

    for (size_t i = 0; i < sizeof(codes) / sizeof(*codes); i++)
        if (codes[i] == code)
            return true;
    return false;
}

/* Nothing was heard, or the device is busy: again, ever later, until the subscription expires. */
static void retry(struct subscription *s)
{
    uint64_t wait_ms = RETRY_MS << (s->failures < 5 ? s->failures : 5);

    s->failures++;
    s->dirty = true;
    timer_set(&s->engine->timers, &s->retry,
              mono_after(s->engine->now.mono, wait_ms < RETRY_MS_MAX ? wait_ms : RETRY_MS_MAX));
}

void engine_on_notify_reply(struct engine *e, uint64_t request, uint32_t code,
                            const struct engine_now *now)
{
    struct subscription *s;
    bool was_last;

    e->now = *now;
    HASH_FIND(in_flight_hh, e->in_flight, &request, sizeof(request), s);
    if (!s)
        return;
    notify_landed(s);
    was_last = s->terminated && !s->dirty;
    if (is_final(code) || was_last) {
        subscription_remove(s);
    } else if (code / 100 != 2) {
        retry(s);
    } else {
        s->failures = 0;
        if (s->dirty)
            notify_soon(s);
    }
}
