// SPDX-License-Identifier: Apache-2.0
/*
 * What all daemons share, told as the conversation of a proxyd with a recoveryd that the test
 * plays. Both are in one loop, each with its own socket.
 */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/buf.h"
#include "common/daemon.h"
#include "common/log.h"
#include "common/mem.h"
#include "common/util.h"

enum { PATIENCE_MS = 10000, LONG_LEASE_MS = 60000 };

#define FROM_PROXYD (1u << MUSTER__SERVICE__PROXYD)

struct room {
    struct daemon d;
    char dir[64];
    uv_timer_t watchdog;

    /* What the daemon was told. */
    unsigned views, params, ups, downs;
    bool serving;
    bool done_later; /* on_view does not call daemon_view_done() */
    bool sick;

    /* recoveryd, and what it heard. */
    struct ipc *recoveryd;
    struct ipc_link *link;
    uint64_t boot_id;
    unsigned acks, alarms;
    Muster__ViewAck ack;
    char complaint[64], alarm[64], detail[64], metrics[4096];
    bool alarm_raised;
};

/* ---- the daemon ---- */

static void on_view(struct daemon *d, const struct view *view)
{
    struct room *room = d->ctx;

    room->views++;
    if (!room->done_later)
        daemon_view_done(d, view->version);
}

static void on_serving(struct daemon *d, bool serving)
{
    ((struct room *)d->ctx)->serving = serving;
}

static void on_params(struct daemon *d, const struct params *params)
{
    (void)params;
    ((struct room *)d->ctx)->params++;
}

static void on_link_up(struct daemon *d, struct ipc_link *link)
{
    (void)link;
    ((struct room *)d->ctx)->ups++;
}

static void on_link_down(struct daemon *d, struct ipc_link *link)
{
    (void)link;
    ((struct room *)d->ctx)->downs++;
}

static void on_health(struct daemon *d, Muster__ViewAck *ack)
{
    struct room *room = d->ctx;

    ack->replica = MUSTER__REPLICA_STATE__REPLICA_ALONE;
    ack->healthy = !room->sick;
    if (room->sick)
        ack->complaint = "the database cannot be reached";
}

static const struct daemon_config config = {
    .service = MUSTER__SERVICE__PROXYD,
    .summary = "a daemon of the test",
    .on_view = on_view,
    .on_serving = on_serving,
    .on_params = on_params,
    .on_link_up = on_link_up,
    .on_link_down = on_link_down,
    .on_health = on_health,
};

/* ---- recoveryd ---- */

static void on_ack(void *ctx, struct ipc_link *link, const Muster__Envelope *envelope)
{
    struct room *room = ctx;

    (void)link;
    room->acks++;
    room->ack = *envelope->view_ack;
    snprintf(room->complaint, sizeof(room->complaint), "%s", envelope->view_ack->complaint);
}

static void on_alarm(void *ctx, struct ipc_link *link, const Muster__Envelope *envelope)
{
    struct room *room = ctx;

    (void)link;
    room->alarms++;
    room->alarm_raised = envelope->alarm->raised;
    snprintf(room->alarm, sizeof(room->alarm), "%s", envelope->alarm->name);
    snprintf(room->detail, sizeof(room->detail), "%s", envelope->alarm->detail);
}

static void on_metrics(void *ctx, struct ipc_link *link, const Muster__Envelope *envelope)
{
    struct room *room = ctx;
    const ProtobufCBinaryData *text = &envelope->metrics_reply->text;

    (void)link;
    assert_int_equal(envelope->id, 9);
    snprintf(room->metrics, sizeof(room->metrics), "%.*s", (int)text->len, (char *)text->data);
}

static const struct ipc_handler recoveryd_handlers[] = {
    [MUSTER__ENVELOPE__BODY_VIEW_ACK] = {on_ack, FROM_PROXYD},
    [MUSTER__ENVELOPE__BODY_ALARM] = {on_alarm, FROM_PROXYD},
    [MUSTER__ENVELOPE__BODY_METRICS_REPLY] = {on_metrics, FROM_PROXYD},
};

static void start_recoveryd(struct room *room)
{
    room->recoveryd =
        ipc_new(&room->d.loop, &(struct ipc_config){.service = MUSTER__SERVICE__RECOVERYD,
                                                    .node = 1,
                                                    .boot_id = ++room->boot_id,
                                                    .run_dir = room->d.run_dir,
                                                    .handlers = recoveryd_handlers,
                                                    .handler_count = ARRAY_LEN(recoveryd_handlers),
                                                    .ctx = room});
    room->link = ipc_connect(room->recoveryd, MUSTER__SERVICE__PROXYD);
}

