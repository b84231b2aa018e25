// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * What routerd and presenced tell each other: presenced, what a user's SIP devices publish, which
 * contacts see as one more resource, `sip`; routerd, what the user's XMPP resources say, for
 * composition. Each tells all when their link is new, and then says so.
 *
 * What contacts saw last is in both memories. After a takeover it stays until presenced confirms or
 * changes it, or has had time enough to do so.
 */
#include "routerd/state.h"

void sip_presence_init(struct router *r);
void presence_on_availability(struct router *r, const Muster__Availability *m);
void presence_on_sync(struct router *r);
void presence_on_link(struct router *r, bool up);
/* Users were activated. */
void presence_activated(struct router *r);
/* What the session is now. */
void presence_tell_device(const struct session *s);

/* The resource `sip`, as contacts saw it last, to one of them; unavailable instead. */
void sip_show(struct account *a, struct str to);
void sip_hide(struct account *a, struct str to);
