// SPDX-License-Identifier: Apache-2.0
/*
 * Subscriptions to the presence of a presentity: the notifier's side of RFC 6665 and RFC 3856.
 *
 * A fetch (Expires: 0 in an initial SUBSCRIBE) is a subscription that is born terminated: one
 * NOTIFY, and it is gone. It is not worth a record.
 */
#include <assert.h>
#include <string.h>

#include "common/util.h"
#include "presenced/model.h"

enum { EXPIRES_MAX_S = 86400, KEY_MAX = 2048, RECORD_MAX = 32768, CSEQ_BLOCK = 100 };

static void on_expired(void *owner)
{
    subscription_end(owner, "timeout");
}

static void on_retry(void *owner)
{
    notify_soon(owner);
}

/* Empty when the dialog's names are too long. */
static void write_key(struct buf *out, const Muster__Dialog *d, const char *event_id)
{
    buf_init(out, KEY_MAX);
    buf_put(out, d->call_id, strlen(d->call_id) + 1);
    buf_put(out, d->local_tag, strlen(d->local_tag) + 1);
    buf_put(out, d->remote_tag, strlen(d->remote_tag) + 1);
    buf_puts(out, event_id);
    if (out->full)
        buf_clear(out);
}

bool subscription_has_key(const Muster__SubscriptionRecord *record, struct str key)
{
    struct buf own;
    bool same;

    if (!record->dialog)
        return false;
    write_key(&own, record->dialog, record->event_id);
    same = own.len > 0 && str_eq(buf_str(&own), key);
    buf_done(&own);
    return same;
}

static struct watcher *watcher_find(const struct engine *e, const char *aor)
{
    struct watcher *w;

    HASH_FIND(hh, e->watchers, aor, strlen(aor), w);
    return w;
}

static struct watcher *watcher_ref(struct engine *e, const char *aor)
{
    struct watcher *w = watcher_find(e, aor);
    size_t len = strlen(aor);

    if (!w) {
        w = mem_new(sizeof(*w) + len + 1);
        memcpy(w->aor, aor, len + 1);
        HASH_ADD_KEYPTR(hh, e->watchers, w->aor, len, w);
    }
    w->count++;
    return w;
}

static void watcher_unref(struct engine *e, struct watcher *w)
{
    if (--w->count > 0)
        return;
    HASH_DEL(e->watchers, w);
    mem_free(w);
}

struct subscription *subscription_add(struct engine *e, Muster__SubscriptionRecord *record)
{
    struct subscription *s = mem_new(sizeof(*s));
    struct subscription **at;
    struct buf key;

    write_key(&key, record->dialog, record->event_id);
    s->engine = e;
    s->record = record;
    s->key_len = key.len;
    s->key = buf_take(&key);
    s->presentity = presentity_get(e, str_of(record->presentity));
    s->watcher = watcher_ref(e, record->watcher);
    timer_init(&s->expiry, on_expired, s);
    timer_init(&s->retry, on_retry, s);
    for (at = &s->presentity->subscriptions; *at; at = &(*at)->next)
        ;
    *at = s;
    s->presentity->subscription_count++;
    HASH_ADD_KEYPTR(hh, e->subscriptions, s->key, s->key_len, s);
    timer_set(&e->timers, &s->expiry, engine_mono_of(e, record->expires_unix_ms));
    metrics_set(e->config.metrics, METRIC_SUBSCRIPTIONS, HASH_COUNT(e->subscriptions));
    return s;
}

void subscription_drop(struct subscription *s)
{
    struct engine *e = s->engine;
    struct subscription **at = &s->presentity->subscriptions;

    while (*at != s)
        at = &(*at)->next;
    *at = s->next;
    s->presentity->subscription_count--;
    watcher_unref(e, s->watcher);
    HASH_DEL(e->subscriptions, s);
    notify_forget(s);
    notify_landed(s);
    timer_clear(&e->timers, &s->expiry);
    timer_clear(&e->timers, &s->retry);
    metrics_set(e->config.metrics, METRIC_SUBSCRIPTIONS, HASH_COUNT(e->subscriptions));
    muster__subscription_record__free_unpacked(s->record, NULL);
    mem_free(s->key);
    mem_free(s);
}

