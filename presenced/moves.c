// SPDX-License-Identifier: Apache-2.0
/*
 * Users come and go with the view: activation builds the live form of their records, release drops
 * it and keeps the records.
 */
#include <string.h>

#include "common/mem.h"
#include "presenced/model.h"

struct done {
    struct engine *engine;
    uint64_t version;
};

void moves_devices_known(void *engine)
{
    struct engine *e = engine;

    timer_clear(&e->timers, &e->hold);
    e->devices_known = true;
    notify_all(e);
}

void moves_doubt_devices(struct engine *e)
{
    e->devices_known = false;
    timer_set(&e->timers, &e->hold, mono_after(e->now.mono, HOLD_MS));
}

/* ---- activation ---- */

static void activate_publication(void *ctx, const struct replica_record *record)
{
    struct engine *e = ctx;
    Muster__PublicationRecord *r;
    struct publication *live;

    HASH_FIND(hh, e->publications, record->key.p, record->key.len, live);
    if (live || !engine_serves(e, record->user))
        return;
    r = muster__publication_record__unpack(NULL, record->value.len,
                                           (const uint8_t *)record->value.p);
    if (!r || !r->pidf || !str_eq_c(record->key, r->etag)) {
        muster__publication_record__free_unpacked(r, NULL); /* of a version we do not know */
        return;
    }
    presentity_changed(publication_add(e, r)->presentity);
}

static void activate_subscription(void *ctx, const struct replica_record *record)
{
    struct engine *e = ctx;
    Muster__SubscriptionRecord *r;
    struct subscription *s;

    HASH_FIND(hh, e->subscriptions, record->key.p, record->key.len, s);
    if (s || !engine_serves(e, record->user))
        return;
    r = muster__subscription_record__unpack(NULL, record->value.len,
                                            (const uint8_t *)record->value.p);
    if (!r || !r->dialog) {
        muster__subscription_record__free_unpacked(r, NULL);
        return;
    }
    s = subscription_add(e, r);
    s->cseq = r->dialog->local_cseq; /* what may have been used; the next is higher */
    s->answered = true;
    notify_paced(s);
}

static void activate(struct engine *e)
{
    replica_each(e->replica, ENGINE_TABLE_PUBLICATIONS, activate_publication, e);
    replica_each(e->replica, ENGINE_TABLE_SUBSCRIPTIONS, activate_subscription, e);
}

/* ---- release ---- */

static void release(struct presentity *p)
{
    while (p->publications)
        publication_drop(p->publications);
    while (p->subscriptions)
        subscription_drop(p->subscriptions);
    mem_free(p->told);
    p->told = NULL;
    buf_clear(&p->document);
    presentity_release(p);
}

static void on_done(void *ctx)
{
    struct done *d = ctx;

    d->engine->config.ops->view_done(d->engine->config.ctx, d->version);
    mem_free(d);
}

/* Says that the view is carried out once everything about it is in both memories. */
static void finish(struct engine *e)
{
    struct done *d = mem_new(sizeof(*d));

    *d = (struct done){e, e->view.version};
    replica_commit(e->replica, on_done, d);
}

void engine_on_view(struct engine *e, const struct view *view, const struct engine_now *now)
{
    struct presentity *p, *next;
    bool moved = e->view.epoch != view->epoch;

    e->now = *now;
    e->view = *view;
    HASH_ITER (hh, e->presentities, p, next)
        if (!engine_serves(e, str_of(p->aor)))
            release(p);
    if (e->restored) {
        if (moved)
            moves_doubt_devices(e);
        activate(e);
        finish(e);
    }
}

void engine_on_restored(void *ctx)
{
    struct engine *e = ctx;

    e->restored = true;
    if (e->view.version) {
        activate(e);
        finish(e);
    }
}
