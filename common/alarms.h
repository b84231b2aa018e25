// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Named alarms, from alarms.def. A daemon raises and clears them through daemon_alarm(); recoveryd
 * keeps the list.
 */
#include <stddef.h>

struct alarm_info {
    const char *name;
    const char *severity; /* "critical", "major", "minor" */
    const char *cause;
    const char *action;
};

/* All of alarms.def, in its order; at most 32. */
const struct alarm_info *alarms_table(size_t *ret_count);
/* NULL when there is none of that name. */
const struct alarm_info *alarms_find(const char *name);
