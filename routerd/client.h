// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * What a client says on a bound stream. client.c checks and addresses each stanza; message.c,
 * presence.c and iq.c do what it says. Every stanza is completed (sm_complete()) exactly once, when
 * its work is done.
 */
#include "common/jid.h"
#include "common/xml.h"
#include "routerd/stanza.h"
#include "routerd/state.h"

/* A stanza of a client; all of it dies after the event. `node` has its `from`, the full JID, and,
 * if it had one, its `to`, prepared. */
struct inbound {
    struct session *session;
    struct arena *arena;
    struct xml_node *node;
    bool has_to;
    struct jid to; /* without one: the sender's bare JID */
    struct str type, id;
    uint64_t number;
};

/* An element on a bound stream. */
void client_element(struct session *s, struct arena *arena, struct xml_node *node);

void client_message(struct inbound *in);
void client_presence(struct inbound *in);
void client_iq(struct inbound *in);

/* Answers with an error, unless it is one, and completes it. */
void client_refuse(struct inbound *in, enum stanza_error error);
