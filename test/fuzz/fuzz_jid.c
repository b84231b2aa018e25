// SPDX-License-Identifier: Apache-2.0
#include <assert.h>
#include <stddef.h>
#include <stdint.h>

#include "common/jid.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A JID that was taken is well-formed, within its limits, and the same when it is parsed again. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena arena;
    struct jid jid, again;

    arena_init(&arena, 16384);
    if (jid_parse(&arena, str_of_bytes(data, size), &jid) == 0) {
        assert(jid.full.p[jid.full.len] == '\0');
        assert(jid.full.len <= JID_MAX && str_utf8(jid.full));
        assert(jid.domain.len > 0 && jid.domain.len <= JID_PART_MAX);
        assert(jid.local.len <= JID_PART_MAX && jid.resource.len <= JID_PART_MAX);
        assert(jid_parse(&arena, jid.full, &again) == 0);
        assert(str_eq(jid.full, again.full) && str_eq(jid.bare, again.bare));
        assert(str_eq(jid.local, again.local) && str_eq(jid.resource, again.resource));
    }
    arena_done(&arena);
    return 0;
}
