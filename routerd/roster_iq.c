// SPDX-License-Identifier: Apache-2.0
/*
 * Roster management by clients (RFC 6121, 2): get, set, remove.
 */
#include <string.h>

#include "common/util.h"
#include "routerd/account.h"
#include "routerd/iq.h"
#include "routerd/ns.h"
#include "routerd/presence.h"
#include "routerd/roster.h"
#include "routerd/session.h"
#include "routerd/sm.h"

enum { NAME_MAX_BYTES = 1023, GROUP_MAX_BYTES = 1023, GROUPS_MAX = 32 };

/* A request that waits for the roster or the database. */
struct task {
    uint64_t session;
    uint32_t era;
    uint64_t stanza;
    struct held *iq;
    char *aor, *contact;                  /* whose roster, and whom it is about */
    bool hide, unsubscribe, unsubscribed; /* what a removal tells the contact */
};

static void task_free(void *data)
{
    struct task *t = data;

    held_free(t->iq);
    mem_free(t->aor);
    mem_free(t->contact);
    mem_free(t);
}

/* The stanza as it came, if its sender is still there to be answered. */
static bool resume(struct router *r, const struct task *t, struct inbound *ret_in)
{
    struct session *s = session_find(r, t->session);
    bool waits = s && s->sm.in_era == t->era;

    if (waits)
        *ret_in = (struct inbound){
            .session = s,
            .arena = &t->iq->arena,
            .node = t->iq->node,
            .type = xml_get(t->iq->node, "type"),
            .id = xml_get(t->iq->node, "id"),
            .number = t->stanza,
        };
    return waits;
}

static void answer_error(struct router *r, const struct task *t, enum stanza_error error)
{
    struct inbound in;

    if (resume(r, t, &in))
        client_refuse(&in, error);
}

static void answer_done(struct router *r, const struct task *t)
{
    struct inbound in;

    if (resume(r, t, &in))
        iq_answer(&in, stanza_result(in.arena, in.node));
}

/* ---- get ---- */

static void on_get(struct account *a, bool loaded, void *data)
{
    struct task *t = data;
    struct xml_node *result, *query;
    struct inbound in;

    if (resume(a->router, t, &in)) {
        result = stanza_result(in.arena, in.node);
        query = xml_add(in.arena, result, STR(NS_ROSTER), STR("query"));
        for (struct roster_item *i = a->roster.items; loaded && i; i = i->hh.next)
            if (!roster_is_hidden(i))
                roster_item_node(in.arena, query, i);
        in.session->interested = true;
        session_record(in.session);
        if (loaded)
            iq_answer(&in, result);
        else
            client_refuse(&in, STANZA_INTERNAL_SERVER_ERROR);
    }
    task_free(t);
}

/* ---- set ---- */

/* Whose roster it was, unless it is another node's now. */
static struct account *served(struct router *r, const struct task *t)
{
    return router_serves(r, str_of(t->aor)) ? account_find(r, str_of(t->aor)) : NULL;
}

static void on_stored(struct router *r, bool ok, void *data)
{
    struct task *t = data;
    struct account *a = served(r, t);

    if (!ok) {
        answer_error(r, t, STANZA_INTERNAL_SERVER_ERROR);
    } else {
        if (a)
            roster_push(a, str_of(t->contact));
        answer_done(r, t);
    }
    task_free(t);
}

static struct xml_node *item_of(const struct task *t)
{
    return xml_child(xml_child(t->iq->node, NS_ROSTER, "query"), NS_ROSTER, "item");
}

/* False: too many, too long, empty, or one twice. */
static bool read_groups(struct task *t, struct str *ret_groups, size_t *ret_count)
{
    size_t count = 0;

    for (struct xml_node *g = xml_first(item_of(t)); g; g = xml_next(g)) {
        struct str name = xml_text(&t->iq->arena, g);

        if (!xml_is(g, NS_ROSTER, "group"))
            continue;
        if (count == GROUPS_MAX || str_empty(name) || name.len > GROUP_MAX_BYTES)
            return false;
        for (size_t i = 0; i < count; i++)
            if (str_eq(ret_groups[i], name))
                return false;
        ret_groups[count++] = name;
    }
    *ret_count = count;
    return true;
}

