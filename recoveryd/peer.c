// SPDX-License-Identifier: Apache-2.0
#include "recoveryd/peer.h"

#include <assert.h>

void peer_init(struct peer *p, uint64_t timeout_ms, uint64_t init_timeout_ms, mono_t now)
{
    *p = (struct peer){
        .timeout_ms = timeout_ms,
        .init_timeout_ms = init_timeout_ms,
        .ask_at = MONO_NEVER,
        .silent_at = mono_after(now, init_timeout_ms),
        .last = MUSTER__HEARTBEAT__INIT,
    };
    detector_init(&p->detector, timeout_ms, now);
}

void peer_set_timeouts(struct peer *p, uint64_t timeout_ms, uint64_t init_timeout_ms)
{
    p->timeout_ms = p->detector.timeout_ms = timeout_ms;
    p->init_timeout_ms = init_timeout_ms;
}

bool peer_heard(struct peer *p, const Muster__Heartbeat *heartbeat, mono_t now)
{
    bool is_back = p->state == PEER_WAITING || p->state == PEER_DEAD;
    enum detector_verdict verdict;

    if (heartbeat->boot_id == p->gone_boot_id)
        return false;
    verdict = detector_beat(&p->detector, heartbeat->boot_id, now);
    p->last = *heartbeat;
    p->state = PEER_ALIVE;
    p->heard_at = now;
    p->ask_at = mono_after(now, p->timeout_ms / 2);
    p->silent_at = mono_after(now, p->timeout_ms);
    p->silent = p->link_lost = p->connect_failed = p->listeners_refused = false;
    return is_back || verdict == DETECTOR_PEER_REBOOTED;
}

/* The one place that makes a peer suspected or dead. */
static void judge(struct peer *p)
{
    switch (p->state) {
    case PEER_WAITING:
        if (p->silent)
            p->state = PEER_DEAD;
        break;
    case PEER_ALIVE:
    case PEER_SUSPECTED:
        if (p->link_lost || p->silent)
            p->state = PEER_SUSPECTED;
        if (p->link_lost && p->connect_failed && p->listeners_refused) {
            p->state = PEER_DEAD;
            p->gone_boot_id = p->last.boot_id;
        }
        if (p->silent && p->connect_failed)
            p->state = PEER_DEAD;
        break;
    case PEER_DEAD:
        break;
    }
}

void peer_link_lost(struct peer *p)
{
    (void)detector_link_lost(&p->detector);
    p->link_lost = true;
    judge(p);
}

void peer_connect_failed(struct peer *p, bool listeners_refused)
{
    p->connect_failed = true;
    p->listeners_refused = listeners_refused;
    judge(p);
}

void peer_tick(struct peer *p, mono_t now)
{
    (void)detector_tick(&p->detector, now);
    if (mono_reached(now, p->silent_at))
        p->silent = true;
    judge(p);
}

void peer_dozed(struct peer *p, mono_t now, uint64_t ms)
{
    if (p->state == PEER_DEAD || p->silent)
        return;
    p->connect_failed = p->listeners_refused = false;
    if (mono_reached(mono_after(now, ms), p->silent_at))
        p->silent_at = mono_after(now, ms);
}

void peer_overslept(struct peer *p, mono_t now)
{
    p->silent = p->connect_failed = p->listeners_refused = false;
    p->ask_at = mono_after(now, p->timeout_ms / 2);
    p->silent_at = mono_after(now, p->timeout_ms);
    if (p->state == PEER_DEAD) {
        p->state = peer_known(p) ? PEER_SUSPECTED : PEER_WAITING;
        p->link_lost = true;
    }
}

bool peer_asks_for_connection(struct peer *p, mono_t now)
{
    if (p->state == PEER_DEAD || !mono_reached(now, p->ask_at))
        return false;
    p->ask_at = MONO_NEVER;
    return true;
}

mono_t peer_deadline(const struct peer *p)
{
    if (p->silent || p->state == PEER_DEAD)
        return MONO_NEVER;
    return mono_min(p->ask_at, p->silent_at);
}

bool peer_known(const struct peer *p)
{
    return p->last.node != 0;
}

void peer_check(const struct peer *p)
{
    assert(p->state == PEER_WAITING || p->state == PEER_DEAD || peer_known(p));
    assert(p->state != PEER_ALIVE || !p->link_lost);
    assert(p->timeout_ms > 0);
}
