// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Where a message came from, or shall go: an address and a transport and, for streams, the
 * connection that is preferred. If that is gone another one to the same address is used or made.
 */
#include <stdint.h>

enum sip_transport {
    SIP_UDP,
    SIP_TCP,
    SIP_TLS,
    SIP_PEER, /* mutual TLS between nodes (5062): the other end is one of ours */
};

enum { SIP_HOST_MAX = 64 };

struct sip_address {
    char host[SIP_HOST_MAX]; /* numeric, without brackets */
    uint16_t port;
};

struct sip_flow {
    enum sip_transport transport;
    struct sip_address remote;
    uint64_t connection; /* 0: none in particular */
};
