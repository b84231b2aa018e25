// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * What the files of the proxy's core share; nobody else includes this.
 */
#include "common/util.h"
#include "proxyd/own.h"
#include "proxyd/proxy.h"
#include "proxyd/registrar.h"
#include "proxyd/sip/print.h"
#include "proxyd/sip/transactions.h"

enum {
    LINK_PATIENCE_MS = 3000,   /* a request waits so long for the link to a room */
    ROOM_PATIENCE_MS = 10000,  /* for presenced's answer */
    IM_PATIENCE_MS = 30000,    /* for routerd's, which may have to wait for a takeover */
    DEVICE_PATIENCE_MS = 5000, /* for a device to say anything to a MESSAGE */
    PENDING_MAX = 20000,
    TAG_CHARS = 16,
};

/* ---- requests that wait for a room (pending.c) ---- */

enum pending_kind { PENDING_PUBLISH, PENDING_SUBSCRIBE, PENDING_IM };

struct pending {
    struct proxy *proxy;
    uint64_t id; /* of the envelope */
    enum pending_kind kind;
    struct sip_server *server;
    struct str user;   /* authenticated; ours */
    struct str target; /* presentity or recipient; ours */
    char tag[TAG_CHARS + 1];
    struct timer timer;
    UT_hash_handle hh;
};

/* ---- requests on their way to another node (forward.c) ---- */

struct forward {
    struct proxy *proxy;
    struct sip_server *server;
    struct sip_client *client;
    uint32_t node;     /* 0: it goes to a client, whoever serves */
    struct str user;   /* authenticated; ours */
    struct str target; /* whose home decides; ours */
    struct forward *prev, *next;
};

/* ---- requests that we make (outgoing.c) ---- */

struct outgoing;

struct outgoing_config {
    enum sip_method method;
    struct str target;          /* URI of the request */
    struct str next_hop;        /* URI of the first route; empty: the target */
    struct str transport;       /* "udp", "tcp", "tls" of what came from there; may be empty */
    struct str source;          /* "address:port" that it came from; may be empty */
    struct str branch;          /* fixed, or empty: a new one for each try */
    bool with_contact;          /* ours, for the transport that is taken */
    struct str rest;            /* the other headers, and the body */
    sip_client_cb *on_response; /* as a client transaction's; the final response only */
    void *ctx;
};

/* Always gives one; a failure is told later. */
struct outgoing *outgoing_start(struct proxy *p, const struct outgoing_config *config);
/* Nothing is told any more. */
void outgoing_cancel(struct outgoing *o);
void outgoing_resolved(struct proxy *p, uint64_t id, const struct sip_address *address);
void outgoing_free_all(struct proxy *p);

/* ---- the proxy ---- */

struct proxy {
    struct proxy_config config;
    struct auth auth;
    struct instant now; /* of the event that is being handled */
    struct sip_transactions *transactions;
    struct registrar *registrar;
    struct timers timers;
    uint64_t last_number; /* of tags and branches */
    uint64_t last_id;     /* of envelopes and questions */
    uint64_t retransmits;

    struct pending *pending;       /* by id */
    struct forward *forwards;      /* list */
    struct committing *committing; /* list (register.c) */
    struct outgoing *outgoing;     /* by id */
    struct notifying *notifying;   /* list (notify.c) */
    struct delivery *deliveries;   /* by key (deliver.c) */
    struct timer refresh;          /* users changed: look at all bindings */
    bool presenced_up, routerd_up;
};

/* A string that nobody has seen before: tags, branches. */
void proxy_tag(struct proxy *p, char ret_tag[TAG_CHARS + 1]);

/* Begins a response; sip_put_field() may follow. The buffer is the caller's until
 * proxy_end_reply(). */
void proxy_begin_reply(struct proxy *p, struct sip_server *s, unsigned code, const char *reason,
                       struct buf *ret_out);
/* The same, with a To tag that the caller has drawn. */
void proxy_begin_reply_tagged(struct proxy *p, struct sip_server *s, unsigned code,
                              const char *reason, struct str to_tag, struct buf *ret_out);
