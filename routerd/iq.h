// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * IQ stanzas (RFC 6120, 8.2.3). Those for the server or for the sender's own account go to a row of
 * the table in iq.c, by the namespace of their child: a feature is a file with a handler, and a
 * row.
 */
#include "routerd/client.h"
#include "routerd/route.h"

/* To whom a handler answers. */
enum {
    IQ_SELF = 1,   /* no `to`, or the sender's bare JID */
    IQ_DOMAIN = 2, /* the server */
};

struct iq_handler {
    const char *ns;
    const char *name; /* of the child */
    unsigned scope;
    bool get, set;
    bool advertised; /* the namespace is a feature of the server (XEP-0030) */
    void (*handle)(struct inbound *in, struct xml_node *child);
};

/* All rows; the last has no ns. */
extern const struct iq_handler iq_handlers[];

/* An IQ of another user for one of ours. */
void iq_in(struct router *r, const struct routed *st);

/* Answers with `result`, which may have children by then, and completes it. */
void iq_answer(struct inbound *in, struct xml_node *result);

void disco_info(struct inbound *in, struct xml_node *child);
void disco_items(struct inbound *in, struct xml_node *child);
void ping(struct inbound *in, struct xml_node *child);
void session_iq(struct inbound *in, struct xml_node *child);
void roster_iq(struct inbound *in, struct xml_node *child);
