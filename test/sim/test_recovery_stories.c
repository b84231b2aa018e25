// SPDX-License-Identifier: Apache-2.0
/*
 * The sequences of HA.md and rows of the table of node states, as stories: what happens, and what
 * each node does then, with the time in ms, the rule that decided, the state and its reason.
 */
#include "common/util.h"
#include "test/sim/group.h"

#define ROUTERD MUSTER__SERVICE__ROUTERD

static void until_normal(struct group *g)
{
    if (!group_is_normal(g) && !group_until(g, 60000, group_is_normal))
        group_fail(g, "not Normal");
}

/* Normal, Normal, since a while. Time is set, so that traces are easy to read. */
static void begin(struct group *g)
{
    group_start(g, 7);
    until_normal(g);
    group_run(g, 10000 - g->now);
    g->tracing = true;
}

static void end(struct group *g)
{
    until_normal(g);
    assert_int_equal(group_lost(g), 0);
    group_done(g);
}

static void command(struct group *g, uint32_t node, enum rcv_command command)
{
    assert_int_equal(group_command(g, node, command, 0), 0);
}

static void it_starts(void **state)
{
    struct group g;

    (void)state;
    group_start(&g, 7);
    g.tracing = true;
    until_normal(&g);
    group_expect_trace(&g, "[  1000] -- recoveryd of n1 starts\n"
                           "[  1020] -- recoveryd of n2 starts\n"
                           "[  1227] n1 database: init_primary\n"
                           "[  2828] n2 database: make_standby\n"
                           "[  3910] n1 commits wait for 2\n"
                           "[  3962] n1 rule 51 -> epoch 1, own\n"
                           "[  3971] n2 rule 11 -> epoch 1, own\n"
                           "[  3995] n1 Normal (Normal)\n"
                           "[  4011] n2 Normal (Normal)\n");
    end(&g);
}

/* Peer Down, and the node that dies has the primary; it comes back, and an operator falls back. */
static void node_dies_and_returns(void **state)
{
    struct group g;

    (void)state;
    begin(&g);
    group_kill_all(&g, 1);
    group_run(&g, 2000);
    group_expect_trace(&g, "[ 10000] -- recoveryd of n1 ends\n"
                           "[ 10003] n2 rule 20 -> epoch 2, both\n"
                           "[ 10004] n2 database: promote\n"
                           "[ 10004] n2 Taking Over (Peer Down)\n"
                           "[ 10294] n2 Running in Backup Mode (Peer Down)\n");
    group_power_on(&g, 1);
    group_run(&g, 8000);
    group_expect_trace(&g, "[ 12001] -- recoveryd of n1 starts\n"
                           "[ 12109] n1 database: rejoin\n"
                           "[ 12109] n1 rule 11 -> epoch 2, none\n"
                           "[ 12131] n1 Failed Over (Initialization)\n"
                           "[ 12730] n2 commits wait for 1\n");
    command(&g, 1, RCV_FALLBACK);
    group_run(&g, 2000);
    group_expect_trace(&g, "[ 20001] n2 rule 41 -> epoch 4, own\n"
                           "[ 20002] n2 Falling Back (On Admin Request)\n"
                           "[ 20003] n1 rule 11 -> epoch 4, own\n"
                           "[ 20007] n1 Taking Back (On Admin Request)\n"
                           "[ 20043] n2 Normal (Normal)\n"
                           "[ 20062] n1 Normal (Normal)\n");
    end(&g);
}

/* No reset, no refusal: silence alone, and a second sign for it. */
static void power_cut(void **state)
{
    struct group g;

    (void)state;
    begin(&g);
    group_power_cut(&g, 2);
    group_run(&g, 5000);
    group_expect_trace(&g, "[ 10000] -- recoveryd of n2 ends\n"
                           "[ 12821] n1 rule 20 -> epoch 3, both\n"
                           "[ 12822] n1 commits wait for 0\n"
                           "[ 12822] n1 Taking Over (Peer Down)\n"
                           "[ 12848] n1 Running in Backup Mode (Peer Down)\n");
    group_power_on(&g, 2);
    group_run(&g, 8000);
    command(&g, 1, RCV_FALLBACK);
    end(&g);
}

