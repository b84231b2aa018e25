// SPDX-License-Identifier: Apache-2.0
/*
 * XEP-0199.
 */
#include "routerd/iq.h"

void ping(struct inbound *in, struct xml_node *child)
{
    (void)child;
    iq_answer(in, stanza_result(in->arena, in->node));
}
