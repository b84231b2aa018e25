// SPDX-License-Identifier: Apache-2.0
/*
 * Session establishment of RFC 3921, which RFC 6121 made a formality that older clients insist on.
 */
#include "routerd/iq.h"

void session_iq(struct inbound *in, struct xml_node *child)
{
    (void)child;
    iq_answer(in, stanza_result(in->arena, in->node));
}
