// SPDX-License-Identifier: Apache-2.0
/*
 * nodectl alarm: what is raised on the node, its cause, and what to do.
 */
#include <stdio.h>
#include <string.h>

#include "recoveryd/nodectl/client.h"
#include "recoveryd/nodectl/output.h"

static json_t *json_of(const Muster__AdminReply *reply)
{
    json_t *alarms = json_array();

    for (size_t i = 0; i < reply->n_alarms; i++) {
        const Muster__AdminAlarm *a = reply->alarms[i];

        (void)json_array_append_new(
            alarms, json_pack("{ss ss ss ss ss sI si}", "name", a->name, "severity", a->severity,
                              "detail", a->detail, "cause", a->cause, "action", a->action,
                              "since_unix_ms", (json_int_t)a->since_unix_ms, "node", (int)a->node));
    }
    return json_pack("{so}", "alarms", alarms);
}

static void print(const Muster__AdminReply *reply)
{
    char since[OUTPUT_TIME_MAX];

    if (reply->n_alarms == 0)
        printf("no alarm is raised\n");
    for (size_t i = 0; i < reply->n_alarms; i++) {
        const Muster__AdminAlarm *a = reply->alarms[i];

        output_time(a->since_unix_ms, since);
        printf("%s (%s, node %u) since %s%s%s\n  cause:  %s\n  action: %s\n", a->name, a->severity,
               a->node, since, *a->detail ? ": " : "", a->detail, a->cause, a->action);
    }
}

int cmd_alarm(struct nodectl *n, int argc, char **argv)
{
    const Muster__AdminReply *reply;
    int result = NODECTL_DONE;

    if (argc != 2 || strcmp(argv[1], "list") != 0)
        return nodectl_usage("alarm list");
    reply = client_ask(n, MUSTER__ADMIN_REQUEST__COMMAND__ALARM_LIST, NULL);
    if (!reply)
        return NODECTL_FAILED;
    if (n->json)
        result = output_json(json_of(reply));
    else
        print(reply);
    client_free(reply);
    return result;
}
