// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * What the commands that ask recoveryd share.
 */
#include <envelope.pb-c.h>

#include "recoveryd/nodectl/nodectl.h"

/* Asks, and if the answer is "done" lets `print` show it (NULL: nothing is shown but `{}` with
 * --json). The exit status. */
int admin_run(struct nodectl *n, Muster__AdminRequest__Command command, const char *argument,
              void (*print)(const struct nodectl *n, const Muster__AdminReply *reply));
