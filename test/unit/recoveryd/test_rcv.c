// SPDX-License-Identifier: Apache-2.0
/*
 * The recovery manager of one node, with a world that does at once what it wants done: a group of
 * one, what operators are refused, and what stands in heartbeats and views. What two nodes do
 * together is told in test/sim.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "common/view.h"
#include "recoveryd/rcv.h"
#include "recoveryd/services.h"

#define ROUTERD MUSTER__SERVICE__ROUTERD

struct world {
    struct rcv *rcv;
    uint64_t now;
    bool ill[SERVICES_COUNT];
    uint32_t pids[SERVICES_COUNT];
    struct rcv_database database;
    struct rcv_view view;
    struct rcv_plan disk;
    Muster__Heartbeat said;
    struct rcv_effect reply;
    char changes[1000];
    struct rcv_event queue[64];
    size_t queued;
};

static void later(struct world *w, struct rcv_event event)
{
    assert_true(w->queued < 64);
    w->queue[w->queued++] = event;
}

static void run_database(struct world *w, const struct rcv_effect *e)
{
    struct rcv_event seen = {.type = RCV_DATABASE};

    w->database.exists = true;
    w->database.running = w->database.up = e->database.op != RCV_DATABASE_STOP;
    seen.database = w->database;
    later(w, (struct rcv_event){.type = RCV_DATABASE_DONE, .done = {e->id, true}});
    later(w, seen);
}

static void carry_out(struct world *w, const struct rcv_effect *e)
{
    switch (e->type) {
    case RCV_SAVE:
        w->disk = e->plan;
        later(w, (struct rcv_event){.type = RCV_SAVED, .done = {e->id, true}});
        break;
    case RCV_PUSH_VIEW:
        w->view = e->view;
        break;
    case RCV_SEND_HEARTBEAT:
        w->said = e->heartbeat;
        break;
    case RCV_START_SERVICE:
        w->pids[e->service] = 100;
        later(w, (struct rcv_event){.type = RCV_SERVICE_STARTED, .process = {e->service, 100}});
        break;
    case RCV_TERMINATE_SERVICE:
    case RCV_KILL_SERVICE:
        w->pids[e->service] = 0;
        later(w, (struct rcv_event){.type = RCV_SERVICE_EXITED, .process = {e->service, 0}});
        break;
    case RCV_RUN_DATABASE:
        run_database(w, e);
        break;
    case RCV_CHANGED:
        (void)snprintf(w->changes + strlen(w->changes), sizeof(w->changes) - strlen(w->changes),
                       "%s; ", view_state_name(e->changed.state));
        break;
    case RCV_REPLY:
        w->reply = *e;
        break;
    case RCV_SET_SYNCHRONOUS:
    case RCV_RECONNECT:
    case RCV_ALARM:
        break;
    }
}

static void feed(struct world *w, struct rcv_event event)
{
    static struct rcv_update update;

    event.now = (mono_t){w->now};
    rcv_step(w->rcv, &event, &update);
    rcv_check(w->rcv);
    for (size_t i = 0; i < update.count; i++)
        carry_out(w, &update.effects[i]);
}

static void step(struct world *w, struct rcv_event event)
{
    later(w, event);
    while (w->queued > 0) {
        struct rcv_event next = w->queue[0];

        memmove(w->queue, w->queue + 1, --w->queued * sizeof(*w->queue));
        feed(w, next);
    }
}

static void acknowledge(struct world *w)
{
    for (int s = 1; s < SERVICES_COUNT; s++) {
        Muster__ViewAck ack = MUSTER__VIEW_ACK__INIT;
        struct rcv_event event = {.type = RCV_SERVICE_ACKED};

        if (!w->pids[s])
            continue;
        ack.version = w->view.version;
        ack.healthy = !w->ill[s];
        event.ack.service = (Muster__Service)s;
        event.ack.ack = &ack;
        feed(w, event);
    }
}

static void run(struct world *w, uint64_t ms)
{
    for (uint64_t end = w->now + ms; w->now < end; w->now += 100) {
        step(w, (struct rcv_event){.type = RCV_TICK});
        acknowledge(w);
    }
}

static void begin(struct world *w, uint32_t peer)
{
    struct rcv_config config = {
        .node = 1,
        .peer = peer,
        .boot_id = 1,
        .timers = {200, 3000, 10000, 2000, 5000, 1800000, true},
    };
    struct rcv_event seen = {.type = RCV_DATABASE, .database = {.known = true}};

    *w = (struct world){.now = 1000, .database = {.known = true}};
    w->rcv = rcv_new(&config, (mono_t){w->now}, 0);
    step(w, seen);
    run(w, 1000);
}

static void end(struct world *w)
{
    rcv_free(w->rcv);
}

static void command(struct world *w, enum rcv_command what, int status, const char *sentence)
{
    struct rcv_event event = {.type = RCV_COMMAND};

    event.command.command = what;
    event.command.service = ROUTERD;
    w->reply.reply.status = -1;
    step(w, event);
    assert_int_equal(w->reply.reply.status, status);
    if (!strstr(w->reply.reply.sentence, sentence))
        fail_msg("the reply is: %s", w->reply.reply.sentence);
}

static void a_group_of_one_goes_to_normal(void **state)
{
    struct world w;

    (void)state;
    begin(&w, 0);
    assert_string_equal(w.changes, "Normal; ");
    assert_int_equal(w.disk.goal, RCV_OWN);
    assert_int_equal(w.disk.epoch, 1);
    assert_int_equal(w.view.count, 1);
    assert_int_equal(w.view.nodes[0].served_by, 1);
    assert_int_equal(w.view.lease_ms, 2000);
    end(&w);
}

static void a_group_of_one_recovers_by_itself(void **state)
{
    struct world w;

    (void)state;
    begin(&w, 0);
    w.changes[0] = '\0';
    w.ill[ROUTERD] = true;
    run(&w, 8000);
    assert_string_equal(w.changes, "Running in Failed Mode; ");
    assert_int_equal(w.view.nodes[0].served_by, 0);
    w.ill[ROUTERD] = false;
    run(&w, 1000);
    assert_non_null(strstr(w.changes, "Normal; "));
    assert_int_equal(w.view.nodes[0].served_by, 1);
    end(&w);
}

static void a_group_of_one_refuses_what_needs_two(void **state)
{
    struct world w;

    (void)state;
    begin(&w, 0);
    command(&w, RCV_FAILOVER, 1, "no peer");
    command(&w, RCV_FALLBACK, 1, "no peer");
    command(&w, RCV_RECOVER, 1, "Normal");
    end(&w);
}

/* Without a peer and without having been alone before, it does not begin by itself. */
static void a_new_node_waits_for_its_peer(void **state)
{
    struct world w;

    (void)state;
    begin(&w, 2);
    run(&w, 60000);
    assert_string_equal(w.changes, "");
    assert_int_equal(rcv_status(w.rcv, false).state, MUSTER__NODE_STATE__INITIALIZING);
    assert_false(w.database.exists);
    assert_int_equal(w.disk.epoch, 0);
    command(&w, RCV_FAILOVER, 1, "Initializing");
    command(&w, RCV_FALLBACK, 1, "cannot be heard");
    command(&w, RCV_RECOVER, 0, "");
    run(&w, 2000);
    assert_string_equal(w.changes, "Taking Over; Running in Backup Mode; ");
    assert_int_equal(w.view.nodes[1].served_by, 1);
    end(&w);
}

