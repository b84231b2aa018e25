// SPDX-License-Identifier: Apache-2.0
/*
 * Server transactions: RFC 3261, 17.2 and 8.2.2.2; RFC 6026, 7.1.
 */
#include <assert.h>

#include "common/buf.h"
#include "proxyd/sip/print.h"
#include "proxyd/sip/tx_private.h"

enum { KEY_MAX = 32768 };

static void on_due(void *owner);

/* ---- matching (17.2.3) ---- */

static void put_part(struct buf *key, struct str s)
{
    buf_put_c(key, '\n');
    buf_put_str(key, s);
}

/* An ACK belongs to the INVITE, a CANCEL, asked with `method`, to what it cancels. */
static void put_key(struct buf *key, const struct sip_msg *m, struct str method)
{
    buf_put_str(key, method);
    if (str_starts(m->via.branch, STR("z9hG4bK"))) {
        put_part(key, m->via.branch);
        put_part(key, m->via.host);
        buf_put_c(key, ':');
        buf_put_u64(key, m->via.port);
        return;
    }
    /* RFC 2543: without a cookie the branch says nothing. */
    put_part(key, m->uri.text);
    put_part(key, m->from.tag);
    put_part(key, m->call_id);
    put_part(key, m->via.host);
    put_part(key, m->via.branch);
    buf_put_c(key, '\n');
    buf_put_u64(key, m->cseq.number);
}

static struct str key_method(const struct sip_msg *m)
{
    return m->method == SIP_ACK ? STR("INVITE") : m->method_text;
}

static void put_merge_key(struct buf *key, const struct sip_msg *m)
{
    buf_put_str(key, m->method_text);
    put_part(key, m->from.tag);
    put_part(key, m->call_id);
    buf_put_c(key, '\n');
    buf_put_u64(key, m->cseq.number);
}

static struct sip_server *find(const struct sip_transactions *all, struct str key)
{
    struct sip_server *s;
    uint32_t hash = sip_hash(&all->config.hash_key, key);

    HASH_FIND_BYHASHVALUE(hh, all->servers, key.p, key.len, hash, s);
    return s;
}

static struct sip_server *find_merge(const struct sip_transactions *all, struct str key)
{
    struct sip_server *s;
    uint32_t hash = sip_hash(&all->config.hash_key, key);

    HASH_FIND_BYHASHVALUE(hh_merge, all->merges, key.p, key.len, hash, s);
    return s;
}

bool sip_tx_cancels(const struct sip_transactions *all, const struct sip_msg *cancel)
{
    struct sip_server *s;
    struct buf key;

    buf_init(&key, KEY_MAX);
    put_key(&key, cancel, STR("INVITE"));
    s = find(all, buf_str(&key));
    buf_done(&key);
    return s != NULL;
}

/* ---- birth and death ---- */

static void forget_merge(struct sip_server *s)
{
    if (s->merge_key.len)
        HASH_DELETE(hh_merge, s->all->merges, s);
    mem_free((char *)s->merge_key.p);
    s->merge_key = (struct str){NULL, 0};
}

void sip_server_free(struct sip_server *s)
{
    struct sip_transactions *all = s->all;

    HASH_DELETE(hh, all->servers, s);
    forget_merge(s);
    all->count--;
    timer_clear(&all->timers, &s->timer);
    sip_msg_free(s->request);
    mem_free(s->response);
    mem_free((char *)s->key.p);
    mem_free(s);
}

static struct sip_server *new_server(struct sip_transactions *all, struct sip_msg *request,
                                     struct buf *key)
{
    struct sip_server *s = mem_new(sizeof(*s));

    s->all = all;
    s->invite = request->method == SIP_INVITE;
    s->state = s->invite ? SIP_TX_PROCEEDING : SIP_TX_TRYING;
    s->request = request;
    s->reply_to = sip_response_flow(request);
    s->ends_at = s->repeat_at = MONO_NEVER;
    timer_init(&s->timer, on_due, s);
    s->key.len = key->len;
    s->key.p = buf_take(key);
    HASH_ADD_KEYPTR_BYHASHVALUE(hh, all->servers, s->key.p, s->key.len,
                                sip_hash(&all->config.hash_key, s->key), s);
    all->count++;
    return s;
}

/* Doing it twice is doing it once: REGISTER has its CSeq, a MESSAGE its id, which the router knows.
 * So a client that saw no answer may make a new request of it (RFC 3263, 4.3). */
static bool is_repeatable(const struct sip_msg *request)
{
    return request->method == SIP_REGISTER || request->method == SIP_MESSAGE;
}

