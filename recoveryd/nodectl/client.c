// SPDX-License-Identifier: Apache-2.0
#include "recoveryd/nodectl/client.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "common/buf.h"
#include "common/frame.h"
#include "common/version.h"

enum { REQUEST_ID = 1, CREDIT = 4 << 20, READ_BYTES = 65536, RECEIVED_MAX = 4 << 20 };

struct client {
    int fd;
    uint64_t deadline_ms;
    struct buf received;
    struct arena *arena; /* of the last frame */
};

static uint64_t now_ms(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

static int wait_for(const struct client *c, short events, struct err *e)
{
    struct pollfd p = {.fd = c->fd, .events = events};
    uint64_t now = now_ms();
    int r = now >= c->deadline_ms ? 0 : poll(&p, 1, (int)(c->deadline_ms - now));

    if (r > 0 || (r < 0 && errno == EINTR))
        return 0;
    return err_set(e, "recoveryd does not answer; see its log");
}

/* By way of the folder's descriptor: a socket's path may have 107 bytes only. */
static int connect_to(struct client *c, const struct conf *conf, struct err *e)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    char run[CONF_PATH_MAX + 8];
    int folder, r;

    snprintf(run, sizeof(run), "%s/run", conf->dir);
    folder = open(run, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (folder < 0)
        return err_set(e, "%s: %s", run, strerror(errno));
    snprintf(address.sun_path, sizeof(address.sun_path), "/proc/self/fd/%d/recoveryd.sock", folder);
    c->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    r = connect(c->fd, (struct sockaddr *)&address, sizeof(address));
    if (r != 0)
        err_set(e, "recoveryd of this node does not run (%s/recoveryd.sock: %s)", run,
                strerror(errno));
    close(folder);
    return r;
}

static int send_frame(struct client *c, const Muster__Envelope *envelope, struct err *e)
{
    struct buf out;
    size_t sent = 0;
    ssize_t n;

    buf_init(&out, FRAME_BYTES_MAX + FRAME_HEAD_BYTES);
    if (!frame_put(&out, envelope)) {
        buf_done(&out);
        return err_set(e, "the request is too long");
    }
    while (sent < out.len && wait_for(c, POLLOUT, e) == 0) {
        n = send(c->fd, out.data + sent, out.len - sent, MSG_NOSIGNAL);
        if (n < 0 && errno != EINTR) {
            err_set(e, "recoveryd hung up: %s", strerror(errno));
            break;
        }
        sent += n > 0 ? (size_t)n : 0;
    }
    n = sent == out.len ? 0 : -1;
    buf_done(&out);
    return (int)n;
}

static int receive_more(struct client *c, struct err *e)
{
    char *room = buf_reserve(&c->received, READ_BYTES);
    ssize_t n;

    if (!room)
        return err_set(e, "recoveryd said too much");
    if (wait_for(c, POLLIN, e) != 0)
        return -1;
    n = recv(c->fd, room, READ_BYTES, 0);
    if (n == 0 || (n < 0 && errno != EINTR))
        return err_set(e, "recoveryd hung up");
    c->received.len += n > 0 ? (size_t)n : 0;
    return 0;
}

/* The next frame, in the client's arena. NULL with a sentence. */
static const Muster__Envelope *receive_frame(struct client *c, struct err *e)
{
    const Muster__Envelope *envelope = NULL;
    struct str message;

    for (;;) {
        switch (frame_look(buf_str(&c->received), &message)) {
        case FRAME_WHOLE:
            envelope = frame_unpack(message, c->arena);
            if (!envelope)
                err_set(e, "recoveryd said something that is not understood");
            buf_drop(&c->received, FRAME_HEAD_BYTES + message.len);
            return envelope;
        case FRAME_PARTIAL:
            if (receive_more(c, e) != 0)
                return NULL;
            break;
        case FRAME_TOO_LARGE:
            err_set(e, "recoveryd said too much");
            return NULL;
        }
    }
}

static int say_hello(struct client *c, const struct conf *conf, struct err *e)
{
    Muster__Envelope envelope = MUSTER__ENVELOPE__INIT;
    Muster__Hello hello = MUSTER__HELLO__INIT;

    hello.service = MUSTER__SERVICE__NODECTL;
    hello.version = MUSTER_VERSION;
    hello.boot_id = (uint64_t)getpid(); /* never seen again: one request a connection */
    hello.node = conf->node;
    hello.pid = (uint32_t)getpid();
    hello.credit_bytes = CREDIT;
    envelope.body_case = MUSTER__ENVELOPE__BODY_HELLO;
    envelope.hello = &hello;
    return send_frame(c, &envelope, e);
}

static const Muster__AdminReply *converse(struct client *c, const struct conf *conf,
                                          const Muster__AdminRequest *request, struct err *e)
{
    Muster__Envelope envelope = MUSTER__ENVELOPE__INIT;
    const Muster__Envelope *frame;

    if (say_hello(c, conf, e) != 0)
        return NULL;
    frame = receive_frame(c, e);
    if (frame && frame->body_case != MUSTER__ENVELOPE__BODY_HELLO) {
        err_set(e, "what answers on recoveryd's socket is not recoveryd");
        return NULL;
    }
    envelope.id = REQUEST_ID;
    envelope.body_case = MUSTER__ENVELOPE__BODY_ADMIN_REQUEST;
    envelope.admin_request = (Muster__AdminRequest *)request;
    if (!frame || send_frame(c, &envelope, e) != 0)
        return NULL;
    do {
        frame = receive_frame(c, e);
    } while (frame && (frame->body_case != MUSTER__ENVELOPE__BODY_ADMIN_REPLY ||
                       frame->id != REQUEST_ID)); /* others are for daemons */
    return frame ? frame->admin_reply : NULL;
}

const Muster__AdminReply *client_ask(const struct conf *conf, const Muster__AdminRequest *request,
                                     struct arena *arena, struct err *ret_err)
{
    struct client c = {.fd = -1, .deadline_ms = now_ms() + CLIENT_DEADLINE_MS, .arena = arena};
    const Muster__AdminReply *reply = NULL;

    buf_init(&c.received, RECEIVED_MAX);
    if (connect_to(&c, conf, ret_err) == 0)
        reply = converse(&c, conf, request, ret_err);
    if (c.fd >= 0)
        close(c.fd);
    buf_done(&c.received);
    return reply;
}
