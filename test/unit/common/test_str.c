// SPDX-License-Identifier: Apache-2.0
/*
 * Views of text, and sentences.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "common/err.h"
#include "common/mem.h"
#include "common/str.h"
#include "common/util.h"

static void comparisons(void **state)
{
    (void)state;
    assert_true(str_eq(STR("abc"), str_of("abc")));
    assert_false(str_eq(STR("abc"), STR("abd")));
    assert_false(str_eq(STR("abc"), STR("ab")));
    assert_true(str_eq(str_of(NULL), STR("")));
    assert_true(str_ieq(STR("INVITE"), STR("Invite")));
    assert_false(str_ieq(STR("@"), STR("`"))); /* bit 0x20 is no case outside letters */
    assert_false(str_ieq(STR("\xc4"), STR("\xe4")));
    assert_true(str_starts(STR("sip:alice"), STR("sip:")));
    assert_false(str_starts(STR("si"), STR("sip:")));
    assert_true(str_istarts(STR("SIP:alice"), STR("sip:")));
    assert_true(str_ends(STR("node.conf"), STR(".conf")));
    assert_false(str_ends(STR("conf"), STR(".conf")));
    assert_true(str_cmp(STR("a"), STR("b")) < 0);
    assert_true(str_cmp(STR("ab"), STR("a")) > 0);
    assert_true(str_cmp(STR("\xff"), STR("a")) > 0); /* bytes, not chars */
    assert_int_equal(str_cmp(STR(""), STR("")), 0);
}

static void parts(void **state)
{
    struct str head, tail;

    (void)state;
    assert_int_equal(str_find(STR("a@b@c"), '@'), 1);
    assert_int_equal(str_rfind(STR("a@b@c"), '@'), 3);
    assert_int_equal(str_find(STR("abc"), '@'), 3);
    assert_int_equal(str_rfind(STR("abc"), '@'), 3);
    assert_int_equal(str_find(STR(""), '@'), 0);
    assert_int_equal(str_find_unquoted(STR("a=\"x;\\\";\";b"), ';'), 9);
    assert_int_equal(str_find_unquoted(STR("a=\"never;closed"), ';'), 15);
    assert_int_equal(str_find_unquoted(STR("\"\\"), ';'), 2);

    assert_true(str_eq_c(str_sub(STR("abcdef"), 2, 3), "cde"));
    assert_true(str_eq_c(str_sub(STR("abcdef"), 4, 100), "ef"));
    assert_true(str_eq_c(str_sub(STR("abcdef"), 2, SIZE_MAX), "cdef"));
    assert_true(str_empty(str_sub(STR("abc"), 4, 1)));
    assert_true(str_empty(str_sub(STR("abc"), SIZE_MAX, SIZE_MAX)));

    assert_true(str_cut(STR("key = a=b"), '=', &head, &tail));
    assert_true(str_eq_c(str_trim(head), "key") && str_eq_c(str_trim(tail), "a=b"));
    assert_false(str_cut(STR("key"), '=', &head, &tail));
    assert_true(str_eq_c(head, "key") && str_empty(tail));
    assert_true(str_cut(STR("="), '=', &head, &tail));
    assert_true(str_empty(head) && str_empty(tail));
    tail = STR("a b"); /* into itself */
    assert_true(str_cut(tail, ' ', &head, &tail));
    assert_true(str_eq_c(head, "a") && str_eq_c(tail, "b"));
    assert_true(str_empty(str_trim(STR(" \t\r\n"))));
}

