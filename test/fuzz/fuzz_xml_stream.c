// SPDX-License-Identifier: Apache-2.0
#include <assert.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "common/mem.h"
#include "common/xml.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { STANZA_BYTES_MAX = 2000 };

static void on_open(void *ctx, const struct xml_node *root)
{
    (void)ctx;
    assert(!str_empty(root->name));
}

/* An element <r/> restarts the stream, so that this is tried too. */
static void on_stanza(void *ctx, struct arena *arena, struct xml_node *stanza)
{
    struct xml_stream **s = ctx;

    if (xml_is(stanza, NULL, "r"))
        xml_stream_restart(*s);
    arena_done(arena);
    mem_free(arena);
}

static void on_close(void *ctx)
{
    (void)ctx;
}

/* The first byte is the size of the pieces in which the rest comes. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct xml_stream_ops ops = {on_open, on_stanza, on_close};
    size_t piece = size ? data[0] % 64 + 1u : 1;
    struct xml_stream *s = NULL;

    s = xml_stream_new(&ops, &s, STANZA_BYTES_MAX);
    for (size_t at = 1; at < size; at += piece)
        if (xml_stream_feed(s, data + at, size - at < piece ? size - at : piece))
            break;
    xml_stream_free(s);
    return 0;
}
