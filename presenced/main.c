// SPDX-License-Identifier: Apache-2.0
/*
 * presenced: publications, composition, subscriptions.
 */
#include "presenced/shell.h"

static void on_stop(struct daemon *d)
{
    shell_stop(d->ctx);
}

int main(int argc, char **argv)
{
    static struct presenced p;
    const struct daemon_config config = {
        .service = MUSTER__SERVICE__PRESENCED,
        .summary = "presence: publications, composition, subscriptions",
        .handlers = shell_handlers,
        .handler_count = shell_handler_count,
        .on_view = shell_on_view,
        .on_serving = shell_on_serving,
        .on_link_up = shell_on_link_up,
        .on_link_down = shell_on_link_down,
        .on_health = shell_on_health,
        .on_stop = on_stop,
    };
    bool is_over;
    int status = daemon_init(&p.daemon, &config, argc, argv, &is_over);

    if (status || is_over)
        return status;
    p.daemon.ctx = &p;
    shell_start(&p);
    return daemon_run(&p.daemon);
}
