// SPDX-License-Identifier: Apache-2.0
#include <stdio.h>

#include "common/util.h"
#include "common/view.h"
#include "recoveryd/nodectl/admin.h"
#include "recoveryd/nodectl/output.h"

enum { NUMBER_BYTES = 24, TIME_BYTES = 32 };

static void print_json(const Muster__AdminReply *reply)
{
    json_t *root = json_object(), *nodes = json_array();
    char since[TIME_BYTES];

    for (size_t i = 0; i < reply->n_nodes; i++) {
        const Muster__AdminNode *node = reply->nodes[i];
        json_t *one = json_object();

        output_set_number(one, "node", node->node);
        output_set_text(one, "name", node->name);
        output_set_text(one, "state", view_state_name(node->state));
        output_set_text(one, "reason", view_reason_name(node->reason));
        output_set_text(one, "since", output_time(node->since_unix_ms, since, sizeof(since)));
        output_set_number(one, "epoch", node->epoch);
        output_set_number(one, "served_by", node->served_by);
        output_set_flag(one, "database_primary", node->database_primary);
        output_set_text(one, "goal", node->goal);
        output_set_text(one, "reported", node->reported);
        json_array_append_new(nodes, one);
    }
    json_object_set_new(root, "nodes", nodes);
    output_json(root);
}

/* "itself", the name of another node, or "nobody". */
static const char *server_of(const Muster__AdminReply *reply, const Muster__AdminNode *node)
{
    if (node->served_by == node->node)
        return "itself";
    for (size_t i = 0; i < reply->n_nodes; i++)
        if (reply->nodes[i]->node == node->served_by)
            return reply->nodes[i]->name;
    return "nobody";
}

static void print_status(const struct nodectl *n, const Muster__AdminReply *reply)
{
    static const char *const titles[] = {"NODE",     "NAME",  "STATE", "REASON", "USERS SERVED BY",
                                         "DATABASE", "EPOCH", "SINCE", NULL};
    struct output_table *t;

    if (n->json) {
        print_json(reply);
        return;
    }
    t = output_table_new(titles);
    for (size_t i = 0; i < reply->n_nodes; i++) {
        const Muster__AdminNode *node = reply->nodes[i];
        char number[NUMBER_BYTES], epoch[NUMBER_BYTES], since[TIME_BYTES];
        const char *cells[] = {number,
                               node->name,
                               view_state_name(node->state),
                               view_reason_name(node->reason),
                               server_of(reply, node),
                               node->database_primary ? "primary" : "",
                               epoch,
                               output_time(node->since_unix_ms, since, sizeof(since))};

        snprintf(number, sizeof(number), "%u", node->node);
        snprintf(epoch, sizeof(epoch), "%llu", (unsigned long long)node->epoch);
        output_row(t, cells);
    }
    output_table_end(t);
}

int cmd_ha_status(struct nodectl *n)
{
    return admin_run(n, MUSTER__ADMIN_REQUEST__COMMAND__HA_STATUS, NULL, print_status);
}

int cmd_ha_failover(struct nodectl *n)
{
    return admin_run(n, MUSTER__ADMIN_REQUEST__COMMAND__HA_FAILOVER, NULL, NULL);
}

int cmd_ha_fallback(struct nodectl *n)
{
    return admin_run(n, MUSTER__ADMIN_REQUEST__COMMAND__HA_FALLBACK, NULL, NULL);
}

int cmd_ha_recover(struct nodectl *n)
{
    return admin_run(n, MUSTER__ADMIN_REQUEST__COMMAND__HA_RECOVER, NULL, NULL);
}
