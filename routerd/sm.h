// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Stream management (XEP-0198): acknowledgements that are true on both nodes, and resumption on
 * either.
 *
 * Inbound: each stanza gets a number when it comes (sm_begin()) and is complete when its work is
 * (sm_complete()). `h` is the longest prefix of complete ones, and is told when both memories know
 * it.
 *
 * Outbound: each stanza gets a number and a place in the replica, and is written when both memories
 * have it; so no client ever has what the other node does not know, and its `h` is never a
 * surprise. What the client acknowledges leaves the replica.
 */
#include "routerd/state.h"

struct Muster__Im;
struct Muster__SessionRecord;
struct xml_node;

void sm_init(struct session *s);
void sm_done(struct session *s);
void sm_restore(struct session *s, const struct Muster__SessionRecord *record);

/* Elements of NS_SM on a bound stream. */
void sm_element(struct session *s, const struct xml_node *node);
/* <resume/> on a stream of a user whom we serve. */
void sm_resume(struct stream *st, const struct xml_node *node);

/* The number of a stanza that came; 0 without stream management, which sm_complete() ignores. */
uint64_t sm_begin(struct session *s);
void sm_complete(struct session *s, uint64_t number);

/* False: the queue or the replica is full; nothing happened. Only if it is enabled. */
bool sm_queue(struct session *s, struct str xml, const struct Muster__Im *im);

/* The stream is gone. */
void sm_detach(struct session *s);
void sm_check(const struct session *s);
