// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Stanzas as trees that are answered, and as bytes that are sent. Bytes are always canonical
 * (xml_print() in the namespace of the stream), which the two functions at the end rely on.
 */
#include <stdbool.h>
#include <stdint.h>

#include "common/arena.h"
#include "common/buf.h"
#include "common/xml.h"

enum { STANZA_BYTES_MAX = 1 << 20, STANZA_TIME_MAX = 32 };

/* RFC 6120, 8.3.3: the conditions that we use, each with the type that goes with it. */
enum stanza_error {
    STANZA_BAD_REQUEST,
    STANZA_CONFLICT,
    STANZA_FEATURE_NOT_IMPLEMENTED,
    STANZA_FORBIDDEN,
    STANZA_INTERNAL_SERVER_ERROR,
    STANZA_ITEM_NOT_FOUND,
    STANZA_JID_MALFORMED,
    STANZA_NOT_ACCEPTABLE,
    STANZA_NOT_ALLOWED,
    STANZA_POLICY_VIOLATION,
    STANZA_RECIPIENT_UNAVAILABLE,
    STANZA_REMOTE_SERVER_NOT_FOUND,
    STANZA_RESOURCE_CONSTRAINT,
    STANZA_SERVICE_UNAVAILABLE,
    STANZA_UNEXPECTED_REQUEST,
};

/* All that build return NULL when the arena is full. */

/* <iq type="result">, addresses turned round, same id. */
struct xml_node *stanza_result(struct arena *a, const struct xml_node *iq);
/* The error that answers `stanza`. */
struct xml_node *stanza_error(struct arena *a, const struct xml_node *stanza, enum stanza_error e);
/* The same of what is known when the stanza itself is gone. `to` is whoever sent it. */
struct stanza_names {
    struct str name, id, from, to;
};
struct xml_node *stanza_error_of(struct arena *a, const struct stanza_names *names,
                                 enum stanza_error e);

/* A copy in memory of its own, for one that must wait. */
struct held {
    struct held *next;
    struct arena arena;
    struct xml_node *node;
};
struct held *held_new(const struct xml_node *node);
void held_free(struct held *h);

/* Nothing is appended for NULL. */
void stanza_print(struct buf *out, const struct xml_node *stanza);

/* XEP-0082, in UTC: "2026-02-03T04:05:06Z". */
void stanza_time(uint64_t unix_ms, char ret_text[STANZA_TIME_MAX]);
/* Appends <delay/> (XEP-0203). */
void stanza_delay(struct buf *out, struct str from, uint64_t unix_ms);

/* Appends `xml` with `child` (bytes too) as last child of its root. */
void stanza_insert(struct buf *out, struct str xml, struct str child);
/* Appends `xml`, whose root has no `to`, with one. */
void stanza_address(struct buf *out, struct str xml, struct str to);
