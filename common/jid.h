// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Jabber identifiers, RFC 7622 (profiles by stringprep, RFC 6122: nodeprep, nameprep,
 * resourceprep). A parsed JID is prepared: two are the same if their texts are. The bare JID of a
 * user is also its AoR without the scheme.
 */
#include "common/arena.h"
#include "common/str.h"

enum { JID_PART_MAX = 1023, JID_MAX = 3071 };

struct jid {
    struct str full;     /* local@domain/resource, or less */
    struct str bare;     /* local@domain, or domain: a prefix of full */
    struct str local;    /* may be empty */
    struct str domain;   /* never empty */
    struct str resource; /* may be empty */
};

/* Parses and prepares `text`; the parts live in `a`, and only `full` is
 * followed by a NUL. 0, or JID_E_MALFORMED: not UTF-8, a part is empty, too long or forbidden,
 * or `a` is full. */
enum { JID_E_MALFORMED = 1 };
int jid_parse(struct arena *a, struct str text, struct jid *ret_jid)
    __attribute__((warn_unused_result));

/* Cuts a prepared JID without preparing it again. For what jid_parse() once made. */
struct jid jid_split(struct str prepared);

/* The bare part of a prepared JID. */
struct str jid_bare(struct str prepared);