/* Enters `s` as the one that others may be merged into; true if there is one already. */
static bool is_merged(struct sip_server *s, const struct sip_msg *request)
{
    struct sip_transactions *all = s->all;
    struct sip_server *other;
    struct buf key;

    if (request->to.tag.len || request->from.tag.len == 0 || is_repeatable(request))
        return false;
    buf_init(&key, KEY_MAX);
    put_merge_key(&key, request);
    other = find_merge(all, buf_str(&key));
    if (other) {
        buf_done(&key);
        /* A copy that another node of ours passes on comes from a client that went elsewhere. */
        return request->flow.transport != SIP_PEER && other->reply_to.transport != SIP_PEER;
    }
    s->merge_key.len = key.len;
    s->merge_key.p = buf_take(&key);
    HASH_ADD_KEYPTR_BYHASHVALUE(hh_merge, all->merges, s->merge_key.p, s->merge_key.len,
                                sip_hash(&all->config.hash_key, s->merge_key), s);
    return false;
}

/* ---- what comes in ---- */

static void send_response(struct sip_server *s)
{
    s->all->config.send(s->all->config.ctx, &s->reply_to,
                        str_of_bytes(s->response, s->response_len), 0);
}

static void enter(struct sip_server *s, enum sip_tx_state state, uint64_t ends_ms, mono_t now)
{
    s->state = state;
    s->ends_at = mono_after(now, ends_ms);
    s->repeat_at = MONO_NEVER;
    sip_tx_arm(s->all, &s->timer, s->ends_at, s->repeat_at);
}

/* The same request again, or the ACK to a refused INVITE. */
static void on_again(struct sip_server *s, const struct sip_msg *request, mono_t now)
{
    if (request->method == SIP_ACK) {
        if (s->state == SIP_TX_COMPLETED)
            enter(s, SIP_TX_CONFIRMED, sip_tx_reliable(&s->reply_to) ? 0 : SIP_T4_MS, now);
        return;
    }
    /* In Trying there is nothing to say yet; in Accepted the 2xx is its user's to repeat; in
     * Confirmed the answer has been acknowledged. */
    if (s->response && (s->state == SIP_TX_PROCEEDING || s->state == SIP_TX_COMPLETED)) {
        s->all->retransmits++;
        send_response(s);
    }
}

enum sip_tx_verdict sip_tx_request(struct sip_transactions *all, struct sip_msg *request,
                                   mono_t now, struct sip_server **ret_server)
{
    struct sip_server *s;
    struct buf key;

    buf_init(&key, KEY_MAX);
    put_key(&key, request, key_method(request));
    s = find(all, buf_str(&key));
    if (s || request->method == SIP_ACK) {
        if (s)
            on_again(s, request, now);
        sip_msg_free(request);
        buf_done(&key);
        return SIP_TX_ABSORBED;
    }
    if (all->count >= all->config.max) {
        buf_done(&key);
        return SIP_TX_FULL;
    }
    s = new_server(all, request, &key);
    *ret_server = s;
    return is_merged(s, request) ? SIP_TX_MERGED : SIP_TX_NEW;
}

/* ---- what goes out ---- */

const struct sip_msg *sip_server_request(const struct sip_server *s)
{
    assert(s->request);
    return s->request;
}

static void complete(struct sip_server *s, unsigned code, mono_t now)
{
    bool reliable = sip_tx_reliable(&s->reply_to);

    sip_msg_free(s->request);
    s->request = NULL;
    if (!s->invite) {
        if (reliable)
            sip_server_free(s); /* timer J is 0 */
        else
            enter(s, SIP_TX_COMPLETED, 64 * SIP_T1_MS, now);
    } else if (code < 300) {
        enter(s, SIP_TX_ACCEPTED, 64 * SIP_T1_MS, now); /* L */
    } else {
        enter(s, SIP_TX_COMPLETED, 64 * SIP_T1_MS, now); /* H, until the ACK */
        if (!reliable) {
            s->interval_ms = SIP_T1_MS;
            s->repeat_at = mono_after(now, s->interval_ms);
            sip_tx_arm(s->all, &s->timer, s->ends_at, s->repeat_at);
        }
    }
}

void sip_server_reply(struct sip_server *s, unsigned code, struct str bytes, mono_t now)
{
    assert(s->state < SIP_TX_COMPLETED);
    mem_free(s->response);
    s->response = mem_dup(bytes.p, bytes.len);
    s->response_len = bytes.len;
    send_response(s);
    /* Some clients answer a challenge without counting CSeq on. */
    if (code == 401)
        forget_merge(s);
    if (code < 200)
        s->state = SIP_TX_PROCEEDING;
    else
        complete(s, code, now);
}

/* ---- timers ---- */

static void on_due(void *owner)
{
    struct sip_server *s = owner;
    mono_t now = s->all->now;

    if (mono_reached(now, s->ends_at)) {
        sip_server_free(s);
        return;
    }
    /* G: the refusal of an INVITE is repeated until its ACK comes. */
    s->all->retransmits++;
    send_response(s);
    s->interval_ms = s->interval_ms * 2 < SIP_T2_MS ? s->interval_ms * 2 : SIP_T2_MS;
    s->repeat_at = mono_after(now, s->interval_ms);
    sip_tx_arm(s->all, &s->timer, s->ends_at, s->repeat_at);
}
