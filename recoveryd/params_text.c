// SPDX-License-Identifier: Apache-2.0
#include "recoveryd/params_text.h"

#include <string.h>

#include "common/params.h"

static bool copy(char *to, size_t size, struct str from)
{
    if (from.len >= size)
        return false;
    memcpy(to, from.p, from.len);
    to[from.len] = '\0';
    return true;
}

/* One line of printable text: it goes into a file of lines. */
static bool is_line(struct str s)
{
    for (size_t i = 0; i < s.len; i++)
        if ((unsigned char)s.p[i] < ' ' || s.p[i] == 0x7f)
            return false;
    return true;
}

static struct params_row *find(struct params_rows *all, const struct params_row *row)
{
    for (size_t i = 0; i < all->count; i++)
        if (strcmp(all->rows[i].service, row->service) == 0 &&
            strcmp(all->rows[i].name, row->name) == 0)
            return &all->rows[i];
    return all->count < PARAMS_TEXT_ROWS_MAX ? &all->rows[all->count++] : NULL;
}

bool params_rows_put(struct params_rows *all, struct str service, struct str name, struct str value)
{
    struct params_row row = {0}, *place;
    struct params checked;
    struct err why;

    if (!copy(row.service, sizeof(row.service), service) ||
        !copy(row.name, sizeof(row.name), name) || !copy(row.value, sizeof(row.value), value) ||
        !is_line(value))
        return false;
    params_defaults(&checked);
    if (params_set(&checked, row.service, row.name, row.value, &why) != 0)
        return false;
    place = find(all, &row);
    if (place)
        *place = row;
    return place != NULL;
}

bool params_rows_equal(const struct params_rows *a, const struct params_rows *b)
{
    return a->count == b->count && memcmp(a->rows, b->rows, a->count * sizeof(*a->rows)) == 0;
}

void params_rows_print(struct buf *out, const struct params_rows *all)
{
    for (size_t i = 0; i < all->count; i++)
        buf_printf(out, "%s %s %s\n", all->rows[i].service, all->rows[i].name, all->rows[i].value);
}

size_t params_rows_parse(struct str text, struct params_rows *ret_rows)
{
    struct str line, service, name, value, rest = text;
    size_t left_out = 0;

    ret_rows->count = 0;
    while (rest.len) {
        (void)str_cut(rest, '\n', &line, &rest); /* without a newline it is the last one */
        if (!str_cut(line, ' ', &service, &value) || !str_cut(value, ' ', &name, &value) ||
            !params_rows_put(ret_rows, service, name, value))
            left_out++;
    }
    return left_out;
}
