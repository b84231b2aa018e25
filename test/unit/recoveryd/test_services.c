// SPDX-License-Identifier: Apache-2.0
/*
 * When daemons are started, killed and called ill.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "recoveryd/services.h"

#define ROUTERD   MUSTER__SERVICE__ROUTERD
#define PRESENCED MUSTER__SERVICE__PRESENCED

enum { DELAY_MS = 5000, NOTHING = -1 };

struct world {
    struct services s;
    uint64_t now;
    int last[SERVICES_COUNT]; /* enum service_action of this tick, or NOTHING */
    int order[SERVICES_COUNT], count;
};

static void act(void *ctx, Muster__Service service, enum service_action action)
{
    struct world *w = ctx;

    w->last[service] = action;
    w->order[w->count++ % SERVICES_COUNT] = service;
}

static void tick(struct world *w, uint64_t now)
{
    w->now = now;
    w->count = 0;
    for (int i = 0; i < SERVICES_COUNT; i++)
        w->last[i] = NOTHING;
    services_tick(&w->s, (mono_t){now}, act, w);
    services_check(&w->s);
}

static void ack(struct world *w, Muster__Service service, uint64_t version, bool healthy)
{
    Muster__ViewAck a = MUSTER__VIEW_ACK__INIT;

    a.version = version;
    a.healthy = healthy;
    a.replica = MUSTER__REPLICA_STATE__REPLICA_IN_SYNC;
    services_acked(&w->s, service, &a, (mono_t){w->now});
}

static void ack_all(struct world *w, uint64_t version)
{
    for (int i = 1; i < SERVICES_COUNT; i++)
        ack(w, (Muster__Service)i, version, true);
}

/* All run and are healthy, at 0 ms, with view 1. */
static void begin(struct world *w)
{
    *w = (struct world){.now = 0};
    services_init(&w->s, (mono_t){0});
    for (int i = 0; i < SERVICES_COUNT - 1; i++)
        services_want(&w->s, services_order[i], true, (mono_t){0});
    tick(w, 0);
    for (int i = 1; i < SERVICES_COUNT; i++)
        services_started(&w->s, (Muster__Service)i, 100u + (uint32_t)i, (mono_t){0}, 0);
    ack_all(w, 1);
}

static void they_start_in_order(void **state)
{
    struct world w;

    (void)state;
    begin(&w);
    assert_int_equal(w.count, 4);
    assert_int_equal(w.order[0], ROUTERD);
    assert_int_equal(w.order[1], PRESENCED);
    assert_int_equal(w.order[2], MUSTER__SERVICE__PROXYD);
    assert_true(services_all_healthy(&w.s, (mono_t){0}));
    assert_true(services_replicated(&w.s));
}

static void restart_waits_longer_each_time(void **state)
{
    static const uint64_t waits[] = {100, 200, 400, 800, 1600, 2000, 2000};
    struct world w;

    (void)state;
    begin(&w);
    for (size_t i = 0; i < sizeof(waits) / sizeof(*waits); i++) {
        uint64_t died = w.now;

        assert_true(services_exited(&w.s, ROUTERD, (mono_t){died}, 0));
        tick(&w, died + waits[i] - 1);
        assert_int_equal(w.last[ROUTERD], NOTHING);
        tick(&w, died + waits[i]);
        assert_int_equal(w.last[ROUTERD], SERVICE_START);
        services_started(&w.s, ROUTERD, 200, (mono_t){w.now}, 0);
        ack_all(&w, 1);
    }
    assert_int_equal(w.s.all[ROUTERD].restarts, 7);
}

static void who_stayed_up_is_restarted_quickly(void **state)
{
    struct world w;

    (void)state;
    begin(&w);
    (void)services_exited(&w.s, ROUTERD, (mono_t){0}, 0);
    services_started(&w.s, ROUTERD, 200, (mono_t){200}, 0);
    (void)services_exited(&w.s, ROUTERD, (mono_t){200 + SERVICES_STEADY_MS}, 0);
    tick(&w, 200 + SERVICES_STEADY_MS + 100);
    assert_int_equal(w.last[ROUTERD], SERVICE_START);
}

static void silence_is_illness_then_death(void **state)
{
    struct world w;

    (void)state;
    begin(&w);
    tick(&w, SERVICES_ANSWER_MS - 1);
    assert_true(services_healthy(&w.s, ROUTERD, (mono_t){w.now}));
    assert_int_equal(services_deadline(&w.s).ms, SERVICES_ANSWER_MS);
    tick(&w, SERVICES_ANSWER_MS);
    assert_false(services_healthy(&w.s, ROUTERD, (mono_t){w.now}));
    assert_int_equal(w.last[ROUTERD], NOTHING);
    tick(&w, SERVICES_HANG_MS);
    assert_int_equal(w.last[ROUTERD], SERVICE_KILL);
    /* It does not die at once: nothing more is done for a while. */
    tick(&w, SERVICES_HANG_MS + 1);
    assert_int_equal(w.last[ROUTERD], NOTHING);
}

