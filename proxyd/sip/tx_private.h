// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * What the files of the transaction layer share. Nobody else includes this.
 */
#include "common/timer.h"
#include "common/util.h"
#include "proxyd/sip/transactions.h"

enum sip_tx_state {
    SIP_TX_TRYING, /* Calling, for an INVITE client */
    SIP_TX_PROCEEDING,
    SIP_TX_COMPLETED,
    SIP_TX_CONFIRMED,
    SIP_TX_ACCEPTED,
};

struct sip_server {
    struct sip_transactions *all;
    enum sip_tx_state state;
    bool invite;
    struct sip_msg *request; /* until the final response */
    struct sip_flow reply_to;
    char *response; /* the last one, to be repeated */
    size_t response_len;
    uint64_t interval_ms; /* of timer G */
    mono_t ends_at;       /* J, H, I, L */
    mono_t repeat_at;     /* G */
    struct timer timer;
    struct str key; /* ours */
    struct str merge_key;
    UT_hash_handle hh;
    UT_hash_handle hh_merge;
};

struct sip_client {
    struct sip_transactions *all;
    enum sip_tx_state state;
    struct sip_client_config config; /* bytes and branch are ours */
    uint64_t token;
    uint64_t interval_ms; /* of timer A or E */
    mono_t ends_at;       /* B or F, K, D, M */
    mono_t repeat_at;     /* A or E */
    char *ack;            /* of an INVITE that was refused, to be repeated */
    size_t ack_len;
    struct timer timer;
    struct str key;
    UT_hash_handle hh;
    UT_hash_handle hh_token;
};

struct sip_transactions {
    struct sip_tx_config config;
    struct sip_server *servers; /* by key */
    struct sip_server *merges;  /* by merge_key, those that have one */
    struct sip_client *clients; /* by key */
    struct sip_client *tokens;  /* by token */
    struct timers timers;
    mono_t now; /* of the tick that fires them */
    size_t count;
    uint64_t last_token;
    uint64_t retransmits;
};

static inline bool sip_tx_reliable(const struct sip_flow *flow)
{
    return flow->transport != SIP_UDP;
}

/* Arms the one timer of a transaction: to the earlier of its two deadlines, if it has any. */
static inline void sip_tx_arm(struct sip_transactions *all, struct timer *t, mono_t a, mono_t b)
{
    mono_t at = mono_min(a, b);

    if (at.ms == MONO_NEVER.ms)
        timer_clear(&all->timers, t);
    else
        timer_set(&all->timers, t, at);
}

/* "method branch sent-by" of a client's own request or of a response to it. */
struct str sip_client_key(struct str method, struct str branch);
void sip_server_free(struct sip_server *s);
void sip_client_free(struct sip_client *c);
