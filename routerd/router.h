// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * The XMPP router: streams, sessions, rosters, presence, messages. The core of routerd: one thread,
 * deterministic. The shell (main.c, stream_io.c, fabric.c, store.c) tells it what happened by the
 * functions below and carries out struct router_ops; no op calls back from within.
 *
 * A *stream* is a client's connection, named by a number that the shell drew and never uses again.
 * The shell does bytes: TLS, XML parsing, the closing of sockets. The core does what they mean:
 * features, SASL, bind, XEP-0198, stanzas. A *session* is a bound resource; it outlives its stream
 * when it can be resumed, and it lives in the replica, so that the peer can resume it too.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <envelope.pb-c.h>

#include "common/directory.h"
#include "common/metrics.h"
#include "common/mono.h"
#include "common/params.h"
#include "common/replica.h"
#include "common/str.h"
#include "common/view.h"
#include "common/xml.h"

struct router;

/* A contact, as in the table `rosters`. All strings are borrowed for the call. */
struct router_roster_item {
    struct str contact; /* bare JID, prepared */
    struct str name;
    struct str subscription; /* "none", "to", "from", "both" */
    bool ask, pending_in, approved;
    const struct str *groups;
    size_t group_count;
};

/* What the core wants done. `request` comes back with the answer (router_on_...). */
struct router_ops {
    /* ---- streams ---- */
    void (*write)(void *ctx, uint64_t stream, struct str bytes);
    void (*starttls)(void *ctx, uint64_t stream); /* after what was written */
    void (*restart)(void *ctx, uint64_t stream);  /* the next byte begins a new document */
    void (*limit)(void *ctx, uint64_t stream, size_t stanza_bytes_max);
    void (*close)(void *ctx, uint64_t stream); /* send what was written, then close; still ends in
                                                  router_on_stream_closed() */
    /* ---- other processes; false: no link now, nothing was sent ---- */
    bool (*to_proxyd)(void *ctx, const Muster__Envelope *envelope);
    bool (*to_presenced)(void *ctx, const Muster__Envelope *envelope);
    bool (*to_node)(void *ctx, uint32_t node, const Muster__Envelope *envelope);
    /* ---- database; each ends in router_on_stored() or router_on_roster/offline() ---- */
    void (*roster_load)(void *ctx, uint64_t request, struct str aor);
    void (*roster_put)(void *ctx, uint64_t request, struct str aor,
                       const struct router_roster_item *item);
    void (*roster_delete)(void *ctx, uint64_t request, struct str aor, struct str contact);
    /* Stores unless the user has offline_messages_max already (DB_E_REFUSED) or has it (DB_OK). */
    void (*offline_put)(void *ctx, uint64_t request, struct str aor, const Muster__Im *im);
    void (*offline_list)(void *ctx, uint64_t request, struct str aor);
    void (*offline_delete)(void *ctx, uint64_t request, uint64_t id);
    /* ---- randomness from the shell ---- */
    void (*random)(void *ctx, void *ret_bytes, size_t len);
};

struct router_config {
    const struct router_ops *ops;
    void *ctx;
    const char *domain;
    uint16_t port; /* of our XMPP listeners, for see-other-host; 0: 5222 */
    const struct directory *directory;
    const struct params *params; /* values may change under it */
    struct metrics *metrics;
};

/* A moment: both clocks, read once by the shell. */
struct router_now {
    mono_t mono;
    uint64_t unix_ms;
};

struct router *router_new(const struct router_config *config);
void router_free(struct router *r);
/* The replica is made after the router, whose functions it calls; given once, before any event. */
void router_set_replica(struct router *r, struct replica *replica);
/* For replica_config: ctx is the router. */
bool router_is_mine(void *ctx, struct str user);
bool router_is_peers(void *ctx, struct str user);
void router_on_restored(void *ctx);

/* ---- streams ---- */

struct router_stream_open {
    const struct xml_node *root; /* <stream:stream>, attributes to, from, version, xml:lang */
    bool tls;
    bool has_exporter;
    uint8_t exporter[32]; /* tls-exporter channel binding, RFC 9266 */
    const char *peer;     /* "address:port" for logs and limits */
};

/* Comes again after starttls and restart. */
void router_on_stream_open(struct router *r, uint64_t stream, const struct router_stream_open *open,
                           const struct router_now *now);
/* A child of the root. The tree and its arena are the shell's and die after the call. */
void router_on_stanza(struct router *r, uint64_t stream, struct arena *arena,
                      struct xml_node *stanza, const struct router_now *now);
/* The parser gave up: XML_E_...; the core answers with a stream error and closes. */
void router_on_stream_error(struct router *r, uint64_t stream, int error,
                            const struct router_now *now);
/* The client sent </stream:stream>. */
void router_on_stream_end(struct router *r, uint64_t stream, const struct router_now *now);
/* The connection is gone, whoever closed it. The last event of a stream. */
void router_on_stream_closed(struct router *r, uint64_t stream, const struct router_now *now);

/* ---- other processes ---- */

/* Im, ImReply, Registration from proxyd; Availability, PresenceSync from presenced; Im, ImReply,
 * Stanza from a node. */
void router_on_proxyd(struct router *r, const Muster__Envelope *e, const struct router_now *now);
void router_on_presenced(struct router *r, const Muster__Envelope *e, const struct router_now *now);
void router_on_node(struct router *r, uint32_t node, const Muster__Envelope *e,
                    const struct router_now *now);
/* A link came up (say all that the other side must know) or broke (requests are sent again later).
 */
void router_on_proxyd_link(struct router *r, bool up, const struct router_now *now);
void router_on_presenced_link(struct router *r, bool up, const struct router_now *now);
void router_on_node_link(struct router *r, uint32_t node, bool up, const struct router_now *now);

/* ---- database; status: DB_OK or DB_E_... of common/db.h ---- */

void router_on_roster(struct router *r, uint64_t request, int status,
                      const struct router_roster_item *items, size_t count,
                      const struct router_now *now);
void router_on_stored(struct router *r, uint64_t request, int status, const struct router_now *now);

struct router_offline {
    uint64_t id;
    const Muster__Im *im;
};
void router_on_offline(struct router *r, uint64_t request, int status,
                       const struct router_offline *messages, size_t count,
                       const struct router_now *now);

/* ---- the directory, the view, time ---- */

/* It changed (common/users.h): aor, or NULL when any may have. Nobody is served before the first.
 */
void router_on_users(struct router *r, const char *aor, const struct router_now *now);

/* A new version of the view; before replica_view(), so that what is said when users are let go
 * still counts as theirs. */
void router_on_view(struct router *r, const struct view *view, const struct router_now *now);
/* The lease ran out, or was renewed after that. Without it the core serves nobody, whatever the
 * view says; it waits for the first true. */
void router_on_serving(struct router *r, bool serving, const struct router_now *now);
/* Newest version of the view whose effects are complete, for daemon_view_done(). */
uint64_t router_view_done(const struct router *r);
void router_tick(struct router *r, const struct router_now *now);
mono_t router_deadline(const struct router *r);
void router_check(const struct router *r);
