// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * A question to the node's recoveryd, over its Unix socket; waits for the answer.
 */
#include <envelope.pb-c.h>

#include "recoveryd/nodectl/nodectl.h"

/* The answer, to be freed with client_free(); NULL after a sentence on standard error: recoveryd
 * does not run, or said nothing for 10 s. `argument` may be NULL. */
const Muster__AdminReply *client_ask(const struct nodectl *n, Muster__AdminRequest__Command command,
                                     const char *argument);
void client_free(const Muster__AdminReply *reply);

/* Asks and prints only the refusal, if it is one. The exit status. */
int client_command(const struct nodectl *n, Muster__AdminRequest__Command command,
                   const char *argument);
