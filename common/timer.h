// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Deadlines of a core: a heap of those that are set. The shell arms one timer to timers_deadline()
 * and calls timers_run(). A timer is embedded in what it belongs to, and must be cleared before
 * that is freed. Of equal deadlines, the one set first fires first.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/mono.h"

typedef void timer_cb(void *owner);

struct timer {
    mono_t at;
    uint64_t order;
    size_t place; /* in the heap, from 1; 0: not set */
    timer_cb *fire;
    void *owner;
};

struct timers {
    struct timer **heap;
    size_t count, cap;
    uint64_t last_order;
};

void timer_init(struct timer *t, timer_cb *fire, void *owner);
/* Sets or moves it. */
void timer_set(struct timers *all, struct timer *t, mono_t at);
/* Nothing happens if it is not set. */
void timer_clear(struct timers *all, struct timer *t);
bool timer_is_set(const struct timer *t);

/* Fires what is due, each once; what is set for `now` or before while it runs waits for the next
 * run, so that nothing can run for ever. */
void timers_run(struct timers *all, mono_t now);
mono_t timers_deadline(const struct timers *all);
void timers_done(struct timers *all);
void timers_check(const struct timers *all);
