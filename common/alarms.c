// SPDX-License-Identifier: Apache-2.0
#include "common/alarms.h"

#include <string.h>

#include "common/util.h"

static const struct alarm_info table[] = {
#define ALARM(name, severity, cause, action) {#name, #severity, cause, action},
#include "common/alarms.def"
#undef ALARM
};

_Static_assert(ARRAY_LEN(table) <= 32, "daemons keep a bit for each");

const struct alarm_info *alarms_table(size_t *ret_count)
{
    *ret_count = ARRAY_LEN(table);
    return table;
}

const struct alarm_info *alarms_find(const char *name)
{
    for (size_t i = 0; i < ARRAY_LEN(table); i++)
        if (strcmp(table[i].name, name) == 0)
            return &table[i];
    return NULL;
}
