// SPDX-License-Identifier: Apache-2.0
/*
 * Whatever comes as a heartbeat is refused or within the ranges that the core relies on: it is fed
 * to a core, whose invariants must hold.
 */
#include <assert.h>

#include "recoveryd/heartbeat.h"
#include "recoveryd/rcv.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct rcv_config config = {
        .node = 1,
        .peer = 2,
        .boot_id = 1,
        .timers = {200, 3000, 10000, 2000, 5000, 1800000, true},
    };
    static struct rcv_update update;
    Muster__Heartbeat *heartbeat = heartbeat_read(data, size, 2);
    struct rcv_event event = {.type = RCV_HEARD, .heartbeat = heartbeat};
    struct rcv *rcv;

    if (!heartbeat)
        return 0;
    assert(heartbeat->node == 2 && heartbeat->boot_id != 0);
    rcv = rcv_new(&config, event.now, 0);
    for (int i = 0; i < 3; i++) {
        rcv_step(rcv, &event, &update);
        rcv_check(rcv);
        event.now = mono_after(event.now, 200);
    }
    rcv_free(rcv);
    muster__heartbeat__free_unpacked(heartbeat, NULL);
    return 0;
}
