// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * IMs that were accepted, by sender, id and recipient, for ten minutes: so that a second one is
 * recognised, whether it comes from the sender again or out of the offline table, where a node that
 * died may have left it. Of one sender the newest KNOWN_PER_SENDER are remembered. They are in the
 * replica; here is only their order.
 */
#include "routerd/state.h"

enum { KNOWN_MS = 600000, KNOWN_PER_SENDER = 10000 };

struct known_im {
    uint64_t expires_unix_ms;
    bool stored;         /* in the offline table; else a client or device has it */
    uint32_t generation; /* im_generation() of that copy */
};

void known_init(struct router *r);
/* False: it is not known. */
bool known_find(const struct router *r, struct str key, struct known_im *ret_known);
/* Where the IM is now; an older generation than is known changes nothing. */
void known_put(struct router *r, struct str key, bool stored, uint32_t generation);
/* From its record, at activation. */
void known_restore(struct router *r, struct str key, uint64_t expires_unix_ms);
/* Users are let go: their records stay, their order goes. */
void known_release(struct router *r);
void known_free(struct router *r);

/* sender NUL im_id() NUL recipient, bare JIDs, in memory that the caller frees; {NULL, 0} for an IM
 * without an id. */
struct str known_key(const Muster__Im *im);
