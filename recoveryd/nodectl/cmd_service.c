// SPDX-License-Identifier: Apache-2.0
/*
 * nodectl service: the daemons of the node.
 */
#include <stdio.h>
#include <string.h>

#include "common/util.h"
#include "recoveryd/nodectl/client.h"
#include "recoveryd/nodectl/output.h"

static json_t *json_of(const Muster__AdminReply *reply)
{
    json_t *services = json_array();

    for (size_t i = 0; i < reply->n_services; i++) {
        const Muster__AdminService *s = reply->services[i];

        (void)json_array_append_new(
            services,
            json_pack("{ss ss si sI si sb ss}", "name", s->name, "state", s->state, "pid",
                      (int)s->pid, "since_unix_ms", (json_int_t)s->since_unix_ms, "restarts",
                      (int)s->restarts, "critical", (int)s->critical, "complaint", s->complaint));
    }
    return json_pack("{so}", "services", services);
}

static void print(const Muster__AdminReply *reply)
{
    enum { COLUMNS = 6, ROWS_MAX = 16 };
    const char *cells[ROWS_MAX * COLUMNS] = {"SERVICE", "STATE",    "PID",
                                             "SINCE",   "RESTARTS", "COMPLAINT"};
    char since[ROWS_MAX][OUTPUT_TIME_MAX], pid[ROWS_MAX][16], restarts[ROWS_MAX][16];
    size_t rows = 1;

    for (size_t i = 0; i < reply->n_services && rows < ROWS_MAX; i++, rows++) {
        const Muster__AdminService *s = reply->services[i];
        const char **cell = &cells[rows * COLUMNS];

        output_time(s->since_unix_ms, since[rows]);
        (void)snprintf(pid[rows], sizeof(pid[rows]), "%u", s->pid);
        (void)snprintf(restarts[rows], sizeof(restarts[rows]), "%u", s->restarts);
        cell[0] = s->name;
        cell[1] = s->state;
        cell[2] = s->pid ? pid[rows] : "-";
        cell[3] = since[rows];
        cell[4] = restarts[rows];
        cell[5] = s->complaint;
    }
    output_table(cells, rows, COLUMNS);
}

static int list(const struct nodectl *n)
{
    const Muster__AdminReply *reply =
        client_ask(n, MUSTER__ADMIN_REQUEST__COMMAND__SERVICE_LIST, NULL);
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

int cmd_service(struct nodectl *n, int argc, char **argv)
{
    static const struct {
        const char *name;
        Muster__AdminRequest__Command command;
    } commands[] = {
        {"start", MUSTER__ADMIN_REQUEST__COMMAND__SERVICE_START},
        {"stop", MUSTER__ADMIN_REQUEST__COMMAND__SERVICE_STOP},
        {"restart", MUSTER__ADMIN_REQUEST__COMMAND__SERVICE_RESTART},
    };

    if (argc == 2 && strcmp(argv[1], "list") == 0)
        return list(n);
    for (size_t i = 0; argc == 3 && i < ARRAY_LEN(commands); i++)
        if (strcmp(argv[1], commands[i].name) == 0)
            return client_command(n, commands[i].command, argv[2]);
    return nodectl_usage("service list | start NAME | stop NAME | restart NAME");
}
