// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Presence and IQ stanzas between users: to whoever serves the recipient. Messages go by im.h.
 */
#include "routerd/state.h"

/* A stanza as bytes, and what must be known of it without parsing. */
struct routed {
    struct str from; /* full or bare */
    struct str to;
    struct str name; /* "presence" or "iq" */
    struct str type;
    struct str id;
    struct str xml; /* canonical, with both addresses */
};

/* False: there is no such user, or an IQ that cannot be sent now. Nothing happened. */
bool route_stanza(struct router *r, const struct routed *st);
/* For a user that we serve. */
void route_in(struct router *r, const struct routed *st);
/* From a node. */
void route_on_node(struct router *r, const Muster__Stanza *m);