static void send_view(struct room *room, uint64_t version, uint64_t epoch, uint32_t lease_ms)
{
    Muster__View view = MUSTER__VIEW__INIT;
    Muster__Envelope envelope = MUSTER__ENVELOPE__INIT;
    Muster__NodeView nodes[2] = {MUSTER__NODE_VIEW__INIT, MUSTER__NODE_VIEW__INIT};
    Muster__NodeView *pointers[] = {&nodes[0], &nodes[1]};

    for (uint32_t i = 0; i < 2; i++) {
        nodes[i].node = i + 1;
        nodes[i].group = 1;
        nodes[i].name = i ? "n2" : "n1";
        nodes[i].address = "127.0.1.1";
        nodes[i].served_by = i + 1;
    }
    view.version = version;
    view.epoch = epoch;
    view.self = 1;
    view.n_nodes = 2;
    view.nodes = pointers;
    uv_update_time(&room->d.loop);
    view.made_at_ms = uv_now(&room->d.loop);
    view.lease_ms = lease_ms;
    envelope.body_case = MUSTER__ENVELOPE__BODY_VIEW;
    envelope.view = &view;
    assert_int_equal(ipc_send(room->link, &envelope), 0);
}

/* ---- the room ---- */

static void on_watchdog(uv_timer_t *timer)
{
    (void)timer;
    fail_msg("what was waited for did not happen in %d ms", PATIENCE_MS);
}

#define UNTIL(room, condition)                                                                     \
    do {                                                                                           \
        uv_timer_start(&(room)->watchdog, on_watchdog, PATIENCE_MS, 0);                            \
        while (!(condition))                                                                       \
            uv_run(&(room)->d.loop, UV_RUN_ONCE);                                                  \
        uv_timer_stop(&(room)->watchdog);                                                          \
    } while (0)

static void write_conf(const char *dir, const char *text)
{
    char path[128];
    FILE *f;

    snprintf(path, sizeof(path), "%s/node.conf", dir);
    f = fopen(path, "w");
    assert_non_null(f);
    fputs(text, f);
    fclose(f);
}

static int start(struct room *room, const char *option, const char *value, bool *ret_exit)
{
    char *argv[] = {"proxyd", "--dir", room->dir, (char *)option, (char *)value, NULL};

    optind = 0; /* getopt's start over */
    return daemon_init(&room->d, &config, option ? value ? 5 : 4 : 3, argv, ret_exit);
}

static int open_room(void **state)
{
    struct room *room = mem_new(sizeof(*room));
    bool is_over;

    snprintf(room->dir, sizeof(room->dir), "/tmp/muster-daemon-XXXXXX");
    assert_non_null(mkdtemp(room->dir));
    write_conf(room->dir, "node = 1\ndomain = muster.test\n"
                          "nodes = 1:n1:1:127.0.1.1 2:n2:1:127.0.1.2\n"
                          "set.proxyd.nonce_lifetime = 20s\n");
    assert_int_equal(start(room, "--log-level", "error", &is_over), 0);
    assert_false(is_over);
    room->d.ctx = room;
    uv_timer_init(&room->d.loop, &room->watchdog);
    uv_unref((uv_handle_t *)&room->watchdog);
    start_recoveryd(room);
    UNTIL(room, ipc_is_up(room->link) && room->ups == 1);
    *state = room;
    return 0;
}

static int close_room(void **state)
{
    struct room *room = *state;
    char path[128];

    ipc_close(room->recoveryd);
    uv_close((uv_handle_t *)&room->watchdog, NULL);
    kill(getpid(), SIGTERM);
    assert_int_equal(daemon_run(&room->d), 0); /* ends, because every handle is closed */
    snprintf(path, sizeof(path), "%s/run", room->dir);
    assert_int_equal(rmdir(path), 0);
    snprintf(path, sizeof(path), "%s/node.conf", room->dir);
    unlink(path);
    rmdir(room->dir);
    mem_free(room);
    return 0;
}

/* ---- stories ---- */

