// SPDX-License-Identifier: Apache-2.0
#include "recoveryd/alarm_list.h"

#include <stdio.h>
#include <string.h>

#include "common/alarms.h"

static struct alarm_entry *find(struct alarm_list *l, Muster__Service source, const char *name)
{
    for (size_t i = 0; i < l->count; i++)
        if (l->entries[i].source == source && strcmp(l->entries[i].name, name) == 0)
            return &l->entries[i];
    return NULL;
}

bool alarm_list_set(struct alarm_list *l, Muster__Service source, const char *name, bool raised,
                    const char *detail, uint64_t unix_ms)
{
    const struct alarm_info *info = alarms_find(name);
    struct alarm_entry *entry = info ? find(l, source, name) : NULL;

    if (!info || (!entry && (!raised || l->count == ALARM_LIST_MAX)))
        return false;
    if (!raised) {
        *entry = l->entries[--l->count];
        return true;
    }
    if (entry && strncmp(entry->detail, detail, ALARM_DETAIL_MAX) == 0)
        return false;
    if (!entry) {
        entry = &l->entries[l->count++];
        *entry = (struct alarm_entry){.name = info->name, .source = source};
        entry->since_unix_ms = unix_ms;
    }
    (void)snprintf(entry->detail, sizeof(entry->detail), "%s", detail);
    return true;
}
