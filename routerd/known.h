// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * IMs that were accepted, by sender, id and recipient, for ten minutes: so that a second one is
 * recognised. Of one sender the newest KNOWN_PER_SENDER are remembered. They are in the replica;
 * here is only their order.
 */
#include "routerd/state.h"

enum { KNOWN_MS = 600000, KNOWN_PER_SENDER = 10000 };

void known_init(struct router *r);
bool known_has(const struct router *r, struct str key);
void known_put(struct router *r, struct str key, struct str sender, struct str recipient);
/* From its record, at activation. */
void known_restore(struct router *r, struct str key, uint64_t expires_unix_ms);
/* Users are let go: their records stay, their order goes. */
void known_release(struct router *r);
void known_free(struct router *r);

/* sender NUL id NUL recipient, bare JIDs, in memory that the caller frees; {NULL, 0} for an IM
 * without an id. */
struct str known_key(const Muster__Im *im);
