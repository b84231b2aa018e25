// SPDX-License-Identifier: Apache-2.0
/*
 * recoveryd: the node's manager.
 */
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "common/log.h"
#include "common/loop.h"
#include "common/version.h"
#include "recoveryd/manager.h"

static const char help[] =
    "usage: recoveryd --dir DIR [--log-level LEVEL] | --version | --help\n"
    "\n"
    "Supervises the daemons and the database of the node in DIR, hears and is heard by its peer,\n"
    "and decides who serves whose users.\n"
    "\n"
    "  --dir DIR          the node's directory, with node.conf in it\n"
    "  --log-level LEVEL  error, warning, info (default) or debug\n"
    "  --version          print the version and exit\n"
    "  --help             print this and exit\n"
    "\n"
    "SIGTERM stops the daemons and the database, then recoveryd. A recoveryd that is killed "
    "leaves\n"
    "them running; the next one finds them.\n";

/* -1: go on; else the exit status. */
static int read_options(int argc, char **argv, const char **ret_dir, enum log_level *ret_level)
{
    static const struct option options[] = {
        {"dir", required_argument, NULL, 'd'},
        {"log-level", required_argument, NULL, 'l'},
        {"version", no_argument, NULL, 'v'},
        {"help", no_argument, NULL, 'h'},
        {0},
    };
    int c;

    while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
        if (c == 'd') {
            *ret_dir = optarg;
        } else if (c == 'l' && log_level_of(optarg, ret_level)) {
            continue;
        } else if (c == 'v') {
            printf("recoveryd %s\n", MUSTER_VERSION);
            return EXIT_SUCCESS;
        } else if (c == 'h') {
            printf("%s", help);
            return EXIT_SUCCESS;
        } else {
            fprintf(stderr, "recoveryd: see recoveryd --help\n");
            return 2;
        }
    }
    if (*ret_dir && optind == argc)
        return -1;
    fprintf(stderr, "recoveryd: --dir DIR is missing; see recoveryd --help\n");
    return 2;
}

static void make_folder(const char *dir, const char *name)
{
    char path[CONF_PATH_MAX + 16];

    (void)snprintf(path, sizeof(path), "%s/%s", dir, name);
    if (mkdir(path, 0700) && errno != EEXIST)
        perror(path);
}

static void on_term(void *ctx)
{
    manager_stop(ctx);
}

int main(int argc, char **argv)
{
    static struct manager m;
    static uv_loop_t loop;
    static struct loop_signals signals;
    enum log_level level = LOG_INFO;
    const char *dir = NULL;
    struct err err;
    int status = read_options(argc, argv, &dir, &level);

    if (status >= 0)
        return status;
    if (conf_load(dir, &m.conf, &err)) {
        fprintf(stderr, "recoveryd: %s\n", err.text);
        return 2;
    }
    log_init("recoveryd", conf_self(&m.conf)->name, level);
    make_folder(m.conf.dir, "run");
    make_folder(m.conf.dir, "log");
    uv_loop_init(&loop);
    m.loop = &loop;
    if (loop_signals_start(&signals, &loop, on_term, &m) || manager_start(&m, &err)) {
        log_error("start_failed", log_str("why", err.text));
        return EXIT_FAILURE;
    }
    log_info("started", log_u64("node", m.conf.node));
    loop_run(&loop);
    log_info("stopped");
    return EXIT_SUCCESS;
}
