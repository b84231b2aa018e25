// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Rosters (RFC 6121, 2): contacts of a user, loaded from the database when they are needed and kept
 * with the account. Only the node that serves a user changes its roster, so what is kept is true.
 *
 * A change is made here first and then stored; if that fails, everything is forgotten and loaded
 * again, and whoever made the change hears of it.
 */
#include "routerd/state.h"

void roster_init(struct account *a);
void roster_done(struct account *a);
bool roster_is_busy(const struct account *a);

/* Calls `then` when the roster is there, at once if it is already, in the order of the calls; or
 * with loaded false if it cannot be had: too many wait, or the database is away for long. `data` is
 * the callback's to free. */
typedef void roster_cb(struct account *a, bool loaded, void *data);
void roster_with(struct account *a, roster_cb *then, void *data);
/* Answer of roster_load. */
void roster_on_loaded(struct router *r, uint64_t request, int status,
                      const struct router_roster_item *items, size_t count);
/* What is kept may be wrong, or belongs to another node now. Those who wait hear `loaded` false. */
void roster_forget(struct account *a);

/* ---- with the roster loaded ---- */

struct roster_item *roster_find(const struct account *a, struct str contact);
/* Makes it if need be; NULL beyond roster_items_max. */
struct roster_item *roster_get(struct account *a, struct str contact);
/* Not shown to clients: all it says is that the contact asked. */
bool roster_is_hidden(const struct roster_item *item);
void roster_set_name(struct roster_item *item, struct str name);
void roster_set_groups(struct roster_item *item, const struct str *groups, size_t count);

/* Writes the item as it is now, or deletes it; `done` comes exactly once, never from within. With
 * ok false the roster was forgotten. */
struct roster_change {
    void (*done)(struct router *r, bool ok, void *data);
    void (*drop)(void *data); /* the router dies first */
    void *data;
};
void roster_store(struct account *a, struct roster_item *item, const struct roster_change *change);
void roster_remove(struct account *a, struct roster_item *item, const struct roster_change *change);

/* <item/> of RFC 6121, 2.1.2, appended to `query`. */
struct arena;
struct xml_node;
void roster_item_node(struct arena *arena, struct xml_node *query, const struct roster_item *item);
/* Tells all interested sessions what `contact` is now (2.1.6). */
void roster_push(struct account *a, struct str contact);

static inline bool roster_has(const struct roster_item *item, enum subscription part)
{
    return item && (item->subscription & part);
}
