// SPDX-License-Identifier: Apache-2.0
#include "common/metrics.h"

#include <inttypes.h>

enum kind { COUNTER, GAUGE };

static const struct {
    const char *name;
    enum kind kind;
    const char *help;
} table[METRIC_COUNT] = {
#define METRIC(id, name, kind, help) [METRIC_##id] = {name, kind, help},
#include "common/metrics.def"
#undef METRIC
};

void metrics_print(const struct metrics *m, struct buf *out)
{
    for (size_t i = 0; i < METRIC_COUNT; i++) {
        if (!atomic_load_explicit(&m->used[i], memory_order_relaxed))
            continue;
        buf_printf(out, "# HELP %s %s\n# TYPE %s %s\n%s %" PRId64 "\n", table[i].name,
                   table[i].help, table[i].name, table[i].kind == COUNTER ? "counter" : "gauge",
                   table[i].name, atomic_load_explicit(&m->values[i], memory_order_relaxed));
    }
}
