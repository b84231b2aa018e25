// SPDX-License-Identifier: Apache-2.0
#include "recoveryd/pg/plans.h"

#include "recoveryd/pg/steps.h"

static operation_step *const open_plan[], *const follow_plan[], *const rewind_plan[];

/* ---- what is there ---- */

void plans_begin(struct operation *op)
{
    if (watch_is_fresh(op->watch) && step_status(op)->known)
        operation_follow(op, op->plan);
}

static void refuse_unusable(struct operation *op)
{
    operation_fail(op, POSTGRES_REFUSED,
                   "the database of this node is half rebuilt and must first rejoin its peer");
}

static void must_be_startable(struct operation *op)
{
    if (step_status(op)->unusable)
        refuse_unusable(op);
    else if (!step_status(op)->exists)
        operation_fail(op, POSTGRES_REFUSED, "there is no database on this node");
    else
        operation_next(op);
}

static void must_be_empty(struct operation *op)
{
    if (step_status(op)->unusable)
        refuse_unusable(op);
    else if (step_status(op)->exists)
        operation_follow(op, open_plan);
    else
        operation_next(op);
}

static void choose_how_to_rejoin(struct operation *op)
{
    if (!step_status(op)->exists || step_status(op)->unusable)
        operation_follow(op, plans_copy);
    else
        operation_follow(op, step_status(op)->standby ? follow_plan : rewind_plan);
}

/* ---- the plans ---- */

// clang-format off
static operation_step *const start_plan[] = {
    must_be_startable, step_set_configuration, step_be_started, NULL,
};

static operation_step *const init_plan[] = {
    must_be_empty, step_make_room, step_run_initdb, step_put_in_place_as_primary,
    step_set_configuration, step_be_started, step_make_database, step_make_slots, NULL,
};

static operation_step *const open_plan[] = {
    step_set_configuration, step_be_started, step_make_database, step_make_slots, NULL,
};

static operation_step *const promote_plan[] = {
    must_be_startable, step_set_alone, step_set_configuration, step_be_started, step_promote,
    step_make_slots, NULL,
};

static operation_step *const stop_plan[] = {
    step_be_stopped, NULL,
};

static operation_step *const rejoin_plan[] = {
    choose_how_to_rejoin, NULL,
};

static operation_step *const follow_plan[] = {
    step_ask_peer, step_have_slot, step_set_upstream, step_set_configuration, step_be_started,
    step_be_receiving, step_drop_slots, NULL,
};

static operation_step *const rewind_plan[] = {
    step_ask_peer, step_be_stopped, step_free_slot, step_make_checkpoint, step_mark, step_rewind,
    step_follow, step_set_upstream, step_set_configuration, step_be_started, step_be_receiving,
    step_drop_slots, NULL,
};

operation_step *const plans_copy[] = {
    step_ask_peer, step_be_stopped, step_free_slot, step_make_room, step_copy,
    step_put_in_place_as_standby, step_set_upstream, step_set_configuration, step_be_started,
    step_be_receiving, step_drop_slots, NULL,
};
// clang-format on

operation_step *const *plans_of(enum postgres_op op)
{
    switch (op) {
    case POSTGRES_INIT_PRIMARY:
        return init_plan;
    case POSTGRES_START:
        return start_plan;
    case POSTGRES_MAKE_STANDBY:
        return plans_copy;
    case POSTGRES_REJOIN:
        return rejoin_plan;
    case POSTGRES_PROMOTE:
        return promote_plan;
    case POSTGRES_STOP:
        return stop_plan;
    }
    return stop_plan; /* not reached: all values are above */
}
