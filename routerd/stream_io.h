// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * The streams' bytes: listeners for STARTTLS and direct TLS, TLS, XML, on I/O threads of their own.
 * The core's thread hears whole stanzas and says what to write; both by messages (common/iopool),
 * so that neither waits for the other. What this module decides is what bytes alone decide: limits
 * of size, number and time.
 *
 * A stream's number is never used again: the worker in its lowest 8 bits, a counter above. What is
 * asked for a stream that is gone does nothing.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <uv.h>

#include "common/conf.h"
#include "common/err.h"
#include "common/str.h"

struct stream_io;
struct arena;
struct metrics;
struct router_stream_open;
struct xml_node;

/* All on the core's thread. The first event of a stream is on_open, the last on_closed; a
 * connection that never said a stream header is not told at all. */
struct stream_io_ops {
    void (*on_open)(void *ctx, uint64_t stream, const struct router_stream_open *open);
    /* The tree dies after the call. */
    void (*on_stanza)(void *ctx, uint64_t stream, struct arena *arena, struct xml_node *stanza);
    void (*on_error)(void *ctx, uint64_t stream, int error); /* XML_E_... */
    void (*on_end)(void *ctx, uint64_t stream);
    void (*on_closed)(void *ctx, uint64_t stream);
};

struct stream_io_config {
    uv_loop_t *loop; /* the core's */
    const struct conf *conf;
    unsigned threads;
    struct metrics *metrics;
    const struct stream_io_ops *ops;
    void *ctx;
};

/* Nothing is accepted until stream_io_serve(). NULL with a sentence: certificates. */
struct stream_io *stream_io_start(const struct stream_io_config *config, struct err *ret_err);
/* Ends all connections; their on_closed come from within. */
void stream_io_close(struct stream_io *io);

/* Opens or closes the listeners; streams that are open stay. */
void stream_io_serve(struct stream_io *io, bool serving);

/* As in struct router_ops. */
void stream_io_write(struct stream_io *io, uint64_t stream, struct str bytes);
void stream_io_starttls(struct stream_io *io, uint64_t stream);
void stream_io_restart(struct stream_io *io, uint64_t stream);
/* The first one also says that the client is known: until then it has 30 s. */
void stream_io_limit(struct stream_io *io, uint64_t stream, size_t stanza_bytes_max);
void stream_io_end(struct stream_io *io, uint64_t stream);
