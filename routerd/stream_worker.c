// SPDX-License-Identifier: Apache-2.0
/*
 * One thread's streams. A stream is born when a connection is accepted, gets its number then, and
 * dies with the connection. The core is told of it with its first stream header.
 *
 *     accepted -> [plain header -> STARTTLS ->] header -> authenticated -> ...
 *     |-- LOGIN_MS to get here ------------------------------|
 *
 * What a peer can make us hold is bounded: the bytes of a stanza (64 KiB before the login, then
 * what the core says), the trees that the core has not seen yet (all readers pause), what it does
 * not read itself (4 MiB, then it is dropped), and time.
 */
#include "routerd/stream_worker.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/log.h"
#include "common/loop.h"
#include "common/mem.h"
#include "routerd/stream_account.h"

#define uthash_malloc(size)    mem_new(size)
#define uthash_free(p, size)   mem_free(p)
#define uthash_fatal(sentence) abort()

#include <uthash.h>

enum {
    LOGIN_MS = 30000,
    LAST_WORDS_MS = 5000, /* for the core to close a stream that has ended or failed */
    STANZA_BYTES_FIRST = 65536,
    WRITE_BYTES_MAX = 4 << 20,
    DEAD_AFTER_MS = 180000, /* a client that vanished without a word */
    /* Trees and messages that the core has not seen; readers pause beyond, until half is done. */
    STREAM_BYTES_MAX = 1 << 20,
    STREAM_MESSAGES_MAX = 256,
    ALL_BYTES_MAX = 64 << 20,
    ALL_MESSAGES_MAX = 50000,
    SWEEP_MS = 1000,
    PAUSE_MS = 10,
};

struct worker {
    struct iopool_worker *thread;
    const struct stream_shared *shared;
    struct net_listener *listeners[2];
    struct stream *streams;
    size_t count;
    uint64_t last_number;
    struct stream_account *account; /* of all */
    uv_timer_t sweep;
    uv_timer_t pause; /* active while a reader is paused */
    bool serving, paused, listen_failed;
};

struct stream {
    UT_hash_handle hh;
    uint64_t number;
    struct worker *worker;
    struct net_conn *conn;
    struct xml_stream *xml;
    struct stream_account *account;
    mono_t deadline; /* MONO_NEVER once it is authenticated */
    bool told;       /* the core knows it */
    bool ended;      /* nothing of what it says counts any more */
    bool paused;
};

/* ---- to the core ---- */

static struct stream_to_core *message(struct stream *s, enum stream_event event)
{
    struct stream_to_core *m = mem_new(sizeof(*m));

    m->event = event;
    m->stream = s->number;
    m->account = stream_account_ref(s->account);
    return m;
}

static void send_to_core(struct stream *s, struct stream_to_core *m)
{
    m->bytes = m->arena ? m->arena->used : 0;
    stream_account_add(s->account, m->bytes);
    stream_account_add(s->worker->account, m->bytes);
    iopool_send(s->worker->thread, &m->head);
}

void stream_worker_taken(struct iopool_worker *thread, struct stream_to_core *m)
{
    struct worker *w = iopool_state(thread);

    stream_account_take(m->account, m->bytes);
    stream_account_take(w->account, m->bytes);
    stream_account_unref(m->account);
    if (m->arena)
        arena_done(m->arena);
    mem_free(m->arena);
    mem_free(m);
}

/* ---- what the parser says ---- */

static void on_header(void *ctx, const struct xml_node *root)
{
    struct stream *s = ctx;
    struct stream_to_core *m = message(s, EVENT_OPEN);

    m->arena = mem_new(sizeof(*m->arena));
    arena_init(m->arena, STANZA_BYTES_FIRST * 16);
    m->node = xml_copy(m->arena, root);
    m->tls = net_is_tls(s->conn);
    m->has_exporter = net_exporter(s->conn, m->exporter);
    (void)snprintf(m->peer, sizeof(m->peer), "%s", net_peer_text(s->conn));
    s->told = true;
    send_to_core(s, m);
}

static void on_stanza(void *ctx, struct arena *arena, struct xml_node *stanza)
{
    struct stream *s = ctx;
    struct stream_to_core *m = message(s, EVENT_STANZA);

    m->arena = arena;
    m->node = stanza;
    send_to_core(s, m);
}

/* The core says goodbye and closes; if it is busy for too long, we close. */
static void end_stream(struct stream *s, struct stream_to_core *m)
{
    uv_loop_t *loop = iopool_loop(s->worker->thread);

    s->ended = true;
    s->deadline = mono_after(loop_now(loop), LAST_WORDS_MS);
    send_to_core(s, m);
}

