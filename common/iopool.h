// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * I/O threads. Each has a loop of its own and shares nothing with the core's thread but two queues
 * of messages. A message is immutable once posted and belongs to the receiver, who frees it. Many
 * messages cost one wake-up.
 *
 *     struct line {
 *         struct iopool_message head; // first
 *         ...
 *     };
 */
#include <stddef.h>

#include <uv.h>

struct iopool;
struct iopool_worker;

struct iopool_message {
    struct iopool_message *next;
};

struct iopool_config {
    unsigned threads;
    /* On the worker's thread. on_start: open listeners; returns the worker's own state. on_stop:
     * close everything; the thread ends when its loop is empty. */
    void *(*on_start)(struct iopool_worker *w, void *ctx);
    void (*on_message)(struct iopool_worker *w, struct iopool_message *m);
    void (*on_stop)(struct iopool_worker *w);
    /* On the core's thread. */
    void (*on_core_message)(void *ctx, struct iopool_worker *w, struct iopool_message *m);
    /* After each batch of core messages: flush what they caused. May be NULL. */
    void (*on_core_batch)(void *ctx);
    /* A message to a worker that has ended. NULL: mem_free() is enough. */
    void (*on_drop)(void *ctx, struct iopool_message *m);
    void *ctx;
};

/* Starts the threads; returns when all have started. core_loop: the caller's. */
struct iopool *iopool_start(uv_loop_t *core_loop, const struct iopool_config *config);
/* Stops and joins them; messages that the core has not seen are given to on_core_message first. */
void iopool_close(struct iopool *p);

unsigned iopool_threads(const struct iopool *p);
struct iopool_worker *iopool_worker(struct iopool *p, unsigned index);

/* Core -> worker. */
void iopool_post(struct iopool_worker *w, struct iopool_message *m);
/* Worker -> core. */
void iopool_send(struct iopool_worker *w, struct iopool_message *m);
/* Messages sent to the core and not yet taken: a worker that sees many pauses its readers. */
size_t iopool_backlog(const struct iopool_worker *w);

uv_loop_t *iopool_loop(struct iopool_worker *w);
unsigned iopool_index(const struct iopool_worker *w);
void *iopool_state(struct iopool_worker *w); /* what on_start returned */
