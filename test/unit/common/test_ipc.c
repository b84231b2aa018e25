// SPDX-License-Identifier: Apache-2.0
/*
 * Links between two processes of a node, both in one loop: proxyd connects, routerd listens.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/buf.h"
#include "common/frame.h"
#include "common/ipc.h"
#include "common/log.h"
#include "common/mem.h"
#include "common/metrics.h"
#include "common/util.h"

enum { PATIENCE_MS = 10000, WINDOW_BYTES = 4 << 20 };

#define FROM(service) (1u << MUSTER__SERVICE__##service)

/* One side, and what it saw. */
struct side {
    struct ipc *ipc;
    struct metrics metrics;
    struct ipc_link *last_up;
    unsigned ups, downs, ims, replies, answered;
    uint64_t last_id, bytes;
    bool sending; /* ipc_send() runs: no callback may come */
    bool close_in_handler;
    bool pause_in_handler;
};

struct room {
    uv_loop_t loop;
    uv_timer_t watchdog;
    char dir[64];
    struct side proxyd, routerd;
    struct ipc_link *link; /* proxyd's, to routerd */
};

static int send_im(struct side *s, struct ipc_link *link, uint64_t id, size_t body_bytes)
{
    Muster__Im im = MUSTER__IM__INIT;
    Muster__Envelope envelope = MUSTER__ENVELOPE__INIT;
    int r;

    im.from = "alice@muster.test";
    im.to = "bob@muster.test";
    im.body.len = body_bytes;
    im.body.data = body_bytes ? mem_new(body_bytes) : NULL;
    envelope.id = id;
    envelope.body_case = MUSTER__ENVELOPE__BODY_IM;
    envelope.im = &im;
    s->sending = true;
    r = ipc_send(link, &envelope);
    s->sending = false;
    mem_free(im.body.data);
    return r;
}

static void on_im(void *ctx, struct ipc_link *link, const Muster__Envelope *envelope)
{
    struct side *s = ctx;
    Muster__ImReply reply = MUSTER__IM_REPLY__INIT;
    Muster__Envelope answer = MUSTER__ENVELOPE__INIT;

    assert_false(s->sending);
    assert_string_equal(envelope->im->to, "bob@muster.test");
    s->ims++;
    s->last_id = envelope->id;
    s->bytes += envelope->im->body.len;
    if (s->pause_in_handler)
        ipc_pause(link);
    if (s->close_in_handler) {
        ipc_close(s->ipc);
        s->ipc = NULL;
        return;
    }
    answer.id = envelope->id;
    answer.body_case = MUSTER__ENVELOPE__BODY_IM_REPLY;
    answer.im_reply = &reply;
    if (ipc_send(link, &answer) == 0)
        s->answered++;
}

static void on_im_reply(void *ctx, struct ipc_link *link, const Muster__Envelope *envelope)
{
    struct side *s = ctx;

    (void)link;
    assert_false(s->sending);
    s->replies++;
    s->last_id = envelope->id;
}

static void on_up(void *ctx, struct ipc_link *link)
{
    struct side *s = ctx;

    assert_true(ipc_is_up(link));
    s->last_up = link;
    s->ups++;
}

static void on_down(void *ctx, struct ipc_link *link)
{
    struct side *s = ctx;

    assert_false(s->sending);
    assert_false(ipc_is_up(link));
    s->last_up = NULL;
    s->downs++;
}

static const struct ipc_handler handlers[] = {
    [MUSTER__ENVELOPE__BODY_IM] = {on_im, FROM(PROXYD)},
    [MUSTER__ENVELOPE__BODY_IM_REPLY] = {on_im_reply, FROM(ROUTERD)},
    [MUSTER__ENVELOPE__BODY_ALARM] = {on_im_reply, FROM(RECOVERYD)},
};

static void start_side(struct room *room, struct side *s, Muster__Service service)
{
    s->ipc = ipc_new(&room->loop, &(struct ipc_config){.service = service,
                                                       .node = 1,
                                                       .boot_id = 40 + (uint64_t)service,
                                                       .run_dir = room->dir,
                                                       .handlers = handlers,
                                                       .handler_count = ARRAY_LEN(handlers),
                                                       .queue_bytes_max = 8 << 20,
                                                       .on_up = on_up,
                                                       .on_down = on_down,
                                                       .metrics = &s->metrics,
                                                       .ctx = s});
}

