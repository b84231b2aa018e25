// SPDX-License-Identifier: Apache-2.0
#include <assert.h>
#include <stddef.h>
#include <stdint.h>

#include "common/frame.h"
#include "common/view.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The bytes are what a link reads. What can be unpacked can be packed again, within the limits, and
 * a view that is taken keeps what the rest of the code believes of it. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str rest = str_of_bytes(data, size), message;
    struct view view;

    while (frame_look(rest, &message) == FRAME_WHOLE) {
        const Muster__Envelope *envelope;
        struct arena arena;
        struct buf again;

        arena_init(&arena, FRAME_UNPACKED_MAX);
        buf_init(&again, 2 * FRAME_BYTES_MAX);
        envelope = frame_unpack(message, &arena);
        assert(arena.used <= FRAME_UNPACKED_MAX);
        if (envelope && frame_put(&again, envelope)) {
            struct str packed;

            assert(again.len == frame_size(envelope));
            assert(frame_look(buf_str(&again), &packed) == FRAME_WHOLE);
        }
        if (envelope && envelope->body_case == MUSTER__ENVELOPE__BODY_VIEW &&
            view_of(envelope->view, &view)) {
            assert(view_find(&view, view.self));
            assert(view.count <= VIEW_NODES_MAX && view.version != 0);
        }
        rest = str_sub(rest, FRAME_HEAD_BYTES + message.len, rest.len);
        buf_done(&again);
        arena_done(&arena);
    }
    return 0;
}
