// SPDX-License-Identifier: Apache-2.0
/*
 * Files of users: what is read, and what is said of lines that are wrong.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "common/mem.h"
#include "common/util.h"
#include "recoveryd/nodectl/password.h"
#include "recoveryd/nodectl/users_csv.h"

/* Fed in pieces of `piece` bytes. */
static struct users_csv *read_csv(struct str text, size_t piece)
{
    struct users_csv_reader *r = users_csv_reader_new("muster.test");

    for (size_t at = 0; at < text.len; at += piece)
        users_csv_feed(r, str_sub(text, at, piece));
    return users_csv_end(r);
}

static void lines_become_users(void **state)
{
    static const char text[] = "userid,password,display_name,mail,directory_uri\r\n"
                               "alice,secret,Alice A.,alice@muster.test,uri\r\n"
                               "Bob@Muster.Test,\"a,\"\"b\",\"Bob\nB.\"\n"
                               "\n"
                               "carol, x ";

    (void)state;
    for (size_t piece = 1; piece <= sizeof(text); piece++) {
        struct users_csv *all = read_csv(str_of(text), piece);

        assert_int_equal(all->complaint_count, 0);
        assert_int_equal(all->count, 3);
        assert_string_equal(all->users[0].userid, "alice");
        assert_string_equal(all->users[0].display_name, "Alice A.");
        assert_string_equal(all->users[0].mail, "alice@muster.test");
        assert_string_equal(all->users[0].directory_uri, "uri");
        assert_string_equal(all->users[1].userid, "bob");
        assert_string_equal(all->users[1].password, "a,\"b");
        assert_string_equal(all->users[1].display_name, "Bob\nB.");
        assert_string_equal(all->users[1].mail, "");
        assert_int_equal(all->users[1].line, 3);
        assert_string_equal(all->users[2].userid, "carol");
        assert_int_equal(all->users[2].line, 6);
        users_csv_free(all);
    }
}

static void wrong_lines_are_named(void **state)
{
    static const struct {
        const char *text;
        const char *complaint; /* begins like this */
    } cases[] = {
        {"alice,x\nbob\n", "line 2: it needs at least"},
        {"alice,\n", "line 1: a password has"},
        {",x\n", "line 1:  is no user id"},
        {"a b,x\n", "line 1: a b is no user id"},
        {"a/b,x\n", "line 1: a/b is no user id"},
        {"alice@example.com,x\n", "line 1: alice@example.com: the domain here is muster.test"},
        {"alice,x\nALICE,y\n", "line 2: alice is in line 1 already"},
        {"alice,x\nuserid,x\nuserid,x\n", "line 3: userid is in line 2 already"},
        {"alice,x,1,2,3,4\n", "line 1: it has more than 5 fields"},
        {"al\xff,x\n", "line 1: it is not UTF-8"},
        {"alice,p\x01\n", "line 1: the password has characters"},
        {"alice,x\nbob,\"x\"y\n", "line 2: "},
        {"alice,x\nbob,\"x\n", "line 2: "},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct users_csv *all = read_csv(str_of(cases[i].text), 1000);

        if (all->complaint_count != 1 ||
            !str_starts(str_of(all->complaints[0].text), str_of(cases[i].complaint)))
            fail_msg("%s: %zu %s", cases[i].text, all->complaint_count, all->complaints[0].text);
        users_csv_free(all);
    }
}

static void many_wrong_lines_are_counted(void **state)
{
    struct users_csv_reader *r = users_csv_reader_new("muster.test");
    struct users_csv *all;

    (void)state;
    for (int i = 0; i < 1000; i++)
        users_csv_feed(r, STR("only\n"));
    all = users_csv_end(r);
    assert_int_equal(all->complaint_count, 1000);
    assert_int_equal(all->count, 0);
    users_csv_free(all);
}

static void a_field_without_end_is_refused(void **state)
{
    struct users_csv_reader *r = users_csv_reader_new("muster.test");
    struct users_csv *all;
    char much[4096];

    (void)state;
    memset(much, 'x', sizeof(much));
    users_csv_feed(r, STR("alice,\""));
    for (int i = 0; i < 4096; i++)
        users_csv_feed(r, str_of_bytes(much, sizeof(much)));
    users_csv_feed(r, STR("\"\n"));
    all = users_csv_end(r);
    assert_int_equal(all->complaint_count, 1);
    users_csv_free(all);
}

static void passwords_are_prepared(void **state)
{
    static const struct {
        const char *password;
        const char *prepared; /* NULL: refused */
    } cases[] = {
        {"secret", "secret"},
        {"with space", "with space"},
        {"I\xc2\xadX", "IX"},   /* RFC 4013, section 3 */
        {"\xc2\xaa", "a"},      /* the same */
        {"\xe2\x85\xa8", "IX"}, /* the same */
        {"a\xc2\xa0z", "a z"},  /* a space that is none of ASCII's */
        {"\x07", NULL},         /* the same */
        {"\xd8\xa7\x31", NULL}, /* the same: bidirectional */
        {"", NULL},
        {"\xc2\xad", NULL}, /* nothing is left */
        {"\xff", NULL},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char prepared[PASSWORD_BYTES_MAX + 1];
        struct err e;
        int r = password_prepare(str_of(cases[i].password), prepared, &e);

        assert_int_equal(r, cases[i].prepared ? 0 : -1);
        if (cases[i].prepared)
            assert_string_equal(prepared, cases[i].prepared);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lines_become_users),
        cmocka_unit_test(wrong_lines_are_named),
        cmocka_unit_test(many_wrong_lines_are_counted),
        cmocka_unit_test(a_field_without_end_is_refused),
        cmocka_unit_test(passwords_are_prepared),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
