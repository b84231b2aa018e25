// SPDX-License-Identifier: Apache-2.0
#include "common/ipc_link.h"

#include <assert.h>
#include <string.h>
#include <unistd.h>

#include "common/frame.h"
#include "common/log.h"
#include "common/mem.h"
#include "common/metrics.h"
#include "common/version.h"

enum {
    CREDIT_BYTES = 4 << 20,
    READ_BYTES = 64 * 1024,
    KEPT_BYTES = 256 * 1024, /* an empty buffer larger than this is given back */
    CONTROL_BYTES = 64 * 1024,
    VERSION_BYTES_MAX = 32,
    RETRY_FIRST_MS = 50,
    RETRY_MOST_MS = 1000,
    HELLO_TIMEOUT_MS = 5000,
};

_Static_assert((int)IPC_FRAME_MAX == (int)FRAME_BYTES_MAX, "one limit, two names");

static void count(struct ipc *ipc, enum metric id, int64_t n)
{
    if (ipc->config.metrics)
        metrics_add(ipc->config.metrics, id, n);
}

static const char *peer_name(const struct ipc_link *l)
{
    const char *name = ipc_service_name(l->peer);

    return name ? name : "not known yet";
}

/* ---- the end of a link ---- */

static void free_link_if_closed(struct ipc_link *l)
{
    struct ipc *ipc = l->ipc;
    struct ipc_link **at = &ipc->links;

    if (!l->ending || l->has_pipe || l->has_timer)
        return;
    while (*at != l)
        at = &(*at)->next;
    *at = l->next;
    ipc->link_count--;
    buf_done(&l->in);
    buf_done(&l->out);
    buf_done(&l->held);
    buf_done(&l->writing);
    mem_free(l);
    ipc_free_if_closed(ipc);
}

static void on_timer_closed(uv_handle_t *handle)
{
    struct ipc_link *l = handle->data;

    l->has_timer = false;
    free_link_if_closed(l);
}

static void on_retry(uv_timer_t *timer)
{
    ipc_link_connect(timer->data);
}

static void on_pipe_closed(uv_handle_t *handle)
{
    struct ipc_link *l = handle->data;

    l->has_pipe = false;
    if (l->ending) {
        free_link_if_closed(l);
        return;
    }
    l->state = LINK_WAITING;
    uv_timer_start(&l->timer, on_retry, l->retry_ms, 0);
    l->retry_ms = l->retry_ms * 2 < RETRY_MOST_MS ? l->retry_ms * 2 : RETRY_MOST_MS;
}

void ipc_link_close_pipe(struct ipc_link *l)
{
    l->state = LINK_DOWN;
    uv_timer_stop(&l->timer);
    if (l->has_pipe && !uv_is_closing((uv_handle_t *)&l->pipe))
        uv_close((uv_handle_t *)&l->pipe, on_pipe_closed);
    buf_done(&l->in);
    buf_done(&l->out);
    buf_done(&l->held);
}

void ipc_link_end(struct ipc_link *l)
{
    l->ending = true;
    ipc_link_close_pipe(l);
    if (!uv_is_closing((uv_handle_t *)&l->timer))
        uv_close((uv_handle_t *)&l->timer, on_timer_closed);
}

/* nodectl comes and goes with every command. */
static enum log_level news_level(const struct ipc_link *l)
{
    return l->peer == MUSTER__SERVICE__NODECTL ? LOG_DEBUG : LOG_INFO;
}

/* The one way down of a link that was not closed by its owner. */
void ipc_link_drop(struct ipc_link *l, const char *why)
{
    struct ipc *ipc = l->ipc;
    bool was_up = l->state == LINK_UP;

    if (l->state == LINK_DOWN || l->state == LINK_WAITING)
        return;
    if (was_up)
        LOG_AT(news_level(l), "link_down",
               ((struct log_field[]){log_str("peer", peer_name(l)), log_str("why", why)}));
    if (l->outgoing)
        ipc_link_close_pipe(l);
    else
        ipc_link_end(l);
    if (was_up && !ipc->closing && ipc->config.on_down)
        ipc->config.on_down(ipc->config.ctx, l);
}

static void refuse(struct ipc_link *l, const char *why)
{
    log_warning("link_refused", log_str("peer", peer_name(l)), log_str("why", why));
    count(l->ipc, METRIC_IPC_REFUSED, 1);
    ipc_link_drop(l, why);
}

