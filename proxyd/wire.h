// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * SIP on the network: sockets, TLS, framing and parsing in I/O threads; messages and flows for the
 * core, on whose thread all of this is called and calls back.
 *
 *     core  --wire_send-->  wire.c  ==orders==>  wire_worker.c  -->  wire_udp.c, wire_stream.c
 *     core  <--on_message-- wire.c  <==events==  (a thread each)
 *
 * It decides nothing about SIP but where a message ends and that it is one.
 */
#include <uv.h>

#include "common/conf.h"
#include "common/err.h"
#include "common/metrics.h"
#include "proxyd/sip/msg.h"

struct wire;

struct wire_config {
    const struct conf *conf; /* our address, ports, certificates, the other nodes */
    unsigned threads;
    struct metrics *metrics;
    /* A message came; it is the callee's. */
    void (*on_message)(void *ctx, struct sip_msg *message);
    /* What was sent with this token did not get through, or its connection broke before an answer
     * could come. */
    void (*on_failed)(void *ctx, uint64_t token);
    void *ctx;
};

/* NULL, and why, when there are no certificates. Does not listen yet. */
struct wire *wire_start(uv_loop_t *loop, const struct wire_config *config, struct err *ret_err);
/* Stops the threads, closes everything. Nothing is called any more. */
void wire_close(struct wire *w);

/* Opens the listeners, or closes them and every connection. Opening is tried until it succeeds. */
void wire_listen(struct wire *w, bool listen);
/* All listeners of all threads are open; else a libuv error, or 0 while they are being opened. */
bool wire_is_listening(const struct wire *w, int *ret_error);

/* Copies. token: for on_failed; 0: nobody cares. */
void wire_send(struct wire *w, const struct sip_flow *to, struct str bytes, uint64_t token);

/* The open connection to an address; 0 when there is none. */
uint64_t wire_connection(const struct wire *w, enum sip_transport transport,
                         const struct sip_address *remote);
