// SPDX-License-Identifier: Apache-2.0
#include <stdio.h>

#include "recoveryd/nodectl/admin.h"
#include "recoveryd/nodectl/output.h"

enum { NUMBER_BYTES = 24, TIME_BYTES = 32 };

static void print_json(const Muster__AdminReply *reply)
{
    json_t *root = json_object(), *alarms = json_array();
    char since[TIME_BYTES];

    for (size_t i = 0; i < reply->n_alarms; i++) {
        const Muster__AdminAlarm *a = reply->alarms[i];
        json_t *one = json_object();

        output_set_text(one, "name", a->name);
        output_set_text(one, "severity", a->severity);
        output_set_number(one, "node", a->node);
        output_set_text(one, "since", output_time(a->since_unix_ms, since, sizeof(since)));
        output_set_text(one, "detail", a->detail);
        output_set_text(one, "cause", a->cause);
        output_set_text(one, "action", a->action);
        json_array_append_new(alarms, one);
    }
    json_object_set_new(root, "alarms", alarms);
    output_json(root);
}

static void print_alarms(const struct nodectl *n, const Muster__AdminReply *reply)
{
    static const char *const titles[] = {"ALARM",  "SEVERITY", "NODE",   "SINCE",
                                         "DETAIL", "CAUSE",    "ACTION", NULL};
    struct output_table *t;

    if (n->json) {
        print_json(reply);
        return;
    }
    t = output_table_new(titles);
    for (size_t i = 0; i < reply->n_alarms; i++) {
        const Muster__AdminAlarm *a = reply->alarms[i];
        char node[NUMBER_BYTES], since[TIME_BYTES];
        const char *cells[] = {
            a->name,   a->severity, node,     output_time(a->since_unix_ms, since, sizeof(since)),
            a->detail, a->cause,    a->action};

        snprintf(node, sizeof(node), "%u", a->node);
        output_row(t, cells);
    }
    output_table_end(t);
}

int cmd_alarm_list(struct nodectl *n)
{
    return admin_run(n, MUSTER__ADMIN_REQUEST__COMMAND__ALARM_LIST, NULL, print_alarms);
}
