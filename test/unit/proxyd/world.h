// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * A proxy with a world around it, for tests: clients that know their passwords, a presenced and a
 * routerd that say what the story makes them say, a replica without a peer, a clock that the story
 * moves. All that the proxy does becomes a line of the trace.
 *
 * Node 1 (127.0.1.1) is ours and serves alice and bob; carol's home is node 2.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "common/digest.h"
#include "common/mem.h"
#include "proxyd/proxy.h"
#include "proxyd/sip/print.h"

struct world {
    struct proxy *proxy;
    struct replica *replica;
    struct directory *users;
    struct metrics metrics;
    struct view view;
    struct instant now;
    struct buf trace;
    struct buf sent;     /* the last message that went out */
    struct sip_flow to;  /* where to */
    uint64_t token;      /* of the last request that went out */
    uint64_t envelope;   /* id of the last question to a room */
    uint64_t question;   /* of the last name to be resolved */
    uint64_t connection; /* what is open to any address */
    bool presenced_refuses, routerd_refuses;
    unsigned cseq, branch;
    char nonce[49]; /* of the last challenge */
};

/* ---- what the proxy does ---- */

static inline void on_send(void *ctx, const struct sip_flow *to, struct str bytes, uint64_t token)
{
    static const char *const names[] = {"udp", "tcp", "tls", "peer"};
    struct world *w = ctx;
    struct str line, rest;

    str_cut(bytes, '\r', &line, &rest);
    buf_printf(&w->trace, "%.*s > %s %s:%u\n", STR_ARG(line), names[to->transport], to->remote.host,
               to->remote.port);
    buf_clear(&w->sent);
    buf_put_str(&w->sent, bytes);
    w->to = *to;
    if (strstr(w->sent.data, "nonce=\""))
        snprintf(w->nonce, sizeof(w->nonce), "%s", strstr(w->sent.data, "nonce=\"") + 7);
    if (token)
        w->token = token;
}

static inline uint64_t on_connection(void *ctx, enum sip_transport transport,
                                     const struct sip_address *remote)
{
    const struct world *w = ctx;

    (void)transport;
    (void)remote;
    return w->connection;
}

static inline void on_resolve(void *ctx, uint64_t id, struct str host, uint16_t port,
                              enum sip_transport transport)
{
    struct world *w = ctx;

    (void)transport;
    w->question = id;
    buf_printf(&w->trace, "resolve %.*s:%u\n", STR_ARG(host), port);
}

static inline bool on_presenced(void *ctx, const Muster__Envelope *e)
{
    struct world *w = ctx;

    if (e->body_case == MUSTER__ENVELOPE__BODY_PUBLISH)
        buf_printf(&w->trace, "presenced: publish %s [%s] %s\n", e->publish->presentity,
                   e->publish->etag, e->publish->content_type);
    else if (e->body_case == MUSTER__ENVELOPE__BODY_SUBSCRIBE)
        buf_printf(&w->trace, "presenced: subscribe %s to %s%s from %s over %s, target %s\n",
                   e->subscribe->watcher, e->subscribe->presentity,
                   e->subscribe->initial ? " initially" : "", e->subscribe->dialog->source,
                   e->subscribe->dialog->transport, e->subscribe->dialog->remote_target);
    else if (e->body_case == MUSTER__ENVELOPE__BODY_NOTIFY_REPLY)
        buf_printf(&w->trace, "presenced: notify ended with %u\n", e->notify_reply->code);
    w->envelope = e->id;
    return !w->presenced_refuses;
}

static inline bool on_routerd(void *ctx, const Muster__Envelope *e)
{
    struct world *w = ctx;

    if (e->body_case == MUSTER__ENVELOPE__BODY_REGISTRATION)
        buf_printf(&w->trace, "routerd: %s has %u\n",
                   *e->registration->aor ? e->registration->aor : "nobody else",
                   e->registration->bindings);
    else if (e->body_case == MUSTER__ENVELOPE__BODY_IM)
        buf_printf(&w->trace, "routerd: im %s to %s [%s] %s \"%.*s\"\n", e->im->from, e->im->to,
                   e->im->id, e->im->content_type, (int)e->im->body.len, (char *)e->im->body.data);
    else if (e->body_case == MUSTER__ENVELOPE__BODY_IM_REPLY)
        buf_printf(&w->trace, "routerd: im %d %s %u\n", (int)e->id,
                   protobuf_c_enum_descriptor_get_value(&muster__im_reply__result__descriptor,
                                                        (int)e->im_reply->result)
                       ->name,
                   e->im_reply->sip_code);
    if (e->body_case == MUSTER__ENVELOPE__BODY_IM)
        w->envelope = e->id;
    return !w->routerd_refuses;
}

