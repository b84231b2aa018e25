// SPDX-License-Identifier: Apache-2.0
#include <assert.h>
#include <string.h>

#include "common/xml.h"

static const char xml_ns[] = "http://www.w3.org/XML/1998/namespace";

/* ---- making ---- */

struct xml_node *xml_element(struct arena *a, struct str ns, struct str name)
{
    struct xml_node *node = arena_alloc(a, sizeof(*node));

    assert(!str_empty(name));
    if (node) {
        node->ns = ns;
        node->name = name;
    }
    return node;
}

struct xml_node *xml_add(struct arena *a, struct xml_node *parent, struct str ns, struct str name)
{
    struct xml_node *node = parent ? xml_element(a, ns, name) : NULL;

    xml_append(parent, node);
    return node;
}

struct xml_node *xml_add_text(struct arena *a, struct xml_node *parent, struct str text)
{
    struct xml_node *node = parent ? arena_alloc(a, sizeof(*node)) : NULL;

    if (!node)
        return NULL;
    node->text = arena_dup(a, text);
    if (!node->text.p)
        return NULL;
    xml_append(parent, node);
    return node;
}

void xml_append(struct xml_node *parent, struct xml_node *child)
{
    if (!parent || !child)
        return;
    assert(!child->parent);
    child->parent = parent;
    child->next = NULL;
    if (parent->last)
        parent->last->next = child;
    else
        parent->first = child;
    parent->last = child;
}

void xml_remove(struct xml_node *child)
{
    struct xml_node *parent = child ? child->parent : NULL;
    struct xml_node *before = NULL;

    if (!parent)
        return;
    for (struct xml_node *n = parent->first; n != child; n = n->next)
        before = n;
    if (before)
        before->next = child->next;
    else
        parent->first = child->next;
    if (parent->last == child)
        parent->last = before;
    child->parent = child->next = NULL;
}

/* The link that points to the attribute, or to the end of the list. */
static struct xml_attr **find_attr(struct xml_node *node, struct str ns, struct str name)
{
    struct xml_attr **at = &node->attrs;

    while (*at && !(str_eq((*at)->name, name) && str_eq((*at)->ns, ns)))
        at = &(*at)->next;
    return at;
}

bool xml_set_ns(struct arena *a, struct xml_node *node, struct str ns, struct str name,
                struct str value)
{
    struct str copy = node ? arena_dup(a, value) : (struct str){NULL, 0};
    struct xml_attr **at;

    if (!copy.p)
        return false;
    at = find_attr(node, ns, name);
    if (!*at) {
        *at = arena_alloc(a, sizeof(**at));
        if (!*at)
            return false;
        (*at)->ns = ns;
        (*at)->name = name;
    }
    (*at)->value = copy;
    return true;
}

bool xml_set(struct arena *a, struct xml_node *node, struct str name, struct str value)
{
    return xml_set_ns(a, node, STR(""), name, value);
}

void xml_unset(struct xml_node *node, struct str name)
{
    struct xml_attr **at = find_attr(node, STR(""), name);

    if (*at)
        *at = (*at)->next;
}

static bool copy_name(struct arena *a, struct str from, struct str *ret_to)
{
    *ret_to = str_empty(from) ? STR("") : arena_dup(a, from);
    return ret_to->p;
}

static bool copy_attrs(struct arena *a, const struct xml_attr *from, struct xml_node *to)
{
    struct str ns, name;

    for (; from; from = from->next)
        if (!copy_name(a, from->ns, &ns) || !copy_name(a, from->name, &name) ||
            !xml_set_ns(a, to, ns, name, from->value))
            return false;
    return true;
}

static bool copy_into(struct arena *a, struct xml_node *parent, const struct xml_node *node,
                      struct xml_node **ret_copy)
{
    struct xml_node *copy = arena_alloc(a, sizeof(*copy));

    if (!copy || !copy_name(a, node->name, &copy->name) || !copy_name(a, node->text, &copy->text))
        return false;
    /* Most children share the namespace of their parent: one copy of it will do. */
    if (parent && str_eq(parent->ns, node->ns))
        copy->ns = parent->ns;
    else if (!copy_name(a, node->ns, &copy->ns))
        return false;
    if (!copy_attrs(a, node->attrs, copy))
        return false;
    for (const struct xml_node *child = node->first; child; child = child->next)
        if (!copy_into(a, copy, child, &(struct xml_node *){NULL}))
            return false;
    xml_append(parent, copy);
    *ret_copy = copy;
    return true;
}

struct xml_node *xml_copy(struct arena *a, const struct xml_node *node)
{
    struct xml_node *copy = NULL;

    return node && copy_into(a, NULL, node, &copy) ? copy : NULL;
}

/* ---- looking ---- */

bool xml_is(const struct xml_node *node, const char *ns, const char *name)
{
    return node && !str_empty(node->name) && str_eq_c(node->name, name) &&
           (!ns || str_eq_c(node->ns, ns));
}

static struct xml_node *element_from(struct xml_node *node)
{
    while (node && str_empty(node->name))
        node = node->next;
    return node;
}

