// SPDX-License-Identifier: Apache-2.0
#include "routerd/sm.h"

#include <assert.h>
#include <string.h>

#include "common/digest.h"
#include "common/util.h"
#include "common/xml.h"
#include "routerd/account.h"
#include "routerd/later.h"
#include "routerd/ns.h"
#include "routerd/records.h"
#include "routerd/session.h"
#include "routerd/stream.h"

enum {
    WINDOW_MAX = 65536,     /* stanzas of a client that may be under way */
    ANSWER_WITHIN_MS = 500, /* to <r/>, even if not all is complete */
    CLIENT_ANSWERS_MS = 60000,
    COUNTERS_EVERY = 32, /* complete stanzas that the record may lack when nobody asks */
    OUT_BYTES_MAX = 64 << 20,
    OUT_WRITTEN_MAX = 65536,
    ELEMENT_MAX = 512,
};

/* ---- inbound ---- */

uint64_t sm_begin(struct session *s)
{
    struct sm *sm = &s->sm;
    size_t at;

    if (!sm->id[0])
        return 0;
    at = (size_t)(sm->in_count - sm->in_done);
    if (at >= WINDOW_MAX)
        session_doom(s);
    if (at >= sm->in_window_cap) {
        size_t cap = sm->in_window_cap ? sm->in_window_cap * 2 : 16;

        sm->in_window = mem_grow(sm->in_window, sm->in_window_cap, cap);
        sm->in_window_cap = cap;
    }
    sm->in_window[at] = false;
    return ++sm->in_count;
}

static void write_ack(struct session *s, uint64_t h)
{
    struct buf b;

    if (!s->stream)
        return;
    buf_init(&b, ELEMENT_MAX);
    buf_printf(&b, "<a xmlns=\"" NS_SM "\" h=\"%u\"/>", (unsigned)(uint32_t)h);
    stream_write(s->stream, buf_str(&b));
    buf_done(&b);
}

static void on_counters_safe(struct router *r, const struct later_args *args)
{
    struct session *s = session_find(r, args->of[0]);

    if (!s)
        return;
    if (args->of[2] > s->sm.in_safe)
        s->sm.in_safe = args->of[2];
    if (s->incarnation == args->of[1])
        write_ack(s, args->of[2]);
}

/* Says what is complete, as soon as both memories know it. */
static void answer(struct session *s)
{
    struct sm *sm = &s->sm;

    timer_clear(&s->router->timers, &sm->ack_timer);
    if (sm->in_done >= sm->in_asked) {
        sm->in_asked = sm->in_asked_last > sm->in_done ? sm->in_asked_last : 0;
        if (sm->in_asked)
            timer_set(&s->router->timers, &sm->ack_timer,
                      mono_after(s->router->now.mono, ANSWER_WITHIN_MS));
    }
    if (sm->in_done > sm->in_put && !record_put_counters(s)) {
        session_doom(s);
        return;
    }
    if (sm->in_done == sm->in_safe)
        write_ack(s, sm->in_done);
    else
        later_commit(s->router, on_counters_safe,
                     (struct later_args){{s->number, s->incarnation, sm->in_done}});
}

static void on_ack_time(void *owner)
{
    answer(owner);
}

void sm_complete(struct session *s, uint64_t number)
{
    struct sm *sm = &s->sm;
    size_t waiting = (size_t)(sm->in_count - sm->in_done);
    size_t done = 0;

    if (number <= sm->in_done || number > sm->in_count)
        return;
    sm->in_window[number - sm->in_done - 1] = true;
    while (done < waiting && sm->in_window[done])
        done++;
    if (done == 0)
        return;
    memmove(sm->in_window, sm->in_window + done, waiting - done);
    sm->in_done += done;
    if (sm->in_asked && sm->in_done >= sm->in_asked)
        answer(s);
    else if (sm->in_done - sm->in_put >= COUNTERS_EVERY && !record_put_counters(s))
        session_doom(s);
}