static const struct proxy_ops world_ops = {on_send, on_connection, on_resolve, on_presenced,
                                           on_routerd};

/* ---- the replica's world ---- */

static inline bool world_is_mine(void *ctx, struct str user)
{
    const struct world *w = ctx;

    return w->proxy && proxy_is_mine(w->proxy, user);
}

static inline bool world_send_frame(void *ctx, const Muster__ReplicaFrame *frame)
{
    (void)ctx;
    (void)frame;
    return false;
}

static inline void world_on_state(void *ctx, Muster__ReplicaState state)
{
    (void)ctx;
    (void)state;
}

static inline void world_on_restored(void *ctx)
{
    (void)ctx;
}

/* ---- birth and death ---- */

static inline void world_add_user(struct world *w, const char *userid, uint32_t home)
{
    static const uint8_t salt[DIRECTORY_SALT_BYTES];
    char aor[100], password[100];
    struct user user = {.aor = aor, .display_name = userid, .home = home};

    snprintf(aor, sizeof(aor), "%s@muster.test", userid);
    snprintf(password, sizeof(password), "secret-%s", userid);
    digest_credentials(str_of(userid), STR("muster.test"), str_of(password), salt,
                       &user.credentials);
    directory_put(w->users, &user);
}

static inline void world_view(struct world *w, uint32_t serves_1, uint32_t serves_2)
{
    w->view.version++;
    w->view.epoch++;
    w->view.self = 1;
    w->view.count = 2;
    w->view.nodes[0] = (struct view_node){.node = 1, .group = 1, .address = "127.0.1.1"};
    w->view.nodes[1] = (struct view_node){.node = 2, .group = 1, .address = "127.0.1.2"};
    w->view.nodes[0].served_by = serves_1;
    w->view.nodes[1].served_by = serves_2;
    w->view.lease_until = MONO_NEVER;
    replica_view(w->replica, w->view.epoch, false, w->now.mono);
    proxy_view(w->proxy, w->now);
    replica_flush(w->replica, w->now.mono);
}

static inline void world_begin(struct world *w)
{
    *w = (struct world){.now = {{1000}, 1700000000000}};
    buf_init(&w->trace, 1 << 20);
    buf_init(&w->sent, 1 << 20);
    w->users = directory_new();
    world_add_user(w, "alice", 1);
    world_add_user(w, "bob", 1);
    world_add_user(w, "carol", 2);
    w->replica = replica_new(&(struct replica_config){
        .service = MUSTER__SERVICE__PROXYD,
        .boot_id = 1,
        .commit_timeout_ms = 200,
        .restore_timeout_ms = 1000,
        .bytes_max = 1 << 20,
        .is_mine = world_is_mine,
        .send = world_send_frame,
        .on_state = world_on_state,
        .on_restored = world_on_restored,
        .ctx = w,
    });
    w->proxy = proxy_new(&(struct proxy_config){
        .domain = "muster.test",
        .address = "127.0.1.1",
        .port = 5060,
        .port_tls = 5061,
        .port_peer = 5062,
        .users = w->users,
        .view = &w->view,
        .replica = w->replica,
        .metrics = &w->metrics,
        .params = {60000, 3600000, 300000, true},
        .ops = &world_ops,
        .ctx = w,
    });
    world_view(w, 1, 2);
    proxy_presenced_link(w->proxy, true, w->now);
    proxy_routerd_link(w->proxy, true, w->now);
    buf_clear(&w->trace);
}

static inline void world_end(struct world *w)
{
    proxy_check(w->proxy);
    proxy_free(w->proxy);
    replica_free(w->replica);
    directory_free(w->users);
    buf_done(&w->trace);
    buf_done(&w->sent);
}

/* All that happened since the last look. */
static inline void world_expect(struct world *w, const char *expected)
{
    const char *was = w->trace.data ? w->trace.data : "";

    if (strcmp(was, expected) != 0)
        fail_msg("it was\n%s, not\n%s. The last message:\n%s", was, expected, w->sent.data);
    proxy_check(w->proxy);
    buf_clear(&w->trace);
}

static inline void world_sent(struct world *w, const char *text)
{
    if (!strstr(w->sent.data, text))
        fail_msg("no \"%s\" in\n%s", text, w->sent.data);
}

/* ---- what happens ---- */

static inline void world_settle(struct world *w)
{
    replica_flush(w->replica, w->now.mono);
}

