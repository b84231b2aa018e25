// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Deadlines of many things in one heap: a core has deadlines, its shell one timer. A deadline is
 * embedded in what it belongs to and must be cleared before that is freed.
 */
#include <stddef.h>

#include "common/mono.h"

struct deadline {
    mono_t at;
    size_t place; /* in the heap, from 1; 0: not set */
    /* What happens then. The deadline is clear when this is called. */
    void (*on_due)(struct deadline *d, void *ctx, mono_t now);
};

struct deadlines {
    struct deadline **heap;
    size_t count, cap;
};

void deadlines_done(struct deadlines *all);

/* Sets it, or moves it. MONO_NEVER clears it. */
void deadlines_set(struct deadlines *all, struct deadline *d, mono_t at);
void deadlines_clear(struct deadlines *all, struct deadline *d);

/* The earliest, or MONO_NEVER. */
mono_t deadlines_next(const struct deadlines *all);

/* Calls on_due for all that are due; what these set anew for `now` waits for the next call. */
void deadlines_run(struct deadlines *all, void *ctx, mono_t now);

/* Asserts the order of the heap. */
void deadlines_check(const struct deadlines *all);
