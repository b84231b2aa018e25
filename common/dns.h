// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * DNS over c-ares on the loop, with a cache that obeys TTLs (at most 1 h, negative 10 s).
 */
#include <stdint.h>

#include <uv.h>

struct dns;

enum { DNS_ANSWERS_MAX = 16 };

struct dns_target {
    char host[256];                  /* of an SRV; as asked for an address */
    struct sockaddr_storage address; /* family 0 in an SRV answer: look the host up */
    uint16_t port, priority, weight;
};

/* status: 0, UV_ENOENT (no such name or record) or UV_EAI_AGAIN. Targets are in the callback only;
 * SRV ones are ordered as RFC 2782 says. */
typedef void dns_done_cb(void *ctx, int status, const struct dns_target *targets, size_t count);

/* servers: "127.0.0.1:53,[::1]:53"; NULL: what resolv.conf says. */
struct dns *dns_start(uv_loop_t *loop, const char *servers);
/* Outstanding questions are not answered any more. */
void dns_close(struct dns *d);
/* host: name or numeric address. */
void dns_address(struct dns *d, const char *host, uint16_t port, dns_done_cb *done, void *ctx);
/* name: "_sip._udp.example.org". */
void dns_srv(struct dns *d, const char *name, dns_done_cb *done, void *ctx);
