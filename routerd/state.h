// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * All that the core holds, for the files of the core alone. Who may change what is said by the
 * header of the module that a part belongs to.
 *
 *     router -- streams: connections of clients (stream.h)
 *        |         |
 *        |      session: a bound resource, with or without a stream (session.h, sm.h)
 *        |         |
 *        +--- accounts: users of whom we know something now; sessions, roster, devices (account.h)
 *        |
 *        +--- deliveries: IMs for users served here, until they are accepted (delivery.h)
 *        +--- forwards: IMs and stanzas for users served elsewhere (forward.h)
 *        +--- known: IMs that were accepted (known.h)
 *        +--- requests and commits that will end (later.h)
 *
 * Objects find each other by numbers where one may be gone when the other wakes up.
 */
#include <stdlib.h>

#include "common/buf.h"
#include "common/mem.h"
#include "common/timer.h"
#include "routerd/router.h"

#define uthash_malloc(size)    mem_new(size)
#define uthash_free(p, size)   mem_free(p)
#define uthash_fatal(sentence) abort()
#include <uthash.h>

struct account;
struct held;
struct sasl;
struct session;

/* ---- streams ---- */

enum stream_state {
    STREAM_OPENING,  /* no header yet */
    STREAM_INSECURE, /* TLS must come first */
    STREAM_UNKNOWN,  /* whose it is must be proved */
    STREAM_PROVED,   /* by SASL; the header of the new stream comes */
    STREAM_UNBOUND,  /* a resource must be bound, or a session resumed */
    STREAM_HELD,     /* that was asked, and waits until the user is served somewhere */
    STREAM_BOUND,
    STREAM_LEAVING, /* the client has ended it, and waits for our end */
    STREAM_CLOSING, /* nothing that it says counts any more */
};

struct stream {
    UT_hash_handle hh; /* by id */
    struct router *router;
    uint64_t id;
    enum stream_state state;
    bool tls, has_exporter, has_header;
    uint8_t exporter[32];
    struct sasl *sasl; /* NULL: no exchange */
    unsigned failures; /* of SASL */
    char *aor;         /* from STREAM_PROVED on */
    struct session *session;
    struct held *held;  /* in STREAM_HELD */
    struct timer timer; /* until it must be bound */
};

/* ---- sessions ---- */

struct directed {
    UT_hash_handle hh; /* by jid */
    char jid[];
};

/* XEP-0198. Counters begin at 0 and never wrap; on the wire are their low 32 bits. */
struct sm {
    char id[33]; /* empty: not enabled */
    bool resumable;
    uint64_t window_ms;
    uint64_t resume_deadline_unix_ms; /* 0: it has a stream */

    uint32_t in_era;    /* grows with each resumption: numbers of before count no more */
    uint64_t in_count;  /* stanzas that came */
    uint64_t in_done;   /* the longest prefix whose work is complete */
    uint64_t in_put;    /* what of it is in the record */
    uint64_t in_safe;   /* what of it is in both memories */
    uint8_t *in_window; /* is stanza in_done + 1 + i complete? */
    size_t in_window_cap;
    uint64_t in_asked;      /* the count when an <r/> came that is not fully answered; 0: none */
    uint64_t in_asked_last; /* the count at the newest <r/> */
    struct timer ack_timer; /* say at least what we have */

    uint64_t out_count; /* stanzas that were numbered */
    uint64_t out_acked;
    struct buf out;            /* numbered, and to be written when both memories have it */
    size_t out_start;          /* what of it is written */
    bool out_asked;            /* <r/> was written and is not answered */
    struct timer answer_timer; /* the client is gone */
};

struct session {
    UT_hash_handle hh;           /* by number */
    UT_hash_handle hh_smid;      /* by sm.id, if enabled */
    struct session *prev, *next; /* of the account */
    struct router *router;
    struct account *account;
    uint64_t number;
    uint32_t incarnation; /* grows each time a stream is attached or detached */
    char *jid;            /* full */
    struct str resource;  /* within jid */
    struct stream *stream;
    bool doomed; /* ends at the next tick */

    bool available; /* and so on: as its last presence said */
    int32_t priority;
    char *show, *status;
    uint64_t since_unix_ms;
    char *presence; /* canonical, without `to` */
    bool interested;
    struct directed *directed;

