// SPDX-License-Identifier: Apache-2.0
/*
 * An IM for a user's SIP devices: a MESSAGE (RFC 3428) to every binding at once; the first 2xx
 * decides.
 *
 * Call-ID, From tag and branch are made from who sends what to whom, so that a device which gets it
 * again, from us or from the other node, knows it: its 482 counts as delivered.
 */
#include <stdio.h>

#include "common/digest.h"
#include "common/jid.h"
#include "proxyd/proxy_private.h"

enum { NAME_CHARS = 32, KEY_MAX = 16384 };

struct attempt {
    struct delivery *delivery;
    struct outgoing *outgoing; /* NULL: it has ended */
};

struct delivery {
    struct proxy *proxy;
    struct str key;                 /* ours */
    uint64_t reply_id;              /* of the envelope to be answered */
    Muster__ImReply__Result result; /* once it is known */
    unsigned code;  /* of the device that decided, or said something worth telling */
    size_t refused; /* attempts that ended in 403 or 6xx */
    size_t count, left;
    struct attempt attempts[REGISTRAR_BINDINGS_MAX];
    struct timer timer;
    UT_hash_handle hh;
};

static void answer(struct proxy *p, uint64_t id, Muster__ImReply__Result result, unsigned code)
{
    Muster__Envelope envelope = MUSTER__ENVELOPE__INIT;
    Muster__ImReply reply = MUSTER__IM_REPLY__INIT;

    reply.result = result;
    reply.sip_code = code;
    envelope.id = id;
    envelope.body_case = MUSTER__ENVELOPE__BODY_IM_REPLY;
    envelope.im_reply = &reply;
    /* Not taken: the link broke, and routerd will ask again. */
    (void)p->config.ops->to_routerd(p->config.ctx, &envelope);
}

static void free_delivery(struct delivery *d)
{
    HASH_DELETE(hh, d->proxy->deliveries, d);
    timer_clear(&d->proxy->timers, &d->timer);
    disown(d->key);
    mem_free(d);
}

static void decide(struct delivery *d, Muster__ImReply__Result result, unsigned code)
{
    d->result = result;
    d->code = code;
    timer_clear(&d->proxy->timers, &d->timer);
    answer(d->proxy, d->reply_id, result, code);
}

/* Nobody said anything in time: it had better be stored. */
static void on_due(void *owner)
{
    struct delivery *d = owner;

    for (size_t i = 0; i < d->count; i++)
        if (d->attempts[i].outgoing)
            outgoing_cancel(d->attempts[i].outgoing);
    decide(d, MUSTER__IM_REPLY__RESULT__UNAVAILABLE, d->code ? d->code : 408);
    free_delivery(d);
}

static void on_response(void *ctx, unsigned code, const struct sip_msg *response, mono_t now)
{
    struct attempt *a = ctx;
    struct delivery *d = a->delivery;
    bool known = d->result != MUSTER__IM_REPLY__RESULT__RESULT_UNKNOWN;

    (void)response;
    (void)now;
    a->outgoing = NULL;
    d->left--;
    d->refused += code == 403 || code >= 600;
    if (!known && (code < 300 || code == 482)) {
        decide(d, MUSTER__IM_REPLY__RESULT__ACCEPTED, code);
    } else if (!known) {
        d->code = code;
        if (d->left == 0)
            decide(d,
                   d->refused == d->count ? MUSTER__IM_REPLY__RESULT__REFUSED
                                          : MUSTER__IM_REPLY__RESULT__UNAVAILABLE,
                   code);
    }
    if (d->left == 0)
        free_delivery(d);
}

/* ---- the MESSAGE ---- */

/* A name that only this IM to this binding has: for `what` of it. */
static void derive(const char *what, const struct delivery *d, const struct binding *b,
                   char ret_name[NAME_CHARS + 1])
{
    uint8_t digest[DIGEST_BYTES_MAX];
    struct buf text;

    buf_init(&text, 2 * KEY_MAX);
    buf_printf(&text, "%s\n", what);
    buf_put_str(&text, d->key);
    buf_put_c(&text, '\n');
    buf_put_str(&text, b->key);
    digest_raw(DIGEST_SHA256, buf_str(&text), digest);
    digest_to_hex(str_of_bytes(digest, NAME_CHARS / 2), ret_name);
    buf_done(&text);
}