void subscription_remove(struct subscription *s)
{
    struct presentity *p = s->presentity;

    replica_delete(s->engine->replica, ENGINE_TABLE_SUBSCRIPTIONS,
                   str_of_bytes(s->key, s->key_len));
    subscription_drop(s);
    presentity_release(p);
}

bool subscription_save(struct subscription *s)
{
    size_t size = muster__subscription_record__get_packed_size(s->record);
    struct replica_record record = {
        str_of_bytes(s->key, s->key_len), str_of(s->record->presentity), {0}};
    uint8_t *packed;
    bool ok;

    if (size > RECORD_MAX || s->key_len == 0)
        return false;
    packed = mem_new(size);
    record.value = str_of_bytes(packed, muster__subscription_record__pack(s->record, packed));
    ok = replica_put(s->engine->replica, ENGINE_TABLE_SUBSCRIPTIONS, &record);
    mem_free(packed);
    return ok;
}

void subscription_end(struct subscription *s, const char *reason)
{
    timer_clear(&s->engine->timers, &s->expiry);
    replica_delete(s->engine->replica, ENGINE_TABLE_SUBSCRIPTIONS,
                   str_of_bytes(s->key, s->key_len));
    s->terminated = reason;
    notify_soon(s);
}

/* ---- SUBSCRIBE ---- */

static void answer(struct engine *e, uint64_t request, uint32_t code, const char *reason,
                   uint32_t expires_s, const struct subscription *s)
{
    Muster__SubscribeReply reply = MUSTER__SUBSCRIBE_REPLY__INIT;

    reply.code = code;
    reply.reason = (char *)reason;
    reply.expires_s = expires_s;
    if (s)
        engine_owe(e, request, NULL, &reply, str_of_bytes(s->key, s->key_len));
    else
        e->config.ops->subscribe_reply(e->config.ctx, request, &reply);
}

/* A record of one's own, from the message's parts. */
static Muster__SubscriptionRecord *make_record(const struct engine *e, const Muster__Subscribe *m,
                                               uint32_t expires_s, bool pending)
{
    Muster__SubscriptionRecord from = MUSTER__SUBSCRIPTION_RECORD__INIT, *record;
    Muster__Dialog dialog = *m->dialog;
    uint8_t *packed;
    size_t size;

    dialog.local_cseq = CSEQ_BLOCK;
    from.presentity = m->presentity;
    from.watcher = m->watcher;
    from.event_id = m->event_id;
    from.expires_unix_ms = e->now.unix_ms + expires_s * 1000ull;
    from.pending = pending;
    from.dialog = &dialog;
    size = muster__subscription_record__get_packed_size(&from);
    packed = mem_new(size);
    muster__subscription_record__pack(&from, packed);
    record = muster__subscription_record__unpack(NULL, size, packed);
    mem_free(packed);
    assert(record);
    return record;
}

static bool may_watch(const struct engine *e, const Muster__Subscribe *m)
{
    return e->config.params->presenced_automatic_authorization ||
           strcmp(m->watcher, m->presentity) == 0;
}

static struct subscription *find(const struct engine *e, const Muster__Subscribe *m)
{
    struct subscription *s = NULL;
    struct buf key;

    write_key(&key, m->dialog, m->event_id);
    if (key.len > 0)
        HASH_FIND(hh, e->subscriptions, key.data, key.len, s);
    buf_done(&key);
    return s && strcmp(s->record->presentity, m->presentity) == 0 &&
                   strcmp(s->record->watcher, m->watcher) == 0
               ? s
               : NULL;
}

bool subscription_has_room(const struct engine *e, struct str aor)
{
    const struct presentity *p = presentity_find(e, aor);

    return !p || p->subscription_count < ENGINE_SUBSCRIPTIONS_MAX;
}

static bool are_too_many(const struct engine *e, const Muster__Subscribe *m)
{
    const struct watcher *w = watcher_find(e, m->watcher);

    return !subscription_has_room(e, str_of(m->presentity)) ||
           (w && w->count >= ENGINE_WATCHED_MAX);
}

/* Can the subscriber read what we would send (RFC 6665, 4.2.1.1)? No Accept is the package's
 * default, PIDF (RFC 3856, 6.7). */
