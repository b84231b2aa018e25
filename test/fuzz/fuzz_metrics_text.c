// SPDX-License-Identifier: Apache-2.0
#include <assert.h>
#include <stddef.h>
#include <stdint.h>

#include "recoveryd/metrics_text.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { OUT_MAX = 1 << 20 };

/* The input, cut in two, as texts of two services. What comes out is text of lines. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str all = str_of_bytes(data, size);
    const struct metrics_text_source sources[] = {
        {"one", str_sub(all, 0, size / 2)},
        {"two", str_sub(all, size / 2, size)},
    };
    struct buf out;

    buf_init(&out, OUT_MAX);
    metrics_text_merge(&out, sources, 2, "n\"1\\");
    assert(out.full || str_utf8(buf_str(&out)));
    assert(out.full || out.len == 0 || out.data[out.len - 1] == '\n');
    buf_done(&out);
    return 0;
}
