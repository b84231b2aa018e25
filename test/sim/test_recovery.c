// SPDX-License-Identifier: Apache-2.0
/*
 * Two recoveryds and everything that can happen to them, by seed: one fault at a time, or many,
 * with slow heartbeats and crashes between any two effects, without cut cables or with. After all
 * of it the group must come back to Normal, by an operator's fallback at most, and nothing that was
 * acknowledged may be missing, unless a cable was cut.
 *
 * test_recovery [FIRST_SEED COUNT]; a failure names its seed.
 */
#include <stdio.h>
#include <stdlib.h>

#include "common/util.h"
#include "test/sim/group.h"

enum { SEEDS = 6000, SETTLE_MS = 120000 };

static uint64_t current_seed;
static uint64_t first_seed = 1, seed_count = SEEDS;

/* Seeds that failed once. */
static const uint64_t kept[] = {5,     36,    232,   624,   2712,  3502, 3984, 6840,  8405,
                                10394, 13701, 24148, 31983, 46414, 692,  9407, 120929};

static void expect_normal(struct group *g, uint64_t ms)
{
    if (!group_is_normal(g) && !group_until(g, ms, group_is_normal))
        group_fail(g, "not Normal");
}

static bool nobody_moves(const struct group *g)
{
    for (int i = 0; i < 2; i++) {
        struct rcv_node_status s;

        if (!g->nodes[i].rcv)
            return false;
        s = rcv_status(g->nodes[i].rcv, false);
        if (s.goal != s.reported || s.goal == RCV_INIT)
            return false;
    }
    return true;
}

/* What an operator does when all is repaired. Recover is an order to go on with what there is, and
 * may lose something; it is needed only where nobody knows who has the newest. */
static void bring_back(struct group *g, bool may_recover)
{
    for (int round = 0; round < 3 && !group_is_normal(g); round++) {
        (void)group_until(g, SETTLE_MS, nobody_moves);
        group_run(g, 5000);
        for (uint32_t node = 1; node <= 2; node++)
            if (group_command(g, node, RCV_FALLBACK, 0) != 0 && may_recover)
                (void)group_command(g, node, RCV_RECOVER, 0);
        (void)group_until(g, SETTLE_MS, group_is_normal);
    }
    expect_normal(g, SETTLE_MS);
}

/* ---- seeds ---- */

static Muster__Service some_service(struct group *g)
{
    return (Muster__Service)(1 + group_random(g, GROUP_SERVICES - 1));
}

static void repair(struct group *g)
{
    group_note(g, "repair");
    group_mend(g);
    g->stream_cut = false;
    g->slow_ms = 0;
    g->crash_permille = 0;
    for (uint32_t node = 1; node <= 2; node++) {
        for (int s = 1; s < GROUP_SERVICES; s++)
            group_break_daemon(g, node, (Muster__Service)s, false);
        group_break_database(g, node, false);
        if (!g->nodes[node - 1].rcv)
            group_power_on(g, node);
    }
}

static void do_fault(struct group *g, uint32_t node, bool may_cut)
{
    uint64_t kind = group_random(g, may_cut ? 15 : 13);

    group_note(g, "fault %d at n%u", (int)kind, node);
    switch (kind) {
    case 0:
        group_power_cut(g, node);
        break;
    case 1:
    case 2:
        group_kill_all(g, node);
        break;
    case 3:
    case 4:
        group_kill_recoveryd(g, node, 100 + group_random(g, 4000));
        break;
    case 5:
        group_freeze_recoveryd(g, node, 100 + group_random(g, 6000));
        break;
    case 6:
        group_kill_daemon(g, node, some_service(g));
        break;
    case 7:
        group_hang_daemon(g, node, some_service(g));
        break;
    case 8:
        group_break_daemon(g, node, some_service(g), true);
        group_kill_daemon(g, node, some_service(g));
        break;
    case 9:
        group_kill_database(g, node);
        break;
    case 10:
        group_break_database(g, node, true);
        break;
    case 11:
        (void)group_command(g, node, group_random(g, 2) ? RCV_FAILOVER : RCV_FALLBACK, 0);
        break;
    case 12:
        g->stream_cut = true;
        break;
    case 13:
        group_cut(g, true, true);
        break;
    case 14:
        group_cut(g, group_random(g, 2) == 0, group_random(g, 2) == 0);
        break;
    }
}

/* One thing goes wrong at a time, and is mended before the next. */
static void single_faults(uint64_t seed)
{
    struct group g;

    group_start(&g, seed);
    g.tracing = seed_count == 1;
    expect_normal(&g, 30000);
    for (int i = 0; i < 3; i++) {
        group_run(&g, 1000 + group_random(&g, 3000));
        do_fault(&g, 1 + (uint32_t)group_random(&g, 2), false);
        group_run(&g, group_random(&g, 12000));
        repair(&g);
        bring_back(&g, false);
        if (group_lost(&g) != 0)
            group_fail(&g, "%u acknowledged items are lost", group_lost(&g));
    }
    group_done(&g);
}

/* Whatever processes and machines do, nothing acknowledged is lost; only a cut cable can do that,
 * because it makes both go on. */
static void many_faults(uint64_t seed, bool may_cut)
{
    struct group g;

    group_start(&g, seed);
    g.tracing = seed_count == 1;
    if (group_random(&g, 2))
        g.slow_ms = (unsigned)group_random(&g, 150);
    if (group_random(&g, 2))
        g.crash_permille = (unsigned)group_random(&g, 50);
    for (int i = 0; i < 12; i++) {
        do_fault(&g, 1 + (uint32_t)group_random(&g, 2), may_cut);
        group_run(&g, group_random(&g, 5000));
        if (group_random(&g, 3) == 0)
            group_mend(&g);
        if (group_random(&g, 3) == 0)
            g.stream_cut = false;
        for (uint32_t node = 1; node <= 2; node++)
            if (!g.nodes[node - 1].rcv && group_random(&g, 3) == 0)
                group_power_on(&g, node);
    }
    repair(&g);
    bring_back(&g, may_cut);
    if (!may_cut && group_lost(&g) != 0)
        group_fail(&g, "%u acknowledged items are lost", group_lost(&g));
    group_done(&g);
}

static void run_seed(uint64_t seed)
{
    current_seed = seed;
    if (seed % 3 == 0)
        single_faults(seed);
    else
        many_faults(seed, seed % 3 == 1);
}

static void seeds(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(kept); i++)
        run_seed(kept[i]);
    for (uint64_t seed = first_seed; seed < first_seed + seed_count; seed++)
        run_seed(seed);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(seeds),
    };

    int failed;

    if (argc == 3) {
        first_seed = strtoull(argv[1], NULL, 10);
        seed_count = strtoull(argv[2], NULL, 10);
    }
    failed = cmocka_run_group_tests(tests, NULL, NULL);
    if (failed)
        fprintf(stderr, "seed %llu\n", (unsigned long long)current_seed);
    return failed;
}
