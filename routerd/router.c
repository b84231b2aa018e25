// SPDX-License-Identifier: Apache-2.0
#include "routerd/router.h"

#include <assert.h>

#include "common/jid.h"
#include "routerd/account.h"
#include "routerd/delivery.h"
#include "routerd/devices.h"
#include "routerd/forward.h"
#include "routerd/known.h"
#include "routerd/later.h"
#include "routerd/moves.h"
#include "routerd/offline.h"
#include "routerd/presence.h"
#include "routerd/roster.h"
#include "routerd/route.h"
#include "routerd/session.h"
#include "routerd/sip_presence.h"
#include "routerd/sm.h"
#include "routerd/stream.h"

enum { PORT_DEFAULT = 5222 };

/* ---- life ---- */

struct router *router_new(const struct router_config *config)
{
    struct router *r = mem_new(sizeof(*r));

    r->ops = config->ops;
    r->ctx = config->ctx;
    r->domain = str_of(mem_strdup(config->domain));
    r->port = config->port ? config->port : PORT_DEFAULT;
    r->directory = config->directory;
    r->params = config->params;
    r->metrics = config->metrics;
    known_init(r);
    sip_presence_init(r);
    release_init(r);
    return r;
}

void router_set_replica(struct router *r, struct replica *replica)
{
    r->replica = replica;
}

/* Streams and sessions first: what waits for the database then finds nobody to answer. */
void router_free(struct router *r)
{
    struct session *s, *next_session;
    struct stream *st, *next_stream;
    struct account *a, *next_account;

    if (!r)
        return;
    for (st = r->streams; st; st = next_stream) {
        next_stream = st->hh.next;
        stream_free(st);
    }
    for (s = r->sessions; s; s = next_session) {
        next_session = s->hh.next;
        session_free(s);
    }
    delivery_free(r);
    forward_free(r);
    later_free(r);
    for (a = r->accounts; a; a = next_account) {
        next_account = a->hh.next;
        account_free(a);
    }
    known_free(r);
    timers_done(&r->timers);
    mem_free((void *)r->domain.p);
    mem_free(r);
}

/* ---- who serves whom ---- */

bool router_serves(const struct router *r, struct str aor)
{
    const struct user *user = directory_find(r->directory, aor);

    return user && user->home <= VIEW_NODES_MAX && r->serving[user->home] && r->leased;
}

bool router_has_no(const struct router *r, struct str aor)
{
    return directory_count(r->directory) > 0 && !directory_find(r->directory, aor);
}

uint32_t router_serving(const struct router *r, struct str aor)
{
    const struct user *user = directory_find(r->directory, aor);
    uint32_t node = user ? view_serving(&r->view, user->home) : 0;

    return node == r->view.self && !router_serves(r, aor) ? 0 : node;
}

bool router_is_mine(void *ctx, struct str user)
{
    const struct router *r = ctx;
    const struct user *u = directory_find(r->directory, user);

    return u && r->view.version && view_serving(&r->view, u->home) == r->view.self;
}

bool router_is_peers(void *ctx, struct str user)
{
    const struct router *r = ctx;
    const struct user *u = directory_find(r->directory, user);

    return u && view_is_peers(&r->view, u->home);
}

/* ---- events ---- */

static void begin(struct router *r, const struct router_now *now)
{
    assert(r->replica);
    r->now = *now;
}

static void end(struct router *r)
{
    account_trim(r);
}

void router_on_stream_open(struct router *r, uint64_t stream, const struct router_stream_open *open,
                           const struct router_now *now)
{
    begin(r, now);
    stream_on_open(r, stream, open);
    end(r);
}

void router_on_stanza(struct router *r, uint64_t stream, struct arena *arena,
                      struct xml_node *stanza, const struct router_now *now)
{
    begin(r, now);
    stream_on_stanza(r, stream, arena, stanza);
    end(r);
}

void router_on_stream_error(struct router *r, uint64_t stream, int error,
                            const struct router_now *now)
{
    begin(r, now);
    stream_on_error(r, stream, error);
    end(r);
}

void router_on_stream_end(struct router *r, uint64_t stream, const struct router_now *now)
{
    begin(r, now);
    stream_on_end(r, stream);
    end(r);
}

void router_on_stream_closed(struct router *r, uint64_t stream, const struct router_now *now)
{
    begin(r, now);
    stream_on_closed(r, stream);
    end(r);
}

void router_on_proxyd(struct router *r, const Muster__Envelope *e, const struct router_now *now)
{
    begin(r, now);
    if (e->body_case == MUSTER__ENVELOPE__BODY_IM)
        im_submit(r, e->im, (struct origin){.kind = IM_OF_PROXYD, .number = e->id});
    else if (e->body_case == MUSTER__ENVELOPE__BODY_IM_REPLY)
        delivery_on_reply(r, e->id, e->im_reply);
    else if (e->body_case == MUSTER__ENVELOPE__BODY_REGISTRATION)
        devices_on_registration(r, e->registration);
    end(r);
}

