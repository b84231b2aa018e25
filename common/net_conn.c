// SPDX-License-Identifier: Apache-2.0
#include "common/net_conn.h"

#include <assert.h>
#include <pthread.h>
#include <string.h>

#include <openssl/err.h>
#include <openssl/x509v3.h>

#include "common/mem.h"

enum {
    READ_BYTES = 65536,
    WRITE_BYTES_DEFAULT = 4 << 20,
    WIRE_BYTES_EXTRA = 1 << 20, /* what TLS adds to a full `plain`, and handshakes */
    OPEN_TIMEOUT_DEFAULT_MS = 10000,
    END_TIMEOUT_MS = 2000,
};

struct written {
    uv_write_t req;
    struct net_conn *conn;
    char *data;
};

static void flush(struct net_conn *c);

/* ---- the BIO ---- */

static int bio_read(BIO *bio, char *to, size_t size, size_t *ret_len)
{
    struct net_conn *c = BIO_get_data(bio);

    BIO_clear_retry_flags(bio);
    if (c->input_len == 0) {
        BIO_set_retry_read(bio);
        return 0;
    }
    *ret_len = size < c->input_len ? size : c->input_len;
    memcpy(to, c->input, *ret_len);
    c->input += *ret_len;
    c->input_len -= *ret_len;
    return 1;
}

static int bio_write(BIO *bio, const char *data, size_t len, size_t *ret_len)
{
    struct net_conn *c = BIO_get_data(bio);

    BIO_clear_retry_flags(bio);
    buf_put(&c->wire, data, len);
    *ret_len = len;
    return !c->wire.full;
}

static long bio_ctrl(BIO *bio, int what, long number, void *p)
{
    (void)bio, (void)number, (void)p;
    return what == BIO_CTRL_FLUSH;
}

static BIO_METHOD *bio_method;

static void make_bio_method(void)
{
    bio_method = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "net");
    if (!bio_method || !BIO_meth_set_read_ex(bio_method, bio_read) ||
        !BIO_meth_set_write_ex(bio_method, bio_write) || !BIO_meth_set_ctrl(bio_method, bio_ctrl))
        abort();
}

void net_conn_tls(struct net_conn *c, SSL_CTX *tls, bool server)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    BIO *bio;

    pthread_once(&once, make_bio_method);
    c->ssl = SSL_new(tls);
    bio = BIO_new(bio_method);
    if (!c->ssl || !bio)
        abort(); /* no memory */
    BIO_set_data(bio, c);
    BIO_set_init(bio, 1);
    SSL_set_bio(c->ssl, bio, bio);
    if (server)
        SSL_set_accept_state(c->ssl);
    else
        SSL_set_connect_state(c->ssl);
}

/* ---- closing ---- */

static void on_handle_closed(uv_handle_t *handle)
{
    struct net_conn *c = handle->data;

    if (--c->handles > 0)
        return;
    if (c->accepted)
        c->ops->on_closed(c->ctx, c, c->error);
    if (c->listener) {
        c->listener->connections--;
        net_listener_free(c->listener);
    }
    SSL_free(c->ssl);
    buf_done(&c->plain);
    buf_done(&c->wire);
    mem_free(c);
}

void net_conn_drop(struct net_conn *c, int error)
{
    if (c->state == CLOSING)
        return;
    c->state = CLOSING;
    c->error = error;
    uv_close((uv_handle_t *)&c->tcp, on_handle_closed);
    uv_close((uv_handle_t *)&c->timer, on_handle_closed);
    uv_close((uv_handle_t *)&c->flush, on_handle_closed);
}

/* A last record (an alert) goes out if the kernel takes it. */
static void fail_tls(struct net_conn *c)
{
    uv_buf_t b = uv_buf_init(c->wire.data, (unsigned)c->wire.len);

    ERR_clear_error();
    if (c->wire.len > 0 && !c->writing)
        (void)uv_try_write((uv_stream_t *)&c->tcp, &b, 1);
    net_conn_drop(c, UV_EPROTO);
}

static void on_timeout(uv_timer_t *timer)
{
    struct net_conn *c = timer->data;

    net_conn_drop(c, c->state == ENDING || c->state == LINGERING ? 0 : UV_ETIMEDOUT);
}

/* ---- writing ---- */

static size_t queued(const struct net_conn *c)
{
    return c->plain.len + c->wire.len + c->writing_bytes;
}

static void on_flush(uv_idle_t *idle)
{
    flush(idle->data);
}

static void flush_soon(struct net_conn *c)
{
    uv_idle_start(&c->flush, on_flush);
}

static void on_shutdown(uv_shutdown_t *req, int status)
{
    (void)status; /* the peer's end or the timer closes */
    mem_free(req);
}

/* All is sent: says so, and waits for the peer's end, lest unread bytes make a reset of it. */
static void linger(struct net_conn *c)
{
    uv_shutdown_t *req = mem_new(sizeof(*req));

    c->state = LINGERING;
    if (uv_shutdown(req, (uv_stream_t *)&c->tcp, on_shutdown)) {
        mem_free(req);
        net_conn_drop(c, 0);
    }
}

