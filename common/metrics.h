// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Counters and gauges of one daemon, from metrics.def. Safe from any thread (relaxed atomics).
 */
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "common/buf.h"

enum metric {
#define METRIC(id, ...) METRIC_##id,
#include "common/metrics.def"
#undef METRIC
    METRIC_COUNT,
};

/* All zero at start. */
struct metrics {
    _Atomic int64_t values[METRIC_COUNT];
    atomic_bool used[METRIC_COUNT];
};

/* Asked first, so that threads do not fight for the flag's cache line. */
static inline void metrics_use(struct metrics *m, enum metric id)
{
    if (!atomic_load_explicit(&m->used[id], memory_order_relaxed))
        atomic_store_explicit(&m->used[id], true, memory_order_relaxed);
}

static inline void metrics_add(struct metrics *m, enum metric id, int64_t n)
{
    metrics_use(m, id);
    atomic_fetch_add_explicit(&m->values[id], n, memory_order_relaxed);
}

static inline void metrics_set(struct metrics *m, enum metric id, int64_t n)
{
    metrics_use(m, id);
    atomic_store_explicit(&m->values[id], n, memory_order_relaxed);
}

/* Prometheus text; those never touched are left out, so that each daemon shows its own. */
void metrics_print(const struct metrics *m, struct buf *out);