static void on_request(struct session *s)
{
    struct sm *sm = &s->sm;

    sm->in_asked_last = sm->in_count;
    if (sm->in_done == sm->in_count) {
        sm->in_asked = sm->in_count;
        answer(s);
        return;
    }
    if (!sm->in_asked)
        sm->in_asked = sm->in_count;
    if (!timer_is_set(&sm->ack_timer))
        timer_set(&s->router->timers, &sm->ack_timer,
                  mono_after(s->router->now.mono, ANSWER_WITHIN_MS));
}

/* ---- outbound ---- */

static void on_no_answer(void *owner)
{
    struct session *s = owner;

    if (s->stream)
        stream_fail(s->stream, "connection-timeout", NULL);
}

/* Asks for an acknowledgement of what was written, unless that is asked already. */
static void ask(struct session *s)
{
    if (s->sm.out_asked || !s->stream || s->sm.out_count == s->sm.out_acked)
        return;
    s->sm.out_asked = true;
    stream_write(s->stream, STR("<r xmlns=\"" NS_SM "\"/>"));
    timer_set(&s->router->timers, &s->sm.answer_timer,
              mono_after(s->router->now.mono, CLIENT_ANSWERS_MS));
}

static void on_queued_safe(struct router *r, const struct later_args *args)
{
    struct session *s = session_find(r, args->of[0]);
    struct sm *sm = s ? &s->sm : NULL;

    if (!s || s->incarnation != args->of[1] || !s->stream)
        return;
    stream_write(s->stream, str_sub(buf_str(&sm->out), sm->out_start, (size_t)args->of[2]));
    sm->out_start += (size_t)args->of[2];
    if (sm->out_start == sm->out.len || sm->out_start > OUT_WRITTEN_MAX) {
        buf_drop(&sm->out, sm->out_start);
        sm->out_start = 0;
    }
    ask(s);
}

bool sm_queue(struct session *s, struct str xml, const Muster__Im *im)
{
    struct sm *sm = &s->sm;

    if (sm->out_count - sm->out_acked >= s->router->params->routerd_queue_stanzas_max ||
        !record_put_queued(s, sm->out_count + 1, xml, im))
        return false;
    sm->out_count++;
    if (!s->stream)
        return true;
    buf_put_str(&sm->out, xml);
    if (sm->out.full)
        session_doom(s);
    else
        later_commit(s->router, on_queued_safe,
                     (struct later_args){{s->number, s->incarnation, xml.len}});
    return true;
}

/* False, and the stream failed: the client has seen what we never sent. */
static bool take_ack(struct session *s, uint32_t h)
{
    struct sm *sm = &s->sm;
    uint64_t acked = sm->out_acked + (uint32_t)(h - (uint32_t)sm->out_acked);

    if (acked > sm->out_count)
        return false;
    if (acked == sm->out_acked)
        return true;
    for (uint64_t n = sm->out_acked + 1; n <= acked; n++)
        record_delete_queued(s, n);
    sm->out_acked = acked;
    if (!record_put_counters(s))
        session_doom(s);
    return true;
}

static void on_acknowledgement(struct session *s, const struct xml_node *node)
{
    struct sm *sm = &s->sm;
    uint32_t h;

    if (!str_u32(xml_get(node, "h"), &h)) {
        stream_fail(s->stream, "invalid-xml", NULL);
        return;
    }
    sm->out_asked = false;
    timer_clear(&s->router->timers, &sm->answer_timer);
    if (!take_ack(s, h)) {
        stream_fail_count(s->stream, h, (uint32_t)sm->out_count);
        return;
    }
    if (sm->out_start == sm->out.len) /* else asked when the rest is written */
        ask(s);
}

/* ---- enabling ---- */

static void write_failed(struct stream *st, const char *condition)
{
    struct buf b;

    buf_init(&b, ELEMENT_MAX);
    buf_printf(&b, "<failed xmlns=\"" NS_SM "\"><%s xmlns=\"" NS_STANZAS "\"/></failed>",
               condition);
    stream_write(st, buf_str(&b));
    buf_done(&b);
}

