// SPDX-License-Identifier: Apache-2.0
#include "routerd/stream.h"

#include <assert.h>
#include <string.h>

#include "common/util.h"
#include "common/xml.h"
#include "routerd/client.h"
#include "routerd/later.h"
#include "routerd/ns.h"
#include "routerd/sasl.h"
#include "routerd/session.h"
#include "routerd/stanza.h"

enum { BIND_WITHIN_MS = 60000, STREAMS_MAX = 200000, HEADER_MAX = 16384 };

struct stream *stream_find(struct router *r, uint64_t id)
{
    struct stream *st;

    HASH_FIND(hh, r->streams, &id, sizeof(id), st);
    return st;
}

void stream_write(struct stream *st, struct str bytes)
{
    if (st->state != STREAM_CLOSING)
        st->router->ops->write(st->router->ctx, st->id, bytes);
}

void stream_send(struct stream *st, const struct xml_node *node)
{
    struct buf b;

    buf_init(&b, STANZA_BYTES_MAX);
    stanza_print(&b, node);
    stream_write(st, buf_str(&b));
    buf_done(&b);
}

/* ---- the end ---- */

static void write_header(struct stream *st, struct str to, struct str lang);

static void finish(struct stream *st)
{
    struct session *s = st->session;

    stream_write(st, STR("</stream:stream>"));
    st->router->ops->close(st->router->ctx, st->id);
    st->state = STREAM_CLOSING;
    timer_clear(&st->router->timers, &st->timer);
    negotiate_done(st);
    st->session = NULL;
    if (s)
        session_lost(s);
}

void stream_close(struct stream *st)
{
    if (st->state == STREAM_CLOSING)
        return;
    if (!st->has_header)
        write_header(st, str_of(""), str_of(""));
    finish(st);
}

/* `inner`: markup within the condition; `after`: beside it. */
static void fail_with(struct stream *st, const char *condition, struct str inner, struct str after)
{
    struct buf b;

    if (st->state == STREAM_CLOSING)
        return;
    if (!st->has_header)
        write_header(st, str_of(""), str_of(""));
    buf_init(&b, HEADER_MAX);
    buf_printf(&b, "<stream:error><%s xmlns=\"" NS_STREAMS "\"", condition);
    if (str_empty(inner)) {
        buf_puts(&b, "/>");
    } else {
        buf_put_c(&b, '>');
        buf_put_str(&b, inner);
        buf_printf(&b, "</%s>", condition);
    }
    buf_put_str(&b, after);
    buf_puts(&b, "</stream:error>");
    stream_write(st, buf_str(&b));
    buf_done(&b);
    finish(st);
}

void stream_fail(struct stream *st, const char *condition, const char *text)
{
    struct buf b;

    buf_init(&b, HEADER_MAX);
    if (text)
        buf_printf(&b, "<text xmlns=\"" NS_STREAMS "\" xml:lang=\"en\">%s</text>", text);
    fail_with(st, condition, str_of(""), buf_str(&b));
    buf_done(&b);
}

void stream_fail_count(struct stream *st, uint32_t h, uint32_t count)
{
    struct buf b;

    buf_init(&b, HEADER_MAX);
    buf_printf(&b, "<handled-count-too-high xmlns=\"" NS_SM "\" h=\"%u\" send-count=\"%u\"/>",
               (unsigned)h, (unsigned)count);
    fail_with(st, "undefined-condition", str_of(""), buf_str(&b));
    buf_done(&b);
}

void stream_see_other(struct stream *st, uint32_t node)
{
    const struct view_node *n = view_find(&st->router->view, node);
    struct buf b;

    if (!n) {
        stream_fail(st, "resource-constraint", NULL);
        return;
    }
    buf_init(&b, HEADER_MAX);
    buf_printf(&b, strchr(n->address, ':') ? "[%s]:%u" : "%s:%u", n->address,
               (unsigned)st->router->port);
    fail_with(st, "see-other-host", buf_str(&b), str_of(""));
    buf_done(&b);
}

/* ---- the beginning ---- */

static void put_attribute(struct buf *b, const char *name, struct str value)
{
    if (str_empty(value))
        return;
    buf_printf(b, " %s=\"", name);
    xml_escape(b, value);
    buf_put_c(b, '"');
}

static void write_header(struct stream *st, struct str to, struct str lang)
{
    static const char digits[] = "0123456789abcdef";
    uint8_t random[16];
    char id[2 * sizeof(random)];
    struct buf b;

    st->router->ops->random(st->router->ctx, random, sizeof(random));
    for (size_t i = 0; i < sizeof(id); i++)
        id[i] = digits[(random[i / 2] >> (i % 2 ? 0 : 4)) & 15];
    buf_init(&b, HEADER_MAX);
    buf_puts(&b, "<?xml version=\"1.0\"?><stream:stream xmlns=\"" NS_CLIENT
                 "\" xmlns:stream=\"" NS_STREAM "\"");
    put_attribute(&b, "id", (struct str){id, sizeof(id)});
    put_attribute(&b, "from", st->router->domain);
    put_attribute(&b, "to", to);
    put_attribute(&b, "xml:lang", str_empty(lang) ? STR("en") : lang);
    buf_puts(&b, " version=\"1.0\">");
    st->has_header = true;
    stream_write(st, buf_str(&b));
    buf_done(&b);
}

