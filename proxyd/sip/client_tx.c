// SPDX-License-Identifier: Apache-2.0
/*
 * Client transactions: RFC 3261, 17.1; RFC 6026, 7.2.
 */
#include <assert.h>

#include "common/buf.h"
#include "proxyd/sip/print.h"
#include "proxyd/sip/tx_private.h"

static void on_due(void *owner);

/* ---- matching (17.1.3): our branches are unique ---- */

struct str sip_client_key(struct str method, struct str branch)
{
    struct buf key;
    size_t len;

    buf_init(&key, 2 * SIP_CALL_ID_MAX);
    buf_put_str(&key, method);
    buf_put_c(&key, '\n');
    buf_put_str(&key, branch);
    len = key.len;
    return (struct str){buf_take(&key), len};
}

static struct sip_client *find(const struct sip_transactions *all, struct str key)
{
    struct sip_client *c;

    HASH_FIND_BYHASHVALUE(hh, all->clients, key.p, key.len, sip_hash(&all->config.hash_key, key),
                          c);
    return c;
}

/* ---- birth and death ---- */

void sip_client_free(struct sip_client *c)
{
    struct sip_transactions *all = c->all;

    HASH_DELETE(hh, all->clients, c);
    HASH_DELETE(hh_token, all->tokens, c);
    all->count--;
    timer_clear(&all->timers, &c->timer);
    mem_free((char *)c->config.bytes.p);
    mem_free((char *)c->key.p);
    mem_free(c->ack);
    mem_free(c);
}

void sip_client_cancel(struct sip_client *c)
{
    sip_client_free(c);
}

static void add(struct sip_transactions *all, struct sip_client *c)
{
    struct sip_client *old;

    c->key = sip_client_key(str_of(sip_method_name(c->config.method)), c->config.branch);
    c->config.branch = (struct str){"", 0};
    old = find(all, c->key);
    if (old) {
        /* The same request once more, on purpose: late answers to the first one answer this one. */
        assert(old->state > SIP_TX_PROCEEDING);
        sip_client_free(old);
    }
    c->token = ++all->last_token;
    HASH_ADD_KEYPTR_BYHASHVALUE(hh, all->clients, c->key.p, c->key.len,
                                sip_hash(&all->config.hash_key, c->key), c);
    HASH_ADD(hh_token, all->tokens, token, sizeof(c->token), c);
    all->count++;
}

static void send_request(struct sip_client *c)
{
    c->all->config.send(c->all->config.ctx, &c->config.to, c->config.bytes, c->token);
}

struct sip_client *sip_client_start(struct sip_transactions *all,
                                    const struct sip_client_config *config, mono_t now)
{
    struct sip_client *c;

    if (all->count >= all->config.max)
        return NULL;
    c = mem_new(sizeof(*c));
    c->all = all;
    c->config = *config;
    c->config.bytes.p = mem_dup(config->bytes.p, config->bytes.len);
    timer_init(&c->timer, on_due, c);
    c->interval_ms = SIP_T1_MS;
    c->ends_at = mono_after(now, 64 * SIP_T1_MS);
    c->repeat_at = sip_tx_reliable(&config->to) ? MONO_NEVER : mono_after(now, SIP_T1_MS);
    add(all, c);
    sip_tx_arm(all, &c->timer, c->ends_at, c->repeat_at);
    send_request(c);
    return c;
}

/* ---- ACK to a refused INVITE (17.1.1.3) ---- */

static void put_ack(struct buf *out, const struct sip_msg *invite, const struct sip_msg *response)
{
    struct sip_walk walk = {0};
    struct str value;

    sip_put_request_line(out, SIP_ACK, invite->uri.text);
    if (sip_msg_next(invite, SIP_HEADER_VIA, &walk, &value))
        sip_put_field(out, SIP_HEADER_VIA, value);
    sip_put_number(out, SIP_HEADER_MAX_FORWARDS, 70);
    for (walk = (struct sip_walk){0}; sip_msg_next(invite, SIP_HEADER_ROUTE, &walk, &value);)
        sip_put_field(out, SIP_HEADER_ROUTE, value);
    sip_put_field(out, SIP_HEADER_FROM, sip_msg_value(invite, SIP_HEADER_FROM));
    sip_put_field(out, SIP_HEADER_TO, sip_msg_value(response, SIP_HEADER_TO));
    sip_put_field(out, SIP_HEADER_CALL_ID, invite->call_id);
    buf_printf(out, "CSeq: %u ACK\r\n", invite->cseq.number);
    sip_put_body(out, (struct str){"", 0}, (struct str){"", 0});
}

