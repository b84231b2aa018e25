// SPDX-License-Identifier: Apache-2.0
#include "routerd/forward.h"

#include <assert.h>
#include <string.h>

#include "common/jid.h"
#include "routerd/delivery.h"
#include "routerd/session.h"

enum { RETRY_MS = 200 };

struct forward {
    UT_hash_handle hh;
    struct router *router;
    uint64_t number;
    Muster__Im *im;
    struct origin origin;
    uint32_t node; /* that it was sent to; 0: to none */
    struct timer timer;
    mono_t give_up;
};

struct parcel {
    UT_hash_handle hh;
    size_t key_len;
    char *key;
    char *from, *to, *type, *id;
    char *xml;
    size_t xml_len;
    mono_t until;
};

/* ---- IMs ---- */

static struct forward *find(struct router *r, uint64_t number)
{
    struct forward *f;

    HASH_FIND(hh, r->forwards, &number, sizeof(number), f);
    return f;
}

static void drop(struct forward *f)
{
    struct router *r = f->router;

    timer_clear(&r->timers, &f->timer);
    HASH_DELETE(hh, r->forwards, f);
    im_free(f->im);
    mem_free(f);
}

static void send_to(struct forward *f, uint32_t node)
{
    struct router *r = f->router;
    Muster__Envelope e = MUSTER__ENVELOPE__INIT;

    e.id = f->number;
    e.body_case = MUSTER__ENVELOPE__BODY_IM;
    e.im = f->im;
    f->node = node && r->ops->to_node(r->ctx, node, &e) ? node : 0;
}

/* It is ours now, or its user is gone. */
static void submit_again(struct forward *f)
{
    struct router *r = f->router;
    struct origin origin = f->origin;
    Muster__Im *im = f->im;

    f->im = NULL;
    drop(f);
    im_submit(r, im, origin);
    im_free(im);
}

static void attempt(struct forward *f)
{
    struct router *r = f->router;
    struct str aor = jid_bare(str_of(f->im->to));
    const struct user *user = directory_find(r->directory, aor);

    if (!user || user->home == 0 || router_serves(r, aor))
        submit_again(f);
    else
        send_to(f, router_serving(r, aor));
}

static void on_time(void *owner)
{
    struct forward *f = owner;
    struct router *r = f->router;

    if (!mono_reached(r->now.mono, f->give_up)) {
        timer_set(&r->timers, &f->timer, f->give_up);
        attempt(f);
        return;
    }
    if (im_origin_waits(r, &f->origin)) { /* an error might be untrue */
        f->give_up = mono_after(r->now.mono, FORWARD_MS);
        timer_set(&r->timers, &f->timer, f->give_up);
        attempt(f);
        return;
    }
    im_answer_result(r, f->im, f->origin, MUSTER__IM_REPLY__RESULT__BUSY);
    drop(f);
}

void forward_start(struct router *r, const Muster__Im *im, struct origin origin)
{
    struct forward *f = mem_new(sizeof(*f));

    f->router = r;
    f->number = next_number(r);
    f->im = im_copy(im);
    f->origin = origin;
    f->give_up = mono_after(r->now.mono, FORWARD_MS);
    timer_init(&f->timer, on_time, f);
    timer_set(&r->timers, &f->timer, f->give_up);
    HASH_ADD(hh, r->forwards, number, sizeof(f->number), f);
    send_to(f, router_serving(r, jid_bare(str_of(im->to))));
}

void forward_on_reply(struct router *r, uint32_t node, uint64_t number,
                      const Muster__ImReply *reply)
{
    struct forward *f = find(r, number);

    if (!f || f->node != node)
        return; /* of an attempt before this one */
    if (reply->result == MUSTER__IM_REPLY__RESULT__NOT_SERVING ||
        reply->result == MUSTER__IM_REPLY__RESULT__RESULT_UNKNOWN) {
        f->node = 0;
        timer_set(&r->timers, &f->timer, mono_after(r->now.mono, RETRY_MS));
        return;
    }
    im_answer(r, f->im, f->origin, reply);
    drop(f);
}

/* ---- parcels ---- */