static void on_watchdog(uv_timer_t *timer)
{
    (void)timer;
    fail_msg("what was waited for did not happen in %d ms", PATIENCE_MS);
}

/* Turns the loop until `condition` holds. */
#define UNTIL(room, condition)                                                                     \
    do {                                                                                           \
        uv_timer_start(&(room)->watchdog, on_watchdog, PATIENCE_MS, 0);                            \
        while (!(condition))                                                                       \
            uv_run(&(room)->loop, UV_RUN_ONCE);                                                    \
        uv_timer_stop(&(room)->watchdog);                                                          \
    } while (0)

static int open_room(void **state)
{
    struct room *room = mem_new(sizeof(*room));

    snprintf(room->dir, sizeof(room->dir), "/tmp/muster-ipc-XXXXXX");
    assert_non_null(mkdtemp(room->dir));
    log_init("test", "n1", LOG_ERROR);
    uv_loop_init(&room->loop);
    uv_timer_init(&room->loop, &room->watchdog);
    uv_unref((uv_handle_t *)&room->watchdog);
    start_side(room, &room->routerd, MUSTER__SERVICE__ROUTERD);
    assert_int_equal(ipc_listen(room->routerd.ipc), 0);
    start_side(room, &room->proxyd, MUSTER__SERVICE__PROXYD);
    room->link = ipc_connect(room->proxyd.ipc, MUSTER__SERVICE__ROUTERD);
    *state = room;
    return 0;
}

static int close_room(void **state)
{
    struct room *room = *state;

    ipc_close(room->proxyd.ipc);
    ipc_close(room->routerd.ipc);
    uv_close((uv_handle_t *)&room->watchdog, NULL);
    uv_run(&room->loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&room->loop), 0);
    assert_int_equal(rmdir(room->dir), 0); /* the sockets are gone */
    mem_free(room);
    return 0;
}

static void meet(struct room *room)
{
    UNTIL(room, room->proxyd.ups == 1 && room->routerd.ups == 1);
}

/* ---- stories ---- */

static void request_and_answer(void **state)
{
    struct room *room = *state;

    assert_int_equal(send_im(&room->proxyd, room->link, 1, 0), IPC_E_DOWN);
    meet(room);
    assert_int_equal(ipc_peer(room->link), MUSTER__SERVICE__ROUTERD);
    assert_int_equal(ipc_peer_boot_id(room->link), 40 + MUSTER__SERVICE__ROUTERD);
    assert_int_equal(ipc_peer_pid(room->link), getpid());
    assert_int_equal(ipc_peer(room->routerd.last_up), MUSTER__SERVICE__PROXYD);

    assert_int_equal(send_im(&room->proxyd, room->link, 77, 100), 0);
    UNTIL(room, room->proxyd.replies == 1);
    assert_int_equal(room->routerd.last_id, 77);
    assert_int_equal(room->proxyd.last_id, 77);
    assert_int_equal(room->routerd.bytes, 100);
}

static void numbers_are_never_zero_nor_repeated(void **state)
{
    struct room *room = *state;

    assert_int_equal(ipc_next_id(room->proxyd.ipc), 1);
    assert_int_equal(ipc_next_id(room->proxyd.ipc), 2);
}

/* More than the credit window, in both directions, and none is lost or reordered. */
static void many_frames_keep_their_order(void **state)
{
    struct room *room = *state;
    uint64_t sent = 0;

    meet(room);
    while (sent < 3000) {
        while (sent < 3000 && send_im(&room->proxyd, room->link, sent + 1, 5000) == 0)
            sent++;
        uv_run(&room->loop, UV_RUN_ONCE);
        assert_int_equal(room->routerd.ims, room->routerd.last_id);
    }
    UNTIL(room, room->proxyd.replies == 3000);
    assert_int_equal(room->routerd.bytes, 3000 * 5000);
    assert_int_equal(room->proxyd.downs + room->routerd.downs, 0);
}

