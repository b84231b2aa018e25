// SPDX-License-Identifier: Apache-2.0
#include "routerd/roster.h"

#include <assert.h>
#include <string.h>

#include <utlist.h>

#include "common/arena.h"
#include "common/util.h"
#include "common/xml.h"
#include "routerd/account.h"
#include "routerd/later.h"
#include "routerd/ns.h"
#include "routerd/session.h"
#include "routerd/stanza.h"

enum { WAITS_MAX = 1000, RETRY_MS = 1000, GIVE_UP_MS = 30000, DATABASE_OK = 0 };

static const char *const subscriptions[] = {
    [SUBSCRIPTION_NONE] = "none",
    [SUBSCRIPTION_TO] = "to",
    [SUBSCRIPTION_FROM] = "from",
    [SUBSCRIPTION_BOTH] = "both",
};

struct roster_wait {
    struct roster_wait *prev, *next;
    roster_cb *then;
    void *data;
    mono_t until;
};

/* ---- items ---- */

static void clear_groups(struct roster_item *item)
{
    for (size_t i = 0; i < item->group_count; i++)
        mem_free(item->groups[i]);
    mem_free(item->groups);
    item->groups = NULL;
    item->group_count = 0;
}

static void item_free(struct account *a, struct roster_item *item)
{
    HASH_DELETE(hh, a->roster.items, item);
    clear_groups(item);
    mem_free(item->contact);
    mem_free(item->name);
    mem_free(item);
}

struct roster_item *roster_find(const struct account *a, struct str contact)
{
    struct roster_item *item;

    HASH_FIND(hh, a->roster.items, contact.p, contact.len, item);
    return item;
}

struct roster_item *roster_get(struct account *a, struct str contact)
{
    struct roster_item *item = roster_find(a, contact);

    if (item)
        return item;
    if (HASH_COUNT(a->roster.items) >= a->router->params->routerd_roster_items_max)
        return NULL;
    item = mem_new(sizeof(*item));
    item->contact = str_dup(contact);
    item->name = str_dup(str_of(""));
    HASH_ADD_KEYPTR(hh, a->roster.items, item->contact, contact.len, item);
    return item;
}

bool roster_is_hidden(const struct roster_item *item)
{
    return item->subscription == SUBSCRIPTION_NONE && !item->ask &&
           (item->pending_in || item->approved) && !item->name[0] && item->group_count == 0;
}

void roster_set_name(struct roster_item *item, struct str name)
{
    char *copy = str_dup(name);

    mem_free(item->name);
    item->name = copy;
}

void roster_set_groups(struct roster_item *item, const struct str *groups, size_t count)
{
    clear_groups(item);
    if (count == 0)
        return;
    item->groups = mem_new(count * sizeof(*item->groups));
    for (; item->group_count < count; item->group_count++)
        item->groups[item->group_count] = str_dup(groups[item->group_count]);
}

/* ---- loading ---- */

static void load(struct account *a)
{
    struct router *r = a->router;

    timer_clear(&r->timers, &a->roster.retry);
    a->roster.request = later_text(r, str_of(a->aor));
    r->ops->roster_load(r->ctx, a->roster.request, str_of(a->aor));
}

static void on_retry(void *owner)
{
    load(owner);
}

void roster_init(struct account *a)
{
    timer_init(&a->roster.retry, on_retry, a);
}

static void release_waits(struct account *a, bool loaded, mono_t until)
{
    struct roster_wait *w, *next;

    for (w = a->roster.waits; w; w = next) {
        next = w->next;
        if (!loaded && w->until.ms > until.ms)
            continue;
        DL_DELETE(a->roster.waits, w);
        a->roster.wait_count--;
        w->then(a, loaded && a->roster.loaded, w->data);
        mem_free(w);
    }
}

void roster_with(struct account *a, roster_cb *then, void *data)
{
    struct roster_wait *w;

    if (a->roster.loaded && !a->roster.waits) {
        then(a, true, data);
        return;
    }
    if (a->roster.wait_count >= WAITS_MAX) {
        then(a, false, data);
        return;
    }
    w = mem_new(sizeof(*w));
    w->then = then;
    w->data = data;
    w->until = mono_after(a->router->now.mono, GIVE_UP_MS);
    DL_APPEND(a->roster.waits, w);
    a->roster.wait_count++;
    if (!a->roster.loaded && !a->roster.request && !timer_is_set(&a->roster.retry))
        load(a);
}

static enum subscription subscription_of(struct str text)
{
    for (size_t i = 0; i < ARRAY_LEN(subscriptions); i++)
        if (str_eq_c(text, subscriptions[i]))
            return (enum subscription)i;
    return SUBSCRIPTION_NONE;
}

static void take_items(struct account *a, const struct router_roster_item *items, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        struct roster_item *item = roster_get(a, items[i].contact);

        if (!item)
            return;
        roster_set_name(item, items[i].name);
        roster_set_groups(item, items[i].groups, items[i].group_count);
        item->subscription = subscription_of(items[i].subscription);
        item->ask = items[i].ask;
        item->pending_in = items[i].pending_in;
        item->approved = items[i].approved;
    }
}

