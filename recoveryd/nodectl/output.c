// SPDX-License-Identifier: Apache-2.0
#include "recoveryd/nodectl/output.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#include "common/mem.h"
#include "common/str.h"

struct row {
    struct row *next;
    char *cells[OUTPUT_COLUMNS_MAX];
};

struct output_table {
    size_t columns;
    size_t widths[OUTPUT_COLUMNS_MAX];
    struct row *first, **end;
};

/* Characters, not bytes, so that names line up. */
static size_t width_of(const char *text)
{
    size_t width = 0;

    for (; *text; text++)
        width += ((unsigned char)*text & 0xc0) != 0x80;
    return width;
}

static char *clean_copy(const char *text)
{
    char *copy = mem_strdup(text);

    for (char *c = copy; *c; c++)
        if ((unsigned char)*c < ' ' || *c == 0x7f)
            *c = '?';
    return copy;
}

struct output_table *output_table_new(const char *const *titles)
{
    struct output_table *t = mem_new(sizeof(*t));

    t->end = &t->first;
    while (titles[t->columns])
        t->columns++;
    output_row(t, titles);
    return t;
}

void output_row(struct output_table *t, const char *const *cells)
{
    struct row *row = mem_new(sizeof(*row));

    for (size_t i = 0; i < t->columns; i++) {
        size_t width;

        row->cells[i] = clean_copy(cells[i]);
        width = width_of(row->cells[i]);
        if (width > t->widths[i])
            t->widths[i] = width;
    }
    *t->end = row;
    t->end = &row->next;
}

static void print_row(const struct output_table *t, const struct row *row)
{
    size_t last = t->columns;

    while (last > 1 && !*row->cells[last - 1]) /* no spaces at the end of a line */
        last--;
    for (size_t i = 0; i < last; i++) {
        fputs(row->cells[i], stdout);
        if (i + 1 < last)
            printf("%*s", (int)(t->widths[i] - width_of(row->cells[i]) + 2), "");
    }
    putchar('\n');
}

void output_table_end(struct output_table *t)
{
    while (t->first) {
        struct row *row = t->first;

        print_row(t, row);
        t->first = row->next;
        for (size_t i = 0; i < t->columns; i++)
            mem_free(row->cells[i]);
        mem_free(row);
    }
    mem_free(t);
}

void output_json(json_t *root)
{
    json_dumpf(root, stdout, JSON_INDENT(2) | JSON_PRESERVE_ORDER);
    putchar('\n');
    json_decref(root);
}

void output_set_text(json_t *object, const char *key, const char *value)
{
    char *copy;

    if (str_utf8(str_of(value))) {
        json_object_set_new(object, key, json_string(value));
        return;
    }
    copy = mem_strdup(value);
    for (char *c = copy; *c; c++)
        if ((unsigned char)*c >= 0x80)
            *c = '?';
    json_object_set_new(object, key, json_string(copy));
    mem_free(copy);
}

void output_set_number(json_t *object, const char *key, uint64_t value)
{
    json_object_set_new(object, key, json_integer((json_int_t)value));
}

void output_set_flag(json_t *object, const char *key, bool value)
{
    json_object_set_new(object, key, json_boolean(value));
}

const char *output_time(uint64_t unix_ms, char *ret_text, size_t size)
{
    time_t seconds = (time_t)(unix_ms / 1000);
    struct tm tm;

    if (!unix_ms || !gmtime_r(&seconds, &tm) ||
        strftime(ret_text, size, "%Y-%m-%dT%H:%M:%SZ", &tm) == 0)
        snprintf(ret_text, size, "-");
    return ret_text;
}
