// SPDX-License-Identifier: Apache-2.0
/*
 * nodectl's side of the conversation with recoveryd. Another process plays recoveryd, and sometimes
 * plays it badly.
 */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/frame.h"
#include "common/util.h"
#include "common/version.h"
#include "recoveryd/nodectl/client.h"

static struct conf conf;

static int listen_on(const char *dir)
{
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);

    snprintf(a.sun_path, sizeof(a.sun_path), "%.64s/run/recoveryd.sock", dir);
    unlink(a.sun_path);
    assert_int_equal(bind(fd, (struct sockaddr *)&a, sizeof(a)), 0);
    assert_int_equal(listen(fd, 1), 0);
    return fd;
}

static void put_hello(struct buf *out)
{
    Muster__Envelope e = MUSTER__ENVELOPE__INIT;
    Muster__Hello hello = MUSTER__HELLO__INIT;

    hello.service = MUSTER__SERVICE__RECOVERYD;
    hello.version = MUSTER_VERSION;
    hello.boot_id = 1;
    e.body_case = MUSTER__ENVELOPE__BODY_HELLO;
    e.hello = &hello;
    assert_true(frame_put(out, &e));
}

static void put_reply(struct buf *out, uint64_t id, const char *sentence)
{
    Muster__Envelope e = MUSTER__ENVELOPE__INIT;
    Muster__AdminReply reply = MUSTER__ADMIN_REPLY__INIT;

    reply.status = 1;
    reply.sentence = (char *)sentence;
    e.id = id;
    e.body_case = MUSTER__ENVELOPE__BODY_ADMIN_REPLY;
    e.admin_reply = &reply;
    assert_true(frame_put(out, &e));
}

static void put_credit(struct buf *out)
{
    Muster__Envelope e = MUSTER__ENVELOPE__INIT;
    Muster__Credit credit = MUSTER__CREDIT__INIT;

    e.body_case = MUSTER__ENVELOPE__BODY_CREDIT;
    e.credit = &credit;
    assert_true(frame_put(out, &e));
}

/* Asks one that answers `bytes`, in pieces of `piece`, whatever it is told. */
static const Muster__AdminReply *ask(const struct buf *bytes, size_t piece, struct arena *arena,
                                     struct err *ret_err)
{
    Muster__AdminRequest request = MUSTER__ADMIN_REQUEST__INIT;
    const Muster__AdminReply *reply;
    int fd = listen_on(conf.dir);
    pid_t pid = fork();

    assert_true(pid >= 0);
    if (pid == 0) {
        int c = accept(fd, NULL, NULL);
        char dust[4096];

        for (size_t at = 0; at < bytes->len; at += piece)
            if (send(c, bytes->data + at, bytes->len - at < piece ? bytes->len - at : piece,
                     MSG_NOSIGNAL) < 0)
                break;
        shutdown(c, SHUT_WR);
        while (read(c, dust, sizeof(dust)) > 0)
            ;
        _exit(0);
    }
    request.command = MUSTER__ADMIN_REQUEST__COMMAND__HA_STATUS;
    reply = client_ask(&conf, &request, arena, ret_err);
    close(fd);
    waitpid(pid, NULL, 0);
    return reply;
}

static void an_answer(void **state)
{
    const Muster__AdminReply *reply;
    struct arena arena;
    struct buf bytes;
    struct err e;

    (void)state;
    buf_init(&bytes, 65536);
    put_hello(&bytes);
    put_credit(&bytes);
    put_reply(&bytes, 7, "to another question");
    put_reply(&bytes, 1, "no");
    for (size_t piece = 1; piece <= 16; piece *= 4) {
        arena_init(&arena, FRAME_UNPACKED_MAX);
        reply = ask(&bytes, piece, &arena, &e);
        assert_non_null(reply);
        assert_int_equal(reply->status, 1);
        assert_string_equal(reply->sentence, "no");
        arena_done(&arena);
    }
    buf_done(&bytes);
}

static void no_answer(void **state)
{
    static const struct {
        const char *bytes;
        size_t len;
        bool hello;
        const char *says;
    } cases[] = {
        {"", 0, false, "recoveryd hung up"},
        {"", 0, true, "recoveryd hung up"},
        {"\0\0\0\1x", 5, false, "recoveryd said something that is not understood"},
        {"\xff\xff\xff\xff", 4, true, "recoveryd said too much"},
        {"\0\0\0\0", 4, false, "what answers on recoveryd's socket is not recoveryd"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct arena arena;
        struct buf bytes;
        struct err e;

        buf_init(&bytes, 4096);
        if (cases[i].hello)
            put_hello(&bytes);
        buf_put(&bytes, cases[i].bytes, cases[i].len);
        arena_init(&arena, FRAME_UNPACKED_MAX);
        assert_null(ask(&bytes, 1000, &arena, &e));
        if (strncmp(e.text, cases[i].says, strlen(cases[i].says)) != 0)
            fail_msg("case %zu: %s", i, e.text);
        arena_done(&arena);
        buf_done(&bytes);
    }
}

static void nobody_there(void **state)
{
    Muster__AdminRequest request = MUSTER__ADMIN_REQUEST__INIT;
    struct arena arena;
    struct err e;

    (void)state;
    arena_init(&arena, FRAME_UNPACKED_MAX);
    assert_null(client_ask(&conf, &request, &arena, &e));
    assert_non_null(strstr(e.text, "recoveryd of this node does not run"));
    arena_done(&arena);
}

static int up(void **state)
{
    char run[CONF_PATH_MAX + 8];

    (void)state;
    snprintf(conf.dir, sizeof(conf.dir), "/tmp/muster-client-XXXXXX");
    if (!mkdtemp(conf.dir))
        return -1;
    snprintf(run, sizeof(run), "%s/run", conf.dir);
    return mkdir(run, 0700);
}

static int down(void **state)
{
    char path[CONF_PATH_MAX + 32];

    (void)state;
    snprintf(path, sizeof(path), "%s/run/recoveryd.sock", conf.dir);
    unlink(path);
    snprintf(path, sizeof(path), "%s/run", conf.dir);
    rmdir(path);
    return rmdir(conf.dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_answer),
        cmocka_unit_test(no_answer),
        cmocka_unit_test(nobody_there),
    };

    return cmocka_run_group_tests(tests, up, down);
}