static void put_aor_field(struct buf *out, const char *name, struct str aor)
{
    buf_printf(out, "%s: <", name);
    sip_uri_put_aor(out, aor);
    buf_put_c(out, '>');
}

static void put_rest(struct buf *out, const struct delivery *d, const Muster__Im *im,
                     const struct binding *b)
{
    const char *type = *im->content_type ? im->content_type : "text/plain";
    char tag[NAME_CHARS + 1], call_id[NAME_CHARS + 1];

    derive("tag", d, b, tag);
    derive("call", d, b, call_id);
    put_aor_field(out, "From", jid_bare(str_of(im->from)));
    buf_printf(out, ";tag=%.16s\r\n", tag);
    put_aor_field(out, "To", jid_bare(str_of(im->to)));
    buf_printf(out, "\r\nCall-ID: %s@%s\r\nCSeq: 1 MESSAGE\r\nMax-Forwards: 70\r\nDate: ", call_id,
               d->proxy->config.domain);
    sip_put_date(out, im->sent_unix_ms);
    buf_puts(out, "\r\n");
    sip_put_body(out, str_of(type), str_of_bytes(im->body.data, im->body.len));
}

static void attempt(struct delivery *d, const Muster__Im *im, const struct binding *b)
{
    struct attempt *a = &d->attempts[d->count++];
    char name[NAME_CHARS + 1], branch[8 + NAME_CHARS];
    struct buf rest;

    derive("branch", d, b, name);
    snprintf(branch, sizeof(branch), "z9hG4bK%s", name);
    buf_init(&rest, SIP_MESSAGE_MAX);
    put_rest(&rest, d, im, b);
    a->delivery = d;
    d->left++;
    a->outgoing = outgoing_start(d->proxy, &(struct outgoing_config){
                                               .method = SIP_MESSAGE,
                                               .target = b->contact,
                                               .transport = b->transport,
                                               .source = b->source,
                                               .branch = str_of(branch),
                                               .rest = buf_str(&rest),
                                               .on_response = on_response,
                                               .ctx = a,
                                           });
    buf_done(&rest);
}

/* ---- birth ---- */

/* Who, what, to whom. An IM without an id is like no other. */
static struct str make_key(struct proxy *p, const Muster__Im *im)
{
    struct buf key;
    size_t len;

    buf_init(&key, KEY_MAX);
    buf_put_str(&key, jid_bare(str_of(im->from)));
    buf_printf(&key, "\n%s\n", im->id);
    buf_put_str(&key, jid_bare(str_of(im->to)));
    if (!*im->id) {
        char tag[TAG_CHARS + 1];

        proxy_tag(p, tag);
        buf_printf(&key, "\n%s", tag);
    }
    len = key.len;
    return (struct str){buf_take(&key), len};
}

/* routerd asks again, because its link or the view changed. */
static void ask_again(struct delivery *d, uint64_t id)
{
    d->reply_id = id;
    if (d->result != MUSTER__IM_REPLY__RESULT__RESULT_UNKNOWN)
        answer(d->proxy, id, d->result, d->code);
}

void deliver_im(struct proxy *p, uint64_t id, const Muster__Im *im)
{
    struct str aor = jid_bare(str_of(im->to)), key;
    const struct binding *b = registrar_bindings(p->registrar, aor);
    struct delivery *d;

    if (!b) {
        answer(p, id,
               proxy_is_mine(p, aor) ? MUSTER__IM_REPLY__RESULT__UNAVAILABLE
                                     : MUSTER__IM_REPLY__RESULT__NOT_SERVING,
               0);
        return;
    }
    key = make_key(p, im);
    HASH_FIND_BYHASHVALUE(hh, p->deliveries, key.p, key.len, (unsigned)str_hash(key), d);
    if (d) {
        disown(key);
        ask_again(d, id);
        return;
    }
    d = mem_new(sizeof(*d));
    d->proxy = p;
    d->key = key;
    d->reply_id = id;
    timer_init(&d->timer, on_due, d);
    HASH_ADD_KEYPTR_BYHASHVALUE(hh, p->deliveries, d->key.p, d->key.len, (unsigned)str_hash(key),
                                d);
    timer_set(&p->timers, &d->timer, mono_after(p->now.mono, DEVICE_PATIENCE_MS));
    for (; b && d->count < REGISTRAR_BINDINGS_MAX; b = b->next)
        attempt(d, im, b);
}

void deliver_free_all(struct proxy *p)
{
    while (p->deliveries)
        free_delivery(p->deliveries);
}
