// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * The inside of a connection: net_conn.c is its life, net.c makes and accepts it. Nobody else
 * includes this.
 *
 *     CONNECTING --> HANDSHAKE --> OPEN --> ENDING --> LINGERING --> CLOSING
 *      (client)       (TLS)          |      (sends      (FIN sent,    (uv_close)
 *                       ^____________|       the rest)   waits for it)
 *                         STARTTLS
 *
 * Writing. net_write() puts bytes into `plain` and starts the idle handle, which libuv calls
 * before it next waits: flush() makes TLS records of all of it at once, in `wire`, and hands the
 * kernel what it takes. What it does not take moves into one uv_write; meanwhile `plain` grows, up
 * to the limit. All three are empty and freed when nothing waits.
 *
 * TLS. OpenSSL reads and writes through a BIO of ours, which looks into the read buffer of the
 * thread and appends to `wire`: nothing is copied for it, and an idle connection holds no buffer.
 *
 * A connection is freed when libuv has closed its three handles. Everything that may call the
 * owner looks at `state` afterwards, because the owner may have ended the connection.
 */
#include "common/buf.h"
#include "common/net.h"

enum net_state { CONNECTING, HANDSHAKE, OPEN, ENDING, LINGERING, CLOSING };

struct net_listener {
    uv_tcp_t tcp;
    struct net_config config;
    void *(*on_accept)(void *ctx, struct net_conn *c);
    void *ctx;
    uint32_t connections;
    bool closed;
};

struct net_conn {
    uv_tcp_t tcp;
    uv_timer_t timer; /* opening, ending */
    uv_idle_t flush;  /* active while something was written */
    const struct net_ops *ops;
    void *ctx;
    struct net_listener *listener; /* whose count we are in; NULL for net_connect() */
    SSL *ssl;
    struct buf plain, wire;
    uv_write_t *writing; /* in the kernel's hands: NULL or a struct written */
    size_t writing_bytes;
    size_t write_bytes_max;
    const uint8_t *input; /* what OpenSSL may read now */
    size_t input_len;
    enum net_state state;
    uint8_t handles;
    int error;
    bool paused;
    bool accepted; /* the owner has heard of it: it gets on_closed */
    bool drain_due;
    char peer[INET6_ADDRSTRLEN + 9];
};

/* Starts the time for opening; `config` is the listener's or the caller's. */
struct net_conn *net_conn_new(uv_loop_t *loop, const struct net_config *config);
void net_conn_tls(struct net_conn *c, SSL_CTX *tls, bool server);
/* TCP is there: goes on to TLS or to open. */
void net_conn_begin(struct net_conn *c);
/* The one way out: everything that ends a connection comes here. */
void net_conn_drop(struct net_conn *c, int error);
/* Frees a listener that is closed and has no connections any more. */
void net_listener_free(struct net_listener *l);
