// SPDX-License-Identifier: Apache-2.0
#include <assert.h>
#include <stddef.h>
#include <stdint.h>

#include "common/mem.h"
#include "recoveryd/params_text.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Whatever is read can be printed and read again. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct params_rows *first = mem_new(sizeof(*first)), *second = mem_new(sizeof(*second));
    struct buf text;
    size_t left_out;

    (void)params_rows_parse(str_of_bytes(data, size), first);
    buf_init(&text, PARAMS_TEXT_MAX);
    params_rows_print(&text, first);
    assert(!text.full);
    left_out = params_rows_parse(buf_str(&text), second);
    assert(left_out == 0);
    assert(params_rows_equal(first, second));
    buf_done(&text);
    mem_free(first);
    mem_free(second);
    return 0;
}