void router_on_presenced(struct router *r, const Muster__Envelope *e, const struct router_now *now)
{
    begin(r, now);
    if (e->body_case == MUSTER__ENVELOPE__BODY_AVAILABILITY)
        presence_on_availability(r, e->availability);
    else if (e->body_case == MUSTER__ENVELOPE__BODY_PRESENCE_SYNC)
        presence_on_sync(r);
    end(r);
}

void router_on_node(struct router *r, uint32_t node, const Muster__Envelope *e,
                    const struct router_now *now)
{
    begin(r, now);
    if (e->body_case == MUSTER__ENVELOPE__BODY_IM)
        im_submit(r, e->im, (struct origin){.kind = IM_OF_NODE, .number = e->id, .node = node});
    else if (e->body_case == MUSTER__ENVELOPE__BODY_IM_REPLY)
        forward_on_reply(r, node, e->id, e->im_reply);
    else if (e->body_case == MUSTER__ENVELOPE__BODY_STANZA)
        route_on_node(r, e->stanza);
    end(r);
}

void router_on_proxyd_link(struct router *r, bool up, const struct router_now *now)
{
    begin(r, now);
    devices_on_link(r, up);
    delivery_on_proxyd_link(r, up);
    end(r);
}

void router_on_presenced_link(struct router *r, bool up, const struct router_now *now)
{
    begin(r, now);
    presence_on_link(r, up);
    end(r);
}

void router_on_node_link(struct router *r, uint32_t node, bool up, const struct router_now *now)
{
    begin(r, now);
    if (up)
        forward_retry(r, node);
    presence_on_node_link(r, node, up);
    end(r);
}

void router_on_roster(struct router *r, uint64_t request, int status,
                      const struct router_roster_item *items, size_t count,
                      const struct router_now *now)
{
    begin(r, now);
    roster_on_loaded(r, request, status, items, count);
    end(r);
}

void router_on_stored(struct router *r, uint64_t request, int status, const struct router_now *now)
{
    begin(r, now);
    later_on_stored(r, request, status);
    end(r);
}

void router_on_offline(struct router *r, uint64_t request, int status,
                       const struct router_offline *messages, size_t count,
                       const struct router_now *now)
{
    begin(r, now);
    offline_on_listed(r, request, status, messages, count);
    end(r);
}

/* ---- moves ---- */

/* What was under way to users who moved finds its new way. */
static void follow_moves(struct router *r)
{
    activate(r);
    delivery_release(r);
    forward_retry(r, 0);
    negotiate_held(r);
}

void router_on_view(struct router *r, const struct view *view, const struct router_now *now)
{
    begin(r, now);
    release_taken(r, view);
    r->view = *view;
    r->view_waits = true;
    follow_moves(r);
    release_finish(r);
    end(r);
}

void router_on_serving(struct router *r, bool serving, const struct router_now *now)
{
    begin(r, now);
    if (r->leased && !serving)
        release_all(r);
    r->leased = serving;
    follow_moves(r);
    end(r);
}

void router_on_restored(void *ctx)
{
    struct router *r = ctx;

    r->restored = true;
    follow_moves(r);
    release_finish(r);
}

/* Those who were deleted, or have a home now that we don't serve, log in again or not at all. */
static void end_others(struct router *r, struct account *a)
{
    struct str aor = str_of(a->aor);

    if (router_serves(r, aor))
        return;
    while (a->sessions) {
        struct session *s = a->sessions;
        struct stream *st = s->stream;

        s->stream = NULL;
        if (st) {
            st->session = NULL;
            if (router_serving(r, aor))
                stream_see_other(st, router_serving(r, aor));
            else
                stream_fail(st, "not-authorized", "there is no such user any more");
        }
        session_end(s);
    }
}

void router_on_users(struct router *r, const char *aor, const struct router_now *now)
{
    struct account *a, *next;

    begin(r, now);
    if (aor) {
        a = account_find(r, str_of(aor));
        if (a)
            end_others(r, a);
    } else {
        for (a = r->accounts; a; a = next) {
            next = a->hh.next;
            end_others(r, a);
        }
    }
    follow_moves(r); /* nobody is served before the first user is known */
    end(r);
}

uint64_t router_view_done(const struct router *r)
{
    return r->view_done;
}

/* ---- time ---- */

void router_tick(struct router *r, const struct router_now *now)
{
    begin(r, now);
    timers_run(&r->timers, now->mono);
    end(r);
}

mono_t router_deadline(const struct router *r)
{
    return timers_deadline(&r->timers);
}

static void check_session(const struct router *r, const struct session *s)
{
    assert(s->stream ? s->stream->session == s && s->stream->state == STREAM_BOUND
                     : s->sm.resumable || s->doomed);
    assert(s->stream ? true : timer_is_set(&s->timer));
    assert(router_serves(r, str_of(s->account->aor)) ||
           !directory_find(r->directory, str_of(s->account->aor)));
    assert(!s->available || s->presence);
    sm_check(s);
}

void router_check(const struct router *r)
{
    timers_check(&r->timers);
    delivery_check(r);
    for (const struct session *s = r->sessions; s; s = s->hh.next)
        check_session(r, s);
    for (const struct stream *st = r->streams; st; st = st->hh.next)
        assert((st->state == STREAM_BOUND) == (st->session != NULL));
}
