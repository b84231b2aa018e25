// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * How many SIP bindings each user has, as proxyd tells it: devices that an IM can be sent to.
 */
#include "routerd/state.h"

/* An empty aor ends what proxyd says of a new link: the rest is gone. */
void devices_on_registration(struct router *r, const Muster__Registration *m);
void devices_on_link(struct router *r, bool up);
