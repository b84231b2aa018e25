// SPDX-License-Identifier: Apache-2.0
#include "common/frame.h"

size_t frame_size(const Muster__Envelope *envelope)
{
    return FRAME_HEAD_BYTES + muster__envelope__get_packed_size(envelope);
}

bool frame_put(struct buf *out, const Muster__Envelope *envelope)
{
    size_t size = frame_size(envelope);
    size_t len = size - FRAME_HEAD_BYTES;
    uint8_t *to;

    if (len > FRAME_BYTES_MAX || size > out->max - out->len)
        return false;
    to = buf_reserve(out, size);
    if (!to)
        return false;
    for (int i = 0; i < FRAME_HEAD_BYTES; i++)
        to[i] = (uint8_t)(len >> 8 * (FRAME_HEAD_BYTES - 1 - i));
    muster__envelope__pack(envelope, to + FRAME_HEAD_BYTES);
    out->len += size;
    out->data[out->len] = '\0';
    return true;
}

enum frame_look frame_look(struct str bytes, struct str *ret_message)
{
    size_t len = 0;

    if (bytes.len < FRAME_HEAD_BYTES)
        return FRAME_PARTIAL;
    for (int i = 0; i < FRAME_HEAD_BYTES; i++)
        len = len << 8 | (uint8_t)bytes.p[i];
    if (len > FRAME_BYTES_MAX)
        return FRAME_TOO_LARGE;
    if (bytes.len - FRAME_HEAD_BYTES < len)
        return FRAME_PARTIAL;
    *ret_message = str_sub(bytes, FRAME_HEAD_BYTES, len);
    return FRAME_WHOLE;
}

static void *take(void *arena, size_t size)
{
    return arena_alloc(arena, size);
}

static void leave(void *arena, void *p)
{
    (void)arena;
    (void)p;
}

const Muster__Envelope *frame_unpack(struct str message, struct arena *arena)
{
    ProtobufCAllocator allocator = {.alloc = take, .free = leave, .allocator_data = arena};

    return muster__envelope__unpack(&allocator, message.len, (const uint8_t *)message.p);
}
