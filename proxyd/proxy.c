// SPDX-License-Identifier: Apache-2.0
/*
 * The proxy's doors: every event comes in here. And what its rooms share: replies, tags, names.
 */
#include "proxyd/proxy.h"

#include <assert.h>

#include "common/digest.h"
#include "proxyd/proxy_private.h"

enum { TRANSACTIONS_MAX = 200000, REFRESH_DELAY_MS = 100 };

/* ---- tags ---- */

void proxy_tag(struct proxy *p, char ret_tag[TAG_CHARS + 1])
{
    uint8_t input[sizeof(p->config.secret) + 8], digest[DIGEST_BYTES_MAX];

    p->last_number++;
    for (size_t i = 0; i < sizeof(p->config.secret); i++)
        input[i] = p->config.secret[i];
    for (size_t i = 0; i < 8; i++)
        input[sizeof(p->config.secret) + i] = (uint8_t)(p->last_number >> i * 8);
    digest_raw(DIGEST_SHA256, str_of_bytes(input, sizeof(input)), digest);
    digest_to_hex(str_of_bytes(digest, TAG_CHARS / 2), ret_tag);
}

/* ---- replies ---- */

static void begin(struct proxy *p, const struct sip_msg *request, unsigned code, const char *reason,
                  struct buf *ret_out)
{
    char tag[TAG_CHARS + 1] = "";

    buf_init(ret_out, SIP_MESSAGE_MAX);
    if (code > 100 && request->to.tag.len == 0)
        proxy_tag(p, tag);
    sip_put_response(ret_out, request, code, reason, str_of(tag));
}

static void end(struct proxy *p, unsigned code, struct buf *out)
{
    sip_put_body(out, (struct str){"", 0}, (struct str){"", 0});
    metrics_add(p->config.metrics, METRIC_SIP_RESPONSES, 1);
    if (code >= 400)
        metrics_add(p->config.metrics, METRIC_SIP_REFUSED, 1);
}

void proxy_begin_reply(struct proxy *p, struct sip_server *s, unsigned code, const char *reason,
                       struct buf *ret_out)
{
    begin(p, sip_server_request(s), code, reason, ret_out);
}

void proxy_begin_reply_tagged(struct proxy *p, struct sip_server *s, unsigned code,
                              const char *reason, struct str to_tag, struct buf *ret_out)
{
    (void)p;
    buf_init(ret_out, SIP_MESSAGE_MAX);
    sip_put_response(ret_out, sip_server_request(s), code, reason, to_tag);
}

void proxy_end_reply(struct proxy *p, struct sip_server *s, unsigned code, struct buf *out)
{
    end(p, code, out);
    if (out->full) {
        /* The request's own headers fit a message, so this does. */
        buf_done(out);
        code = 500;
        begin(p, sip_server_request(s), code, "Response Too Large", out);
        end(p, code, out);
    }
    sip_server_reply(s, code, buf_str(out), p->now.mono);
    buf_done(out);
}

void proxy_reply(struct proxy *p, struct sip_server *s, unsigned code, const char *reason)
{
    struct buf out;

    proxy_begin_reply(p, s, code, reason, &out);
    proxy_end_reply(p, s, code, &out);
}

void proxy_reply_later(struct proxy *p, struct sip_server *s)
{
    struct buf out;

    proxy_begin_reply(p, s, 503, NULL, &out);
    sip_put_number(&out, SIP_HEADER_RETRY_AFTER, 1 + p->last_number % 2);
    proxy_end_reply(p, s, 503, &out);
}

/* Without a transaction, because there is no room for one. */
static void refuse_full(struct proxy *p, const struct sip_msg *request)
{
    struct sip_flow to = sip_response_flow(request);
    struct buf out;

    begin(p, request, 503, NULL, &out);
    sip_put_number(&out, SIP_HEADER_RETRY_AFTER, 2);
    end(p, 503, &out);
    p->config.ops->send(p->config.ctx, &to, buf_str(&out), 0);
    buf_done(&out);
}

/* ---- ourselves ---- */

static struct sip_address address_of(const char *host, uint16_t port)
{
    struct sip_address address = {.port = port};

    for (size_t i = 0; i + 1 < sizeof(address.host) && host[i]; i++)
        address.host[i] = host[i];
    return address;
}

struct sip_address proxy_node_address(const struct proxy *p, const struct view_node *node)
{
    return address_of(node->address, p->config.port_peer);
}

