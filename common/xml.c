// SPDX-License-Identifier: Apache-2.0
#include "common/xml.h"

#include <assert.h>
#include <string.h>

#include <libxml/parser.h>
#include <libxml/parserInternals.h>

#include "common/mem.h"
#include "common/util.h"

/*
 * Both parsers are one: SAX events of libxml2's push parser build trees. `base` is the depth at
 * which a tree begins: 0 for a document, 1 for a stream, whose root only opens and closes.
 *
 * Bounds. The bytes of a stanza are counted where libxml2 has consumed them, and what it has not
 * consumed yet counts for the next one, so neither its buffer nor our tree can outgrow the limit. A
 * node takes more memory than its shortest text (`<a/>`), so the arena has a limit of its own.
 *
 * libxml2 is stopped from within its callbacks, never freed there: feed() looks at `error` and
 * `restart` when it comes back.
 *
 * Between stanzas a stream has no parser, which takes more memory than all the rest of it and costs
 * little to make (15 KiB, 1.3 us). What a new one must know of the old is the root's name and
 * namespaces: `header` is a start tag that says so, and is replayed, unseen, before the next
 * stanza.
 */
enum { ARENA_FACTOR = 8, ARENA_EXTRA = 8192, PIECE_BYTES = 4096 };

struct xml_stream {
    const struct xml_stream_ops *ops;
    void *ctx;
    size_t stanza_bytes_max;
    unsigned base;

    xmlParserCtxtPtr parser; /* NULL until the first byte */
    uint64_t fed;            /* bytes given to `parser` */
    uint64_t mark;           /* bytes consumed when the last child of the root ended */
    unsigned depth;          /* open elements */
    struct buf header;       /* of a stream that is open: its root, for a new parser */
    struct arena *given;     /* of a document; NULL: each stanza has its own */
    struct arena *arena;     /* of the tree that grows */
    struct xml_node *at;     /* its innermost open element */
    struct buf text;         /* of `at`, since its last child: comes in pieces */
    int error;
    bool restart;
    bool closed; /* the root ended */
    bool feeding;
    bool replaying;
};

/* ---- what SAX events do ---- */

static void stop(struct xml_stream *s, int error)
{
    if (error && !s->error)
        s->error = error;
    xmlStopParser(s->parser);
}

static struct str str_of_xml(const xmlChar *text)
{
    return str_of((const char *)text);
}

static void free_tree(struct xml_stream *s)
{
    if (s->arena && s->arena != s->given) {
        arena_done(s->arena);
        mem_free(s->arena);
    }
    s->arena = NULL;
    s->at = NULL;
}

/* Bytes of the current child of the root, its still unparsed ones not counted. */
static uint64_t stanza_bytes(struct xml_stream *s)
{
    uint64_t consumed = (uint64_t)xmlByteConsumed(s->parser);

    return consumed > s->mark ? consumed - s->mark : 0;
}

/* Text comes in pieces; it becomes one node when the next element begins or `at` ends. */
static bool flush_text(struct xml_stream *s)
{
    bool done;

    if (s->text.full)
        return false;
    if (s->text.len == 0)
        return true;
    done = xml_add_text(s->arena, s->at, buf_str(&s->text));
    buf_done(&s->text);
    return done;
}

static bool add_attr(struct arena *a, struct xml_node *node, const xmlChar **attribute)
{
    struct str value = str_of_bytes(attribute[3], (size_t)(attribute[4] - attribute[3]));
    struct str name = arena_dup(a, str_of_xml(attribute[0]));
    struct str ns = arena_dup(a, str_of_xml(attribute[2]));

    return name.len <= XML_NAME_MAX && name.p && ns.p && xml_set_ns(a, node, ns, name, value);
}

static struct xml_node *make_node(struct arena *a, struct xml_node *parent, const xmlChar *name,
                                  const xmlChar *uri)
{
    struct str ns = str_of_xml(uri);
    struct str copy = arena_dup(a, str_of_xml(name));

    /* Most elements have the namespace of their parent: one copy of it will do. */
    ns = parent && str_eq(parent->ns, ns) ? parent->ns : arena_dup(a, ns);
    if (!ns.p || !copy.p || copy.len > XML_NAME_MAX)
        return NULL;
    return parent ? xml_add(a, parent, ns, copy) : xml_element(a, ns, copy);
}