/* ---- sending ---- */

static void on_written(uv_write_t *write, int status)
{
    struct ipc_link *l = write->data;

    l->is_writing = false;
    buf_done(&l->writing);
    if (status < 0 && status != UV_ECANCELED)
        ipc_link_drop(l, uv_strerror(status));
    else if (l->out.len)
        ipc_flush_soon(l->ipc);
}

/* What the kernel does not take now is libuv's; what is put until then waits in `out`. */
static int write_rest(struct ipc_link *l, size_t taken)
{
    uv_buf_t rest;
    int r;

    l->writing = l->out;
    buf_init(&l->out, l->writing.max);
    rest = uv_buf_init(l->writing.data + taken, (unsigned)(l->writing.len - taken));
    l->is_writing = true;
    l->write.data = l;
    r = uv_write(&l->write, (uv_stream_t *)&l->pipe, &rest, 1, on_written);
    if (r < 0)
        l->is_writing = false; /* on_written will not come */
    return r;
}

void ipc_link_flush(struct ipc_link *l)
{
    uv_buf_t all;
    int r;

    if (l->is_writing || l->out.len == 0 || (l->state != LINK_UP && l->state != LINK_GREETING))
        return;
    all = uv_buf_init(l->out.data, (unsigned)l->out.len);
    r = uv_try_write((uv_stream_t *)&l->pipe, &all, 1);
    if (r == UV_EAGAIN)
        r = 0;
    if (r >= 0 && (size_t)r < l->out.len)
        r = write_rest(l, (size_t)r);
    else if (r >= 0 && l->out.cap > KEPT_BYTES)
        buf_done(&l->out);
    else if (r >= 0)
        buf_clear(&l->out);
    if (r < 0)
        ipc_link_drop(l, uv_strerror(r));
}

/* Hello and Credit: they cost no credit, and never wait for it. */
static void send_control(struct ipc_link *l, const Muster__Envelope *envelope)
{
    if (!frame_put(&l->out, envelope))
        ipc_link_drop(l, "it does not read");
    ipc_flush_soon(l->ipc);
}

int ipc_send(struct ipc_link *l, const Muster__Envelope *envelope)
{
    size_t size = frame_size(envelope);
    size_t most = l->ipc->config.queue_bytes_max;
    size_t queued = l->out.len + l->held.len + l->writing.len;
    bool now = l->held.len == 0 && size <= l->credit;

    if (l->state != LINK_UP)
        return IPC_E_DOWN;
    if (queued > most || size > most - queued || !frame_put(now ? &l->out : &l->held, envelope)) {
        count(l->ipc, METRIC_IPC_REFUSED, 1);
        return IPC_E_FULL;
    }
    count(l->ipc, METRIC_IPC_FRAMES_OUT, 1);
    if (now) {
        l->credit -= size;
        ipc_flush_soon(l->ipc);
    }
    return 0;
}

/* Moves what the credit now allows from `held` to `out`. */
static void release_held(struct ipc_link *l)
{
    size_t moved = 0;
    struct str message;

    while (frame_look(str_sub(buf_str(&l->held), moved, l->held.len), &message) == FRAME_WHOLE) {
        size_t size = FRAME_HEAD_BYTES + message.len;

        if (size > l->credit)
            break;
        l->credit -= size;
        moved += size;
    }
    if (moved == 0)
        return;
    buf_put(&l->out, l->held.data, moved);
    if (l->out.full) {
        ipc_link_drop(l, "it does not read");
        return;
    }
    if (moved == l->held.len)
        buf_done(&l->held);
    else
        buf_drop(&l->held, moved);
    ipc_flush_soon(l->ipc);
}

static void send_hello(struct ipc_link *l)
{
    const struct ipc_config *c = &l->ipc->config;
    Muster__Hello hello = MUSTER__HELLO__INIT;
    Muster__Envelope envelope = MUSTER__ENVELOPE__INIT;

    hello.service = c->service;
    hello.version = MUSTER_VERSION;
    hello.boot_id = c->boot_id;
    hello.node = c->node;
    hello.pid = (uint32_t)getpid();
    hello.credit_bytes = CREDIT_BYTES;
    envelope.body_case = MUSTER__ENVELOPE__BODY_HELLO;
    envelope.hello = &hello;
    send_control(l, &envelope);
}

