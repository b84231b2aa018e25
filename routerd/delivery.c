// SPDX-License-Identifier: Apache-2.0
#include "routerd/delivery.h"

#include <assert.h>
#include <string.h>

#include "common/db.h"
#include "common/jid.h"
#include "common/util.h"
#include "routerd/account.h"
#include "routerd/dress.h"
#include "routerd/known.h"
#include "routerd/later.h"
#include "routerd/moves.h"
#include "routerd/offline.h"
#include "routerd/records.h"
#include "routerd/session.h"
#include "routerd/stanza.h"

enum {
    ORIGINS_MAX = 16,
    DEVICE_MS = 40000, /* a SIP transaction and a little */
    LINK_MS = 5000,    /* how long a proxyd that went away is waited for */
    RETRY_MS = 1000,
    GIVE_UP_MS = 30000,
};

enum delivery_state {
    DELIVERY_STARTING,
    DELIVERY_COMMITTING,
    DELIVERY_ASKING,
    DELIVERY_STORING,
    DELIVERY_WAITING
};

struct delivery {
    UT_hash_handle hh;     /* by number */
    UT_hash_handle hh_key; /* by key, if any */
    struct router *router;
    uint64_t number;
    enum delivery_state state;
    struct str key; /* {NULL, 0}: none */
    Muster__Im *im;
    struct origin origins[ORIGINS_MAX];
    size_t origin_count;
    struct timer timer;
    mono_t give_up;
    bool devices_first; /* it is addressed to them: sessions only if they don't take it */
    bool maybe_stored;  /* an offline_put ended in doubt: only the store can settle it */
    bool again;         /* it was in a session's queue: */
    char queue_key[RECORD_QUEUE_KEY_LEN];
    uint64_t stored_id; /* it is this row of the offline table; 0: none */
};

static void attempt(struct delivery *d);

/* ---- life ---- */

static void on_time(void *owner);

static struct delivery *delivery_new(struct router *r, const Muster__Im *im)
{
    struct delivery *d = mem_new(sizeof(*d));

    d->router = r;
    d->number = next_number(r);
    d->im = im_copy(im);
    d->give_up = mono_after(r->now.mono, GIVE_UP_MS);
    timer_init(&d->timer, on_time, d);
    HASH_ADD(hh, r->deliveries, number, sizeof(d->number), d);
    return d;
}

static void delivery_drop(struct delivery *d)
{
    struct router *r = d->router;

    timer_clear(&r->timers, &d->timer);
    HASH_DELETE(hh, r->deliveries, d);
    if (d->key.p)
        HASH_DELETE(hh_key, r->deliveries_by_key, d);
    mem_free((void *)d->key.p);
    im_free(d->im);
    mem_free(d);
}

static struct delivery *find(struct router *r, uint64_t number)
{
    struct delivery *d;

    HASH_FIND(hh, r->deliveries, &number, sizeof(number), d);
    return d;
}

static struct str recipient(const struct delivery *d)
{
    return jid_bare(str_of(d->im->to));
}

/* May we still write records of the recipient? If it was let go of while the database was asked,
 * the release waits for us. */
static bool is_ours(const struct delivery *d)
{
    return d->router->view_waits || router_serves(d->router, recipient(d));
}

static void forget_queued(struct delivery *d)
{
    if (d->again && is_ours(d))
        replica_delete(d->router->replica, TABLE_QUEUE,
                       (struct str){d->queue_key, sizeof(d->queue_key)});
    d->again = false;
}

/* The end, whatever it is. */
static void finish(struct delivery *d, const Muster__ImReply *reply)
{
    struct router *r = d->router;
    bool accepted = reply->result == MUSTER__IM_REPLY__RESULT__ACCEPTED;

    for (size_t i = 0; i < d->origin_count; i++)
        im_answer(r, d->im, d->origins[i], reply);
    if (d->stored_id)
        offline_delivered(r, recipient(d), d->stored_id, accepted);
    forget_queued(d);
    delivery_drop(d);
    if (r->view_waits)
        release_finish(r);
}

static void finish_with(struct delivery *d, Muster__ImReply__Result result)
{
    Muster__ImReply reply = MUSTER__IM_REPLY__INIT;

    reply.result = result;
    finish(d, &reply);
}

/* Nobody has it; what was promised already is kept, else its sender hears of it. */
static void try_later_or_refuse(struct delivery *d)
{
    struct router *r = d->router;
    bool promised = d->again || d->maybe_stored;

    if (!promised && mono_reached(r->now.mono, d->give_up)) {
        finish_with(d, MUSTER__IM_REPLY__RESULT__BUSY);
        return;
    }
    d->state = DELIVERY_WAITING;
    timer_set(&r->timers, &d->timer, mono_after(r->now.mono, RETRY_MS));
}