static void first_view_starts_serving(void **state)
{
    struct room *room = *state;

    assert_false(room->d.serving);
    send_view(room, 3, 1, LONG_LEASE_MS);
    UNTIL(room, room->acks == 1);
    assert_int_equal(room->views, 1);
    assert_true(room->serving && room->d.serving && room->ack.serving && room->ack.healthy);
    assert_int_equal(room->ack.version, 3);
    assert_int_equal(room->ack.replica, MUSTER__REPLICA_STATE__REPLICA_ALONE);
    assert_true(view_is_mine(&room->d.view, 1, loop_now(&room->d.loop)));
    assert_false(view_is_mine(&room->d.view, 2, loop_now(&room->d.loop)));
}

static void renewal_is_acknowledged_and_told_to_nobody(void **state)
{
    struct room *room = *state;

    for (unsigned i = 1; i <= 5; i++) {
        send_view(room, 3, 1, LONG_LEASE_MS);
        UNTIL(room, room->acks == i);
    }
    assert_int_equal(room->views, 1);
    send_view(room, 4, 1, LONG_LEASE_MS);
    UNTIL(room, room->acks == 6);
    assert_int_equal(room->views, 2);
}

/* recoveryd waits for it in a planned move, so it comes before the next view does. */
static void work_that_ends_later_is_told_at_once(void **state)
{
    struct room *room = *state;

    room->done_later = true;
    send_view(room, 3, 1, LONG_LEASE_MS);
    UNTIL(room, room->acks == 1);
    assert_int_equal(room->ack.version, 0);
    daemon_view_done(&room->d, 3);
    UNTIL(room, room->acks == 2);
    assert_int_equal(room->ack.version, 3);
    daemon_view_done(&room->d, 3);
    daemon_view_done(&room->d, 99); /* never announced */
    send_view(room, 3, 1, LONG_LEASE_MS);
    UNTIL(room, room->acks == 3);
    assert_int_equal(room->ack.version, 3);
}

static void lease_ends_and_comes_back(void **state)
{
    struct room *room = *state;

    send_view(room, 3, 1, 30);
    UNTIL(room, room->serving);
    UNTIL(room, !room->serving);
    assert_false(view_is_mine(&room->d.view, 1, loop_now(&room->d.loop)));
    send_view(room, 3, 1, LONG_LEASE_MS);
    UNTIL(room, room->serving);
    assert_int_equal(room->views, 1);
}

static void view_without_a_lease_is_followed_but_serves_nobody(void **state)
{
    struct room *room = *state;

    send_view(room, 3, 1, 0);
    UNTIL(room, room->acks == 1);
    assert_int_equal(room->views, 1);
    assert_false(room->serving || room->ack.serving);
}

static void loss_of_recoveryd_is_not_loss_of_the_lease(void **state)
{
    struct room *room = *state;

    send_view(room, 3, 1, LONG_LEASE_MS);
    UNTIL(room, room->acks == 1);
    daemon_alarm(&room->d, "DatabaseDown", true, "connection refused");
    daemon_alarm(&room->d, "DatabaseDown", true, "connection refused");
    daemon_alarm(&room->d, "ReplicaOutOfSync", true, "");
    daemon_alarm(&room->d, "ReplicaOutOfSync", false, NULL);
    UNTIL(room, room->alarms == 3);
    assert_string_equal(room->alarm, "ReplicaOutOfSync");
    assert_false(room->alarm_raised);

    ipc_close(room->recoveryd);
    UNTIL(room, room->downs == 1);
    assert_true(room->serving);
    daemon_alarm(&room->d, "DatabaseDown", true, "timeout");

    /* The next one hears of all alarms, and counts its views anew. */
    start_recoveryd(room);
    UNTIL(room, room->alarms == 5);
    assert_true(ipc_is_up(room->link));
    send_view(room, 1, 1, LONG_LEASE_MS);
    UNTIL(room, room->acks == 2);
    assert_int_equal(room->ack.version, 1);
    assert_int_equal(room->views, 2);
    assert_true(room->serving);
}

static void older_epoch_and_foreign_views_are_refused(void **state)
{
    struct room *room = *state;

    send_view(room, 3, 7, LONG_LEASE_MS);
    UNTIL(room, room->acks == 1);
    send_view(room, 4, 6, LONG_LEASE_MS);
    send_view(room, 0, 7, LONG_LEASE_MS);
    send_view(room, 5, 8, LONG_LEASE_MS);
    UNTIL(room, room->acks == 2);
    assert_int_equal(room->views, 2);
    assert_int_equal(room->d.view.version, 5);
}