static struct arena *new_arena(size_t bytes)
{
    struct arena *a = mem_new(sizeof(*a));

    arena_init(a, bytes * ARENA_FACTOR + ARENA_EXTRA);
    return a;
}

static bool open_element(struct xml_stream *s, const xmlChar *name, const xmlChar *uri,
                         int attribute_count, const xmlChar **attributes)
{
    struct xml_node *node;

    if (!s->arena)
        s->arena = s->given ? s->given : new_arena(s->stanza_bytes_max);
    if (!flush_text(s))
        return false;
    node = make_node(s->arena, s->at, name, uri);
    if (!node || attribute_count > XML_ATTRS_MAX)
        return false;
    for (int i = 0; i < attribute_count; i++)
        if (!add_attr(s->arena, node, &attributes[5 * (size_t)i]))
            return false;
    s->at = node;
    return true;
}

static void put_name(struct buf *b, const xmlChar *prefix, const xmlChar *name)
{
    if (prefix) {
        buf_put_str(b, str_of_xml(prefix));
        buf_puts(b, ":");
    }
    buf_put_str(b, str_of_xml(name));
}

static void keep_header(struct xml_stream *s, const xmlChar *prefix, const xmlChar *name,
                        const xmlChar **namespaces, int count)
{
    struct buf *b = &s->header;

    buf_init(b, s->stanza_bytes_max * 8); /* escaped, it may be longer than it came */
    buf_puts(b, "<");
    put_name(b, prefix, name);
    for (int i = 0; i < count; i++) {
        buf_puts(b, namespaces[2 * (size_t)i] ? " xmlns:" : " xmlns");
        buf_put_str(b, str_of_xml(namespaces[2 * (size_t)i]));
        buf_puts(b, "=\"");
        xml_escape(b, str_of_xml(namespaces[2 * (size_t)i + 1]));
        buf_puts(b, "\"");
    }
    buf_puts(b, ">");
}

static void on_element(void *ctx, const xmlChar *name, const xmlChar *prefix, const xmlChar *uri,
                       int namespace_count, const xmlChar **namespaces, int attribute_count,
                       int defaulted_count, const xmlChar **attributes)
{
    struct xml_stream *s = ctx;

    (void)defaulted_count;
    if (s->error || s->restart)
        return;
    if (s->replaying) {
        s->depth++;
        return;
    }
    if (s->depth >= XML_DEPTH_MAX || stanza_bytes(s) > s->stanza_bytes_max ||
        !open_element(s, name, uri, attribute_count, attributes)) {
        stop(s, XML_E_LIMIT);
        return;
    }
    if (s->depth++ < s->base) {
        s->mark = (uint64_t)xmlByteConsumed(s->parser);
        keep_header(s, prefix, name, namespaces, namespace_count);
        s->ops->on_open(s->ctx, s->at);
        free_tree(s);
    }
}

/* Hands the tree over: ours no more before the callback sees it. */
static void give(struct xml_stream *s)
{
    struct arena *arena = s->arena;
    struct xml_node *node = s->at;

    s->arena = NULL;
    s->at = NULL;
    s->mark = (uint64_t)xmlByteConsumed(s->parser);
    s->ops->on_stanza(s->ctx, arena, node);
}

static void on_element_end(void *ctx, const xmlChar *name, const xmlChar *prefix,
                           const xmlChar *uri)
{
    struct xml_stream *s = ctx;

    (void)name, (void)prefix, (void)uri;
    if (s->error || s->restart)
        return;
    s->depth--;
    if (s->depth < s->base) {
        s->closed = true;
        stop(s, 0); /* what follows is nobody's */
        s->ops->on_close(s->ctx);
    } else if (stanza_bytes(s) > s->stanza_bytes_max || !flush_text(s)) {
        stop(s, XML_E_LIMIT);
    } else if (s->depth == s->base) {
        give(s);
    } else {
        s->at = s->at->parent;
    }
}

