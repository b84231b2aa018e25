// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * The steps that plans are made of: steps_node.c has those that concern this node alone,
 * steps_peer.c those that need the peer's database.
 */
#include "common/buf.h"
#include "recoveryd/pg/operation.h"

enum { STEP_WORDS_MAX = 200 /* of a tool, in our sentence */, STEP_TEXT_MAX = 8 * 1024 };

/* ---- this node ---- */

operation_step step_set_configuration, step_set_upstream;
/* A standby that is about to be promoted will not wait for the node whose place it takes. */
operation_step step_set_alone;
/* Waits for left-over processes of a killed postmaster, and tries again for five seconds. */
operation_step step_be_started;
operation_step step_be_stopped;
/* A new cluster is made as DIR/data.new. */
operation_step step_make_room, step_run_initdb, step_put_in_place_as_primary,
    step_put_in_place_as_standby;
/* Database muster; slots of the other nodes of the group. Nothing to do on a standby. */
operation_step step_make_database, step_make_slots;
operation_step step_drop_slots;
operation_step step_promote;

/* ---- the peer ---- */

/* Ends the operation unless the peer's database is a primary that can be reached. */
operation_step step_ask_peer;
/* The peer has a slot for us; free_slot: and nobody is on it. */
operation_step step_have_slot, step_free_slot;
operation_step step_make_checkpoint;
/* Must not be started from here on, until step_follow or step_put_in_place_as_standby. */
operation_step step_mark;
operation_step step_rewind, step_follow, step_copy;
/* Until we stream; a standby that cannot is copied anew. */
operation_step step_be_receiving;

/* ---- what steps share ---- */

struct step_path {
    char text[CONF_PATH_MAX + 64];
};

const struct postgres_status *step_status(const struct operation *op);
/* NULL if the request names no other node. */
const struct view_node *step_peer(const struct operation *op);
struct step_path step_in_dir(const struct operation *op, const char *name);
/* Of PostgreSQL. */
struct step_path step_program(const struct operation *op, const char *name);
void step_fail_with_words(struct operation *op, const char *tool, const char *output);
/* Looks at the disk and goes on. */
void step_on_disk_changed(struct operation *op);
/* Statements that give `node` a slot. */
void step_put_slot(struct buf *out, uint32_t node);
