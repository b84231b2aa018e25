// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Presence documents: PIDF (RFC 3863) with the person's activities (RFC 4479, RFC 4480), between
 * XML trees and the message Pidf. What is not understood is kept and passed on canonically. Also
 * the mapping between PIDF and what XMPP says of availability (RFC 8048).
 */
#include <presence_record.pb-c.h>

#include "common/arena.h"
#include "common/buf.h"
#include "common/xml.h"

enum { PIDF_BYTES_MAX = 65536, PIDF_TUPLES_MAX = 64, PIDF_TEXT_MAX = 1023 };
enum { PIDF_E_MALFORMED = 1 };

/* Reads a document. 0, or PIDF_E_MALFORMED: not PIDF, a tuple has no id, too many tuples or the
 * arena is full. All that `ret_pidf` points to lives in `a`. */
int pidf_read(struct arena *a, const struct xml_node *root, Muster__Pidf *ret_pidf)
    __attribute__((warn_unused_result));

/* Prints a document about `aor`; out->full past its limit. */
void pidf_print(struct buf *out, const char *aor, const Muster__Pidf *pidf);

/* Is any tuple open? */
bool pidf_is_open(const Muster__Pidf *pidf);

/* What XMPP shows for it: "", "away", "chat", "dnd" or "xa". */
const char *pidf_show(const Muster__Pidf *pidf);

/* The best note: the person's, the document's, a tuple's; "" when there is none. */
const char *pidf_note(const Muster__Pidf *pidf);

/* The RPID activity that means an XMPP show; NULL for none. */
const char *pidf_activity_of_show(const char *show);