static void numbers(void **state)
{
    static const struct {
        const char *text;
        bool is_u64, is_u32, is_i32;
    } rows[] = {
        {"0", true, true, true},
        {"007", true, true, true},
        {"2147483647", true, true, true},
        {"2147483648", true, true, false},
        {"-2147483647", false, false, true},
        {"4294967295", true, true, false},
        {"4294967296", true, false, false},
        {"18446744073709551615", true, false, false},
        {"18446744073709551616", false, false, false},
        {"99999999999999999999", false, false, false},
        {"", false, false, false},
        {"-", false, false, false},
        {"+1", false, false, false},
        {" 1", false, false, false},
        {"1x", false, false, false},
        {"0x10", false, false, false},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        uint64_t u64 = 99;
        uint32_t u32 = 99;
        int32_t i32 = 99;

        if (str_u64(str_of(rows[i].text), &u64) != rows[i].is_u64 ||
            str_u32(str_of(rows[i].text), &u32) != rows[i].is_u32 ||
            str_i32(str_of(rows[i].text), &i32) != rows[i].is_i32)
            fail_msg("\"%s\"", rows[i].text);
        assert_true(rows[i].is_u64 || u64 == 99); /* not written on failure */
    }
    uint64_t value;
    assert_true(str_u64(STR("18446744073709551615"), &value));
    assert_true(value == UINT64_MAX);
}

static void utf8_is_checked(void **state)
{
    static const struct {
        const char *text;
        bool good;
    } rows[] = {
        {"", true},
        {"plain", true},
        {"\xc3\xa4", true},
        {"\xe2\x82\xac", true},
        {"\xf0\x9f\x99\x82", true},
        {"\xf4\x8f\xbf\xbf", true}, /* U+10FFFF */
        {"\x80", false},            /* a tail alone */
        {"\xc3", false},            /* cut off */
        {"\xe2\x82", false},
        {"\xc3z", false},
        {"\xc0\xaf", false}, /* overlong */
        {"\xe0\x80\xaf", false},
        {"\xf0\x80\x80\xaf", false},
        {"\xed\xa0\x80", false},     /* a surrogate */
        {"\xf4\x90\x80\x80", false}, /* beyond U+10FFFF */
        {"\xff", false},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        if (str_utf8(str_of(rows[i].text)) != rows[i].good)
            fail_msg("row %zu", i);
    assert_false(str_utf8(str_of_bytes("a\0b", 3)));
}

static void prefixes_do_not_cut_characters(void **state)
{
    struct str s = STR("a\xe2\x82\xac"
                       "b");

    (void)state;
    assert_int_equal(str_utf8_prefix(s, 0).len, 0);
    assert_int_equal(str_utf8_prefix(s, 1).len, 1);
    assert_int_equal(str_utf8_prefix(s, 2).len, 1);
    assert_int_equal(str_utf8_prefix(s, 3).len, 1);
    assert_int_equal(str_utf8_prefix(s, 4).len, 4);
    assert_int_equal(str_utf8_prefix(s, 5).len, 5);
    assert_int_equal(str_utf8_prefix(s, 99).len, 5);
}

static void hash_is_fnv_1a(void **state)
{
    (void)state;
    assert_true(str_hash(STR("")) == 0xcbf29ce484222325);
    assert_true(str_hash(STR("a")) == 0xaf63dc4c8601ec8c);
    assert_true(str_hash(STR("foobar")) == 0x85944171f73967e8);
}

static void copies_end_with_a_nul(void **state)
{
    CLEANUP(mem_free_at) char *copy = str_dup(str_sub(STR("alice@muster.test"), 0, 5));
    char *grown;

    (void)state;
    assert_string_equal(copy, "alice");
    grown = mem_grow(mem_strdup("ab"), 3, 6);
    assert_memory_equal(grown, "ab\0\0\0", 6);
    mem_free(grown);
    mem_free(NULL);
}

static void sentences_are_cut_to_fit(void **state)
{
    struct err e;

    (void)state;
    assert_int_equal(err_set(&e, "%s:%d: no", "file", 3), -1);
    assert_string_equal(e.text, "file:3: no");
    assert_int_equal(err_set(&e, "%01000d", 1), -1);
    assert_int_equal(strlen(e.text), sizeof(e.text) - 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(comparisons),
        cmocka_unit_test(parts),
        cmocka_unit_test(numbers),
        cmocka_unit_test(utf8_is_checked),
        cmocka_unit_test(prefixes_do_not_cut_characters),
        cmocka_unit_test(hash_is_fnv_1a),
        cmocka_unit_test(copies_end_with_a_nul),
        cmocka_unit_test(sentences_are_cut_to_fit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