static void operator_moves_users(void **state)
{
    struct group g;

    (void)state;
    begin(&g);
    command(&g, 1, RCV_FAILOVER);
    group_run(&g, 2000);
    group_expect_trace(&g, "[ 10000] n1 rule 40 -> epoch 3, none\n"
                           "[ 10001] n1 Failing Over (On Admin Request)\n"
                           "[ 10002] n2 rule 11 -> epoch 3, both\n"
                           "[ 10013] n2 Taking Over (On Admin Request)\n"
                           "[ 10077] n1 Idle (On Admin Request)\n"
                           "[ 10101] n2 Running in Backup Mode (On Admin Request)\n");
    command(&g, 2, RCV_FALLBACK);
    group_run(&g, 3000);
    group_expect_trace(&g, "[ 12481] n2 rule 41 -> epoch 4, own\n"
                           "[ 12487] n2 Falling Back (On Admin Request)\n"
                           "[ 12488] n1 rule 11 -> epoch 4, own\n"
                           "[ 12503] n1 Taking Back (On Admin Request)\n"
                           "[ 12578] n2 Normal (Normal)\n"
                           "[ 12609] n1 Normal (Normal)\n");
    end(&g);
}

static void service_stays_down(void **state)
{
    struct group g;

    (void)state;
    begin(&g);
    group_break_daemon(&g, 1, ROUTERD, true);
    group_kill_daemon(&g, 1, ROUTERD);
    group_run(&g, 8000);
    group_expect_trace(
        &g, "[ 15002] n1 rule 30 -> epoch 3, none\n"
            "[ 15004] n1 Failing Over (Critical Service Down)\n"
            "[ 15005] n2 rule 11 -> epoch 3, both\n"
            "[ 15012] n2 Taking Over (Critical Service Down)\n"
            "[ 15049] n1 Failed Over with Critical Services Not Running (Critical Service Down)\n"
            "[ 15072] n2 Running in Backup Mode (Critical Service Down)\n");
    group_break_daemon(&g, 1, ROUTERD, false);
    group_run(&g, 3000);
    group_expect_trace(&g, "[ 18074] n1 Failed Over (Critical Service Down)\n");
    command(&g, 1, RCV_FALLBACK);
    end(&g);
}

static void service_dies_once(void **state)
{
    struct group g;

    (void)state;
    begin(&g);
    group_kill_daemon(&g, 1, ROUTERD);
    group_run(&g, 8000);
    group_hang_daemon(&g, 2, ROUTERD);
    group_run(&g, 8000);
    group_expect_trace(&g, "");
    end(&g);
}

static void database_stays_down(void **state)
{
    struct group g;

    (void)state;
    begin(&g);
    group_break_database(&g, 1, true);
    group_run(&g, 8000);
    group_expect_trace(
        &g, "[ 10010] n1 database: start\n"
            "[ 10630] n1 database: start\n"
            "[ 11509] n1 database: start\n"
            "[ 12514] n1 database: start\n"
            "[ 13977] n1 database: start\n"
            "[ 15010] n1 rule 30 -> epoch 3, none\n"
            "[ 15021] n1 Failing Over (Database Failure)\n"
            "[ 15022] n2 rule 11 -> epoch 3, both\n"
            "[ 15034] n2 Taking Over (Database Failure)\n"
            "[ 15107] n1 Failed Over with Critical Services Not Running (Database Failure)\n"
            "[ 15108] n2 database: promote\n"
            "[ 15522] n2 Running in Backup Mode (Database Failure)\n"
            "[ 15959] n1 database: rejoin\n");
    group_break_database(&g, 1, false);
    group_run(&g, 8000);
    group_expect_trace(&g, "[ 18874] n1 database: make_standby\n"
                           "[ 19475] n1 Failed Over (Database Failure)\n"
                           "[ 19530] n2 commits wait for 1\n");
    command(&g, 1, RCV_FALLBACK);
    end(&g);
}

