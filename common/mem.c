// SPDX-License-Identifier: Apache-2.0
#include "common/mem.h"

#include <stdlib.h>
#include <string.h>

#include "common/log.h"

static void *alive(void *p, size_t size)
{
    if (!p) {
        log_error("out_of_memory", log_u64("bytes", size));
        abort();
    }
    return p;
}

void *mem_new(size_t size)
{
    return alive(calloc(1, size ? size : 1), size);
}

void *mem_dup(const void *p, size_t len)
{
    char *copy = alive(malloc(len + 1), len);

    if (len)
        memcpy(copy, p, len);
    copy[len] = '\0';
    return copy;
}

char *mem_strdup(const char *s)
{
    return mem_dup(s, strlen(s));
}

void *mem_grow(void *p, size_t old_size, size_t size)
{
    char *grown = alive(realloc(p, size ? size : 1), size);

    if (size > old_size)
        memset(grown + old_size, 0, size - old_size);
    return grown;
}

void mem_free(void *p)
{
    free(p);
}

void mem_free_at(void *pointer_to_pointer)
{
    void *p;

    memcpy(&p, pointer_to_pointer, sizeof(p));
    free(p);
}
