// SPDX-License-Identifier: Apache-2.0
#include <stddef.h>
#include <stdint.h>

#include "common/replica.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool is_mine(void *ctx, struct str user)
{
    (void)ctx;
    return user.len % 2;
}

static bool send_frame(void *ctx, const Muster__ReplicaFrame *frame)
{
    uint64_t *stream = ctx;

    if (frame->body_case == MUSTER__REPLICA_FRAME__BODY_HELLO)
        *stream = frame->hello->stream;
    return true;
}

/* What a peer says. An Ops or Snapshot whose stream is 1 means the one that was asked for. */
static void receive(struct replica *r, const uint8_t *data, size_t size, uint64_t stream,
                    mono_t now)
{
    Muster__ReplicaFrame *frame = muster__replica_frame__unpack(NULL, size, data);

    if (!frame)
        return;
    if (frame->stream == 1)
        frame->stream = stream;
    (void)replica_receive(r, frame, now);
    muster__replica_frame__free_unpacked(frame, NULL);
}

/* Frames, each after a byte of length; a length of 0 is a byte that says what else happens. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint64_t stream = 0, links = 1;
    struct replica_config config = {.boot_id = 1000,
                                    .commit_timeout_ms = 20,
                                    .restore_timeout_ms = 100,
                                    .bytes_max = 2000,
                                    .is_mine = is_mine,
                                    .send = send_frame,
                                    .ctx = &stream};
    struct replica *r = replica_new(&config);
    struct replica_record record = {STR("k"), STR("u"), STR("v")};
    mono_t now = {1};

    replica_view(r, 1, true, now);
    replica_link_up(r, links, now);
    for (size_t at = 0; at < size; at++) {
        size_t len = data[at] < size - at ? data[at] : size - at - 1;

        now = mono_after(now, 1);
        if (len) {
            receive(r, data + at + 1, len, stream, now);
            at += len;
        } else if (at + 1 < size && data[++at] & 1) {
            replica_link_down(r, now);
            replica_link_up(r, ++links, now);
        } else {
            now = mono_after(now, data[at]);
            replica_tick(r, now);
            (void)replica_put(r, data[at] % 16, &record);
        }
        replica_flush(r, now);
        replica_check(r);
    }
    replica_free(r);
    return 0;
}
