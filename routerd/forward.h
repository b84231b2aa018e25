// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * What goes to users whom we don't serve.
 *
 * An IM is a forward: kept until the serving node answered, sent again when a link comes up, the
 * view changes, or a node says that it does not serve the user. If nobody takes it within
 * FORWARD_MS the sender hears so; but a client that resumes its stream is not told of what may
 * have been delivered: it waits, unacknowledged, for the truth.
 *
 * Presence is a parcel: sent, or, while there is no way, kept, the newest of each kind for each
 * pair of addresses, until there is one.
 */
#include "routerd/im.h"
#include "routerd/route.h"

enum { FORWARD_MS = 30000, PARCELS_MAX = 100000, PARCEL_MS = 300000 };

void forward_start(struct router *r, const Muster__Im *im, struct origin origin);
void forward_on_reply(struct router *r, uint32_t node, uint64_t number,
                      const Muster__ImReply *reply);

/* False: it cannot be sent now, and is not kept, as it is not presence. */
bool forward_stanza(struct router *r, const struct routed *st);

/* There may be a new way: a link, a view, users that were activated. node 0: any. */
void forward_retry(struct router *r, uint32_t node);
void forward_free(struct router *r);
