// SPDX-License-Identifier: Apache-2.0
/*
 * REGISTER of a user who is served here: the registrar does it, the replica makes it last, then
 * 200.
 */
#include <utlist.h>

#include "proxyd/proxy_private.h"

/* An answer that waits until both memories hold what it says. */
struct committing {
    struct proxy *proxy;
    struct sip_server *server;
    struct buf out;
    struct committing *prev, *next;
};

static void on_committed(void *ctx)
{
    struct committing *c = ctx;

    DL_DELETE(c->proxy->committing, c);
    proxy_end_reply(c->proxy, c->server, 200, &c->out);
    mem_free(c);
}

static void refuse(struct proxy *p, struct sip_server *s, const struct sip_refusal *refusal)
{
    struct buf out;

    if (refusal->code == 503) {
        proxy_reply_later(p, s);
        return;
    }
    proxy_begin_reply(p, s, refusal->code, refusal->reason, &out);
    if (refusal->code == 423)
        sip_put_number(&out, SIP_HEADER_MIN_EXPIRES,
                       (p->config.params.expires_min_ms + 999) / 1000);
    proxy_end_reply(p, s, refusal->code, &out);
}

void register_request(struct proxy *p, struct sip_server *s, struct str aor)
{
    const struct sip_msg *m = sip_server_request(s);
    struct sip_refusal refusal;
    struct committing *c;
    struct buf text;

    buf_init(&text, 1024);
    proxy_put_source(p, m, &text);
    refusal = registrar_register(p->registrar, aor, m,
                                 str_of(proxy_transport_text(proxy_client_transport(m))),
                                 buf_str(&text), p->now.mono);
    buf_done(&text);
    if (refusal.code) {
        refuse(p, s, &refusal);
        return;
    }
    c = mem_new(sizeof(*c));
    c->proxy = p;
    c->server = s;
    proxy_begin_reply(p, s, 200, NULL, &c->out);
    registrar_put_contacts(p->registrar, aor, &c->out);
    buf_puts(&c->out, "Date: ");
    sip_put_date(&c->out, p->now.unix_ms);
    buf_puts(&c->out, "\r\n");
    DL_APPEND(p->committing, c);
    replica_commit(p->config.replica, on_committed, c);
}

void register_free_all(struct proxy *p)
{
    struct committing *c;

    while ((c = p->committing)) {
        DL_DELETE(p->committing, c);
        buf_done(&c->out);
        mem_free(c);
    }
}
