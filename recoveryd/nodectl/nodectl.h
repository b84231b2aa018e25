// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * nodectl: the operator's hand on a node. One file a command; each gets what follows its name and
 * returns the exit status: 0 done, 1 refused or failed (one sentence on standard error), 2 wrong
 * usage.
 */
#include <stdbool.h>

#include <envelope.pb-c.h>

#include "common/conf.h"

enum { NODECTL_DONE = 0, NODECTL_FAILED = 1, NODECTL_USAGE = 2 };

struct nodectl {
    struct conf conf;
    bool json; /* print JSON, not columns */
};

/* argv[0] is the command's own name. */
int cmd_ha(struct nodectl *n, int argc, char **argv);
int cmd_service(struct nodectl *n, int argc, char **argv);
int cmd_dbreplication(struct nodectl *n, int argc, char **argv);
int cmd_alarm(struct nodectl *n, int argc, char **argv);
int cmd_user(struct nodectl *n, int argc, char **argv);
int cmd_param(struct nodectl *n, int argc, char **argv);

/* One sentence on standard error, behind "nodectl: "; returns NODECTL_FAILED. */
int nodectl_fail(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* The same for wrong words: also names `usage`; returns NODECTL_USAGE. */
int nodectl_usage(const char *usage);