static void set_item(struct account *a, struct task *t)
{
    struct str groups[GROUPS_MAX];
    struct str name = xml_get(item_of(t), "name");
    struct roster_item *item;
    size_t count;

    if (name.len > NAME_MAX_BYTES || !read_groups(t, groups, &count)) {
        answer_error(a->router, t, STANZA_NOT_ACCEPTABLE);
        task_free(t);
        return;
    }
    item = roster_get(a, str_of(t->contact));
    if (!item) {
        answer_error(a->router, t, STANZA_RESOURCE_CONSTRAINT);
        task_free(t);
        return;
    }
    roster_set_name(item, name);
    roster_set_groups(item, groups, count);
    roster_store(a, item, &(struct roster_change){on_stored, task_free, t});
}

/* ---- remove (2.5) ---- */

static void tell_removal(struct account *a, const struct task *t)
{
    struct str contact = str_of(t->contact);

    roster_push(a, contact);
    if (t->hide)
        presence_hide(a, contact);
    if (t->unsubscribe)
        presence_say(a, contact, "unsubscribe");
    if (t->unsubscribed)
        presence_say(a, contact, "unsubscribed");
}

static void on_removed(struct router *r, bool ok, void *data)
{
    struct task *t = data;
    struct account *a = served(r, t);

    if (ok && a)
        tell_removal(a, t);
    if (ok)
        answer_done(r, t);
    else
        answer_error(r, t, STANZA_INTERNAL_SERVER_ERROR);
    task_free(t);
}

static void remove_item(struct account *a, struct task *t)
{
    struct roster_item *item = roster_find(a, str_of(t->contact));

    if (!item) {
        answer_error(a->router, t, STANZA_ITEM_NOT_FOUND);
        task_free(t);
        return;
    }
    t->hide = roster_has(item, SUBSCRIPTION_FROM);
    t->unsubscribe = roster_has(item, SUBSCRIPTION_TO) || item->ask;
    t->unsubscribed = t->hide || item->pending_in;
    roster_remove(a, item, &(struct roster_change){on_removed, task_free, t});
}

static void on_set(struct account *a, bool loaded, void *data)
{
    struct task *t = data;

    if (!loaded) {
        answer_error(a->router, t, STANZA_INTERNAL_SERVER_ERROR);
        task_free(t);
    } else if (str_eq_c(xml_get(item_of(t), "subscription"), "remove")) {
        remove_item(a, t);
    } else {
        set_item(a, t);
    }
}

/* ---- both ---- */

static struct task *task_new(struct inbound *in)
{
    struct task *t = mem_new(sizeof(*t));

    t->session = in->session->number;
    t->era = in->session->sm.in_era;
    t->stanza = in->number;
    t->iq = held_new(in->node);
    t->aor = str_dup(str_of(in->session->account->aor));
    return t;
}

static void set(struct inbound *in, struct xml_node *query)
{
    struct xml_node *item = xml_first(query);
    struct task *t;
    struct jid jid;

    if (!xml_is(item, NS_ROSTER, "item") || xml_next(item)) {
        client_refuse(in, STANZA_BAD_REQUEST);
        return;
    }
    if (jid_parse(in->arena, xml_get(item, "jid"), &jid) != 0) {
        client_refuse(in, STANZA_JID_MALFORMED);
        return;
    }
    if (str_eq_c(jid.bare, in->session->account->aor)) {
        client_refuse(in, STANZA_NOT_ALLOWED);
        return;
    }
    t = task_new(in);
    t->contact = str_dup(jid.bare);
    roster_with(in->session->account, on_set, t);
}

void roster_iq(struct inbound *in, struct xml_node *child)
{
    if (str_eq_c(in->type, "set"))
        set(in, child);
    else
        roster_with(in->session->account, on_get, task_new(in));
}