/* ---- accepted ---- */

static void on_committed(struct router *r, const struct later_args *args)
{
    struct delivery *d = find(r, args->of[0]);

    if (d)
        finish_with(d, MUSTER__IM_REPLY__RESULT__ACCEPTED);
}

static void know(struct delivery *d, bool stored)
{
    struct str key = known_key(d->im);

    if (key.p && is_ours(d))
        known_put(d->router, key, stored, im_generation(d->im));
    mem_free((void *)key.p);
}

/* It has a place. When both memories know that, it is accepted. */
static void settle(struct delivery *d, bool stored)
{
    struct router *r = d->router;

    timer_clear(&r->timers, &d->timer);
    d->state = DELIVERY_COMMITTING;
    know(d, stored);
    if (!d->again && !d->stored_id)
        count_metric(r, METRIC_IMS, 1);
    if (d->stored_id && is_ours(d))
        (void)!record_put_stored(r, recipient(d), d->stored_id);
    forget_queued(d); /* in the same frame as its new place */
    later_commit(r, on_committed, (struct later_args){{d->number}});
}

/* ---- sessions ---- */

static bool deliver_to(struct session *s, struct delivery *d, struct str xml)
{
    return session_deliver(s, xml, d->im);
}

/* To all that the bare JID stands for. */
static size_t deliver_to_reachable(struct account *a, struct delivery *d, struct str xml)
{
    size_t count = 0;

    for (struct session *s = a->sessions; s; s = s->next)
        if (session_is_reachable(s))
            count += deliver_to(s, d, xml);
    return count;
}

/* RFC 6121, 8.5.2 and 8.5.3: to how many sessions it went. */
static size_t deliver_to_sessions(struct account *a, struct delivery *d)
{
    struct jid to = jid_split(str_of(d->im->to));
    struct session *one = str_empty(to.resource) ? NULL : session_of(a, to.resource);
    enum im_type type = im_type(d->im);
    size_t count = 0;
    struct buf xml;

    if (!a->sessions || !dress_begin(&xml, a->router, d->im, d->again || d->stored_id))
        return 0;
    if (one)
        count = deliver_to(one, d, buf_str(&xml));
    if (count == 0 &&
        (type == IM_NORMAL || type == IM_CHAT || (type == IM_HEADLINE && str_empty(to.resource))))
        count = deliver_to_reachable(a, d, buf_str(&xml));
    buf_done(&xml);
    return count;
}

/* ---- SIP devices ---- */

static bool is_for_devices(const struct account *a, const struct delivery *d)
{
    enum im_type type = im_type(d->im);

    return a && a->bindings && d->im->body.len &&
           (type == IM_NORMAL || type == IM_CHAT || type == IM_HEADLINE);
}

static bool ask_devices(struct delivery *d)
{
    static char plain[] = "text/plain";
    Muster__Envelope e = MUSTER__ENVELOPE__INIT;
    Muster__Im im = *d->im;
    struct router *r = d->router;
    char *bare = str_dup(recipient(d));
    char *id = str_dup(im_id(d->im));
    bool sent;

    im.to = bare;
    im.id = id;
    im.stanza = (ProtobufCBinaryData){0, NULL};
    im.offline = d->again || d->stored_id != 0;
    if (!im.content_type[0])
        im.content_type = plain;
    e.id = d->number;
    e.body_case = MUSTER__ENVELOPE__BODY_IM;
    e.im = &im;
    sent = r->ops->to_proxyd(r->ctx, &e);
    mem_free(bare);
    mem_free(id);
    return sent;
}

/* ---- the store ---- */

static bool is_to_be_stored(const struct delivery *d)
{
    enum im_type type = im_type(d->im);

    return d->im->body.len && (type == IM_NORMAL || type == IM_CHAT);
}

static void on_stored(struct router *r, int status, struct str text, void *data)
{
    struct delivery *d = find(r, *(uint64_t *)data);

    mem_free(data);
    if (!d)
        return;
    switch (status) {
    case DB_OK:
        count_metric(r, METRIC_IMS_STORED, 1);
        settle(d, true);
        offline_kick(r, text);
        break;
    case DB_E_REFUSED:
        finish_with(d, MUSTER__IM_REPLY__RESULT__UNAVAILABLE);
        break;
    case DB_E_UNKNOWN:
        d->maybe_stored = true;
        try_later_or_refuse(d);
        break;
    default:
        try_later_or_refuse(d);
        break;
    }
}

