// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * What the engine's files share: its live state. Not for the shell.
 *
 *     engine -> presentities (by AoR) -> publications, devices, subscriptions
 *
 * Whoever changes what is known about a presentity calls presentity_changed(); everything that
 * watchers and routerd get follows from that.
 */
#include <stdlib.h>

#include "common/mem.h"
#include "common/timer.h"

#define uthash_malloc(size)    mem_new(size)
#define uthash_free(p, size)   mem_free(p)
#define uthash_fatal(sentence) abort()
#include <uthash.h>

#include "presenced/engine.h"

struct presentity;
struct owed;
struct done;

struct publication {
    UT_hash_handle hh; /* in engine.publications, by etag */
    struct engine *engine;
    struct presentity *presentity;
    struct publication *next; /* of the presentity, oldest first */
    Muster__PublicationRecord *record;
    struct timer expiry;
};

struct device {
    struct device *next; /* of the presentity */
    Muster__DeviceStatus *status;
    bool stale; /* not yet said again on the new link to routerd */
};

/* Somebody who watches, and how much. */
struct watcher {
    UT_hash_handle hh; /* in engine.watchers, by aor */
    unsigned count;
    char aor[];
};

struct subscription {
    UT_hash_handle hh;           /* in engine.subscriptions, by key */
    UT_hash_handle in_flight_hh; /* in engine.in_flight, by that number */
    char *key;
    size_t key_len;
    struct engine *engine;
    struct presentity *presentity;
    struct watcher *watcher;
    struct subscription *next; /* of the presentity */
    Muster__SubscriptionRecord *record;
    uint32_t cseq;          /* of the last NOTIFY */
    uint64_t in_flight;     /* request of the NOTIFY that is out; 0: none */
    bool answered;          /* the SUBSCRIBE has its answer: NOTIFYs may go */
    bool dirty;             /* its watcher does not know the newest state */
    const char *terminated; /* reason; NULL: it lives. Goes with the next NOTIFY */
    unsigned failures;      /* NOTIFYs in a row that got no 2xx */
    struct timer expiry;
    struct timer retry;
    struct subscription *next_activated; /* in engine.activated */
    bool in_activated;
};

struct presentity {
    UT_hash_handle hh; /* in engine.presentities, by aor */
    struct engine *engine;
    char *aor;
    struct publication *publications;
    struct device *devices;
    struct subscription *subscriptions;
    unsigned publication_count, subscription_count, device_count;
    struct buf document; /* composed; empty: compose it when it is needed */
    bool in_doubt;       /* just activated: its devices may not have been said yet */
    char *told;          /* the Availability that routerd knows, as text; NULL: none */
};

struct engine {
    struct engine_config config;
    struct replica *replica;
    struct view view;
    struct engine_now now; /* of the event that is being handled */
    struct timers timers;
    struct presentity *presentities;
    struct publication *publications;
    struct subscription *subscriptions;
    struct subscription *in_flight;
    struct watcher *watchers;
    struct owed *owed;                               /* answers that wait for both memories */
    struct done *done;                               /* views that do */
    struct subscription *activated, **activated_end; /* to be notified at a measured pace */
    unsigned reserving;                              /* commits of their numbers that are awaited */
    struct timer pace;
    struct timer hold;   /* the end of all doubts */
    struct timer rescan; /* users have changed: look who is ours */
    bool devices_known;  /* routerd has said all it had, or had its time */
    bool restored;
    bool active;    /* records have been activated: what isn't here is not there */
    bool suspended; /* the lease has run out: nothing is decided, nobody is told */
    bool sync_due;  /* routerd's link is new, and it has not been told all */
    bool proxyd_up, routerd_up;
    uint64_t proxyd_link; /* counts links: answers belong to one */
    uint64_t last_request;
};

enum { HOLD_MS = 5000, RESCAN_MS = 500 };

/* ---- presentity.c ---- */

/* NULL when there is none. */
struct presentity *presentity_find(const struct engine *e, struct str aor);
struct presentity *presentity_get(struct engine *e, struct str aor);
/* Frees it if nothing is known or asked about it any more. */
void presentity_release(struct presentity *p);
/* What is known has changed: tells routerd and all watchers. */
void presentity_changed(struct presentity *p);
/* Tells routerd what SIP devices publish, if it knows something else. */
void presentity_tell_routerd(struct presentity *p);
/* Where routerd's link is new: tells it all, and that this is all. Waits for the activation,
 * without which what a SIP device has published would count as gone. */
void presentity_tell_all(struct engine *e);

/* ---- composition.c ---- */

/* The document that watchers get; a view into the presentity. */
struct str composition_document(struct presentity *p);
/* Is any tuple of it open? */
bool composition_is_open(const struct presentity *p);
/* What its publications say to XMPP; strings live as long as the publications. */
void composition_availability(const struct presentity *p, Muster__Availability *ret_availability);

/* ---- device.c ---- */

void device_drop_all(struct presentity *p);

/* ---- publication.c ---- */

/* From a record; takes it over. */
struct publication *publication_add(struct engine *e, Muster__PublicationRecord *record);
/* May this presentity have one more? */
bool publication_has_room(const struct engine *e, struct str aor);
/* Its live form only; the record stays. */
void publication_drop(struct publication *p);
/* The record too. */
void publication_remove(struct publication *p);

/* ---- subscription.c ---- */

/* Is it the record of that key? */
bool subscription_has_key(const Muster__SubscriptionRecord *record, struct str key);
/* May this presentity have one more? */
bool subscription_has_room(const struct engine *e, struct str aor);
struct subscription *subscription_add(struct engine *e, Muster__SubscriptionRecord *record);
void subscription_drop(struct subscription *s);
/* Drops it and deletes its record. */
void subscription_remove(struct subscription *s);
/* Writes the record; false when the replica is full: then it may be lost with this node. */
bool subscription_save(struct subscription *s);
/* Ends it with a last NOTIFY that gives the reason (RFC 6665, 4.1.3). */
void subscription_end(struct subscription *s, const char *reason);

/* ---- notify.c ---- */

/* Its watcher must get the newest state, as soon as nothing forbids it. */
void notify_soon(struct subscription *s);
/* For one that was taken over: the same at a measured pace, after notify_paced_begin(). */
void notify_paced(struct subscription *s);
void notify_paced_begin(struct engine *e);
/* Takes it out of that queue. */
void notify_forget(struct subscription *s);
/* CSeq numbers up to `used` may have been used by others; takes the next block. */
void notify_reserve(struct subscription *s, uint32_t used);
/* Its NOTIFY has an answer, or will get none. */
void notify_landed(struct subscription *s);
void notify_all(struct engine *e);
void notify_pace(void *engine);

/* ---- moves.c ---- */

/* From now on doubts about devices end within HOLD_MS. */
void moves_doubt(struct engine *e);
/* View versions that were not yet called done never will be. */
void moves_forget(struct engine *e);
/* The timers'. */
void moves_doubt_ends(void *engine);
void moves_rescan(void *engine);

/* ---- engine.c ---- */

bool engine_serves(const struct engine *e, struct str aor);
/* When a moment of the wall clock comes; at once if it has passed. */
mono_t engine_mono_of(const struct engine *e, uint64_t unix_ms);
/* Answers one of the two when what was put so far is in both memories, unless the link to proxyd
 * broke; then lets the NOTIFYs of the subscription (empty: none) go. */
void engine_owe(struct engine *e, uint64_t request, const Muster__PublishReply *publish,
                const Muster__SubscribeReply *subscribe, struct str subscription_key);
