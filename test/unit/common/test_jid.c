// SPDX-License-Identifier: Apache-2.0
/*
 * Which texts are JIDs, and as what they are compared. The table follows the examples of RFC 7622,
 * sections 3.5 and 4, where RFC 6122's profiles agree with them.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "common/jid.h"
#include "common/util.h"

struct row {
    const char *text;
    const char *prepared; /* NULL: refused */
    const char *local, *domain, *resource;
};

// clang-format off
static const struct row rows[] = {
    {"alice@muster.test",            "alice@muster.test",         "alice", "muster.test", ""},
    {"Alice@Muster.TEST/Desk Top",   "alice@muster.test/Desk Top", "alice", "muster.test", "Desk Top"},
    {"juliet@example.com/foo@bar",   "juliet@example.com/foo@bar", "juliet", "example.com", "foo@bar"},
    {"a.example.com/b@example.net",  "a.example.com/b@example.net", "", "a.example.com", "b@example.net"},
    {"foo\\20bar@example.com",       "foo\\20bar@example.com",    "foo\\20bar", "example.com", ""},
    {"muster.test",                  "muster.test",               "", "muster.test", ""},
    {"muster.test.",                 "muster.test",               "", "muster.test", ""},
    {"muster.test/a/b",              "muster.test/a/b",           "", "muster.test", "a/b"},
    {"a@[2001:db8::1]/x",            "a@[2001:db8::1]/x",         "a", "[2001:db8::1]", "x"},
    {"fu\xc3\x9f" "ball@example.com","fussball@example.com",      "fussball", "example.com", ""},
    {"\xce\xa3@example.com",         "\xcf\x83@example.com",      "\xcf\x83", "example.com", ""},
    {"a@B\xc3\x9c" "CHER.example",   "a@b\xc3\xbc" "cher.example", "a", "b\xc3\xbc" "cher.example", ""},
    {"a@b/\xf0\x9f\x93\xb1",         "a@b/\xf0\x9f\x93\xb1",      "a", "b", "\xf0\x9f\x93\xb1"},
    {"\xef\xbc\xa1@b",               "a@b",                       "a", "b", ""},
    {"", NULL, 0, 0, 0},
    {"@muster.test", NULL, 0, 0, 0},
    {"alice@", NULL, 0, 0, 0},
    {"alice@/desk", NULL, 0, 0, 0},
    {"alice@muster.test/", NULL, 0, 0, 0},
    {"/desk", NULL, 0, 0, 0},
    {"a b@muster.test", NULL, 0, 0, 0},
    {"a\"b@muster.test", NULL, 0, 0, 0},
    {"a:b@muster.test", NULL, 0, 0, 0},
    {"sip:alice@muster.test", NULL, 0, 0, 0},
    {"<alice@muster.test>", NULL, 0, 0, 0},
    {"alice@bob@muster.test", NULL, 0, 0, 0},
    {"alice@mus ter.test", NULL, 0, 0, 0},
    {"alice@muster..test", NULL, 0, 0, 0},
    {"alice@-muster.test", NULL, 0, 0, 0},
    {"alice@muster_test", NULL, 0, 0, 0},
    {"alice@.", NULL, 0, 0, 0},
    {"alice@muster.test/a\nb", NULL, 0, 0, 0},
    {"alice@muster.test/\x7f", NULL, 0, 0, 0},
    {"a\xff@muster.test", NULL, 0, 0, 0},
    {"a\xc0\xaf@muster.test", NULL, 0, 0, 0},
    {"a\xed\xa0\x80@muster.test", NULL, 0, 0, 0},
    {"a@m\xef\xbc\x8f" "b", NULL, 0, 0, 0},       /* a full-width slash is no domain */
    {"a\xef\xbc\xa0" "b@c", NULL, 0, 0, 0},       /* nor a full-width @ a localpart */
    {"\xc2\xad@b", NULL, 0, 0, 0},                /* a soft hyphen is mapped to nothing */
    {"\xf0\x9f\x93\xb1@b", NULL, 0, 0, 0},        /* not in the profile's Unicode */
};
// clang-format on

static void check_row(const struct row *row)
{
    struct arena arena;
    struct jid jid;
    int r;

    arena_init(&arena, 8192);
    r = jid_parse(&arena, str_of(row->text), &jid);
    if (!row->prepared && r != JID_E_MALFORMED)
        fail_msg("'%s' was taken for '%s'", row->text, jid.full.p);
    if (row->prepared) {
        if (r != 0 || strcmp(jid.full.p, row->prepared) != 0)
            fail_msg("'%s' gave '%s'", row->text, r ? "a refusal" : jid.full.p);
        assert_true(str_eq_c(jid.local, row->local));
        assert_true(str_eq_c(jid.domain, row->domain));
        assert_true(str_eq_c(jid.resource, row->resource));
        assert_true(str_eq(jid.bare, jid_bare(jid.full)));
        assert_ptr_equal(jid.bare.p, jid.full.p);
    }
    arena_done(&arena);
}

static void texts_are_prepared_or_refused(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        check_row(&rows[i]);
}

static int parse_parts(char local, size_t local_len, size_t domain_labels, size_t resource_len)
{
    char text[4096];
    struct arena arena;
    struct jid jid;
    size_t at = 0;
    int r;

    memset(text, local, local_len);
    at = local_len;
    text[at++] = '@';
    for (size_t i = 0; i < domain_labels; i++) {
        memcpy(text + at, "abcdefg.", 8);
        at += 8;
    }
    text[at++] = 'x';
    text[at++] = '/';
    memset(text + at, 'r', resource_len);
    arena_init(&arena, 8192);
    r = jid_parse(&arena, (struct str){text, at + resource_len}, &jid);
    arena_done(&arena);
    return r;
}

static void parts_have_1023_bytes_at_most(void **state)
{
    (void)state;
    assert_int_equal(parse_parts('a', 1023, 1, 1), 0);
    assert_int_equal(parse_parts('a', 1024, 1, 1), JID_E_MALFORMED);
    assert_int_equal(parse_parts('a', 1, 127, 1), 0);
    assert_int_equal(parse_parts('a', 1, 128, 1), JID_E_MALFORMED);
    assert_int_equal(parse_parts('a', 1, 1, 1023), 0);
    assert_int_equal(parse_parts('a', 1, 1, 1024), JID_E_MALFORMED);
    assert_int_equal(parse_parts('a', 1023, 127, 1023), 0);
}

/* U+FDFA becomes eighteen characters: a part that was short enough may not grow past the limit. */
static void a_part_that_grows_is_refused(void **state)
{
    char text[1200];
    struct arena arena;
    struct jid jid;
    size_t at = 0;

    (void)state;
    arena_init(&arena, 8192);
    memcpy(text, "a@b/", 4);
    for (at = 4; at < 900; at += 3)
        memcpy(text + at, "\xef\xb7\xba", 3);
    assert_int_equal(jid_parse(&arena, (struct str){text, at}, &jid), JID_E_MALFORMED);
    assert_int_equal(jid_parse(&arena, (struct str){text, 34}, &jid), 0);
    arena_done(&arena);
}

static void a_full_arena_is_a_refusal(void **state)
{
    struct arena arena;
    struct jid jid;

    (void)state;
    arena_init(&arena, 8);
    assert_int_equal(jid_parse(&arena, STR("alice@muster.test"), &jid), JID_E_MALFORMED);
    arena_done(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(texts_are_prepared_or_refused),
        cmocka_unit_test(parts_have_1023_bytes_at_most),
        cmocka_unit_test(a_part_that_grows_is_refused),
        cmocka_unit_test(a_full_arena_is_a_refusal),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
