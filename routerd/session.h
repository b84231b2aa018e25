// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * A session is a bound resource. It is in both memories, and outlives its stream when XEP-0198 was
 * enabled with resumption:
 *
 *     with a stream --session_lost()--> without, until resume_deadline --resumed--> with a stream
 *          |                                |
 *          +------- session_end() ----------+--> gone: unavailable is told, unacknowledged messages
 *                                                are routed again
 */
#include "routerd/state.h"

struct xml_node;

/* NULL: too many sessions, or no room in the replica. `jid` is full and prepared. */
struct session *session_new(struct account *a, struct str jid, struct stream *st);
/* From its record, without a stream; NULL if the record makes no sense. */
struct Muster__SessionRecord;
struct session *session_restore(struct account *a, struct str jid,
                                const struct Muster__SessionRecord *record);

struct session *session_find(struct router *r, uint64_t number);
struct session *session_of(const struct account *a, struct str resource);

/* Writes it now, or queues it (sm_queue()). A session that cannot queue it is doomed. */
void session_send(struct session *s, const struct xml_node *node);
void session_send_bytes(struct session *s, struct str xml);
/* A message: false if the session cannot take it, and nothing happened. `xml` is what is written,
 * `im` what is routed again if the client does not acknowledge it. */
struct Muster__Im;
bool session_deliver(struct session *s, struct str xml, const struct Muster__Im *im);

/* Puts its record; a session without room for it is doomed. */
void session_record(struct session *s);
/* The stream, which does not know the session any more, is gone: waits to be resumed, or ends. */
void session_lost(struct session *s);
/* Ends it at the next tick, for those who go through sessions. */
void session_doom(struct session *s);
/* Ends it now. Its stream, if any, is closed. */
void session_end(struct session *s);
/* Forgets it without a word: another node goes on with its record. Its stream is not told. */
void session_free(struct session *s);

/* Is it one that messages to the bare JID go to? */
static inline bool session_is_reachable(const struct session *s)
{
    return s->available && s->priority >= 0 && !s->doomed;
}
