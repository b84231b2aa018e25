// SPDX-License-Identifier: Apache-2.0
/*
 * Requests that we pass on, and their answers back (RFC 3261, 16, statefully).
 *
 * For users whom another node serves: to that node, over mutual TLS, with the identity that we have
 * verified (RFC 3325). And the other way: what a node sends to a device of a user of its, whose
 * connection we have; it asks for that by a Route that names the connection (as RFC 5626, 5.3, does
 * with a flow token).
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

static void put_request(const struct forward *f, const struct sip_flow *to, struct str branch,
                        struct buf *out)
{
    struct sip_address self = proxy_self(f->proxy, to->transport);
    const struct sip_msg *m = sip_server_request(f->server);

    sip_put_forwarded(out, m, to->transport, &self, branch);
    if (f->user.len) {
        buf_puts(out, "P-Asserted-Identity: <");
        sip_uri_put_aor(out, f->user);
        buf_puts(out, ">\r\n");
    }
    sip_put_body_of(out, m);
}

static void start(struct forward *f, const struct sip_flow *to)
{
    struct proxy *p = f->proxy;
    struct sip_server *s = f->server;
    char branch[TAG_CHARS + 8] = "z9hG4bK";
    struct buf out;

    DL_APPEND(p->forwards, f);
    proxy_tag(p, branch + 7);
    buf_init(&out, 2 * SIP_MESSAGE_MAX);
    put_request(f, to, str_of(branch), &out);
    f->client = sip_client_start(p->transactions,
                                 &(struct sip_client_config){
                                     .method = sip_server_request(s)->method,
                                     .branch = str_of(branch),
                                     .to = *to,
                                     .bytes = buf_str(&out),
                                     .on_response = on_response,
                                     .ctx = f,
                                 },
                                 p->now.mono);
    buf_done(&out);
    if (f->client)
        return;
    free_forward(f);
    proxy_reply_later(p, s);
}

/* ---- to the node that serves ---- */

void forward_start(struct proxy *p, struct sip_server *s, uint32_t node, struct str user,
                   struct str target)
{
    const struct view_node *serving = view_find(p->config.view, node);
    struct sip_flow to = {.transport = SIP_PEER};
    struct forward *f;

    if (!serving) {
        proxy_reply_later(p, s);
        return;
    }
    to.remote = proxy_node_address(p, serving);
    f = mem_new(sizeof(*f));
    f->proxy = p;
    f->server = s;
    f->node = node;
    f->user = own(user);
    f->target = own(target);
    start(f, &to);
}

void forward_view(struct proxy *p)
{
    struct forward *f, *next;

    for (f = p->forwards; f; f = next) {
        const struct user *owner = directory_find(p->config.users, f->target);
        struct str user = f->user, target = f->target;
        struct sip_server *s = f->server;

        next = f->next;
        if (f->node == 0 || (owner && proxy_serving(p, owner) == f->node))
            continue;
        sip_client_cancel(f->client);
        f->user = f->target = (struct str){NULL, 0};
        free_forward(f);
        dispatch_to_server(p, s, user, target);
        disown(user);
        disown(target);
    }
}

/* ---- to the client whose connection we have ---- */

void forward_put_route(struct buf *out, const struct sip_address *node,
                       enum sip_transport transport, struct str client)
{
    buf_puts(out, "Route: <sip:");
    sip_put_host(out, str_of(node->host));
    buf_printf(out, ":%u;lr;flow=%s/", node->port, proxy_transport_text(transport));
    buf_put_str(out, client);
    buf_puts(out, ">\r\n");
}

/* Of "tcp/192.0.2.1:40001". */
static bool read_flow(struct str text, struct sip_flow *ret_flow)
{
    struct str transport, address;

    if (!str_cut(text, '/', &transport, &address) ||
        !proxy_read_address(address, &ret_flow->remote))
        return false;
    ret_flow->transport = proxy_transport_of(transport);
    return ret_flow->transport != SIP_UDP;
}

bool forward_relay(struct proxy *p, struct sip_server *s)
{
    const struct sip_msg *m = sip_server_request(s);
    struct sip_flow to = {.connection = 0};
    struct sip_addr route;
    struct forward *f;
    struct str flow;

    if (m->flow.transport != SIP_PEER ||
        !sip_addr_parse(sip_msg_value(m, SIP_HEADER_ROUTE), &route) ||
        !sip_param(route.uri.params, "flow", &flow) || !read_flow(flow, &to))
        return false;
    to.connection = p->config.ops->connection(p->config.ctx, to.transport, &to.remote);
    if (to.connection == 0) {
        proxy_reply(p, s, 430, NULL);
    } else if (m->max_forwards == 0) {
        proxy_reply(p, s, 483, NULL);
    } else {
        f = mem_new(sizeof(*f));
        f->proxy = p;
        f->server = s;
        start(f, &to);
    }
    return true;
}

void forward_free_all(struct proxy *p)
{
    while (p->forwards)
        free_forward(p->forwards);
}
