// SPDX-License-Identifier: Apache-2.0
#include <stdio.h>

#include "recoveryd/nodectl/admin.h"
#include "recoveryd/nodectl/output.h"

enum { NUMBER_BYTES = 24, TIME_BYTES = 32 };

static void print_json(const Muster__AdminReply *reply)
{
    json_t *root = json_object(), *services = json_array();
    char since[TIME_BYTES];

    for (size_t i = 0; i < reply->n_services; i++) {
        const Muster__AdminService *s = reply->services[i];
        json_t *one = json_object();

        output_set_text(one, "name", s->name);
        output_set_text(one, "state", s->state);
        output_set_number(one, "pid", s->pid);
        output_set_text(one, "since", output_time(s->since_unix_ms, since, sizeof(since)));
        output_set_number(one, "restarts", s->restarts);
        output_set_flag(one, "critical", s->critical);
        output_set_text(one, "complaint", s->complaint);
        json_array_append_new(services, one);
    }
    json_object_set_new(root, "services", services);
    output_json(root);
}

static void print_services(const struct nodectl *n, const Muster__AdminReply *reply)
{
    static const char *const titles[] = {"NAME",     "STATE",    "PID",       "SINCE",
                                         "RESTARTS", "CRITICAL", "COMPLAINT", NULL};
    struct output_table *t;

    if (n->json) {
        print_json(reply);
        return;
    }
    t = output_table_new(titles);
    for (size_t i = 0; i < reply->n_services; i++) {
        const Muster__AdminService *s = reply->services[i];
        char pid[NUMBER_BYTES], restarts[NUMBER_BYTES], since[TIME_BYTES];
        const char *cells[] = {s->name,     s->state,
                               pid,         output_time(s->since_unix_ms, since, sizeof(since)),
                               restarts,    s->critical ? "yes" : "no",
                               s->complaint};

        snprintf(pid, sizeof(pid), "%u", s->pid);
        if (!s->pid)
            snprintf(pid, sizeof(pid), "-");
        snprintf(restarts, sizeof(restarts), "%u", s->restarts);
        output_row(t, cells);
    }
    output_table_end(t);
}

int cmd_service_list(struct nodectl *n)
{
    return admin_run(n, MUSTER__ADMIN_REQUEST__COMMAND__SERVICE_LIST, NULL, print_services);
}

int cmd_service_start(struct nodectl *n)
{
    return admin_run(n, MUSTER__ADMIN_REQUEST__COMMAND__SERVICE_START, n->words[0], NULL);
}

int cmd_service_stop(struct nodectl *n)
{
    return admin_run(n, MUSTER__ADMIN_REQUEST__COMMAND__SERVICE_STOP, n->words[0], NULL);
}

int cmd_service_restart(struct nodectl *n)
{
    return admin_run(n, MUSTER__ADMIN_REQUEST__COMMAND__SERVICE_RESTART, n->words[0], NULL);
}
