// SPDX-License-Identifier: Apache-2.0
#include <assert.h>
#include <stddef.h>
#include <stdint.h>

#include "common/xml.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What is taken prints as a document that is taken again and prints the same. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena a;
    struct buf first, second;
    struct xml_node *root;

    arena_init(&a, 1 << 20);
    buf_init(&first, 1 << 20);
    buf_init(&second, 1 << 20);
    if (xml_parse(&a, str_of_bytes(data, size), &root) == 0) {
        xml_print(&first, root, STR(""));
        if (!first.full && xml_parse(&a, buf_str(&first), &root) == 0) {
            xml_print(&second, root, STR(""));
            assert(str_eq(buf_str(&first), buf_str(&second)));
        }
    }
    buf_done(&first);
    buf_done(&second);
    arena_done(&a);
    return 0;
}
