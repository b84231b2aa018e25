// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * What routerd keeps in PostgreSQL: rosters and messages for users who are not there. The database
 * part of struct router_ops; each call ends in one of the callbacks, never from within. All that is
 * done for one user is done in the order in which it was asked for.
 */
#include <stddef.h>
#include <stdint.h>

#include <im.pb-c.h>

#include "common/str.h"

struct db;
struct durable;
struct params;
struct router_offline;
struct router_roster_item;

/* status: DB_OK or DB_E_...; what is shown lives for the call. */
struct durable_ops {
    void (*on_roster)(void *ctx, uint64_t request, int status,
                      const struct router_roster_item *items, size_t count);
    void (*on_stored)(void *ctx, uint64_t request, int status);
    void (*on_offline)(void *ctx, uint64_t request, int status,
                       const struct router_offline *messages, size_t count);
};

/* `params`: routerd_offline_messages_max is looked at. */
struct durable *durable_new(struct db *db, const struct params *params,
                            const struct durable_ops *ops, void *ctx);
/* After db_close(): no answer is outstanding then. */
void durable_free(struct durable *d);

void durable_roster_load(struct durable *d, uint64_t request, struct str aor);
void durable_roster_put(struct durable *d, uint64_t request, struct str aor,
                        const struct router_roster_item *item);
void durable_roster_delete(struct durable *d, uint64_t request, struct str aor, struct str contact);
void durable_offline_put(struct durable *d, uint64_t request, struct str aor, const Muster__Im *im);
/* The oldest, as many as fit into 16 MiB. */
void durable_offline_list(struct durable *d, uint64_t request, struct str aor);
/* id: of struct router_offline; not that of the table. */
void durable_offline_delete(struct durable *d, uint64_t request, uint64_t id);
