// SPDX-License-Identifier: Apache-2.0
#include "routerd/im.h"

#include <string.h>

#include "common/arena.h"
#include "common/jid.h"
#include "common/util.h"
#include "routerd/delivery.h"
#include "routerd/forward.h"
#include "routerd/session.h"
#include "routerd/sm.h"
#include "routerd/stanza.h"

enum im_type im_type(const Muster__Im *im)
{
    static const char *const names[] = {
        [IM_NORMAL] = "normal",     [IM_CHAT] = "chat",   [IM_GROUPCHAT] = "groupchat",
        [IM_HEADLINE] = "headline", [IM_ERROR] = "error",
    };

    if (!im->type[0])
        return im->stanza.len ? IM_NORMAL : IM_CHAT;
    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        if (str_eq_c(str_of(im->type), names[i]))
            return (enum im_type)i;
    return IM_NORMAL;
}

enum { GENERATION_MAX = 64 };
static const char renewed = '\x1f';

struct str im_id(const Muster__Im *im)
{
    return str_sub(str_of(im->id), 0, str_find(str_of(im->id), renewed));
}

uint32_t im_generation(const Muster__Im *im)
{
    return (uint32_t)(strlen(im->id) - im_id(im).len);
}

void im_renew(Muster__Im *im, uint32_t generation)
{
    struct str id = im_id(im);
    char *longer;

    if (str_empty(id) || generation > GENERATION_MAX)
        return;
    longer = mem_new(id.len + generation + 1);
    memcpy(longer, id.p, id.len);
    memset(longer + id.len, renewed, generation);
    mem_free(im->id);
    im->id = longer;
}

Muster__Im *im_copy(const Muster__Im *im)
{
    size_t len = muster__im__get_packed_size(im);
    uint8_t *bytes = mem_new(len);
    Muster__Im *copy;

    muster__im__pack(im, bytes);
    copy = muster__im__unpack(NULL, len, bytes);
    mem_free(bytes);
    if (!copy)
        abort(); /* it was packed right here: there is no memory */
    return copy;
}

void im_free(Muster__Im *im)
{
    if (im)
        muster__im__free_unpacked(im, NULL);
}

/* ---- answers ---- */

static enum stanza_error error_of(Muster__ImReply__Result result)
{
    switch (result) {
    case MUSTER__IM_REPLY__RESULT__REFUSED:
        return STANZA_NOT_ACCEPTABLE;
    case MUSTER__IM_REPLY__RESULT__BUSY:
    case MUSTER__IM_REPLY__RESULT__NOT_SERVING:
    case MUSTER__IM_REPLY__RESULT__RESULT_UNKNOWN:
        return STANZA_RECIPIENT_UNAVAILABLE;
    default:
        return STANZA_SERVICE_UNAVAILABLE;
    }
}

static void send_error(struct session *s, const Muster__Im *im, const struct origin *o,
                       Muster__ImReply__Result result)
{
    struct stanza_names names = {STR("message"), str_of(o->stanza_id), str_of(im->to),
                                 str_of(s->jid)};
    struct arena arena;

    arena_init(&arena, STANZA_BYTES_MAX);
    session_send(s, stanza_error_of(&arena, &names, error_of(result)));
    arena_done(&arena);
}

static void answer_session(struct router *r, const Muster__Im *im, const struct origin *o,
                           Muster__ImReply__Result result)
{
    struct session *s = session_find(r, o->number);

    if (!s)
        return;
    s->ims_pending--;
    s->ims_pending_bytes -= o->bytes;
    if (s->sm.in_era != o->era)
        return; /* the client sends it again, and gets its answer then */
    if (result != MUSTER__IM_REPLY__RESULT__ACCEPTED && !o->quiet)
        send_error(s, im, o, result);
    sm_complete(s, o->stanza);
}

void im_answer(struct router *r, const Muster__Im *im, struct origin origin,
               const Muster__ImReply *reply)
{
    Muster__Envelope e = MUSTER__ENVELOPE__INIT;

    e.id = origin.number;
    e.body_case = MUSTER__ENVELOPE__BODY_IM_REPLY;
    e.im_reply = (Muster__ImReply *)reply;
    switch (origin.kind) {
    case IM_OF_NOBODY:
        break;
    case IM_OF_SESSION:
        answer_session(r, im, &origin, reply->result);
        break;
    case IM_OF_PROXYD:
        (void)r->ops->to_proxyd(r->ctx, &e); /* without a link it has forgotten the request */
        break;
    case IM_OF_NODE:
        (void)r->ops->to_node(r->ctx, origin.node, &e); /* it asks again when the link is back */
        break;
    }
    mem_free(origin.stanza_id);
}

void im_answer_result(struct router *r, const Muster__Im *im, struct origin origin,
                      Muster__ImReply__Result result)
{
    Muster__ImReply reply = MUSTER__IM_REPLY__INIT;

    reply.result = result;
    im_answer(r, im, origin, &reply);
}

bool im_origin_waits(struct router *r, const struct origin *origin)
{
    struct session *s;

    if (origin->kind != IM_OF_SESSION || !origin->stanza)
        return false;
    s = session_find(r, origin->number);
    return s && s->sm.in_era == origin->era;
}

/* ---- the way ---- */

void im_submit(struct router *r, const Muster__Im *im, struct origin origin)
{
    struct str aor = jid_bare(str_of(im->to));
    const struct user *user = directory_find(r->directory, aor);

    if (!user || user->home == 0)
        im_answer_result(r, im, origin, MUSTER__IM_REPLY__RESULT__NOT_FOUND);
    else if (router_serves(r, aor))
        delivery_start(r, im, origin);
    else if (origin.kind == IM_OF_NODE)
        im_answer_result(r, im, origin, MUSTER__IM_REPLY__RESULT__NOT_SERVING);
    else
        forward_start(r, im, origin);
}
