// SPDX-License-Identifier: Apache-2.0
#include "proxyd/resolve.h"

#include <stdio.h>

#include "common/mem.h"

enum { HOST_MAX = 255 };

struct question {
    struct dns *dns;
    uint64_t id;
    char host[HOST_MAX + 1];
    enum sip_transport transport;
    resolve_done_cb *done;
    void *ctx;
};

static void answer(struct question *q, const struct sip_address *address)
{
    q->done(q->ctx, q->id, address);
    mem_free(q);
}

static void on_address(void *ctx, int status, const struct dns_target *targets, size_t count)
{
    struct sip_address address = {.port = 0};
    struct question *q = ctx;
    const struct sockaddr_storage *found = count ? &targets[0].address : NULL;
    int r = status || !found ? UV_ENOENT
            : found->ss_family == AF_INET6
                ? uv_ip6_name((const struct sockaddr_in6 *)found, address.host, SIP_HOST_MAX)
                : uv_ip4_name((const struct sockaddr_in *)found, address.host, SIP_HOST_MAX);

    if (r == 0)
        address.port = targets[0].port;
    answer(q, r ? NULL : &address);
}

static uint16_t default_port(enum sip_transport transport)
{
    return transport == SIP_TLS ? 5061 : 5060;
}

static void on_service(void *ctx, int status, const struct dns_target *targets, size_t count)
{
    struct question *q = ctx;

    if (status == 0 && count)
        dns_address(q->dns, targets[0].host, targets[0].port, on_address, q);
    else if (status == UV_ENOENT)
        dns_address(q->dns, q->host, default_port(q->transport), on_address, q);
    else
        answer(q, NULL);
}

void resolve(struct dns *dns, uint64_t id, struct str host, uint16_t port,
             enum sip_transport transport, resolve_done_cb *done, void *ctx)
{
    static const char *const services[] = {
        [SIP_UDP] = "_sip._udp", [SIP_TCP] = "_sip._tcp", [SIP_TLS] = "_sips._tcp"};
    struct question *q = mem_new(sizeof(*q));
    char name[HOST_MAX + 16];

    *q = (struct question){.dns = dns, .id = id, .transport = transport, .done = done, .ctx = ctx};
    (void)snprintf(q->host, sizeof(q->host), "%.*s", STR_ARG(host));
    if (port) {
        dns_address(dns, q->host, port, on_address, q);
        return;
    }
    (void)snprintf(name, sizeof(name), "%s.%s", services[transport], q->host);
    dns_srv(dns, name, on_service, q);
}
