// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * XML as this project uses it: small trees in an arena, made by libxml2's SAX parser under our
 * limits, printed canonically. No DTD, entities, processing instructions or comments (RFC 6120,
 * 11.1); depth, attributes, name and text sizes are bounded. The tree part (xml_tree.c) is usable
 * by cores, the parsers (xml.c) belong to shells and I/O threads.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/arena.h"
#include "common/buf.h"
#include "common/str.h"

struct xml_attr {
    struct xml_attr *next;
    struct str ns; /* empty: none */
    struct str name;
    struct str value;
};

/* An element, or a text when name is empty. */
struct xml_node {
    struct xml_node *parent, *next, *first, *last;
    struct xml_attr *attrs;
    struct str ns;
    struct str name;
    struct str text; /* of a text node */
};

enum { XML_DEPTH_MAX = 32, XML_ATTRS_MAX = 64, XML_NAME_MAX = 256 };

/* ---- trees (core) ---- */

/* All return NULL, and take NULL, when the arena is full. Namespaces and names are borrowed: they
 * are literals, or live in the same arena; values and texts are copied into it. */
struct xml_node *xml_element(struct arena *a, struct str ns, struct str name);
struct xml_node *xml_add(struct arena *a, struct xml_node *parent, struct str ns, struct str name);
struct xml_node *xml_add_text(struct arena *a, struct xml_node *parent, struct str text);
void xml_append(struct xml_node *parent, struct xml_node *child);
void xml_remove(struct xml_node *child);
bool xml_set(struct arena *a, struct xml_node *node, struct str name, struct str value);
bool xml_set_ns(struct arena *a, struct xml_node *node, struct str ns, struct str name,
                struct str value);
void xml_unset(struct xml_node *node, struct str name);
/* A copy of all of it, names too. */
struct xml_node *xml_copy(struct arena *a, const struct xml_node *node);

bool xml_is(const struct xml_node *node, const char *ns, const char *name);
/* First child element of that name; ns NULL: any. */
struct xml_node *xml_child(const struct xml_node *node, const char *ns, const char *name);
/* First child element; the next sibling element. */
struct xml_node *xml_first(const struct xml_node *node);
struct xml_node *xml_next(const struct xml_node *node);
/* Attribute without namespace; {NULL, 0} when absent. */
struct str xml_get(const struct xml_node *node, const char *name);
struct str xml_get_ns(const struct xml_node *node, const char *ns, const char *name);
/* Text of the node's text children, when there is one; copied into `a` when there are several. */
struct str xml_text(struct arena *a, const struct xml_node *node);

/* Canonical: xmlns where it changes, double quotes, no prefixes but xml: and those of attributes
 * (a0:, a1:). `ns`: the namespace in force around it, so that a stanza does not repeat the
 * stream's. Characters that XML cannot carry become U+FFFD; the text is UTF-8 otherwise. */
void xml_print(struct buf *out, const struct xml_node *node, struct str ns);
void xml_escape(struct buf *out, struct str text);

/* ---- parsers (shell) ---- */

enum {
    XML_E_MALFORMED = 1,  /* not well-formed: RFC 6120 not-well-formed */
    XML_E_RESTRICTED = 2, /* DTD, entity, PI, comment: restricted-xml */
    XML_E_LIMIT = 3,      /* depth, size, attributes: policy-violation */
};

/* A whole document. 0 or XML_E_...; the tree lives in `a`. */
int xml_parse(struct arena *a, struct str document, struct xml_node **ret_root)
    __attribute__((warn_unused_result));

/* A stream (RFC 6120): one root that stays open, and each of its children as it ends. */
struct xml_stream;

struct xml_stream_ops {
    /* The root opened. `root` lives until the callback returns. */
    void (*on_open)(void *ctx, const struct xml_node *root);
    /* A child is complete; the arena and its node are the callee's to arena_done() and free. */
    void (*on_stanza)(void *ctx, struct arena *arena, struct xml_node *stanza);
    void (*on_close)(void *ctx);
};

/* stanza_bytes_max: bytes on the wire of one child of the root. */
struct xml_stream *xml_stream_new(const struct xml_stream_ops *ops, void *ctx,
                                  size_t stanza_bytes_max);
void xml_stream_free(struct xml_stream *s);
/* 0 or XML_E_...; after an error only xml_stream_free(). A callback may call
 * xml_stream_restart(): the rest of `data` is then dropped. */
int xml_stream_feed(struct xml_stream *s, const uint8_t *data, size_t len)
    __attribute__((warn_unused_result));
/* The next byte begins a new document (after STARTTLS and SASL). May be called from a callback. */
void xml_stream_restart(struct xml_stream *s);
void xml_stream_limit(struct xml_stream *s, size_t stanza_bytes_max);