/* Nothing is said or done before it is on disk. */
static void a_plan_is_on_disk_first(void **state)
{
    struct rcv_config config = {
        .node = 1,
        .boot_id = 1,
        .database_external = true,
        .timers = {200, 3000, 10000, 2000, 5000, 1800000, true},
        .found = {[1] = 11, [2] = 12, [3] = 13, [4] = 14},
    };
    struct rcv_event seen = {.type = RCV_DATABASE, .database = {.known = true, .up = true}};
    struct rcv_event tick = {.type = RCV_TICK};
    static struct rcv_update update;
    struct world w = {.pids = {[1] = 11, [2] = 12, [3] = 13, [4] = 14}};
    uint64_t id = 0;

    (void)state;
    w.rcv = rcv_new(&config, (mono_t){0}, 0);
    rcv_step(w.rcv, &tick, &update);
    for (size_t i = 0; i < update.count; i++)
        if (update.effects[i].type == RCV_PUSH_VIEW)
            w.view = update.effects[i].view;
    acknowledge(&w);
    rcv_step(w.rcv, &seen, &update);
    for (size_t i = 0; i < update.count; i++)
        if (update.effects[i].type == RCV_SAVE)
            id = update.effects[i].id;
    assert_true(id != 0);
    assert_int_equal(rcv_plan(w.rcv)->epoch, 0);
    assert_false(rcv_serves(w.rcv, false));
    seen = (struct rcv_event){.type = RCV_SAVED, .done = {id, true}};
    rcv_step(w.rcv, &seen, &update);
    assert_int_equal(rcv_plan(w.rcv)->epoch, 1);
    assert_true(rcv_serves(w.rcv, false));
    end(&w);
}

