// SPDX-License-Identifier: Apache-2.0
/*
 * I/O threads: every message arrives once and in order, whoever floods whom, and nothing is lost or
 * leaked when the pool closes in the middle of it.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "common/iopool.h"
#include "common/mem.h"

enum { THREADS = 3, MESSAGES = 20000 };

struct number {
    struct iopool_message head; /* first */
    unsigned value;
};

struct core {
    uv_loop_t loop;
    struct iopool *pool;
    unsigned next[THREADS];
    unsigned batches, dropped, stopped_at;
};

/* The worker's own: how many it has seen. */
struct worker_state {
    unsigned next;
};

static struct iopool_message *number(unsigned value)
{
    struct number *n = mem_new(sizeof(*n));

    n->value = value;
    return &n->head;
}

static void *on_start(struct iopool_worker *w, void *ctx)
{
    (void)w, (void)ctx;
    return mem_new(sizeof(struct worker_state));
}

static void on_message(struct iopool_worker *w, struct iopool_message *m)
{
    struct worker_state *state = iopool_state(w);

    if (((struct number *)m)->value != state->next++)
        abort();
    iopool_send(w, m); /* back */
}

static void on_stop(struct iopool_worker *w)
{
    mem_free(iopool_state(w));
}

static void on_core_message(void *ctx, struct iopool_worker *w, struct iopool_message *m)
{
    struct core *c = ctx;

    assert_int_equal(((struct number *)m)->value, c->next[iopool_index(w)]++);
    mem_free(m);
}

static void on_core_batch(void *ctx)
{
    struct core *c = ctx;
    unsigned all = 0;

    c->batches++;
    for (unsigned i = 0; i < THREADS; i++)
        all += c->next[i];
    if (all < c->stopped_at || !c->pool)
        return;
    iopool_close(c->pool);
    iopool_post(iopool_worker(c->pool, 0), number(0)); /* too late: dropped */
    c->pool = NULL;
}

static void on_drop(void *ctx, struct iopool_message *m)
{
    struct core *c = ctx;

    c->dropped++;
    mem_free(m);
}

static void run(struct core *c, unsigned stopped_at)
{
    *c = (struct core){.stopped_at = stopped_at};
    uv_loop_init(&c->loop);
    c->pool = iopool_start(&c->loop, &(struct iopool_config){
                                         .threads = THREADS,
                                         .on_start = on_start,
                                         .on_message = on_message,
                                         .on_stop = on_stop,
                                         .on_core_message = on_core_message,
                                         .on_core_batch = on_core_batch,
                                         .on_drop = on_drop,
                                         .ctx = c,
                                     });
    assert_int_equal(iopool_threads(c->pool), THREADS);
    for (unsigned value = 0; value < MESSAGES; value++)
        for (unsigned i = 0; i < THREADS; i++)
            iopool_post(iopool_worker(c->pool, i), number(value));
    uv_run(&c->loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&c->loop), 0);
    for (unsigned i = 0; i < THREADS; i++)
        assert_int_equal(c->next[i], MESSAGES);
    assert_int_equal(c->dropped, 1);
}

static void all_come_back_in_order(void **state)
{
    struct core c;

    (void)state;
    run(&c, THREADS * MESSAGES);
    assert_in_range(c.batches, 1, THREADS * MESSAGES);
}

/* What was posted before the close is handled, and its answers are seen. */
static void a_close_loses_nothing(void **state)
{
    struct core c;

    (void)state;
    run(&c, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_come_back_in_order),
        cmocka_unit_test(a_close_loses_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
