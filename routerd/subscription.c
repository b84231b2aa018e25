// SPDX-License-Identifier: Apache-2.0
/*
 * Presence subscriptions (RFC 6121, 3 and appendix A). Each of the four types, seen from the user
 * who sends it (out) and from the one who gets it (in), is a function from the item to a list of
 * effects; the item is stored first, then the effects happen.
 *
 * A request of a local user is approved by the server at once if automatic_authorization says so.
 */
#include <string.h>

#include "common/jid.h"
#include "routerd/account.h"
#include "routerd/client.h"
#include "routerd/im.h"
#include "routerd/ns.h"
#include "routerd/presence.h"
#include "routerd/roster.h"
#include "routerd/session.h"
#include "routerd/sm.h"

enum subscription_type { SUBSCRIBE, SUBSCRIBED, UNSUBSCRIBE, UNSUBSCRIBED, SUBSCRIPTION_TYPES };

static const char *const type_names[] = {
    [SUBSCRIBE] = "subscribe",
    [SUBSCRIBED] = "subscribed",
    [UNSUBSCRIBE] = "unsubscribe",
    [UNSUBSCRIBED] = "unsubscribed",
};

enum effect {
    STORE = 1 << 0,          /* the item changed */
    PUSH = 1 << 1,           /* tell the user's clients the item */
    PASS_ON = 1 << 2,        /* the stanza, to the contact */
    DELIVER = 1 << 3,        /* the stanza, to the user's clients */
    SAY_SUBSCRIBED = 1 << 4, /* to the contact, in the user's name */
    SAY_UNSUBSCRIBED = 1 << 5,
    SHOW = 1 << 6, /* the user's presence, to the contact */
    HIDE = 1 << 7, /* unavailable instead */
};

/* ---- what each type does ---- */

static void take_away(struct roster_item *i, enum subscription part)
{
    i->subscription &= ~(unsigned)part;
}

static void give(struct roster_item *i, enum subscription part)
{
    i->subscription |= part;
}

static unsigned out_subscribe(struct roster_item *i)
{
    if (roster_has(i, SUBSCRIPTION_TO) || i->ask)
        return PASS_ON;
    i->ask = true;
    return STORE | PUSH | PASS_ON;
}

static unsigned out_unsubscribe(struct roster_item *i)
{
    if (!roster_has(i, SUBSCRIPTION_TO) && !i->ask)
        return PASS_ON;
    take_away(i, SUBSCRIPTION_TO);
    i->ask = false;
    return STORE | PUSH | PASS_ON;
}

static unsigned out_subscribed(struct roster_item *i)
{
    if (roster_has(i, SUBSCRIPTION_FROM))
        return 0;
    if (!i->pending_in) { /* pre-approval, 3.4 */
        i->approved = true;
        return STORE | PUSH;
    }
    give(i, SUBSCRIPTION_FROM);
    i->pending_in = false;
    return STORE | PUSH | PASS_ON | SHOW;
}

static unsigned out_unsubscribed(struct roster_item *i)
{
    bool had = roster_has(i, SUBSCRIPTION_FROM);

    if (!had && !i->pending_in && !i->approved)
        return 0;
    take_away(i, SUBSCRIPTION_FROM);
    i->pending_in = i->approved = false;
    return STORE | PUSH | PASS_ON | (had ? HIDE : 0u);
}

static unsigned in_subscribe(struct roster_item *i, bool automatic)
{
    if (roster_has(i, SUBSCRIPTION_FROM))
        return SAY_SUBSCRIBED;
    if (automatic || i->approved) {
        give(i, SUBSCRIPTION_FROM);
        i->pending_in = i->approved = false;
        return STORE | PUSH | SAY_SUBSCRIBED | SHOW;
    }
    if (i->pending_in)
        return 0;
    i->pending_in = true;
    return STORE | DELIVER;
}

static unsigned in_unsubscribe(struct roster_item *i)
{
    bool had = roster_has(i, SUBSCRIPTION_FROM);

    if (!had && !i->pending_in)
        return 0;
    take_away(i, SUBSCRIPTION_FROM);
    i->pending_in = false;
    return STORE | PUSH | DELIVER | SAY_UNSUBSCRIBED | (had ? HIDE : 0u);
}

