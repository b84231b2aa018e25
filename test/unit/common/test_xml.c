// SPDX-License-Identifier: Apache-2.0
/*
 * XML: documents that are taken and how they are printed, documents that are refused and why, and
 * streams, whose bytes come in pieces of any size.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "common/mem.h"
#include "common/util.h"
#include "common/xml.h"

/* ---- documents ---- */

struct row {
    const char *in;
    const char *out; /* canonical; NULL: refused with `error` */
    int error;
};

// clang-format off
static const struct row rows[] = {
    {"<a/>", "<a/>", 0},
    {"<?xml version='1.0' encoding='UTF-8'?><a></a>", "<a/>", 0},
    {"<a x='1' y=\"2\"> t </a>", "<a x=\"1\" y=\"2\"> t </a>", 0},
    {"<p:a xmlns:p='urn:p'><p:b/><c/></p:a>", "<a xmlns=\"urn:p\"><b/><c xmlns=\"\"/></a>", 0},
    {"<a xmlns='u'><b xmlns='u'/></a>", "<a xmlns=\"u\"><b/></a>", 0},
    {"<a xml:lang='en'/>", "<a xml:lang=\"en\"/>", 0},
    {"<a xmlns:p='urn:p' p:x='1' y='2'/>", "<a xmlns:a0=\"urn:p\" a0:x=\"1\" y=\"2\"/>", 0},
    {"<a>&lt;&amp;&#65;&#x42;&quot;</a>", "<a>&lt;&amp;AB&quot;</a>", 0},
    {"<a x='&lt;&amp;&#10;&apos;'/>", "<a x=\"&lt;&amp;&#10;&apos;\"/>", 0},
    {"<a>x<![CDATA[<y>]]>z</a>", "<a>x&lt;y&gt;z</a>", 0},
    {"<a>\xc3\xa9\xf0\x9f\x98\x80</a>", "<a>\xc3\xa9\xf0\x9f\x98\x80</a>", 0},
    {"<?xml version='1.0' encoding='ISO-8859-1'?><a>\xc3\xa9</a>", "<a>\xc3\xa9</a>", 0},
    {"", NULL, XML_E_MALFORMED},
    {"text", NULL, XML_E_MALFORMED},
    {"<a>", NULL, XML_E_MALFORMED},
    {"<a></b>", NULL, XML_E_MALFORMED},
    {"<a/><b/>", NULL, XML_E_MALFORMED},
    {"<a x='1' x='2'/>", NULL, XML_E_MALFORMED},
    {"<a x=1/>", NULL, XML_E_MALFORMED},
    {"<a x='<'/>", NULL, XML_E_MALFORMED},
    {"<p:a/>", NULL, XML_E_MALFORMED},
    {"<a p:x='1'/>", NULL, XML_E_MALFORMED},
    {"<a>\xff</a>", NULL, XML_E_MALFORMED},
    {"<a>\xc0\xaf</a>", NULL, XML_E_MALFORMED},
    {"<a x='\xed\xa0\x80'/>", NULL, XML_E_MALFORMED},
    {"<a>\x01</a>", NULL, XML_E_MALFORMED},
    {"<a>&#0;</a>", NULL, XML_E_MALFORMED},
    {"<a><!-- c --></a>", NULL, XML_E_RESTRICTED},
    {"<a><?pi x?></a>", NULL, XML_E_RESTRICTED},
    {"<!DOCTYPE a><a/>", NULL, XML_E_RESTRICTED},
    {"<!DOCTYPE a [<!ENTITY e 'x'>]><a>&e;</a>", NULL, XML_E_RESTRICTED},
    {"<!DOCTYPE a SYSTEM 'file:///etc/passwd'><a/>", NULL, XML_E_RESTRICTED},
    {"<a>&unknown;</a>", NULL, XML_E_RESTRICTED},
    {"<a x='&unknown;'/>", NULL, XML_E_RESTRICTED},
};
// clang-format on

static void documents(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct arena a;
        struct buf out;
        struct xml_node *root = NULL;
        int error;

        arena_init(&a, 65536);
        buf_init(&out, 65536);
        error = xml_parse(&a, str_of(rows[i].in), &root);
        xml_print(&out, root, STR(""));
        if (error != rows[i].error || (rows[i].out && strcmp(buf_str(&out).p, rows[i].out) != 0))
            fail_msg("%s: %d %s", rows[i].in, error, buf_str(&out).p);
        buf_done(&out);
        arena_done(&a);
    }
}