static void on_enabled_safe(struct router *r, const struct later_args *args)
{
    struct session *s = session_find(r, args->of[0]);
    struct buf b;

    if (!s || s->incarnation != args->of[1] || !s->stream)
        return;
    buf_init(&b, ELEMENT_MAX);
    buf_puts(&b, "<enabled xmlns=\"" NS_SM "\"");
    if (s->sm.resumable)
        buf_printf(&b, " id=\"%s\" resume=\"true\" max=\"%llu\"", s->sm.id,
                   (unsigned long long)(s->sm.window_ms / 1000));
    buf_puts(&b, "/>");
    stream_write(s->stream, buf_str(&b));
    buf_done(&b);
}

static bool is_true(struct str text)
{
    return str_eq_c(text, "true") || str_eq_c(text, "1");
}

static void enable(struct session *s, const struct xml_node *node)
{
    struct router *r = s->router;
    uint8_t random[RECORD_SMID_LEN / 2];
    uint64_t max_s;

    if (s->sm.id[0]) {
        write_failed(s->stream, "unexpected-request");
        return;
    }
    r->ops->random(r->ctx, random, sizeof(random));
    digest_to_hex(str_of_bytes(random, sizeof(random)), s->sm.id);
    s->sm.resumable = is_true(xml_get(node, "resume"));
    s->sm.window_ms = r->params->routerd_resume_window_ms;
    if (str_u64(xml_get(node, "max"), &max_s) && max_s < s->sm.window_ms / 1000)
        s->sm.window_ms = max_s * 1000;
    HASH_ADD(hh_smid, r->sessions_by_smid, sm.id, RECORD_SMID_LEN, s);
    if (!record_put_session(s) || !record_put_counters(s))
        session_doom(s);
    else
        later_commit(r, on_enabled_safe, (struct later_args){{s->number, s->incarnation}});
}

void sm_element(struct session *s, const struct xml_node *node)
{
    if (str_eq_c(node->name, "enable"))
        enable(s, node);
    else if (str_eq_c(node->name, "resume"))
        write_failed(s->stream, "unexpected-request");
    else if (!s->sm.id[0])
        stream_fail(s->stream, "unsupported-stanza-type", NULL);
    else if (str_eq_c(node->name, "r"))
        on_request(s);
    else if (str_eq_c(node->name, "a"))
        on_acknowledgement(s, node);
    else
        stream_fail(s->stream, "unsupported-stanza-type", NULL);
}

/* ---- resuming ---- */

/* Writes what the client has not acknowledged, from the replica, up to number `upto`. */
static void replay(struct session *s, uint64_t upto)
{
    for (uint64_t n = s->sm.out_acked + 1; n <= upto; n++) {
        Muster__QueuedStanza *q = record_queued(s->router, s->sm.id, n);

        if (!q)
            continue; /* acknowledged meanwhile */
        stream_write(s->stream, str_of_bytes(q->xml.data, q->xml.len));
        muster__queued_stanza__free_unpacked(q, NULL);
    }
}

static void on_resumed_safe(struct router *r, const struct later_args *args)
{
    struct session *s = session_find(r, args->of[0]);
    struct buf b;

    if (!s || s->incarnation != args->of[1] || !s->stream)
        return;
    if (args->of[3] > s->sm.in_safe)
        s->sm.in_safe = args->of[3];
    buf_init(&b, ELEMENT_MAX);
    buf_printf(&b, "<resumed xmlns=\"" NS_SM "\" previd=\"%s\" h=\"%u\"/>", s->sm.id,
               (unsigned)(uint32_t)args->of[3]);
    stream_write(s->stream, buf_str(&b));
    buf_done(&b);
    replay(s, args->of[2]);
    ask(s);
}

static void attach(struct session *s, struct stream *st)
{
    struct router *r = s->router;

    s->incarnation++;
    s->stream = st;
    st->session = s;
    st->state = STREAM_BOUND;
    timer_clear(&r->timers, &st->timer);
    timer_clear(&r->timers, &s->timer);
    s->sm.resume_deadline_unix_ms = 0;
    /* What had begun and is not complete will be sent again, with the same numbers. */
    s->sm.in_count = s->sm.in_done;
    s->sm.in_era++;
    count_metric(r, METRIC_SESSIONS_RESUMED, 1);
    if (!record_put_session(s) || !record_put_counters(s))
        session_doom(s);
    else
        later_commit(
            r, on_resumed_safe,
            (struct later_args){{s->number, s->incarnation, s->sm.out_count, s->sm.in_done}});
}