static void largest_frame_passes_and_a_larger_one_is_refused(void **state)
{
    struct room *room = *state;

    meet(room);
    assert_int_equal(send_im(&room->proxyd, room->link, 1, IPC_FRAME_MAX), IPC_E_FULL);
    assert_int_equal(send_im(&room->proxyd, room->link, 2, IPC_FRAME_MAX - 100), 0);
    UNTIL(room, room->proxyd.replies == 1);
    assert_int_equal(room->routerd.last_id, 2);
}

/* A reader that does not read is sent one window; what comes after waits here, up to a limit. */
static void slow_reader_stops_the_sender(void **state)
{
    struct room *room = *state;
    uint64_t sent = 0;

    meet(room);
    ipc_pause(room->routerd.last_up);
    while (send_im(&room->proxyd, room->link, sent + 1, 60000) == 0) {
        sent++;
        uv_run(&room->loop, UV_RUN_NOWAIT);
        assert_true(sent * 60000 < (8u << 20) + WINDOW_BYTES);
    }
    assert_true(sent * 60000 > (7u << 20));
    assert_int_equal(room->routerd.ims, 0);
    assert_true(ipc_is_up(room->link));

    ipc_resume(room->routerd.last_up);
    assert_int_equal(room->routerd.ims, 0); /* not from within */
    UNTIL(room, room->proxyd.replies == sent);
    assert_int_equal(room->routerd.last_id, sent);
    assert_int_equal(send_im(&room->proxyd, room->link, sent + 1, 60000), 0);
}

/* A handler that pauses its link gets no other frame until it resumes, though many are there. */
static void handler_pauses_its_own_link(void **state)
{
    struct room *room = *state;

    meet(room);
    room->routerd.pause_in_handler = true;
    for (uint64_t id = 1; id <= 3; id++)
        assert_int_equal(send_im(&room->proxyd, room->link, id, 10), 0);
    for (unsigned i = 1; i <= 3; i++) {
        UNTIL(room, room->proxyd.replies == i);
        assert_int_equal(room->routerd.ims, i);
        ipc_resume(room->routerd.last_up);
    }
}

static void link_comes_back_after_the_listener_restarted(void **state)
{
    struct room *room = *state;

    meet(room);
    ipc_close(room->routerd.ipc);
    UNTIL(room, room->proxyd.downs == 1);
    assert_int_equal(send_im(&room->proxyd, room->link, 1, 10), IPC_E_DOWN);

    start_side(room, &room->routerd, MUSTER__SERVICE__ROUTERD);
    assert_int_equal(ipc_listen(room->routerd.ipc), 0);
    UNTIL(room, room->proxyd.ups == 2 && room->routerd.ups == 2);
    assert_int_equal(send_im(&room->proxyd, room->link, 9, 10), 0);
    UNTIL(room, room->proxyd.replies == 1);
}

static void stale_socket_is_replaced_and_a_live_one_is_not(void **state)
{
    struct room *room = *state;
    struct side second = {0};
    char path[128];
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    struct sockaddr_un address = {.sun_family = AF_UNIX};

    start_side(room, &second, MUSTER__SERVICE__ROUTERD);
    assert_int_equal(ipc_listen(second.ipc), UV_EADDRINUSE);
    ipc_close(second.ipc);

    /* A socket file without a process behind it. */
    snprintf(path, sizeof(path), "%s/presenced.sock", room->dir);
    memcpy(address.sun_path, path, strlen(path) + 1);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    close(fd);
    start_side(room, &second, MUSTER__SERVICE__PRESENCED);
    assert_int_equal(ipc_listen(second.ipc), 0);
    ipc_close(second.ipc);
    meet(room); /* the listener that lives was not disturbed */
}

static void everything_may_be_closed_from_a_handler(void **state)
{
    struct room *room = *state;

    meet(room);
    room->routerd.close_in_handler = true;
    for (uint64_t id = 1; id <= 3; id++)
        assert_int_equal(send_im(&room->proxyd, room->link, id, 10), 0);
    UNTIL(room, room->proxyd.downs == 1);
    assert_int_equal(room->routerd.ims, 1);
}

