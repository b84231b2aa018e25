// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Bytes that grow, up to the limit given at birth. Running into the limit is an ordinary outcome:
 * the buffer turns `full`, keeps what it has, takes nothing more, and the writer looks once, at the
 * end. Always followed by a NUL, so that text can be handed to libraries.
 */
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/str.h"

struct buf {
    char *data; /* NULL while empty */
    size_t len;
    size_t cap;
    size_t max;
    bool full;
};

void buf_init(struct buf *b, size_t max);
void buf_done(struct buf *b);
/* For CLEANUP(): the same. */
void buf_done_at(struct buf *b);

/* Empty again, limit and memory kept. */
void buf_clear(struct buf *b);

void buf_put(struct buf *b, const void *p, size_t len);
void buf_put_c(struct buf *b, char c);
void buf_puts(struct buf *b, const char *s);
void buf_put_str(struct buf *b, struct str s);
void buf_put_u64(struct buf *b, uint64_t value);
void buf_printf(struct buf *b, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Room for `len` more bytes at the end, to be written by the caller, who then adds to b->len; NULL
 * where that would pass the limit. */
void *buf_reserve(struct buf *b, size_t len);

/* Drops the first `len` bytes. */
void buf_drop(struct buf *b, size_t len);

struct str buf_str(const struct buf *b);

/* The bytes, now the caller's to mem_free(); the buffer is empty. Never NULL. */
char *buf_take(struct buf *b);