static inline void world_wait(struct world *w, uint64_t ms)
{
    mono_t end = mono_after(w->now.mono, ms);

    while (proxy_deadline(w->proxy).ms <= end.ms) {
        uint64_t step = mono_until(w->now.mono, proxy_deadline(w->proxy));

        w->now.mono = mono_after(w->now.mono, step);
        w->now.unix_ms += step;
        proxy_tick(w->proxy, w->now);
        world_settle(w);
    }
    w->now.unix_ms += end.ms - w->now.mono.ms;
    w->now.mono = end;
    proxy_tick(w->proxy, w->now);
}

static inline void world_receive(struct world *w, const struct sip_flow *flow, const char *text)
{
    struct sip_msg *m = sip_msg_parse(str_of(text), flow);

    if (!m)
        fail_msg("this is no message:\n%s", text);
    proxy_receive(w->proxy, m, w->now);
    world_settle(w);
}

static inline void put_authorization(struct buf *out, const char *userid, const char *password,
                                     const char *method, const char *nonce, bool sha256)
{
    enum digest_kind kind = sha256 ? DIGEST_SHA256 : DIGEST_MD5;
    char ha1[DIGEST_HEX_MAX], ha2[DIGEST_HEX_MAX], response[DIGEST_HEX_MAX], text[500];

    snprintf(text, sizeof(text), "%s:muster.test:%s", userid, password);
    digest_hex(kind, str_of(text), ha1);
    snprintf(text, sizeof(text), "%s:sip:muster.test", method);
    digest_hex(kind, str_of(text), ha2);
    snprintf(text, sizeof(text), "%s:%s:00000001:c:auth:%s", ha1, nonce, ha2);
    digest_hex(kind, str_of(text), response);
    buf_printf(out,
               "Authorization: Digest username=\"%s\", realm=\"muster.test\", nonce=\"%s\", "
               "uri=\"sip:muster.test\", response=\"%s\", algorithm=%s, cnonce=\"c\", qop=auth, "
               "nc=00000001\r\n",
               userid, nonce, response, sha256 ? "SHA-256" : "MD5");
}

/* A request of a user of ours over UDP from 192.0.2.9:5070, authenticated if there is a nonce. */
static inline void world_request(struct world *w, const char *userid, const char *method,
                                 const char *uri, const char *headers, const char *body)
{
    struct sip_flow flow = {.transport = SIP_UDP, .remote = {"192.0.2.9", 5070}};
    char password[100];
    struct buf out;

    buf_init(&out, 1 << 17);
    snprintf(password, sizeof(password), "secret-%s", userid);
    buf_printf(&out,
               "%s %s SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.9:5070;rport;branch=z9hG4bK%u\r\n"
               "From: <sip:%s@muster.test>;tag=from\r\nCall-ID: call-%s\r\nCSeq: %u %s\r\n",
               method, uri, ++w->branch, userid, userid, ++w->cseq, method);
    if (!strstr(headers, "To: "))
        buf_printf(&out, "To: <%s>\r\n", strcmp(method, "REGISTER") ? uri : "sip:bob@muster.test");
    if (*w->nonce)
        put_authorization(&out, userid, password, method, w->nonce, true);
    buf_printf(&out, "%sContent-Length: %zu\r\n\r\n%s", headers, strlen(body), body);
    world_receive(w, &flow, out.data);
    buf_done(&out);
}

/* Gets a challenge, so that what follows is authenticated. */
static inline void world_challenge(struct world *w)
{
    *w->nonce = '\0';
    world_request(w, "bob", "REGISTER", "sip:muster.test", "", "");
    world_expect(w, "SIP/2.0 401 Unauthorized > udp 192.0.2.9:5070\n");
}

/* Every header of that name in the message that was sent last, as lines. */
static inline void copy_headers(struct world *w, const char *name, struct buf *out)
{
    char start[50];
    const char *at = w->sent.data;

    snprintf(start, sizeof(start), "\r\n%s: ", name);
    while ((at = strstr(at, start))) {
        at += 2;
        buf_put(out, at, (size_t)(strstr(at, "\r\n") - at) + 2);
    }
}

/* Somebody answers the request that was sent last. */
static inline void world_answer(struct world *w, const char *status, const char *headers)
{
    static const char *const names[] = {"Via", "From", "To", "Call-ID", "CSeq"};
    struct sip_flow flow = w->to;
    struct buf out;

    buf_init(&out, 1 << 17);
    buf_printf(&out, "SIP/2.0 %s\r\n", status);
    for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++)
        copy_headers(w, names[i], &out);
    buf_printf(&out, "%sContent-Length: 0\r\n\r\n", headers);
    world_receive(w, &flow, out.data);
    buf_done(&out);
}
