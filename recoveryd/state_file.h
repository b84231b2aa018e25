// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * What recoveryd must remember: the plan, in DIR/state/plan, written whole and synced before it
 * counts; and until when the daemons may serve, in DIR/state/lease, which only a restart of
 * recoveryd asks for and a reboot makes void.
 */
#include <stdbool.h>

#include <uv.h>

#include "common/err.h"
#include "recoveryd/rcv.h"

enum { STATE_FILE_PATH_MAX = 600 };

struct state_file;

/* `dir`: the node's directory; DIR/state is made when it is missing. NULL with a sentence. */
struct state_file *state_file_open(uv_loop_t *loop, const char *dir, struct err *ret_err);
/* A save in progress ends, without a word. */
void state_file_close(struct state_file *f);

/* The plan on disk; all zero when there is none. -1 with a sentence when it cannot be understood:
 * then nothing may be decided. */
int state_file_load(struct state_file *f, struct rcv_plan *ret_plan, struct err *ret_err)
    __attribute__((warn_unused_result));

/* Writes and syncs in a thread; one at a time. `done` comes later, once. */
void state_file_save(struct state_file *f, const struct rcv_plan *plan,
                     void (*done)(void *ctx, bool ok), void *ctx);

/* Daemons may serve until `until_ms` of CLOCK_MONOTONIC. */
void state_file_set_lease(struct state_file *f, uint64_t until_ms);
/* The last one that was set since the machine booted; 0: none. */
uint64_t state_file_lease(struct state_file *f);
