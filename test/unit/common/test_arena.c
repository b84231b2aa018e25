// SPDX-License-Identifier: Apache-2.0
/*
 * The memory of one message, and frames, which are unpacked into it.
 */
#include <setjmp.h>
#include <stdalign.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "common/arena.h"
#include "common/frame.h"
#include "common/mem.h"

static void gives_zeroed_aligned_memory(void **state)
{
    static const char zeroes[5000];
    struct arena a;

    (void)state;
    arena_init(&a, 1 << 20);
    for (size_t size = 0; size < sizeof(zeroes); size += 61) {
        char *p = arena_alloc(&a, size);

        assert_non_null(p);
        assert_int_equal((uintptr_t)p % alignof(max_align_t), 0);
        assert_memory_equal(p, zeroes, size);
        memset(p, 0xff, size);
    }
    arena_done(&a);
    assert_int_equal(a.used, 0);
}

static void refuses_past_its_limit(void **state)
{
    struct arena a;

    (void)state;
    arena_init(&a, 1000);
    assert_null(arena_alloc(&a, 1001));
    assert_null(arena_alloc(&a, SIZE_MAX));
    assert_null(arena_alloc(&a, SIZE_MAX - 8));
    assert_non_null(arena_alloc(&a, 900));
    assert_null(arena_alloc(&a, 100));
    assert_non_null(arena_alloc(&a, 10));
    assert_null(arena_dup_c(&a, str_of_bytes((char[200]){0}, 200)));
    assert_null(arena_dup(&a, str_of_bytes((char[200]){0}, 200)).p);
    arena_done(&a);
}

static void copies_text(void **state)
{
    struct arena a;

    (void)state;
    arena_init(&a, 1000);
    assert_string_equal(arena_dup_c(&a, STR("bob")), "bob");
    assert_string_equal(arena_dup(&a, STR("")).p, "");
    arena_done(&a);
}

static void frame_is_packed_and_unpacked(void **state)
{
    Muster__Registration registration = MUSTER__REGISTRATION__INIT;
    Muster__Envelope envelope = MUSTER__ENVELOPE__INIT;
    const Muster__Envelope *back;
    struct str message;
    struct arena a;
    struct buf out;

    (void)state;
    registration.aor = "bob@muster.test";
    registration.bindings = 2;
    envelope.id = 5;
    envelope.body_case = MUSTER__ENVELOPE__BODY_REGISTRATION;
    envelope.registration = &registration;
    buf_init(&out, frame_size(&envelope));
    assert_true(frame_put(&out, &envelope));
    assert_int_equal(out.len, frame_size(&envelope));
    assert_false(frame_put(&out, &envelope));
    assert_false(out.full);

    for (size_t len = 0; len < out.len; len++)
        assert_int_equal(frame_look(str_sub(buf_str(&out), 0, len), &message), FRAME_PARTIAL);
    assert_int_equal(frame_look(buf_str(&out), &message), FRAME_WHOLE);
    assert_int_equal(message.len, out.len - FRAME_HEAD_BYTES);

    arena_init(&a, FRAME_UNPACKED_MAX);
    back = frame_unpack(message, &a);
    assert_int_equal(back->id, 5);
    assert_string_equal(back->registration->aor, "bob@muster.test");
    arena_done(&a);
    buf_done(&out);
}

static void frame_that_is_too_large_is_seen_in_its_head(void **state)
{
    struct str message;

    (void)state;
    assert_int_equal(frame_look(str_of_bytes("\0\x10\0\0", 4), &message), FRAME_PARTIAL);
    assert_int_equal(frame_look(str_of_bytes("\0\x10\0\1", 4), &message), FRAME_TOO_LARGE);
    assert_int_equal(frame_look(str_of_bytes("\xff\xff\xff\xff", 4), &message), FRAME_TOO_LARGE);
    assert_int_equal(frame_look(str_of_bytes("\0\0\0\0", 4), &message), FRAME_WHOLE);
    assert_int_equal(message.len, 0);
}

/* Many empty parts: small on the wire, large in memory. */
static void message_that_swells_is_refused(void **state)
{
    enum { PARTS = 300000 };
    struct arena a;
    struct buf b;
    uint8_t *p;

    (void)state;
    buf_init(&b, FRAME_BYTES_MAX);
    buf_put(&b, "\x32\xc0\xcf\x24", 4); /* params, 2 * PARTS bytes */
    p = buf_reserve(&b, 2 * PARTS);
    for (size_t i = 0; i < PARTS; i++) {
        p[2 * i] = 0x12; /* an empty param */
        p[2 * i + 1] = 0;
    }
    b.len += 2 * PARTS;
    arena_init(&a, FRAME_UNPACKED_MAX);
    assert_null(frame_unpack(buf_str(&b), &a));
    assert_true(a.used <= FRAME_UNPACKED_MAX);
    assert_true(a.used > FRAME_UNPACKED_MAX / 2); /* that was why */
    arena_done(&a);
    buf_done(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gives_zeroed_aligned_memory),
        cmocka_unit_test(refuses_past_its_limit),
        cmocka_unit_test(copies_text),
        cmocka_unit_test(frame_is_packed_and_unpacked),
        cmocka_unit_test(frame_that_is_too_large_is_seen_in_its_head),
        cmocka_unit_test(message_that_swells_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
