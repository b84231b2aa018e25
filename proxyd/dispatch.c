// SPDX-License-Identifier: Apache-2.0
/*
 * What is done with a request, in the order of RFC 3261, 8.2: is it well-formed, is its method
 * ours, can we do what it requires, who sent it, who serves its user.
 */
#include "proxyd/proxy_private.h"

static const char allowed[] = "OPTIONS, REGISTER, PUBLISH, SUBSCRIBE, MESSAGE";

static struct sip_msg *request_of(struct sip_server *s)
{
    /* Its arena is ours to use; what was parsed is not changed. */
    return (struct sip_msg *)sip_server_request(s);
}

/* ---- who sent it ---- */

static void challenge(struct proxy *p, struct sip_server *s, enum auth_verdict verdict)
{
    struct buf out;

    proxy_begin_reply(p, s, 401, NULL, &out);
    auth_put_challenge(&out, &p->auth, sip_server_request(s), verdict, p->now.unix_ms);
    proxy_end_reply(p, s, 401, &out);
}

/* What a node of ours says of the sender (RFC 3325); only ever asked for on its connection. */
static const struct user *asserted(const struct proxy *p, struct sip_msg *m)
{
    struct sip_addr identity;
    struct str aor;

    if (!sip_addr_parse(sip_msg_value(m, SIP_HEADER_P_ASSERTED_IDENTITY), &identity) ||
        !proxy_local_aor(p, m, &identity.uri, &aor))
        return NULL;
    return directory_find(p->config.users, aor);
}

const struct user *dispatch_authenticate(struct proxy *p, struct sip_server *s)
{
    struct sip_msg *m = request_of(s);
    const struct user *user = NULL;
    enum auth_verdict verdict;
    struct str from;

    if (m->flow.transport == SIP_PEER) {
        user = asserted(p, m);
        if (!user)
            proxy_reply(p, s, 403, "Unknown Identity");
        return user;
    }
    verdict = auth_check(&p->auth, p->config.users, m, p->now.unix_ms, &user);
    if (verdict != AUTH_OK) {
        challenge(p, s, verdict);
        return NULL;
    }
    if (!proxy_local_aor(p, m, &m->from.uri, &from) || !str_eq_c(from, user->aor)) {
        proxy_reply(p, s, 403, "From Is Not Who You Are");
        return NULL;
    }
    return user;
}

/* ---- who serves it ---- */

static void serve(struct proxy *p, struct sip_server *s, struct str user, struct str target)
{
    switch (sip_server_request(s)->method) {
    case SIP_REGISTER:
        register_request(p, s, target);
        break;
    case SIP_PUBLISH:
        pending_start(p, PENDING_PUBLISH, s, user, target);
        break;
    default:
        pending_start(p, PENDING_SUBSCRIBE, s, user, target);
    }
}

void dispatch_to_server(struct proxy *p, struct sip_server *s, struct str user, struct str target)
{
    const struct user *owner = directory_find(p->config.users, target);
    const struct sip_msg *m = sip_server_request(s);
    uint32_t node = owner ? proxy_serving(p, owner) : 0;

    if (!owner)
        proxy_reply(p, s, 404, NULL);
    else if (node == p->config.view->self && node)
        serve(p, s, user, target);
    else if (node == 0 || m->flow.transport == SIP_PEER)
        proxy_reply_later(p, s); /* the other node's view is another one: soon we agree */
    else if (m->max_forwards == 0)
        proxy_reply(p, s, 483, NULL);
    else
        forward_start(p, s, node, user, target);
}

/* ---- one function a method ---- */

static void on_options(struct proxy *p, struct sip_server *s)
{
    struct buf out;

    proxy_begin_reply(p, s, 200, NULL, &out);
    sip_put_field(&out, SIP_HEADER_ALLOW, STR(allowed));
    sip_put_field(&out, SIP_HEADER_ACCEPT,
                  STR("application/pidf+xml, text/plain, text/html, message/cpim"));
    buf_puts(&out, "Allow-Events: presence\r\n");
    proxy_end_reply(p, s, 200, &out);
}

/* For requests that only the user whom the URI names may make. */
static void to_own_server(struct proxy *p, struct sip_server *s, const struct sip_uri *uri,
                          const char *refusal)
{
    const struct user *user = dispatch_authenticate(p, s);
    struct str aor;

    if (!user)
        return;
    if (!proxy_local_aor(p, request_of(s), uri, &aor))
        proxy_reply(p, s, 404, NULL);
    else if (!str_eq_c(aor, user->aor))
        proxy_reply(p, s, 403, refusal);
    else
        dispatch_to_server(p, s, aor, aor);
}

static void on_register(struct proxy *p, struct sip_server *s)
{
    struct sip_msg *m = request_of(s);

    if (!proxy_is_local_host(p, m->uri.host)) {
        proxy_reply(p, s, 404, "Not Our Domain");
        return;
    }
    to_own_server(p, s, &m->to.uri, "Not Your Address Of Record");
}

/* Event: presence, the one package that we have (RFC 3856). */
static bool check_event(struct proxy *p, struct sip_server *s)
{
    struct str event = sip_msg_value(sip_server_request(s), SIP_HEADER_EVENT);
    struct buf out;

    if (str_ieq_c(sip_value_bare(event), "presence"))
        return true;
    proxy_begin_reply(p, s, 489, NULL, &out);
    buf_puts(&out, "Allow-Events: presence\r\n");
    proxy_end_reply(p, s, 489, &out);
    return false;
}

