// SPDX-License-Identifier: Apache-2.0
#include "common/buf.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "common/mem.h"

enum { FIRST_BYTES = 64 };

void buf_init(struct buf *b, size_t max)
{
    *b = (struct buf){.max = max};
}

void buf_done(struct buf *b)
{
    mem_free(b->data);
    *b = (struct buf){.max = b->max};
}

void buf_done_at(struct buf *b)
{
    buf_done(b);
}

void buf_clear(struct buf *b)
{
    b->len = 0;
    b->full = false;
    if (b->data)
        b->data[0] = '\0';
}

void *buf_reserve(struct buf *b, size_t len)
{
    size_t cap = b->cap ? b->cap : FIRST_BYTES;

    if (b->full || len > b->max - b->len) {
        b->full = true;
        return NULL;
    }
    while (cap < b->len + len + 1)
        cap *= 2;
    if (cap != b->cap) {
        b->data = mem_grow(b->data, b->cap, cap);
        b->cap = cap;
    }
    return b->data + b->len;
}

void buf_put(struct buf *b, const void *p, size_t len)
{
    char *to = buf_reserve(b, len);

    if (!to)
        return;
    if (len)
        memcpy(to, p, len);
    b->len += len;
    b->data[b->len] = '\0';
}

void buf_put_c(struct buf *b, char c)
{
    buf_put(b, &c, 1);
}

void buf_puts(struct buf *b, const char *s)
{
    buf_put(b, s, strlen(s));
}

void buf_put_str(struct buf *b, struct str s)
{
    buf_put(b, s.p, s.len);
}

void buf_put_u64(struct buf *b, uint64_t value)
{
    char digits[20];
    size_t at = sizeof(digits);

    do
        digits[--at] = (char)('0' + value % 10);
    while (value /= 10);
    buf_put(b, digits + at, sizeof(digits) - at);
}

void buf_printf(struct buf *b, const char *format, ...)
{
    va_list args;
    char *to;
    int len;

    va_start(args, format);
    len = vsnprintf(NULL, 0, format, args);
    va_end(args);
    assert(len >= 0);
    to = buf_reserve(b, (size_t)len);
    if (!to)
        return;
    va_start(args, format);
    (void)vsnprintf(to, (size_t)len + 1, format, args); /* the length is known to fit */
    va_end(args);
    b->len += (size_t)len;
}

void buf_drop(struct buf *b, size_t len)
{
    assert(len <= b->len);
    if (len == 0)
        return;
    memmove(b->data, b->data + len, b->len - len + 1);
    b->len -= len;
}

struct str buf_str(const struct buf *b)
{
    return (struct str){b->data ? b->data : "", b->len};
}

char *buf_take(struct buf *b)
{
    char *data = b->data ? b->data : mem_dup("", 0);

    *b = (struct buf){.max = b->max};
    return data;
}
