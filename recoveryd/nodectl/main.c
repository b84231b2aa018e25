// SPDX-License-Identifier: Apache-2.0
/*
 * nodectl: options, then one command.
 */
#include <getopt.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/log.h"
#include "common/util.h"
#include "common/version.h"
#include "recoveryd/nodectl/nodectl.h"

static const char help[] =
    "usage: nodectl [--dir DIR] [--json] COMMAND ...\n"
    "\n"
    "  ha status                     state and reason of both nodes of the group\n"
    "  ha failover                   move this node's users to its peer, and stop its services\n"
    "  ha fallback                   move users back to the nodes where they are at home\n"
    "  ha recover                    go on after both nodes have failed\n"
    "  service list                  the daemons of this node\n"
    "  service start|stop|restart NAME\n"
    "  dbreplication runtimestate    which database is the primary, how far the standby is\n"
    "  user add USERID [OPTIONS]     passwords are asked for, or read from standard input\n"
    "  user passwd USERID | delete USERID | list | import FILE.csv\n"
    "  param list | get SERVICE.NAME | set SERVICE.NAME VALUE\n"
    "  alarm list                    what is wrong, why, and what to do\n"
    "  version\n"
    "\n"
    "  --dir DIR   the node's directory (default: $MUSTER_DIR, else /var/lib/muster)\n"
    "  --json      print JSON\n"
    "\n"
    "Exit status: 0 done; 1 refused or failed, with a sentence why; 2 wrong usage.\n";

int nodectl_fail(const char *format, ...)
{
    va_list args;

    fprintf(stderr, "nodectl: ");
    va_start(args, format);
    (void)vfprintf(stderr, format, args);
    va_end(args);
    fprintf(stderr, "\n");
    return NODECTL_FAILED;
}

int nodectl_usage(const char *usage)
{
    fprintf(stderr, "usage: nodectl [--dir DIR] [--json] %s\n", usage);
    return NODECTL_USAGE;
}

static int run(struct nodectl *n, const char *dir, int argc, char **argv)
{
    static const struct {
        const char *name;
        int (*run)(struct nodectl *n, int argc, char **argv);
    } commands[] = {
        {"ha", cmd_ha},     {"service", cmd_service}, {"dbreplication", cmd_dbreplication},
        {"user", cmd_user}, {"param", cmd_param},     {"alarm", cmd_alarm},
    };
    struct err err;

    for (size_t i = 0; i < ARRAY_LEN(commands); i++) {
        if (strcmp(argv[0], commands[i].name) != 0)
            continue;
        if (conf_load(dir, &n->conf, &err))
            return nodectl_fail("%s", err.text);
        return commands[i].run(n, argc, argv);
    }
    return nodectl_usage("ha | service | dbreplication | user | param | alarm | version; "
                         "see nodectl --help");
}

/* -1: go on; else the exit status. */
static int read_options(int argc, char **argv, const char **ret_dir, bool *ret_json)
{
    static const struct option options[] = {
        {"dir", required_argument, NULL, 'd'},
        {"json", no_argument, NULL, 'j'},
        {"help", no_argument, NULL, 'h'},
        {"version", no_argument, NULL, 'v'},
        {0},
    };
    int c;

    while ((c = getopt_long(argc, argv, "+", options, NULL)) != -1) {
        switch (c) {
        case 'd':
            *ret_dir = optarg;
            break;
        case 'j':
            *ret_json = true;
            break;
        case 'h':
            printf("%s", help);
            return NODECTL_DONE;
        case 'v':
            printf("nodectl %s\n", MUSTER_VERSION);
            return NODECTL_DONE;
        default:
            return nodectl_usage("COMMAND; see nodectl --help");
        }
    }
    return -1;
}

int main(int argc, char **argv)
{
    static struct nodectl n;
    const char *dir = getenv("MUSTER_DIR") ? getenv("MUSTER_DIR") : "/var/lib/muster";
    int status = read_options(argc, argv, &dir, &n.json);

    if (status >= 0)
        return status;
    log_init("nodectl", "-", LOG_ERROR);
    argc -= optind;
    argv += optind;
    if (argc > 0 && strcmp(argv[0], "utils") == 0) { /* as operators type it */
        argc--;
        argv++;
    }
    if (argc == 0)
        return nodectl_usage("COMMAND; see nodectl --help");
    if (strcmp(argv[0], "version") == 0) {
        printf("nodectl %s\n", MUSTER_VERSION);
        return NODECTL_DONE;
    }
    optind = 1; /* commands may have options of their own */
    return run(&n, dir, argc, argv);
}
