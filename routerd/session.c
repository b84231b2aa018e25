// SPDX-License-Identifier: Apache-2.0
#include "routerd/session.h"

#include <assert.h>
#include <string.h>

#include <utlist.h>

#include "common/jid.h"
#include "routerd/account.h"
#include "routerd/delivery.h"
#include "routerd/presence.h"
#include "routerd/records.h"
#include "routerd/sm.h"
#include "routerd/stanza.h"
#include "routerd/stream.h"

static void on_time(void *owner)
{
    session_end(owner);
}

/* Without records, stream and place among the others. */
static struct session *make(struct account *a, struct str jid)
{
    struct session *s = mem_new(sizeof(*s));

    s->router = a->router;
    s->account = a;
    s->number = next_number(a->router);
    s->jid = str_dup(jid);
    s->resource = jid_split(str_of(s->jid)).resource;
    s->show = str_dup(str_of(""));
    s->status = str_dup(str_of(""));
    timer_init(&s->timer, on_time, s);
    sm_init(s);
    return s;
}

static void destroy(struct session *s)
{
    struct directed *d, *next;

    for (d = s->directed; d; d = next) {
        next = d->hh.next;
        HASH_DELETE(hh, s->directed, d);
        mem_free(d);
    }
    sm_done(s);
    mem_free(s->presence);
    mem_free(s->show);
    mem_free(s->status);
    mem_free(s->jid);
    mem_free(s);
}

static void add(struct session *s)
{
    struct router *r = s->router;

    HASH_ADD(hh, r->sessions, number, sizeof(s->number), s);
    DL_APPEND(s->account->sessions, s);
    s->account->session_count++;
    count_metric(r, METRIC_SESSIONS, 1);
}

struct session *session_new(struct account *a, struct str jid, struct stream *st)
{
    struct session *s;

    if (a->session_count >= a->router->params->routerd_sessions_per_user_max)
        return NULL;
    s = make(a, jid);
    s->since_unix_ms = a->router->now.unix_ms;
    if (!record_put_session(s)) {
        destroy(s);
        return NULL;
    }
    add(s);
    s->stream = st;
    st->session = s;
    return s;
}

static void restore_directed(struct session *s, char **jids, size_t count)
{
    for (size_t i = 0; i < count; i++)
        presence_add_directed(s, str_of(jids[i]));
}

struct session *session_restore(struct account *a, struct str jid,
                                const Muster__SessionRecord *record)
{
    struct session *s;

    if (record->smid[0] && strlen(record->smid) != RECORD_SMID_LEN)
        return NULL;
    s = make(a, jid);
    s->available = record->available;
    s->priority = record->priority;
    mem_free(s->show);
    mem_free(s->status);
    s->show = str_dup(str_of(record->show));
    s->status = str_dup(str_of(record->status));
    s->since_unix_ms = record->since_unix_ms;
    if (record->presence.len)
        s->presence = mem_dup(record->presence.data, record->presence.len);
    s->interested = record->interested;
    restore_directed(s, record->directed, record->n_directed);
    sm_restore(s, record);
    add(s);
    return s;
}

struct session *session_find(struct router *r, uint64_t number)
{
    struct session *s;

    HASH_FIND(hh, r->sessions, &number, sizeof(number), s);
    return s;
}

struct session *session_of(const struct account *a, struct str resource)
{
    for (struct session *s = a->sessions; s; s = s->next)
        if (str_eq(s->resource, resource))
            return s;
    return NULL;
}

/* ---- sending ---- */

bool session_deliver(struct session *s, struct str xml, const Muster__Im *im)
{
    if (s->doomed || (s->sm.id[0] ? !sm_queue(s, xml, im) : !s->stream))
        return false;
    if (!s->sm.id[0])
        stream_write(s->stream, xml);
    count_metric(s->router, METRIC_STANZAS_OUT, 1);
    return true;
}

void session_send_bytes(struct session *s, struct str xml)
{
    if (!session_deliver(s, xml, NULL))
        session_doom(s);
}

void session_send(struct session *s, const struct xml_node *node)
{
    struct buf b;

    buf_init(&b, STANZA_BYTES_MAX);
    stanza_print(&b, node);
    if (b.full || !node)
        session_doom(s); /* it would wait for this for ever */
    else
        session_send_bytes(s, buf_str(&b));
    buf_done(&b);
}

/* ---- the end ---- */

void session_record(struct session *s)
{
    if (!record_put_session(s))
        session_doom(s);
}

void session_doom(struct session *s)
{
    if (s->doomed)
        return;
    s->doomed = true;
    timer_set(&s->router->timers, &s->timer, s->router->now.mono);
}

void session_lost(struct session *s)
{
    struct router *r = s->router;

    s->stream = NULL;
    if (!s->sm.resumable || s->doomed) {
        session_end(s);
        return;
    }
    sm_detach(s);
    s->sm.resume_deadline_unix_ms = r->now.unix_ms + s->sm.window_ms;
    timer_set(&r->timers, &s->timer, mono_after(r->now.mono, s->sm.window_ms));
    session_record(s);
}

static void leave(struct session *s)
{
    struct account *a = s->account;

    timer_clear(&s->router->timers, &s->timer);
    HASH_DELETE(hh, s->router->sessions, s);
    DL_DELETE(a->sessions, s);
    a->session_count--;
    account_touch(a);
    count_metric(s->router, METRIC_SESSIONS, -1);
}

void session_end(struct session *s)
{
    struct stream *st = s->stream;

    if (st) {
        st->session = NULL;
        s->stream = NULL;
        if (s->doomed)
            stream_fail(st, "resource-constraint", "too much is not acknowledged");
        else
            stream_close(st);
    }
    record_delete_session(s);
    leave(s);
    presence_session_gone(s);
    delivery_again_all(s);
    destroy(s);
}

void session_free(struct session *s)
{
    leave(s);
    destroy(s);
}
