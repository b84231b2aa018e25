// SPDX-License-Identifier: Apache-2.0
/*
 * nodectl ha: the state of the group, and what an operator may ask of it.
 */
#include <stdio.h>
#include <string.h>

#include "common/util.h"
#include "common/view.h"
#include "recoveryd/nodectl/client.h"
#include "recoveryd/nodectl/output.h"

static json_t *json_of(const Muster__AdminReply *reply)
{
    json_t *nodes = json_array();

    for (size_t i = 0; i < reply->n_nodes; i++) {
        const Muster__AdminNode *n = reply->nodes[i];

        (void)json_array_append_new(
            nodes,
            json_pack("{si ss ss ss sI sI si sb ss ss}", "node", (int)n->node, "name", n->name,
                      "state", view_state_name(n->state), "reason", view_reason_name(n->reason),
                      "since_unix_ms", (json_int_t)n->since_unix_ms, "epoch", (json_int_t)n->epoch,
                      "served_by", (int)n->served_by, "database_primary", (int)n->database_primary,
                      "goal", n->goal, "reported", n->reported));
    }
    return json_pack("{so}", "nodes", nodes);
}

static void print(const Muster__AdminReply *reply)
{
    enum { COLUMNS = 7, ROWS_MAX = 7 };
    const char *cells[ROWS_MAX * COLUMNS] = {"NODE",  "STATE",     "REASON",  "SINCE",
                                             "EPOCH", "SERVED BY", "DATABASE"};
    char since[ROWS_MAX][OUTPUT_TIME_MAX], epoch[ROWS_MAX][24], served[ROWS_MAX][16];
    size_t rows = 1;

    for (size_t i = 0; i < reply->n_nodes && rows < ROWS_MAX; i++, rows++) {
        const Muster__AdminNode *n = reply->nodes[i];
        const char **cell = &cells[rows * COLUMNS];

        output_time(n->since_unix_ms, since[rows]);
        (void)snprintf(epoch[rows], sizeof(epoch[rows]), "%llu", (unsigned long long)n->epoch);
        (void)snprintf(served[rows], sizeof(served[rows]), "%u", n->served_by);
        cell[0] = n->name;
        cell[1] = view_state_name(n->state);
        cell[2] = view_reason_name(n->reason);
        cell[3] = since[rows];
        cell[4] = epoch[rows];
        cell[5] = n->served_by ? served[rows] : "nobody";
        cell[6] = n->database_primary ? "primary" : "standby";
    }
    output_table(cells, rows, COLUMNS);
}

static int status(const struct nodectl *n)
{
    const Muster__AdminReply *reply =
        client_ask(n, MUSTER__ADMIN_REQUEST__COMMAND__HA_STATUS, NULL);
    int result = NODECTL_DONE;

    if (!reply)
        return NODECTL_FAILED;
    if (n->json)
        result = output_json(json_of(reply));
    else
        print(reply);
    client_free(reply);
    return result;
}

int cmd_ha(struct nodectl *n, int argc, char **argv)
{
    static const struct {
        const char *name;
        Muster__AdminRequest__Command command;
    } commands[] = {
        {"failover", MUSTER__ADMIN_REQUEST__COMMAND__HA_FAILOVER},
        {"fallback", MUSTER__ADMIN_REQUEST__COMMAND__HA_FALLBACK},
        {"recover", MUSTER__ADMIN_REQUEST__COMMAND__HA_RECOVER},
    };

    if (argc == 2 && strcmp(argv[1], "status") == 0)
        return status(n);
    for (size_t i = 0; argc == 2 && i < ARRAY_LEN(commands); i++)
        if (strcmp(argv[1], commands[i].name) == 0)
            return client_command(n, commands[i].command, NULL);
    return nodectl_usage("ha status | failover | fallback | recover");
}
