// SPDX-License-Identifier: Apache-2.0
/*
 * syncagent: keeps every user assigned to a node.
 */
#include <stdio.h>

#include "common/daemon.h"
#include "syncagent/agent.h"

struct syncagent {
    struct daemon d;
    struct agent *agent;
};

/* All nodes of the cluster, those that do not serve now too: a home is for longer than an outage.
 */
static void on_view(struct daemon *d, const struct view *view)
{
    struct syncagent *s = d->ctx;

    agent_allow(s->agent, d->serving ? view : NULL);
    daemon_view_done(d, view->version);
}

static void on_serving(struct daemon *d, bool serving)
{
    struct syncagent *s = d->ctx;

    agent_allow(s->agent, serving ? &d->view : NULL);
}

/* It holds nothing that the peer must have. */
static void on_health(struct daemon *d, Muster__ViewAck *ack)
{
    (void)d;
    ack->replica = MUSTER__REPLICA_STATE__REPLICA_IN_SYNC;
}

static void on_stop(struct daemon *d)
{
    struct syncagent *s = d->ctx;

    agent_close(s->agent);
}

static const struct daemon_config config = {
    .service = MUSTER__SERVICE__SYNCAGENT,
    .summary = "assigns users to nodes",
    .on_view = on_view,
    .on_serving = on_serving,
    .on_health = on_health,
    .on_stop = on_stop,
};

int main(int argc, char **argv)
{
    static struct syncagent s;
    bool is_over;
    int status = daemon_init(&s.d, &config, argc, argv, &is_over);

    if (status || is_over)
        return status;
    if (!*s.d.conf.conninfo) {
        fprintf(stderr, "syncagent: %s/node.conf: conninfo = ... is missing\n", s.d.conf.dir);
        return 2;
    }
    s.d.ctx = &s;
    s.agent = agent_start(
        &s.d.loop, &(struct agent_config){.conninfo = s.d.conf.conninfo, .metrics = &s.d.metrics});
    return daemon_run(&s.d);
}
