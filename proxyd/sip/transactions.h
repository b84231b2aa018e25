// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Transactions: RFC 3261, 17, with the corrections of RFC 6026 (INVITE) and RFC 4320.
 *
 *   server, not INVITE                         server, INVITE
 *     Trying --reply--> Completed --J--> end     Proceeding --3xx..6xx--> Completed --ACK-->
 * Confirmed (a provisional reply in between:             |                         | H | I
 *      Proceeding)                                 +--2xx--> Accepted --L--> end              end
 *
 *   client, not INVITE                         client, INVITE
 *     Trying --final--> Completed --K--> end     Calling --3xx..6xx--> Completed --D--> end
 *       | E: again, F: 408                         | A: again, B: 408
 *                                                  +--2xx--> Accepted --M--> end
 *
 * A core: bytes go out through ops->send, messages come in, time comes with them. It repeats what
 * must be repeated and swallows what was repeated; what a request means is the user's business.
 * Timers that wait for retransmissions are 0 on streams: there a transaction ends with its final
 * response.
 */
#include "common/mono.h"
#include "proxyd/sip/msg.h"
#include "proxyd/sip/table.h"

enum { SIP_T1_MS = 500, SIP_T2_MS = 4000, SIP_T4_MS = 5000 };

struct sip_transactions;
struct sip_server;
struct sip_client;

struct sip_tx_config {
    /* token: 0, or a client transaction's, for sip_tx_failed(). Copies the bytes. */
    void (*send)(void *ctx, const struct sip_flow *to, struct str bytes, uint64_t token);
    void *ctx;
    struct sip_hash_key hash_key;
    size_t max; /* of both kinds together */
};

struct sip_transactions *sip_tx_new(const struct sip_tx_config *config);
void sip_tx_free(struct sip_transactions *all);

enum sip_tx_verdict {
    SIP_TX_NEW,      /* handle it and answer */
    SIP_TX_MERGED,   /* the same request came by another way (RFC 3261, 8.2.2.2): answer 482 */
    SIP_TX_ABSORBED, /* a retransmission, or an ACK: done */
    SIP_TX_FULL,     /* no room: answer without a transaction, or not at all */
};

/* A request came. Takes it, except with SIP_TX_FULL. *ret_server is set with NEW and MERGED and
 * lives until its final response is given: the caller must give one. */
enum sip_tx_verdict sip_tx_request(struct sip_transactions *all, struct sip_msg *request,
                                   mono_t now, struct sip_server **ret_server);

const struct sip_msg *sip_server_request(const struct sip_server *s);
/* Sends a response; with a final one `s` is no more the caller's. */
void sip_server_reply(struct sip_server *s, unsigned code, struct str bytes, mono_t now);

/* Is there a transaction that this CANCEL is for (RFC 3261, 9.2)? */
bool sip_tx_cancels(const struct sip_transactions *all, const struct sip_msg *cancel);

/* code: status of `response`; 408 when none came in time, 503 when the request could not be sent;
 * then `response` is NULL. Provisional ones are told too; exactly one final one is, not from within
 * sip_client_start(). */
typedef void sip_client_cb(void *ctx, unsigned code, const struct sip_msg *response, mono_t now);

struct sip_client_config {
    enum sip_method method;
    struct str branch; /* of no other transaction that waits for its response */
    struct sip_flow to;
    struct str bytes; /* the request; copied */
    sip_client_cb *on_response;
    void *ctx;
};

/* NULL when there is no room. Lives until its final response. */
struct sip_client *sip_client_start(struct sip_transactions *all,
                                    const struct sip_client_config *config, mono_t now);
/* Nothing is told any more. */
void sip_client_cancel(struct sip_client *c);

/* A response came; the caller keeps it. False: it belongs to nothing. */
bool sip_tx_response(struct sip_transactions *all, const struct sip_msg *response, mono_t now);

/* The bytes sent with this token could not be. */
void sip_tx_failed(struct sip_transactions *all, uint64_t token, mono_t now);

mono_t sip_tx_deadline(const struct sip_transactions *all);
void sip_tx_tick(struct sip_transactions *all, mono_t now);

size_t sip_tx_count(const struct sip_transactions *all);
uint64_t sip_tx_retransmits(const struct sip_transactions *all); /* since birth */
void sip_tx_check(const struct sip_transactions *all);
