// SPDX-License-Identifier: Apache-2.0
#include "routerd/stream_account.h"

#include <stdatomic.h>

#include "common/mem.h"

struct stream_account {
    atomic_uint refs;
    atomic_size_t bytes;
    atomic_size_t messages;
};

struct stream_account *stream_account_new(void)
{
    struct stream_account *a = mem_new(sizeof(*a));

    atomic_init(&a->refs, 1);
    return a;
}

struct stream_account *stream_account_ref(struct stream_account *a)
{
    atomic_fetch_add_explicit(&a->refs, 1, memory_order_relaxed);
    return a;
}

void stream_account_unref(struct stream_account *a)
{
    if (atomic_fetch_sub(&a->refs, 1) == 1)
        mem_free(a);
}

void stream_account_add(struct stream_account *a, size_t bytes)
{
    atomic_fetch_add_explicit(&a->bytes, bytes, memory_order_relaxed);
    atomic_fetch_add_explicit(&a->messages, 1, memory_order_relaxed);
}

void stream_account_take(struct stream_account *a, size_t bytes)
{
    atomic_fetch_sub_explicit(&a->bytes, bytes, memory_order_relaxed);
    atomic_fetch_sub_explicit(&a->messages, 1, memory_order_relaxed);
}

bool stream_account_beyond(const struct stream_account *a, size_t bytes, size_t messages)
{
    return atomic_load_explicit(&a->bytes, memory_order_relaxed) > bytes ||
           atomic_load_explicit(&a->messages, memory_order_relaxed) > messages;
}
