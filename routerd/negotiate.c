// SPDX-License-Identifier: Apache-2.0
/*
 * What is said on a stream before it is bound: features, STARTTLS, SASL, resource binding,
 * resumption.
 */
#include <string.h>

#include "common/arena.h"
#include "common/digest.h"
#include "common/jid.h"
#include "common/util.h"
#include "common/xml.h"
#include "routerd/account.h"
#include "routerd/ns.h"
#include "routerd/sasl.h"
#include "routerd/session.h"
#include "routerd/sm.h"
#include "routerd/stanza.h"
#include "routerd/stream.h"

enum { FAILURES_MAX = 5, HELD_MAX = 16, HELD_MS = 5000, FEATURES_MAX = 8192, STATUS_OK = 0 };

/* ---- features ---- */

/* A client that knows other channel bindings than ours tries them where -PLUS is offered, and
 * fails; so the operator decides. */
static bool offers_binding(const struct stream *st)
{
    return st->has_exporter && st->router->params->routerd_channel_binding;
}

static struct sasl_config sasl_config_of(struct stream *st)
{
    struct router *r = st->router;
    struct sasl_config config = {
        .directory = r->directory,
        .domain = r->domain,
        .tls = st->tls,
        .exporter = offers_binding(st) ? st->exporter : NULL,
        .secret = r->secret,
    };

    if (!r->has_secret)
        r->ops->random(r->ctx, r->secret, sizeof(r->secret));
    r->has_secret = true;
    return config;
}

static void put_mechanisms(struct stream *st, struct buf *b)
{
    struct sasl_config config = sasl_config_of(st);
    const char *name;

    buf_puts(b, "<mechanisms xmlns=\"" NS_SASL "\">");
    for (size_t i = 0; (name = sasl_mechanism(&config, i)); i++)
        buf_printf(b, "<mechanism>%s</mechanism>", name);
    buf_puts(b, "</mechanisms>");
    if (offers_binding(st))
        buf_puts(b, "<sasl-channel-binding xmlns=\"" NS_SASL_CB
                    "\"><channel-binding type=\"tls-exporter\"/></sasl-channel-binding>");
}

void negotiate_features(struct stream *st)
{
    struct buf b;

    buf_init(&b, FEATURES_MAX);
    buf_puts(&b, "<stream:features>");
    if (st->state == STREAM_INSECURE)
        buf_puts(&b, "<starttls xmlns=\"" NS_TLS "\"><required/></starttls>");
    else if (st->state == STREAM_UNKNOWN)
        put_mechanisms(st, &b);
    else
        buf_puts(&b, "<bind xmlns=\"" NS_BIND "\"/>"
                     "<session xmlns=\"" NS_SESSION "\"><optional/></session>"
                     "<sm xmlns=\"" NS_SM "\"/><sub xmlns=\"" NS_PREAPPROVAL "\"/>");
    buf_puts(&b, "</stream:features>");
    stream_write(st, buf_str(&b));
    buf_done(&b);
}

/* ---- STARTTLS ---- */

static void starttls(struct stream *st)
{
    struct router *r = st->router;

    stream_write(st, STR("<proceed xmlns=\"" NS_TLS "\"/>"));
    r->ops->starttls(r->ctx, st->id);
    st->state = STREAM_OPENING;
}

static void insecure_element(struct stream *st, struct arena *arena, struct xml_node *node)
{
    (void)arena;
    if (xml_is(node, NS_TLS, "starttls"))
        starttls(st);
    else
        stream_fail(st, "policy-violation", "use STARTTLS first");
}

/* ---- SASL ---- */

static void end_exchange(struct stream *st)
{
    sasl_free(st->sasl);
    st->sasl = NULL;
}

static void sasl_refuse(struct stream *st, const char *condition)
{
    struct buf b;

    end_exchange(st);
    count_metric(st->router, METRIC_LOGINS_FAILED, 1);
    buf_init(&b, FEATURES_MAX);
    buf_printf(&b, "<failure xmlns=\"" NS_SASL "\"><%s/></failure>", condition);
    stream_write(st, buf_str(&b));
    buf_done(&b);
    if (++st->failures >= FAILURES_MAX)
        stream_fail(st, "policy-violation", "too many failed attempts");
}

