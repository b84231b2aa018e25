// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * What the files of the wire share: the messages between the threads, and a worker's state.
 */
#include <openssl/ssl.h>

#include "common/buf.h"
#include "common/iopool.h"
#include "common/net.h"
#include "common/util.h"
#include "proxyd/sip/frame.h"
#include "proxyd/sip/table.h"
#include "proxyd/wire.h"

enum {
    WIRE_BACKLOG_MAX = 5000,          /* messages the core has not taken; beyond, streams wait */
    WIRE_DATAGRAM_BACKLOG = 20000,    /* and datagrams are dropped */
    WIRE_CONNECTIONS_MAX = 20000,     /* of each listener */
    WIRE_WAITING_BYTES_MAX = 1 << 20, /* for a connection that is being made */
    WIRE_OPEN_TIMEOUT_MS = 3000,
    WIRE_SILENT_MS = 30000,     /* a connection that has not sent a whole message for so long */
    WIRE_IDLE_MS = 3700 * 1000, /* one that has, once: longer than any registration */
    WIRE_SWEEP_MS = 5000,
    WIRE_TOKENS_MAX = 64, /* requests on a connection that are told when it breaks */
};

/* Worker -> core. */
struct wire_event {
    struct iopool_message head;
    enum { WIRE_MESSAGE, WIRE_OPENED, WIRE_CLOSED, WIRE_FAILED, WIRE_LISTENING } kind;
    struct sip_msg *message; /* the receiver's */
    struct sip_flow flow;    /* of what opened or closed */
    uint64_t token;
    int error;
};

/* Core -> worker. */
struct wire_order {
    struct iopool_message head;
    enum { WIRE_SEND, WIRE_LISTEN } kind;
    bool listen;
    struct sip_flow to;
    uint64_t token;
    size_t len;
    char bytes[];
};

struct wire_tls {
    SSL_CTX *server, *peer_server, *client;
};

struct stream;
struct datagrams;

/* All but threads, on_core_message and ctx, which is the struct wire. */
extern const struct iopool_config wire_worker_config;
const struct wire_config *wire_config_of(const struct wire *w);
const struct wire_tls *wire_tls_of(const struct wire *w);

enum { WIRE_LISTENERS = 3 };

/* One I/O thread's. */
struct worker {
    struct iopool_worker *pool;
    const struct wire_config *config;
    const struct wire_tls *tls;
    bool listening;
    struct datagrams *datagrams; /* NULL: not listening */
    struct net_listener *listeners[WIRE_LISTENERS];
    struct net_config listener_configs[WIRE_LISTENERS];
    struct stream *streams;    /* by id */
    struct stream *by_address; /* by transport and remote address */
    uint64_t last_id;
    uv_timer_t sweep;
    bool stopping; /* freed when the last connection is closed */
};

/* "tcp 192.0.2.1:5060": names a connection among those of a worker. */
void wire_key(enum sip_transport transport, const struct sip_address *remote, struct buf *out);

/* Parses, and hands to the core; counts what is no message. refusal.code 0: what parsing says. */
void worker_message(struct worker *w, struct str data, const struct sip_flow *flow,
                    struct sip_refusal refusal);
void worker_event(struct worker *w, const struct wire_event *event);
void worker_failed(struct worker *w, uint64_t token);

/* NULL and *ret_error: cannot be opened. */
struct datagrams *datagrams_open(struct worker *w, const struct sockaddr_storage *address,
                                 int *ret_error);
void datagrams_close(struct datagrams *d);
void datagrams_send(struct datagrams *d, const struct wire_order *order);

extern const struct net_ops stream_ops;
/* For net_listen(): ctx is the worker; one for each transport. */
void *stream_accept_tcp(void *ctx, struct net_conn *conn);
void *stream_accept_tls(void *ctx, struct net_conn *conn);
void *stream_accept_peer(void *ctx, struct net_conn *conn);
/* Over the connection that is named, or one to the address, or a new one. */
void stream_send(struct worker *w, const struct wire_order *order);
/* Closes those that are silent or idle, lets the others read on. */
void stream_sweep(struct worker *w);
/* at_once: without sending what is queued. */
void stream_close_all(struct worker *w, bool at_once);
/* Something of it was closed: frees it if that was the last. */
void worker_closed(struct worker *w);
