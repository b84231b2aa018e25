// SPDX-License-Identifier: Apache-2.0
#include "routerd/devices.h"

#include "routerd/account.h"
#include "routerd/offline.h"

static void drop_old(struct router *r)
{
    for (struct account *a = r->accounts; a; a = a->hh.next) {
        if (!a->bindings_old)
            continue;
        a->bindings = 0;
        a->bindings_old = false;
        account_touch(a);
    }
}

void devices_on_registration(struct router *r, const Muster__Registration *m)
{
    struct str aor = str_of(m->aor);
    struct account *a;
    uint32_t before;

    if (str_empty(aor)) {
        drop_old(r);
        return;
    }
    if (router_has_no(r, aor) || (m->bindings == 0 && !account_find(r, aor)))
        return;
    a = account_get(r, aor);
    before = a->bindings;
    a->bindings = m->bindings;
    a->bindings_old = false;
    if (m->bindings > before)
        offline_kick(r, aor);
}

void devices_on_link(struct router *r, bool up)
{
    r->proxyd_up = up;
    for (struct account *a = r->accounts; up && a; a = a->hh.next)
        a->bindings_old = a->bindings > 0;
}