/* Sent just before the end, it still arrives. */
static void what_was_sent_before_closing_arrives(void **state)
{
    struct room *room = *state;

    meet(room);
    assert_int_equal(send_im(&room->proxyd, room->link, 5, 10), 0);
    ipc_close(room->proxyd.ipc);
    room->proxyd.ipc = NULL;
    UNTIL(room, room->routerd.downs == 1);
    assert_int_equal(room->routerd.last_id, 5);
}

/* ---- what a peer must not do ---- */

static int connect_raw(struct room *room)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);

    snprintf(address.sun_path, sizeof(address.sun_path), "%.60s/routerd.sock", room->dir);
    assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    return fd;
}

static void put_hello(struct buf *out, uint32_t service, const char *version, uint64_t boot_id)
{
    Muster__Hello hello = MUSTER__HELLO__INIT;
    Muster__Envelope envelope = MUSTER__ENVELOPE__INIT;

    hello.service = service;
    hello.version = (char *)version;
    hello.boot_id = boot_id;
    hello.credit_bytes = WINDOW_BYTES;
    envelope.body_case = MUSTER__ENVELOPE__BODY_HELLO;
    envelope.hello = &hello;
    assert_true(frame_put(out, &envelope));
}

static void put_body(struct buf *out, Muster__Envelope__BodyCase body)
{
    Muster__Envelope envelope = MUSTER__ENVELOPE__INIT;
    Muster__Im im = MUSTER__IM__INIT;
    Muster__Alarm alarm = MUSTER__ALARM__INIT;

    envelope.body_case = body;
    im.to = "bob@muster.test";
    if (body == MUSTER__ENVELOPE__BODY_IM)
        envelope.im = &im;
    if (body == MUSTER__ENVELOPE__BODY_ALARM)
        envelope.alarm = &alarm;
    assert_true(frame_put(out, &envelope));
}

/* Sends it and waits until the other side hung up. */
static void expect_refused(struct room *room, const struct buf *bytes)
{
    int fd = connect_raw(room);
    char answer[512];
    ssize_t got = -1;

    assert_int_equal(write(fd, bytes->data, bytes->len), bytes->len);
    uv_timer_start(&room->watchdog, on_watchdog, PATIENCE_MS, 0);
    while (got != 0) {
        uv_run(&room->loop, UV_RUN_NOWAIT);
        got = read(fd, answer, sizeof(answer));
    }
    uv_timer_stop(&room->watchdog);
    close(fd);
}

static void bad_beginnings_are_refused(void **state)
{
    static const struct {
        uint32_t service;
        const char *version;
        uint64_t boot_id;
    } hellos[] = {
        {0, "0.1.0", 1}, /* nobody */
        {MUSTER__SERVICE__DATABASE, "0.1.0", 1},
        {99, "0.1.0", 1},
        {UINT32_MAX, "0.1.0", 1},
        {MUSTER__SERVICE__PROXYD, "0.1.0", 0},
        {MUSTER__SERVICE__PROXYD, "a version of more than thirty-two bytes", 1},
    };
    struct room *room = *state;
    struct buf bytes;

    buf_init(&bytes, 4096);
    for (size_t i = 0; i < ARRAY_LEN(hellos); i++) {
        buf_clear(&bytes);
        put_hello(&bytes, hellos[i].service, hellos[i].version, hellos[i].boot_id);
        expect_refused(room, &bytes);
    }
    buf_clear(&bytes);
    put_body(&bytes, MUSTER__ENVELOPE__BODY_IM);
    expect_refused(room, &bytes);
    buf_clear(&bytes);
    buf_puts(&bytes, "GET / HTTP/1.1\r\n\r\n"); /* a length of a gigabyte */
    expect_refused(room, &bytes);
    buf_clear(&bytes);
    buf_put(&bytes, "\0\0\0\2\xff\xff", 6);
    expect_refused(room, &bytes);
    buf_done(&bytes);
    assert_int_equal(room->routerd.downs, 0); /* none of them ever was up */
}

