// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * The presence engine: publications (RFC 3903), subscriptions (RFC 6665, RFC 3856) and what is told
 * to whom. The core of presenced: one thread, deterministic. The shell tells it what happened and
 * carries out struct engine_ops; no op calls back from within.
 *
 * A *presentity* is a user about whom something is known or asked. What is known: publications, and
 * the devices (XMPP resources) that routerd tells of. Publications and subscriptions are in the
 * replica; the engine holds a live form of those whose presentity we serve. Devices are not:
 * routerd says them again.
 *
 * Nobody flaps: while a presentity's devices may be unknown, after a start or a takeover, nobody is
 * told that it is closed until PresenceSync came or five seconds have passed.
 *
 * Requests carry a number, `request`, by which the shell answers. Answers wait for
 * replica_commit(), and NOTIFYs for the answer.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <presence_record.pb-c.h>

#include "common/directory.h"
#include "common/metrics.h"
#include "common/mono.h"
#include "common/params.h"
#include "common/replica.h"
#include "common/str.h"
#include "common/view.h"

struct engine;

enum {
    ENGINE_TABLE_PUBLICATIONS = 1,
    ENGINE_TABLE_SUBSCRIPTIONS = 2,
    ENGINE_PUBLICATIONS_MAX = 32,    /* of one presentity */
    ENGINE_SUBSCRIPTIONS_MAX = 1000, /* to one presentity */
    ENGINE_WATCHED_MAX = 1000,       /* subscriptions of one watcher */
    ENGINE_DEVICES_MAX = 64,         /* of one user */
};

/* A moment: both clocks, read once by the shell. */
struct engine_now {
    mono_t mono;
    uint64_t unix_ms;
};

struct engine_ops {
    void (*publish_reply)(void *ctx, uint64_t request, const Muster__PublishReply *reply);
    void (*subscribe_reply)(void *ctx, uint64_t request, const Muster__SubscribeReply *reply);
    /* False: there is no link to proxyd, or it is full; asked again when it is up. Else `request`
     * comes back in engine_on_notify_reply(). */
    bool (*notify)(void *ctx, uint64_t request, const Muster__Notify *notify);
    bool (*availability)(void *ctx, const Muster__Availability *availability);
    void (*presence_sync)(void *ctx);
    /* The effects of this version of the view are complete. */
    void (*view_done)(void *ctx, uint64_t version);
    void (*random)(void *ctx, void *ret_bytes, size_t len);
};

struct engine_config {
    const struct engine_ops *ops;
    void *ctx;
    const struct directory *directory;
    const struct params *params; /* values may change under it */
    struct metrics *metrics;
};

struct engine *engine_new(const struct engine_config *config);
void engine_free(struct engine *e);
/* Given once, before any event; made with the two functions below, ctx the engine. */
void engine_set_replica(struct engine *e, struct replica *replica);
bool engine_is_mine(void *ctx, struct str user);
bool engine_is_peers(void *ctx, struct str user);
void engine_on_restored(void *ctx);

/* `pidf`: the document, parsed; NULL when there is none. A document that cannot be parsed the shell
 * refuses itself (400, 415). */
void engine_on_publish(struct engine *e, uint64_t request, const Muster__Publish *publish,
                       const Muster__Pidf *pidf, const struct engine_now *now);
void engine_on_subscribe(struct engine *e, uint64_t request, const Muster__Subscribe *subscribe,
                         const struct engine_now *now);
void engine_on_notify_reply(struct engine *e, uint64_t request, uint32_t code,
                            const struct engine_now *now);
/* Down: answers that were owed are dropped, NOTIFYs in flight are sent again when it is up. */
void engine_on_proxyd_link(struct engine *e, bool up, const struct engine_now *now);

void engine_on_device_status(struct engine *e, const Muster__DeviceStatus *status,
                             const struct engine_now *now);
void engine_on_presence_sync(struct engine *e, const struct engine_now *now);
/* Up: all that SIP devices publish is said, then presence_sync, once the records are here. */
void engine_on_routerd_link(struct engine *e, bool up, const struct engine_now *now);

/* Not before the directory is loaded. */
void engine_on_view(struct engine *e, const struct view *view, const struct engine_now *now);
/* The lease ran out, or holds again. Without it requests get 503 and no deadline is acted on. */
void engine_on_lease(struct engine *e, bool holds, const struct engine_now *now);
/* The directory has changed: one user, or NULL when any may have. What is known and asked about
 * somebody who is no user any more ends. */
void engine_on_users(struct engine *e, const char *aor, const struct engine_now *now);
void engine_tick(struct engine *e, const struct engine_now *now);
mono_t engine_deadline(const struct engine *e);
void engine_check(const struct engine *e);
