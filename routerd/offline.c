// SPDX-License-Identifier: Apache-2.0
#include "routerd/offline.h"

#include "common/db.h"
#include "routerd/account.h"
#include "routerd/delivery.h"
#include "routerd/later.h"
#include "routerd/records.h"
#include "routerd/session.h"

enum { LISTS_AT_ONCE = 16, RETRY_MS = 1000 };

static bool is_reachable(const struct account *a)
{
    for (const struct session *s = a->sessions; s; s = s->next)
        if (session_is_reachable(s))
            return true;
    return a->bindings > 0;
}

static void list_next(struct router *r)
{
    while (r->offline_first && r->offline_listing < LISTS_AT_ONCE) {
        struct account *a = r->offline_first;

        offline_forget(a);
        a->offline_request = later_text(r, str_of(a->aor));
        r->offline_listing++;
        r->ops->offline_list(r->ctx, a->offline_request, str_of(a->aor));
    }
}

static void enqueue(struct account *a)
{
    struct router *r = a->router;

    a->offline_queued = true;
    a->offline_next = NULL;
    if (r->offline_last)
        r->offline_last->offline_next = a;
    else
        r->offline_first = a;
    r->offline_last = a;
}

void offline_kick(struct router *r, struct str aor)
{
    struct account *a = account_find(r, aor);

    if (!a || !is_reachable(a) || a->offline_queued || !router_serves(r, aor))
        return;
    if (a->offline_request || a->offline_under_way) {
        a->offline_again = true;
        return;
    }
    enqueue(a);
    list_next(r);
}

static void on_retry(void *owner)
{
    struct account *a = owner;

    offline_kick(a->router, str_of(a->aor));
}

/* The list is done with. */
static void end_list(struct account *a)
{
    if (!a->offline_again)
        return;
    a->offline_again = false;
    offline_kick(a->router, str_of(a->aor));
}

void offline_on_listed(struct router *r, uint64_t request, int status,
                       const struct router_offline *messages, size_t count)
{
    char *aor = later_take_text(r, request);
    struct account *a = aor ? account_find(r, str_of(aor)) : NULL;

    if (aor)
        r->offline_listing--;
    if (a && a->offline_request == request) {
        a->offline_request = 0;
        if (status != DB_OK)
            timer_set(&r->timers, &a->offline_timer, mono_after(r->now.mono, RETRY_MS));
        a->offline_under_way++; /* this loop */
        for (size_t i = 0; status == DB_OK && i < count; i++) {
            if (record_has_stored(r, str_of(aor), messages[i].id))
                continue; /* its deletion is under way */
            a->offline_under_way++;
            delivery_start_stored(r, messages[i].im, messages[i].id);
        }
        if (--a->offline_under_way == 0)
            end_list(a);
    }
    mem_free(aor);
    list_next(r);
}

/* ---- deleting ---- */

static void on_deleted(struct router *r, int status, struct str text, void *data)
{
    uint64_t id = *(uint64_t *)data;

    if (status == DB_OK && router_serves(r, text))
        record_delete_stored(r, text, id);
    else if (status != DB_E_REFUSED && router_serves(r, text))
        offline_delete(r, text, id); /* the database layer has waited already */
    mem_free(data);
}

void offline_delete(struct router *r, struct str aor, uint64_t id)
{
    uint64_t *copy = mem_dup(&id, sizeof(id));

    r->ops->offline_delete(
        r->ctx, later_stored(r, &(struct later_request){on_deleted, mem_free, copy, aor}), id);
}

void offline_delivered(struct router *r, struct str aor, uint64_t id, bool accepted)
{
    struct account *a = account_find(r, aor);

    if (accepted)
        offline_delete(r, aor, id);
    if (a && accepted)
        a->offline_again = true; /* a list need not be all there is */
    if (a && a->offline_under_way && --a->offline_under_way == 0)
        end_list(a);
}

/* ---- the account ---- */

bool offline_is_busy(const struct account *a)
{
    return a->offline_request || a->offline_queued || a->offline_under_way;
}

void offline_init(struct account *a)
{
    timer_init(&a->offline_timer, on_retry, a);
}

void offline_forget(struct account *a)
{
    struct router *r = a->router;
    struct account *before = NULL;

    timer_clear(&r->timers, &a->offline_timer);
    if (!a->offline_queued)
        return;
    for (struct account *at = r->offline_first; at != a; at = at->offline_next)
        before = at;
    if (before)
        before->offline_next = a->offline_next;
    else
        r->offline_first = a->offline_next;
    if (r->offline_last == a)
        r->offline_last = before;
    a->offline_queued = false;
    a->offline_next = NULL;
}