/* The backup's service goes down, and the node that had failed over is healthy again. */
static void backup_fails_too(void **state)
{
    struct group g;

    (void)state;
    begin(&g);
    group_kill_all(&g, 1);
    group_run(&g, 1000);
    group_power_on(&g, 1);
    group_run(&g, 9000);
    buf_clear(&g.trace);
    group_break_daemon(&g, 2, ROUTERD, true);
    group_kill_daemon(&g, 2, ROUTERD);
    group_run(&g, 8000);
    group_expect_trace(&g,
                       "[ 25002] n2 rule 30 -> epoch 4, none\n"
                       "[ 25016] n2 Failing Over (Auto Recover Critical Service Down)\n"
                       "[ 25017] n1 rule 11 -> epoch 4, both\n"
                       "[ 25019] n1 Taking Over (Auto Recover Critical Service Down)\n"
                       "[ 25107] n2 Failed Over with Critical Services Not Running (Auto Recover "
                       "Critical Service Down)\n"
                       "[ 25137] n1 Running in Backup Mode (Auto Recover Critical Service Down)\n");
    group_break_daemon(&g, 2, ROUTERD, false);
    group_run(&g, 3000);
    command(&g, 1, RCV_FALLBACK);
    end(&g);
}

static void both_fail(void **state)
{
    struct group g;

    (void)state;
    begin(&g);
    for (uint32_t node = 1; node <= 2; node++) {
        group_break_daemon(&g, node, ROUTERD, true);
        group_kill_daemon(&g, node, ROUTERD);
    }
    group_run(&g, 8000);
    group_expect_trace(
        &g, "[ 15010] n1 rule 30 -> epoch 3, none\n"
            "[ 15013] n2 rule 30 -> epoch 2, none\n"
            "[ 15024] n1 Failing Over (Critical Service Down)\n"
            "[ 15028] n2 rule 11 -> epoch 3, both\n"
            "[ 15028] n2 Failing Over (Critical Service Down)\n"
            "[ 15033] n2 Taking Over (Critical Service Down)\n"
            "[ 15055] n1 Failed Over with Critical Services Not Running (Critical Service Down)\n"
            "[ 15056] n2 rule 31 -> epoch 4, failed\n"
            "[ 15066] n2 Running in Failed Mode (Critical Service Down)\n"
            "[ 15067] n1 rule 11 -> epoch 4, failed\n"
            "[ 15081] n1 Running in Failed Mode (Critical Service Down)\n");
    for (uint32_t node = 1; node <= 2; node++)
        group_break_daemon(&g, node, ROUTERD, false);
    group_run(&g, 5000);
    group_expect_trace(&g, "[ 18099] n1 rule 53 -> epoch 5, own\n"
                           "[ 18107] n1 Taking Back (Critical Service Down)\n"
                           "[ 18108] n2 rule 11 -> epoch 5, own\n"
                           "[ 18122] n2 Taking Back (Critical Service Down)\n"
                           "[ 18146] n2 Normal (Normal)\n"
                           "[ 18176] n1 Normal (Normal)\n");
    end(&g);
}

static void recoveryd_restarts(void **state)
{
    struct group g;

    (void)state;
    begin(&g);
    group_kill_recoveryd(&g, 1, 500);
    group_run(&g, 5000);
    group_kill_recoveryd(&g, 2, 1500);
    group_run(&g, 5000);
    group_expect_trace(&g, "[ 10000] -- recoveryd of n1 ends\n"
                           "[ 10500] -- recoveryd of n1 starts\n"
                           "[ 15000] -- recoveryd of n2 ends\n"
                           "[ 16500] -- recoveryd of n2 starts\n");
    end(&g);
}

