// SPDX-License-Identifier: Apache-2.0
#include "common/net.h"

#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <stdio.h>

#include <openssl/x509v3.h>

#include "common/mem.h"
#include "common/net_conn.h"

enum { BACKLOG = 1024 };

/* ---- addresses ---- */

int net_address(const char *host, uint16_t port, struct sockaddr_storage *ret_address)
{
    struct sockaddr_storage a = {0};

    if (uv_ip4_addr(host, port, (struct sockaddr_in *)&a) &&
        uv_ip6_addr(host, port, (struct sockaddr_in6 *)&a))
        return UV_EINVAL;
    *ret_address = a;
    return 0;
}

void net_address_text(const struct sockaddr *address, char *ret_text, size_t size)
{
    char host[INET6_ADDRSTRLEN] = "?";
    bool six = address->sa_family == AF_INET6;
    uint16_t port = six ? ((const struct sockaddr_in6 *)address)->sin6_port
                        : ((const struct sockaddr_in *)address)->sin_port;

    if (six)
        (void)uv_ip6_name((const struct sockaddr_in6 *)address, host, sizeof(host));
    else
        (void)uv_ip4_name((const struct sockaddr_in *)address, host, sizeof(host));
    (void)snprintf(ret_text, size, six ? "[%s]:%u" : "%s:%u", host, ntohs(port));
}

static bool is_address(const char *name)
{
    struct sockaddr_storage address;

    return net_address(name, 0, &address) == 0;
}

/* ---- accepting ---- */

/* A peer that dies without a word is noticed after dead_after_ms, whether we speak or listen. */
static void set_options(struct net_conn *c, uint32_t dead_after_ms)
{
    int each_s = (int)(dead_after_ms / 3000 ? dead_after_ms / 3000 : 1);
    int count = 2;
    unsigned timeout = dead_after_ms;
    uv_os_fd_t fd;

    (void)uv_tcp_nodelay(&c->tcp, 1); /* we join small writes ourselves */
    if (!dead_after_ms || uv_fileno((uv_handle_t *)&c->tcp, &fd))
        return;
    /* Without them a death is only noticed later. */
    (void)uv_tcp_keepalive(&c->tcp, 1, (unsigned)each_s);
    (void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &each_s, sizeof(each_s));
    (void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &count, sizeof(count));
    (void)setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &timeout, sizeof(timeout));
}

void net_listener_free(struct net_listener *l)
{
    if (!l->closed || l->connections > 0)
        return;
    SSL_CTX_free(l->config.tls);
    mem_free(l);
}

static void on_connection(uv_stream_t *server, int status)
{
    struct net_listener *l = server->data;
    struct sockaddr_storage address;
    int len = sizeof(address);
    struct net_conn *c;

    if (status)
        return; /* none came */
    c = net_conn_new(server->loop, &l->config);
    c->listener = l;
    l->connections++;
    if (uv_accept(server, (uv_stream_t *)&c->tcp) ||
        uv_tcp_getpeername(&c->tcp, (struct sockaddr *)&address, &len) ||
        (l->config.connections_max && l->connections > l->config.connections_max)) {
        net_conn_drop(c, 0);
        return;
    }
    net_address_text((struct sockaddr *)&address, c->peer, sizeof(c->peer));
    set_options(c, l->config.dead_after_ms);
    c->ctx = l->on_accept(l->ctx, c);
    c->accepted = c->ctx;
    if (!c->accepted) {
        net_conn_drop(c, 0);
        return;
    }
    if (c->state == CLOSING)
        return;
    if (l->config.tls)
        net_conn_tls(c, l->config.tls, true);
    net_conn_begin(c);
}

static int bind_shared(uv_tcp_t *tcp, const struct sockaddr_storage *address)
{
    int on = 1;
    uv_os_fd_t fd;
    int r = uv_fileno((uv_handle_t *)tcp, &fd);

    if (r == 0 && setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof(on)))
        r = uv_translate_sys_error(errno);
    return r ? r : uv_tcp_bind(tcp, (const struct sockaddr *)address, 0);
}

static void on_listener_closed(uv_handle_t *handle)
{
    struct net_listener *l = handle->data;

    l->closed = true;
    net_listener_free(l);
}

void net_listener_close(struct net_listener *l)
{
    if (l && !uv_is_closing((uv_handle_t *)&l->tcp))
        uv_close((uv_handle_t *)&l->tcp, on_listener_closed);
}

int net_listen(uv_loop_t *loop, const struct sockaddr_storage *address,
               const struct net_config *config, void *(*on_accept)(void *ctx, struct net_conn *c),
               void *ctx, struct net_listener **ret_listener)
{
    struct net_listener *l = mem_new(sizeof(*l));
    int r;

    l->config = *config;
    l->on_accept = on_accept;
    l->ctx = ctx;
    if (l->config.tls)
        SSL_CTX_up_ref(l->config.tls);
    l->tcp.data = l;
    r = uv_tcp_init_ex(loop, &l->tcp, address->ss_family);
    if (r) {
        l->closed = true;
        net_listener_free(l);
        return r;
    }
    r = bind_shared(&l->tcp, address);
    if (r == 0)
        r = uv_listen((uv_stream_t *)&l->tcp, BACKLOG, on_connection);
    if (r) {
        net_listener_close(l);
        return r;
    }
    *ret_listener = l;
    return 0;
}

/* ---- connecting ---- */

static void on_connect(uv_connect_t *req, int status)
{
    struct net_conn *c = req->data;

    mem_free(req);
    if (c->state == CLOSING)
        return;
    if (status)
        net_conn_drop(c, status);
    else
        net_conn_begin(c);
}

static void expect_name(SSL *ssl, const char *name)
{
    X509_VERIFY_PARAM *param = SSL_get0_param(ssl);

    if (is_address(name)) {
        if (!X509_VERIFY_PARAM_set1_ip_asc(param, name))
            abort();
        return;
    }
    X509_VERIFY_PARAM_set_hostflags(param, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
    if (!X509_VERIFY_PARAM_set1_host(param, name, 0) || !SSL_set_tlsext_host_name(ssl, name))
        abort();
}

struct net_conn *net_connect(uv_loop_t *loop, const struct sockaddr_storage *address,
                             const struct net_config *config, void *ctx)
{
    struct net_conn *c = net_conn_new(loop, config);
    uv_connect_t *req = mem_new(sizeof(*req));
    int r;

    c->ctx = ctx;
    c->accepted = true;
    net_address_text((const struct sockaddr *)address, c->peer, sizeof(c->peer));
    if (config->tls) {
        net_conn_tls(c, config->tls, false);
        if (config->server_name)
            expect_name(c->ssl, config->server_name);
    }
    req->data = c;
    r = uv_tcp_connect(req, &c->tcp, (const struct sockaddr *)address, on_connect);
    if (r) {
        mem_free(req);
        net_conn_drop(c, r);
        return c;
    }
    set_options(c, config->dead_after_ms);
    return c;
}

/* ---- looking ---- */

bool net_peer_is(const struct net_conn *c, const char *name)
{
    X509 *certificate = c->ssl ? SSL_get0_peer_certificate(c->ssl) : NULL;

    if (!certificate || SSL_get_verify_result(c->ssl) != X509_V_OK)
        return false;
    return is_address(name) ? X509_check_ip_asc(certificate, name, 0) == 1
                            : X509_check_host(certificate, name, 0, 0, NULL) == 1;
}
