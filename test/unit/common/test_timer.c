// SPDX-License-Identifier: Apache-2.0
/*
 * Timers: what fires when, in which order, and what a callback may do to others and to itself.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "common/timer.h"
#include "common/util.h"

enum { MANY = 1000, STEPS = 20000 };

struct story;

struct alarm {
    struct timer timer;
    struct story *story;
    char name;
    struct alarm *clears; /* what it does when it fires */
    struct alarm *sets;
    mono_t sets_to;
};

struct story {
    struct timers timers;
    struct alarm a, b, c;
    char said[16]; /* the names of those that fired */
    size_t len;
};

static mono_t ms(uint64_t ms)
{
    return (mono_t){ms};
}

static void on_fire(void *owner)
{
    struct alarm *alarm = owner;
    struct story *s = alarm->story;

    assert_false(timer_is_set(&alarm->timer));
    assert_true(s->len < sizeof(s->said) - 1);
    s->said[s->len++] = alarm->name;
    if (alarm->clears)
        timer_clear(&s->timers, &alarm->clears->timer);
    if (alarm->sets)
        timer_set(&s->timers, &alarm->sets->timer, alarm->sets_to);
}

static void begin(struct story *s)
{
    struct alarm *all[] = {&s->a, &s->b, &s->c};

    *s = (struct story){.a.name = 'a', .b.name = 'b', .c.name = 'c'};
    for (size_t i = 0; i < ARRAY_LEN(all); i++) {
        all[i]->story = s;
        timer_init(&all[i]->timer, on_fire, all[i]);
    }
}

/* Runs at `at`: these and no others have fired since the last time, in this order. */
static void fires(struct story *s, uint64_t at, const char *names)
{
    s->len = 0;
    timers_run(&s->timers, ms(at));
    s->said[s->len] = '\0';
    assert_string_equal(s->said, names);
    timers_check(&s->timers);
}

static void each_fires_once_when_it_is_due(void **state)
{
    struct story s;

    (void)state;
    begin(&s);
    assert_int_equal(timers_deadline(&s.timers).ms, MONO_NEVER.ms);
    timer_set(&s.timers, &s.b.timer, ms(20));
    timer_set(&s.timers, &s.a.timer, ms(10));
    assert_int_equal(timers_deadline(&s.timers).ms, 10);
    fires(&s, 9, "");
    fires(&s, 10, "a");
    assert_int_equal(timers_deadline(&s.timers).ms, 20);
    fires(&s, 500, "b");
    fires(&s, 501, "");
    assert_int_equal(timers_deadline(&s.timers).ms, MONO_NEVER.ms);
    timers_done(&s.timers);
}

static void of_equal_deadlines_the_one_set_first_fires_first(void **state)
{
    struct story s;

    (void)state;
    begin(&s);
    timer_set(&s.timers, &s.c.timer, ms(10));
    timer_set(&s.timers, &s.a.timer, ms(10));
    timer_set(&s.timers, &s.b.timer, ms(10));
    timer_set(&s.timers, &s.c.timer, ms(10)); /* moved: it is the last now */
    fires(&s, 10, "abc");
    timers_done(&s.timers);
}

static void a_timer_moves_both_ways_and_can_be_cleared_twice(void **state)
{
    struct story s;

    (void)state;
    begin(&s);
    timer_set(&s.timers, &s.a.timer, ms(10));
    timer_set(&s.timers, &s.b.timer, ms(20));
    timer_set(&s.timers, &s.c.timer, ms(30));
    timer_set(&s.timers, &s.a.timer, ms(40));
    timer_set(&s.timers, &s.c.timer, ms(5));
    fires(&s, 20, "cb");
    timer_clear(&s.timers, &s.a.timer);
    timer_clear(&s.timers, &s.a.timer);
    assert_false(timer_is_set(&s.a.timer));
    fires(&s, 100, "");
    timers_done(&s.timers);
}

