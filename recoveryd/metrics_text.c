// SPDX-License-Identifier: Apache-2.0
#include "recoveryd/metrics_text.h"

#include <string.h>

#include "common/mem.h"

/* A line taken apart; all are views. */
struct line {
    enum { OTHER, HELP, TYPE, SAMPLE } kind;
    struct str family;
    struct str labels; /* of a sample, without braces */
    struct str rest;   /* text of HELP or TYPE, value of a sample */
};

struct families {
    struct str names[METRICS_TEXT_FAMILIES_MAX];
    size_t count;
};

static bool is_name(struct str s)
{
    for (size_t i = 0; i < s.len; i++) {
        char c = s.p[i];

        if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || c == ':' ||
              (i > 0 && c >= '0' && c <= '9')))
            return false;
    }
    return s.len > 0;
}

static struct line read_sample(struct str text)
{
    struct line l = {.kind = SAMPLE};
    size_t brace = str_find(text, '{'), space = str_find(text, ' '), end;

    l.family = str_sub(text, 0, brace < space ? brace : space);
    if (brace < space) {
        text = str_sub(text, brace + 1, text.len);
        end = str_find_unquoted(text, '}');
        l.labels = str_sub(text, 0, end);
        l.rest = str_trim(str_sub(text, end + 1, text.len));
    } else {
        l.rest = str_trim(str_sub(text, space + 1, text.len));
    }
    return l;
}

static struct line read_line(struct str text)
{
    struct line l = {.kind = OTHER};
    struct str after;

    text = str_trim(text);
    if (str_starts(text, STR("# HELP ")) || str_starts(text, STR("# TYPE "))) {
        l.kind = text.p[2] == 'H' ? HELP : TYPE;
        after = str_sub(text, 7, text.len);
        (void)str_cut(after, ' ', &l.family, &l.rest); /* an empty rest is refused below */
    } else if (text.len && text.p[0] != '#') {
        l = read_sample(text);
    }
    if (!is_name(l.family) || !l.rest.len || !str_utf8(text))
        l.kind = OTHER;
    return l;
}

static bool is_known(const struct families *all, struct str name)
{
    for (size_t i = 0; i < all->count; i++)
        if (str_eq(all->names[i], name))
            return true;
    return false;
}

static void collect_families(struct families *all, struct str text)
{
    struct str one, rest = text;

    while (rest.len) {
        struct line l;

        (void)str_cut(rest, '\n', &one, &rest); /* without a newline it is the last one */
        l = read_line(one);
        if (l.kind != OTHER && all->count < METRICS_TEXT_FAMILIES_MAX && !is_known(all, l.family))
            all->names[all->count++] = l.family;
    }
}

static void put_label(struct buf *out, const char *name, const char *value)
{
    buf_printf(out, "%s=\"", name);
    for (; *value; value++) {
        if (*value == '"' || *value == '\\')
            buf_put_c(out, '\\');
        buf_put_c(out, *value == '\n' ? ' ' : *value);
    }
    buf_put_c(out, '"');
}

static void put_sample(struct buf *out, const struct line *l, const char *service, const char *node)
{
    buf_put_str(out, l->family);
    buf_put_c(out, '{');
    put_label(out, "service", service);
    buf_put_c(out, ',');
    put_label(out, "node", node);
    if (l->labels.len)
        buf_put_c(out, ',');
    buf_put_str(out, l->labels);
    buf_puts(out, "} ");
    buf_put_str(out, l->rest);
    buf_put_c(out, '\n');
}

static void put_comment(struct buf *out, const struct line *l)
{
    buf_puts(out, l->kind == HELP ? "# HELP " : "# TYPE ");
    buf_put_str(out, l->family);
    buf_put_c(out, ' ');
    buf_put_str(out, l->rest);
    buf_put_c(out, '\n');
}

/* `said`: bit set of the comments that a source before this one gave. */
static void put_family(struct buf *out, struct str family, const struct metrics_text_source *source,
                       const char *node, unsigned *said)
{
    struct str one, rest = source->text;

    while (rest.len) {
        struct line l;

        (void)str_cut(rest, '\n', &one, &rest); /* without a newline it is the last one */
        l = read_line(one);
        if (l.kind == OTHER || !str_eq(l.family, family))
            continue;
        if (l.kind == SAMPLE)
            put_sample(out, &l, source->service, node);
        else if (!(*said & 1u << l.kind))
            put_comment(out, &l);
        *said |= 1u << l.kind;
    }
}

void metrics_text_merge(struct buf *out, const struct metrics_text_source *sources, size_t count,
                        const char *node)
{
    struct families *all = mem_new(sizeof(*all));

    for (size_t s = 0; s < count; s++)
        collect_families(all, sources[s].text);
    for (size_t f = 0; f < all->count; f++) {
        unsigned said = 0;

        for (size_t s = 0; s < count; s++)
            put_family(out, all->names[f], &sources[s], node, &said);
    }
    mem_free(all);
}
