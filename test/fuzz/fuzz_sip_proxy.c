// SPDX-License-Identifier: Apache-2.0
#include <stddef.h>
#include <stdint.h>

#include "proxyd/proxy.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct proxy *proxy;

static void on_send(void *ctx, const struct sip_flow *to, struct str bytes, uint64_t token)
{
    (void)ctx, (void)to, (void)bytes, (void)token;
}

static uint64_t on_connection(void *ctx, enum sip_transport transport,
                              const struct sip_address *remote)
{
    (void)ctx, (void)transport, (void)remote;
    return 0;
}

static void on_resolve(void *ctx, uint64_t id, struct str host, uint16_t port,
                       enum sip_transport transport)
{
    (void)ctx, (void)id, (void)host, (void)port, (void)transport;
}

/* What the rooms are asked can be packed. */
static bool on_envelope(void *ctx, const Muster__Envelope *envelope)
{
    (void)ctx;
    return muster__envelope__get_packed_size(envelope) > 0;
}

static const struct proxy_ops ops = {on_send, on_connection, on_resolve, on_envelope, on_envelope};

static bool is_mine(void *ctx, struct str user)
{
    (void)ctx;
    return proxy && proxy_is_mine(proxy, user);
}

static bool send_frame(void *ctx, const Muster__ReplicaFrame *frame)
{
    (void)ctx, (void)frame;
    return false;
}

static void nothing(void *ctx)
{
    (void)ctx;
}

static void on_state(void *ctx, Muster__ReplicaState state)
{
    (void)ctx, (void)state;
}

/* Messages, separated by a zero byte, as if from another node of ours: so they need no password. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct metrics metrics;
    struct sip_flow flow = {.transport = SIP_PEER, .remote = {"127.0.1.2", 5062}};
    struct view view = {.version = 1, .epoch = 1, .self = 1, .count = 1, .lease_until = MONO_NEVER};
    struct directory *users = directory_new();
    struct instant now = {{1000}, 1700000000000};
    struct replica_config config = {
        .boot_id = 1, .commit_timeout_ms = 200, .bytes_max = 1 << 20, .is_mine = is_mine};
    struct str rest = str_of_bytes(data, size), text;
    struct replica *replica;

    config.send = send_frame;
    config.on_state = on_state;
    config.on_restored = nothing;
    view.nodes[0] = (struct view_node){.node = 1, .group = 1, .served_by = 1};
    directory_put(users, &(struct user){.aor = "a@b", .display_name = "", .home = 1});
    replica = replica_new(&config);
    proxy = proxy_new(&(struct proxy_config){.domain = "b",
                                             .address = "127.0.1.1",
                                             .port = 5060,
                                             .users = users,
                                             .view = &view,
                                             .replica = replica,
                                             .metrics = &metrics,
                                             .params = {1000, 3600000, 300000, true},
                                             .ops = &ops});
    replica_view(replica, 1, false, now.mono);
    proxy_presenced_link(proxy, true, now);
    proxy_routerd_link(proxy, true, now);
    while (rest.len) {
        struct sip_msg *m;

        str_cut(rest, '\0', &text, &rest);
        m = sip_msg_parse(text, &flow);
        if (m)
            proxy_receive(proxy, m, now);
        now.mono = mono_after(now.mono, 700);
        now.unix_ms += 700;
        proxy_tick(proxy, now);
        replica_flush(replica, now.mono);
        proxy_check(proxy);
    }
    proxy_free(proxy);
    proxy = NULL;
    replica_free(replica);
    directory_free(users);
    return 0;
}
