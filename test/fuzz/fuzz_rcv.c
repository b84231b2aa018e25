// SPDX-License-Identifier: Apache-2.0
/*
 * The recovery manager's core under any events in any order: its invariants hold after each, its
 * effects fit, and after a tick its deadline lies ahead. Of a byte the low half is the event;
 * the rest of it and the bytes that follow say what is in it.
 */
#include <assert.h>

#include "recoveryd/rcv.h"

struct input {
    const uint8_t *p, *end;
};

static uint8_t take(struct input *in)
{
    return in->p < in->end ? *in->p++ : 0;
}

static void fill_heartbeat(struct input *in, Muster__Heartbeat *h)
{
    uint8_t flags = take(in), more = take(in);

    h->node = 2;
    h->boot_id = 1u + (flags & 1);
    h->seq = take(in);
    h->epoch = take(in);
    h->goal = take(in) % RCV_ROLES;
    h->reported = take(in) % RCV_ROLES;
    h->base_epoch = take(in);
    h->released_epoch = take(in);
    h->echo_boot_id = 1;
    h->echo_seq = take(in);
    h->database_node = take(in) % 3;
    h->request = take(in) % 3;
    h->timeline = take(in);
    h->ready = flags & 2;
    h->able = flags & 4;
    h->critical_up = flags & 8;
    h->database_primary = flags & 16;
    h->database_up = flags & 32;
    h->replicas_in_sync = flags & 64;
    h->services_running = flags & 128;
    h->database_exists = more & 1;
    h->database_synced = more & 2;
    h->database_alone = more & 4;
    h->database_following = more & 8;
    h->database_kept = more & 16;
    h->stopping = more & 32;
    h->database_known = more & 64;
}

static struct rcv_database some_database(struct input *in)
{
    uint8_t flags = take(in), more = take(in);

    return (struct rcv_database){
        .known = true,
        .exists = flags & 1,
        .unusable = flags & 2,
        .running = flags & 4,
        .up = flags & 8,
        .standby = flags & 16,
        .receiving = flags & 32,
        .streaming = flags & 64,
        .sync = flags & 128,
        .timeline = more & 3,
        .synchronous = more >> 2 & 2,
        .replica = more >> 3 & 2,
        .lsn = take(in),
    };
}

/* What is in the effects that the core waits for. */
static uint64_t awaited[RCV_REPLY + 1];

static void fill(struct input *in, struct rcv_event *event, Muster__Heartbeat *heartbeat,
                 Muster__ViewAck *ack)
{
    Muster__Service service = (Muster__Service)(1 + take(in) % 4);

    switch (event->type) {
    case RCV_HEARD:
        fill_heartbeat(in, heartbeat);
        event->heartbeat = heartbeat;
        break;
    case RCV_CONNECT_FAILED:
        event->connect.refused = event->connect.listeners_refused = take(in) & 1;
        break;
    case RCV_SERVICE_STARTED:
    case RCV_SERVICE_EXITED:
        event->process.service = service;
        event->process.pid = take(in);
        break;
    case RCV_SERVICE_ACKED:
        ack->version = take(in);
        ack->healthy = take(in) & 1;
        ack->replica = take(in) & 3;
        event->ack.service = service;
        event->ack.ack = ack;
        break;
    case RCV_DATABASE:
        event->database = some_database(in);
        break;
    case RCV_DATABASE_DONE:
        event->done.id = awaited[RCV_RUN_DATABASE];
        event->done.ok = take(in) & 1;
        break;
    case RCV_SYNC_DONE:
        event->done.id = awaited[RCV_SET_SYNCHRONOUS];
        event->done.ok = take(in) & 1;
        break;
    case RCV_SAVED:
        event->done.id = awaited[RCV_SAVE];
        event->done.ok = take(in) & 7;
        break;
    case RCV_COMMAND:
        event->command.command = (enum rcv_command)(take(in) % (RCV_SERVICE_RESTART + 1));
        event->command.service = (Muster__Service)(take(in) % 9);
        break;
    case RCV_TIMERS:
        event->timers = (struct rcv_timers){200, 3000, 10000, 2000, 5000, 1000, take(in) & 1};
        break;
    case RCV_TICK:
    case RCV_LINK_LOST:
    case RCV_STOP:
        break;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct rcv_update update;
    struct input in = {data, data + size};
    uint8_t born = take(&in);
    struct rcv_config config = {
        .node = 1,
        .peer = born & 1 ? 2 : 0,
        .boot_id = 1,
        .timers = {200, 3000, 10000, 2000, 5000, 1000, true},
        .plan = {.epoch = take(&in), .goal = (enum rcv_role)(take(&in) % RCV_ROLES)},
        .inherited_lease = {born & 2 ? 2000 : 0},
    };
    mono_t now = {1};
    struct rcv *rcv;

    config.plan.reported = config.plan.goal;
    rcv = rcv_new(&config, now, 0);
    while (in.p < in.end) {
        struct rcv_event event = {.type = (enum rcv_event_type)(take(&in) % (RCV_STOP + 1))};
        Muster__Heartbeat heartbeat = MUSTER__HEARTBEAT__INIT;
        Muster__ViewAck ack = MUSTER__VIEW_ACK__INIT;

        fill(&in, &event, &heartbeat, &ack);
        now = mono_after(now, take(&in) * 4u);
        event.now = now;
        rcv_step(rcv, &event, &update);
        rcv_check(rcv);
        /* Else the loop would turn without end. */
        if (event.type == RCV_TICK)
            assert(!mono_reached(now, rcv_deadline(rcv)));
        for (size_t i = 0; i < update.count; i++)
            awaited[update.effects[i].type] = update.effects[i].id;
    }
    rcv_free(rcv);
    return 0;
}