static void complaint_reaches_recoveryd(void **state)
{
    struct room *room = *state;

    room->sick = true;
    send_view(room, 3, 1, LONG_LEASE_MS);
    UNTIL(room, room->acks == 1);
    assert_false(room->ack.healthy);
    assert_string_equal(room->complaint, "the database cannot be reached");
}

static void parameters_come_and_node_conf_has_the_last_word(void **state)
{
    struct room *room = *state;
    Muster__Param p[] = {MUSTER__PARAM__INIT, MUSTER__PARAM__INIT};
    Muster__Param *pointers[] = {&p[0], &p[1]};
    Muster__Params params = MUSTER__PARAMS__INIT;
    Muster__Envelope envelope = MUSTER__ENVELOPE__INIT;

    assert_int_equal(room->d.params.proxyd_nonce_lifetime_ms, 20000);
    p[0].service = p[1].service = "proxyd";
    p[0].name = "nonce_lifetime";
    p[0].value = "50s";
    p[1].name = "registration_expires_min";
    p[1].value = "90s";
    params.params = pointers;
    params.n_params = 2;
    envelope.body_case = MUSTER__ENVELOPE__BODY_PARAMS;
    envelope.params = &params;
    assert_int_equal(ipc_send(room->link, &envelope), 0);
    UNTIL(room, room->params == 1);
    assert_int_equal(room->d.params.proxyd_nonce_lifetime_ms, 20000);
    assert_int_equal(room->d.params.proxyd_registration_expires_min_ms, 90000);
}

static void metrics_are_told(void **state)
{
    struct room *room = *state;
    Muster__MetricsRequest request = MUSTER__METRICS_REQUEST__INIT;
    Muster__Envelope envelope = MUSTER__ENVELOPE__INIT;

    metrics_set(&room->d.metrics, METRIC_SIP_BINDINGS, 12);
    envelope.id = 9;
    envelope.body_case = MUSTER__ENVELOPE__BODY_METRICS_REQUEST;
    envelope.metrics_request = &request;
    assert_int_equal(ipc_send(room->link, &envelope), 0);
    UNTIL(room, room->metrics[0]);
    assert_non_null(strstr(room->metrics, "muster_sip_bindings 12\n"));
}

static void wrong_options_are_refused(void **state)
{
    struct room *other = mem_new(sizeof(*other));
    bool is_over;

    (void)state;
    snprintf(other->dir, sizeof(other->dir), "/tmp/muster-daemon-XXXXXX");
    assert_non_null(mkdtemp(other->dir));
    assert_int_equal(start(other, NULL, NULL, &is_over), 2); /* no node.conf */
    write_conf(other->dir, "node = seven\n");
    assert_int_equal(start(other, NULL, NULL, &is_over), 2);
    assert_int_equal(start(other, "--log-level", "loud", &is_over), 2);
    assert_int_equal(start(other, "surplus", NULL, &is_over), 2);
    assert_int_equal(start(other, "--nothing", NULL, &is_over), 2);
    assert_false(is_over);
    assert_int_equal(start(other, "--version", NULL, &is_over), 0);
    assert_true(is_over);
    char path[128];
    snprintf(path, sizeof(path), "%s/node.conf", other->dir);
    unlink(path);
    rmdir(other->dir);
    mem_free(other);
}

static void random_numbers_are_not_zero_and_differ(void **state)
{
    (void)state;
    assert_int_not_equal(daemon_random_u64(), 0);
    assert_int_not_equal(daemon_random_u64(), daemon_random_u64());
    assert_true(daemon_unix_ms() > 1700000000000);
}

#define STORY(name) cmocka_unit_test_setup_teardown(name, open_room, close_room)

int main(void)
{
    const struct CMUnitTest tests[] = {
        STORY(first_view_starts_serving),
        STORY(renewal_is_acknowledged_and_told_to_nobody),
        STORY(work_that_ends_later_is_told_at_once),
        STORY(lease_ends_and_comes_back),
        STORY(view_without_a_lease_is_followed_but_serves_nobody),
        STORY(loss_of_recoveryd_is_not_loss_of_the_lease),
        STORY(older_epoch_and_foreign_views_are_refused),
        STORY(complaint_reaches_recoveryd),
        STORY(parameters_come_and_node_conf_has_the_last_word),
        STORY(metrics_are_told),
        cmocka_unit_test(wrong_options_are_refused),
        cmocka_unit_test(random_numbers_are_not_zero_and_differ),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
