// SPDX-License-Identifier: Apache-2.0
#include "common/timer.h"

#include <assert.h>

#include "common/mem.h"

static bool earlier(const struct timer *a, const struct timer *b)
{
    return a->at.ms != b->at.ms ? a->at.ms < b->at.ms : a->order < b->order;
}

static void put_at(struct timers *all, size_t place, struct timer *t)
{
    all->heap[place - 1] = t;
    t->place = place;
}

static void sift_up(struct timers *all, struct timer *t)
{
    size_t place = t->place;

    while (place > 1 && earlier(t, all->heap[place / 2 - 1])) {
        put_at(all, place, all->heap[place / 2 - 1]);
        place /= 2;
    }
    put_at(all, place, t);
}

static void sift_down(struct timers *all, struct timer *t)
{
    size_t place = t->place;

    for (;;) {
        size_t child = place * 2;

        if (child > all->count)
            break;
        if (child < all->count && earlier(all->heap[child], all->heap[child - 1]))
            child++;
        if (!earlier(all->heap[child - 1], t))
            break;
        put_at(all, place, all->heap[child - 1]);
        place = child;
    }
    put_at(all, place, t);
}

void timer_init(struct timer *t, timer_cb *fire, void *owner)
{
    *t = (struct timer){.fire = fire, .owner = owner};
}

void timer_set(struct timers *all, struct timer *t, mono_t at)
{
    if (!t->place) {
        if (all->count == all->cap) {
            size_t cap = all->cap ? all->cap * 2 : 64;

            all->heap =
                mem_grow(all->heap, all->cap * sizeof(*all->heap), cap * sizeof(*all->heap));
            all->cap = cap;
        }
        put_at(all, ++all->count, t);
    }
    t->at = at;
    t->order = ++all->last_order;
    sift_up(all, t);
    sift_down(all, t);
}

void timer_clear(struct timers *all, struct timer *t)
{
    size_t place = t->place;
    struct timer *last;

    if (!place)
        return;
    last = all->heap[--all->count];
    t->place = 0;
    if (last == t)
        return;
    put_at(all, place, last);
    sift_up(all, last);
    sift_down(all, last);
}

bool timer_is_set(const struct timer *t)
{
    return t->place != 0;
}

void timers_run(struct timers *all, mono_t now)
{
    uint64_t newest = all->last_order;

    while (all->count && mono_reached(now, all->heap[0]->at)) {
        struct timer *t = all->heap[0];

        if (t->order > newest)
            break;
        timer_clear(all, t);
        t->fire(t->owner);
    }
}

mono_t timers_deadline(const struct timers *all)
{
    return all->count ? all->heap[0]->at : MONO_NEVER;
}

void timers_done(struct timers *all)
{
    mem_free(all->heap);
    *all = (struct timers){0};
}

void timers_check(const struct timers *all)
{
    for (size_t i = 1; i <= all->count; i++) {
        assert(all->heap[i - 1]->place == i);
        assert(i == 1 || !earlier(all->heap[i - 1], all->heap[i / 2 - 1]));
    }
}