/* Longer than the lease: its peer has taken over, and it finds that out. */
static void recoveryd_hangs(void **state)
{
    struct group g;

    (void)state;
    begin(&g);
    group_freeze_recoveryd(&g, 1, 5000);
    group_run(&g, 12000);
    group_expect_trace(&g, "[ 12813] n2 rule 20 -> epoch 2, both\n"
                           "[ 12814] n2 database: promote\n"
                           "[ 12814] n2 Taking Over (Peer Down)\n"
                           "[ 13104] n2 Running in Backup Mode (Peer Down)\n"
                           "[ 15803] n1 rule 11 -> epoch 2, none\n"
                           "[ 15817] n1 database: stop\n"
                           "[ 15817] n1 Failing Over (Peer Unreachable)\n"
                           "[ 16218] n1 Failed Over (Peer Unreachable)\n"
                           "[ 16518] n1 database: rejoin\n"
                           "[ 18330] n2 commits wait for 1\n");
    command(&g, 2, RCV_FALLBACK);
    end(&g);
}

/* Both nodes are switched off while an operator has moved users: they stay where they are. */
static void both_restart_in_manual_failover(void **state)
{
    struct group g;

    (void)state;
    begin(&g);
    command(&g, 1, RCV_FAILOVER);
    group_run(&g, 2000);
    buf_clear(&g.trace);
    group_power_cut(&g, 1);
    group_power_cut(&g, 2);
    group_run(&g, 1000);
    group_power_on(&g, 1);
    group_power_on(&g, 2);
    group_run(&g, 12000);
    group_expect_trace(&g, "[ 12000] -- recoveryd of n1 ends\n"
                           "[ 12000] -- recoveryd of n2 ends\n"
                           "[ 13001] -- recoveryd of n1 starts\n"
                           "[ 13001] -- recoveryd of n2 starts\n"
                           "[ 13214] n1 database: start\n"
                           "[ 13218] n2 database: start\n"
                           "[ 13822] n1 rule 51 -> epoch 5, none\n"
                           "[ 13824] n1 Idle (Initialization)\n"
                           "[ 13825] n2 rule 11 -> epoch 5, both\n"
                           "[ 13832] n2 Taking Over (Initialization)\n"
                           "[ 13859] n2 Running in Backup Mode (Initialization)\n");
    command(&g, 1, RCV_FALLBACK);
    end(&g);
}

/* Nobody knows whether the other went on: wait for it, or for the operator's word. */
static void one_starts_without_the_other(void **state)
{
    struct group g;

    (void)state;
    begin(&g);
    group_power_cut(&g, 1);
    group_power_cut(&g, 2);
    group_run(&g, 1000);
    group_power_on(&g, 2);
    group_run(&g, 30000);
    group_expect_trace(&g, "[ 10000] -- recoveryd of n1 ends\n"
                           "[ 10000] -- recoveryd of n2 ends\n"
                           "[ 11001] -- recoveryd of n2 starts\n");
    command(&g, 2, RCV_RECOVER);
    group_run(&g, 5000);
    group_expect_trace(&g,
                       "[ 41010] n2 database: start\n"
                       "[ 41700] n2 database: promote\n"
                       "[ 41994] n2 rule 52 -> epoch 2, both\n"
                       "[ 42006] n2 Taking Over (Peer Down During Initialization)\n"
                       "[ 42036] n2 Running in Backup Mode (Peer Down During Initialization)\n");
    group_power_on(&g, 1);
    group_run(&g, 8000);
    command(&g, 1, RCV_FALLBACK);
    until_normal(&g);
    group_done(&g);
}