struct sip_address proxy_self(const struct proxy *p, enum sip_transport transport)
{
    return address_of(p->config.address, transport == SIP_PEER  ? p->config.port_peer
                                         : transport == SIP_TLS ? p->config.port_tls
                                                                : p->config.port);
}

void proxy_put_contact_uri(const struct proxy *p, enum sip_transport transport, struct buf *out)
{
    struct sip_address self = proxy_self(p, transport == SIP_PEER ? SIP_TLS : transport);

    buf_puts(out, "sip:");
    sip_put_host(out, str_of(self.host));
    buf_put_c(out, ':');
    buf_put_u64(out, self.port);
    buf_puts(out, ";transport=");
    buf_puts(out, proxy_transport_text(transport));
}

bool proxy_is_local_host(const struct proxy *p, struct str host)
{
    if (str_ieq_c(host, p->config.domain))
        return true;
    for (uint32_t i = 0; i < p->config.view->count; i++)
        if (str_eq_c(host, p->config.view->nodes[i].address))
            return true;
    return false;
}

bool proxy_local_aor(const struct proxy *p, struct sip_msg *m, const struct sip_uri *uri,
                     struct str *ret_aor)
{
    struct sip_uri named = *uri;

    if (uri->scheme == SIP_SCHEME_OTHER || !proxy_is_local_host(p, uri->host))
        return false;
    named.host = str_of(p->config.domain);
    return sip_uri_aor(&m->arena, &named, ret_aor);
}

uint32_t proxy_serving(const struct proxy *p, const struct user *user)
{
    uint32_t node = view_serving(p->config.view, user->home);

    /* With our lease run out we serve nobody, whatever the view says. */
    if (node == p->config.view->self && !view_is_mine(p->config.view, user->home, p->now.mono))
        return 0;
    return node;
}

bool proxy_is_mine(const struct proxy *p, struct str aor)
{
    const struct user *user = directory_find(p->config.users, aor);

    return user && view_is_mine(p->config.view, user->home, p->now.mono);
}

/* ---- transports ---- */

const char *proxy_transport_text(enum sip_transport transport)
{
    static const char *const names[] = {
        [SIP_UDP] = "udp", [SIP_TCP] = "tcp", [SIP_TLS] = "tls", [SIP_PEER] = "tls"};

    return names[transport];
}

enum sip_transport proxy_transport_of(struct str text)
{
    return str_ieq_c(text, "tls") ? SIP_TLS : str_ieq_c(text, "tcp") ? SIP_TCP : SIP_UDP;
}

bool proxy_read_address(struct str text, struct sip_address *ret_address)
{
    struct sip_address address = {.port = 0};
    struct str host;

    if (!sip_hostport(text, &host, &address.port) || host.len >= sizeof(address.host))
        return false;
    for (size_t i = 0; i < host.len; i++)
        address.host[i] = host.p[i];
    *ret_address = address;
    return true;
}

bool proxy_read_source(struct str text, struct sip_address *ret_client, struct str *ret_node)
{
    size_t space = str_find(text, ' ');

    *ret_node = str_sub(text, space + 5, text.len);
    return str_starts(str_sub(text, space, text.len), STR(" via ")) &&
           proxy_read_address(str_sub(text, 0, space), ret_client) && ret_client->port;
}

/* The Via of the client itself: the topmost one or, if a node of ours put that there, the next. */
static bool client_via(const struct sip_msg *m, struct sip_via *ret_via)
{
    struct sip_walk walk = {0};
    struct str value;

    *ret_via = m->via;
    if (m->flow.transport != SIP_PEER)
        return true;
    return sip_msg_next(m, SIP_HEADER_VIA, &walk, &value) &&
           sip_msg_next(m, SIP_HEADER_VIA, &walk, &value) && sip_via_parse(value, ret_via);
}

enum sip_transport proxy_client_transport(const struct sip_msg *m)
{
    struct sip_via via;

    if (m->flow.transport != SIP_PEER)
        return m->flow.transport;
    return client_via(m, &via) ? proxy_transport_of(via.transport) : SIP_TLS;
}

