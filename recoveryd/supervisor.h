// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * The daemons' processes: starts them detached, so that they outlive us, finds those that a
 * predecessor started (DIR/run/NAME.pid), and watches each by a pidfd. Decides nothing: which one
 * runs is the core's matter (services.h).
 */
#include <stdint.h>

#include <envelope.pb-c.h>
#include <uv.h>

struct supervisor;

struct supervisor_config {
    const char *dir; /* the node's; daemons log into DIR/log/NAME.log; borrowed */
    /* It has ended. Never from within a call. */
    void (*on_exit)(void *ctx, Muster__Service service);
    void *ctx;
};

struct supervisor *supervisor_new(uv_loop_t *loop, const struct supervisor_config *config);
/* Lets go of all without ending them. */
void supervisor_close(struct supervisor *s);

/* The process that runs already; 0: none. */
uint32_t supervisor_find(struct supervisor *s, Muster__Service service);
/* Starts it: the program of that name beside our own. Its pid, or 0 (logged). */
uint32_t supervisor_start(struct supervisor *s, Muster__Service service);
/* Sends a signal to the process, if there is one. */
void supervisor_signal(struct supervisor *s, Muster__Service service, int signum);
