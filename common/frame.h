// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * How an Envelope stands on a stream: its length, four bytes, big-endian, then the packed message.
 * For the Unix sockets of a node (common/ipc) and the fabric between nodes. Usable by cores.
 */
#include <stdbool.h>
#include <stddef.h>

#include <envelope.pb-c.h>

#include "common/arena.h"
#include "common/buf.h"
#include "common/str.h"

enum {
    FRAME_HEAD_BYTES = 4,
    FRAME_BYTES_MAX = 1 << 20,     /* of the packed message */
    FRAME_UNPACKED_MAX = 16 << 20, /* what it may take in memory: an arena's limit */
};

enum frame_look { FRAME_WHOLE, FRAME_PARTIAL, FRAME_TOO_LARGE };

/* Bytes on the stream, head included. */
size_t frame_size(const Muster__Envelope *envelope);

/* Appends a frame; false, and nothing appended, past FRAME_BYTES_MAX or the buffer's limit. The
 * buffer is not `full` after that. */
bool frame_put(struct buf *out, const Muster__Envelope *envelope)
    __attribute__((warn_unused_result));

/* Is there a frame at the start of `bytes`? FRAME_WHOLE: *ret_message is the packed message in it;
 * the frame is FRAME_HEAD_BYTES longer. */
enum frame_look frame_look(struct str bytes, struct str *ret_message);

/* NULL where it is malformed or would take more memory than `arena` allows. It lives in `arena`,
 * and is never given to free_unpacked(). */
const Muster__Envelope *frame_unpack(struct str message, struct arena *arena);
