// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * The stanza that an XMPP client gets for an IM: the sender's own, or one made of a SIP MESSAGE;
 * with our stanza-id (XEP-0359) and, if it comes late, a delay stamp (XEP-0203). An IM keeps its
 * id and its stamp however often it is dressed.
 */
#include "routerd/state.h"

/* Can an XMPP client show it: is it a stanza, or plain text? */
bool dress_is_readable(const Muster__Im *im);
/* False when it is not readable, or too large; then nothing is to be freed. */
bool dress_begin(struct buf *ret_xml, struct router *r, const Muster__Im *im, bool late);
