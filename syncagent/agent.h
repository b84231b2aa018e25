// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Gives a home to users who have none: each to the node that has the fewest, in the order of their
 * AoRs, so that the outcome does not depend on who does it. It looks when the database is reached,
 * when users change (NOTIFY muster_users) and when the nodes change, and is idle otherwise. An
 * advisory lock sees to it that one node's agent does so at a time.
 */
#include <stdbool.h>
#include <stdint.h>

#include <uv.h>

#include "common/view.h"

struct agent;
struct metrics;

struct agent_config {
    const char *conninfo;
    struct metrics *metrics; /* may be NULL */
    /* A look has ended: so many users got a home. May be NULL. */
    void (*on_looked)(void *ctx, uint64_t assigned);
    void *ctx;
};

struct agent *agent_start(uv_loop_t *loop, const struct agent_config *config);

/* Users may be given to all nodes of `view`; NULL: to none, until told otherwise. */
void agent_allow(struct agent *a, const struct view *view);

/* No look is under way or due. */
bool agent_is_idle(const struct agent *a);

/* No callback comes after this. */
void agent_close(struct agent *a);
