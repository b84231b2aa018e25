// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * TCP, with or without TLS, on a libuv loop. For the threads that own bytes.
 *
 * All callbacks come from the loop, never from within a call. What is written but not yet taken by
 * the kernel is bounded by write_bytes_max; beyond, net_write() refuses and the caller drops the
 * peer. on_closed comes exactly once, and is the last callback; the connection frees itself after.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <openssl/ssl.h>
#include <uv.h>

struct net_listener;
struct net_conn;

struct net_ops {
    /* Connected, and the TLS handshake (if any) is done. */
    void (*on_open)(void *ctx, struct net_conn *c);
    void (*on_data)(void *ctx, struct net_conn *c, const uint8_t *data, size_t len);
    /* Everything written has been taken by the kernel. May be NULL. */
    void (*on_drained)(void *ctx, struct net_conn *c);
    /* error: 0 for an orderly end, else UV_E... (UV_EPROTO: TLS failed). */
    void (*on_closed)(void *ctx, struct net_conn *c, int error);
};

struct net_config {
    const struct net_ops *ops;
    SSL_CTX *tls;             /* handshake at once; NULL: plain */
    const char *server_name;  /* SNI and name to be verified, for net_connect(); may be NULL */
    size_t write_bytes_max;   /* 0: 4 MiB */
    uint64_t open_timeout_ms; /* connect and handshake; 0: 10 s */
    uint32_t connections_max; /* of a listener; 0: no limit */
    uint32_t dead_after_ms;   /* a peer that is silently gone is noticed; 0: as TCP does */
};

enum { NET_E_FULL = 1, NET_E_CLOSED = 2 };

/* "127.0.1.1" or "::1" and a port; 0 or UV_EINVAL. */
int net_address(const char *host, uint16_t port, struct sockaddr_storage *ret_address);
/* "127.0.1.1:5060", "[::1]:5060". */
void net_address_text(const struct sockaddr *address, char *ret_text, size_t size);

/* Accepts connections with SO_REUSEPORT, so that each I/O thread has its own listener. on_accept
 * returns the ctx for the new connection's callbacks, or NULL to refuse it. */
int net_listen(uv_loop_t *loop, const struct sockaddr_storage *address,
               const struct net_config *config, void *(*on_accept)(void *ctx, struct net_conn *c),
               void *ctx, struct net_listener **ret_listener) __attribute__((warn_unused_result));
/* No more is accepted; open connections stay. The listener frees itself. */
void net_listener_close(struct net_listener *l);

/* Always gives a connection; failure is told by on_closed. */
struct net_conn *net_connect(uv_loop_t *loop, const struct sockaddr_storage *address,
                             const struct net_config *config, void *ctx);

void net_set_ctx(struct net_conn *c, void *ctx);

/* Copies. 0, NET_E_FULL, or NET_E_CLOSED: not open yet or any more. Small writes of one loop turn
 * go out together. */
int net_write(struct net_conn *c, const void *data, size_t len);

/* The next byte that comes is TLS's. on_open comes again when the handshake is done. As a server.
 */
int net_starttls(struct net_conn *c, SSL_CTX *tls) __attribute__((warn_unused_result));

/* Stops and resumes reading: how a slow core slows its peers. */
void net_pause(struct net_conn *c);
void net_resume(struct net_conn *c);

/* Sends what is queued (for at most 2 s), says close_notify, closes. */
void net_shutdown(struct net_conn *c);
/* At once. */
void net_abort(struct net_conn *c);

const char *net_peer_text(const struct net_conn *c); /* "127.0.0.1:40001" */
bool net_is_tls(const struct net_conn *c);
/* tls-exporter channel binding (RFC 9266), 32 bytes; false before or without TLS 1.3. */
bool net_exporter(const struct net_conn *c, uint8_t ret_key[32]);
/* Does the peer's verified certificate carry `name` as a DNS or IP SAN? */
bool net_peer_is(const struct net_conn *c, const char *name);