static void on_end(void *ctx)
{
    end_stream(ctx, message(ctx, EVENT_END));
}

static void on_parser_error(struct stream *s, int error)
{
    struct stream_to_core *m;

    if (!s->told) { /* not even a header: no XMPP client */
        net_abort(s->conn);
        return;
    }
    m = message(s, EVENT_ERROR);
    m->error = error;
    end_stream(s, m);
}

/* ---- how far the core may be behind ---- */

static bool all_behind(const struct worker *w, unsigned parts)
{
    return stream_account_beyond(w->account, ALL_BYTES_MAX / parts, ALL_MESSAGES_MAX / parts);
}

static bool one_behind(const struct stream *s, unsigned parts)
{
    return stream_account_beyond(s->account, STREAM_BYTES_MAX / parts, STREAM_MESSAGES_MAX / parts);
}

static void pause_reader(struct stream *s)
{
    s->paused = true;
    net_pause(s->conn);
}

static void on_pause_time(uv_timer_t *timer)
{
    struct worker *w = timer->data;
    struct stream *s, *next;
    size_t left = 0;

    if (all_behind(w, 2))
        return;
    w->paused = false;
    HASH_ITER (hh, w->streams, s, next) {
        if (!s->paused)
            continue;
        s->paused = one_behind(s, 2);
        if (s->paused)
            left++;
        else
            net_resume(s->conn);
    }
    if (left == 0)
        uv_timer_stop(timer);
}

static void pause_if_behind(struct stream *s)
{
    struct worker *w = s->worker;
    struct stream *other, *next;

    if (!w->paused && all_behind(w, 1)) {
        w->paused = true;
        HASH_ITER (hh, w->streams, other, next)
            pause_reader(other);
    } else if (one_behind(s, 1)) {
        pause_reader(s);
    } else {
        return;
    }
    uv_timer_start(&w->pause, on_pause_time, PAUSE_MS, PAUSE_MS);
}

/* ---- what the connection says ---- */

static void on_open(void *ctx, struct net_conn *c)
{
    (void)ctx, (void)c; /* the client speaks first; after STARTTLS again */
}

static void on_data(void *ctx, struct net_conn *c, const uint8_t *data, size_t len)
{
    struct stream *s = ctx;
    int error;

    (void)c;
    if (s->ended)
        return;
    error = xml_stream_feed(s->xml, data, len);
    if (error)
        on_parser_error(s, error);
    pause_if_behind(s);
}

static void on_closed(void *ctx, struct net_conn *c, int error)
{
    struct stream *s = ctx;
    struct worker *w = s->worker;

    (void)c;
    if (error)
        log_debug("stream_broken", log_u64("stream", s->number),
                  log_str("why", uv_strerror(error)));
    if (s->told)
        send_to_core(s, message(s, EVENT_CLOSED));
    HASH_DEL(w->streams, s);
    w->count--;
    metrics_add(w->shared->metrics, METRIC_CONNECTIONS, -1);
    xml_stream_free(s->xml);
    stream_account_unref(s->account);
    mem_free(s);
}

static const struct net_ops net_ops = {
    .on_open = on_open, .on_data = on_data, .on_closed = on_closed};
static const struct xml_stream_ops xml_ops = {
    .on_open = on_header, .on_stanza = on_stanza, .on_close = on_end};

static void *on_accept(void *ctx, struct net_conn *c)
{
    struct worker *w = ctx;
    struct stream *s;

    if (w->count >= w->shared->streams_max) {
        metrics_add(w->shared->metrics, METRIC_CONNECTIONS_REFUSED, 1);
        return NULL;
    }
    s = mem_new(sizeof(*s));
    s->worker = w;
    s->conn = c;
    s->number = ++w->last_number << 8 | iopool_index(w->thread);
    s->account = stream_account_new();
    s->xml = xml_stream_new(&xml_ops, s, STANZA_BYTES_FIRST);
    s->deadline = mono_after(loop_now(iopool_loop(w->thread)), LOGIN_MS);
    HASH_ADD(hh, w->streams, number, sizeof(s->number), s);
    w->count++;
    metrics_add(w->shared->metrics, METRIC_CONNECTIONS, 1);
    if (w->paused)
        pause_reader(s);
    return s;
}

/* ---- listeners ---- */

static void close_listeners(struct worker *w)
{
    for (size_t i = 0; i < 2; i++) {
        net_listener_close(w->listeners[i]);
        w->listeners[i] = NULL;
    }
}

