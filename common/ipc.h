// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Envelopes between the processes of a node, over Unix sockets in its run directory.
 *
 * A link is one connection. Both sides say Hello first; a link that says anything else is closed.
 * An outgoing link connects again by itself (50 ms, doubling to 1 s) until it is closed. What a
 * link may have in flight is bounded by the credit that the other side gave (CREDIT_BYTES at Hello,
 * more as it consumes), what it may hold back by `queue_bytes_max`: ipc_send() beyond that refuses,
 * and the caller refuses in turn. Everything happens on the loop's thread.
 *
 * Handlers stand in a table indexed by the body's case:
 *
 *     static const struct ipc_handler handlers[] = {
 *         [MUSTER__ENVELOPE__BODY_PUBLISH] = {on_publish, 1u << MUSTER__SERVICE__PROXYD},
 *     };
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <envelope.pb-c.h>
#include <uv.h>

struct ipc;
struct ipc_link;

enum { IPC_FRAME_MAX = 1 << 20, IPC_E_FULL = 1, IPC_E_DOWN = 2 };

/* The envelope is the link's and dies when the handler returns. ctx: ipc_config.ctx. */
typedef void ipc_handler_cb(void *ctx, struct ipc_link *link, const Muster__Envelope *envelope);

struct ipc_handler {
    ipc_handler_cb *handle;
    unsigned from; /* bit set of 1u << MUSTER__SERVICE__X: who may send it */
};

struct ipc_config {
    Muster__Service service; /* who we are */
    uint32_t node;
    uint64_t boot_id;
    const char *run_dir; /* sockets are run_dir/NAME.sock; borrowed */
    const struct ipc_handler *handlers;
    size_t handler_count;
    size_t queue_bytes_max;                          /* 0: 16 MiB */
    void (*on_up)(void *ctx, struct ipc_link *link); /* Hello came; may be NULL, as the next */
    void (*on_down)(void *ctx,
                    struct ipc_link *link); /* do not use `link` after this if incoming */
    struct metrics *metrics;
    void *ctx;
};

struct ipc *ipc_new(uv_loop_t *loop, const struct ipc_config *config);

/* Accepts links on run_dir/NAME.sock of our service, replacing a stale socket. 0 or UV_E... */
int ipc_listen(struct ipc *ipc) __attribute__((warn_unused_result));

/* Keeps a link to `service` of this node, until ipc_close(). */
struct ipc_link *ipc_connect(struct ipc *ipc, Muster__Service service);

/* Closes all links and frees `ipc` once its handles are closed. What was sent goes out as far as
 * the kernel takes it at once; no callback comes any more. */
void ipc_close(struct ipc *ipc);

/* Queues a copy. 0, IPC_E_FULL or IPC_E_DOWN (not up: nothing is queued). */
int ipc_send(struct ipc_link *link, const Muster__Envelope *envelope)
    __attribute__((warn_unused_result));

/* Stops taking frames from a link, and goes on; so a busy process slows its peers down, whose
 * queues fill up. A link that comes up is not paused. */
void ipc_pause(struct ipc_link *link);
void ipc_resume(struct ipc_link *link);

bool ipc_is_up(const struct ipc_link *link);
Muster__Service ipc_peer(const struct ipc_link *link);
uint32_t ipc_peer_pid(const struct ipc_link *link);
uint64_t ipc_peer_boot_id(const struct ipc_link *link);

/* A number for the next request on any link; never 0. */
uint64_t ipc_next_id(struct ipc *ipc);

/* "proxyd", ...; NULL for numbers that are none. Names of sockets, processes and parameters. */
const char *ipc_service_name(Muster__Service service);
/* SERVICE_NONE when there is none. */
Muster__Service ipc_service_of(const char *name);
