// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * What nodectl prints: aligned columns for people, JSON for programs. Text from elsewhere is shown
 * without control characters.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <jansson.h>

enum { OUTPUT_COLUMNS_MAX = 12 };

struct output_table;

/* The titles end with NULL. */
struct output_table *output_table_new(const char *const *titles);
/* As many cells as titles; copied. */
void output_row(struct output_table *t, const char *const *cells);
/* Prints all and frees it. */
void output_table_end(struct output_table *t);

/* Prints indented and frees it. */
void output_json(json_t *root);
/* Members; text that is not UTF-8 is given without its bytes that are not ASCII. */
void output_set_text(json_t *object, const char *key, const char *value);
void output_set_number(json_t *object, const char *key, uint64_t value);
void output_set_flag(json_t *object, const char *key, bool value);

/* "2026-11-21T05:20:11Z"; "-" for 0. */
const char *output_time(uint64_t unix_ms, char *ret_text, size_t size);