static void store(struct delivery *d)
{
    struct router *r = d->router;
    uint64_t *number = mem_dup(&d->number, sizeof(d->number));
    struct later_request request = {on_stored, mem_free, number, recipient(d)};

    d->state = DELIVERY_STORING;
    r->ops->offline_put(r->ctx, later_stored(r, &request), recipient(d), d->im);
}

/* No session and no device took it. */
static void settle_for_nobody(struct delivery *d)
{
    enum im_type type = im_type(d->im);
    bool addressed = str_find(str_of(d->im->to), '/') < strlen(d->im->to);

    if (d->stored_id)
        finish_with(d, MUSTER__IM_REPLY__RESULT__UNAVAILABLE); /* it stays where it is */
    else if (is_to_be_stored(d))
        store(d);
    else if (type == IM_GROUPCHAT || (type != IM_ERROR && addressed && d->im->body.len))
        finish_with(d, MUSTER__IM_REPLY__RESULT__UNAVAILABLE);
    else
        finish_with(d, MUSTER__IM_REPLY__RESULT__ACCEPTED); /* nothing that anybody would miss */
}

/* ---- the whole ---- */

static void refuse_content(struct delivery *d)
{
    Muster__ImReply reply = MUSTER__IM_REPLY__INIT;

    reply.result = MUSTER__IM_REPLY__RESULT__REFUSED;
    reply.sip_code = 415;
    finish(d, &reply);
}

static bool wait_for_devices(struct delivery *d)
{
    struct router *r = d->router;

    if (!ask_devices(d))
        return false;
    d->state = DELIVERY_ASKING;
    timer_set(&r->timers, &d->timer, mono_after(r->now.mono, DEVICE_MS));
    return true;
}

static void attempt(struct delivery *d)
{
    struct router *r = d->router;
    struct account *a = account_find(r, recipient(d));
    bool devices = is_for_devices(a, d);

    d->devices_first = devices && str_eq_c(jid_split(str_of(d->im->to)).resource, "sip");
    if (d->devices_first && wait_for_devices(d))
        return;
    if (a && deliver_to_sessions(a, d) > 0) {
        if (devices) /* a copy; that it was taken is not needed any more */
            (void)ask_devices(d);
        settle(d, false);
    } else if (devices && wait_for_devices(d)) {
        return;
    } else if (!devices && !dress_is_readable(d->im)) {
        refuse_content(d);
    } else {
        settle_for_nobody(d);
    }
}

/* No device took it. */
static void do_without_devices(struct delivery *d)
{
    struct account *a = account_find(d->router, recipient(d));

    if (d->devices_first && a && deliver_to_sessions(a, d) > 0)
        settle(d, false);
    else
        settle_for_nobody(d);
}

static void on_time(void *owner)
{
    struct delivery *d = owner;

    if (d->state == DELIVERY_ASKING)
        do_without_devices(d);
    else if (d->maybe_stored)
        store(d);
    else
        attempt(d);
}

/* Answered before, or under way: true, and the origin is taken care of. */
static bool join(struct router *r, const Muster__Im *im, struct str key, struct origin origin)
{
    struct known_im known;
    struct delivery *d;

    HASH_FIND(hh_key, r->deliveries_by_key, key.p, key.len, d);
    if (d && d->origin_count == ORIGINS_MAX) {
        im_answer_result(r, im, origin, MUSTER__IM_REPLY__RESULT__BUSY);
        return true;
    }
    if (!d && !known_find(r, key, &known))
        return false;
    count_metric(r, METRIC_IMS_DUPLICATE, 1);
    if (!d) { /* what made it known may not be in both memories yet */
        d = delivery_new(r, im);
        d->state = DELIVERY_COMMITTING;
        later_commit(r, on_committed, (struct later_args){{d->number}});
    }
    d->origins[d->origin_count++] = origin;
    return true;
}

void delivery_start(struct router *r, const Muster__Im *im, struct origin origin)
{
    struct str key = known_key(im);
    struct delivery *d;

    if (key.p && join(r, im, key, origin)) {
        mem_free((void *)key.p);
        return;
    }
    d = delivery_new(r, im);
    d->origins[d->origin_count++] = origin;
    d->key = key;
    if (key.p)
        HASH_ADD_KEYPTR(hh_key, r->deliveries_by_key, d->key.p, d->key.len, d);
    attempt(d);
}

/* A row of the offline table: has the recipient this message already, or is there a newer row? If a
 * client or a queue has it, then the row is what a node left that died before it could take it out
 * of the queue; what comes out of the queue next must not be taken for it. */
static bool is_stale(struct delivery *d)
{
    uint32_t generation = im_generation(d->im);
    struct str key = known_key(d->im);
    struct known_im known;
    bool stale = key.p && known_find(d->router, key, &known) &&
                 (!known.stored || generation < known.generation);

    mem_free((void *)key.p);
    return stale;
}