static void return_credit(struct ipc_link *l)
{
    Muster__Credit credit = MUSTER__CREDIT__INIT;
    Muster__Envelope envelope = MUSTER__ENVELOPE__INIT;

    if (l->consumed < CREDIT_BYTES / 2)
        return;
    credit.bytes = l->consumed;
    envelope.body_case = MUSTER__ENVELOPE__BODY_CREDIT;
    envelope.credit = &credit;
    l->granted += l->consumed;
    l->consumed = 0;
    send_control(l, &envelope);
}

/* ---- receiving ---- */

static bool may_be_peer(uint32_t service)
{
    return service != MUSTER__SERVICE__DATABASE && service <= INT32_MAX &&
           ipc_service_name((Muster__Service)service);
}

static void on_hello(struct ipc_link *l, const Muster__Envelope *envelope)
{
    const Muster__Hello *hello = envelope->hello;
    struct ipc *ipc = l->ipc;

    if (envelope->body_case != MUSTER__ENVELOPE__BODY_HELLO || !may_be_peer(hello->service) ||
        strnlen(hello->version, VERSION_BYTES_MAX + 1) > VERSION_BYTES_MAX || !hello->boot_id) {
        refuse(l, "it does not begin with a Hello");
        return;
    }
    if (l->outgoing && l->peer != (Muster__Service)hello->service) {
        refuse(l, "another service answers there");
        return;
    }
    l->peer = (Muster__Service)hello->service;
    l->peer_pid = hello->pid;
    l->peer_boot_id = hello->boot_id;
    l->credit = hello->credit_bytes;
    l->retry_ms = RETRY_FIRST_MS;
    l->state = LINK_UP;
    uv_timer_stop(&l->timer);
    LOG_AT(news_level(l), "link_up",
           ((struct log_field[]){log_str("peer", peer_name(l)), log_str("version", hello->version),
                                 log_u64("pid", hello->pid)}));
    if (ipc->config.on_up)
        ipc->config.on_up(ipc->config.ctx, l);
}

static void on_credit(struct ipc_link *l, uint64_t bytes)
{
    l->credit = bytes > UINT64_MAX - l->credit ? UINT64_MAX : l->credit + bytes;
    release_held(l);
}

/* A frame of a link that is up. */
static void dispatch(struct ipc_link *l, const Muster__Envelope *envelope)
{
    const struct ipc_config *c = &l->ipc->config;
    const struct ipc_handler *h;

    if (envelope->body_case == MUSTER__ENVELOPE__BODY_HELLO) {
        refuse(l, "a second Hello");
        return;
    }
    h = (size_t)envelope->body_case < c->handler_count ? &c->handlers[envelope->body_case] : NULL;
    if (!h || !h->handle) {
        count(l->ipc, METRIC_IPC_REFUSED, 1);
        log_debug("frame_ignored", log_str("peer", peer_name(l)),
                  log_u64("body", envelope->body_case));
        return;
    }
    if (!(h->from & 1u << l->peer)) {
        refuse(l, "it may not send that");
        return;
    }
    count(l->ipc, METRIC_IPC_FRAMES_IN, 1);
    h->handle(c->ctx, l, envelope);
}

/* Only frames that cost credit count against it. */
static bool charge(struct ipc_link *l, size_t size)
{
    if (size > l->granted)
        return false;
    l->granted -= size;
    l->consumed += size;
    return true;
}

static void on_frame(struct ipc_link *l, struct str message)
{
    const Muster__Envelope *envelope;
    struct arena arena;

    arena_init(&arena, FRAME_UNPACKED_MAX);
    envelope = frame_unpack(message, &arena);
    if (!envelope)
        refuse(l, "a frame that cannot be understood");
    else if (l->state == LINK_GREETING)
        on_hello(l, envelope);
    else if (envelope->body_case == MUSTER__ENVELOPE__BODY_CREDIT)
        on_credit(l, envelope->credit->bytes);
    else if (!charge(l, FRAME_HEAD_BYTES + message.len))
        refuse(l, "more than its credit");
    else
        dispatch(l, envelope);
    arena_done(&arena);
}