static void on_text(void *ctx, const xmlChar *text, int len)
{
    struct xml_stream *s = ctx;
    struct str t = str_of_bytes(text, (size_t)len);

    if (s->error || s->restart)
        return;
    if (!s->at) { /* between stanzas: only whitespace, RFC 6120 4.6.1 and 11.7 */
        if (!str_empty(str_trim(t)))
            stop(s, XML_E_MALFORMED);
        return;
    }
    if (!s->text.data)
        buf_init(&s->text, s->stanza_bytes_max);
    buf_put_str(&s->text, t);
    if (s->text.full)
        stop(s, XML_E_LIMIT);
}

static void on_comment(void *ctx, const xmlChar *text)
{
    (void)text;
    stop(ctx, XML_E_RESTRICTED);
}

static void on_instruction(void *ctx, const xmlChar *target, const xmlChar *data)
{
    (void)target, (void)data;
    stop(ctx, XML_E_RESTRICTED);
}

/* Comes before anything in the DTD is looked at. */
static void on_doctype(void *ctx, const xmlChar *name, const xmlChar *id, const xmlChar *system)
{
    (void)name, (void)id, (void)system;
    stop(ctx, XML_E_RESTRICTED);
}

/* libxml2 goes on after some of its errors, and would print all. */
static void on_parser_error(void *ctx, xmlErrorPtr error)
{
    struct xml_stream *s = ctx;

    if (s->closed || s->restart)
        return;
    if (error->code == XML_ERR_UNDECLARED_ENTITY || error->code == XML_WAR_UNDECLARED_ENTITY)
        stop(s, XML_E_RESTRICTED);
    else if (error->level == XML_ERR_FATAL)
        stop(s, XML_E_MALFORMED);
    else if (error->domain == XML_FROM_NAMESPACE && error->level == XML_ERR_ERROR &&
             error->code != XML_WAR_NS_URI) /* a namespace that is no URI is a name all the same */
        stop(s, XML_E_MALFORMED);
}

/* ---- libxml2's parser ---- */

static xmlParserCtxtPtr new_parser(struct xml_stream *s)
{
    xmlSAXHandler handler = {
        .initialized = XML_SAX2_MAGIC,
        .startElementNs = on_element,
        .endElementNs = on_element_end,
        .characters = on_text,
        .ignorableWhitespace = on_text,
        .cdataBlock = on_text,
        .comment = on_comment,
        .processingInstruction = on_instruction,
        .internalSubset = on_doctype,
        .serror = on_parser_error,
    };
    xmlParserCtxtPtr parser;

    xmlInitParser();
    parser = xmlCreatePushParserCtxt(&handler, s, NULL, 0, NULL);
    assert(parser);
    /* Without NOENT, `&amp;` in an attribute would come as `&#38;`. Other entities than the
     * predefined ones cannot exist, since a DTD ends the parsing. */
    (void)xmlCtxtUseOptions(parser, XML_PARSE_NONET | XML_PARSE_NOENT | XML_PARSE_IGNORE_ENC);
    (void)xmlSwitchEncoding(parser, XML_CHAR_ENCODING_UTF8); /* RFC 6120, 11.6: never another */
    return parser;
}

static void free_parser(struct xml_stream *s)
{
    if (s->parser)
        xmlFreeParserCtxt(s->parser);
    s->parser = NULL;
    s->fed = s->mark = 0;
    s->depth = 0;
}

/* As if nothing had ever come. */
static void reset(struct xml_stream *s)
{
    free_parser(s);
    free_tree(s);
    buf_done(&s->text);
    buf_done(&s->header);
    s->closed = false;
    s->restart = false;
}