/* A connection that broke without our noticing gives way. */
static void drop_old_stream(struct session *s)
{
    struct stream *old = s->stream;

    if (!old)
        return;
    old->session = NULL;
    s->stream = NULL;
    sm_detach(s);
    stream_fail(old, "conflict", "resumed elsewhere");
}

void sm_resume(struct stream *st, const struct xml_node *node)
{
    struct router *r = st->router;
    struct str previd = xml_get(node, "previd");
    struct session *s = NULL;
    uint32_t h;

    if (!str_u32(xml_get(node, "h"), &h)) {
        write_failed(st, "bad-request");
        return;
    }
    if (previd.len == RECORD_SMID_LEN)
        HASH_FIND(hh_smid, r->sessions_by_smid, previd.p, RECORD_SMID_LEN, s);
    if (!s || !s->sm.resumable || s->doomed || strcmp(s->account->aor, st->aor) != 0) {
        write_failed(st, "item-not-found");
        return;
    }
    drop_old_stream(s);
    if (!take_ack(s, h)) {
        stream_fail_count(st, h, (uint32_t)s->sm.out_count);
        session_end(s);
        return;
    }
    attach(s, st);
}

void sm_detach(struct session *s)
{
    struct sm *sm = &s->sm;

    s->incarnation++;
    timer_clear(&s->router->timers, &sm->ack_timer);
    timer_clear(&s->router->timers, &sm->answer_timer);
    buf_clear(&sm->out);
    sm->out_start = 0;
    sm->out_asked = false;
    sm->in_asked = sm->in_asked_last = 0;
}

/* ---- life ---- */

void sm_init(struct session *s)
{
    timer_init(&s->sm.ack_timer, on_ack_time, s);
    timer_init(&s->sm.answer_timer, on_no_answer, s);
    buf_init(&s->sm.out, OUT_BYTES_MAX);
}

void sm_done(struct session *s)
{
    struct router *r = s->router;

    timer_clear(&r->timers, &s->sm.ack_timer);
    timer_clear(&r->timers, &s->sm.answer_timer);
    if (s->sm.id[0] && s->hh_smid.tbl)
        HASH_DELETE(hh_smid, r->sessions_by_smid, s);
    buf_done(&s->sm.out);
    mem_free(s->sm.in_window);
}

static void restore_counters(struct session *s)
{
    struct replica_record record;
    Muster__SessionCounters *c = NULL;

    if (replica_find(s->router->replica, TABLE_COUNTERS, str_of(s->sm.id), &record))
        c = muster__session_counters__unpack(NULL, record.value.len,
                                             (const uint8_t *)record.value.p);
    if (!c)
        return;
    s->sm.in_count = s->sm.in_done = s->sm.in_put = s->sm.in_safe = c->in_done;
    s->sm.out_count = s->sm.out_acked = c->out_acked;
    muster__session_counters__free_unpacked(c, NULL);
}

/* Its queue follows: activate.c tells the highest number. */
void sm_restore(struct session *s, const Muster__SessionRecord *record)
{
    if (!record->smid[0])
        return;
    memcpy(s->sm.id, record->smid, RECORD_SMID_LEN);
    s->sm.resumable = record->resumable;
    s->sm.window_ms = record->window_ms;
    s->sm.resume_deadline_unix_ms = record->resume_deadline_unix_ms;
    HASH_ADD(hh_smid, s->router->sessions_by_smid, sm.id, RECORD_SMID_LEN, s);
    restore_counters(s);
}

void sm_check(const struct session *s)
{
    const struct sm *sm = &s->sm;

    assert(sm->in_safe <= sm->in_put && sm->in_put <= sm->in_done && sm->in_done <= sm->in_count);
    assert(sm->out_acked <= sm->out_count);
    assert(s->stream || sm->out.len == 0);
    assert(sm->out_start <= sm->out.len);
}
