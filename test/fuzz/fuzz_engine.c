// SPDX-License-Identifier: Apache-2.0
#include <assert.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "presenced/engine.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What the engine said last, for the next event to refer to. */
struct said {
    char etag[64];
    uint64_t notify, view_done;
    bool full;
};

static void on_publish_reply(void *ctx, uint64_t request, const Muster__PublishReply *reply)
{
    struct said *s = ctx;

    (void)request;
    if (reply->code == 200)
        (void)snprintf(s->etag, sizeof(s->etag), "%s", reply->etag);
}

static void on_subscribe_reply(void *ctx, uint64_t request, const Muster__SubscribeReply *reply)
{
    (void)ctx;
    (void)request;
    assert(reply->code >= 200);
}

static bool on_notify(void *ctx, uint64_t request, const Muster__Notify *notify)
{
    struct said *s = ctx;

    assert(notify->dialog->local_cseq > 0);
    s->notify = request;
    return !s->full;
}

static bool on_availability(void *ctx, const Muster__Availability *availability)
{
    assert(*availability->presentity);
    return !((struct said *)ctx)->full;
}

static void on_presence_sync(void *ctx)
{
    (void)ctx;
}

static void on_view_done(void *ctx, uint64_t version)
{
    struct said *s = ctx;

    assert(version >= s->view_done);
    s->view_done = version;
}

static void on_random(void *ctx, void *ret_bytes, size_t len)
{
    static uint64_t count;

    (void)ctx;
    memset(ret_bytes, 0, len);
    count++;
    memcpy(ret_bytes, &count, len < sizeof(count) ? len : sizeof(count));
}

static const struct engine_ops ops = {
    on_publish_reply, on_subscribe_reply, on_notify, on_availability,
    on_presence_sync, on_view_done,       on_random,
};

static bool on_frame(void *ctx, const Muster__ReplicaFrame *frame)
{
    (void)ctx;
    return frame->service != 0;
}

static char *const names[] = {(char *)"alice@x", (char *)"bob@x", (char *)"carol@x",
                              (char *)"nobody@x"};

static void publish(struct engine *e, const struct said *s, uint8_t how,
                    const struct engine_now *now)
{
    Muster__PidfTuple tuple = MUSTER__PIDF_TUPLE__INIT, *tuples[] = {&tuple, &tuple};
    Muster__Publish m = MUSTER__PUBLISH__INIT;
    Muster__Pidf pidf = MUSTER__PIDF__INIT;

    m.presentity = names[how % 4];
    m.etag = (char *)(how & 4 ? s->etag : "");
    m.has_expires = how & 8;
    m.expires_s = how & 16 ? 100 : how & 128 ? 1 : 0;
    tuple.id = (char *)"t";
    tuple.open = how & 32;
    pidf.tuples = tuples;
    pidf.n_tuples = how >> 6 & 1 ? 2 : 0;
    engine_on_publish(e, 1, &m, how & 64 ? &pidf : NULL, now);
}

static void subscribe(struct engine *e, uint8_t how, uint32_t cseq, const struct engine_now *now)
{
    Muster__Subscribe m = MUSTER__SUBSCRIBE__INIT;
    Muster__Dialog dialog = MUSTER__DIALOG__INIT;

    m.presentity = names[how % 4];
    m.watcher = names[how >> 2 & 1];
    m.initial = how & 8;
    m.has_expires = how & 16;
    m.expires_s = how & 32 ? 100 : 0;
    dialog.call_id = (char *)(how & 64 ? "one" : "two");
    dialog.remote_cseq = cseq;
    m.dialog = &dialog;
    engine_on_subscribe(e, 2, &m, now);
}

static void say_device(struct engine *e, uint8_t how, const struct engine_now *now)
{
    Muster__DeviceStatus status = MUSTER__DEVICE_STATUS__INIT;

    status.user = names[how % 4];
    status.resource = (char *)(how & 4 ? "desk" : "phone");
    status.available = how & 8;
    status.show = (char *)(how & 16 ? "away" : "");
    status.since_unix_ms = how;
    engine_on_device_status(e, &status, now);
}

static void change_view(struct engine *e, struct replica *r, struct view *view, uint8_t how,
                        const struct engine_now *now)
{
    view->version++;
    view->epoch += how & 1;
    view->nodes[0].served_by = how >> 1 & 1;
    view->nodes[1].served_by = how >> 2 & 3;
    engine_on_view(e, view, now);
    replica_view(r, view->epoch, false, now->mono);
}

static void change_user(struct engine *e, struct directory *directory, uint8_t how,
                        const struct engine_now *now)
{
    struct user user = {.aor = names[how % 3], .display_name = "", .home = 1 + (how >> 2 & 1)};

    if (how & 8)
        directory_put(directory, &user);
    else
        directory_remove(directory, str_of(user.aor));
    engine_on_users(e, how & 16 ? NULL : user.aor, now);
}

static void pass_time(struct engine *e, struct replica *r, uint64_t ms, struct engine_now *now)
{
    now->mono.ms += ms;
    now->unix_ms += ms;
    replica_tick(r, now->mono);
    engine_tick(e, now);
}

/* Two bytes an event; the invariants must hold after any of them. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const uint16_t codes[] = {200, 408, 481, 503, 486, 604};
    struct said said = {.etag = ""};
    struct directory *directory = directory_new();
    struct metrics metrics = {0};
    struct params params;
    const struct engine_config config = {&ops, &said, directory, &params, &metrics};
    struct engine *e = engine_new(&config);
    const struct replica_config replica = {.service = 2,
                                           .boot_id = 7,
                                           .commit_timeout_ms = 200,
                                           .restore_timeout_ms = 100,
                                           .bytes_max = 20000,
                                           .is_mine = engine_is_mine,
                                           .is_peers = engine_is_peers,
                                           .send = on_frame,
                                           .on_restored = engine_on_restored,
                                           .ctx = e};
    struct replica *r = replica_new(&replica);
    struct view view = {
        .self = 1, .count = 2, .nodes = {{.node = 1, .group = 1}, {.node = 2, .group = 1}}};
    struct engine_now now = {{1000}, 1700000000000};

    params_defaults(&params);
    engine_set_replica(e, r);
    for (size_t i = 0; i + 1 < size; i += 2) {
        uint8_t how = data[i + 1];

        switch (data[i] % 14) {
        case 0:
        case 1:
            publish(e, &said, how, &now);
            break;
        case 2:
        case 3:
            subscribe(e, how, (uint32_t)i, &now);
            break;
        case 4:
            say_device(e, how, &now);
            break;
        case 5:
            engine_on_presence_sync(e, &now);
            break;
        case 6:
            engine_on_proxyd_link(e, how & 1, &now);
            break;
        case 7:
            engine_on_routerd_link(e, how & 1, &now);
            break;
        case 8:
            change_view(e, r, &view, how, &now);
            break;
        case 9:
            change_user(e, directory, how, &now);
            break;
        case 10:
            engine_on_lease(e, how & 1, &now);
            break;
        case 11:
            engine_on_notify_reply(e, said.notify, codes[how % 6], &now);
            break;
        case 12:
            said.full = how & 1;
            break;
        default:
            pass_time(e, r, how * 200ull, &now);
            break;
        }
        replica_flush(r, now.mono);
        engine_check(e);
        replica_check(r);
    }
    engine_free(e);
    replica_free(r);
    directory_free(directory);
    return 0;
}