/* Ends it, sends it; `s` is no more the caller's. */
void proxy_end_reply(struct proxy *p, struct sip_server *s, unsigned code, struct buf *out);
/* Both. reason NULL: the usual one. */
void proxy_reply(struct proxy *p, struct sip_server *s, unsigned code, const char *reason);
/* 503 with a Retry-After of a second or two. */
void proxy_reply_later(struct proxy *p, struct sip_server *s);

/* Our Contact for requests and responses over `transport`: "sip:127.0.1.1:5060;transport=tcp". */
void proxy_put_contact_uri(const struct proxy *p, enum sip_transport transport, struct buf *out);
struct sip_address proxy_self(const struct proxy *p, enum sip_transport transport);

/* How the client itself sent the request, which may have come through another node of ours: */
enum sip_transport proxy_client_transport(const struct sip_msg *m);
/* Appends its "address:port via node": the node that has its connection. */
void proxy_put_source(const struct proxy *p, const struct sip_msg *m, struct buf *out);
/* Reads that again; false if it is none. */
bool proxy_read_source(struct str text, struct sip_address *ret_client, struct str *ret_node);
/* "192.0.2.1:5060", "[2001:db8::1]:5060". */
bool proxy_read_address(struct str text, struct sip_address *ret_address);
/* The door for other nodes at a node's address. */
struct sip_address proxy_node_address(const struct proxy *p, const struct view_node *node);

/* "udp", "tcp", "tls"; PEER counts as tls. */
const char *proxy_transport_text(enum sip_transport transport);
/* "udp" and so on; UDP for what is none. */
enum sip_transport proxy_transport_of(struct str text);

/* Is the host our domain, or a node of the cluster, which stands for it? */
bool proxy_is_local_host(const struct proxy *p, struct str host);
/* The AoR that a URI names, if it is one of our domain; in the memory of `m`. */
bool proxy_local_aor(const struct proxy *p, struct sip_msg *m, const struct sip_uri *uri,
                     struct str *ret_aor);

/* Where the requests for this user are handled: our node, another, 0: nowhere now. */
uint32_t proxy_serving(const struct proxy *p, const struct user *user);

/* dispatch.c: a request that nobody has answered yet. */
void dispatch(struct proxy *p, struct sip_server *s);
/* Who sent it, or NULL: then it is answered. The From must be his. */
const struct user *dispatch_authenticate(struct proxy *p, struct sip_server *s);
/* Goes on with an authenticated REGISTER, PUBLISH or SUBSCRIBE: here, on the serving node, or
 * later. */
void dispatch_to_server(struct proxy *p, struct sip_server *s, struct str user, struct str target);

void register_request(struct proxy *p, struct sip_server *s, struct str aor);
void register_free_all(struct proxy *p);

void pending_start(struct proxy *p, enum pending_kind kind, struct sip_server *s, struct str user,
                   struct str target);
void pending_publish_reply(struct proxy *p, uint64_t id, const Muster__PublishReply *reply);
void pending_subscribe_reply(struct proxy *p, uint64_t id, const Muster__SubscribeReply *reply);
void pending_im_reply(struct proxy *p, uint64_t id, const Muster__ImReply *reply);
void pending_link(struct proxy *p, bool routerd, bool up);
void pending_free_all(struct proxy *p);

void forward_start(struct proxy *p, struct sip_server *s, uint32_t node, struct str user,
                   struct str target);
/* A request of ours that another node asks us to send on a connection that we have: does so, if the
 * topmost Route says that. False: it is none. */
bool forward_relay(struct proxy *p, struct sip_server *s);
/* Appends the Route that asks for that. */
void forward_put_route(struct buf *out, const struct sip_address *node,
                       enum sip_transport transport, struct str client);
/* The view changed: those that went to a node that does not serve any more go where they should. */
void forward_view(struct proxy *p);
void forward_free_all(struct proxy *p);

void notify_start(struct proxy *p, uint64_t id, const Muster__Notify *notify);
void notify_free_all(struct proxy *p);

void deliver_im(struct proxy *p, uint64_t id, const Muster__Im *im);
void deliver_free_all(struct proxy *p);