static void on_written(uv_write_t *req, int status)
{
    struct written *w = (struct written *)req;
    struct net_conn *c = w->conn;

    mem_free(w->data);
    mem_free(w);
    c->writing = NULL;
    c->writing_bytes = 0;
    if (status && status != UV_ECANCELED)
        net_conn_drop(c, status);
    if (c->state != CLOSING)
        flush(c);
}

/* What the kernel did not take at once. */
static void write_later(struct net_conn *c)
{
    struct written *w = mem_new(sizeof(*w));
    uv_buf_t b;
    int r;

    w->conn = c;
    c->writing_bytes = c->wire.len;
    w->data = buf_take(&c->wire);
    c->writing = &w->req;
    b = uv_buf_init(w->data, (unsigned)c->writing_bytes);
    r = uv_write(&w->req, (uv_stream_t *)&c->tcp, &b, 1, on_written);
    if (r == 0)
        return;
    c->writing = NULL;
    mem_free(w->data);
    mem_free(w);
    net_conn_drop(c, r);
}

/* False: the connection was dropped. */
static bool send_wire(struct net_conn *c)
{
    uv_buf_t b = uv_buf_init(c->wire.data, (unsigned)c->wire.len);
    int sent;

    if (c->writing || c->wire.len == 0)
        return true;
    sent = uv_try_write((uv_stream_t *)&c->tcp, &b, 1);
    if (sent < 0 && sent != UV_EAGAIN) {
        net_conn_drop(c, sent);
        return false;
    }
    if (sent == (int)c->wire.len) {
        buf_done(&c->wire);
        return true;
    }
    if (sent > 0)
        buf_drop(&c->wire, (size_t)sent);
    write_later(c);
    return c->state != CLOSING;
}

/* Moves what was written to where it can be sent. */
static bool seal(struct net_conn *c)
{
    size_t written;

    if (c->plain.len == 0)
        return true;
    if (!c->ssl) {
        buf_put_str(&c->wire, buf_str(&c->plain));
    } else {
        ERR_clear_error();
        if (SSL_write_ex(c->ssl, c->plain.data, c->plain.len, &written) != 1) {
            fail_tls(c);
            return false;
        }
        assert(written == c->plain.len);
    }
    buf_done(&c->plain);
    if (c->wire.full)
        net_conn_drop(c, UV_ENOBUFS);
    return c->state != CLOSING;
}

static void end_if_sent(struct net_conn *c)
{
    if (queued(c) > 0)
        return;
    if (c->ssl && !(SSL_get_shutdown(c->ssl) & SSL_SENT_SHUTDOWN)) {
        ERR_clear_error();
        (void)SSL_shutdown(c->ssl); /* close_notify; its answer is not waited for */
        ERR_clear_error();
        if (!send_wire(c))
            return;
    }
    if (queued(c) == 0)
        linger(c);
}

static void flush(struct net_conn *c)
{
    uv_idle_stop(&c->flush);
    if (c->state != HANDSHAKE && !seal(c))
        return;
    if (!send_wire(c))
        return;
    if (c->state == ENDING) {
        end_if_sent(c);
    } else if (c->drain_due && queued(c) == 0) {
        c->drain_due = false;
        if (c->ops->on_drained)
            c->ops->on_drained(c->ctx, c);
    }
}

int net_write(struct net_conn *c, const void *data, size_t len)
{
    if (c->state != OPEN)
        return NET_E_CLOSED;
    if (len > c->write_bytes_max || queued(c) > c->write_bytes_max - len)
        return NET_E_FULL;
    buf_put(&c->plain, data, len);
    c->drain_due = true;
    flush_soon(c);
    return 0;
}

/* ---- reading ---- */

static void open_up(struct net_conn *c)
{
    c->state = OPEN;
    uv_timer_stop(&c->timer);
    c->ops->on_open(c->ctx, c);
    if (c->paused && c->state == OPEN)
        uv_read_stop((uv_stream_t *)&c->tcp);
}

/* False: wait for more, or the connection is gone. */
static bool shake_hands(struct net_conn *c)
{
    int r;

    ERR_clear_error();
    r = SSL_do_handshake(c->ssl);
    if (r != 1 && SSL_get_error(c->ssl, r) != SSL_ERROR_WANT_READ) {
        fail_tls(c);
        return false;
    }
    flush_soon(c);
    if (r != 1)
        return false;
    open_up(c);
    return c->state == OPEN;
}

static void read_records(struct net_conn *c)
{
    static _Thread_local uint8_t text[SSL3_RT_MAX_PLAIN_LENGTH];
    size_t len;

    while (c->state == OPEN || c->state == ENDING || c->state == LINGERING) {
        int r;

        ERR_clear_error();
        r = SSL_read_ex(c->ssl, text, sizeof(text), &len);
        if (r == 1 && c->state == OPEN) {
            c->ops->on_data(c->ctx, c, text, len);
        } else if (r != 1) {
            r = SSL_get_error(c->ssl, r);
            if (r == SSL_ERROR_ZERO_RETURN)
                net_conn_drop(c, 0);
            else if (r != SSL_ERROR_WANT_READ)
                fail_tls(c);
            break;
        }
    }
    if (c->state != CLOSING && c->wire.len > 0)
        flush_soon(c); /* an answer of TLS's own */
}