static void parcel_free(struct router *r, struct parcel *p)
{
    HASH_DELETE(hh, r->parcels, p);
    mem_free(p->key);
    mem_free(p->from);
    mem_free(p->to);
    mem_free(p->type);
    mem_free(p->id);
    mem_free(p->xml);
    mem_free(p);
}

/* Of available and unavailable only the last matters; of the others, of each type. */
static void parcel_keep(struct router *r, const struct routed *st)
{
    bool is_state = str_empty(st->type) || str_eq_c(st->type, "unavailable");
    struct parcel *p, *old;
    struct buf key;

    if (HASH_COUNT(r->parcels) >= PARCELS_MAX)
        return;
    buf_init(&key, 65536);
    buf_put_str(&key, st->from);
    buf_put_c(&key, '\0');
    buf_put_str(&key, st->to);
    buf_put_c(&key, '\0');
    buf_put_str(&key, is_state ? STR("state") : st->type);
    HASH_FIND(hh, r->parcels, key.data, key.len, old);
    if (old)
        parcel_free(r, old);
    p = mem_new(sizeof(*p));
    p->key_len = key.len;
    p->key = buf_take(&key);
    p->from = str_dup(st->from);
    p->to = str_dup(st->to);
    p->type = str_dup(st->type);
    p->id = str_dup(st->id);
    p->xml = str_dup(st->xml);
    p->xml_len = st->xml.len;
    p->until = mono_after(r->now.mono, PARCEL_MS);
    HASH_ADD_KEYPTR(hh, r->parcels, p->key, p->key_len, p);
}

static bool send_stanza(struct router *r, const struct routed *st)
{
    uint32_t node = router_serving(r, jid_bare(st->to));
    Muster__Envelope e = MUSTER__ENVELOPE__INIT;
    Muster__Stanza m = MUSTER__STANZA__INIT;
    char *texts[] = {str_dup(st->from), str_dup(st->to), str_dup(st->name), str_dup(st->type),
                     str_dup(st->id)};
    bool sent;

    m.from = texts[0];
    m.to = texts[1];
    m.name = texts[2];
    m.type = texts[3];
    m.id = texts[4];
    m.xml = (ProtobufCBinaryData){st->xml.len, (uint8_t *)st->xml.p};
    m.epoch = r->view.epoch;
    e.body_case = MUSTER__ENVELOPE__BODY_STANZA;
    e.stanza = &m;
    sent = node && r->ops->to_node(r->ctx, node, &e);
    for (size_t i = 0; i < sizeof(texts) / sizeof(*texts); i++)
        mem_free(texts[i]);
    return sent;
}

bool forward_stanza(struct router *r, const struct routed *st)
{
    bool presence = str_eq_c(st->name, "presence");

    if (send_stanza(r, st))
        return true;
    if (presence)
        parcel_keep(r, st);
    return presence;
}

static void retry_parcel(struct router *r, struct parcel *p)
{
    struct routed st = {
        .from = str_of(p->from),
        .to = str_of(p->to),
        .name = STR("presence"),
        .type = str_of(p->type),
        .id = str_of(p->id),
        .xml = {p->xml, p->xml_len},
    };
    bool ours = router_serves(r, jid_bare(st.to));

    if (ours)
        route_in(r, &st);
    if (ours || send_stanza(r, &st) || mono_reached(r->now.mono, p->until))
        parcel_free(r, p);
}

void forward_retry(struct router *r, uint32_t node)
{
    struct forward *f, *next_forward;
    struct parcel *p, *next;

    for (f = r->forwards; f; f = next_forward) {
        next_forward = f->hh.next;
        uint32_t serving = router_serving(r, jid_bare(str_of(f->im->to)));

        if (node ? serving == node : serving != f->node || serving == 0)
            attempt(f);
    }
    for (p = r->parcels; p; p = next) {
        next = p->hh.next;
        retry_parcel(r, p);
    }
}

void forward_free(struct router *r)
{
    struct forward *f, *next_forward;
    struct parcel *p, *next;

    for (f = r->forwards; f; f = next_forward) {
        next_forward = f->hh.next;
        mem_free(f->origin.stanza_id);
        drop(f);
    }
    for (p = r->parcels; p; p = next) {
        next = p->hh.next;
        parcel_free(r, p);
    }
}
