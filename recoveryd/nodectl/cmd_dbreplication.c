// SPDX-License-Identifier: Apache-2.0
/*
 * nodectl dbreplication: whose database is the primary, and how far its standby is.
 */
#include <stdio.h>
#include <string.h>

#include "recoveryd/nodectl/client.h"
#include "recoveryd/nodectl/output.h"

static json_t *json_of(const Muster__AdminReply *reply)
{
    json_t *databases = json_array();

    for (size_t i = 0; i < reply->n_replication; i++) {
        const Muster__AdminReplication *r = reply->replication[i];

        (void)json_array_append_new(
            databases, json_pack("{si ss ss ss sI si}", "node", (int)r->node, "role", r->role,
                                 "state", r->state, "sync_state", r->sync_state, "lag_bytes",
                                 (json_int_t)r->lag_bytes, "timeline", (int)r->timeline));
    }
    return json_pack("{so}", "databases", databases);
}

static void print(const Muster__AdminReply *reply)
{
    enum { COLUMNS = 6, ROWS_MAX = 7 };
    const char *cells[ROWS_MAX * COLUMNS] = {"NODE", "ROLE", "STATE", "SYNC", "TIMELINE", "LAG"};
    char node[ROWS_MAX][16], timeline[ROWS_MAX][16], lag[ROWS_MAX][32];
    size_t rows = 1;

    for (size_t i = 0; i < reply->n_replication && rows < ROWS_MAX; i++, rows++) {
        const Muster__AdminReplication *r = reply->replication[i];
        const char **cell = &cells[rows * COLUMNS];

        (void)snprintf(node[rows], sizeof(node[rows]), "%u", r->node);
        (void)snprintf(timeline[rows], sizeof(timeline[rows]), "%u", r->timeline);
        (void)snprintf(lag[rows], sizeof(lag[rows]), "%llu bytes",
                       (unsigned long long)r->lag_bytes);
        cell[0] = node[rows];
        cell[1] = r->role;
        cell[2] = *r->state ? r->state : "-";
        cell[3] = r->sync_state;
        cell[4] = timeline[rows];
        cell[5] = lag[rows];
    }
    output_table(cells, rows, COLUMNS);
}

int cmd_dbreplication(struct nodectl *n, int argc, char **argv)
{
    const Muster__AdminReply *reply;
    int result = NODECTL_DONE;

    if (argc != 2 || strcmp(argv[1], "runtimestate") != 0)
        return nodectl_usage("dbreplication runtimestate");
    reply = client_ask(n, MUSTER__ADMIN_REQUEST__COMMAND__REPLICATION_STATE, NULL);
    if (!reply)
        return NODECTL_FAILED;
    if (reply->status)
        result = nodectl_fail("%s", reply->sentence);
    else if (n->json)
        result = output_json(json_of(reply));
    else
        print(reply);
    client_free(reply);
    return result;
}
