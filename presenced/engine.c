// SPDX-License-Identifier: Apache-2.0
#include <assert.h>
#include <string.h>

#include <utlist.h>

#include "presenced/model.h"

/* An answer that waits for both memories, and the subscription whose NOTIFYs wait for it. */
struct owed {
    struct owed *next, *prev;
    struct engine *engine;
    uint64_t request;
    uint64_t proxyd_link;
    bool is_publish;
    uint32_t code, expires_s;
    char *reason;
    char *etag;
    char *key;
    size_t key_len;
};

struct engine *engine_new(const struct engine_config *config)
{
    struct engine *e = mem_new(sizeof(*e));

    e->config = *config;
    e->activated_end = &e->activated;
    timer_init(&e->pace, notify_pace, e);
    timer_init(&e->hold, moves_doubt_ends, e);
    timer_init(&e->rescan, moves_rescan, e);
    return e;
}

void engine_set_replica(struct engine *e, struct replica *replica)
{
    assert(!e->replica);
    e->replica = replica;
}

static void drop_presentity(struct presentity *p)
{
    while (p->publications)
        publication_drop(p->publications);
    while (p->subscriptions)
        subscription_drop(p->subscriptions);
    device_drop_all(p);
    presentity_release(p);
}

static void owed_free(struct owed *o)
{
    DL_DELETE(o->engine->owed, o);
    mem_free(o->reason);
    mem_free(o->etag);
    mem_free(o->key);
    mem_free(o);
}

void engine_free(struct engine *e)
{
    struct presentity *p, *next;

    if (!e)
        return;
    while (e->owed)
        owed_free(e->owed);
    moves_forget(e);
    HASH_ITER (hh, e->presentities, p, next)
        drop_presentity(p);
    timers_done(&e->timers);
    mem_free(e);
}

/* Who serves `aor`, by the view; 0: nobody, or there is no such user. */
static uint32_t serving_node(const struct engine *e, struct str aor)
{
    const struct user *user = directory_find(e->config.directory, aor);

    return user && e->view.version ? view_serving(&e->view, user->home) : 0;
}

bool engine_serves(const struct engine *e, struct str aor)
{
    return e->view.version && serving_node(e, aor) == e->view.self;
}

bool engine_is_mine(void *ctx, struct str user)
{
    return engine_serves(ctx, user);
}

bool engine_is_peers(void *ctx, struct str user)
{
    const struct engine *e = ctx;
    const struct user *found = directory_find(e->config.directory, user);

    return found && view_is_peers(&e->view, found->home);
}

mono_t engine_mono_of(const struct engine *e, uint64_t unix_ms)
{
    uint64_t left = unix_ms > e->now.unix_ms ? unix_ms - e->now.unix_ms : 0;

    return mono_after(e->now.mono, left);
}

/* ---- answers ---- */

/* One who has lost the lease must not promise anything: the peer may serve by now, without it. */
static void give_answer(struct owed *o)
{
    const struct engine_config *c = &o->engine->config;

    if (o->engine->suspended)
        o->code = 503;
    if (o->is_publish) {
        Muster__PublishReply reply = MUSTER__PUBLISH_REPLY__INIT;

        reply.code = o->code;
        reply.reason = o->reason;
        reply.etag = o->etag;
        reply.expires_s = o->expires_s;
        c->ops->publish_reply(c->ctx, o->request, &reply);
    } else {
        Muster__SubscribeReply reply = MUSTER__SUBSCRIBE_REPLY__INIT;

        reply.code = o->code;
        reply.reason = o->reason;
        reply.expires_s = o->expires_s;
        c->ops->subscribe_reply(c->ctx, o->request, &reply);
    }
}

static void on_committed(void *ctx)
{
    struct owed *o = ctx;
    struct engine *e = o->engine;
    struct subscription *s = NULL;

    if (e->proxyd_up && e->proxyd_link == o->proxyd_link)
        give_answer(o);
    if (o->key_len > 0)
        HASH_FIND(hh, e->subscriptions, o->key, o->key_len, s);
    if (s) {
        s->answered = true;
        notify_forget(s); /* whoever asks need not wait for his turn */
        notify_soon(s);
    }
    owed_free(o);
}

void engine_owe(struct engine *e, uint64_t request, const Muster__PublishReply *publish,
                const Muster__SubscribeReply *subscribe, struct str subscription_key)
{
    struct owed *o = mem_new(sizeof(*o));

    assert(!publish != !subscribe);
    o->engine = e;
    o->request = request;
    o->proxyd_link = e->proxyd_link;
    o->is_publish = publish != NULL;
    o->code = publish ? publish->code : subscribe->code;
    o->expires_s = publish ? publish->expires_s : subscribe->expires_s;
    o->reason = mem_strdup(publish ? publish->reason : subscribe->reason);
    o->etag = mem_strdup(publish ? publish->etag : "");
    o->key = str_dup(subscription_key);
    o->key_len = subscription_key.len;
    DL_APPEND(e->owed, o);
    replica_commit(e->replica, on_committed, o);
}

/* ---- links and time ---- */

void engine_on_proxyd_link(struct engine *e, bool up, const struct engine_now *now)
{
    struct subscription *s, *next;

    e->now = *now;
    e->proxyd_up = up;
    if (up) {
        notify_all(e);
        return;
    }
    e->proxyd_link++;
    HASH_ITER (hh, e->subscriptions, s, next) {
        if (s->in_flight)
            s->dirty = true;
        notify_landed(s);
    }
}

void engine_on_lease(struct engine *e, bool holds, const struct engine_now *now)
{
    e->now = *now;
    e->suspended = !holds;
    if (!holds)
        return;
    notify_all(e);
    timers_run(&e->timers, now->mono);
}

void engine_tick(struct engine *e, const struct engine_now *now)
{
    e->now = *now;
    if (!e->suspended)
        timers_run(&e->timers, now->mono);
}

mono_t engine_deadline(const struct engine *e)
{
    return e->suspended ? MONO_NEVER : timers_deadline(&e->timers);
}

void engine_check(const struct engine *e)
{
    const struct presentity *p, *next;
    size_t publications = 0, subscriptions = 0;

    timers_check(&e->timers);
    for (p = e->presentities; p; p = next) {
        unsigned count = 0;

        next = p->hh.next;
        for (const struct publication *q = p->publications; q; q = q->next, count++)
            assert(q->presentity == p && timer_is_set(&q->expiry));
        assert(count == p->publication_count && count <= ENGINE_PUBLICATIONS_MAX);
        publications += count;
        count = 0;
        for (const struct subscription *s = p->subscriptions; s; s = s->next, count++)
            assert(s->presentity == p && s->cseq <= s->record->dialog->local_cseq);
        assert(count == p->subscription_count && count <= ENGINE_SUBSCRIPTIONS_MAX);
        subscriptions += count;
    }
    assert(publications == HASH_COUNT(e->publications));
    assert(subscriptions == HASH_COUNT(e->subscriptions));
    for (const struct watcher *w = e->watchers; w; w = w->hh.next) {
        assert(w->count > 0 && w->count <= subscriptions);
        subscriptions -= w->count;
    }
    assert(subscriptions == 0);
}
