// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * The core of proxyd: what is done with every SIP request that comes in, and what SIP goes out for
 * presenced and routerd.
 *
 *     clients, devices            proxy                        rooms
 *       REGISTER   ---------->  registrar (replica)  ------->  routerd: Registration
 *       PUBLISH    ---------->                       ------->  presenced: Publish
 *       SUBSCRIBE  ---------->  authentication,      ------->  presenced: Subscribe
 *       NOTIFY     <----------  who serves whom      <-------  presenced: Notify
 *       MESSAGE    <--------->                       <------>  routerd: Im
 *     other nodes (5062): requests for users whom we do not serve, or who are ours
 *
 * It is told everything: messages parsed, envelopes, the view, what time it is; and acts only
 * through proxy_ops. It answers every request exactly once, with a 2xx only when what that promises
 * is in both memories: its own records by replica_commit(), the rooms' by their word. Used from the
 * core's thread.
 */
#include <envelope.pb-c.h>

#include "common/directory.h"
#include "common/metrics.h"
#include "common/mono.h"
#include "common/replica.h"
#include "common/view.h"
#include "proxyd/auth.h"
#include "proxyd/sip/msg.h"
#include "proxyd/sip/table.h"

struct proxy;

/* When an event happens. */
struct instant {
    mono_t mono;
    uint64_t unix_ms; /* for what protocols show, and for nonces */
};

struct proxy_ops {
    /* Copies. token: given to proxy_send_failed() if the bytes cannot be sent; 0: nobody cares. */
    void (*send)(void *ctx, const struct sip_flow *to, struct str bytes, uint64_t token);
    /* The connection that is open to an address, 0 when there is none. */
    uint64_t (*connection)(void *ctx, enum sip_transport transport,
                           const struct sip_address *remote);
    /* Answers by proxy_resolved(), later. port 0: by SRV, else the default. */
    void (*resolve)(void *ctx, uint64_t id, struct str host, uint16_t port,
                    enum sip_transport transport);
    /* False: it was not taken. */
    bool (*to_presenced)(void *ctx, const Muster__Envelope *envelope);
    bool (*to_routerd)(void *ctx, const Muster__Envelope *envelope);
};

struct proxy_params {
    uint64_t expires_min_ms, expires_max_ms, nonce_lifetime_ms;
    bool sha256_first;
};

struct proxy_config {
    const char *domain;
    const char *address; /* ours, numeric */
    uint16_t port, port_tls, port_peer;
    uint8_t nonce_key[AUTH_KEY_BYTES]; /* the same on all nodes of a group */
    uint8_t secret[32];                /* ours, new with each start: tags and branches */
    const struct directory *users;
    const struct view *view; /* the one in force, its lease renewed by the owner */
    struct replica *replica;
    struct metrics *metrics;
    struct proxy_params params;
    const struct proxy_ops *ops;
    void *ctx;
    size_t transactions_max; /* 0: 200000 */
};

struct proxy *proxy_new(const struct proxy_config *config);
/* Before the replica. Nothing is answered any more. */
void proxy_free(struct proxy *p);

void proxy_set_params(struct proxy *p, const struct proxy_params *params);

/* Is this user served here, by the view? For the replica. */
bool proxy_is_mine(const struct proxy *p, struct str aor);

/* ---- events: all take the time; what follows from them goes out before they return ---- */

/* A message was parsed; takes it. */
void proxy_receive(struct proxy *p, struct sip_msg *message, struct instant now);
void proxy_send_failed(struct proxy *p, uint64_t token, struct instant now);
/* host NULL: the name cannot be resolved. */
void proxy_resolved(struct proxy *p, uint64_t id, const struct sip_address *address,
                    struct instant now);

/* PublishReply, SubscribeReply, Notify. */
void proxy_presenced(struct proxy *p, const Muster__Envelope *envelope, struct instant now);
/* Im, ImReply. */
void proxy_routerd(struct proxy *p, const Muster__Envelope *envelope, struct instant now);
void proxy_presenced_link(struct proxy *p, bool up, struct instant now);
void proxy_routerd_link(struct proxy *p, bool up, struct instant now);

/* Who serves whom has changed. */
void proxy_view(struct proxy *p, struct instant now);
/* aor NULL: any may have changed, or records came back from the peer. */
void proxy_users_changed(struct proxy *p, const char *aor, struct instant now);

/* Time has passed. Also to be called before replica_flush(), so that answers carry the time. */
void proxy_tick(struct proxy *p, struct instant now);
mono_t proxy_deadline(const struct proxy *p);

void proxy_check(const struct proxy *p);
