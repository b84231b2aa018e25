// SPDX-License-Identifier: Apache-2.0
/*
 * All links of a process: who listens, who connects, and when what was sent goes out.
 */
#include "common/ipc.h"

#include <assert.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "common/ipc_link.h"
#include "common/log.h"
#include "common/mem.h"
#include "common/util.h"

enum { QUEUE_BYTES = 16 << 20, LINKS_MAX = 64, BACKLOG = 64 };

static const char *const service_names[] = {
    [MUSTER__SERVICE__PROXYD] = "proxyd",       [MUSTER__SERVICE__PRESENCED] = "presenced",
    [MUSTER__SERVICE__ROUTERD] = "routerd",     [MUSTER__SERVICE__SYNCAGENT] = "syncagent",
    [MUSTER__SERVICE__RECOVERYD] = "recoveryd", [MUSTER__SERVICE__NODECTL] = "nodectl",
    [MUSTER__SERVICE__DATABASE] = "database",
};

const char *ipc_service_name(Muster__Service service)
{
    return (size_t)service < ARRAY_LEN(service_names) ? service_names[service] : NULL;
}

Muster__Service ipc_service_of(const char *name)
{
    for (size_t i = 0; i < ARRAY_LEN(service_names); i++)
        if (service_names[i] && strcmp(service_names[i], name) == 0)
            return (Muster__Service)i;
    return MUSTER__SERVICE__SERVICE_NONE;
}

/* ---- when it goes out ---- */

static void on_not_idle(uv_idle_t *handle)
{
    (void)handle; /* that it is active is what counts */
}

void ipc_flush_soon(struct ipc *ipc)
{
    uv_idle_start(&ipc->not_idle, on_not_idle);
}

static void flush(struct ipc *ipc)
{
    if (!uv_is_active((uv_handle_t *)&ipc->not_idle))
        return;
    uv_idle_stop(&ipc->not_idle);
    /* A callback may close links or all of it, but nothing is freed before its handles closed. */
    for (struct ipc_link *l = ipc->links; l && !ipc->closing; l = l->next)
        ipc_link_flush(l);
}

static void on_before_poll(uv_prepare_t *handle)
{
    flush(handle->data);
}

static void on_after_poll(uv_check_t *handle)
{
    flush(handle->data);
}

/* ---- connecting and accepting ---- */

/* "RUN_DIR/NAME.sock"; false where that is longer than a socket's name can be. */
static bool socket_path(const struct ipc *ipc, Muster__Service service, char *ret_path, size_t size)
{
    int len =
        snprintf(ret_path, size, "%s/%s.sock", ipc->config.run_dir, ipc_service_name(service));

    return len > 0 && (size_t)len < size;
}

static void on_connected(uv_connect_t *connect, int status)
{
    struct ipc_link *l = connect->data;

    if (l->state != LINK_GREETING) /* closed meanwhile */
        return;
    if (status < 0)
        ipc_link_close_pipe(l); /* it does not run yet; the timer is next */
    else
        ipc_link_greet(l);
}

void ipc_link_connect(struct ipc_link *l)
{
    char path[sizeof(((struct sockaddr_un *)0)->sun_path)];

    ipc_link_open_pipe(l);
    l->state = LINK_GREETING;
    l->connect.data = l;
    if (socket_path(l->ipc, l->peer, path, sizeof(path)))
        uv_pipe_connect(&l->connect, &l->pipe, path, on_connected);
    else
        ipc_link_close_pipe(l);
}

static void on_connect_soon(uv_timer_t *timer)
{
    ipc_link_connect(timer->data);
}

struct ipc_link *ipc_connect(struct ipc *ipc, Muster__Service service)
{
    struct ipc_link *l = ipc_link_new(ipc);

    assert(ipc_service_name(service));
    l->outgoing = true;
    l->peer = service;
    uv_timer_start(&l->timer, on_connect_soon, 0, 0);
    return l;
}

