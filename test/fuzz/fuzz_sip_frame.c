// SPDX-License-Identifier: Apache-2.0
#include <assert.h>
#include <stddef.h>
#include <stdint.h>

#include "proxyd/sip/frame.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A stream means the same in whatever pieces it comes. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    size_t step = size ? 1 + data[0] % 7 : 1, from = 0, to = 0;
    struct sip_framer slow = {0};

    while (from < size) {
        struct sip_framer fast = {0};
        size_t len = 0, fast_len = 0;
        struct str seen = str_of_bytes(data + from, to - from);
        enum sip_frame frame = sip_frame_next(&slow, seen, &len);
        enum sip_frame whole = sip_frame_next(&fast, seen, &fast_len);

        assert(frame == whole && len == fast_len && len <= seen.len);
        if (frame == SIP_FRAME_MORE) {
            assert(seen.len < SIP_MESSAGE_MAX);
            if (to == size)
                break;
            to = to + step < size ? to + step : size;
        } else if (frame == SIP_FRAME_MESSAGE || frame == SIP_FRAME_BLANK ||
                   frame == SIP_FRAME_PING) {
            assert(len > 0);
            from += len;
        } else {
            break;
        }
    }
    return 0;
}
