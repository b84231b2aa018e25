// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * A user of whom something is known now: sessions, the roster, SIP devices. Accounts are made when
 * they are asked for; those that hold nothing but a roster stay, up to a limit, because they are
 * likely to be asked for again. None is freed before the event that is being worked at is over.
 */
#include "routerd/state.h"

/* `aor`: a bare JID, prepared. NULL when there is none. */
struct account *account_find(struct router *r, struct str aor);
/* Makes it if need be. */
struct account *account_get(struct router *r, struct str aor);
/* Something that kept it may be gone. */
void account_touch(struct account *a);
/* At the end of an event: frees what is beyond the limit. */
void account_trim(struct router *r);
/* Everything about it but its sessions, which must be gone. */
void account_free(struct account *a);

/* Copies; NULL counts as empty. */
void availability_set(struct availability *a, bool available, struct str show, struct str status,
                      uint64_t since_unix_ms);
bool availability_same(const struct availability *a, const struct availability *b);
