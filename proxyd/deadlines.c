// SPDX-License-Identifier: Apache-2.0
#include "proxyd/deadlines.h"

#include <assert.h>

#include "common/mem.h"

static void put(struct deadlines *all, size_t place, struct deadline *d)
{
    all->heap[place - 1] = d;
    d->place = place;
}

static bool earlier(const struct deadline *a, const struct deadline *b)
{
    return a->at.ms < b->at.ms;
}

static void rise(struct deadlines *all, struct deadline *d)
{
    size_t at = d->place;

    while (at > 1 && earlier(d, all->heap[at / 2 - 1])) {
        put(all, at, all->heap[at / 2 - 1]);
        at /= 2;
    }
    put(all, at, d);
}

static void sink(struct deadlines *all, struct deadline *d)
{
    size_t at = d->place;

    for (;;) {
        size_t child = at * 2;

        if (child < all->count && earlier(all->heap[child], all->heap[child - 1]))
            child++;
        if (child > all->count || !earlier(all->heap[child - 1], d))
            break;
        put(all, at, all->heap[child - 1]);
        at = child;
    }
    put(all, at, d);
}

void deadlines_clear(struct deadlines *all, struct deadline *d)
{
    struct deadline *last;
    size_t place = d->place;

    if (place == 0)
        return;
    assert(all->heap[place - 1] == d);
    last = all->heap[--all->count];
    d->place = 0;
    if (last == d)
        return;
    put(all, place, last);
    rise(all, last);
    sink(all, last);
}

void deadlines_set(struct deadlines *all, struct deadline *d, mono_t at)
{
    if (at.ms == MONO_NEVER.ms) {
        deadlines_clear(all, d);
        return;
    }
    d->at = at;
    if (d->place == 0) {
        if (all->count == all->cap) {
            size_t cap = all->cap ? all->cap * 2 : 64;

            all->heap =
                mem_grow(all->heap, all->cap * sizeof(*all->heap), cap * sizeof(*all->heap));
            all->cap = cap;
        }
        put(all, ++all->count, d);
    }
    rise(all, d);
    sink(all, d);
}

mono_t deadlines_next(const struct deadlines *all)
{
    return all->count ? all->heap[0]->at : MONO_NEVER;
}

void deadlines_run(struct deadlines *all, void *ctx, mono_t now)
{
    /* As many as there are now: one that sets itself again for this instant must not hold us. */
    for (size_t left = all->count; left && mono_reached(now, deadlines_next(all)); left--) {
        struct deadline *d = all->heap[0];

        deadlines_clear(all, d);
        d->on_due(d, ctx, now);
    }
}

void deadlines_done(struct deadlines *all)
{
    mem_free(all->heap);
    *all = (struct deadlines){0};
}

void deadlines_check(const struct deadlines *all)
{
    for (size_t i = 0; i < all->count; i++) {
        assert(all->heap[i]->place == i + 1);
        assert(i == 0 || !earlier(all->heap[i], all->heap[(i + 1) / 2 - 1]));
    }
}