/* It was alone when it was switched off, so nobody can know more than it. */
static void the_last_one_starts_alone(void **state)
{
    struct group g;

    (void)state;
    begin(&g);
    group_kill_all(&g, 1);
    group_run(&g, 2000);
    group_power_cut(&g, 2);
    group_run(&g, 1000);
    buf_clear(&g.trace);
    group_power_on(&g, 2);
    group_run(&g, 20000);
    group_expect_trace(&g,
                       "[ 13001] -- recoveryd of n2 starts\n"
                       "[ 23006] n2 database: start\n"
                       "[ 23416] n2 rule 52 -> epoch 4, both\n"
                       "[ 23423] n2 Taking Over (Peer Down During Initialization)\n"
                       "[ 23453] n2 Running in Backup Mode (Peer Down During Initialization)\n");
    group_power_on(&g, 1);
    group_run(&g, 8000);
    command(&g, 1, RCV_FALLBACK);
    end(&g);
}

/* partition_policy availability: both go on; when the cable is back, the database that went on
 * where it was stays. */
static void cable_is_cut(void **state)
{
    struct group g;

    (void)state;
    begin(&g);
    group_cut(&g, true, true);
    group_run(&g, 8000);
    group_expect_trace(&g, "[ 12813] n2 rule 20 -> epoch 2, both\n"
                           "[ 12814] n2 database: promote\n"
                           "[ 12814] n2 Taking Over (Peer Down)\n"
                           "[ 12821] n1 rule 20 -> epoch 3, both\n"
                           "[ 12833] n1 commits wait for 0\n"
                           "[ 12833] n1 Taking Over (Peer Down)\n"
                           "[ 12858] n1 Running in Backup Mode (Peer Down)\n"
                           "[ 13104] n2 Running in Backup Mode (Peer Down)\n");
    group_mend(&g);
    group_run(&g, 8000);
    group_expect_trace(&g, "[ 19067] n2 rule 11 -> epoch 3, none\n"
                           "[ 19077] n2 database: stop\n"
                           "[ 19077] n2 Failing Over (Peer Unreachable)\n"
                           "[ 19478] n2 Failed Over (Peer Unreachable)\n"
                           "[ 19778] n2 database: rejoin\n"
                           "[ 21610] n1 commits wait for 2\n");
    command(&g, 1, RCV_FALLBACK);
    until_normal(&g);
    group_done(&g);
}

static void automatic_fallback(void **state)
{
    struct group g;

    (void)state;
    group_start(&g, 7);
    g.timers.automatic_fallback_delay_ms = 20000;
    until_normal(&g);
    group_run(&g, 10000 - g.now);
    for (uint32_t node = 1; node <= 2; node++)
        group_step(&g.nodes[node - 1], (struct rcv_event){.type = RCV_TIMERS, .timers = g.timers});
    group_kill_all(&g, 1);
    group_run(&g, 1000);
    group_power_on(&g, 1);
    group_run(&g, 15000);
    g.tracing = true;
    group_run(&g, 20000);
    group_expect_trace(&g, "[ 31830] n2 rule 42 -> epoch 4, own\n"
                           "[ 31831] n2 Falling Back (Automatic Fallback)\n"
                           "[ 31832] n1 rule 11 -> epoch 4, own\n"
                           "[ 31836] n1 Taking Back (Automatic Fallback)\n"
                           "[ 31872] n2 Normal (Normal)\n"
                           "[ 31891] n1 Normal (Normal)\n");
    end(&g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_starts),
        cmocka_unit_test(node_dies_and_returns),
        cmocka_unit_test(power_cut),
        cmocka_unit_test(operator_moves_users),
        cmocka_unit_test(service_stays_down),
        cmocka_unit_test(service_dies_once),
        cmocka_unit_test(database_stays_down),
        cmocka_unit_test(backup_fails_too),
        cmocka_unit_test(both_fail),
        cmocka_unit_test(recoveryd_restarts),
        cmocka_unit_test(recoveryd_hangs),
        cmocka_unit_test(both_restart_in_manual_failover),
        cmocka_unit_test(one_starts_without_the_other),
        cmocka_unit_test(the_last_one_starts_alone),
        cmocka_unit_test(cable_is_cut),
        cmocka_unit_test(automatic_fallback),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
