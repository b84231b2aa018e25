// SPDX-License-Identifier: Apache-2.0
/*
 * Service discovery (XEP-0030) of the server and of accounts. Nodes are not offered.
 */
#include "routerd/iq.h"
#include "routerd/ns.h"

/* Features without a row in the table of IQs. */
static const char *const more_features[] = {NS_STANZA_ID, NS_OFFLINE, NULL};

static void add_identity(struct arena *a, struct xml_node *query, const char *category,
                         const char *type)
{
    struct xml_node *identity = xml_add(a, query, STR(NS_DISCO_INFO), STR("identity"));

    if (!identity)
        return;
    xml_set(a, identity, STR("category"), str_of(category));
    xml_set(a, identity, STR("type"), str_of(type));
    if (str_eq_c(str_of(category), "server"))
        xml_set(a, identity, STR("name"), STR("Muster"));
}

static void add_feature(struct arena *a, struct xml_node *query, const char *ns)
{
    struct xml_node *feature = xml_add(a, query, STR(NS_DISCO_INFO), STR("feature"));

    if (feature)
        xml_set(a, feature, STR("var"), str_of(ns));
}

void disco_info(struct inbound *in, struct xml_node *child)
{
    bool server = in->has_to && str_empty(in->to.local);
    struct xml_node *result, *query;

    if (xml_get(child, "node").p) {
        client_refuse(in, STANZA_ITEM_NOT_FOUND);
        return;
    }
    result = stanza_result(in->arena, in->node);
    query = xml_add(in->arena, result, STR(NS_DISCO_INFO), STR("query"));
    add_identity(in->arena, query, server ? "server" : "account", server ? "im" : "registered");
    for (const struct iq_handler *h = iq_handlers; h->ns; h++)
        if (h->advertised)
            add_feature(in->arena, query, h->ns);
    for (size_t i = 0; more_features[i]; i++)
        add_feature(in->arena, query, more_features[i]);
    iq_answer(in, result);
}

void disco_items(struct inbound *in, struct xml_node *child)
{
    struct xml_node *result;

    if (xml_get(child, "node").p) {
        client_refuse(in, STANZA_ITEM_NOT_FOUND);
        return;
    }
    result = stanza_result(in->arena, in->node);
    xml_add(in->arena, result, STR(NS_DISCO_ITEMS), STR("query"));
    iq_answer(in, result);
}
