// SPDX-License-Identifier: Apache-2.0
/*
 * Presence documents: what is read, what is refused, and what comes out again.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "common/util.h"
#include "presenced/pidf.h"

#define PRESENCE(inside)                                                                           \
    "<presence xmlns='urn:ietf:params:xml:ns:pidf'"                                                \
    " xmlns:dm='urn:ietf:params:xml:ns:pidf:data-model'"                                           \
    " xmlns:rpid='urn:ietf:params:xml:ns:pidf:rpid' entity='sip:a@x'>" inside "</presence>"

struct sheet {
    struct arena arena;
    Muster__Pidf pidf;
};

static int read_text(struct sheet *s, const char *text)
{
    struct xml_node *root;

    arena_init(&s->arena, 1 << 20);
    if (xml_parse(&s->arena, str_of(text), &root))
        return -1;
    return pidf_read(&s->arena, root, &s->pidf);
}

static void what_a_phone_publishes_is_understood(void **state)
{
    struct sheet s;

    (void)state;
    assert_int_equal(
        read_text(&s,
                  PRESENCE("<tuple id='t1'><status><basic> open </basic></status>"
                           "<contact priority='0.8'>sip:a@10.0.0.1</contact>"
                           "<note>at my desk</note>"
                           "<timestamp>2026-01-01T00:00:00Z</timestamp></tuple>"
                           "<dm:person id='p'><rpid:activities><rpid:on-the-phone/>"
                           "</rpid:activities><dm:note>busy &amp; happy</dm:note></dm:person>")),
        0);
    assert_int_equal(s.pidf.n_tuples, 1);
    assert_true(pidf_is_open(&s.pidf));
    assert_string_equal(s.pidf.tuples[0]->contact, "sip:a@10.0.0.1");
    assert_string_equal(s.pidf.tuples[0]->priority, "0.8");
    assert_string_equal(s.pidf.tuples[0]->timestamp, "2026-01-01T00:00:00Z");
    assert_string_equal(pidf_show(&s.pidf), "dnd");
    assert_string_equal(pidf_note(&s.pidf), "busy & happy");
    arena_done(&s.arena);
}

static void what_is_not_presence_is_refused(void **state)
{
    static const char *const refused[] = {
        "<presence/>",
        "<x xmlns='urn:ietf:params:xml:ns:pidf'/>",
        PRESENCE("<tuple><status><basic>open</basic></status></tuple>"),
    };
    struct sheet s;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(refused); i++) {
        assert_int_equal(read_text(&s, refused[i]), PIDF_E_MALFORMED);
        arena_done(&s.arena);
    }
}

static void too_many_tuples_are_refused(void **state)
{
    struct sheet s;
    struct buf text;

    (void)state;
    buf_init(&text, PIDF_BYTES_MAX);
    buf_puts(&text, "<presence xmlns='urn:ietf:params:xml:ns:pidf'>");
    for (int i = 0; i <= PIDF_TUPLES_MAX; i++)
        buf_printf(&text, "<tuple id='t%d'/>", i);
    buf_puts(&text, "</presence>");
    assert_int_equal(read_text(&s, text.data), PIDF_E_MALFORMED);
    arena_done(&s.arena);
    buf_done(&text);
}

static void strange_elements_are_passed_on_and_text_is_escaped(void **state)
{
    struct sheet s, again;
    struct buf out;

    (void)state;
    assert_int_equal(
        read_text(&s,
                  PRESENCE("<tuple id='a'><status><basic>closed</basic>"
                           "<z:mood xmlns:z='urn:z'>&lt;so&gt;</z:mood></status>"
                           "<z:caps xmlns:z='urn:z' v='\"1\"'/><note>&lt;b&gt;</note></tuple>")),
        0);
    buf_init(&out, PIDF_BYTES_MAX);
    pidf_print(&out, "a@x", &s.pidf);
    assert_non_null(strstr(out.data, "<mood xmlns=\"urn:z\">&lt;so&gt;</mood>"));
    assert_non_null(strstr(out.data, "<note>&lt;b&gt;</note>"));
    assert_int_equal(read_text(&again, out.data), 0);
    assert_false(pidf_is_open(&again.pidf));
    assert_int_equal(again.pidf.tuples[0]->extension.len, s.pidf.tuples[0]->extension.len);
    arena_done(&s.arena);
    arena_done(&again.arena);
    buf_done(&out);
}

static void show_and_activities_mean_each_other(void **state)
{
    static const char *const shows[] = {"away", "dnd", "xa"};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(shows); i++) {
        Muster__Pidf pidf = MUSTER__PIDF__INIT;
        char *activity = (char *)pidf_activity_of_show(shows[i]);

        pidf.activities = &activity;
        pidf.n_activities = 1;
        assert_string_equal(pidf_show(&pidf), shows[i]);
    }
    assert_null(pidf_activity_of_show(""));
    assert_null(pidf_activity_of_show("chat"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_a_phone_publishes_is_understood),
        cmocka_unit_test(what_is_not_presence_is_refused),
        cmocka_unit_test(too_many_tuples_are_refused),
        cmocka_unit_test(strange_elements_are_passed_on_and_text_is_escaped),
        cmocka_unit_test(show_and_activities_mean_each_other),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
