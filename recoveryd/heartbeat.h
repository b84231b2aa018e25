// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Heartbeats on the wire, port 7401: mutually authenticated TLS, each heartbeat preceded by its
 * length in two bytes. Each node speaks on the connection that it made and listens on the one that
 * the peer made, so that each finds out by itself whether the other can be reached. A connection
 * that breaks is made again at once; every attempt's end is told.
 */
#include <stdbool.h>

#include <heartbeat.pb-c.h>
#include <openssl/ssl.h>
#include <uv.h>

#include "common/conf.h"
#include "common/err.h"

struct heartbeat;

struct heartbeat_config {
    const struct conf *conf; /* borrowed */
    uint32_t peer;
    SSL_CTX *server, *client; /* of tls_new(), mutual; borrowed */
    /* A heartbeat of the peer, its fields in range; dies after the call. */
    void (*on_heard)(void *ctx, const Muster__Heartbeat *heartbeat);
    /* A connection that was open, ours or theirs, has ended. */
    void (*on_link_lost)(void *ctx);
    /* Ours could not be made. refused: by the peer's kernel, at once. listeners_refused: and
     * so were connections to its fabric, SIP and XMPP ports. */
    void (*on_connect_failed)(void *ctx, bool refused, bool listeners_refused);
    void *ctx;
};

enum { HEARTBEAT_BYTES_MAX = 1024 };

/* NULL with a sentence where the port cannot be had. */
struct heartbeat *heartbeat_start(uv_loop_t *loop, const struct heartbeat_config *config,
                                  struct err *ret_err);
/* No callback comes any more; frees itself. */
void heartbeat_close(struct heartbeat *hb);

void heartbeat_set_connect_timeout(struct heartbeat *hb, uint64_t timeout_ms);

/* Dropped when there is no connection: the next one follows soon. */
void heartbeat_send(struct heartbeat *hb, const Muster__Heartbeat *heartbeat);

/* The peer is silent: ends our connection, so that a new one shows whether it is there. */
void heartbeat_reconnect(struct heartbeat *hb);

/* Reads one of `len` bytes. NULL when it is none of `peer`, or a field is out of range; else
 * muster__heartbeat__free_unpacked() it. */
Muster__Heartbeat *heartbeat_read(const uint8_t *data, size_t len, uint32_t peer);
