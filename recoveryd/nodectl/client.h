// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * One request to the node's recoveryd, over DIR/run/recoveryd.sock; synchronous, with a deadline.
 */
#include <envelope.pb-c.h>

#include "common/arena.h"
#include "common/conf.h"
#include "common/err.h"

enum { CLIENT_DEADLINE_MS = 10000 };

/* The answer lives in `arena`. NULL with a sentence where none came. */
const Muster__AdminReply *client_ask(const struct conf *conf, const Muster__AdminRequest *request,
                                     struct arena *arena, struct err *ret_err);
