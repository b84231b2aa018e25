// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * The I/O thread's side of stream_io, and the messages between both. Nobody else includes this.
 */
#include <openssl/ssl.h>

#include "common/arena.h"
#include "common/iopool.h"
#include "common/metrics.h"
#include "common/net.h"
#include "common/xml.h"

struct stream_account;

enum stream_order {
    ORDER_WRITE,
    ORDER_STARTTLS,
    ORDER_RESTART,
    ORDER_LIMIT,
    ORDER_END,
    ORDER_SERVE
};

/* Core -> worker. */
struct stream_to_worker {
    struct iopool_message head; /* first */
    enum stream_order order;
    uint64_t stream;
    size_t number; /* LIMIT: bytes; SERVE: 0 or 1; WRITE: length */
    char bytes[];
};

enum stream_event { EVENT_OPEN, EVENT_STANZA, EVENT_ERROR, EVENT_END, EVENT_CLOSED };

/* Worker -> core; `arena` and what is in it go along. */
struct stream_to_core {
    struct iopool_message head; /* first */
    enum stream_event event;
    uint64_t stream;
    struct stream_account *account;
    size_t bytes;        /* that are accounted for; the core may add to the arena */
    struct arena *arena; /* OPEN, STANZA */
    struct xml_node *node;
    int error;
    bool tls, has_exporter;
    uint8_t exporter[32];
    char peer[64];
};

/* What the workers share: constant after the start, but for the count. */
struct stream_shared {
    const struct sockaddr_storage *addresses; /* of the two listeners */
    SSL_CTX *tls;
    struct metrics *metrics;
    size_t streams_max; /* of one worker */
};

/* iopool_config.ctx is a struct stream_shared. */
void *stream_worker_start(struct iopool_worker *w, void *ctx);
void stream_worker_message(struct iopool_worker *w, struct iopool_message *m);
void stream_worker_stop(struct iopool_worker *w);
/* After the thread has ended and its last messages were seen. */
void stream_worker_free(struct iopool_worker *w);
/* On the core's thread: `m` was dealt with. Frees it with its tree. */
void stream_worker_taken(struct iopool_worker *w, struct stream_to_core *m);