static unsigned in_subscribed(struct roster_item *i)
{
    if (!i->ask || roster_has(i, SUBSCRIPTION_TO))
        return 0;
    give(i, SUBSCRIPTION_TO);
    i->ask = false;
    return STORE | PUSH | DELIVER;
}

static unsigned in_unsubscribed(struct roster_item *i)
{
    if (!i->ask && !roster_has(i, SUBSCRIPTION_TO))
        return 0;
    take_away(i, SUBSCRIPTION_TO);
    i->ask = false;
    return STORE | PUSH | DELIVER;
}

static unsigned outbound(struct roster_item *i, enum subscription_type type)
{
    switch (type) {
    case SUBSCRIBE:
        return out_subscribe(i);
    case UNSUBSCRIBE:
        return out_unsubscribe(i);
    case SUBSCRIBED:
        return out_subscribed(i);
    case UNSUBSCRIBED:
        return out_unsubscribed(i);
    case SUBSCRIPTION_TYPES:
        break;
    }
    return 0;
}

static unsigned inbound(struct roster_item *i, enum subscription_type type, bool automatic)
{
    switch (type) {
    case SUBSCRIBE:
        return in_subscribe(i, automatic);
    case UNSUBSCRIBE:
        return in_unsubscribe(i);
    case SUBSCRIBED:
        return in_subscribed(i);
    case UNSUBSCRIBED:
        return in_unsubscribed(i);
    case SUBSCRIPTION_TYPES:
        break;
    }
    return 0;
}

/* ---- how it is done ---- */

/* A stanza on its way through the roster of `aor`. */
struct change {
    enum subscription_type type;
    bool out;
    char *aor, *contact; /* bare JIDs: whose roster, and whom it is about */
    char *xml;           /* with bare addresses, as it is passed on or delivered */
    unsigned effects;
    uint64_t session; /* that sent it, with era and number of the stanza; 0: none */
    uint32_t era;
    uint64_t stanza;
};

static void change_free(void *data)
{
    struct change *c = data;

    mem_free(c->aor);
    mem_free(c->contact);
    mem_free(c->xml);
    mem_free(c);
}

/* RFC 6121, 3.1.3: to available resources; answers and the like only to those with a roster. */
static void deliver(struct account *a, const struct change *c)
{
    for (struct session *s = a->sessions; s; s = s->next)
        if (s->available && !s->doomed && (c->type == SUBSCRIBE || s->interested))
            session_send_bytes(s, str_of(c->xml));
}

/* Who asks somebody that does not exist is told no (3.1.3). */
static void pass_on(struct router *r, const struct change *c)
{
    struct routed st = {
        .from = str_of(c->aor),
        .to = str_of(c->contact),
        .name = STR("presence"),
        .type = str_of(type_names[c->type]),
        .id = str_of(""),
        .xml = str_of(c->xml),
    };

    if (!route_stanza(r, &st) && c->type == SUBSCRIBE)
        presence_send(r, st.to, st.from, type_names[UNSUBSCRIBED]);
}

static void carry_out(struct account *a, const struct change *c)
{
    struct str contact = str_of(c->contact);

    if (c->effects & HIDE)
        presence_hide(a, contact);
    if (c->out && c->effects & PUSH) /* before an answer changes the item again */
        roster_push(a, contact);
    if (c->effects & PASS_ON)
        pass_on(a->router, c);
    if (c->effects & DELIVER)
        deliver(a, c);
    if (!c->out && c->effects & PUSH)
        roster_push(a, contact);
    if (c->effects & SAY_SUBSCRIBED)
        presence_say(a, contact, "subscribed");
    if (c->effects & SAY_UNSUBSCRIBED)
        presence_say(a, contact, "unsubscribed");
    if (c->effects & SHOW)
        presence_show(a, contact);
}

static void complete(struct router *r, const struct change *c)
{
    struct session *s = c->session ? session_find(r, c->session) : NULL;

    if (s && s->sm.in_era == c->era)
        sm_complete(s, c->stanza);
}

