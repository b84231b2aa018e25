// SPDX-License-Identifier: Apache-2.0
/*
 * Requests for users whom another node serves: passed on to it over mutual TLS, with the identity
 * that we have verified, and its answer passed back (RFC 3261, 16, statefully; RFC 3325).
 */
#include <utlist.h>

#include "proxyd/proxy_private.h"

static void free_forward(struct forward *f)
{
    DL_DELETE(f->proxy->forwards, f);
    disown(f->user);
    disown(f->target);
    mem_free(f);
}

static void pass_back(struct proxy *p, struct sip_server *s, const struct sip_msg *response)
{
    struct buf out;

    buf_init(&out, 2 * SIP_MESSAGE_MAX);
    sip_put_passed_back(&out, response);
    sip_put_body_of(&out, response);
    metrics_add(p->config.metrics, METRIC_SIP_RESPONSES, 1);
    sip_server_reply(s, response->status, buf_str(&out), p->now.mono);
    buf_done(&out);
}

static void on_response(void *ctx, unsigned code, const struct sip_msg *response, mono_t now)
{
    struct forward *f = ctx;
    struct proxy *p = f->proxy;
    struct sip_server *s = f->server;

    (void)now;
    if (code < 200)
        return;
    free_forward(f);
    if (response)
        pass_back(p, s, response);
    else
        proxy_reply_later(p, s);
}

static void put_request(struct forward *f, const struct sip_flow *to, struct str branch,
                        struct buf *out)
{
    struct sip_address self = proxy_self(f->proxy, SIP_PEER);
    const struct sip_msg *m = sip_server_request(f->server);

    sip_put_forwarded(out, m, to->transport, &self, branch);
    buf_puts(out, "P-Asserted-Identity: <");
    sip_uri_put_aor(out, f->user);
    buf_puts(out, ">\r\n");
    sip_put_body_of(out, m);
}

static bool start(struct forward *f, const struct view_node *node)
{
    struct proxy *p = f->proxy;
    struct sip_flow to = {.transport = SIP_PEER, .remote.port = p->config.port_peer};
    char tag[TAG_CHARS + 1], branch[TAG_CHARS + 8] = "z9hG4bK";
    struct buf out;

    proxy_tag(p, tag);
    for (size_t i = 0; i < sizeof(tag); i++)
        branch[7 + i] = tag[i];
    for (size_t i = 0; i + 1 < sizeof(to.remote.host) && node->address[i]; i++)
        to.remote.host[i] = node->address[i];
    buf_init(&out, 2 * SIP_MESSAGE_MAX);
    put_request(f, &to, str_of(branch), &out);
    f->client = sip_client_start(p->transactions,
                                 &(struct sip_client_config){
                                     .method = sip_server_request(f->server)->method,
                                     .branch = str_of(branch),
                                     .to = to,
                                     .bytes = buf_str(&out),
                                     .on_response = on_response,
                                     .ctx = f,
                                 },
                                 p->now.mono);
    buf_done(&out);
    return f->client != NULL;
}

void forward_start(struct proxy *p, struct sip_server *s, uint32_t node, struct str user,
                   struct str target)
{
    const struct view_node *to = view_find(p->config.view, node);
    struct forward *f = mem_new(sizeof(*f));

    f->proxy = p;
    f->server = s;
    f->node = node;
    f->user = own(user);
    f->target = own(target);
    DL_APPEND(p->forwards, f);
    if (to && start(f, to))
        return;
    free_forward(f);
    proxy_reply_later(p, s);
}

void forward_view(struct proxy *p)
{
    struct forward *f, *next;

    for (f = p->forwards; f; f = next) {
        const struct user *owner = directory_find(p->config.users, f->target);
        struct str user = f->user, target = f->target;
        struct sip_server *s = f->server;

        next = f->next;
        if (owner && proxy_serving(p, owner) == f->node)
            continue;
        sip_client_cancel(f->client);
        f->user = f->target = (struct str){NULL, 0};
        free_forward(f);
        dispatch_to_server(p, s, user, target);
        disown(user);
        disown(target);
    }
}

void forward_free_all(struct proxy *p)
{
    while (p->forwards)
        free_forward(p->forwards);
}
