// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Prometheus texts of several processes as one (core): samples of one name stand together, under
 * one HELP and TYPE, each with labels of where it came from. Texts come from our own daemons, but
 * what is no sample is left out line by line all the same.
 */
#include "common/buf.h"
#include "common/str.h"

enum { METRICS_TEXT_FAMILIES_MAX = 1024 };

struct metrics_text_source {
    const char *service; /* value of label `service` */
    struct str text;
};

/* Appends everything to `out`, families in the order in which they first come. */
void metrics_text_merge(struct buf *out, const struct metrics_text_source *sources, size_t count,
                        const char *node);
