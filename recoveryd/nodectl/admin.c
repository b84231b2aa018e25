// SPDX-License-Identifier: Apache-2.0
#include "recoveryd/nodectl/admin.h"

#include <stdio.h>

#include "common/frame.h"
#include "recoveryd/nodectl/client.h"
#include "recoveryd/nodectl/output.h"

static int show(const struct nodectl *n, const Muster__AdminReply *reply,
                void (*print)(const struct nodectl *n, const Muster__AdminReply *reply))
{
    if (reply->status != 0)
        return nodectl_refuse("%s", *reply->sentence ? reply->sentence : "refused");
    if (print)
        print(n, reply);
    else if (n->json)
        output_json(json_object());
    return DONE;
}

int admin_run(struct nodectl *n, Muster__AdminRequest__Command command, const char *argument,
              void (*print)(const struct nodectl *n, const Muster__AdminReply *reply))
{
    Muster__AdminRequest request = MUSTER__ADMIN_REQUEST__INIT;
    const Muster__AdminReply *reply;
    struct arena arena;
    struct err why;
    int status;

    if (!nodectl_conf(n))
        return REFUSED;
    request.command = command;
    if (argument)
        request.argument = (char *)argument;
    arena_init(&arena, FRAME_UNPACKED_MAX);
    reply = client_ask(&n->conf, &request, &arena, &why);
    status = reply ? show(n, reply, print) : nodectl_refuse("%s", why.text);
    arena_done(&arena);
    return status;
}
