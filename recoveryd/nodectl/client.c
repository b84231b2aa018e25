// SPDX-License-Identifier: Apache-2.0
#include "recoveryd/nodectl/client.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include "common/buf.h"
#include "common/frame.h"
#include "common/mem.h"
#include "common/version.h"

enum { WAIT_S = 10, REQUEST_ID = 1 };

/* An answer and the memory that it lives in. */
struct answer {
    Muster__AdminReply reply; /* first: client_free() gets this */
    struct arena arena;
};

static int open_socket(const struct nodectl *n)
{
    const struct timeval wait = {.tv_sec = WAIT_S};
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (fd < 0)
        return -1;
    (void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof(wait));
    (void)setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &wait, sizeof(wait));
    if (snprintf(address.sun_path, sizeof(address.sun_path), "%s/run/recoveryd.sock",
                 n->conf.dir) >= (int)sizeof(address.sun_path)) {
        (void)close(fd);
        errno = ENAMETOOLONG;
        return -1;
    }
    if (connect(fd, (struct sockaddr *)&address, sizeof(address))) {
        int error = errno;

        (void)close(fd);
        errno = error;
        return -1;
    }
    return fd;
}

static bool put_hello(struct buf *out, const struct nodectl *n)
{
    Muster__Envelope e = MUSTER__ENVELOPE__INIT;
    Muster__Hello hello = MUSTER__HELLO__INIT;

    hello.service = MUSTER__SERVICE__NODECTL;
    hello.version = (char *)MUSTER_VERSION;
    hello.boot_id = (uint64_t)getpid() | 1ull << 32;
    hello.node = n->conf.node;
    hello.pid = (uint32_t)getpid();
    hello.credit_bytes = 4 << 20;
    e.body_case = MUSTER__ENVELOPE__BODY_HELLO;
    e.hello = &hello;
    return frame_put(out, &e);
}

static bool put_request(struct buf *out, Muster__AdminRequest__Command command,
                        const char *argument)
{
    Muster__Envelope e = MUSTER__ENVELOPE__INIT;
    Muster__AdminRequest request = MUSTER__ADMIN_REQUEST__INIT;

    request.command = command;
    request.argument = (char *)(argument ? argument : "");
    e.id = REQUEST_ID;
    e.body_case = MUSTER__ENVELOPE__BODY_ADMIN_REQUEST;
    e.admin_request = &request;
    return frame_put(out, &e);
}

static bool write_all(int fd, struct str bytes)
{
    while (bytes.len > 0) {
        ssize_t len = send(fd, bytes.p, bytes.len, MSG_NOSIGNAL);

        if (len <= 0)
            return false;
        bytes = str_sub(bytes, (size_t)len, bytes.len);
    }
    return true;
}

/* Reads frames until the one that answers; what else comes (Hello, Credit) is passed over. The
 * answer lives in `a`. */
static const Muster__AdminReply *read_reply(int fd, struct arena *a)
{
    struct buf in;
    const Muster__AdminReply *reply = NULL;

    buf_init(&in, FRAME_BYTES_MAX + FRAME_HEAD_BYTES);
    while (!reply) {
        struct str message;
        const Muster__Envelope *e;
        char *room;
        ssize_t len;

        if (frame_look(buf_str(&in), &message) == FRAME_WHOLE) {
            e = frame_unpack(message, a);
            if (!e)
                break;
            if (e->body_case == MUSTER__ENVELOPE__BODY_ADMIN_REPLY && e->id == REQUEST_ID)
                reply = e->admin_reply;
            buf_drop(&in, message.len + FRAME_HEAD_BYTES);
            continue;
        }
        room = buf_reserve(&in, 4096);
        len = room ? recv(fd, room, 4096, 0) : -1;
        if (len <= 0)
            break;
        in.len += (size_t)len;
    }
    buf_done(&in);
    return reply;
}

static const Muster__AdminReply *converse(int fd, const struct nodectl *n,
                                          Muster__AdminRequest__Command command,
                                          const char *argument)
{
    struct answer *answer = mem_new(sizeof(*answer));
    const Muster__AdminReply *reply = NULL;
    struct buf out;

    arena_init(&answer->arena, FRAME_UNPACKED_MAX);
    buf_init(&out, 2 * FRAME_BYTES_MAX);
    if (put_hello(&out, n) && put_request(&out, command, argument) && write_all(fd, buf_str(&out)))
        reply = read_reply(fd, &answer->arena);
    buf_done(&out);
    if (reply) {
        answer->reply = *reply;
        return &answer->reply;
    }
    arena_done(&answer->arena);
    mem_free(answer);
    return NULL;
}

const Muster__AdminReply *client_ask(const struct nodectl *n, Muster__AdminRequest__Command command,
                                     const char *argument)
{
    const Muster__AdminReply *reply;
    int fd = open_socket(n);

    if (fd < 0) {
        (void)nodectl_fail("recoveryd does not run in %s: %s", n->conf.dir, strerror(errno));
        return NULL;
    }
    reply = converse(fd, n, command, argument);
    (void)close(fd);
    if (!reply)
        (void)nodectl_fail("recoveryd in %s did not answer within %d s", n->conf.dir, WAIT_S);
    return reply;
}

void client_free(const Muster__AdminReply *reply)
{
    struct answer *answer = (struct answer *)reply;

    if (!answer)
        return;
    arena_done(&answer->arena);
    mem_free(answer);
}

int client_command(const struct nodectl *n, Muster__AdminRequest__Command command,
                   const char *argument)
{
    const Muster__AdminReply *reply = client_ask(n, command, argument);
    int status = NODECTL_FAILED;

    if (reply && reply->status == 0)
        status = NODECTL_DONE;
    else if (reply)
        status = nodectl_fail("%s", reply->sentence);
    client_free(reply);
    return status;
}
