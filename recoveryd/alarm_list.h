// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * The alarms that are raised on this node, by its daemons and by recoveryd. Plain data.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <envelope.pb-c.h>

enum { ALARM_LIST_MAX = 64, ALARM_DETAIL_MAX = 240 };

struct alarm_entry {
    const char *name; /* of alarms.def */
    Muster__Service source;
    char detail[ALARM_DETAIL_MAX + 1];
    uint64_t since_unix_ms;
};

struct alarm_list {
    struct alarm_entry entries[ALARM_LIST_MAX];
    size_t count;
};

/* True when that changed the list. An alarm of no known name is refused, as is one too many. */
bool alarm_list_set(struct alarm_list *l, Muster__Service source, const char *name, bool raised,
                    const char *detail, uint64_t unix_ms);
