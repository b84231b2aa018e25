// SPDX-License-Identifier: Apache-2.0
/*
 * Users come and go with the view: activation builds the live form of their records, release drops
 * it and keeps the records.
 */
#include <string.h>

#include <utlist.h>

#include "presenced/model.h"

struct done {
    struct done *next, *prev;
    struct engine *engine;
    uint64_t version;
};

void moves_doubt_ends(void *engine)
{
    struct engine *e = engine;
    struct presentity *p, *next;

    timer_clear(&e->timers, &e->hold);
    e->devices_known = true;
    HASH_ITER (hh, e->presentities, p, next)
        p->in_doubt = false;
    notify_all(e);
}

void moves_doubt(struct engine *e)
{
    timer_set(&e->timers, &e->hold, mono_after(e->now.mono, HOLD_MS));
}

/* ---- activation ---- */

/* What it was before may be known to watchers, and its devices not yet to us. */
static void begin_doubt(struct presentity *p)
{
    p->in_doubt = true;
    moves_doubt(p->engine);
}

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
    if (!r || !r->pidf || !str_eq_c(record->key, r->etag) ||
        !str_eq_c(record->user, r->presentity) || !publication_has_room(e, record->user)) {
        muster__publication_record__free_unpacked(r, NULL); /* of a version we do not know */
        return;
    }
    live = publication_add(e, r);
    begin_doubt(live->presentity);
    presentity_changed(live->presentity);
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
    if (!r || !subscription_has_key(r, record->key) || !str_eq_c(record->user, r->presentity) ||
        !subscription_has_room(e, record->user)) {
        muster__subscription_record__free_unpacked(r, NULL);
        return;
    }
    s = subscription_add(e, r);
    notify_reserve(s, r->dialog->local_cseq);
    begin_doubt(s->presentity);
    s->answered = true;
    notify_paced(s);
}

static void activate(struct engine *e)
{
    replica_each(e->replica, ENGINE_TABLE_PUBLICATIONS, activate_publication, e);
    replica_each(e->replica, ENGINE_TABLE_SUBSCRIPTIONS, activate_subscription, e);
    notify_paced_begin(e);
    e->active = true;
    presentity_tell_all(e);
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
    DL_DELETE(d->engine->done, d);
    mem_free(d);
}

void moves_forget(struct engine *e)
{
    struct done *d, *next;

    DL_FOREACH_SAFE (e->done, d, next) {
        DL_DELETE(e->done, d);
        mem_free(d);
    }
}

/* Says that the view is carried out once everything about it is in both memories. */
static void finish(struct engine *e)
{
    struct done *d = mem_new(sizeof(*d));

    *d = (struct done){.engine = e, .version = e->view.version};
    DL_APPEND(e->done, d);
    replica_commit(e->replica, on_done, d);
}

void engine_on_view(struct engine *e, const struct view *view, const struct engine_now *now)
{
    e->now = *now;
    e->view = *view;
    moves_rescan(e);
    if (e->restored)
        finish(e);
}

void moves_rescan(void *engine)
{
    struct engine *e = engine;
    struct presentity *p, *next;

    HASH_ITER (hh, e->presentities, p, next)
        if (!engine_serves(e, str_of(p->aor)))
            release(p);
    if (e->restored)
        activate(e);
}

/* ---- users ---- */

/* Whoever watches somebody who is no user any more is told that there is nothing to watch. */
static void end_user(struct presentity *p)
{
    struct subscription *next;

    while (p->publications)
        publication_remove(p->publications);
    buf_clear(&p->document);
    device_drop_all(p);
    p->in_doubt = false;
    for (struct subscription *s = p->subscriptions; s; s = next) {
        next = s->next;
        if (!s->terminated)
            subscription_end(s, "noresource");
    }
    presentity_release(p);
}

void engine_on_users(struct engine *e, const char *aor, const struct engine_now *now)
{
    struct presentity *p = aor ? presentity_find(e, str_of(aor)) : e->presentities, *next;

    e->now = *now;
    for (; p; p = next) {
        next = aor ? NULL : p->hh.next;
        if (!directory_find(e->config.directory, str_of(p->aor)))
            end_user(p);
    }
    if (!timer_is_set(&e->rescan))
        timer_set(&e->timers, &e->rescan, mono_after(e->now.mono, RESCAN_MS));
}

void engine_on_restored(void *ctx)
{
    struct engine *e = ctx;

    e->restored = true;
    if (!e->devices_known)
        moves_doubt(e);
    if (e->view.version) {
        activate(e);
        finish(e);
    }
}