static bool accepts_pidf(const char *accept)
{
    static const char *const taken[] = {"application/pidf+xml", "application/*", "*/*"};
    struct str rest = str_of(accept), item;

    if (str_empty(rest))
        return true;
    for (bool more = true; more;) {
        more = str_cut(rest, ',', &item, &rest);
        item = str_trim(str_sub(item, 0, str_find(item, ';')));
        for (size_t i = 0; i < ARRAY_LEN(taken); i++)
            if (str_ieq_c(item, taken[i]))
                return true;
    }
    return false;
}

static void begin(struct engine *e, uint64_t request, const Muster__Subscribe *m,
                  uint32_t expires_s)
{
    bool pending = !may_watch(e, m);
    struct subscription *s;

    if (are_too_many(e, m)) {
        answer(e, request, 403, "Too many subscriptions", 0, NULL);
        return;
    }
    s = subscription_add(e, make_record(e, m, expires_s, pending));
    if (s->key_len == 0 || (expires_s > 0 && !subscription_save(s))) {
        struct presentity *p = s->presentity;

        subscription_drop(s);
        presentity_release(p);
        answer(e, request, 503, "No room for another subscription", 0, NULL);
        return;
    }
    if (expires_s == 0) {
        timer_clear(&e->timers, &s->expiry);
        s->terminated = "timeout";
    }
    answer(e, request, pending ? 202 : 200, pending ? "Accepted" : "OK", expires_s, s);
}

/* The subscriber's newest Contact and route are where NOTIFYs go from now on (RFC 6665, 4.4.1). */
static void refresh_dialog(struct subscription *s, const Muster__Subscribe *m)
{
    Muster__SubscriptionRecord *old = s->record;

    s->record = make_record(s->engine, m, 0, old->pending);
    s->record->dialog->local_cseq = old->dialog->local_cseq;
    muster__subscription_record__free_unpacked(old, NULL);
}

static void refresh(struct engine *e, uint64_t request, const Muster__Subscribe *m,
                    struct subscription *s, uint32_t expires_s)
{
    /* RFC 3261, 12.2.2: out of order is a 500. */
    if (m->dialog->remote_cseq <= s->record->dialog->remote_cseq) {
        answer(e, request, 500, "CSeq out of order", 0, NULL);
        return;
    }
    refresh_dialog(s, m);
    s->answered = false; /* until this answer is out */
    s->failures = 0;
    if (expires_s == 0) {
        subscription_end(s, "timeout");
    } else {
        s->record->expires_unix_ms = e->now.unix_ms + expires_s * 1000ull;
        timer_set(&e->timers, &s->expiry, engine_mono_of(e, s->record->expires_unix_ms));
        if (!subscription_save(s)) {
            s->answered = true;
            answer(e, request, 503, "No room for the subscription", 0, NULL);
            return;
        }
    }
    answer(e, request, 200, "OK", expires_s, s);
}

void engine_on_subscribe(struct engine *e, uint64_t request, const Muster__Subscribe *subscribe,
                         const struct engine_now *now)
{
    const struct params *params = e->config.params;
    uint32_t least_s = (uint32_t)(params->presenced_subscribe_expires_min_ms / 1000);
    uint32_t expires_s = subscribe->has_expires
                             ? subscribe->expires_s
                             : (uint32_t)(params->presenced_subscribe_expires_default_ms / 1000);
    struct subscription *s;

    e->now = *now;
    expires_s = expires_s < EXPIRES_MAX_S ? expires_s : EXPIRES_MAX_S;
    if (!subscribe->dialog) {
        answer(e, request, 400, "Bad Request", 0, NULL);
        return;
    }
    s = find(e, subscribe);
    if (!directory_find(e->config.directory, str_of(subscribe->presentity)))
        answer(e, request, 404, "Not Found", 0, NULL);
    else if (!e->restored || e->suspended || !engine_serves(e, str_of(subscribe->presentity)))
        answer(e, request, 503, "Not serving this user now", 0, NULL);
    else if (!accepts_pidf(subscribe->accept))
        answer(e, request, 406, "Not Acceptable", 0, NULL);
    else if (expires_s > 0 && expires_s < least_s)
        answer(e, request, 423, "Interval Too Brief", least_s, NULL);
    else if (subscribe->initial && !s)
        begin(e, request, subscribe, expires_s);
    else if (s && !s->terminated)
        refresh(e, request, subscribe, s, expires_s);
    else
        answer(e, request, 481, "Subscription does not exist", 0, NULL);
}
