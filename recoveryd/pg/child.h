// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * A tool that runs, says something and ends: initdb, pg_basebackup, psql. Its working directory is
 * the root, so paths in its arguments are absolute. It is killed when this process dies, in
 * whatever way (setpriv of util-linux sees to that).
 */
#include <uv.h>

struct child;

enum { CHILD_OUTPUT_MAX = 16 * 1024, CHILD_ARGS_MAX = 24 };

struct child_config {
    const char *const *args; /* args[0] is the program's path; ends with NULL */
    /* Once, never from within child_start(): exit status, 128 + signal, or 127 when it could not be
     * started; and the end of what it wrote on standard output and error. */
    void (*on_exit)(void *ctx, int status, const char *output);
    void *ctx;
};

struct child *child_start(uv_loop_t *loop, const struct child_config *config);
/* SIGTERM, and SIGKILL when that does not end it within two seconds. on_exit comes. */
void child_kill(struct child *c);
/* SIGKILL; on_exit does not come. */
void child_abandon(struct child *c);

/* The last line of `output` that says something and is no hint, for a sentence; cut to `size`. */
void child_last_words(const char *output, char *ret_line, size_t size);
