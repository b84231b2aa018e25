// SPDX-License-Identifier: Apache-2.0
#include "routerd/dress.h"

#include <string.h>

#include "common/digest.h"
#include "common/jid.h"
#include "routerd/im.h"
#include "routerd/known.h"
#include "routerd/ns.h"
#include "routerd/stanza.h"

enum { CHILD_MAX = 8192, ID_BYTES = 16 };

bool dress_is_readable(const Muster__Im *im)
{
    return im->stanza.len || str_istarts(str_of(im->content_type), STR("text/plain"));
}

static void put_attribute(struct buf *b, const char *name, struct str value)
{
    buf_printf(b, " %s=\"", name);
    xml_escape(b, value);
    buf_put_c(b, '"');
}

/* Of a SIP MESSAGE: it comes from the resource that stands for the sender's SIP devices. */
static void put_sip(struct buf *b, const Muster__Im *im)
{
    struct str body = str_of_bytes(im->body.data, im->body.len);

    buf_puts(b, "<message from=\"");
    xml_escape(b, str_of(im->from));
    if (!strchr(im->from, '/'))
        buf_puts(b, "/sip");
    buf_put_c(b, '"');
    if (im->id[0])
        put_attribute(b, "id", im_id(im));
    put_attribute(b, "to", str_of(im->to));
    buf_puts(b, " type=\"chat\"><body>");
    xml_escape(b, str_utf8(body) ? body : STR("(not readable)"));
    buf_puts(b, "</body></message>");
}

static void put_id_begin(struct buf *b, const Muster__Im *im)
{
    buf_puts(b, "<stanza-id xmlns=\"" NS_STANZA_ID "\"");
    put_attribute(b, "by", jid_bare(str_of(im->to)));
}

/* The same for the same IM, so that a resent one has it too. */
static void put_id_end(struct buf *b, const Muster__Im *im)
{
    struct str key = known_key(im);
    uint8_t digest[DIGEST_BYTES_MAX];
    char hex[2 * ID_BYTES + 1];

    digest_raw(DIGEST_SHA256, key, digest);
    digest_to_hex(str_of_bytes(digest, ID_BYTES), hex);
    put_attribute(b, "id", str_of(hex));
    buf_puts(b, "/>");
    mem_free((void *)key.p);
}

static bool contains(struct str text, struct str part)
{
    return memmem(text.p, text.len, part.p, part.len) != NULL;
}

static void add(struct buf *xml, struct str child)
{
    struct buf with;

    buf_init(&with, xml->max);
    stanza_insert(&with, buf_str(xml), child);
    buf_done(xml);
    *xml = with;
}

/* Not yet dressed: no client can have written what begins so, as message.c takes out what names our
 * domain. */
static void add_id(struct buf *xml, const Muster__Im *im)
{
    struct buf child;

    buf_init(&child, CHILD_MAX);
    put_id_begin(&child, im);
    if (!contains(buf_str(xml), buf_str(&child))) {
        put_id_end(&child, im);
        add(xml, buf_str(&child));
    }
    buf_done(&child);
}

static void add_delay(struct buf *xml, const struct router *r, const Muster__Im *im)
{
    struct buf child;

    buf_init(&child, CHILD_MAX);
    stanza_delay(&child, r->domain, im->sent_unix_ms);
    if (!contains(buf_str(xml), buf_str(&child)))
        add(xml, buf_str(&child));
    buf_done(&child);
}

bool dress_begin(struct buf *ret_xml, struct router *r, const Muster__Im *im, bool late)
{
    struct buf xml;

    if (!dress_is_readable(im))
        return false;
    buf_init(&xml, STANZA_BYTES_MAX + CHILD_MAX);
    if (im->stanza.len)
        buf_put(&xml, im->stanza.data, im->stanza.len);
    else
        put_sip(&xml, im);
    if (im->id[0])
        add_id(&xml, im);
    if (late)
        add_delay(&xml, r, im);
    if (xml.full) {
        buf_done(&xml);
        return false;
    }
    *ret_xml = xml;
    return true;
}