static bool version_fits(struct str version)
{
    struct str major, minor;
    uint32_t number;

    str_cut(version, '.', &major, &minor);
    return str_u32(major, &number) && number >= 1;
}

static void on_late(void *owner)
{
    struct stream *st = owner;

    if (st->state == STREAM_HELD)
        stream_fail(st, "resource-constraint", "the user is being moved, try again");
    else
        stream_fail(st, "connection-timeout", NULL);
}

static struct stream *stream_new(struct router *r, uint64_t id)
{
    struct stream *st = mem_new(sizeof(*st));

    st->router = r;
    st->id = id;
    timer_init(&st->timer, on_late, st);
    timer_set(&r->timers, &st->timer, mono_after(r->now.mono, BIND_WITHIN_MS));
    HASH_ADD(hh, r->streams, id, sizeof(st->id), st);
    return st;
}

void stream_free(struct stream *st)
{
    timer_clear(&st->router->timers, &st->timer);
    negotiate_done(st);
    HASH_DELETE(hh, st->router->streams, st);
    sasl_free(st->sasl);
    mem_free(st->aor);
    mem_free(st);
}

static void check_header(struct stream *st, const struct xml_node *root)
{
    struct router *r = st->router;
    struct str to = xml_get(root, "to");

    if (!xml_is(root, NS_STREAM, "stream"))
        stream_fail(st, "invalid-namespace", NULL);
    else if (!version_fits(xml_get(root, "version")))
        stream_fail(st, "unsupported-version", NULL);
    else if (str_empty(to))
        stream_fail(st, "improper-addressing", NULL);
    else if (!str_ieq(to, r->domain))
        stream_fail(st, "host-unknown", NULL);
    else if (HASH_COUNT(r->streams) > STREAMS_MAX)
        stream_fail(st, "resource-constraint", NULL);
    else if (!r->leased)
        stream_fail(st, "system-shutdown", NULL);
}

void stream_on_open(struct router *r, uint64_t id, const struct router_stream_open *open)
{
    struct stream *st = stream_find(r, id);
    const struct xml_node *root = open->root;

    if (!st)
        st = stream_new(r, id);
    if (st->state != STREAM_OPENING && st->state != STREAM_PROVED)
        return;
    st->tls = open->tls;
    st->has_exporter = open->has_exporter;
    memcpy(st->exporter, open->exporter, sizeof(st->exporter));
    st->has_header = false;
    write_header(st, xml_get(root, "from"),
                 xml_get_ns(root, "http://www.w3.org/XML/1998/namespace", "lang"));
    check_header(st, root);
    if (st->state == STREAM_CLOSING)
        return;
    if (st->state == STREAM_PROVED)
        st->state = STREAM_UNBOUND;
    else
        st->state = st->tls ? STREAM_UNKNOWN : STREAM_INSECURE;
    negotiate_features(st);
}

/* ---- what comes ---- */

void stream_on_stanza(struct router *r, uint64_t id, struct arena *arena, struct xml_node *stanza)
{
    struct stream *st = stream_find(r, id);

    if (!st || st->state == STREAM_CLOSING)
        return;
    if (xml_is(stanza, NS_STREAM, "error")) { /* it closes next */
        stream_close(st);
        return;
    }
    if (st->state == STREAM_BOUND)
        client_element(st->session, arena, stanza);
    else
        negotiate_element(st, arena, stanza);
}

void stream_on_error(struct router *r, uint64_t id, int error)
{
    struct stream *st = stream_find(r, id);

    if (!st)
        st = stream_new(r, id);
    switch (error) {
    case XML_E_RESTRICTED:
        stream_fail(st, "restricted-xml", NULL);
        break;
    case XML_E_LIMIT:
        stream_fail(st, "policy-violation", "the stanza is too large");
        break;
    default:
        stream_fail(st, "not-well-formed", NULL);
        break;
    }
}

static void on_left(struct router *r, const struct later_args *args)
{
    struct stream *st = stream_find(r, args->of[0]);

    if (st)
        stream_close(st);
}

/* The client means it: unlike a connection that breaks, this ends the session. But when we closed
 * first it only answers, and has no session any more. Our end says that its last acknowledgement
 * and its leaving are known to both nodes. */
void stream_on_end(struct router *r, uint64_t id)
{
    struct stream *st = stream_find(r, id);
    struct session *s = st ? st->session : NULL;

    if (!st || st->state == STREAM_CLOSING)
        return;
    if (!s) {
        stream_close(st);
        return;
    }
    st->session = NULL;
    s->stream = NULL;
    st->state = STREAM_LEAVING;
    session_end(s);
    later_commit(r, on_left, (struct later_args){{id}});
}

void stream_on_closed(struct router *r, uint64_t id)
{
    struct stream *st = stream_find(r, id);
    struct session *s = st ? st->session : NULL;

    if (!st)
        return;
    st->state = STREAM_CLOSING;
    st->session = NULL;
    if (s)
        session_lost(s);
    stream_free(st);
}