static void take(struct net_conn *c, const uint8_t *data, size_t len)
{
    if (!c->ssl) {
        if (c->state == OPEN)
            c->ops->on_data(c->ctx, c, data, len);
        return;
    }
    c->input = data;
    c->input_len = len;
    if (c->state != HANDSHAKE || shake_hands(c))
        read_records(c);
    c->input = NULL;
    c->input_len = 0;
}

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *ret_buf)
{
    /* libuv reads into it and calls on_read() at once: one per thread is enough. */
    static _Thread_local char bytes[READ_BYTES];

    (void)handle, (void)suggested;
    *ret_buf = uv_buf_init(bytes, sizeof(bytes));
}

static void on_read(uv_stream_t *stream, ssize_t len, const uv_buf_t *buf)
{
    struct net_conn *c = stream->data;

    if (len > 0)
        take(c, (const uint8_t *)buf->base, (size_t)len);
    else if (len < 0)
        net_conn_drop(c, len == UV_EOF || c->state >= ENDING ? 0 : (int)len);
}

static void read_on(struct net_conn *c)
{
    int r = uv_read_start((uv_stream_t *)&c->tcp, on_alloc, on_read);

    if (r && r != UV_EALREADY)
        net_conn_drop(c, r);
}

void net_pause(struct net_conn *c)
{
    c->paused = true;
    if (c->state == OPEN)
        uv_read_stop((uv_stream_t *)&c->tcp);
}

void net_resume(struct net_conn *c)
{
    c->paused = false;
    if (c->state == OPEN)
        read_on(c);
}

/* ---- opening ---- */

struct net_conn *net_conn_new(uv_loop_t *loop, const struct net_config *config)
{
    struct net_conn *c = mem_new(sizeof(*c));

    c->ops = config->ops;
    c->write_bytes_max = config->write_bytes_max ? config->write_bytes_max : WRITE_BYTES_DEFAULT;
    buf_init(&c->plain, c->write_bytes_max);
    buf_init(&c->wire, c->write_bytes_max + c->write_bytes_max / 8 + WIRE_BYTES_EXTRA);
    uv_tcp_init(loop, &c->tcp);
    uv_timer_init(loop, &c->timer);
    uv_idle_init(loop, &c->flush);
    c->handles = 3;
    c->tcp.data = c->timer.data = c->flush.data = c;
    uv_timer_start(&c->timer, on_timeout,
                   config->open_timeout_ms ? config->open_timeout_ms : OPEN_TIMEOUT_DEFAULT_MS, 0);
    return c;
}

void net_conn_begin(struct net_conn *c)
{
    if (c->ssl)
        c->state = HANDSHAKE;
    read_on(c);
    if (c->state == CLOSING)
        return;
    if (c->ssl)
        (void)shake_hands(c);
    else
        open_up(c);
}

int net_starttls(struct net_conn *c, SSL_CTX *tls)
{
    if (c->state != OPEN || c->ssl)
        return NET_E_CLOSED;
    if (!seal(c)) /* what was written is plain still */
        return NET_E_CLOSED;
    net_conn_tls(c, tls, true);
    c->state = HANDSHAKE;
    flush_soon(c);
    uv_timer_start(&c->timer, on_timeout, OPEN_TIMEOUT_DEFAULT_MS, 0);
    read_on(c); /* a handshake is read even while its owner is paused */
    return 0;
}

/* ---- ending ---- */

void net_shutdown(struct net_conn *c)
{
    if (c->state >= ENDING)
        return;
    if (c->state != OPEN) {
        net_conn_drop(c, 0);
        return;
    }
    c->state = ENDING;
    uv_timer_start(&c->timer, on_timeout, END_TIMEOUT_MS, 0);
    read_on(c);
    if (c->state == ENDING)
        flush_soon(c);
}

void net_abort(struct net_conn *c)
{
    net_conn_drop(c, 0);
}

/* ---- looking ---- */

void net_set_ctx(struct net_conn *c, void *ctx)
{
    c->ctx = ctx;
}

const char *net_peer_text(const struct net_conn *c)
{
    return c->peer;
}

bool net_is_tls(const struct net_conn *c)
{
    return c->ssl;
}

bool net_exporter(const struct net_conn *c, uint8_t ret_key[32])
{
    static const char label[] = "EXPORTER-Channel-Binding";

    return c->ssl && SSL_is_init_finished(c->ssl) && SSL_version(c->ssl) >= TLS1_3_VERSION &&
           SSL_export_keying_material(c->ssl, ret_key, 32, label, sizeof(label) - 1, NULL, 0, 0) ==
               1;
}