void proxy_put_source(const struct proxy *p, const struct sip_msg *m, struct buf *out)
{
    struct str host = str_of(m->flow.remote.host), text;
    struct str node = str_of(p->config.address);
    uint32_t port = m->flow.remote.port;
    struct sip_via via;

    if (m->flow.transport == SIP_PEER && client_via(m, &via)) {
        host = sip_param(via.params, "received", &text) ? text : via.host;
        port = via.port ? via.port : 5060;
        if (sip_param(via.params, "rport", &text))
            (void)str_u32(text, &port); /* else it did not ask, and its own word counts */
        node = m->via.host; /* by which it is known; what it calls from may be another one */
    }
    sip_put_host(out, host);
    buf_printf(out, ":%u via %.*s", port, STR_ARG(node));
}

/* ---- events ---- */

/* Gauges follow what happened. */
static void count(struct proxy *p)
{
    uint64_t retransmits = sip_tx_retransmits(p->transactions);

    metrics_set(p->config.metrics, METRIC_SIP_TRANSACTIONS, (int64_t)sip_tx_count(p->transactions));
    metrics_set(p->config.metrics, METRIC_SIP_BINDINGS, (int64_t)registrar_count(p->registrar));
    metrics_add(p->config.metrics, METRIC_SIP_RETRANSMITS, (int64_t)(retransmits - p->retransmits));
    p->retransmits = retransmits;
}

static void receive_request(struct proxy *p, struct sip_msg *m)
{
    struct sip_server *s;

    metrics_add(p->config.metrics, METRIC_SIP_REQUESTS, 1);
    switch (sip_tx_request(p->transactions, m, p->now.mono, &s)) {
    case SIP_TX_NEW:
        dispatch(p, s);
        break;
    case SIP_TX_MERGED:
        proxy_reply(p, s, 482, NULL);
        break;
    case SIP_TX_ABSORBED:
        break;
    case SIP_TX_FULL:
        refuse_full(p, m);
        sip_msg_free(m);
        break;
    }
}

void proxy_receive(struct proxy *p, struct sip_msg *message, struct instant now)
{
    p->now = now;
    if (message->request) {
        receive_request(p, message);
    } else {
        sip_tx_response(p->transactions, message, now.mono);
        sip_msg_free(message);
    }
    count(p);
}

void proxy_send_failed(struct proxy *p, uint64_t token, struct instant now)
{
    p->now = now;
    sip_tx_failed(p->transactions, token, now.mono);
    count(p);
}

void proxy_resolved(struct proxy *p, uint64_t id, const struct sip_address *address,
                    struct instant now)
{
    p->now = now;
    outgoing_resolved(p, id, address);
}

void proxy_presenced(struct proxy *p, const Muster__Envelope *envelope, struct instant now)
{
    p->now = now;
    if (envelope->body_case == MUSTER__ENVELOPE__BODY_PUBLISH_REPLY)
        pending_publish_reply(p, envelope->id, envelope->publish_reply);
    else if (envelope->body_case == MUSTER__ENVELOPE__BODY_SUBSCRIBE_REPLY)
        pending_subscribe_reply(p, envelope->id, envelope->subscribe_reply);
    else if (envelope->body_case == MUSTER__ENVELOPE__BODY_NOTIFY)
        notify_start(p, envelope->id, envelope->notify);
    count(p);
}

void proxy_routerd(struct proxy *p, const Muster__Envelope *envelope, struct instant now)
{
    p->now = now;
    if (envelope->body_case == MUSTER__ENVELOPE__BODY_IM_REPLY)
        pending_im_reply(p, envelope->id, envelope->im_reply);
    else if (envelope->body_case == MUSTER__ENVELOPE__BODY_IM)
        deliver_im(p, envelope->id, envelope->im);
    count(p);
}

void proxy_presenced_link(struct proxy *p, bool up, struct instant now)
{
    p->now = now;
    p->presenced_up = up;
    pending_link(p, false, up);
}

/* ---- registrations for routerd ---- */

static void send_registration(void *ctx, struct str aor, size_t bindings)
{
    struct proxy *p = ctx;
    Muster__Envelope envelope = MUSTER__ENVELOPE__INIT;
    Muster__Registration registration = MUSTER__REGISTRATION__INIT;
    char *text;

    if (!p->routerd_up)
        return;
    text = str_dup(aor);
    registration.aor = text;
    registration.bindings = (uint32_t)bindings;
    envelope.body_case = MUSTER__ENVELOPE__BODY_REGISTRATION;
    envelope.registration = &registration;
    /* Not taken: the link is about to break, and a new one is told everything. */
    (void)p->config.ops->to_routerd(p->config.ctx, &envelope);
    mem_free(text);
}