/* A disk that refuses: the decision is made again, and nothing comes of it before it is there. */
static void a_disk_that_refuses_is_tried_again(void **state)
{
    struct rcv_config config = {
        .node = 1,
        .boot_id = 1,
        .timers = {200, 3000, 10000, 2000, 5000, 1800000, true},
    };
    struct rcv_event event = {.type = RCV_DATABASE, .database = {.known = true}};
    static struct rcv_update update;
    struct rcv *rcv = rcv_new(&config, (mono_t){0}, 0);
    unsigned saves = 0;

    (void)state;
    for (uint64_t now = 0; now < 2000; now += 100) {
        event.now = (mono_t){now};
        rcv_step(rcv, &event, &update);
        event = (struct rcv_event){.type = RCV_TICK};
        for (size_t i = 0; i < update.count; i++)
            if (update.effects[i].type == RCV_SAVE) {
                saves++;
                event =
                    (struct rcv_event){.type = RCV_SAVED, .done = {update.effects[i].id, false}};
            }
        assert_int_equal(rcv_plan(rcv)->database_node, 0);
    }
    assert_true(saves > 3 && saves < 12);
    rcv_free(rcv);
}

static void services_are_run_by_operators(void **state)
{
    struct world w;

    (void)state;
    begin(&w, 0);
    command(&w, RCV_SERVICE_STOP, 0, "");
    run(&w, 500);
    assert_int_equal(w.pids[ROUTERD], 0);
    command(&w, RCV_SERVICE_START, 0, "");
    run(&w, 500);
    assert_true(w.pids[ROUTERD] != 0);
    command(&w, RCV_SERVICE_RESTART, 0, "");
    run(&w, 500);
    assert_true(w.pids[ROUTERD] != 0);
    end(&w);
}

static void it_stops_daemons_first_then_the_database(void **state)
{
    struct world w;

    (void)state;
    begin(&w, 0);
    step(&w, (struct rcv_event){.type = RCV_STOP});
    run(&w, 1000);
    for (int s = 1; s < SERVICES_COUNT; s++)
        assert_int_equal(w.pids[s], 0);
    assert_false(w.database.running);
    assert_true(rcv_stopped(w.rcv));
    command(&w, RCV_FAILOVER, 1, "being stopped");
    end(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_group_of_one_goes_to_normal),
        cmocka_unit_test(a_group_of_one_recovers_by_itself),
        cmocka_unit_test(a_group_of_one_refuses_what_needs_two),
        cmocka_unit_test(a_new_node_waits_for_its_peer),
        cmocka_unit_test(a_plan_is_on_disk_first),
        cmocka_unit_test(a_disk_that_refuses_is_tried_again),
        cmocka_unit_test(services_are_run_by_operators),
        cmocka_unit_test(it_stops_daemons_first_then_the_database),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
