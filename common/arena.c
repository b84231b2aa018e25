// SPDX-License-Identifier: Apache-2.0
#include "common/arena.h"

#include <stdalign.h>
#include <string.h>

#include "common/mem.h"

enum { BLOCK_BYTES = 2048 };

struct arena_block {
    struct arena_block *next;
    size_t used;
    size_t size;
    alignas(max_align_t) char data[];
};

void arena_init(struct arena *a, size_t max)
{
    *a = (struct arena){.max = max};
}

void arena_done(struct arena *a)
{
    while (a->blocks) {
        struct arena_block *next = a->blocks->next;

        mem_free(a->blocks);
        a->blocks = next;
    }
    a->used = 0;
}

void *arena_alloc(struct arena *a, size_t size)
{
    struct arena_block *b = a->blocks;
    size_t align = alignof(max_align_t);
    void *p;

    if (size > a->max - a->used || a->max - a->used - size < align)
        return NULL;
    size = (size + align - 1) / align * align;
    if (!b || b->size - b->used < size) {
        size_t block = size > BLOCK_BYTES ? size : BLOCK_BYTES;

        b = mem_new(sizeof(*b) + block);
        b->size = block;
        b->next = a->blocks;
        a->blocks = b;
    }
    p = b->data + b->used;
    b->used += size;
    a->used += size;
    return p;
}

char *arena_dup_c(struct arena *a, struct str s)
{
    char *copy = arena_alloc(a, s.len + 1);

    if (copy && s.len)
        memcpy(copy, s.p, s.len);
    return copy;
}

struct str arena_dup(struct arena *a, struct str s)
{
    char *copy = arena_dup_c(a, s);

    return copy ? (struct str){copy, s.len} : (struct str){NULL, 0};
}