void roster_on_loaded(struct router *r, uint64_t request, int status,
                      const struct router_roster_item *items, size_t count)
{
    char *aor = later_take_text(r, request);
    struct account *a = aor ? account_find(r, str_of(aor)) : NULL;

    mem_free(aor);
    if (!a || a->roster.request != request)
        return;
    a->roster.request = 0;
    if (status != DATABASE_OK) {
        release_waits(a, false, r->now.mono);
        if (a->roster.waits)
            timer_set(&r->timers, &a->roster.retry, mono_after(r->now.mono, RETRY_MS));
        return;
    }
    take_items(a, items, count);
    a->roster.loaded = true;
    release_waits(a, true, r->now.mono);
}

void roster_forget(struct account *a)
{
    struct roster_item *item, *next;

    for (item = a->roster.items; item; item = next) {
        next = item->hh.next;
        item_free(a, item);
    }
    a->roster.loaded = false;
    a->roster.request = 0;
    a->roster.generation++;
    timer_clear(&a->router->timers, &a->roster.retry);
    release_waits(a, false, MONO_NEVER);
}

void roster_done(struct account *a)
{
    roster_forget(a);
    assert(!a->roster.waits);
}

bool roster_is_busy(const struct account *a)
{
    return a->roster.waits || a->roster.request;
}

/* ---- storing ---- */

struct storing {
    struct roster_change change;
};

static void drop(void *data)
{
    struct storing *s = data;

    s->change.drop(s->change.data);
    mem_free(s);
}

static void on_stored(struct router *r, int status, struct str text, void *data)
{
    struct storing *s = data;
    struct account *a = account_find(r, text);

    if (status != DATABASE_OK && a)
        roster_forget(a);
    s->change.done(r, status == DATABASE_OK, s->change.data);
    mem_free(s);
}

static uint64_t storing_new(struct account *a, const struct roster_change *change)
{
    struct storing *s = mem_new(sizeof(*s));

    s->change = *change;
    return later_stored(a->router, &(struct later_request){on_stored, drop, s, str_of(a->aor)});
}

void roster_store(struct account *a, struct roster_item *item, const struct roster_change *change)
{
    struct router *r = a->router;
    struct str *groups = mem_new((item->group_count + 1) * sizeof(*groups));
    struct router_roster_item row = {
        .contact = str_of(item->contact),
        .name = str_of(item->name),
        .subscription = str_of(subscriptions[item->subscription]),
        .ask = item->ask,
        .pending_in = item->pending_in,
        .approved = item->approved,
        .groups = groups,
        .group_count = item->group_count,
    };

    for (size_t i = 0; i < item->group_count; i++)
        groups[i] = str_of(item->groups[i]);
    r->ops->roster_put(r->ctx, storing_new(a, change), str_of(a->aor), &row);
    mem_free(groups);
}

void roster_remove(struct account *a, struct roster_item *item, const struct roster_change *change)
{
    struct router *r = a->router;

    r->ops->roster_delete(r->ctx, storing_new(a, change), str_of(a->aor), str_of(item->contact));
    item_free(a, item);
}

/* ---- telling ---- */

void roster_item_node(struct arena *arena, struct xml_node *query, const struct roster_item *item)
{
    struct xml_node *node = xml_add(arena, query, STR(NS_ROSTER), STR("item"));

    if (!node)
        return;
    xml_set(arena, node, STR("jid"), str_of(item->contact));
    if (item->name[0])
        xml_set(arena, node, STR("name"), str_of(item->name));
    xml_set(arena, node, STR("subscription"), str_of(subscriptions[item->subscription]));
    if (item->ask)
        xml_set(arena, node, STR("ask"), STR("subscribe"));
    if (item->approved)
        xml_set(arena, node, STR("approved"), STR("true"));
    for (size_t i = 0; i < item->group_count; i++)
        xml_add_text(arena, xml_add(arena, node, STR(NS_ROSTER), STR("group")),
                     str_of(item->groups[i]));
}

static void push_to(struct session *s, struct str contact, const struct roster_item *item)
{
    struct arena arena;
    struct xml_node *iq, *query, *node;
    struct buf number;

    arena_init(&arena, STANZA_BYTES_MAX);
    buf_init(&number, 32);
    buf_printf(&number, "push-%llu", (unsigned long long)next_number(s->router));
    iq = xml_element(&arena, STR(NS_CLIENT), STR("iq"));
    xml_set(&arena, iq, STR("type"), STR("set"));
    xml_set(&arena, iq, STR("id"), buf_str(&number));
    xml_set(&arena, iq, STR("to"), str_of(s->jid));
    query = xml_add(&arena, iq, STR(NS_ROSTER), STR("query"));
    if (item) {
        roster_item_node(&arena, query, item);
    } else {
        node = xml_add(&arena, query, STR(NS_ROSTER), STR("item"));
        xml_set(&arena, node, STR("jid"), contact);
        xml_set(&arena, node, STR("subscription"), STR("remove"));
    }
    session_send(s, iq);
    buf_done(&number);
    arena_done(&arena);
}

void roster_push(struct account *a, struct str contact)
{
    const struct roster_item *item = a->roster.loaded ? roster_find(a, contact) : NULL;

    if (!a->roster.loaded || (item && roster_is_hidden(item)))
        return;
    for (struct session *s = a->sessions; s; s = s->next)
        if (s->interested)
            push_to(s, contact, item);
}