/* The generation after all that were ever heard of. */
static void renew(struct delivery *d)
{
    uint32_t generation = im_generation(d->im);
    struct str key = known_key(d->im);
    struct known_im known;

    if (key.p && known_find(d->router, key, &known) && known.generation > generation)
        generation = known.generation;
    im_renew(d->im, generation + 1);
    mem_free((void *)key.p);
}

void delivery_start_stored(struct router *r, const Muster__Im *im, uint64_t id)
{
    struct delivery *d = delivery_new(r, im);

    d->stored_id = id;
    if (is_stale(d))
        settle(d, false);
    else
        attempt(d);
}

void delivery_again(struct router *r, struct str queue_key, Muster__QueuedStanza *q)
{
    struct delivery *d;

    assert(queue_key.len == RECORD_QUEUE_KEY_LEN);
    if (!q->im) {
        replica_delete(r->replica, TABLE_QUEUE, queue_key);
        return;
    }
    q->im->stanza = q->xml;
    d = delivery_new(r, q->im);
    q->im->stanza = (ProtobufCBinaryData){0, NULL};
    renew(d);
    d->again = true;
    memcpy(d->queue_key, queue_key.p, queue_key.len);
    attempt(d);
}

void delivery_again_all(struct session *s)
{
    char key[RECORD_QUEUE_KEY_LEN];

    for (uint64_t n = s->sm.out_acked + 1; n <= s->sm.out_count; n++) {
        Muster__QueuedStanza *q = record_queued(s->router, s->sm.id, n);

        if (!q)
            continue;
        record_queue_key(s->sm.id, n, key);
        delivery_again(s->router, (struct str){key, sizeof(key)}, q);
        muster__queued_stanza__free_unpacked(q, NULL);
    }
}

/* ---- what happens meanwhile ---- */

bool delivery_on_reply(struct router *r, uint64_t number, const Muster__ImReply *reply)
{
    struct delivery *d = find(r, number);

    if (!d || d->state != DELIVERY_ASKING)
        return d != NULL;
    timer_clear(&r->timers, &d->timer);
    if (reply->result == MUSTER__IM_REPLY__RESULT__ACCEPTED)
        settle(d, false);
    else if (reply->result == MUSTER__IM_REPLY__RESULT__REFUSED)
        finish(d, reply);
    else
        do_without_devices(d);
    return true;
}

void delivery_on_proxyd_link(struct router *r, bool up)
{
    struct delivery *d, *next;

    for (d = r->deliveries; d; d = next) {
        next = d->hh.next;
        if (d->state != DELIVERY_ASKING)
            continue;
        timer_set(&r->timers, &d->timer,
                  mono_after(r->now.mono, up && ask_devices(d) ? DEVICE_MS : LINK_MS));
    }
}

/* Hands its origins back; they ask whoever serves the user now. */
static void hand_back(struct delivery *d)
{
    struct router *r = d->router;
    struct origin origins[ORIGINS_MAX];
    size_t count = d->origin_count;
    Muster__Im *im = d->im;

    memcpy(origins, d->origins, sizeof(origins));
    d->origin_count = 0;
    d->im = NULL;
    delivery_drop(d);
    for (size_t i = 0; i < count; i++)
        im_submit(r, im, origins[i]);
    im_free(im);
}

/* Commits and what the database was asked still end here; the others cannot. */
void delivery_release(struct router *r)
{
    struct delivery *d, *next;

    for (d = r->deliveries; d; d = next) {
        next = d->hh.next;
        if (router_serves(r, recipient(d)))
            continue;
        if (d->state == DELIVERY_ASKING || d->state == DELIVERY_WAITING)
            hand_back(d);
    }
}

bool delivery_is_letting_go(const struct router *r)
{
    for (const struct delivery *d = r->deliveries; d; d = d->hh.next)
        if ((d->state == DELIVERY_STORING || d->state == DELIVERY_COMMITTING) &&
            !router_serves(r, recipient(d)))
            return true;
    return false;
}

void delivery_free(struct router *r)
{
    struct delivery *d, *next;

    for (d = r->deliveries; d; d = next) {
        next = d->hh.next;
        for (size_t i = 0; i < d->origin_count; i++)
            mem_free(d->origins[i].stanza_id);
        delivery_drop(d);
    }
}

void delivery_check(const struct router *r)
{
    for (const struct delivery *d = r->deliveries; d; d = d->hh.next) {
        assert(d->state != DELIVERY_STARTING);
        assert(d->origin_count <= ORIGINS_MAX);
        assert((d->state == DELIVERY_ASKING || d->state == DELIVERY_WAITING) ==
               timer_is_set(&d->timer));
    }
}
