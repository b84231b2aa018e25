// SPDX-License-Identifier: Apache-2.0
#include "recoveryd/nodectl/output.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "recoveryd/nodectl/nodectl.h"

void output_time(uint64_t unix_ms, char ret_text[OUTPUT_TIME_MAX])
{
    time_t seconds = (time_t)(unix_ms / 1000);
    struct tm tm;

    if (unix_ms == 0 || !gmtime_r(&seconds, &tm) ||
        strftime(ret_text, OUTPUT_TIME_MAX, "%Y-%m-%d %H:%M:%SZ", &tm) == 0)
        (void)snprintf(ret_text, OUTPUT_TIME_MAX, "-");
}

int output_json(json_t *value)
{
    int r = value ? json_dumpf(value, stdout, JSON_INDENT(2)) : -1;

    json_decref(value);
    if (r)
        return nodectl_fail("the answer cannot be printed as JSON");
    printf("\n");
    return NODECTL_DONE;
}

void output_table(const char *const *cells, size_t rows, size_t columns)
{
    size_t widths[OUTPUT_COLUMNS_MAX] = {0};

    assert(columns > 0 && columns <= OUTPUT_COLUMNS_MAX);
    for (size_t i = 0; i < rows * columns; i++)
        if (strlen(cells[i]) > widths[i % columns])
            widths[i % columns] = strlen(cells[i]);
    for (size_t i = 0; i < rows * columns; i++)
        if (i % columns + 1 < columns)
            printf("%-*s  ", (int)widths[i % columns], cells[i]);
        else
            printf("%s\n", cells[i]);
}
