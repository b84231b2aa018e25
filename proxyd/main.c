// SPDX-License-Identifier: Apache-2.0
/*
 * proxyd: SIP for the users of a node.
 */
#include "proxyd/shell.h"

int main(int argc, char **argv)
{
    static struct shell shell;
    bool done = false;
    int r = daemon_init(&shell.daemon, &shell_config, argc, argv, &done);

    if (r || done)
        return r;
    r = shell_start(&shell);
    if (r)
        return r;
    r = daemon_run(&shell.daemon);
    shell_done(&shell);
    return r;
}