/* The sender hears what its roster could not take; it is its own roster that failed. */
static void refuse(struct router *r, const struct change *c, enum stanza_error error)
{
    struct session *s = c->session ? session_find(r, c->session) : NULL;
    struct stanza_names names = {STR("presence"), str_of(""), str_of(c->contact), str_of("")};
    struct arena arena;

    if (!s || s->sm.in_era != c->era)
        return;
    names.to = str_of(s->jid);
    arena_init(&arena, STANZA_BYTES_MAX);
    session_send(s, stanza_error_of(&arena, &names, error));
    arena_done(&arena);
    sm_complete(s, c->stanza);
}

static void on_stored(struct router *r, bool ok, void *data)
{
    struct change *c = data;
    struct account *a = account_find(r, str_of(c->aor));

    if (!ok) {
        refuse(r, c, STANZA_INTERNAL_SERVER_ERROR);
    } else {
        if (a && router_serves(r, str_of(c->aor)))
            carry_out(a, c);
        complete(r, c);
    }
    change_free(c);
}

static bool is_automatic(const struct router *r, const struct change *c)
{
    return r->params->presenced_automatic_authorization &&
           directory_find(r->directory, str_of(c->contact));
}

static void on_roster(struct account *a, bool loaded, void *data)
{
    struct change *c = data;
    struct router *r = a->router;
    struct roster_item *item = NULL;
    struct roster_item none = {0};
    bool makes = c->out ? c->type == SUBSCRIBE || c->type == SUBSCRIBED : c->type == SUBSCRIBE;

    if (loaded)
        item = makes ? roster_get(a, str_of(c->contact)) : roster_find(a, str_of(c->contact));
    if (!item && (!loaded || makes)) {
        refuse(r, c, loaded ? STANZA_NOT_ALLOWED : STANZA_INTERNAL_SERVER_ERROR);
        change_free(c);
        return;
    }
    if (!item)
        item = &none; /* nothing will be true of it, so nothing changes */
    c->effects = c->out ? outbound(item, c->type) : inbound(item, c->type, is_automatic(r, c));
    if (c->effects & STORE) {
        roster_store(a, item, &(struct roster_change){on_stored, change_free, c});
        return;
    }
    carry_out(a, c);
    complete(r, c);
    change_free(c);
}

static enum subscription_type type_of(struct str text)
{
    for (size_t i = 0; i < SUBSCRIPTION_TYPES; i++)
        if (str_eq_c(text, type_names[i]))
            return (enum subscription_type)i;
    return SUBSCRIPTION_TYPES;
}

void subscription_in(struct account *a, const struct routed *st)
{
    enum subscription_type type = type_of(st->type);
    struct change *c;

    if (type == SUBSCRIPTION_TYPES)
        return;
    c = mem_new(sizeof(*c));
    c->type = type;
    c->aor = str_dup(str_of(a->aor));
    c->contact = str_dup(jid_bare(st->from));
    c->xml = str_dup(st->xml);
    roster_with(a, on_roster, c);
}

void subscription_client(struct inbound *in)
{
    struct session *s = in->session;
    struct buf xml;
    struct change *c;

    if (!in->has_to || str_empty(in->to.local) || str_eq_c(in->to.bare, s->account->aor)) {
        client_refuse(in, STANZA_BAD_REQUEST);
        return;
    }
    xml_set(in->arena, in->node, STR("from"), str_of(s->account->aor)); /* 3.1.2: bare JIDs */
    xml_set(in->arena, in->node, STR("to"), in->to.bare);
    buf_init(&xml, STANZA_BYTES_MAX);
    stanza_print(&xml, in->node);
    c = mem_new(sizeof(*c));
    c->type = type_of(in->type);
    c->out = true;
    c->aor = str_dup(str_of(s->account->aor));
    c->contact = str_dup(in->to.bare);
    c->xml = buf_take(&xml);
    c->session = s->number;
    c->era = s->sm.in_era;
    c->stanza = in->number;
    roster_with(s->account, on_roster, c);
}
