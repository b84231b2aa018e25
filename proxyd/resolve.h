// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * From the host of a SIP URI to an address: RFC 3263, 4.2, for a transport that is known already.
 */
#include "common/dns.h"
#include "common/str.h"
#include "proxyd/sip/flow.h"

/* address NULL: there is none. From the loop, once. */
typedef void resolve_done_cb(void *ctx, uint64_t id, const struct sip_address *address);

/* port 0: by SRV, and if there is none, the transport's default. Questions that are open when `dns`
 * is closed are never answered, and their memory is freed with the process. */
void resolve(struct dns *dns, uint64_t id, struct str host, uint16_t port,
             enum sip_transport transport, resolve_done_cb *done, void *ctx);