struct xml_node *xml_first(const struct xml_node *node)
{
    return node ? element_from(node->first) : NULL;
}

struct xml_node *xml_next(const struct xml_node *node)
{
    return node ? element_from(node->next) : NULL;
}

struct xml_node *xml_child(const struct xml_node *node, const char *ns, const char *name)
{
    struct xml_node *child = xml_first(node);

    while (child && !xml_is(child, ns, name))
        child = xml_next(child);
    return child;
}

struct str xml_get_ns(const struct xml_node *node, const char *ns, const char *name)
{
    for (const struct xml_attr *at = node ? node->attrs : NULL; at; at = at->next)
        if (str_eq_c(at->name, name) && str_eq_c(at->ns, ns))
            return at->value;
    return (struct str){NULL, 0};
}

struct str xml_get(const struct xml_node *node, const char *name)
{
    return xml_get_ns(node, "", name);
}

struct str xml_text(struct arena *a, const struct xml_node *node)
{
    struct str only = STR("");
    size_t len = 0;
    size_t count = 0;
    char *all;

    for (const struct xml_node *n = node ? node->first : NULL; n; n = n->next)
        if (str_empty(n->name)) {
            only = n->text;
            len += n->text.len;
            count++;
        }
    if (count < 2)
        return only;
    all = arena_alloc(a, len + 1);
    if (!all)
        return STR("");
    len = 0;
    for (const struct xml_node *n = node->first; n; n = n->next)
        if (str_empty(n->name) && n->text.len) {
            memcpy(all + len, n->text.p, n->text.len);
            len += n->text.len;
        }
    return (struct str){all, len};
}

/* ---- printing ---- */

/* What must stand for the character at `s`; NULL: itself. Characters that XML 1.0 cannot carry
 * become U+FFFD: the text may come from protocols that allow them. */
static const char *replacement(struct str s, bool attribute, size_t *ret_len)
{
    unsigned char c = (unsigned char)s.p[0];

    *ret_len = 1;
    switch (c) {
    case '&':
        return "&amp;";
    case '<':
        return "&lt;";
    case '>':
        return "&gt;";
    case '"':
        return "&quot;";
    case '\'':
        return "&apos;";
    case '\r':
        return "&#13;"; /* a parser would make it a line feed */
    case '\n':
        return attribute ? "&#10;" : NULL;
    case '\t':
        return attribute ? "&#9;" : NULL;
    case 0xef: /* U+FFFE and U+FFFF */
        if (s.len < 3 || (unsigned char)s.p[1] != 0xbf || ((unsigned char)s.p[2] & 0xfe) != 0xbe)
            return NULL;
        *ret_len = 3;
        return "\xef\xbf\xbd";
    default:
        return c < ' ' ? "\xef\xbf\xbd" : NULL;
    }
}

/* Most characters are none that replacement() would look at. */
static const bool looked_at[256] = {
    [0 ... ' ' - 1] = true, ['&'] = true,  ['<'] = true,  ['>'] = true,
    ['"'] = true,           ['\''] = true, [0xef] = true,
};

static void escape(struct buf *out, struct str text, bool attribute)
{
    size_t clean = 0;
    size_t len;

    for (size_t i = 0; i < text.len; i += len) {
        const char *with = NULL;

        len = 1;
        if (looked_at[(unsigned char)text.p[i]])
            with = replacement(str_sub(text, i, 3), attribute, &len);
        if (!with)
            continue;
        buf_put(out, text.p + clean, i - clean);
        buf_puts(out, with);
        clean = i + len;
    }
    if (clean < text.len)
        buf_put(out, text.p + clean, text.len - clean);
}

void xml_escape(struct buf *out, struct str text)
{
    escape(out, text, false);
}

static void print_attr(struct buf *out, const struct xml_attr *at, unsigned number)
{
    buf_put_c(out, ' ');
    if (str_eq_c(at->ns, xml_ns)) {
        buf_puts(out, "xml:");
    } else if (!str_empty(at->ns)) {
        buf_printf(out, "xmlns:a%u=\"", number);
        escape(out, at->ns, true);
        buf_printf(out, "\" a%u:", number);
    }
    buf_put_str(out, at->name);
    buf_puts(out, "=\"");
    escape(out, at->value, true);
    buf_put_c(out, '"');
}

void xml_print(struct buf *out, const struct xml_node *node, struct str ns)
{
    unsigned number = 0;

    if (!node)
        return;
    if (str_empty(node->name)) {
        escape(out, node->text, false);
        return;
    }
    buf_put_c(out, '<');
    buf_put_str(out, node->name);
    if (!str_eq(node->ns, ns)) {
        buf_puts(out, " xmlns=\"");
        escape(out, node->ns, true);
        buf_put_c(out, '"');
    }
    for (const struct xml_attr *at = node->attrs; at; at = at->next)
        print_attr(out, at, number++);
    if (!node->first) {
        buf_puts(out, "/>");
        return;
    }
    buf_put_c(out, '>');
    for (const struct xml_node *child = node->first; child; child = child->next)
        xml_print(out, child, node->ns);
    buf_puts(out, "</");
    buf_put_str(out, node->name);
    buf_put_c(out, '>');
}
