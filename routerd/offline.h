// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Messages in the offline table: listed when the user can be reached (first presence with priority
 * >= 0, or a SIP registration), delivered in order, and deleted when accepted (XEP-0160). A few
 * lists are read at a time, however many users come at once.
 *
 * That one was delivered is in both memories until its row is deleted, so that a takeover in
 * between does not deliver it twice.
 */
#include "routerd/state.h"

/* The user can be reached, or something was stored meanwhile. */
void offline_kick(struct router *r, struct str aor);
void offline_on_listed(struct router *r, uint64_t request, int status,
                       const struct router_offline *messages, size_t count);
/* A message of a list is settled (delivery.h). */
void offline_delivered(struct router *r, struct str aor, uint64_t id, bool accepted);
/* Delivered before a takeover, but perhaps not deleted. */
void offline_delete(struct router *r, struct str aor, uint64_t id);

void offline_init(struct account *a);
bool offline_is_busy(const struct account *a);
void offline_forget(struct account *a);