static void failure_is_a_long_illness(void **state)
{
    struct world w;

    (void)state;
    begin(&w);
    ack(&w, ROUTERD, 1, false);
    assert_int_equal(services_failed(&w.s, DELAY_MS, (mono_t){DELAY_MS - 1}), 0);
    /* A restart on the way changes nothing: it is ill until it is well. */
    (void)services_exited(&w.s, ROUTERD, (mono_t){3000}, 0);
    services_started(&w.s, ROUTERD, 200, (mono_t){3100}, 0);
    assert_int_equal(services_failed(&w.s, DELAY_MS, (mono_t){DELAY_MS}), ROUTERD);
    w.now = DELAY_MS + 1;
    ack(&w, ROUTERD, 1, true);
    assert_int_equal(services_failed(&w.s, DELAY_MS, (mono_t){99999}), 0);
}

static void an_operators_stop_is_a_failure_too(void **state)
{
    struct world w;

    (void)state;
    begin(&w);
    services_operator(&w.s, ROUTERD, false, (mono_t){0});
    tick(&w, 1);
    assert_int_equal(w.last[ROUTERD], SERVICE_TERMINATE);
    assert_false(services_exited(&w.s, ROUTERD, (mono_t){10}, 0));
    tick(&w, 20000);
    assert_int_equal(w.last[ROUTERD], NOTHING);
    assert_int_equal(services_failed(&w.s, DELAY_MS, (mono_t){20000}), ROUTERD);
    assert_string_equal(services_state_name(&w.s.all[ROUTERD], DELAY_MS, (mono_t){20000}),
                        "stopped");
    services_operator(&w.s, ROUTERD, true, (mono_t){20000});
    tick(&w, 20000);
    assert_int_equal(w.last[ROUTERD], SERVICE_START);
}

static void who_is_not_wanted_is_not_ill(void **state)
{
    struct world w;

    (void)state;
    begin(&w);
    services_want(&w.s, ROUTERD, false, (mono_t){0});
    tick(&w, 1);
    assert_int_equal(w.last[ROUTERD], SERVICE_TERMINATE);
    (void)services_exited(&w.s, ROUTERD, (mono_t){2}, 0);
    assert_int_equal(services_failed(&w.s, DELAY_MS, (mono_t){20000}), 0);
}

static void one_that_ignores_sigterm_is_killed(void **state)
{
    struct world w;

    (void)state;
    begin(&w);
    services_restart(&w.s, ROUTERD, (mono_t){0});
    tick(&w, 0);
    assert_int_equal(w.last[ROUTERD], SERVICE_TERMINATE);
    tick(&w, SERVICES_STOP_MS - 1);
    assert_int_equal(w.last[ROUTERD], NOTHING);
    tick(&w, SERVICES_STOP_MS);
    assert_int_equal(w.last[ROUTERD], SERVICE_KILL);
    (void)services_exited(&w.s, ROUTERD, (mono_t){w.now}, 0);
    tick(&w, w.now);
    assert_int_equal(w.last[ROUTERD], SERVICE_START);
}

static void users_are_released_when_all_have_done_the_view(void **state)
{
    struct world w;

    (void)state;
    begin(&w);
    assert_false(services_released(&w.s, 2));
    ack(&w, ROUTERD, 2, true);
    ack(&w, PRESENCED, 2, true);
    assert_false(services_released(&w.s, 2));
    /* A dead one serves nobody; but it cannot have begun to serve either. */
    (void)services_exited(&w.s, MUSTER__SERVICE__PROXYD, (mono_t){0}, 0);
    assert_true(services_released(&w.s, 2));
    assert_false(services_activated(&w.s, 2, (mono_t){0}));
    services_started(&w.s, MUSTER__SERVICE__PROXYD, 300, (mono_t){0}, 0);
    assert_false(services_released(&w.s, 2));
    ack(&w, MUSTER__SERVICE__PROXYD, 2, true);
    assert_true(services_activated(&w.s, 2, (mono_t){0}));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(they_start_in_order),
        cmocka_unit_test(restart_waits_longer_each_time),
        cmocka_unit_test(who_stayed_up_is_restarted_quickly),
        cmocka_unit_test(silence_is_illness_then_death),
        cmocka_unit_test(failure_is_a_long_illness),
        cmocka_unit_test(an_operators_stop_is_a_failure_too),
        cmocka_unit_test(who_is_not_wanted_is_not_ill),
        cmocka_unit_test(one_that_ignores_sigterm_is_killed),
        cmocka_unit_test(users_are_released_when_all_have_done_the_view),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
