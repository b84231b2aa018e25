// SPDX-License-Identifier: Apache-2.0
#include <assert.h>
#include <stddef.h>
#include <stdint.h>

#include "presenced/pidf.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Reads what was printed. */
static int read_again(struct arena *a, struct str text, Muster__Pidf *ret_pidf)
{
    struct xml_node *root;
    int r = xml_parse(a, text, &root);

    assert(r != XML_E_MALFORMED && r != XML_E_RESTRICTED);
    return r ? r : pidf_read(a, root, ret_pidf);
}

/* A document that was understood is printed as one that means the same. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    Muster__Pidf pidf, again;
    struct xml_node *root;
    struct arena a, b;
    struct buf out;

    arena_init(&a, 1 << 20);
    arena_init(&b, 1 << 21);
    buf_init(&out, 4 * PIDF_BYTES_MAX);
    if (size <= PIDF_BYTES_MAX && xml_parse(&a, str_of_bytes(data, size), &root) == 0 &&
        pidf_read(&a, root, &pidf) == 0) {
        pidf_print(&out, "a@x", &pidf);
        if (!out.full && read_again(&b, buf_str(&out), &again) == 0) {
            assert(again.n_tuples == pidf.n_tuples);
            assert(pidf_is_open(&again) == pidf_is_open(&pidf));
            assert(str_eq_c(str_of(pidf_show(&again)), pidf_show(&pidf)));
            assert(str_eq_c(str_of(pidf_note(&again)), pidf_note(&pidf)));
        }
    }
    buf_done(&out);
    arena_done(&b);
    arena_done(&a);
    return 0;
}
