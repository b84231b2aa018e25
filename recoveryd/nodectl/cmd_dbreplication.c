// SPDX-License-Identifier: Apache-2.0
#include <stdio.h>

#include "recoveryd/nodectl/admin.h"
#include "recoveryd/nodectl/output.h"

enum { NUMBER_BYTES = 24 };

static void print_json(const Muster__AdminReply *reply)
{
    json_t *root = json_object(), *nodes = json_array();

    for (size_t i = 0; i < reply->n_replication; i++) {
        const Muster__AdminReplication *r = reply->replication[i];
        json_t *one = json_object();

        output_set_number(one, "node", r->node);
        output_set_text(one, "role", r->role);
        output_set_text(one, "state", r->state);
        output_set_text(one, "sync_state", r->sync_state);
        output_set_number(one, "lag_bytes", r->lag_bytes);
        output_set_number(one, "timeline", r->timeline);
        json_array_append_new(nodes, one);
    }
    json_object_set_new(root, "replication", nodes);
    output_json(root);
}

static void print_replication(const struct nodectl *n, const Muster__AdminReply *reply)
{
    static const char *const titles[] = {"NODE",      "ROLE",     "STATE", "SYNC",
                                         "LAG BYTES", "TIMELINE", NULL};
    struct output_table *t;

    if (n->json) {
        print_json(reply);
        return;
    }
    t = output_table_new(titles);
    for (size_t i = 0; i < reply->n_replication; i++) {
        const Muster__AdminReplication *r = reply->replication[i];
        char node[NUMBER_BYTES], lag[NUMBER_BYTES], timeline[NUMBER_BYTES];
        const char *cells[] = {node, r->role, r->state, r->sync_state, lag, timeline};

        snprintf(node, sizeof(node), "%u", r->node);
        snprintf(lag, sizeof(lag), "%llu", (unsigned long long)r->lag_bytes);
        snprintf(timeline, sizeof(timeline), "%u", r->timeline);
        output_row(t, cells);
    }
    output_table_end(t);
}

int cmd_dbreplication_runtimestate(struct nodectl *n)
{
    return admin_run(n, MUSTER__ADMIN_REQUEST__COMMAND__REPLICATION_STATE, NULL, print_replication);
}
