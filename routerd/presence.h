// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Presence (RFC 6121, 4): one resource to all who watch it, all resources to one, probes. What
 * clients send is client_presence.c's, subscriptions are subscription.c's, the resource `sip` is
 * sip_presence.h's.
 */
#include "routerd/route.h"

struct inbound;

enum { PRESENCE_DIRECTED_MAX = 256 };

/* From others, for a user of ours. */
void presence_in(struct router *r, const struct routed *st);
void subscription_in(struct account *a, const struct routed *st);
void subscription_client(struct inbound *in);

/* To all contacts with a subscription and the user's own available resources. `xml` has no `to`.
 * `initial`: the number of the session that comes with it and must be told of others; else 0. */
void presence_spread(struct account *a, struct str from, struct str xml, bool unavailable,
                     uint64_t initial);
/* The session has ended and is not its account's any more: unavailable to all who saw it. */
void presence_session_gone(struct session *s);
/* Says again what the session is, to those who may have missed it: those that changed since. */
void presence_repeat_since(struct router *r, uint64_t unix_ms);
/* What was sent to a node on a link that broke soon after may be lost. */
void presence_on_node_link(struct router *r, uint32_t node, bool up);

/* Directed presence. False beyond PRESENCE_DIRECTED_MAX. */
bool presence_add_directed(struct session *s, struct str jid);
void presence_forget_directed(struct session *s, bool tell);

/* A stanza of that type and no content; from the account's bare JID. */
void presence_send(struct router *r, struct str from, struct str to, const char *type);
void presence_say(struct account *a, struct str to, const char *type);
/* `xml` has no `to`; type: "" or "unavailable". */
void presence_send_xml(struct router *r, struct str from, struct str to, struct str type,
                       struct str xml);
/* What each available resource of the account is now, or unavailable instead, to one contact. */
void presence_show(struct account *a, struct str to);
void presence_hide(struct account *a, struct str to);
/* A value of <show/>? */
bool presence_is_show(struct str text);