static void sasl_say(struct stream *st, const char *element, struct str data)
{
    struct buf b;

    buf_init(&b, FEATURES_MAX);
    buf_printf(&b, "<%s xmlns=\"" NS_SASL "\"", element);
    if (str_empty(data)) {
        buf_puts(&b, "/>");
    } else {
        buf_put_c(&b, '>');
        digest_base64(&b, data);
        buf_printf(&b, "</%s>", element);
    }
    stream_write(st, buf_str(&b));
    buf_done(&b);
}

static void sasl_succeed(struct stream *st, struct str data)
{
    struct router *r = st->router;

    count_metric(r, METRIC_LOGINS, 1);
    st->aor = str_dup(sasl_user(st->sasl));
    end_exchange(st);
    sasl_say(st, "success", data);
    st->state = STREAM_PROVED;
    r->ops->restart(r->ctx, st->id);
    r->ops->limit(r->ctx, st->id, r->params->routerd_stanza_bytes_max);
}

static void sasl_input(struct stream *st, struct str encoded)
{
    struct buf in, out;

    buf_init(&in, SASL_MESSAGE_MAX);
    buf_init(&out, SASL_MESSAGE_MAX);
    if (!str_eq_c(encoded, "=") && !digest_unbase64(&in, encoded)) {
        sasl_refuse(st, "incorrect-encoding");
    } else {
        switch (sasl_step(st->sasl, buf_str(&in), &out)) {
        case SASL_CHALLENGE:
            sasl_say(st, "challenge", buf_str(&out));
            break;
        case SASL_SUCCESS:
            sasl_succeed(st, buf_str(&out));
            break;
        case SASL_FAILURE:
            sasl_refuse(st, sasl_condition(st->sasl));
            break;
        }
    }
    buf_done(&in);
    buf_done(&out);
}

static void sasl_auth(struct stream *st, struct arena *arena, struct xml_node *node)
{
    struct router *r = st->router;
    struct sasl_config config = sasl_config_of(st);
    struct str text = str_trim(xml_text(arena, node));

    end_exchange(st);
    if (directory_count(r->directory) == 0) { /* not loaded yet */
        sasl_refuse(st, "temporary-auth-failure");
        return;
    }
    r->ops->random(r->ctx, config.nonce, sizeof(config.nonce));
    st->sasl = sasl_new(&config, xml_get(node, "mechanism"));
    if (!st->sasl)
        sasl_refuse(st, "invalid-mechanism");
    else if (str_empty(text)) /* no initial response: RFC 6120, 6.4.2 */
        sasl_say(st, "challenge", str_of(""));
    else
        sasl_input(st, text);
}

static void unknown_element(struct stream *st, struct arena *arena, struct xml_node *node)
{
    if (xml_is(node, NS_SASL, "auth"))
        sasl_auth(st, arena, node);
    else if (xml_is(node, NS_SASL, "response") && st->sasl)
        sasl_input(st, str_trim(xml_text(arena, node)));
    else if (xml_is(node, NS_SASL, "abort"))
        sasl_refuse(st, "aborted");
    else if (xml_is(node, NS_SASL, "response"))
        sasl_refuse(st, "malformed-request");
    else if (xml_is(node, NS_TLS, "starttls"))
        stream_fail(st, "policy-violation", "there is TLS already");
    else
        stream_fail(st, "not-authorized", NULL);
}

/* ---- binding ---- */

static bool wanted_jid(struct stream *st, struct arena *arena, struct xml_node *iq,
                       struct jid *ret_jid)
{
    struct router *r = st->router;
    struct str resource =
        xml_text(arena, xml_child(xml_child(iq, NS_BIND, "bind"), NS_BIND, "resource"));
    uint8_t random[8];
    char hex[2 * sizeof(random) + 1];
    struct buf text;
    bool ok;

    if (str_empty(resource) || str_eq_c(resource, "sip")) { /* which stands for SIP devices */
        r->ops->random(r->ctx, random, sizeof(random));
        digest_to_hex(str_of_bytes(random, sizeof(random)), hex);
        resource = str_of(hex);
    }
    buf_init(&text, (size_t)2 * JID_MAX);
    buf_puts(&text, st->aor);
    buf_put_c(&text, '/');
    buf_put_str(&text, resource);
    ok = jid_parse(arena, buf_str(&text), ret_jid) == 0;
    buf_done(&text);
    return ok;
}