static void what_is_cleared_by_another_does_not_fire(void **state)
{
    struct story s;

    (void)state;
    begin(&s);
    s.a.clears = &s.b;
    timer_set(&s.timers, &s.a.timer, ms(10));
    timer_set(&s.timers, &s.b.timer, ms(10));
    timer_set(&s.timers, &s.c.timer, ms(10));
    fires(&s, 10, "ac");
    timers_done(&s.timers);
}

static void one_that_sets_itself_for_now_does_not_hold_the_run(void **state)
{
    struct story s;

    (void)state;
    begin(&s);
    s.a.sets = &s.a;
    s.a.sets_to = ms(10);
    timer_set(&s.timers, &s.a.timer, ms(10));
    fires(&s, 10, "a");
    assert_int_equal(timers_deadline(&s.timers).ms, 10);
    fires(&s, 10, "a");
    timers_done(&s.timers);
}

/* One that is set into the past is first in the heap, before others that have long been due. */
static void who_waits_behind_a_new_one_fires_in_the_next_run(void **state)
{
    struct story s;

    (void)state;
    begin(&s);
    s.a.sets = &s.c;
    s.a.sets_to = ms(1);
    timer_set(&s.timers, &s.a.timer, ms(10));
    timer_set(&s.timers, &s.b.timer, ms(11));
    fires(&s, 20, "a");
    fires(&s, 20, "cb");
    timers_done(&s.timers);
}

/* ---- many, against the plainest model ---- */

struct clockwork {
    struct timers timers;
    struct timer all[MANY];
    bool is_set[MANY];
    mono_t now, last;
    size_t fired;
};

struct cog {
    struct clockwork *clockwork;
    size_t i;
};

static void on_cog(void *owner)
{
    const struct cog *cog = owner;
    struct clockwork *w = cog->clockwork;
    const struct timer *t = &w->all[cog->i];

    assert_true(w->is_set[cog->i]);
    assert_true(mono_reached(w->now, t->at));
    assert_true(w->last.ms <= t->at.ms);
    w->last = t->at;
    w->is_set[cog->i] = false;
    w->fired++;
}

static void nothing_is_lost_among_many(void **state)
{
    static struct clockwork w;
    static struct cog cogs[MANY];
    uint32_t dice = 1;

    (void)state;
    for (size_t i = 0; i < MANY; i++) {
        cogs[i] = (struct cog){&w, i};
        timer_init(&w.all[i], on_cog, &cogs[i]);
    }
    for (size_t step = 0; step < STEPS; step++) {
        size_t i;

        dice = dice * 1664525 + 1013904223;
        i = (dice >> 8) % MANY;
        if (dice >> 30 == 0)
            timer_clear(&w.timers, &w.all[i]);
        else
            timer_set(&w.timers, &w.all[i], mono_after(w.now, (dice >> 20) % 500));
        w.is_set[i] = dice >> 30 != 0;
        if (step % 20 == 0) {
            w.now = mono_after(w.now, 7);
            w.last = ms(0);
            timers_run(&w.timers, w.now);
            timers_check(&w.timers);
            assert_true(timers_deadline(&w.timers).ms > w.now.ms);
        }
    }
    assert_true(w.fired > STEPS / 4);
    for (size_t i = 0; i < MANY; i++)
        assert_int_equal(timer_is_set(&w.all[i]), w.is_set[i]);
    timers_done(&w.timers);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_fires_once_when_it_is_due),
        cmocka_unit_test(of_equal_deadlines_the_one_set_first_fires_first),
        cmocka_unit_test(a_timer_moves_both_ways_and_can_be_cleared_twice),
        cmocka_unit_test(what_is_cleared_by_another_does_not_fire),
        cmocka_unit_test(one_that_sets_itself_for_now_does_not_hold_the_run),
        cmocka_unit_test(who_waits_behind_a_new_one_fires_in_the_next_run),
        cmocka_unit_test(nothing_is_lost_among_many),
    };

    return cmocka_run_group_tests_name("timer", tests, NULL, NULL);
}
