// SPDX-License-Identifier: Apache-2.0
#include "routerd/account.h"
#include "routerd/delivery.h"
#include "routerd/known.h"
#include "routerd/later.h"
#include "routerd/moves.h"
#include "routerd/session.h"
#include "routerd/stream.h"

enum {
    SYNC_WAIT_MS = 8000, /* less than what recoveryd gives a daemon to let go */
    SYNC_POLL_MS = 50,
};

/* The node that will serve a home, or at least knows more than we do. */
static uint32_t successor(const struct router *r, const struct view *next, uint32_t home)
{
    uint32_t node = view_serving(next, home);

    return node ? node : view_peer(&r->view);
}

static uint32_t home_of(const struct router *r, const char *aor)
{
    const struct user *user = aor ? directory_find(r->directory, str_of(aor)) : NULL;

    return user && user->home <= VIEW_NODES_MAX ? user->home : 0;
}

/* Clients are sent away while their users are still ours, so that what that does to their sessions
 * is recorded. */
static void send_away(struct router *r, const bool *homes, const struct view *next)
{
    struct stream *st, *following;

    for (st = r->streams; st; st = following) {
        following = st->hh.next;
        uint32_t home = home_of(r, st->aor);

        if (next && home && homes[home] && st->session)
            stream_see_other(st, successor(r, next, home));
        else if (!next)
            stream_fail(st, "system-shutdown", NULL);
    }
}

/* Sessions that the closing of their streams left, and all else that is known of these users. */
static void drop_accounts(struct router *r, const bool *homes)
{
    struct account *a, *next;

    for (a = r->accounts; a; a = next) {
        next = a->hh.next;
        uint32_t home = home_of(r, a->aor);

        if (home && !homes[home])
            continue;
        while (a->sessions)
            session_free(a->sessions);
        account_free(a);
    }
}

static void release(struct router *r, const bool *homes, const struct view *next)
{
    send_away(r, homes, next);
    for (uint32_t home = 1; home <= VIEW_NODES_MAX; home++)
        r->serving[home] &= !homes[home];
    drop_accounts(r, homes);
    known_release(r);
}

void release_taken(struct router *r, const struct view *next)
{
    bool homes[VIEW_NODES_MAX + 1] = {false};
    bool any = false;

    for (uint32_t home = 1; home <= VIEW_NODES_MAX; home++) {
        homes[home] = r->serving[home] && view_serving(next, home) != next->self;
        any |= homes[home];
    }
    if (!any)
        return;
    r->view_took = true;
    r->view_give_up = mono_after(r->now.mono, SYNC_WAIT_MS);
    release(r, homes, next);
}

/* What was let go must be with the peer, who serves it next. A commit does not promise that when
 * the peer is out of sync, so we wait until it is again; but not for ever, as it may be gone. */
static bool is_handed_over(struct router *r)
{
    return !r->view_took || mono_reached(r->now.mono, r->view_give_up) ||
           replica_state(r->replica) == MUSTER__REPLICA_STATE__REPLICA_IN_SYNC;
}

static void on_view_done(struct router *r, const struct later_args *args)
{
    if (args->of[0] != r->view.version || !r->view_waits)
        return;
    if (!is_handed_over(r)) {
        timer_set(&r->timers, &r->view_timer, mono_after(r->now.mono, SYNC_POLL_MS));
        return;
    }
    r->view_waits = r->view_took = false;
    r->view_done = r->view.version;
}

static void on_view_time(void *owner)
{
    release_finish(owner);
}

void release_init(struct router *r)
{
    timer_init(&r->view_timer, on_view_time, r);
}

void release_finish(struct router *r)
{
    if (!r->restored || !r->view_waits || delivery_is_letting_go(r))
        return;
    known_release(r); /* what came late */
    later_commit(r, on_view_done, (struct later_args){{r->view.version}});
}

void release_all(struct router *r)
{
    bool homes[VIEW_NODES_MAX + 1];

    for (uint32_t home = 0; home <= VIEW_NODES_MAX; home++)
        homes[home] = true;
    release(r, homes, NULL);
}
