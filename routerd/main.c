// SPDX-License-Identifier: Apache-2.0
/*
 * routerd: XMPP streams, sessions, rosters, the routing of every IM, the fabric between nodes.
 */
#include <stdio.h>
#include <sys/resource.h>

#include "common/log.h"
#include "routerd/shell.h"

static void on_stop(struct daemon *d)
{
    shell_stop(d->ctx);
}

/* As many connections as we may have; what is too many for the machine is its operator's say. */
static void raise_file_limit(void)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit))
        return;
    limit.rlim_cur = limit.rlim_max;
    if (setrlimit(RLIMIT_NOFILE, &limit))
        log_warning("file_limit_not_raised", log_u64("limit", limit.rlim_max));
}

int main(int argc, char **argv)
{
    static struct routerd r;
    const struct daemon_config config = {
        .service = MUSTER__SERVICE__ROUTERD,
        .summary = "XMPP: streams, sessions, rosters, the routing of every IM",
        .handlers = shell_handlers,
        .handler_count = shell_handler_count,
        .on_view = shell_on_view,
        .on_serving = shell_on_serving,
        .on_link_up = shell_on_link_up,
        .on_link_down = shell_on_link_down,
        .on_health = shell_on_health,
        .on_stop = on_stop,
    };
    struct err err;
    bool is_over;
    int status = daemon_init(&r.daemon, &config, argc, argv, &is_over);

    if (status || is_over)
        return status;
    r.daemon.ctx = &r;
    raise_file_limit();
    if (shell_start(&r, &err) < 0) {
        log_error("cannot_start", log_str("why", err.text));
        return 1;
    }
    return daemon_run(&r.daemon);
}
