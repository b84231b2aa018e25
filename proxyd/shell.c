// SPDX-License-Identifier: Apache-2.0
#include "proxyd/shell.h"

#include <stdio.h>
#include <string.h>

#include "common/digest.h"
#include "common/log.h"
#include "common/mem.h"
#include "common/util.h"
#include "proxyd/resolve.h"

enum { REPLICA_BYTES_MAX = 512 << 20, RESTORE_TIMEOUT_MS = 5000, SECRET_FILE_MAX = 256 };

#define FROM(service) (1u << MUSTER__SERVICE__##service)

static struct instant now_of(const struct shell *s)
{
    return (struct instant){loop_now(&s->daemon.loop), daemon_unix_ms()};
}

static struct shell *shell_of(struct daemon *d)
{
    return CONTAINER_OF(d, struct shell, daemon);
}

/* ---- what the core wants done ---- */

static void do_send(void *ctx, const struct sip_flow *to, struct str bytes, uint64_t token)
{
    const struct shell *s = ctx;

    wire_send(s->wire, to, bytes, token);
}

static uint64_t do_connection(void *ctx, enum sip_transport transport,
                              const struct sip_address *remote)
{
    const struct shell *s = ctx;

    return wire_connection(s->wire, transport, remote);
}

static void on_resolved(void *ctx, uint64_t id, const struct sip_address *address)
{
    struct shell *s = ctx;

    if (s->proxy)
        proxy_resolved(s->proxy, id, address, now_of(s));
}

static void do_resolve(void *ctx, uint64_t id, struct str host, uint16_t port,
                       enum sip_transport transport)
{
    struct shell *s = ctx;

    resolve(s->dns, id, host, port, transport, on_resolved, s);
}

static bool send_to(struct ipc_link *link, const Muster__Envelope *envelope)
{
    return link && ipc_send(link, envelope) == 0;
}

static bool do_presenced(void *ctx, const Muster__Envelope *envelope)
{
    const struct shell *s = ctx;

    return send_to(s->presenced, envelope);
}

static bool do_routerd(void *ctx, const Muster__Envelope *envelope)
{
    const struct shell *s = ctx;

    if (envelope->body_case == MUSTER__ENVELOPE__BODY_REGISTRATION && *envelope->registration->aor)
        log_debug("bindings", log_str("aor", envelope->registration->aor),
                  log_u64("count", envelope->registration->bindings));
    return send_to(s->routerd, envelope);
}

static const struct proxy_ops ops = {
    .send = do_send,
    .connection = do_connection,
    .resolve = do_resolve,
    .to_presenced = do_presenced,
    .to_routerd = do_routerd,
};

/* ---- from the wire ---- */

static void on_message(void *ctx, struct sip_msg *message)
{
    struct shell *s = ctx;

    proxy_receive(s->proxy, message, now_of(s));
}

static void on_send_failed(void *ctx, uint64_t token)
{
    struct shell *s = ctx;

    proxy_send_failed(s->proxy, token, now_of(s));
}

static void choose_listening(struct shell *s)
{
    wire_listen(s->wire, s->daemon.serving && s->restored && users_loaded(s->users));
}

/* ---- from the rooms ---- */

static void on_presenced(void *ctx, struct ipc_link *link, const Muster__Envelope *envelope)
{
    struct shell *s = shell_of(ctx);

    (void)link;
    if (s->proxy)
        proxy_presenced(s->proxy, envelope, now_of(s));
}

static void on_routerd(void *ctx, struct ipc_link *link, const Muster__Envelope *envelope)
{
    struct shell *s = shell_of(ctx);

    (void)link;
    if (s->proxy)
        proxy_routerd(s->proxy, envelope, now_of(s));
}

static void on_fabric_state(void *ctx, struct ipc_link *link, const Muster__Envelope *envelope)
{
    const struct shell *s = shell_of(ctx);

    (void)link;
    if (s->proxy)
        replica_link_state(s->replica, envelope->fabric_state->peer_up,
                           envelope->fabric_state->link_id);
}

static void on_replica(void *ctx, struct ipc_link *link, const Muster__Envelope *envelope)
{
    struct shell *s = shell_of(ctx);

    (void)link;
    if (!s->proxy)
        return;
    proxy_tick(s->proxy, now_of(s)); /* answers that this releases carry the time */
    replica_link_receive(s->replica, envelope->replica);
}

static void on_link(struct daemon *d, struct ipc_link *link, bool up)
{
    struct shell *s = shell_of(d);

    if (!s->proxy)
        return;
    if (link == s->presenced)
        proxy_presenced_link(s->proxy, up, now_of(s));
    if (link == s->routerd) {
        proxy_routerd_link(s->proxy, up, now_of(s));
        if (!up)
            replica_link_state(s->replica, false, 0);
    }
}

static void on_link_up(struct daemon *d, struct ipc_link *link)
{
    on_link(d, link, true);
}

static void on_link_down(struct daemon *d, struct ipc_link *link)
{
    on_link(d, link, false);
}

