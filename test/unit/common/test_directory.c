// SPDX-License-Identifier: Apache-2.0
/*
 * The directory of users: what is found in it after puts, removals and reloads.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "common/buf.h"
#include "common/directory.h"

static void put(struct directory *d, const char *aor, const char *name, uint32_t home)
{
    struct user user = {.aor = aor, .display_name = name, .home = home};

    user.credentials.iterations = DIRECTORY_ITERATIONS;
    directory_put(d, &user);
}

static uint32_t home_of(struct directory *d, const char *aor)
{
    const struct user *user = directory_find(d, str_of(aor));

    return user ? user->home : 99;
}

static void list(void *ctx, const struct user *user)
{
    buf_printf(ctx, "%s=%u ", user->aor, user->home);
}

static void expect(struct directory *d, const char *text)
{
    struct buf all;

    buf_init(&all, 1000);
    directory_each(d, list, &all);
    assert_string_equal(all.len ? all.data : "", text);
    buf_done(&all);
}

static void finds_what_was_put(void **state)
{
    struct directory *d = directory_new();
    char aor[] = "alice@muster.test";

    (void)state;
    put(d, aor, "Alice", 1);
    memset(aor, 'x', 5); /* it is a copy */
    assert_int_equal(home_of(d, "alice@muster.test"), 1);
    assert_int_equal(home_of(d, "alice@muster.tes"), 99);
    assert_int_equal(home_of(d, ""), 99);
    assert_string_equal(directory_find(d, STR("alice@muster.test"))->display_name, "Alice");
    assert_int_equal(directory_find(d, STR("alice@muster.test"))->credentials.iterations,
                     DIRECTORY_ITERATIONS);
    /* A view of a longer text. */
    assert_non_null(directory_find(d, str_sub(STR("alice@muster.test/laptop"), 0, 17)));
    directory_free(d);
}

static void replaces_even_with_itself(void **state)
{
    struct directory *d = directory_new();
    struct user user;

    (void)state;
    put(d, "alice@muster.test", "Alice", 1);
    put(d, "alice@muster.test", "Alice A.", 2);
    assert_int_equal(directory_count(d), 1);
    assert_int_equal(home_of(d, "alice@muster.test"), 2);

    user = *directory_find(d, STR("alice@muster.test")); /* its strings are the directory's */
    user.home = 3;
    directory_put(d, &user);
    assert_int_equal(home_of(d, "alice@muster.test"), 3);
    assert_string_equal(directory_find(d, STR("alice@muster.test"))->display_name, "Alice A.");
    directory_free(d);
}

static void reload_drops_those_that_were_not_put(void **state)
{
    struct directory *d = directory_new();

    (void)state;
    put(d, "a@x", "", 1);
    put(d, "b@x", "", 1);
    put(d, "c@x", "", 2);
    expect(d, "a@x=1 b@x=1 c@x=2 ");
    directory_reload_begin(d);
    put(d, "c@x", "", 1);
    put(d, "d@x", "", 2);
    assert_int_equal(home_of(d, "b@x"), 1); /* until the end */
    directory_reload_end(d);
    expect(d, "c@x=1 d@x=2 ");

    /* One that is changed by a notification meanwhile stays too. */
    directory_reload_begin(d);
    put(d, "d@x", "", 2);
    directory_remove(d, STR("d@x"));
    put(d, "e@x", "", 0);
    directory_reload_end(d);
    expect(d, "e@x=0 ");
    directory_reload_begin(d);
    directory_reload_end(d);
    assert_int_equal(directory_count(d), 0);
    directory_free(d);
}

static void removing_nobody_is_fine(void **state)
{
    struct directory *d = directory_new();

    (void)state;
    directory_remove(d, STR("nobody@muster.test"));
    directory_free(d);
    directory_free(NULL);
}

static void holds_many(void **state)
{
    struct directory *d = directory_new();
    char aor[32];

    (void)state;
    for (uint32_t i = 0; i < 20000; i++) {
        snprintf(aor, sizeof(aor), "u%06u@muster.test", i);
        put(d, aor, "", 1 + i % 2);
    }
    assert_int_equal(directory_count(d), 20000);
    for (uint32_t i = 0; i < 20000; i += 7) {
        snprintf(aor, sizeof(aor), "u%06u@muster.test", i);
        assert_int_equal(home_of(d, aor), 1 + i % 2);
    }
    directory_free(d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(finds_what_was_put),
        cmocka_unit_test(replaces_even_with_itself),
        cmocka_unit_test(reload_drops_those_that_were_not_put),
        cmocka_unit_test(removing_nobody_is_fine),
        cmocka_unit_test(holds_many),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
