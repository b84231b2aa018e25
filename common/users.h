// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Keeps a directory in step with the table `users`: loads it all when the database is reached, and
 * again a user whenever NOTIFY muster_users names one ("*": all).
 */
#include "common/db.h"
#include "common/directory.h"

struct users;

/* on_change comes after each change: aor, or NULL when any may have changed (first load too). */
struct users *users_start(struct db *db, struct directory *directory,
                          void (*on_change)(void *ctx, const char *aor), void *ctx);
/* Has the first load ended? */
bool users_loaded(const struct users *u);
/* Before db_close(). Nothing comes after this. */
void users_close(struct users *u);
