// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Texts that outlive the message that they came in.
 */
#include "common/mem.h"
#include "common/str.h"

/* A copy on the heap, followed by a NUL. */
static inline struct str own(struct str s)
{
    return (struct str){str_dup(s), s.len};
}

static inline void disown(struct str s)
{
    mem_free((char *)s.p);
}
