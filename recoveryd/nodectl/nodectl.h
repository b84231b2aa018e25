// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * nodectl: what an operator says to a node. Each command is a function that gets the words after
 * its name and returns the exit status: 0 done, 1 refused or failed (one sentence on standard
 * error), 2 wrong usage. Users and parameters are read and written in the database; everything else
 * is asked of recoveryd.
 */
#include <stdbool.h>

#include "common/conf.h"

enum { DONE = 0, REFUSED = 1, USAGE = 2 };

struct command;

struct nodectl {
    const char *dir;
    bool json;
    struct conf conf; /* valid after nodectl_conf() */
    const struct command *command;
    char **
        words; /* after the command's name, ended by NULL; options are taken out as they are read */
    int count;
};

typedef int command_run(struct nodectl *n);

struct command {
    const char *group, *verb; /* "user", "add"; verb NULL: there is only one */
    command_run *run;
    int words_min, words_max; /* without options */
    const char *arguments;    /* for the usage line; "" without any */
    const char *help;         /* sentences */
};

/* Finds the command of a command line and runs it: the exit status. */
int nodectl_main(int argc, char **argv);

/* Reads node.conf; false, and a sentence is said, if that fails. */
bool nodectl_conf(struct nodectl *n);

/* Takes `--name VALUE` out of the words; NULL if it is not there. */
const char *nodectl_option(struct nodectl *n, const char *name);
/* Takes `--name` out of the words. */
bool nodectl_flag(struct nodectl *n, const char *name);

/* Says a sentence on standard error; returns REFUSED. */
int nodectl_refuse(const char *format, ...) __attribute__((format(printf, 1, 2)));

command_run cmd_ha_status, cmd_ha_failover, cmd_ha_fallback, cmd_ha_recover;
command_run cmd_service_list, cmd_service_start, cmd_service_stop, cmd_service_restart;
command_run cmd_dbreplication_runtimestate;
command_run cmd_alarm_list;
command_run cmd_user_add, cmd_user_passwd, cmd_user_delete, cmd_user_list, cmd_user_import;
command_run cmd_param_list, cmd_param_get, cmd_param_set;
