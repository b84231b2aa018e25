// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Reads SRV replies, with the TTL that c-ares' own parser leaves out. For dns.c and its tests.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/dns.h"

/* Adds the SRV records of a reply to `targets`, whose *count must begin at 0, at most
 * DNS_ANSWERS_MAX; *ret_ttl_s: the least of their TTLs. False: malformed. */
bool dns_reply_srv(const uint8_t *reply, size_t len, struct dns_target *targets, size_t *count,
                   uint32_t *ret_ttl_s);

/* RFC 2782: by priority; within one, drawn by weight. */
void dns_reply_order(struct dns_target *targets, size_t count, uint64_t random);
