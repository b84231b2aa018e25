// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Presence (RFC 6121, 4): broadcast to contacts with a subscription, probes, directed presence, the
 * user's own resources; and the resource `sip`, which stands for the user's SIP devices.
 * Subscriptions are subscription.c's.
 */
#include "routerd/route.h"

struct inbound;

enum { PRESENCE_DIRECTED_MAX = 256 };

/* From others, for a user of ours. */
void presence_in(struct router *r, const struct routed *st);
void subscription_in(struct account *a, const struct routed *st);
void subscription_client(struct inbound *in);

/* The session has ended and is not its account's any more: unavailable to all who saw it. */
void presence_session_gone(struct session *s);
/* False beyond PRESENCE_DIRECTED_MAX. */
bool presence_add_directed(struct session *s, struct str jid);

/* A stanza of that type and no content; from the account's bare JID. */
void presence_send(struct router *r, struct str from, struct str to, const char *type);
void presence_say(struct account *a, struct str to, const char *type);
/* What each available resource of the account is now, or unavailable instead, to one contact. */
void presence_show(struct account *a, struct str to);
void presence_hide(struct account *a, struct str to);

/* presenced. */
void presence_on_availability(struct router *r, const Muster__Availability *m);
void presence_on_sync(struct router *r);
void presence_on_link(struct router *r, bool up);
/* What the session is now, for composition. */
void presence_tell_device(const struct session *s);
/* Users were activated; contacts may have seen a `sip` that presenced does not confirm. */
void presence_activated(struct router *r);
void presence_init(struct router *r);
