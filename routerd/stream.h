// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Streams (RFC 6120, 4 to 7): header, features, STARTTLS, SASL, until a resource is bound or a
 * session is resumed; and stream errors.
 *
 *     OPENING --header--> INSECURE --starttls--> OPENING --header--> UNKNOWN --success--> PROVED
 *                                                                                           |
 *         BOUND <--bind, resume-- UNBOUND <-----------------------------header--------------+
 *           ^                        |
 *           +--- HELD <--nobody serves the user now
 *
 * From BOUND to LEAVING when the client ends it, from each state to CLOSING by an error. A user who
 * is served elsewhere is sent there (see-other-host) when it binds or resumes.
 */
#include "routerd/state.h"

struct arena;
struct xml_node;

/* NULL when it is gone. */
struct stream *stream_find(struct router *r, uint64_t id);
void stream_write(struct stream *st, struct str bytes);
/* In the namespace of clients. */
void stream_send(struct stream *st, const struct xml_node *node);

/* All of these end in CLOSING. The session, if any, has lost its stream (session_lost()), so end it
 * before if it shall not be resumed. */
void stream_close(struct stream *st);
/* `condition`: an element of RFC 6120, 4.9.3; text, unless NULL, is for people. */
void stream_fail(struct stream *st, const char *condition, const char *text);
/* handled-count-too-high of XEP-0198. */
void stream_fail_count(struct stream *st, uint32_t h, uint32_t count);
/* To the listener of that node. */
void stream_see_other(struct stream *st, uint32_t node);

/* negotiate.c */
void negotiate_features(struct stream *st);
void negotiate_element(struct stream *st, struct arena *arena, struct xml_node *node);
/* Those who wait: perhaps their users are served now. */
void negotiate_held(struct router *r);
void negotiate_done(struct stream *st);

/* Everything about streams that the shell tells (router.h). */
void stream_on_open(struct router *r, uint64_t id, const struct router_stream_open *open);
void stream_on_stanza(struct router *r, uint64_t id, struct arena *arena, struct xml_node *stanza);
void stream_on_error(struct router *r, uint64_t id, int error);
void stream_on_end(struct router *r, uint64_t id);
void stream_on_closed(struct router *r, uint64_t id);
void stream_free(struct stream *st);
