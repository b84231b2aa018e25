// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * GET /metrics and /healthz of the node, for monitoring: http://ADDRESS:9464/metrics.
 *
 * A thread of libmicrohttpd answers from texts that it holds and never waits for the loop. The loop
 * renews them: every METRICS_HTTP_REFRESH_MS on_refresh asks for texts, which come back by
 * metrics_http_put() as the daemons answer. Samples of one name are put together under one HELP and
 * TYPE, with the labels service and node. A text that was not renewed for METRICS_HTTP_STALE_MS is
 * left out.
 */
#include <stdbool.h>
#include <stdint.h>

#include <uv.h>

#include "common/err.h"
#include "common/str.h"

struct metrics_http;

enum { METRICS_HTTP_REFRESH_MS = 2000, METRICS_HTTP_STALE_MS = 10000 };

struct metrics_http_config {
    const char *address; /* numeric; borrowed until metrics_http_close() */
    uint16_t port;
    const char *node; /* value of the label `node`; borrowed as well */
    /* Ask every daemon, and yourself. Called first from the loop, right after the start. */
    void (*on_refresh)(void *ctx);
    void *ctx;
};

/* NULL with a sentence where the port cannot be had. */
struct metrics_http *metrics_http_start(uv_loop_t *loop, const struct metrics_http_config *config,
                                        struct err *ret_err);
/* Ends the thread (a moment), and frees itself when its timer is closed. */
void metrics_http_close(struct metrics_http *m);

/* Prometheus text of `service` ("proxyd", ...), copied; what is no such text is left out line by
 * line. At most 256 KiB, of at most 8 services. */
void metrics_http_put(struct metrics_http *m, const char *service, struct str text);

/* /healthz: 200 and `text` when healthy, else 503 and `text`. 503 "starting" before the first. */
void metrics_http_health(struct metrics_http *m, bool healthy, const char *text);
