// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * IMs for users that we serve, until they are accepted: in the queue of a session and both
 * memories, in the offline table, or with a SIP device (RFC 6121, 8.5).
 *
 *     start --a session takes it--> COMMITTING --both memories have it--> accepted
 *       |---only SIP devices------> ASKING ------a device took it-------> COMMITTING
 *       |                             | none did
 *       +---nobody is there---------> STORING ---in the database--------> COMMITTING
 *       +---nobody, not to be stored: answered at once
 *
 * WAITING: the database is away; the whole begins again soon.
 *
 * An IM with a known key is answered as before; one that is under way is joined.
 */
#include "routerd/im.h"

void delivery_start(struct router *r, const Muster__Im *im, struct origin origin);
/* A stored message: `id` is its row. offline_delivered() is called when it is settled. */
void delivery_start_stored(struct router *r, const Muster__Im *im, uint64_t id);
/* A message that was in the queue of a session which has ended; deletes the record when the message
 * is safe elsewhere. */
struct Muster__QueuedStanza;
void delivery_again(struct router *r, struct str queue_key, struct Muster__QueuedStanza *q);
/* All of a session's queue, which must not be among its account's any more. */
void delivery_again_all(struct session *s);

/* ImReply of proxyd; false: not a delivery's. */
bool delivery_on_reply(struct router *r, uint64_t number, const Muster__ImReply *reply);
void delivery_on_proxyd_link(struct router *r, bool up);
/* Users were let go: what is not settled goes to who serves them now. */
void delivery_release(struct router *r);
/* Is one of a user who was let go still to be settled here? */
bool delivery_is_letting_go(const struct router *r);
void delivery_free(struct router *r);
void delivery_check(const struct router *r);