static void take_frames(struct ipc_link *l)
{
    size_t taken = 0;
    struct str message;

    /* A handler may drop or close the link, which empties `in`; or pause it. */
    while (l->state == LINK_GREETING || (l->state == LINK_UP && !l->paused)) {
        enum frame_look look = frame_look(str_sub(buf_str(&l->in), taken, l->in.len), &message);

        if (look == FRAME_TOO_LARGE)
            refuse(l, "a frame of more than 1 MiB");
        if (look != FRAME_WHOLE)
            break;
        taken += FRAME_HEAD_BYTES + message.len;
        on_frame(l, message);
    }
    if (l->state != LINK_UP && l->state != LINK_GREETING)
        return;
    if (taken == l->in.len && l->in.cap > KEPT_BYTES)
        buf_done(&l->in);
    else
        buf_drop(&l->in, taken);
    return_credit(l);
}

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *ret_buf)
{
    struct ipc_link *l = handle->data;

    (void)suggested;
    *ret_buf = uv_buf_init(buf_reserve(&l->in, READ_BYTES), READ_BYTES);
    assert(ret_buf->base); /* a whole frame is always taken out before the next read */
}

static void on_read(uv_stream_t *stream, ssize_t len, const uv_buf_t *buf)
{
    struct ipc_link *l = stream->data;

    (void)buf;
    if (len < 0)
        ipc_link_drop(l, len == UV_EOF ? "it closed the link" : uv_strerror((int)len));
    if (len <= 0)
        return;
    l->in.len += (size_t)len;
    l->in.data[l->in.len] = '\0';
    take_frames(l);
}

void ipc_pause(struct ipc_link *l)
{
    if (l->state != LINK_UP || l->paused)
        return;
    l->paused = true;
    uv_read_stop((uv_stream_t *)&l->pipe);
}

static void on_resumed(uv_timer_t *timer)
{
    struct ipc_link *l = timer->data;

    take_frames(l);
    if (l->state == LINK_UP && !l->paused &&
        uv_read_start((uv_stream_t *)&l->pipe, on_alloc, on_read))
        ipc_link_drop(l, "it cannot be read");
}

void ipc_resume(struct ipc_link *l)
{
    if (l->state != LINK_UP || !l->paused)
        return;
    l->paused = false;
    uv_timer_start(&l->timer, on_resumed, 0, 0); /* no handler is called from within this */
}

/* ---- the beginning of a link ---- */

struct ipc_link *ipc_link_new(struct ipc *ipc)
{
    struct ipc_link *l = mem_new(sizeof(*l));
    struct ipc_link **at = &ipc->links;

    l->ipc = ipc;
    l->retry_ms = RETRY_FIRST_MS;
    l->has_timer = true;
    uv_timer_init(ipc->loop, &l->timer);
    l->timer.data = l;
    while (*at)
        at = &(*at)->next;
    *at = l;
    ipc->link_count++;
    return l;
}

void ipc_link_open_pipe(struct ipc_link *l)
{
    uv_pipe_init(l->ipc->loop, &l->pipe, 0);
    l->pipe.data = l;
    l->has_pipe = true;
}

static void on_no_hello(uv_timer_t *timer)
{
    refuse(timer->data, "no Hello in time");
}

void ipc_link_greet(struct ipc_link *l)
{
    int r;

    l->state = LINK_GREETING;
    l->paused = false;
    l->credit = l->consumed = 0;
    l->granted = CREDIT_BYTES;
    buf_init(&l->in, FRAME_HEAD_BYTES + FRAME_BYTES_MAX + READ_BYTES);
    buf_init(&l->out, l->ipc->config.queue_bytes_max + CONTROL_BYTES);
    buf_init(&l->held, l->ipc->config.queue_bytes_max);
    r = uv_read_start((uv_stream_t *)&l->pipe, on_alloc, on_read);
    if (r < 0) {
        ipc_link_drop(l, uv_strerror(r));
        return;
    }
    uv_timer_start(&l->timer, on_no_hello, HELLO_TIMEOUT_MS, 0);
    send_hello(l);
}

bool ipc_is_up(const struct ipc_link *l)
{
    return l->state == LINK_UP;
}

Muster__Service ipc_peer(const struct ipc_link *l)
{
    return l->peer;
}

uint32_t ipc_peer_pid(const struct ipc_link *l)
{
    return l->peer_pid;
}

uint64_t ipc_peer_boot_id(const struct ipc_link *l)
{
    return l->peer_boot_id;
}