/* Opens what should be open; what cannot be (a port that is still taken) is tried again. */
static void serve(struct worker *w)
{
    bool failed = false;

    if (!w->serving)
        close_listeners(w);
    for (size_t i = 0; i < 2 && w->serving; i++) {
        struct net_config config = {.ops = &net_ops,
                                    .tls = i == 1 ? w->shared->tls : NULL,
                                    .write_bytes_max = WRITE_BYTES_MAX,
                                    .dead_after_ms = DEAD_AFTER_MS};
        char address[80];
        int r;

        if (w->listeners[i])
            continue;
        r = net_listen(iopool_loop(w->thread), &w->shared->addresses[i], &config, on_accept, w,
                       &w->listeners[i]);
        failed |= r != 0;
        net_address_text((const struct sockaddr *)&w->shared->addresses[i], address,
                         sizeof(address));
        if (r && !w->listen_failed)
            log_error("cannot_listen", log_str("address", address), log_str("why", uv_strerror(r)));
        else if (!r)
            log_info("listening", log_str("address", address));
    }
    w->listen_failed = failed;
}

/* ---- what the core says ---- */

static void write_to(struct stream *s, const struct stream_to_worker *m)
{
    if (net_write(s->conn, m->bytes, m->number) != NET_E_FULL)
        return;
    log_warning("stream_does_not_read", log_u64("stream", s->number),
                log_str("peer", net_peer_text(s->conn)));
    net_abort(s->conn);
}

static void start_tls(struct stream *s)
{
    if (net_starttls(s->conn, s->worker->shared->tls))
        net_abort(s->conn);
    else
        xml_stream_restart(s->xml);
}

static void set_limit(struct stream *s, size_t stanza_bytes_max)
{
    xml_stream_limit(s->xml, stanza_bytes_max);
    if (!s->ended)
        s->deadline = MONO_NEVER;
}

static void obey(struct stream *s, const struct stream_to_worker *m)
{
    switch (m->order) {
    case ORDER_WRITE:
        write_to(s, m);
        break;
    case ORDER_STARTTLS:
        start_tls(s);
        break;
    case ORDER_RESTART:
        if (!s->ended)
            xml_stream_restart(s->xml);
        break;
    case ORDER_LIMIT:
        set_limit(s, m->number);
        break;
    case ORDER_END:
        s->ended = true;
        net_shutdown(s->conn);
        break;
    case ORDER_SERVE:
        break;
    }
}

void stream_worker_message(struct iopool_worker *thread, struct iopool_message *message)
{
    struct stream_to_worker *m = (struct stream_to_worker *)message;
    struct worker *w = iopool_state(thread);
    struct stream *s;

    if (m->order == ORDER_SERVE) {
        w->serving = m->number;
        serve(w);
    } else {
        HASH_FIND(hh, w->streams, &m->stream, sizeof(m->stream), s);
        if (s)
            obey(s, m);
    }
    mem_free(m);
}

/* ---- time ---- */

static void on_sweep(uv_timer_t *timer)
{
    struct worker *w = timer->data;
    mono_t now = loop_now(timer->loop);
    struct stream *s, *next;

    if (w->listen_failed)
        serve(w);
    HASH_ITER (hh, w->streams, s, next)
        if (mono_reached(now, s->deadline))
            net_abort(s->conn);
}

/* ---- start and stop ---- */

void *stream_worker_start(struct iopool_worker *thread, void *ctx)
{
    struct worker *w = mem_new(sizeof(*w));

    assert(iopool_index(thread) < 256);
    w->thread = thread;
    w->shared = ctx;
    w->account = stream_account_new();
    uv_timer_init(iopool_loop(thread), &w->sweep);
    uv_timer_init(iopool_loop(thread), &w->pause);
    w->sweep.data = w->pause.data = w;
    uv_timer_start(&w->sweep, on_sweep, SWEEP_MS, SWEEP_MS);
    return w;
}

void stream_worker_stop(struct iopool_worker *thread)
{
    struct worker *w = iopool_state(thread);
    struct stream *s, *next;

    w->serving = false;
    close_listeners(w);
    uv_close((uv_handle_t *)&w->sweep, NULL);
    uv_close((uv_handle_t *)&w->pause, NULL);
    HASH_ITER (hh, w->streams, s, next)
        net_abort(s->conn);
}

void stream_worker_free(struct iopool_worker *thread)
{
    struct worker *w = iopool_state(thread);

    stream_account_unref(w->account);
    mem_free(w);
}
