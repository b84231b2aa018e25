// SPDX-License-Identifier: Apache-2.0
#include "routerd/iq.h"

#include "routerd/account.h"
#include "routerd/ns.h"
#include "routerd/session.h"
#include "routerd/sm.h"

// clang-format off
const struct iq_handler iq_handlers[] = {
    {NS_DISCO_INFO,  "query",   IQ_SELF | IQ_DOMAIN, true,  false, true,  disco_info},
    {NS_DISCO_ITEMS, "query",   IQ_SELF | IQ_DOMAIN, true,  false, true,  disco_items},
    {NS_PING,        "ping",    IQ_SELF | IQ_DOMAIN, true,  false, true,  ping},
    {NS_ROSTER,      "query",   IQ_SELF,             true,  true,  true,  roster_iq},
    {NS_SESSION,     "session", IQ_SELF | IQ_DOMAIN, false, true,  false, session_iq},
    {0},
};
// clang-format on

void iq_answer(struct inbound *in, struct xml_node *result)
{
    session_send(in->session, result);
    sm_complete(in->session, in->number);
}

static bool is_request(struct str type)
{
    return str_eq_c(type, "get") || str_eq_c(type, "set");
}

/* To another client, its own too. */
static void pass_on(struct inbound *in)
{
    struct buf xml;
    bool sent;

    buf_init(&xml, STANZA_BYTES_MAX);
    stanza_print(&xml, in->node);
    sent = !xml.full &&
           route_stanza(in->session->router, &(struct routed){.from = str_of(in->session->jid),
                                                              .to = in->to.full,
                                                              .name = STR("iq"),
                                                              .type = in->type,
                                                              .id = in->id,
                                                              .xml = buf_str(&xml)});
    buf_done(&xml);
    if (!sent && is_request(in->type))
        client_refuse(in, STANZA_SERVICE_UNAVAILABLE);
    else
        sm_complete(in->session, in->number);
}

static void handle(struct inbound *in, unsigned scope)
{
    struct xml_node *child = xml_first(in->node);

    if (!child || xml_next(child)) {
        client_refuse(in, STANZA_BAD_REQUEST);
        return;
    }
    for (const struct iq_handler *h = iq_handlers; h->ns; h++) {
        if (!(h->scope & scope) || !xml_is(child, h->ns, h->name))
            continue;
        if (str_eq_c(in->type, "get") ? h->get : h->set)
            h->handle(in, child);
        else
            client_refuse(in, STANZA_BAD_REQUEST);
        return;
    }
    client_refuse(in, STANZA_SERVICE_UNAVAILABLE);
}

void client_iq(struct inbound *in)
{
    bool request = is_request(in->type);

    if (str_empty(in->id) ||
        (!request && !str_eq_c(in->type, "result") && !str_eq_c(in->type, "error")))
        client_refuse(in, STANZA_BAD_REQUEST);
    else if (!str_empty(in->to.resource) && !str_empty(in->to.local))
        pass_on(in);
    else if (!request)
        sm_complete(in->session, in->number); /* an answer to a push of ours */
    else if (!in->has_to || str_eq_c(in->to.full, in->session->account->aor))
        handle(in, IQ_SELF);
    else if (str_empty(in->to.local) && str_empty(in->to.resource))
        handle(in, IQ_DOMAIN);
    else
        client_refuse(in, STANZA_SERVICE_UNAVAILABLE);
}

/* ---- from others ---- */

static void refuse(struct router *r, const struct routed *st)
{
    struct stanza_names names = {STR("iq"), st->id, st->to, st->from};
    struct arena arena;
    struct buf xml;

    arena_init(&arena, STANZA_BYTES_MAX);
    buf_init(&xml, STANZA_BYTES_MAX);
    stanza_print(&xml, stanza_error_of(&arena, &names, STANZA_SERVICE_UNAVAILABLE));
    (void)route_stanza(r, &(struct routed){.from = st->to,
                                           .to = st->from,
                                           .name = STR("iq"),
                                           .type = STR("error"),
                                           .id = st->id,
                                           .xml = buf_str(&xml)});
    buf_done(&xml);
    arena_done(&arena);
}

void iq_in(struct router *r, const struct routed *st)
{
    struct jid to = jid_split(st->to);
    struct account *a = account_find(r, to.bare);
    struct session *s = a && !str_empty(to.resource) ? session_of(a, to.resource) : NULL;

    if (s && session_deliver(s, st->xml, NULL))
        return;
    if (is_request(st->type))
        refuse(r, st);
}
