// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * recoveryd's links to the daemons of its node and to nodectl: views go out, acknowledgements,
 * alarms and metrics come in.
 */
#include <envelope.pb-c.h>

#include "common/conf.h"
#include "common/ipc.h"
#include "recoveryd/rcv.h"

struct daemon_links;

struct daemon_links_config {
    const struct conf *conf; /* borrowed */
    uint64_t boot_id;
    struct metrics *metrics;
    /* All that a daemon must know of parameters; valid until the next call. */
    const Muster__Params *(*params)(void *ctx);
    void (*on_ack)(void *ctx, Muster__Service service, const Muster__ViewAck *ack);
    void (*on_alarm)(void *ctx, Muster__Service service, const Muster__Alarm *alarm);
    void (*on_metrics)(void *ctx, Muster__Service service, struct str text);
    /* nodectl asks: answer with ipc_send() on `link`, same id. */
    void (*on_admin)(void *ctx, struct ipc_link *link, uint64_t id,
                     const Muster__AdminRequest *request);
    void *ctx;
};

/* NULL with a sentence where the socket cannot be had. */
struct daemon_links *daemon_links_start(uv_loop_t *loop, const struct daemon_links_config *config,
                                        struct err *ret_err);
void daemon_links_close(struct daemon_links *l);

/* To every daemon; also what a link that comes up later gets first. The lease begins at
 * made_at_ms. */
void daemon_links_push(struct daemon_links *l, const struct rcv_view *view, uint64_t made_at_ms,
                       uint32_t lease_ms);
/* Parameters have changed. */
void daemon_links_send_params(struct daemon_links *l);
void daemon_links_ask_metrics(struct daemon_links *l);
