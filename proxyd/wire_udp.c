// SPDX-License-Identifier: Apache-2.0
/*
 * SIP over UDP: one socket a thread, on an address that the threads share.
 */
#include <errno.h>
#include <string.h>

#include "proxyd/wire_private.h"

enum { DATAGRAM_BYTES = 65536, QUEUE_BYTES_MAX = 4 << 20 };

struct datagrams {
    uv_udp_t udp;
    struct worker *worker;
    char bytes[DATAGRAM_BYTES];
};

/* A datagram that the kernel did not take at once. */
struct delayed {
    uv_udp_send_t request;
    char bytes[];
};

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *ret_buf)
{
    struct datagrams *d = handle->data;

    (void)suggested;
    *ret_buf = uv_buf_init(d->bytes, sizeof(d->bytes));
}

static bool read_address(const struct sockaddr *from, struct sip_address *ret_address)
{
    uint16_t port;

    if (from->sa_family == AF_INET6) {
        port = ((const struct sockaddr_in6 *)from)->sin6_port;
        if (uv_ip6_name((const struct sockaddr_in6 *)from, ret_address->host, SIP_HOST_MAX))
            return false;
    } else {
        port = ((const struct sockaddr_in *)from)->sin_port;
        if (uv_ip4_name((const struct sockaddr_in *)from, ret_address->host, SIP_HOST_MAX))
            return false;
    }
    ret_address->port = ntohs(port);
    return true;
}

static void on_datagram(uv_udp_t *udp, ssize_t len, const uv_buf_t *buf,
                        const struct sockaddr *from, unsigned flags)
{
    struct datagrams *d = udp->data;
    struct sip_flow flow = {.transport = SIP_UDP};
    struct str data;

    if (len <= 0 || !from || flags & UV_UDP_PARTIAL || !read_address(from, &flow.remote))
        return;
    data = str_of_bytes(buf->base, (size_t)len);
    /* Nothing but line ends keeps a NAT open. */
    if (str_trim(data).len == 0 || iopool_backlog(d->worker->pool) > WIRE_DATAGRAM_BACKLOG)
        return;
    worker_message(d->worker, data, &flow, (struct sip_refusal){0, NULL});
}

static void on_closed(uv_handle_t *handle)
{
    mem_free(handle->data);
}

void datagrams_close(struct datagrams *d)
{
    if (d)
        uv_close((uv_handle_t *)&d->udp, on_closed);
}

static int bind_shared(uv_udp_t *udp, const struct sockaddr_storage *address)
{
    int on = 1, size = 4 << 20;
    uv_os_fd_t fd;
    int r = uv_fileno((uv_handle_t *)udp, &fd);

    if (r == 0 && setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof(on)))
        r = uv_translate_sys_error(errno);
    if (r == 0)
        r = uv_udp_bind(udp, (const struct sockaddr *)address, 0);
    /* As much as the kernel allows. */
    (void)uv_recv_buffer_size((uv_handle_t *)udp, &size);
    return r;
}

struct datagrams *datagrams_open(struct worker *w, const struct sockaddr_storage *address,
                                 int *ret_error)
{
    struct datagrams *d = mem_new(sizeof(*d));
    int r = uv_udp_init_ex(iopool_loop(w->pool), &d->udp, address->ss_family);

    d->udp.data = d;
    d->worker = w;
    if (r) {
        mem_free(d);
        *ret_error = r;
        return NULL;
    }
    r = bind_shared(&d->udp, address);
    if (r == 0)
        r = uv_udp_recv_start(&d->udp, on_alloc, on_datagram);
    if (r == 0)
        return d;
    datagrams_close(d);
    *ret_error = r;
    return NULL;
}

static void on_sent(uv_udp_send_t *request, int status)
{
    (void)status; /* lost, like any datagram may be */
    mem_free(request->data);
}

static void send_later(struct datagrams *d, const struct wire_order *order,
                       const struct sockaddr_storage *to)
{
    struct delayed *delayed;
    uv_buf_t buf;

    if (uv_udp_get_send_queue_size(&d->udp) > QUEUE_BYTES_MAX)
        return;
    delayed = mem_new(sizeof(*delayed) + order->len);
    memcpy(delayed->bytes, order->bytes, order->len);
    delayed->request.data = delayed;
    buf = uv_buf_init(delayed->bytes, (unsigned)order->len);
    if (uv_udp_send(&delayed->request, &d->udp, &buf, 1, (const struct sockaddr *)to, on_sent))
        mem_free(delayed);
}

void datagrams_send(struct datagrams *d, const struct wire_order *order)
{
    struct sockaddr_storage to;
    uv_buf_t buf = uv_buf_init((char *)order->bytes, (unsigned)order->len);
    int r = net_address(order->to.remote.host, order->to.remote.port, &to);

    if (r == 0)
        r = uv_udp_try_send(&d->udp, &buf, 1, (const struct sockaddr *)&to);
    if (r == UV_EAGAIN)
        send_later(d, order, &to);
    else if (r < 0 && r != UV_ECONNREFUSED) /* that is about an earlier one */
        worker_failed(d->worker, order->token);
}
