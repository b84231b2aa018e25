// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Named alarms, from alarms.def. A daemon raises and clears them through daemon_alarm(); recoveryd
 * keeps the list.
 */
struct alarm_info {
    const char *name;
    const char *severity; /* "critical", "major", "minor" */
    const char *cause;
    const char *action;
};

/* NULL when there is none of that name. */
const struct alarm_info *alarms_find(const char *name);
