// SPDX-License-Identifier: Apache-2.0
#include "routerd/client.h"

#include "routerd/ns.h"
#include "routerd/session.h"
#include "routerd/sm.h"
#include "routerd/stream.h"

void client_refuse(struct inbound *in, enum stanza_error error)
{
    if (!str_eq_c(in->type, "error"))
        session_send(in->session, stanza_error(in->arena, in->node, error));
    sm_complete(in->session, in->number);
}

/* RFC 6120, 8.1.2.1: a `from` may only say what we know. */
static bool is_from_self(const struct session *s, struct arena *arena, struct str from)
{
    struct jid jid;

    if (!from.p)
        return true;
    if (jid_parse(arena, from, &jid) != 0)
        return false;
    return str_eq_c(jid.full, s->jid) || str_eq_c(jid.full, s->account->aor);
}

static bool address(struct inbound *in)
{
    struct str to = xml_get(in->node, "to");

    in->has_to = to.p != NULL;
    in->to = jid_split(str_of(in->session->account->aor));
    if (!xml_set(in->arena, in->node, STR("from"), str_of(in->session->jid)))
        return false;
    if (!in->has_to)
        return true;
    return jid_parse(in->arena, to, &in->to) == 0 &&
           xml_set(in->arena, in->node, STR("to"), in->to.full);
}

static void stanza(struct session *s, struct arena *arena, struct xml_node *node,
                   void (*handle)(struct inbound *in))
{
    struct inbound in = {
        .session = s,
        .arena = arena,
        .node = node,
        .type = xml_get(node, "type"),
        .id = xml_get(node, "id"),
    };

    count_metric(s->router, METRIC_STANZAS_IN, 1);
    if (!is_from_self(s, arena, xml_get(node, "from"))) {
        stream_fail(s->stream, "invalid-from", NULL);
        return;
    }
    in.number = sm_begin(s);
    if (!address(&in))
        client_refuse(&in, STANZA_JID_MALFORMED);
    else if (!str_eq(in.to.domain, s->router->domain))
        client_refuse(&in, STANZA_REMOTE_SERVER_NOT_FOUND);
    else
        handle(&in);
}

void client_element(struct session *s, struct arena *arena, struct xml_node *node)
{
    if (str_eq_c(node->ns, NS_SM))
        sm_element(s, node);
    else if (xml_is(node, NS_CLIENT, "message"))
        stanza(s, arena, node, client_message);
    else if (xml_is(node, NS_CLIENT, "presence"))
        stanza(s, arena, node, client_presence);
    else if (xml_is(node, NS_CLIENT, "iq"))
        stanza(s, arena, node, client_iq);
    else
        stream_fail(s->stream, "unsupported-stanza-type", NULL);
}
