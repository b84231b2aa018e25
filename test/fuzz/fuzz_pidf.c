// SPDX-License-Identifier: Apache-2.0
#include <assert.h>
#include <stddef.h>
#include <stdint.h>

#include "presenced/pidf.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What is read can be printed, and what is printed is a document with as many tuples. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    Muster__Pidf pidf, again;
    struct xml_node *root;
    struct arena a, b;
    struct buf out;

    arena_init(&a, 1 << 20);
    arena_init(&b, 4 << 20);
    buf_init(&out, 1 << 20);
    if (xml_parse(&a, str_of_bytes(data, size), &root) == 0 && pidf_read(&a, root, &pidf) == 0) {
        pidf_print(&out, "a@x", &pidf);
        if (!out.full && xml_parse(&b, buf_str(&out), &root) == 0) {
            assert(pidf_read(&b, root, &again) == 0);
            assert(again.n_tuples == pidf.n_tuples);
            assert(pidf_is_open(&again) == pidf_is_open(&pidf));
        }
    }
    buf_done(&out);
    arena_done(&a);
    arena_done(&b);
    return 0;
}
