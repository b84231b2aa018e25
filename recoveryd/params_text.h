// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * The parameters that a node was told, and their copy on disk: a line each, "SERVICE NAME VALUE".
 * (plain: the table of parameters is in common/params)
 */
#include "common/buf.h"
#include "common/str.h"

enum { PARAMS_TEXT_MAX = 64 * 1024, PARAMS_TEXT_ROWS_MAX = 256, PARAMS_TEXT_FIELD_MAX = 128 };

struct params_row {
    char service[32];
    char name[64];
    char value[PARAMS_TEXT_FIELD_MAX + 1];
};

struct params_rows {
    struct params_row rows[PARAMS_TEXT_ROWS_MAX];
    size_t count;
};

/* Adds a parameter, or replaces its value. False, and nothing done, if there is no such one, the
 * value is not allowed, or there is no room. */
bool params_rows_put(struct params_rows *all, struct str service, struct str name,
                     struct str value);
bool params_rows_equal(const struct params_rows *a, const struct params_rows *b);

void params_rows_print(struct buf *out, const struct params_rows *all);
/* Lines that are none are left out; how many were is returned. */
size_t params_rows_parse(struct str text, struct params_rows *ret_rows);