void proxy_routerd_link(struct proxy *p, bool up, struct instant now)
{
    p->now = now;
    p->routerd_up = up;
    if (up) {
        registrar_each(p->registrar, send_registration, p);
        send_registration(p, (struct str){"", 0}, 0);
    }
    pending_link(p, true, up);
}

/* ---- who is served where ---- */

void proxy_view(struct proxy *p, struct instant now)
{
    p->now = now;
    registrar_refresh(p->registrar, (struct str){"", 0}, now.mono);
    forward_view(p);
    count(p);
}

static void on_refresh_due(void *owner)
{
    struct proxy *p = owner;

    registrar_refresh(p->registrar, (struct str){"", 0}, p->now.mono);
}

void proxy_users_changed(struct proxy *p, const char *aor, struct instant now)
{
    p->now = now;
    if (!aor) {
        registrar_refresh(p->registrar, (struct str){"", 0}, now.mono);
    } else if (!directory_find(p->config.users, str_of(aor))) {
        registrar_forget(p->registrar, str_of(aor));
    } else if (!timer_is_set(&p->refresh)) {
        /* Thousands may change at once: look at the bindings once for all of them. */
        timer_set(&p->timers, &p->refresh, mono_after(now.mono, REFRESH_DELAY_MS));
    }
    count(p);
}

/* ---- time ---- */

void proxy_tick(struct proxy *p, struct instant now)
{
    p->now = now;
    sip_tx_tick(p->transactions, now.mono);
    timers_run(&p->timers, now.mono);
    count(p);
}

mono_t proxy_deadline(const struct proxy *p)
{
    return mono_min(sip_tx_deadline(p->transactions), timers_deadline(&p->timers));
}

/* ---- birth and death ---- */

static bool is_mine(void *ctx, struct str aor)
{
    return proxy_is_mine(ctx, aor);
}

static uint64_t unix_ms(void *ctx)
{
    const struct proxy *p = ctx;

    return p->now.unix_ms;
}

static void send_bytes(void *ctx, const struct sip_flow *to, struct str bytes, uint64_t token)
{
    const struct proxy *p = ctx;

    p->config.ops->send(p->config.ctx, to, bytes, token);
}

void proxy_set_params(struct proxy *p, const struct proxy_params *params)
{
    p->config.params = *params;
    p->auth.nonce_lifetime_ms = params->nonce_lifetime_ms;
    p->auth.sha256_first = params->sha256_first;
    registrar_limits(p->registrar, params->expires_min_ms, params->expires_max_ms);
}

static struct sip_hash_key hash_key(const struct proxy *p)
{
    struct sip_hash_key key = {0, 0};

    for (size_t i = 0; i < 8; i++) {
        key.k0 = key.k0 << 8 | p->config.secret[i];
        key.k1 = key.k1 << 8 | p->config.secret[8 + i];
    }
    return key;
}

struct proxy *proxy_new(const struct proxy_config *config)
{
    struct proxy *p = mem_new(sizeof(*p));

    p->config = *config;
    p->auth.realm = config->domain;
    for (size_t i = 0; i < AUTH_KEY_BYTES; i++)
        p->auth.key[i] = config->nonce_key[i];
    timer_init(&p->refresh, on_refresh_due, p);
    p->transactions = sip_tx_new(&(struct sip_tx_config){
        .send = send_bytes,
        .ctx = p,
        .hash_key = hash_key(p),
        .max = config->transactions_max ? config->transactions_max : TRANSACTIONS_MAX,
    });
    p->registrar = registrar_new(&(struct registrar_config){
        .replica = config->replica,
        .timers = &p->timers,
        .is_mine = is_mine,
        .on_change = send_registration,
        .unix_ms = unix_ms,
        .ctx = p,
    });
    proxy_set_params(p, &config->params);
    return p;
}

void proxy_free(struct proxy *p)
{
    if (!p)
        return;
    deliver_free_all(p);
    notify_free_all(p);
    forward_free_all(p);
    pending_free_all(p);
    register_free_all(p);
    outgoing_free_all(p);
    registrar_free(p->registrar);
    sip_tx_free(p->transactions);
    timers_done(&p->timers);
    mem_free(p);
}

void proxy_check(const struct proxy *p)
{
    timers_check(&p->timers);
    sip_tx_check(p->transactions);
    registrar_check(p->registrar);
}
