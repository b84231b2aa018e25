// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * One link. Nobody but ipc.c and ipc_link.c includes this.
 *
 *               connected         Hello came
 *     WAITING ----------> GREETING ----------> UP
 *        ^ ^                 |                 |
 *        | +-- timer --- DOWN <----------------+   any error, end, or refusal: ipc_link_drop()
 *        +-- ipc_connect()
 *
 * An incoming link begins at GREETING and is freed after DOWN. A link's memory is freed only when
 * its handles are closed, so every function may go on using it after a callback.
 *
 * What may be sent at once is in `out`; what waits for credit is in `held`, in order. All that one
 * turn of the loop puts into `out` goes out with one system call: before the loop polls, and after.
 */
#include "common/buf.h"
#include "common/ipc.h"

enum link_state { LINK_WAITING, LINK_GREETING, LINK_UP, LINK_DOWN };

struct ipc_link {
    struct ipc *ipc;
    struct ipc_link *next;
    enum link_state state;
    bool outgoing;
    bool ending; /* freed when its handles are closed */
    bool paused;
    bool has_pipe; /* until its close callback */
    bool has_timer;
    Muster__Service peer;
    uint32_t peer_pid;
    uint64_t peer_boot_id;

    uv_pipe_t pipe;
    uv_connect_t connect;
    uv_timer_t timer; /* WAITING: next attempt; GREETING: patience */
    uint64_t retry_ms;

    struct buf in;
    uint64_t consumed; /* since the last Credit that we sent */
    uint64_t granted;  /* what the peer may still send */

    struct buf out, held;
    struct buf writing; /* what the kernel did not take at once */
    bool is_writing;
    uv_write_t write;
    uint64_t credit; /* what we may still send */
};

struct ipc {
    uv_loop_t *loop;
    struct ipc_config config;
    struct ipc_link *links;
    unsigned link_count;
    uint64_t last_id;
    bool closing;
    unsigned open_handles;
    bool listening;
    uv_pipe_t server;
    uv_prepare_t before_poll;
    uv_check_t after_poll;
    uv_idle_t not_idle; /* active while something is unsent, so that the loop does not block */
};

/* Still without a pipe. */
struct ipc_link *ipc_link_new(struct ipc *ipc);
void ipc_link_open_pipe(struct ipc_link *l);
/* The pipe is connected: says Hello and waits for the other's. */
void ipc_link_greet(struct ipc_link *l);
/* Down; an outgoing link tries again. Without on_down(). */
void ipc_link_close_pipe(struct ipc_link *l);
/* The one way down of a link that was not closed by its owner, with on_down() if it was up. */
void ipc_link_drop(struct ipc_link *l, const char *why);
/* Down for good, and freed when its handles are closed. */
void ipc_link_end(struct ipc_link *l);
/* Hands `out` to the kernel. */
void ipc_link_flush(struct ipc_link *l);

/* In ipc.c: the next attempt; a flush in this turn of the loop; the last link is gone. */
void ipc_link_connect(struct ipc_link *l);
void ipc_flush_soon(struct ipc *ipc);
void ipc_free_if_closed(struct ipc *ipc);