static void send_ack(struct sip_client *c)
{
    if (c->ack)
        c->all->config.send(c->all->config.ctx, &c->config.to, str_of_bytes(c->ack, c->ack_len), 0);
}

static void make_ack(struct sip_client *c, const struct sip_msg *response)
{
    struct sip_msg *invite = sip_msg_parse(c->config.bytes, &c->config.to);
    struct buf out;

    if (!invite)
        return;
    buf_init(&out, SIP_MESSAGE_MAX);
    put_ack(&out, invite, response);
    c->ack_len = out.len;
    c->ack = buf_take(&out);
    sip_msg_free(invite);
}

/* ---- responses ---- */

static void tell(struct sip_client *c, unsigned code, const struct sip_msg *response, mono_t now)
{
    sip_client_cb *on_response = c->config.on_response;
    void *ctx = c->config.ctx;

    if (code >= 200)
        c->config.on_response = NULL; /* once */
    if (on_response)
        on_response(ctx, code, response, now);
}

static void on_provisional(struct sip_client *c, unsigned code, const struct sip_msg *response,
                           mono_t now)
{
    if (c->state > SIP_TX_PROCEEDING)
        return;
    c->state = SIP_TX_PROCEEDING;
    if (c->config.method == SIP_INVITE) {
        c->ends_at = c->repeat_at = MONO_NEVER; /* it may ring as long as it likes */
    } else if (c->repeat_at.ms != MONO_NEVER.ms) {
        c->interval_ms = SIP_T2_MS;
        c->repeat_at = mono_after(now, SIP_T2_MS);
    }
    sip_tx_arm(c->all, &c->timer, c->ends_at, c->repeat_at);
    tell(c, code, response, now);
}

/* How long copies of the final response are swallowed: timers K, D and M. */
static uint64_t linger_ms(const struct sip_client *c, unsigned code)
{
    if (c->config.method == SIP_INVITE && code < 300)
        return 64 * SIP_T1_MS;
    if (sip_tx_reliable(&c->config.to))
        return 0;
    return c->config.method == SIP_INVITE ? 64 * SIP_T1_MS : SIP_T4_MS;
}

static void on_final(struct sip_client *c, unsigned code, const struct sip_msg *response,
                     mono_t now)
{
    bool refused_invite = c->config.method == SIP_INVITE && code >= 300;

    if (c->state > SIP_TX_PROCEEDING) {
        if (refused_invite)
            send_ack(c);
        return;
    }
    c->state = c->config.method == SIP_INVITE && code < 300 ? SIP_TX_ACCEPTED : SIP_TX_COMPLETED;
    if (refused_invite) {
        make_ack(c, response);
        send_ack(c);
    }
    c->ends_at = mono_after(now, linger_ms(c, code));
    c->repeat_at = MONO_NEVER;
    sip_tx_arm(c->all, &c->timer, c->ends_at, c->repeat_at);
    tell(c, code, response, now);
}

bool sip_tx_response(struct sip_transactions *all, const struct sip_msg *response, mono_t now)
{
    struct str key = sip_client_key(response->cseq.method, response->via.branch);
    struct sip_client *c = find(all, key);

    mem_free((char *)key.p);
    if (!c)
        return false;
    if (response->status < 200)
        on_provisional(c, response->status, response, now);
    else
        on_final(c, response->status, response, now);
    return true;
}

/* ---- failures and timers ---- */

/* No response will come: says so and ends. */
static void give_up(struct sip_client *c, unsigned code, mono_t now)
{
    bool told = c->state > SIP_TX_PROCEEDING;
    struct sip_client_config config = c->config;

    sip_client_free(c);
    if (!told && config.on_response)
        config.on_response(config.ctx, code, NULL, now);
}

void sip_tx_failed(struct sip_transactions *all, uint64_t token, mono_t now)
{
    struct sip_client *c;

    HASH_FIND(hh_token, all->tokens, &token, sizeof(token), c);
    if (c)
        give_up(c, 503, now);
}

static void on_due(void *owner)
{
    struct sip_client *c = owner;
    mono_t now = c->all->now;

    if (mono_reached(now, c->ends_at)) {
        give_up(c, 408, now);
        return;
    }
    c->all->retransmits++;
    send_request(c);
    /* A doubles without end, E up to T2. */
    c->interval_ms *= 2;
    if (c->config.method != SIP_INVITE && c->interval_ms > SIP_T2_MS)
        c->interval_ms = SIP_T2_MS;
    c->repeat_at = mono_after(now, c->interval_ms);
    sip_tx_arm(c->all, &c->timer, c->ends_at, c->repeat_at);
}
