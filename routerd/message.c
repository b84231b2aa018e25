// SPDX-License-Identifier: Apache-2.0
/*
 * Messages of clients: cleaned, named, and submitted as an IM.
 */
#include "common/digest.h"
#include "common/util.h"
#include "routerd/client.h"
#include "routerd/im.h"
#include "routerd/ns.h"
#include "routerd/session.h"
#include "routerd/sm.h"

enum {
    IMS_PENDING_MAX = 5000,
    IMS_PENDING_BYTES_MAX = 8 << 20,
    ID_MAX = 256,
    HEX_LEN = 32,
    IM_BYTES_MAX = 900000, /* so that an envelope holds it, text and stanza */
};

/* Does this JID name our domain or one of its users? */
static bool is_ours(const struct router *r, struct str jid)
{
    return str_eq(jid_split(jid).domain, r->domain);
}

/* Takes out what only we may say: stanza-ids and delays in our name (XEP-0359, XEP-0203). */
static void clean(const struct router *r, struct xml_node *message)
{
    struct xml_node *child = xml_first(message);

    while (child) {
        struct xml_node *next = xml_next(child);

        if ((xml_is(child, NS_STANZA_ID, "stanza-id") && is_ours(r, xml_get(child, "by"))) ||
            (xml_is(child, NS_DELAY, "delay") && is_ours(r, xml_get(child, "from"))))
            xml_remove(child);
        child = next;
    }
}

static void put_digest(struct buf *b, struct str text)
{
    uint8_t digest[DIGEST_BYTES_MAX];
    char hex[HEX_LEN + 1];

    digest_raw(DIGEST_SHA256, text, digest);
    digest_to_hex(str_of_bytes(digest, HEX_LEN / 2), hex);
    buf_puts(b, hex);
}

/*
 * The name by which a second copy is recognised. An origin-id is unique by its definition. Many
 * clients begin the ids of their stanzas anew in each session, so the text counts too: the same id
 * with another text is another message. A message without any id is named by its number in the
 * stream, which a client that resumes repeats; failing that, by chance, so that at least our own
 * repetitions between nodes are recognised.
 */
static void put_id(struct buf *b, struct inbound *in, struct str body)
{
    struct str origin = xml_get(xml_child(in->node, NS_STANZA_ID, "origin-id"), "id");
    struct session *s = in->session;
    uint8_t random[HEX_LEN / 2];
    char hex[HEX_LEN + 1];

    if (!str_empty(origin) && origin.len <= ID_MAX) {
        buf_put_str(b, origin);
        return;
    }
    if (!str_empty(in->id) && in->id.len <= ID_MAX) {
        buf_put_str(b, in->id);
    } else if (in->number) {
        buf_printf(b, "%s-%llu", s->sm.id, (unsigned long long)in->number);
    } else {
        s->router->ops->random(s->router->ctx, random, sizeof(random));
        digest_to_hex(str_of_bytes(random, sizeof(random)), hex);
        buf_puts(b, hex);
        return;
    }
    if (!str_empty(body)) {
        buf_put_c(b, '-');
        put_digest(b, body);
    }
}

static struct origin origin_of(const struct inbound *in, size_t bytes)
{
    struct session *s = in->session;

    s->ims_pending++;
    s->ims_pending_bytes += bytes;
    return (struct origin){
        .kind = IM_OF_SESSION,
        .number = s->number,
        .era = s->sm.in_era,
        .stanza = in->number,
        .stanza_id = str_dup(in->id),
        .bytes = bytes,
        .quiet = str_eq_c(in->type, "error"),
    };
}

static void submit(struct inbound *in, const struct buf *xml, const struct buf *id, struct str body)
{
    static char plain[] = "text/plain", none[] = "";
    struct router *r = in->session->router;
    Muster__Im im = MUSTER__IM__INIT;
    char *to = str_dup(in->to.full);
    char *type = str_dup(in->type);

    im.from = in->session->jid;
    im.to = to;
    im.id = id->data;
    im.content_type = body.len ? plain : none;
    im.body = (ProtobufCBinaryData){body.len, (uint8_t *)body.p};
    im.stanza = (ProtobufCBinaryData){xml->len, (uint8_t *)xml->data};
    im.sent_unix_ms = r->now.unix_ms;
    im.type = type;
    im_submit(r, &im, origin_of(in, xml->len + body.len));
    mem_free(to);
    mem_free(type);
}

void client_message(struct inbound *in)
{
    struct session *s = in->session;
    struct str body = xml_text(in->arena, xml_child(in->node, NS_CLIENT, "body"));
    struct buf xml, id;

    if (str_empty(in->to.local)) {
        client_refuse(in, STANZA_SERVICE_UNAVAILABLE);
        return;
    }
    if (s->ims_pending >= IMS_PENDING_MAX || s->ims_pending_bytes >= IMS_PENDING_BYTES_MAX) {
        client_refuse(in, STANZA_RESOURCE_CONSTRAINT);
        return;
    }
    clean(s->router, in->node);
    buf_init(&xml, STANZA_BYTES_MAX);
    buf_init(&id, (size_t)2 * ID_MAX);
    stanza_print(&xml, in->node);
    put_id(&id, in, body);
    if (xml.full || xml.len + body.len > IM_BYTES_MAX)
        client_refuse(in, STANZA_POLICY_VIOLATION);
    else
        submit(in, &xml, &id, body);
    buf_done(&xml);
    buf_done(&id);
}
