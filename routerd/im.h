// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * An instant message on its way: where it came from, and to whom it must be handed. Every IM that
 * is submitted is answered exactly once to its origin, if that is still there.
 *
 *     client, proxyd, node --im_submit()--> delivery (served here) --im_answer()--> origin
 *                                   |             ^
 *                                   +--> forward -+ (served elsewhere, or nowhere for now)
 */
#include "routerd/state.h"

enum im_origin { IM_OF_NOBODY, IM_OF_SESSION, IM_OF_PROXYD, IM_OF_NODE };

struct origin {
    enum im_origin kind;
    uint64_t number; /* of the session, or id of the envelope */
    uint32_t node;
    uint32_t era; /* of the session, and the stanza's number there; 0: without XEP-0198 */
    uint64_t stanza;
    char *stanza_id; /* the id to be named in an error; its owner is the origin */
    size_t bytes;    /* that the session is charged */
    bool quiet;      /* an error is answered by nothing */
};

enum im_type { IM_NORMAL, IM_CHAT, IM_GROUPCHAT, IM_HEADLINE, IM_ERROR };
enum im_type im_type(const Muster__Im *im);

/* Takes the origin over. `im` is borrowed. */
void im_submit(struct router *r, const Muster__Im *im, struct origin origin);
/* Frees what the origin holds. */
void im_answer(struct router *r, const Muster__Im *im, struct origin origin,
               const Muster__ImReply *reply);
void im_answer_result(struct router *r, const Muster__Im *im, struct origin origin,
                      Muster__ImReply__Result result);

/* Still there and needs the answer? */
bool im_origin_waits(struct router *r, const struct origin *origin);

/* An IM that is routed again, because the session that had it has ended, is of the next generation:
 * stored, it must not be taken for its former self, whose row may be about to be deleted. That is
 * written behind the id, in characters that cannot occur in one; im_id() is without them. */
void im_renew(Muster__Im *im, uint32_t generation);
struct str im_id(const Muster__Im *im);
uint32_t im_generation(const Muster__Im *im);

/* All of it, on the heap of protobuf-c. */
Muster__Im *im_copy(const Muster__Im *im);
void im_free(Muster__Im *im);