static void depth_attributes_and_memory_are_bounded(void **state)
{
    struct xml_node *root;
    struct arena a;
    struct buf b;

    (void)state;
    arena_init(&a, 65536);
    buf_init(&b, 65536);
    for (int i = 0; i <= XML_DEPTH_MAX; i++)
        buf_puts(&b, "<a>");
    assert_int_equal(xml_parse(&a, buf_str(&b), &root), XML_E_LIMIT);

    buf_clear(&b);
    buf_puts(&b, "<a");
    for (int i = 0; i <= XML_ATTRS_MAX; i++)
        buf_printf(&b, " a%d='x'", i);
    buf_puts(&b, "/>");
    assert_int_equal(xml_parse(&a, buf_str(&b), &root), XML_E_LIMIT);

    buf_clear(&b);
    buf_puts(&b, "<a>");
    for (int i = 0; i < 5000; i++)
        buf_puts(&b, "<b/>");
    buf_puts(&b, "</a>");
    assert_int_equal(xml_parse(&a, buf_str(&b), &root), XML_E_LIMIT);
    buf_done(&b);
    arena_done(&a);
}

/* ---- trees ---- */

static void trees_are_changed_in_place(void **state)
{
    struct arena a;
    struct buf out;
    struct xml_node *m, *b, *copy;

    (void)state;
    arena_init(&a, 65536);
    buf_init(&out, 65536);
    m = xml_element(&a, STR("jabber:client"), STR("message"));
    b = xml_add(&a, m, STR("jabber:client"), STR("body"));
    assert_true(xml_set(&a, m, STR("to"), STR("a@b")));
    assert_true(xml_set(&a, m, STR("id"), STR("1")));
    assert_true(xml_set(&a, m, STR("to"), STR("c@d")));
    xml_add_text(&a, b, STR("one "));
    xml_add_text(&a, b, STR("two\x02"));
    xml_add(&a, m, STR("urn:x"), STR("x"));
    xml_add(&a, m, STR("urn:y"), STR("y"));
    assert_true(str_eq_c(xml_text(&a, b), "one two\x02"));
    assert_true(str_eq_c(xml_get(m, "to"), "c@d"));
    assert_null(xml_get(m, "from").p);

    copy = xml_copy(&a, m);
    xml_remove(xml_child(m, "urn:x", "x"));
    xml_remove(xml_child(m, "urn:y", "y"));
    xml_unset(m, STR("to"));
    xml_print(&out, m, STR("jabber:client"));
    assert_string_equal(out.data, "<message id=\"1\"><body>one two\xef\xbf\xbd</body></message>");
    assert_ptr_equal(m->last, b);

    buf_clear(&out);
    xml_print(&out, copy, STR(""));
    assert_string_equal(out.data,
                        "<message xmlns=\"jabber:client\" to=\"c@d\" id=\"1\"><body>one two"
                        "\xef\xbf\xbd</body><x xmlns=\"urn:x\"/><y xmlns=\"urn:y\"/></message>");
    buf_done(&out);
    arena_done(&a);
}

/* An arena that is full gives NULL all the way; nothing crashes. */
static void full_arena_gives_null(void **state)
{
    (void)state;
    for (size_t max = 0; max < 700; max += 7) {
        struct arena a;
        struct xml_node *n, *child;

        arena_init(&a, max);
        n = xml_element(&a, STR(""), STR("a"));
        child = xml_add(&a, n, STR(""), STR("b"));
        (void)xml_set(&a, child, STR("x"), STR("value"));
        (void)xml_add_text(&a, child, STR("text"));
        (void)xml_copy(&a, n);
        (void)xml_text(&a, n);
        arena_done(&a);
    }
}

/* ---- streams ---- */

struct heard {
    struct xml_stream *stream;
    struct buf log;
    bool restart_at_stanza;
};

static void on_open(void *ctx, const struct xml_node *root)
{
    struct heard *h = ctx;

    buf_puts(&h->log, "[");
    xml_print(&h->log, root, STR(""));
    buf_puts(&h->log, "]");
}

static void on_stanza(void *ctx, struct arena *arena, struct xml_node *stanza)
{
    struct heard *h = ctx;

    buf_puts(&h->log, "{");
    xml_print(&h->log, stanza, STR("jabber:client"));
    buf_puts(&h->log, "}");
    arena_done(arena);
    mem_free(arena);
    if (h->restart_at_stanza)
        xml_stream_restart(h->stream);
}

static void on_close(void *ctx)
{
    struct heard *h = ctx;

    buf_puts(&h->log, "end");
}

static const struct xml_stream_ops ops = {on_open, on_stanza, on_close};

static void listen_to(struct heard *h, size_t stanza_bytes_max)
{
    *h = (struct heard){0};
    buf_init(&h->log, 1 << 20);
    h->stream = xml_stream_new(&ops, h, stanza_bytes_max);
}

static void leave(struct heard *h)
{
    xml_stream_free(h->stream);
    buf_done(&h->log);
}

static int say(struct heard *h, const char *text)
{
    return xml_stream_feed(h->stream, (const uint8_t *)text, strlen(text));
}

#define HEADER                                                                                     \
    "<?xml version='1.0'?><stream:stream to='x' xmlns='jabber:client' "                            \
    "xmlns:stream='http://etherx.jabber.org/streams' xmlns:q='urn:&quot;q&amp;'>"
#define OPENED "[<stream xmlns=\"http://etherx.jabber.org/streams\" to=\"x\"/>]"

