// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * How answers are shown: aligned columns for people, JSON for programs.
 */
#include <stdint.h>

#include <jansson.h>

enum { OUTPUT_TIME_MAX = 32, OUTPUT_COLUMNS_MAX = 12 };

/* "2026-01-31 12:00:00Z"; "-" for 0. */
void output_time(uint64_t unix_ms, char ret_text[OUTPUT_TIME_MAX]);

/* Prints `value` and a newline, and gives up the reference. 0, or NODECTL_FAILED. */
int output_json(json_t *value);

/* `rows` rows of `columns` texts, the first of them headings, aligned; at most
 * OUTPUT_COLUMNS_MAX columns. */
void output_table(const char *const *cells, size_t rows, size_t columns);