static void on_incoming(uv_stream_t *server, int status)
{
    struct ipc *ipc = server->data;
    struct ipc_link *l;
    int r;

    if (status < 0) {
        log_warning("link_not_accepted", log_str("why", uv_strerror(status)));
        return;
    }
    l = ipc_link_new(ipc);
    ipc_link_open_pipe(l);
    r = uv_accept(server, (uv_stream_t *)&l->pipe);
    if (r < 0 || ipc->link_count > LINKS_MAX) {
        log_warning("link_not_accepted",
                    log_str("why", r < 0 ? uv_strerror(r) : "there are too many"));
        ipc_link_end(l);
        return;
    }
    ipc_link_greet(l);
}

/* ---- all links ---- */

void ipc_free_if_closed(struct ipc *ipc)
{
    if (ipc->closing && !ipc->links && ipc->open_handles == 0)
        mem_free(ipc);
}

struct ipc *ipc_new(uv_loop_t *loop, const struct ipc_config *config)
{
    struct ipc *ipc = mem_new(sizeof(*ipc));

    assert(ipc_service_name(config->service) && config->boot_id != 0);
    signal(SIGPIPE, SIG_IGN); /* a peer that went away is an error of the write */
    ipc->loop = loop;
    ipc->config = *config;
    if (!ipc->config.queue_bytes_max)
        ipc->config.queue_bytes_max = QUEUE_BYTES;
    ipc->open_handles = 3;
    uv_prepare_init(loop, &ipc->before_poll);
    uv_check_init(loop, &ipc->after_poll);
    uv_idle_init(loop, &ipc->not_idle);
    ipc->before_poll.data = ipc->after_poll.data = ipc->not_idle.data = ipc;
    uv_prepare_start(&ipc->before_poll, on_before_poll);
    uv_check_start(&ipc->after_poll, on_after_poll);
    return ipc;
}

static void on_handle_closed(uv_handle_t *handle)
{
    struct ipc *ipc = handle->data;

    assert(ipc->open_handles > 0);
    ipc->open_handles--;
    ipc_free_if_closed(ipc);
}

void ipc_close(struct ipc *ipc)
{
    if (!ipc || ipc->closing)
        return;
    ipc->closing = true;
    for (struct ipc_link *l = ipc->links; l; l = l->next) {
        ipc_link_flush(l);
        ipc_link_end(l);
    }
    if (ipc->listening)
        uv_close((uv_handle_t *)&ipc->server, on_handle_closed);
    uv_close((uv_handle_t *)&ipc->before_poll, on_handle_closed);
    uv_close((uv_handle_t *)&ipc->after_poll, on_handle_closed);
    uv_close((uv_handle_t *)&ipc->not_idle, on_handle_closed);
}

/* Does somebody accept links there? Then it is not ours to replace. */
static bool is_alive(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    bool alive;

    if (fd < 0)
        return false;
    memcpy(address.sun_path, path, strlen(path) + 1);
    alive = connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0 || errno == EAGAIN;
    close(fd);
    return alive;
}

static int bind_server(struct ipc *ipc, const char *path)
{
    int r;

    if (mkdir(ipc->config.run_dir, 0700) && errno != EEXIST)
        return -errno;
    if (is_alive(path))
        return UV_EADDRINUSE;
    if (unlink(path) && errno != ENOENT)
        return -errno;
    r = uv_pipe_bind(&ipc->server, path);
    if (r == 0 && chmod(path, 0600))
        r = -errno;
    return r ? r : uv_listen((uv_stream_t *)&ipc->server, BACKLOG, on_incoming);
}

int ipc_listen(struct ipc *ipc)
{
    char path[sizeof(((struct sockaddr_un *)0)->sun_path)];

    assert(!ipc->listening);
    if (!socket_path(ipc, ipc->config.service, path, sizeof(path)))
        return UV_ENAMETOOLONG;
    uv_pipe_init(ipc->loop, &ipc->server, 0);
    ipc->server.data = ipc;
    ipc->listening = true;
    ipc->open_handles++;
    return bind_server(ipc, path);
}

uint64_t ipc_next_id(struct ipc *ipc)
{
    return ++ipc->last_id;
}
