// SPDX-License-Identifier: Apache-2.0
#include <string.h>

#include "routerd/account.h"
#include "routerd/delivery.h"
#include "routerd/forward.h"
#include "routerd/known.h"
#include "routerd/moves.h"
#include "routerd/offline.h"
#include "routerd/presence.h"
#include "routerd/records.h"
#include "routerd/session.h"
#include "routerd/sip_presence.h"
#include "routerd/sm.h"
#include "routerd/stream.h"

enum { RECENT_MS = 30000 }; /* longer than it takes to notice that a node is dead */

/* A key that must wait until the table is not walked any more. */
struct found {
    struct found *next;
    size_t len;
    char key[];
};

struct activation {
    struct router *router;
    bool homes[VIEW_NODES_MAX + 1]; /* that come now */
    struct found *queued;           /* stanzas, the last first */
    struct found *stored;           /* offline messages to be deleted */
};

static bool comes(const struct activation *n, struct str aor)
{
    const struct user *user = directory_find(n->router->directory, aor);

    return user && user->home <= VIEW_NODES_MAX && n->homes[user->home];
}

static void remember(struct found **list, struct str key)
{
    struct found *f = mem_new(sizeof(*f) + key.len);

    memcpy(f->key, key.p, key.len);
    f->len = key.len;
    f->next = *list;
    *list = f;
}

static struct str forget(struct found **list, struct found **ret_found)
{
    struct found *f = *list;

    *list = f->next;
    *ret_found = f;
    return (struct str){f->key, f->len};
}

/* ---- walking ---- */

static void each_session(void *ctx, const struct replica_record *record)
{
    struct activation *n = ctx;
    Muster__SessionRecord *m;

    if (!comes(n, record->user))
        return;
    m = muster__session_record__unpack(NULL, record->value.len, (const uint8_t *)record->value.p);
    if (!m)
        return;
    session_restore(account_get(n->router, record->user), record->key, m);
    muster__session_record__free_unpacked(m, NULL);
}

static void each_queued(void *ctx, const struct replica_record *record)
{
    struct activation *n = ctx;

    if (comes(n, record->user) && record->key.len == RECORD_QUEUE_KEY_LEN)
        remember(&n->queued, record->key);
}

static void each_known(void *ctx, const struct replica_record *record)
{
    struct activation *n = ctx;
    struct known_im known;

    if (comes(n, record->user) && record_find_known(n->router, record->key, &known))
        known_restore(n->router, record->key, known.expires_unix_ms);
}

static void each_stored(void *ctx, const struct replica_record *record)
{
    struct activation *n = ctx;

    if (comes(n, record->user) && record->key.len == record->user.len + 9)
        remember(&n->stored, record->key);
}

static void each_sip(void *ctx, const struct replica_record *record)
{
    struct activation *n = ctx;
    Muster__SipPresence *m;

    if (!comes(n, record->user))
        return;
    m = muster__sip_presence__unpack(NULL, record->value.len, (const uint8_t *)record->value.p);
    if (!m)
        return;
    availability_set(&account_get(n->router, record->user)->sip_seen, true, str_of(m->show),
                     str_of(m->status), m->since_unix_ms);
    muster__sip_presence__free_unpacked(m, NULL);
}

/* ---- building ---- */

/* A message that is in a queue is known, even if the record that says so was lost on the way. */
static void know(struct router *r, const Muster__QueuedStanza *q)
{
    struct str key = q->im ? known_key(q->im) : (struct str){NULL, 0};

    if (key.p)
        known_put(r, key, false, im_generation(q->im));
    mem_free((void *)key.p);
}

/* Counts it in its session; without one, its message is routed again. */
static void take_queued(struct router *r, struct str key)
{
    uint64_t number = record_number(key);
    Muster__QueuedStanza *q = record_queued(r, key.p, number);
    struct session *s;

    HASH_FIND(hh_smid, r->sessions_by_smid, key.p, RECORD_SMID_LEN, s);
    if (q)
        know(r, q);
    if (s && number <= s->sm.out_acked)
        replica_delete(r->replica, TABLE_QUEUE, key);
    else if (s && number > s->sm.out_count)
        s->sm.out_count = number;
    else if (!s && q)
        delivery_again(r, key, q);
    if (q)
        muster__queued_stanza__free_unpacked(q, NULL);
}

/* Held until its client comes back or its window ends; a session that cannot come back has gone
 * with its node. */
static void hold_or_end(struct session *s)
{
    struct router *r = s->router;
    uint64_t latest = r->now.unix_ms + s->sm.window_ms;
    uint64_t deadline = s->sm.resume_deadline_unix_ms;

    if (!s->sm.resumable) {
        session_end(s);
        return;
    }
    if (deadline == 0 || deadline > latest)
        deadline = latest;
    s->sm.resume_deadline_unix_ms = deadline;
    timer_set(&r->timers, &s->timer,
              mono_after(r->now.mono, deadline > r->now.unix_ms ? deadline - r->now.unix_ms : 0));
    session_record(s);
    if (s->available)
        presence_tell_device(s);
}

static void build(struct activation *n)
{
    struct router *r = n->router;
    struct found *reversed = NULL, *f;
    struct session *s, *next;

    while (n->queued) { /* in the order of the records */
        f = n->queued;
        n->queued = f->next;
        f->next = reversed;
        reversed = f;
    }
    while (reversed) {
        take_queued(r, forget(&reversed, &f));
        mem_free(f);
    }
    for (s = r->sessions; s; s = next) {
        next = s->hh.next;
        if (!s->stream && !timer_is_set(&s->timer))
            hold_or_end(s);
    }
    while (n->stored) {
        struct str key = forget(&n->stored, &f);

        offline_delete(r, str_sub(key, 0, key.len - 9), record_number(key));
        mem_free(f);
    }
}

static bool find_homes(struct activation *n)
{
    struct router *r = n->router;
    bool any = false;

    if (!r->leased || !r->restored || directory_count(r->directory) == 0)
        return false;
    for (uint32_t home = 1; home <= VIEW_NODES_MAX; home++) {
        n->homes[home] = !r->serving[home] && view_serving(&r->view, home) == r->view.self;
        any |= n->homes[home];
    }
    return any && r->view.version;
}

void activate(struct router *r)
{
    struct activation n = {.router = r};
    struct account *a, *next;

    if (!find_homes(&n))
        return;
    replica_each(r->replica, TABLE_SESSIONS, each_session, &n);
    replica_each(r->replica, TABLE_QUEUE, each_queued, &n);
    replica_each(r->replica, TABLE_KNOWN, each_known, &n);
    replica_each(r->replica, TABLE_STORED, each_stored, &n);
    replica_each(r->replica, TABLE_SIP, each_sip, &n);
    for (uint32_t home = 1; home <= VIEW_NODES_MAX; home++)
        r->serving[home] |= n.homes[home];
    build(&n);
    presence_activated(r);
    /* What changed shortly before a node died may have been on its way from there or to there. */
    presence_repeat_since(r, r->now.unix_ms - RECENT_MS);
    for (a = r->accounts; a; a = next) {
        next = a->hh.next;
        if (comes(&n, str_of(a->aor))) /* what was stored at the last moment */
            offline_kick(r, str_of(a->aor));
    }
    forward_retry(r, 0);
    negotiate_held(r);
}
