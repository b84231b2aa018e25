// SPDX-License-Identifier: Apache-2.0
#include "routerd/stream_io.h"

#include <string.h>

#include "common/mem.h"
#include "common/tls.h"
#include "common/util.h"
#include "routerd/router.h"
#include "routerd/stream_worker.h"

enum { STREAMS_MAX = 100000 }; /* of the node */

struct stream_io {
    struct stream_io_config config;
    struct iopool *pool;
    struct stream_shared shared;
    struct sockaddr_storage addresses[2];
};

/* ---- from the workers ---- */

static void tell_open(struct stream_io *io, const struct stream_to_core *m)
{
    struct router_stream_open open = {
        .root = m->node, .tls = m->tls, .has_exporter = m->has_exporter, .peer = m->peer};

    memcpy(open.exporter, m->exporter, sizeof(open.exporter));
    io->config.ops->on_open(io->config.ctx, m->stream, &open);
}

static void on_core_message(void *ctx, struct iopool_worker *w, struct iopool_message *message)
{
    struct stream_shared *shared = ctx;
    struct stream_io *io = CONTAINER_OF(shared, struct stream_io, shared);
    struct stream_to_core *m = (struct stream_to_core *)message;
    const struct stream_io_ops *ops = io->config.ops;

    switch (m->event) {
    case EVENT_OPEN:
        tell_open(io, m);
        break;
    case EVENT_STANZA:
        ops->on_stanza(io->config.ctx, m->stream, m->arena, m->node);
        break;
    case EVENT_ERROR:
        ops->on_error(io->config.ctx, m->stream, m->error);
        break;
    case EVENT_END:
        ops->on_end(io->config.ctx, m->stream);
        break;
    case EVENT_CLOSED:
        ops->on_closed(io->config.ctx, m->stream);
        break;
    }
    stream_worker_taken(w, m);
}

/* ---- to the workers ---- */

static struct iopool_worker *worker_of(struct stream_io *io, uint64_t stream)
{
    return iopool_worker(io->pool, (unsigned)(stream & 0xff) % iopool_threads(io->pool));
}

static void post(struct stream_io *io, uint64_t stream, enum stream_order order, size_t number)
{
    struct stream_to_worker *m = mem_new(sizeof(*m));

    m->order = order;
    m->stream = stream;
    m->number = number;
    iopool_post(worker_of(io, stream), &m->head);
}

void stream_io_write(struct stream_io *io, uint64_t stream, struct str bytes)
{
    struct stream_to_worker *m = mem_new(sizeof(*m) + bytes.len);

    m->order = ORDER_WRITE;
    m->stream = stream;
    m->number = bytes.len;
    if (bytes.len)
        memcpy(m->bytes, bytes.p, bytes.len);
    iopool_post(worker_of(io, stream), &m->head);
}

void stream_io_starttls(struct stream_io *io, uint64_t stream)
{
    post(io, stream, ORDER_STARTTLS, 0);
}

void stream_io_restart(struct stream_io *io, uint64_t stream)
{
    post(io, stream, ORDER_RESTART, 0);
}

void stream_io_limit(struct stream_io *io, uint64_t stream, size_t stanza_bytes_max)
{
    post(io, stream, ORDER_LIMIT, stanza_bytes_max);
}

void stream_io_end(struct stream_io *io, uint64_t stream)
{
    post(io, stream, ORDER_END, 0);
}

void stream_io_serve(struct stream_io *io, bool serving)
{
    for (unsigned i = 0; i < iopool_threads(io->pool); i++)
        post(io, i, ORDER_SERVE, serving);
}

/* ---- start and close ---- */

static int find_addresses(struct stream_io *io, const struct conf *conf, struct err *ret_err)
{
    const char *address = conf_self(conf)->address;

    if (net_address(address, conf->ports[CONF_PORT_XMPP], &io->addresses[0]) ||
        net_address(address, conf->ports[CONF_PORT_XMPPS], &io->addresses[1]))
        return err_set(ret_err, "%s is no address", address);
    return 0;
}

struct stream_io *stream_io_start(const struct stream_io_config *config, struct err *ret_err)
{
    struct stream_io *io = mem_new(sizeof(*io));
    SSL_CTX *tls = tls_new(TLS_SERVER, config->conf, ret_err);

    io->config = *config;
    if (!tls || find_addresses(io, config->conf, ret_err) < 0) {
        SSL_CTX_free(tls);
        mem_free(io);
        return NULL;
    }
    io->shared = (struct stream_shared){
        .addresses = io->addresses,
        .tls = tls,
        .metrics = config->metrics,
        .streams_max = STREAMS_MAX / config->threads,
    };
    io->pool = iopool_start(config->loop, &(struct iopool_config){
                                              .threads = config->threads,
                                              .on_start = stream_worker_start,
                                              .on_message = stream_worker_message,
                                              .on_stop = stream_worker_stop,
                                              .on_core_message = on_core_message,
                                              .ctx = &io->shared,
                                          });
    return io;
}

void stream_io_close(struct stream_io *io)
{
    iopool_close(io->pool);
    for (unsigned i = 0; i < iopool_threads(io->pool); i++)
        stream_worker_free(iopool_worker(io->pool, i));
    SSL_CTX_free(io->shared.tls);
    mem_free(io);
}
