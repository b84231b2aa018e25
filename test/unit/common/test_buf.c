// SPDX-License-Identifier: Apache-2.0
/*
 * Bytes that grow up to a limit.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "common/buf.h"
#include "common/mem.h"

static void grows_and_ends_with_a_nul(void **state)
{
    struct buf b;

    (void)state;
    buf_init(&b, 100000);
    for (int i = 0; i < 10000; i++)
        buf_put_c(&b, 'x');
    assert_int_equal(b.len, 10000);
    assert_int_equal(strlen(b.data), 10000);
    buf_clear(&b);
    assert_string_equal(b.data, "");
    buf_puts(&b, "a");
    buf_put_str(&b, STR("bc"));
    buf_put_u64(&b, 0);
    buf_put_u64(&b, UINT64_MAX);
    buf_printf(&b, " %s %d", "and", -1);
    assert_string_equal(b.data, "abc018446744073709551615 and -1");
    assert_false(b.full);
    buf_done(&b);
    assert_null(b.data);
}

static void limit_keeps_what_is_there(void **state)
{
    struct buf b;

    (void)state;
    buf_init(&b, 5);
    buf_puts(&b, "abc");
    buf_puts(&b, "def");
    assert_true(b.full);
    buf_puts(&b, "g"); /* would fit, but something is missing before it */
    buf_printf(&b, "%d", 7);
    assert_null(buf_reserve(&b, 0));
    assert_string_equal(b.data, "abc");
    buf_clear(&b);
    assert_false(b.full);
    buf_puts(&b, "12345");
    assert_false(b.full);
    assert_string_equal(b.data, "12345");
    buf_put_c(&b, '6');
    assert_true(b.full);
    buf_done(&b);

    buf_init(&b, 0);
    buf_put(&b, "", 0);
    assert_false(b.full);
    buf_put_c(&b, 'x');
    assert_true(b.full);
    assert_int_equal(buf_str(&b).len, 0);
    buf_done(&b);
}

static void huge_length_does_not_wrap(void **state)
{
    struct buf b;

    (void)state;
    buf_init(&b, 100);
    buf_puts(&b, "abc");
    assert_null(buf_reserve(&b, SIZE_MAX));
    assert_null(buf_reserve(&b, SIZE_MAX - 2));
    assert_true(b.full);
    buf_done(&b);
}

static void drops_from_the_front(void **state)
{
    struct buf b;

    (void)state;
    buf_init(&b, 100);
    buf_drop(&b, 0);
    buf_puts(&b, "abcdef");
    buf_drop(&b, 2);
    assert_string_equal(b.data, "cdef");
    buf_drop(&b, 4);
    assert_string_equal(b.data, "");
    buf_puts(&b, "again");
    assert_string_equal(b.data, "again");
    buf_done(&b);
}

static void bytes_can_be_taken(void **state)
{
    struct buf b;
    char *taken;

    (void)state;
    buf_init(&b, 100);
    taken = buf_take(&b);
    assert_string_equal(taken, "");
    mem_free(taken);
    buf_puts(&b, "abc");
    taken = buf_take(&b);
    assert_string_equal(taken, "abc");
    mem_free(taken);
    assert_int_equal(b.len, 0);
    buf_puts(&b, "limit is kept");
    assert_false(b.full);
    buf_done(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(grows_and_ends_with_a_nul), cmocka_unit_test(limit_keeps_what_is_there),
        cmocka_unit_test(huge_length_does_not_wrap), cmocka_unit_test(drops_from_the_front),
        cmocka_unit_test(bytes_can_be_taken),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