static void on_publish(struct proxy *p, struct sip_server *s)
{
    if (!check_event(p, s))
        return;
    to_own_server(p, s, &request_of(s)->uri, "Not Your Presence");
}

static void on_subscribe(struct proxy *p, struct sip_server *s)
{
    struct sip_msg *m = request_of(s);
    const struct user *user;
    struct sip_addr contact;
    struct str aor;

    if (!check_event(p, s))
        return;
    if (!sip_addr_parse(sip_msg_value(m, SIP_HEADER_CONTACT), &contact) ||
        contact.uri.scheme == SIP_SCHEME_OTHER) {
        proxy_reply(p, s, 400, "Missing Or Malformed Contact");
        return;
    }
    user = dispatch_authenticate(p, s);
    if (!user)
        return;
    /* Within a dialog the Request-URI is a node's Contact; the To still names the presentity. */
    if (!proxy_local_aor(p, m, m->to.tag.len ? &m->to.uri : &m->uri, &aor))
        proxy_reply(p, s, 404, NULL);
    else
        dispatch_to_server(p, s, str_of(user->aor), aor);
}

static bool is_im_type(struct str type)
{
    return type.len == 0 || str_ieq_c(type, "text/plain") || str_ieq_c(type, "text/html") ||
           str_ieq_c(type, "message/cpim");
}

static void on_message(struct proxy *p, struct sip_server *s)
{
    struct sip_msg *m = request_of(s);
    const struct user *user;
    struct buf out;
    struct str aor;

    if (!is_im_type(sip_value_bare(sip_msg_value(m, SIP_HEADER_CONTENT_TYPE)))) {
        proxy_begin_reply(p, s, 415, NULL, &out);
        sip_put_field(&out, SIP_HEADER_ACCEPT, STR("text/plain, text/html, message/cpim"));
        proxy_end_reply(p, s, 415, &out);
        return;
    }
    if (m->to.tag.len) {
        proxy_reply(p, s, 481, NULL);
        return;
    }
    user = dispatch_authenticate(p, s);
    if (!user)
        return;
    if (!proxy_local_aor(p, m, &m->uri, &aor))
        proxy_reply(p, s, 404, NULL);
    else
        pending_start(p, PENDING_IM, s, str_of(user->aor), aor);
}

static void on_cancel(struct proxy *p, struct sip_server *s)
{
    bool found = sip_tx_cancels(p->transactions, sip_server_request(s));

    /* An INVITE is refused at once, so there is nothing left to be cancelled (RFC 3261, 9.2). */
    proxy_reply(p, s, found ? 200 : 481, NULL);
}

/* We have no such dialogs, not even when somebody thinks so. */
static void on_stray(struct proxy *p, struct sip_server *s)
{
    proxy_reply(p, s, 481, NULL);
}

static void on_other(struct proxy *p, struct sip_server *s)
{
    struct buf out;

    proxy_begin_reply(p, s, 405, NULL, &out);
    sip_put_field(&out, SIP_HEADER_ALLOW, STR(allowed));
    proxy_end_reply(p, s, 405, &out);
}

/* ---- what every request must stand ---- */

/* We have no extension that a request may require. */
static bool check_require(struct proxy *p, struct sip_server *s)
{
    static const enum sip_header_id ids[] = {SIP_HEADER_REQUIRE, SIP_HEADER_PROXY_REQUIRE};
    const struct sip_msg *m = sip_server_request(s);
    struct buf out;

    if (m->method == SIP_CANCEL || (!sip_msg_find(m, ids[0]) && !sip_msg_find(m, ids[1])))
        return true;
    proxy_begin_reply(p, s, 420, NULL, &out);
    for (size_t i = 0; i < ARRAY_LEN(ids); i++) {
        struct sip_walk walk = {0};
        struct str tag;

        while (sip_msg_next(m, ids[i], &walk, &tag))
            sip_put_field(&out, SIP_HEADER_UNSUPPORTED, tag);
    }
    proxy_end_reply(p, s, 420, &out);
    return false;
}

static bool check_encoding(struct proxy *p, struct sip_server *s)
{
    struct str encoding = sip_msg_value(sip_server_request(s), SIP_HEADER_CONTENT_ENCODING);
    struct buf out;

    if (encoding.len == 0 || str_ieq_c(encoding, "identity"))
        return true;
    proxy_begin_reply(p, s, 415, NULL, &out);
    buf_puts(&out, "Accept-Encoding: identity\r\n");
    proxy_end_reply(p, s, 415, &out);
    return false;
}

typedef void method_cb(struct proxy *p, struct sip_server *s);

void dispatch(struct proxy *p, struct sip_server *s)
{
    static method_cb *const methods[] = {
        [SIP_OTHER_METHOD] = on_other, [SIP_INVITE] = on_other,
        [SIP_ACK] = on_other, /* never comes: transactions absorb it */
        [SIP_BYE] = on_stray,          [SIP_CANCEL] = on_cancel,
        [SIP_OPTIONS] = on_options,    [SIP_REGISTER] = on_register,
        [SIP_PUBLISH] = on_publish,    [SIP_SUBSCRIBE] = on_subscribe,
        [SIP_NOTIFY] = on_stray,       [SIP_MESSAGE] = on_message,
    };
    const struct sip_msg *m = sip_server_request(s);

    if (m->refusal.code)
        proxy_reply(p, s, m->refusal.code, m->refusal.reason);
    else if (!forward_relay(p, s) && check_require(p, s) && check_encoding(p, s))
        methods[m->method](p, s);
}
