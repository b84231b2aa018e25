// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Views of text: a pointer and a length, owned by somebody else, not ended by a NUL. Parsers return
 * them; they live as long as the message that they look into.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct str {
    const char *p;
    size_t len;
};

/* A view of a string literal. */
#define STR(literal) ((struct str){(literal), sizeof(literal) - 1})

/* For printf's "%.*s". */
#define STR_ARG(s) (int)(s).len, (s).p

/* A view of a C string; NULL gives the empty view. */
struct str str_of(const char *s);
struct str str_of_bytes(const void *p, size_t len);

bool str_empty(struct str s);
bool str_eq(struct str a, struct str b);
bool str_eq_c(struct str a, const char *b);
/* ASCII letters compare without case. */
bool str_ieq(struct str a, struct str b);
bool str_ieq_c(struct str a, const char *b);
bool str_starts(struct str s, struct str prefix);
bool str_istarts(struct str s, struct str prefix);
bool str_ends(struct str s, struct str suffix);
/* Less than, equal to or greater than 0, by bytes. */
int str_cmp(struct str a, struct str b);

/* Offset of the first `c`, or s.len. */
size_t str_find(struct str s, char c);
size_t str_rfind(struct str s, char c);
/* The first `c` that is not between double quotes, within which a backslash escapes. */
size_t str_find_unquoted(struct str s, char c);
/* The part from `from`, at most `len` bytes; empty where there is none. */
struct str str_sub(struct str s, size_t from, size_t len);

/* Splits at the first `c`: what is before it goes to *ret_head, what follows to *ret_tail. Without
 * one: false, *ret_head is all of `s`, *ret_tail is empty. */
bool str_cut(struct str s, char c, struct str *ret_head, struct str *ret_tail);

/* Without spaces, tabs, CR and LF at its ends. */
struct str str_trim(struct str s);

/* The whole of `s` as a decimal number; false if it is none or does not fit. */
bool str_u64(struct str s, uint64_t *ret_value);
bool str_u32(struct str s, uint32_t *ret_value);
bool str_i32(struct str s, int32_t *ret_value);

/* On the heap, with a NUL: mem_free() it. For what is ours or already limited. */
char *str_dup(struct str s);

/* FNV-1a: the same on every run, for hash tables of a core whose keys we chose. */
uint64_t str_hash(struct str s);

/* Well-formed UTF-8 (RFC 3629), without NUL. */
bool str_utf8(struct str s);

/* The longest prefix of at most `max` bytes that does not end within a character. */
struct str str_utf8_prefix(struct str s, size_t max);