/* ---- the replica ---- */

static bool is_mine(void *ctx, struct str user)
{
    const struct shell *s = ctx;

    return s->proxy && proxy_is_mine(s->proxy, user);
}

static bool is_peers(void *ctx, struct str user)
{
    const struct shell *s = ctx;
    const struct user *found = directory_find(s->directory, user);

    return found && view_is_peers(&s->daemon.view, found->home);
}

static bool send_frame(void *ctx, const Muster__ReplicaFrame *frame)
{
    const struct shell *s = ctx;
    Muster__Envelope envelope = MUSTER__ENVELOPE__INIT;

    envelope.body_case = MUSTER__ENVELOPE__BODY_REPLICA;
    envelope.replica = (Muster__ReplicaFrame *)frame;
    return send_to(s->routerd, &envelope);
}

/* ---- the view ---- */

struct settling {
    struct shell *shell;
    uint64_t version;
};

static void on_settled(void *ctx)
{
    struct settling *v = ctx;

    daemon_view_done(&v->shell->daemon, v->version);
    mem_free(v);
}

/* What the view took away is let go, what it gave is served: said when the peer knows all of it. */
static void settle_view(struct shell *s)
{
    struct settling *v;

    if (!s->restored || s->daemon.view.version == 0)
        return;
    v = mem_new(sizeof(*v));
    v->shell = s;
    v->version = s->daemon.view.version;
    replica_commit(replica_link_replica(s->replica), on_settled, v);
}

static void on_restored(void *ctx)
{
    struct shell *s = ctx;

    s->restored = true;
    proxy_users_changed(s->proxy, NULL, now_of(s));
    settle_view(s);
    choose_listening(s);
}

static void on_view(struct daemon *d, const struct view *view)
{
    struct shell *s = shell_of(d);

    if (!s->proxy)
        return;
    replica_link_view(s->replica, view);
    proxy_view(s->proxy, now_of(s));
    settle_view(s);
}

static void on_serving(struct daemon *d, bool serving)
{
    struct shell *s = shell_of(d);

    (void)serving;
    if (!s->proxy)
        return;
    proxy_view(s->proxy, now_of(s)); /* without a lease nobody is ours */
    choose_listening(s);
}

static void on_users(void *ctx, const char *aor)
{
    struct shell *s = ctx;

    if (!s->proxy)
        return;
    proxy_users_changed(s->proxy, aor, now_of(s));
    choose_listening(s);
}

static void on_health(struct daemon *d, Muster__ViewAck *ack)
{
    static char complaint[128];
    const struct shell *s = shell_of(d);
    int error = 0;

    ack->replica = replica_state(replica_link_replica(s->replica));
    ack->complaint = complaint;
    complaint[0] = '\0';
    (void)wire_is_listening(s->wire, &error);
    if (error)
        (void)snprintf(complaint, sizeof(complaint), "cannot listen for SIP: %s",
                       uv_strerror(error));
    else if (!users_loaded(s->users))
        (void)snprintf(complaint, sizeof(complaint), "the users are not loaded yet");
    ack->healthy = !complaint[0];
}

/* ---- parameters ---- */

static struct proxy_params params_of(const struct params *p)
{
    return (struct proxy_params){
        .expires_min_ms = p->proxyd_registration_expires_min_ms,
        .expires_max_ms = p->proxyd_registration_expires_max_ms,
        .nonce_lifetime_ms = p->proxyd_nonce_lifetime_ms,
        .sha256_first = p->proxyd_digest_sha256_first,
    };
}

static void on_params(struct daemon *d, const struct params *params)
{
    struct shell *s = shell_of(d);
    struct proxy_params mine = params_of(params);

    if (s->proxy)
        proxy_set_params(s->proxy, &mine);
}

/* ---- time ---- */

static void on_deadline(uv_timer_t *timer)
{
    struct shell *s = timer->data;

    proxy_tick(s->proxy, now_of(s));
}

static void on_arm(uv_prepare_t *prepare)
{
    struct shell *s = prepare->data;
    mono_t next = s->proxy ? proxy_deadline(s->proxy) : MONO_NEVER;

    if (next.ms == MONO_NEVER.ms)
        uv_timer_stop(&s->deadline);
    else
        uv_timer_start(&s->deadline, on_deadline, mono_until(loop_now(&s->daemon.loop), next), 0);
}

/* ---- birth and death ---- */

/* A key that the nodes of the group share without ever sending it; random where there is none, and
 * then a client is challenged anew when it changes nodes. */
static void nonce_key(const struct shell *s, uint8_t ret_key[AUTH_KEY_BYTES])
{
    char path[CONF_PATH_MAX + 32], secret[SECRET_FILE_MAX];
    size_t len = 0;
    FILE *file;

    (void)snprintf(path, sizeof(path), "%s/tls/ticket.key", s->daemon.conf.dir);
    file = fopen(path, "re");
    if (file) {
        len = fread(secret, 1, sizeof(secret), file);
        (void)fclose(file); /* it was only read */
    }
    if (len == 0) {
        log_warning("nonce_key_missing", log_str("file", path));
        daemon_random(ret_key, AUTH_KEY_BYTES);
        return;
    }
    digest_hmac(DIGEST_SHA256, str_of_bytes(secret, len), STR("muster sip nonce"), ret_key);
}