    struct sm sm;
    size_t ims_pending, ims_pending_bytes; /* IMs of the client that are under way */
    struct timer timer;                    /* resume window, or the end of the doomed */
};

/* ---- accounts ---- */

enum subscription { SUBSCRIPTION_NONE, SUBSCRIPTION_TO, SUBSCRIPTION_FROM, SUBSCRIPTION_BOTH };

struct roster_item {
    UT_hash_handle hh; /* by contact */
    char *contact;
    char *name;
    enum subscription subscription; /* TO | FROM == BOTH */
    bool ask, pending_in, approved;
    char **groups;
    size_t group_count;
};

struct roster_wait;

struct roster {
    uint64_t generation; /* grows each time it is forgotten */
    struct roster_item *items;
    bool loaded;
    uint64_t request; /* load under way; 0: none */
    struct roster_wait *waits;
    size_t wait_count;
    struct timer retry;
};

/* A resource of a SIP user agent's making, as presenced tells it. */
struct availability {
    bool available;
    char *show, *status;
    uint64_t since_unix_ms;
};

struct account {
    UT_hash_handle hh; /* by aor */
    struct account *idle_prev, *idle_next;
    bool idle;
    struct router *router;
    char *aor;
    struct session *sessions;
    size_t session_count;
    struct roster roster;

    uint32_t bindings;            /* of SIP, as proxyd says */
    bool bindings_old;            /* not said again since the link is new */
    struct availability sip;      /* as presenced says */
    bool sip_old;                 /* not said again since the link is new */
    struct availability sip_seen; /* as the contacts saw it */

    uint64_t offline_request; /* list under way; 0: none */
    bool offline_again;       /* something was stored meanwhile */
    bool offline_queued;      /* waits for its turn to be listed */
    size_t offline_under_way; /* messages of the list that are being delivered */
    struct account *offline_next;
    struct timer offline_timer;
};

/* ---- the router ---- */

/* Of the link to a node. */
struct link_age {
    mono_t up_at;
    uint64_t lost_since_unix_ms; /* what was sent since then may not have arrived; 0: it has */
};

struct router {
    const struct router_ops *ops;
    void *ctx;
    struct str domain;
    uint16_t port;
    const struct directory *directory;
    const struct params *params;
    struct metrics *metrics;
    struct replica *replica;

    struct router_now now; /* of the event that is being worked at */
    struct view view;
    bool leased, restored;
    bool serving[VIEW_NODES_MAX + 1]; /* users of that home are activated here */
    uint64_t view_done;
    bool view_waits; /* the view is in force, but not carried out yet */
    bool view_took;  /* users, from us */
    mono_t view_give_up;
    struct timer view_timer;
    struct timers timers;
    bool has_secret;
    uint8_t secret[32]; /* for the salts of nobody */
    bool proxyd_up, presenced_up;
    struct link_age links[VIEW_NODES_MAX + 1];

    uint64_t last_number; /* of sessions, requests, deliveries, forwards */
    struct stream *streams;
    struct session *sessions, *sessions_by_smid;
    struct account *accounts;
    struct account *idle_first, *idle_last;
    size_t idle_count;
    struct request *requests;
    struct commit *commits;
    struct delivery *deliveries, *deliveries_by_key;
    struct forward *forwards;
    struct parcel *parcels;
    struct known *known_first;
    struct known_sender *known_senders;
    struct timer known_timer;
    struct timer sip_timer; /* what contacts saw of SIP before a takeover must be confirmed */
    struct account *offline_first, *offline_last; /* users whose list waits for its turn */
    size_t offline_listing;
};

/* A number for whatever needs one; never 0. */
static inline uint64_t next_number(struct router *r)
{
    return ++r->last_number;
}

/* Do we serve this user: by the view, the lease, and with its records activated? */
bool router_serves(const struct router *r, struct str aor);
/* Is it certain that there is no such user? Not before the directory is loaded: links come up
 * earlier, and what they tell is told once. */
bool router_has_no(const struct router *r, struct str aor);
/* The node that serves it now, maybe ourselves; 0: nobody. */
uint32_t router_serving(const struct router *r, struct str aor);

static inline void count_metric(const struct router *r, enum metric metric, int64_t n)
{
    if (r->metrics)
        metrics_add(r->metrics, metric, n);
}
