// SPDX-License-Identifier: Apache-2.0
#include "routerd/account.h"

#include <assert.h>
#include <string.h>

#include <utlist.h>

#include "routerd/offline.h"
#include "routerd/roster.h"

enum { IDLE_MAX = 4096 };

struct account *account_find(struct router *r, struct str aor)
{
    struct account *a;

    HASH_FIND(hh, r->accounts, aor.p, aor.len, a);
    return a;
}

static void leave_idle(struct account *a)
{
    if (!a->idle)
        return;
    DL_DELETE2(a->router->idle_first, a, idle_prev, idle_next);
    a->router->idle_count--;
    a->idle = false;
}

void account_touch(struct account *a)
{
    leave_idle(a);
    DL_APPEND2(a->router->idle_first, a, idle_prev, idle_next);
    a->router->idle_count++;
    a->idle = true;
}

struct account *account_get(struct router *r, struct str aor)
{
    struct account *a = account_find(r, aor);

    if (!a) {
        a = mem_new(sizeof(*a));
        a->router = r;
        a->aor = str_dup(aor);
        roster_init(a);
        offline_init(a);
        HASH_ADD_KEYPTR(hh, r->accounts, a->aor, aor.len, a);
    }
    account_touch(a);
    return a;
}

static bool is_kept(const struct account *a)
{
    return a->sessions || a->bindings || a->sip.available || a->sip_seen.available ||
           roster_is_busy(a) || offline_is_busy(a);
}

void account_trim(struct router *r)
{
    while (r->idle_count > IDLE_MAX) {
        struct account *a = r->idle_first;

        if (is_kept(a))
            leave_idle(a); /* account_touch() brings it back */
        else
            account_free(a);
    }
}

void account_free(struct account *a)
{
    struct router *r = a->router;

    assert(!a->sessions);
    leave_idle(a);
    offline_forget(a);
    roster_done(a);
    HASH_DELETE(hh, r->accounts, a);
    mem_free(a->sip.show);
    mem_free(a->sip.status);
    mem_free(a->sip_seen.show);
    mem_free(a->sip_seen.status);
    mem_free(a->aor);
    mem_free(a);
}

void availability_set(struct availability *a, bool available, struct str show, struct str status,
                      uint64_t since_unix_ms)
{
    char *new_show = str_dup(show);
    char *new_status = str_dup(status);

    mem_free(a->show);
    mem_free(a->status);
    *a = (struct availability){available, new_show, new_status, since_unix_ms};
}

static bool same_text(const char *a, const char *b)
{
    return str_eq(str_of(a), str_of(b));
}

bool availability_same(const struct availability *a, const struct availability *b)
{
    return a->available == b->available &&
           (!a->available || (same_text(a->show, b->show) && same_text(a->status, b->status)));
}
