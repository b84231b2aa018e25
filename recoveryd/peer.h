// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * What is known of the peer, and whether it is dead. A core.
 *
 * One sign is suspicion: the heartbeat connection breaks, or nothing comes for heartbeat_timeout.
 * The second sign makes it dead: a new connection could not be made. Where the peer's kernel
 * refuses that connection and those to all of its daemons too, there is no process left that could
 * serve, and it is dead at once; if only its recoveryd refuses, that may be restarting, and the
 * daemons serve until their lease ends, so the timeout is waited for.
 *
 *     WAITING ---- beat ----> ALIVE <--- beat --- SUSPECTED ---- second sign ----> DEAD
 *        |                      +--- one sign -------^                              |  ^
 *        |                      ^------------------------------- beat --------------+  |
 *        +------------------- never heard for init_heartbeat_timeout ------------------+
 */
#include <stdbool.h>
#include <stdint.h>

#include <heartbeat.pb-c.h>

#include "common/mono.h"
#include "recoveryd/detector.h"

enum peer_state { PEER_WAITING, PEER_ALIVE, PEER_SUSPECTED, PEER_DEAD };

struct peer {
    struct detector detector;
    enum peer_state state;
    uint64_t timeout_ms;
    uint64_t init_timeout_ms;
    mono_t heard_at;        /* the last beat */
    mono_t ask_at;          /* half of that: a new connection is tried */
    mono_t silent_at;       /* last beat, or our start, and the timeout */
    uint64_t gone_boot_id;  /* whose process is known to have ended; 0: none */
    bool silent;            /* silent_at has passed */
    bool link_lost;         /* since the last beat */
    bool connect_failed;    /* the same */
    bool listeners_refused; /* the same, by the last attempt */
    Muster__Heartbeat last; /* node 0: nothing heard yet */
};

void peer_init(struct peer *p, uint64_t timeout_ms, uint64_t init_timeout_ms, mono_t now);
void peer_set_timeouts(struct peer *p, uint64_t timeout_ms, uint64_t init_timeout_ms);

/* True when it had been dead or never heard, or has another boot_id than before. What a process
 * said that has ended since is not listened to. */
bool peer_heard(struct peer *p, const Muster__Heartbeat *heartbeat, mono_t now);
void peer_link_lost(struct peer *p);
void peer_connect_failed(struct peer *p, bool listeners_refused);
void peer_tick(struct peer *p, mono_t now);

/* We were held up for a moment: what the peer said in it has still to be read, in `ms`. */
void peer_dozed(struct peer *p, mono_t now, uint64_t ms);

/* We slept: what we did not hear in that time proves nothing, nor does what we knew before: a dead
 * peer may have come back. Silence counts from now. */
void peer_overslept(struct peer *p, mono_t now);

/* True once in a silence, when half of the timeout has passed: the heartbeat connections may only
 * seem to be there, so it is time to make them anew, which gives the second sign or a beat. */
bool peer_asks_for_connection(struct peer *p, mono_t now);

mono_t peer_deadline(const struct peer *p);

/* Has it been heard since we started? */
bool peer_known(const struct peer *p);
void peer_check(const struct peer *p);