static void streams_come_in_pieces(void **state)
{
    const char *text = HEADER " <message><body>hi &amp; \xc3\xa9</body></message>\n\n"
                              "<iq id='1'/><q:x/> </stream:stream><more/>";
    const char *heard = OPENED "{<message><body>hi &amp; \xc3\xa9</body></message>}"
                               "{<iq id=\"1\"/>}{<x xmlns=\"urn:&quot;q&amp;\"/>}end";

    (void)state;
    for (size_t size = 1; size < strlen(text); size++) {
        struct heard h;

        listen_to(&h, 1000);
        for (size_t i = 0; i < strlen(text); i += size) {
            struct str piece = str_sub(str_of(text), i, size);

            assert_int_equal(xml_stream_feed(h.stream, (const uint8_t *)piece.p, piece.len), 0);
        }
        assert_string_equal(h.log.data, heard);
        leave(&h);
    }
}

static void a_restart_drops_the_rest(void **state)
{
    struct heard h;

    (void)state;
    listen_to(&h, 1000);
    h.restart_at_stanza = true;
    assert_int_equal(say(&h, HEADER "<auth/><injected/>"), 0);
    assert_int_equal(say(&h, "\n" HEADER "<auth/>"), 0);
    h.restart_at_stanza = false;
    assert_int_equal(say(&h, HEADER "<iq/>"), 0);
    xml_stream_restart(h.stream);
    assert_int_equal(say(&h, HEADER), 0);
    assert_string_equal(h.log.data, OPENED "{<auth/>}" OPENED "{<auth/>}" OPENED "{<iq/>}" OPENED);
    leave(&h);
}

static void a_stanza_has_a_limit_and_a_stream_has_none(void **state)
{
    struct heard h;
    char big[2000];

    (void)state;
    listen_to(&h, 1000);
    assert_int_equal(say(&h, HEADER), 0);
    for (int i = 0; i < 1000; i++) {
        assert_int_equal(say(&h, "<m>0123456789012345678901234567890123456789</m> "), 0);
        buf_clear(&h.log);
    }
    memset(big, 'x', sizeof(big) - 1);
    big[sizeof(big) - 1] = '\0';
    assert_int_equal(say(&h, "<m>"), 0);
    assert_int_equal(say(&h, big), XML_E_LIMIT);
    assert_int_equal(say(&h, "</m>"), XML_E_LIMIT);
    leave(&h);

    /* Complete in one piece: no less refused. */
    listen_to(&h, 1000);
    assert_int_equal(say(&h, HEADER), 0);
    buf_puts(&h.log, "");
    big[0] = '<', big[1] = 'm', big[2] = '>';
    memcpy(big + sizeof(big) - 5, "</m>", 5);
    assert_int_equal(say(&h, big), XML_E_LIMIT);
    assert_string_equal(h.log.data, OPENED);
    xml_stream_restart(h.stream);
    leave(&h);

    /* And when it is raised, it is taken. */
    listen_to(&h, 1000);
    xml_stream_limit(h.stream, 5000);
    assert_int_equal(say(&h, HEADER), 0);
    assert_int_equal(say(&h, big), 0);
    leave(&h);

    /* An attribute that never ends stays in libxml2: its bytes count. */
    listen_to(&h, 1000);
    assert_int_equal(say(&h, HEADER "<m x='"), 0);
    big[0] = big[1] = big[2] = 'x';
    big[sizeof(big) - 5] = '\0';
    assert_int_equal(say(&h, big), XML_E_LIMIT);
    leave(&h);
}

static void streams_refuse_what_xmpp_forbids(void **state)
{
    static const struct {
        const char *text;
        int error;
    } bad[] = {
        {"<!-- -->", XML_E_RESTRICTED},
        {"<?pi?>", XML_E_RESTRICTED},
        {"text", XML_E_MALFORMED},
        {"<a>&x;</a>", XML_E_RESTRICTED},
        {"<p:a xmlns:q=''/>", XML_E_MALFORMED},
        {"</other>", XML_E_MALFORMED},
        {"<n:a/>", XML_E_MALFORMED},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct heard h;
        int error;

        listen_to(&h, 1000);
        assert_int_equal(say(&h, HEADER), 0);
        error = say(&h, bad[i].text);
        if (!error)
            error = say(&h, "<next/>");
        if (error != bad[i].error)
            fail_msg("%s: %d", bad[i].text, error);
        assert_string_equal(h.log.data, OPENED);
        leave(&h);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(documents),
        cmocka_unit_test(depth_attributes_and_memory_are_bounded),
        cmocka_unit_test(trees_are_changed_in_place),
        cmocka_unit_test(full_arena_gives_null),
        cmocka_unit_test(streams_come_in_pieces),
        cmocka_unit_test(a_restart_drops_the_rest),
        cmocka_unit_test(a_stanza_has_a_limit_and_a_stream_has_none),
        cmocka_unit_test(streams_refuse_what_xmpp_forbids),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
