// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * The memory of one message or transaction, freed at once. It has a limit, because what a peer
 * sends decides how much is asked for: past it, arena_alloc() gives NULL, and the message is
 * refused.
 */
#include <stddef.h>

#include "common/str.h"

struct arena_block;

struct arena {
    struct arena_block *blocks;
    size_t used;
    size_t max;
};

void arena_init(struct arena *a, size_t max);
void arena_done(struct arena *a);

/* Zeroed, aligned for any type; NULL past the limit. */
void *arena_alloc(struct arena *a, size_t size);

/* A copy with a NUL behind it; {NULL, 0} past the limit. */
struct str arena_dup(struct arena *a, struct str s);
/* The same as a C string; NULL past the limit. */
char *arena_dup_c(struct arena *a, struct str s);
