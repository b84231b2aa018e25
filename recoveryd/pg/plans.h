// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * What each operation on the cluster consists of.
 *
 *     START         startable, settings, started
 *     INIT_PRIMARY  empty, initdb, settings, started, database, slots
 *     PROMOTE       promotable, settings, started, alone, promoted, slots
 *     STOP          stopped
 *     REJOIN        follow    a standby, which may still be able to stream; else copy
 *                   rewind    a former primary; if that fails: copy
 *                   copy      nothing usable here
 *     MAKE_STANDBY  copy
 *
 * What makes a crash between any two steps harmless: a cluster is marked (DIR/state/
 * database.unusable) before pg_rewind touches it and until it has its standby.signal, and START,
 * PROMOTE and INIT_PRIMARY refuse a marked one. A new copy is made beside the old cluster and put
 * in its place by two renames. pg_rewind ends the recovery of a crashed primary itself, in a
 * single-user server, which cannot be when standby.signal is there already: hence the mark.
 */
#include "recoveryd/pg/operation.h"

/* The list of steps for `op`, ended by NULL. */
operation_step *const *plans_of(enum postgres_op op);

/* What is left when nothing cheaper is possible. */
extern operation_step *const plans_copy[];

/* Waits for a fresh look at the disk, then takes the first step. */
operation_step plans_begin;