static void start_proxy(struct shell *s)
{
    const struct conf *conf = &s->daemon.conf;
    struct proxy_config config = {
        .domain = conf->domain,
        .address = conf_self(conf)->address,
        .port = conf->ports[CONF_PORT_SIP],
        .port_tls = conf->ports[CONF_PORT_SIPS],
        .port_peer = conf->ports[CONF_PORT_SIP_PEER],
        .users = s->directory,
        .view = &s->daemon.view,
        .replica = replica_link_replica(s->replica),
        .metrics = &s->daemon.metrics,
        .params = params_of(&s->daemon.params),
        .ops = &ops,
        .ctx = s,
    };

    nonce_key(s, config.nonce_key);
    daemon_random(config.secret, sizeof(config.secret));
    s->proxy = proxy_new(&config);
}

static void start_timers(struct shell *s)
{
    uv_timer_init(&s->daemon.loop, &s->deadline);
    uv_prepare_init(&s->daemon.loop, &s->arm);
    s->deadline.data = s->arm.data = s;
    /* Before the replica's: the last one started runs first, and its flush makes deadlines. */
    uv_prepare_start(&s->arm, on_arm);
}

static void start_users(struct shell *s)
{
    s->db = db_start(&s->daemon.loop, &(struct db_config){.conninfo = s->daemon.conf.conninfo,
                                                          .connections = 1,
                                                          .metrics = &s->daemon.metrics,
                                                          .ctx = s});
    s->users = users_start(s->db, s->directory, on_users, s);
}

int shell_start(struct shell *s)
{
    struct err err;

    s->directory = directory_new();
    s->wire =
        wire_start(&s->daemon.loop,
                   &(struct wire_config){.conf = &s->daemon.conf,
                                         .threads = (unsigned)s->daemon.params.common_io_threads,
                                         .metrics = &s->daemon.metrics,
                                         .on_message = on_message,
                                         .on_failed = on_send_failed,
                                         .ctx = s},
                   &err);
    if (!s->wire) {
        log_error("start_failed", log_str("error", err.text));
        return 1;
    }
    start_timers(s);
    s->replica =
        replica_link_start(&s->daemon,
                           &(struct replica_config){.restore_timeout_ms = RESTORE_TIMEOUT_MS,
                                                    .bytes_max = REPLICA_BYTES_MAX,
                                                    .is_mine = is_mine,
                                                    .is_peers = is_peers,
                                                    .on_restored = on_restored,
                                                    .ctx = s},
                           send_frame, s);
    start_proxy(s);
    s->dns = dns_start(&s->daemon.loop, NULL);
    start_users(s);
    s->presenced = ipc_connect(s->daemon.ipc, MUSTER__SERVICE__PRESENCED);
    s->routerd = ipc_connect(s->daemon.ipc, MUSTER__SERVICE__ROUTERD);
    return 0;
}

static void on_stop(struct daemon *d)
{
    struct shell *s = shell_of(d);

    wire_close(s->wire);
    users_close(s->users);
    db_close(s->db);
    dns_close(s->dns);
    proxy_free(s->proxy);
    s->proxy = NULL;
    replica_link_close(s->replica);
    uv_close((uv_handle_t *)&s->arm, NULL);
    uv_close((uv_handle_t *)&s->deadline, NULL);
}

void shell_done(struct shell *s)
{
    directory_free(s->directory);
}

static const struct ipc_handler handlers[] = {
    [MUSTER__ENVELOPE__BODY_PUBLISH_REPLY] = {on_presenced, FROM(PRESENCED)},
    [MUSTER__ENVELOPE__BODY_SUBSCRIBE_REPLY] = {on_presenced, FROM(PRESENCED)},
    [MUSTER__ENVELOPE__BODY_NOTIFY] = {on_presenced, FROM(PRESENCED)},
    [MUSTER__ENVELOPE__BODY_IM] = {on_routerd, FROM(ROUTERD)},
    [MUSTER__ENVELOPE__BODY_IM_REPLY] = {on_routerd, FROM(ROUTERD)},
    [MUSTER__ENVELOPE__BODY_FABRIC_STATE] = {on_fabric_state, FROM(ROUTERD)},
    [MUSTER__ENVELOPE__BODY_REPLICA] = {on_replica, FROM(ROUTERD)},
};

const struct daemon_config shell_config = {
    .service = MUSTER__SERVICE__PROXYD,
    .summary = "SIP: registrar, transports, transactions",
    .handlers = handlers,
    .handler_count = ARRAY_LEN(handlers),
    .on_view = on_view,
    .on_serving = on_serving,
    .on_params = on_params,
    .on_link_up = on_link_up,
    .on_link_down = on_link_down,
    .on_health = on_health,
    .on_stop = on_stop,
};
