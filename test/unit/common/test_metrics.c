// SPDX-License-Identifier: Apache-2.0
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "common/metrics.h"

static void only_what_was_used_is_shown(void **state)
{
    static struct metrics m;
    struct buf out;

    (void)state;
    buf_init(&out, 10000);
    metrics_print(&m, &out);
    assert_int_equal(out.len, 0);

    metrics_add(&m, METRIC_IMS, 2);
    metrics_add(&m, METRIC_IMS, 3);
    metrics_add(&m, METRIC_SESSIONS, 1);
    metrics_add(&m, METRIC_SESSIONS, -1); /* back to zero is not the same as never */
    metrics_print(&m, &out);
    assert_string_equal(out.data,
                        "# HELP muster_xmpp_sessions XMPP sessions served here, resumable ones "
                        "included\n"
                        "# TYPE muster_xmpp_sessions gauge\n"
                        "muster_xmpp_sessions 0\n"
                        "# HELP muster_im_total instant messages accepted for users served here\n"
                        "# TYPE muster_im_total counter\n"
                        "muster_im_total 5\n");
    buf_done(&out);
}

static void *count(void *m)
{
    for (int i = 0; i < 10000; i++)
        metrics_add(m, METRIC_CONNECTIONS, 1);
    return NULL;
}

static void threads_count_together(void **state)
{
    static struct metrics m;
    pthread_t threads[4];

    (void)state;
    for (int i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, count, &m), 0);
    for (int i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(m.values[METRIC_CONNECTIONS], 40000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(only_what_was_used_is_shown),
        cmocka_unit_test(threads_count_together),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
