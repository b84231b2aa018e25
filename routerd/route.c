// SPDX-License-Identifier: Apache-2.0
#include "routerd/route.h"

#include <string.h>

#include "common/jid.h"
#include "routerd/forward.h"
#include "routerd/iq.h"
#include "routerd/presence.h"

bool route_stanza(struct router *r, const struct routed *st)
{
    struct str aor = jid_bare(st->to);
    const struct user *user = directory_find(r->directory, aor);

    if (!user || user->home == 0)
        return false;
    if (!router_serves(r, aor))
        return forward_stanza(r, st);
    route_in(r, st);
    return true;
}

void route_in(struct router *r, const struct routed *st)
{
    if (str_eq_c(st->name, "presence"))
        presence_in(r, st);
    else
        iq_in(r, st);
}

void route_on_node(struct router *r, const Muster__Stanza *m)
{
    struct routed st = {
        .from = str_of(m->from),
        .to = str_of(m->to),
        .name = str_of(m->name),
        .type = str_of(m->type),
        .id = str_of(m->id),
        .xml = str_of_bytes(m->xml.data, m->xml.len),
    };

    if (router_serves(r, jid_bare(st.to)))
        route_in(r, &st);
    else if (str_eq_c(st.name, "presence"))
        forward_stanza(r, &st); /* the user has just moved on, or is not here yet */
}