static void feed(struct xml_stream *s, const char *data, size_t len, bool last)
{
    s->fed += len;
    s->feeding = true;
    (void)xmlParseChunk(s->parser, data, (int)len, last); /* on_parser_error() was told */
    s->feeding = false;
    if (!s->restart && !s->error && !s->closed && s->fed - s->mark > s->stanza_bytes_max)
        s->error = XML_E_LIMIT;
}

/* ---- streams ---- */

static struct xml_stream *new_stream(const struct xml_stream_ops *ops, void *ctx,
                                     size_t stanza_bytes_max, unsigned base)
{
    struct xml_stream *s = mem_new(sizeof(*s));

    s->ops = ops;
    s->ctx = ctx;
    s->stanza_bytes_max = stanza_bytes_max;
    s->base = base;
    return s;
}

struct xml_stream *xml_stream_new(const struct xml_stream_ops *ops, void *ctx,
                                  size_t stanza_bytes_max)
{
    return new_stream(ops, ctx, stanza_bytes_max, 1);
}

void xml_stream_free(struct xml_stream *s)
{
    if (!s)
        return;
    assert(!s->feeding);
    reset(s);
    mem_free(s);
}

void xml_stream_restart(struct xml_stream *s)
{
    if (!s->feeding) {
        reset(s);
        return;
    }
    s->restart = true;
    stop(s, 0);
}

void xml_stream_limit(struct xml_stream *s, size_t stanza_bytes_max)
{
    s->stanza_bytes_max = stanza_bytes_max;
}

/* Has everything been consumed, and no stanza begun? */
static bool between_stanzas(const struct xml_stream *s)
{
    return s->parser && s->depth == s->base && !s->at && !s->closed &&
           s->parser->input->cur == s->parser->input->end;
}

/* A parser that knows the stream's header, if there is one. */
static void wake(struct xml_stream *s)
{
    s->parser = new_parser(s);
    if (s->header.len == 0)
        return;
    s->replaying = true;
    feed(s, s->header.data, s->header.len, false);
    s->replaying = false;
    s->mark = s->fed;
    assert(s->error || s->depth == s->base);
}

/* Spaces between stanzas keep a connection alive and would pile up in libxml2 until the next `<`;
 * before the document they are no XML, but harmless after a restart. */
static void skip_spaces(const struct xml_stream *s, struct str *data)
{
    if (s->parser && !between_stanzas(s))
        return;
    while (data->len > 0 && strchr(" \t\r\n", data->p[0]) && data->p[0])
        *data = str_sub(*data, 1, data->len - 1);
}

int xml_stream_feed(struct xml_stream *s, const uint8_t *data, size_t len)
{
    struct str rest = str_of_bytes(data, len);

    assert(!s->feeding);
    while (!s->error && !s->closed) {
        struct str piece;

        skip_spaces(s, &rest);
        if (rest.len == 0)
            break;
        if (!s->parser)
            wake(s);
        /* In pieces, so that a stanza past its limit is noticed soon. */
        piece = str_sub(rest, 0, PIECE_BYTES);
        rest = str_sub(rest, piece.len, rest.len);
        feed(s, piece.p, piece.len, false);
        if (s->restart) {
            reset(s);
            break;
        }
    }
    if (!s->error && between_stanzas(s) && !s->header.full)
        free_parser(s);
    return s->error;
}

/* ---- documents ---- */

static void on_document(void *ctx, struct arena *arena, struct xml_node *root)
{
    (void)arena;
    *(struct xml_node **)ctx = root;
}

int xml_parse(struct arena *a, struct str document, struct xml_node **ret_root)
{
    static const struct xml_stream_ops ops = {.on_stanza = on_document};
    struct xml_node *root = NULL;
    struct xml_stream *s;
    int error;

    if (document.len > a->max)
        return XML_E_LIMIT;
    s = new_stream(&ops, &root, document.len, 0);
    s->given = a;
    s->parser = new_parser(s);
    feed(s, document.p, document.len, false);
    if (!s->error)
        feed(s, "", 0, true);
    error = s->error;
    xml_stream_free(s);
    if (error || !root)
        return error ? error : XML_E_MALFORMED;
    *ret_root = root;
    return 0;
}
