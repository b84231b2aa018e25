// SPDX-License-Identifier: Apache-2.0
/*
 * Is the peer dead? Told as stories: what is seen of it, and what that makes of it. One sign is
 * suspicion, two are death; where no listener is left, the second comes at once.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "common/util.h"
#include "recoveryd/peer.h"

enum { TIMEOUT_MS = 3000, INIT_TIMEOUT_MS = 10000 };

enum what { BEAT, REBOOT, BREAK, FAIL, REFUSE, TICK, DOZE, SLEEP };

struct line {
    uint64_t at_ms;
    enum what what;
    enum peer_state then;
};

struct story {
    const struct line *lines;
    size_t count;
};

// clang-format off
static const struct line all_processes_are_gone[] = {
    {1000, BEAT,   PEER_ALIVE},
    {1100, BREAK,  PEER_SUSPECTED},
    {1101, REFUSE, PEER_DEAD},
    {1102, BEAT,   PEER_DEAD}, /* was still on its way */
    {9000, REBOOT, PEER_ALIVE},
};

/* Its daemons listen: recoveryd alone may be restarting. */
static const struct line only_recoveryd_is_gone[] = {
    {1000, BEAT,   PEER_ALIVE},
    {1100, BREAK,  PEER_SUSPECTED},
    {1101, FAIL,   PEER_SUSPECTED},
    {1500, BEAT,   PEER_ALIVE},
    {1600, BREAK,  PEER_SUSPECTED},
    {1601, FAIL,   PEER_SUSPECTED},
    {4499, TICK,   PEER_SUSPECTED},
    {4500, TICK,   PEER_DEAD},
};

/* The lease of its daemons ends before the timeout does. */
static const struct line its_daemons_stop_listening[] = {
    {1000, BEAT,   PEER_ALIVE},
    {1100, BREAK,  PEER_SUSPECTED},
    {1101, FAIL,   PEER_SUSPECTED},
    {3200, REFUSE, PEER_DEAD},
};

static const struct line silence_needs_a_second_sign[] = {
    {1000, BEAT,   PEER_ALIVE},
    {3999, TICK,   PEER_ALIVE},
    {4000, TICK,   PEER_SUSPECTED},
    {9000, TICK,   PEER_SUSPECTED},
    {9001, FAIL,   PEER_DEAD},
};

static const struct line the_second_sign_may_come_first[] = {
    {1000, BEAT,   PEER_ALIVE},
    {3000, FAIL,   PEER_ALIVE},
    {4000, TICK,   PEER_DEAD},
};

/* A connection that failed before the last beat says nothing about what is now. */
static const struct line old_signs_are_forgotten[] = {
    {1000, BEAT,   PEER_ALIVE},
    {1100, FAIL,   PEER_ALIVE},
    {2000, BEAT,   PEER_ALIVE},
    {5000, TICK,   PEER_SUSPECTED},
};

static const struct line nobody_was_ever_there[] = {
    { 100, REFUSE, PEER_WAITING},
    {9999, TICK,   PEER_WAITING},
    {10000, TICK,  PEER_DEAD},
};

/* What it said meanwhile is still to be read. */
static const struct line we_are_held_up[] = {
    {1000, BEAT,   PEER_ALIVE},
    {3000, FAIL,   PEER_ALIVE},
    {4100, DOZE,   PEER_ALIVE},
    {4100, TICK,   PEER_ALIVE},
    {4101, BEAT,   PEER_ALIVE},
};

static const struct line we_sleep[] = {
    {1000, BEAT,   PEER_ALIVE},
    {1500, BREAK,  PEER_SUSPECTED},
    {1501, REFUSE, PEER_DEAD},
    {9000, SLEEP,  PEER_SUSPECTED},
    {9001, REFUSE, PEER_DEAD},
};
// clang-format on

static void happen(struct peer *p, const struct line *l)
{
    Muster__Heartbeat h = MUSTER__HEARTBEAT__INIT;
    mono_t now = {l->at_ms};

    h.node = 2;
    h.boot_id = l->what == REBOOT ? 8 : 7;
    switch (l->what) {
    case BEAT:
    case REBOOT:
        (void)peer_heard(p, &h, now);
        break;
    case BREAK:
        peer_link_lost(p);
        break;
    case FAIL:
        peer_connect_failed(p, false);
        break;
    case REFUSE:
        peer_connect_failed(p, true);
        break;
    case DOZE:
        peer_dozed(p, now, 400);
        break;
    case SLEEP:
        peer_overslept(p, now);
        break;
    case TICK:
        break;
    }
    if (l->what != DOZE)
        peer_tick(p, now);
}

static void tell(void **state)
{
    const struct story *story = *state;
    struct peer p;

    peer_init(&p, TIMEOUT_MS, INIT_TIMEOUT_MS, (mono_t){0});
    for (size_t i = 0; i < story->count; i++) {
        const struct line *l = &story->lines[i];

        happen(&p, l);
        peer_check(&p);
        if (p.state != l->then)
            fail_msg("at %d ms the peer is %d, not %d", (int)l->at_ms, p.state, l->then);
    }
}

/* A connection that only seems to be there is tried in time, once in each silence. */
static void a_silent_peer_is_tried(void **state)
{
    struct line beat = {1000, BEAT, PEER_ALIVE};
    struct peer p;

    (void)state;
    peer_init(&p, TIMEOUT_MS, INIT_TIMEOUT_MS, (mono_t){0});
    assert_false(peer_asks_for_connection(&p, (mono_t){900}));
    happen(&p, &beat);
    assert_int_equal(peer_deadline(&p).ms, 2500);
    assert_false(peer_asks_for_connection(&p, (mono_t){2499}));
    assert_true(peer_asks_for_connection(&p, (mono_t){2500}));
    assert_false(peer_asks_for_connection(&p, (mono_t){2600}));
    assert_int_equal(peer_deadline(&p).ms, 4000);
}

#define STORY(name) cmocka_unit_test_prestate(tell, (&(struct story){name, ARRAY_LEN(name)}))

int main(void)
{
    const struct CMUnitTest tests[] = {
        STORY(all_processes_are_gone),
        STORY(only_recoveryd_is_gone),
        STORY(its_daemons_stop_listening),
        STORY(silence_needs_a_second_sign),
        STORY(the_second_sign_may_come_first),
        STORY(old_signs_are_forgotten),
        STORY(nobody_was_ever_there),
        STORY(we_are_held_up),
        STORY(we_sleep),
        cmocka_unit_test(a_silent_peer_is_tried),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
