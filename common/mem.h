// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Memory that is ours: zeroed, and never NULL. When there is none left the process dies with a
 * line in the log. Nothing whose size a peer decides may come from here: use a buf or an arena,
 * which have limits.
 */
#include <stddef.h>

void *mem_new(size_t size) __attribute__((malloc, returns_nonnull));

/* A copy of `len` bytes with a NUL behind them. */
void *mem_dup(const void *p, size_t len) __attribute__((malloc, returns_nonnull));

char *mem_strdup(const char *s) __attribute__((malloc, returns_nonnull));

/* Moves `p` (may be NULL) to a block of `size` bytes; what is beyond `old_size` is zeroed. */
void *mem_grow(void *p, size_t old_size, size_t size) __attribute__((returns_nonnull));

/* NULL is fine. */
void mem_free(void *p);

/* For CLEANUP(): frees what a local `char *` or `void *` points to. */
void mem_free_at(void *pointer_to_pointer);

#define CLEANUP(function) __attribute__((cleanup(function)))