/* One resource, one session: the new one wins (RFC 6120, 7.7.2.2). */
static void end_conflicting(struct account *a, struct str resource)
{
    struct session *old = session_of(a, resource);

    if (!old)
        return;
    if (old->stream) {
        struct stream *st = old->stream;

        st->session = NULL;
        old->stream = NULL;
        stream_fail(st, "conflict", NULL);
    }
    session_end(old);
}

static void bind_resource(struct stream *st, struct arena *arena, struct xml_node *iq)
{
    struct account *a = account_get(st->router, str_of(st->aor));
    struct xml_node *bind, *reply;
    struct session *s;
    struct jid jid;

    if (!wanted_jid(st, arena, iq, &jid)) {
        stream_send(st, stanza_error(arena, iq, STANZA_BAD_REQUEST));
        return;
    }
    end_conflicting(a, jid.resource);
    s = session_new(a, jid.full, st);
    if (!s) {
        stream_send(st, stanza_error(arena, iq, STANZA_RESOURCE_CONSTRAINT));
        return;
    }
    st->state = STREAM_BOUND;
    timer_clear(&st->router->timers, &st->timer);
    reply = stanza_result(arena, iq);
    bind = xml_add(arena, reply, STR(NS_BIND), STR("bind"));
    xml_add_text(arena, xml_add(arena, bind, STR(NS_BIND), STR("jid")), jid.full);
    stream_send(st, reply);
}

/* ---- where the user is served ---- */

static void hold(struct stream *st, const struct xml_node *node)
{
    struct held **at = &st->held;
    size_t count = 0;

    for (; *at; at = &(*at)->next)
        count++;
    if (count >= HELD_MAX) {
        stream_fail(st, "policy-violation", "wait for the answer");
        return;
    }
    *at = held_new(node);
    if (st->state == STREAM_HELD)
        return;
    st->state = STREAM_HELD;
    timer_set(&st->router->timers, &st->timer, mono_after(st->router->now.mono, HELD_MS));
}

static bool is_bind(const struct xml_node *node)
{
    return xml_is(node, NS_CLIENT, "iq") && str_eq_c(xml_get(node, "type"), "set") &&
           xml_child(node, NS_BIND, "bind");
}

/* The first two elements that need the user's session. */
static void unbound_element(struct stream *st, struct arena *arena, struct xml_node *node)
{
    uint32_t node_number = router_serving(st->router, str_of(st->aor));
    bool resume = xml_is(node, NS_SM, "resume");

    if (xml_is(node, NS_SM, "enable")) {
        stream_write(st, STR("<failed xmlns=\"" NS_SM "\"><unexpected-request xmlns=\"" NS_STANZAS
                             "\"/></failed>"));
    } else if (!resume && !is_bind(node)) {
        stream_fail(st, "not-authorized", "bind a resource first");
    } else if (node_number == 0) {
        hold(st, node);
    } else if (node_number != st->router->view.self) {
        stream_see_other(st, node_number);
    } else if (resume) {
        sm_resume(st, node);
    } else {
        bind_resource(st, arena, node);
    }
}

/* Goes through what waited; the list may be held anew from any point. */
static void release_held(struct stream *st)
{
    struct held *list = st->held;

    st->held = NULL;
    st->state = STREAM_UNBOUND;
    while (list) {
        struct held *h = list;

        list = h->next;
        h->next = NULL;
        if (st->state != STREAM_CLOSING)
            stream_on_stanza(st->router, st->id, &h->arena, h->node);
        held_free(h);
    }
}

void negotiate_held(struct router *r)
{
    struct stream *st, *next;

    for (st = r->streams; st; st = next) {
        next = st->hh.next;
        if (st->state == STREAM_HELD && router_serving(r, str_of(st->aor)))
            release_held(st);
    }
}

void negotiate_done(struct stream *st)
{
    while (st->held) {
        struct held *h = st->held;

        st->held = h->next;
        held_free(h);
    }
}

void negotiate_element(struct stream *st, struct arena *arena, struct xml_node *node)
{
    switch (st->state) {
    case STREAM_INSECURE:
        insecure_element(st, arena, node);
        break;
    case STREAM_UNKNOWN:
        unknown_element(st, arena, node);
        break;
    case STREAM_UNBOUND:
        unbound_element(st, arena, node);
        break;
    case STREAM_HELD:
        hold(st, node);
        break;
    case STREAM_OPENING:
    case STREAM_PROVED:
    case STREAM_BOUND:
    case STREAM_LEAVING:
    case STREAM_CLOSING:
        break;
    }
}