static void bad_frames_end_the_link(void **state)
{
    struct room *room = *state;
    struct buf bytes;

    buf_init(&bytes, 4096);
    put_hello(&bytes, MUSTER__SERVICE__PROXYD, "0.1.0", 1);
    put_hello(&bytes, MUSTER__SERVICE__PROXYD, "0.1.0", 1);
    expect_refused(room, &bytes);

    /* Only recoveryd may send an Alarm here. */
    buf_clear(&bytes);
    put_hello(&bytes, MUSTER__SERVICE__PROXYD, "0.1.0", 1);
    put_body(&bytes, MUSTER__ENVELOPE__BODY_ALARM);
    expect_refused(room, &bytes);

    buf_clear(&bytes);
    put_hello(&bytes, MUSTER__SERVICE__PROXYD, "0.1.0", 1);
    buf_put(&bytes, "\0\x10\0\1", 4); /* one byte more than 1 MiB */
    expect_refused(room, &bytes);
    buf_done(&bytes);
    assert_int_equal(room->routerd.ims, 0);
}

/* A body that only a newer peer knows costs nothing but a count. */
static void unknown_body_is_ignored(void **state)
{
    struct room *room = *state;
    struct buf bytes;
    int fd = connect_raw(room);

    buf_init(&bytes, 4096);
    put_hello(&bytes, MUSTER__SERVICE__PROXYD, "0.1.0", 1);
    buf_put(&bytes, "\0\0\0\3\x9a\x3e\0", 7); /* field 995, empty */
    put_body(&bytes, MUSTER__ENVELOPE__BODY_IM);
    assert_int_equal(write(fd, bytes.data, bytes.len), bytes.len);
    UNTIL(room, room->routerd.ims == 1);
    assert_int_equal(room->routerd.metrics.values[METRIC_IPC_REFUSED], 1);
    close(fd);
    buf_done(&bytes);
}

/* One byte at a time is as good as all at once. */
static void frames_come_in_any_pieces(void **state)
{
    struct room *room = *state;
    struct buf bytes;
    int fd = connect_raw(room);

    buf_init(&bytes, 4096);
    put_hello(&bytes, MUSTER__SERVICE__PROXYD, "0.1.0", 1);
    put_body(&bytes, MUSTER__ENVELOPE__BODY_IM);
    for (size_t i = 0; i < bytes.len; i++) {
        assert_int_equal(write(fd, bytes.data + i, 1), 1);
        uv_run(&room->loop, UV_RUN_NOWAIT);
    }
    UNTIL(room, room->routerd.ims == 1);
    close(fd);
    buf_done(&bytes);
}

static void services_have_names(void **state)
{
    (void)state;
    assert_string_equal(ipc_service_name(MUSTER__SERVICE__PROXYD), "proxyd");
    assert_null(ipc_service_name(MUSTER__SERVICE__SERVICE_NONE));
    assert_null(ipc_service_name((Muster__Service)99));
    assert_int_equal(ipc_service_of("recoveryd"), MUSTER__SERVICE__RECOVERYD);
    assert_int_equal(ipc_service_of("cron"), MUSTER__SERVICE__SERVICE_NONE);
}

#define STORY(name) cmocka_unit_test_setup_teardown(name, open_room, close_room)

int main(void)
{
    const struct CMUnitTest tests[] = {
        STORY(request_and_answer),
        STORY(numbers_are_never_zero_nor_repeated),
        STORY(many_frames_keep_their_order),
        STORY(largest_frame_passes_and_a_larger_one_is_refused),
        STORY(slow_reader_stops_the_sender),
        STORY(handler_pauses_its_own_link),
        STORY(link_comes_back_after_the_listener_restarted),
        STORY(stale_socket_is_replaced_and_a_live_one_is_not),
        STORY(everything_may_be_closed_from_a_handler),
        STORY(what_was_sent_before_closing_arrives),
        STORY(bad_beginnings_are_refused),
        STORY(bad_frames_end_the_link),
        STORY(unknown_body_is_ignored),
        STORY(frames_come_in_any_pieces),
        cmocka_unit_test(services_have_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
