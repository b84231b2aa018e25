// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * The links to the routerds of all other nodes: TLS with certificates on both sides, Envelope
 * frames (common/frame), FabricHello first in each direction.
 *
 *     dialling (we have the lower number)          --TLS, hellos--> up --anything--> dialling
 *     waiting  (the other one has)                 --TLS, hellos--> up --anything--> waiting
 *
 * Each pair of nodes has one link, which the lower number makes and makes again (100 ms, doubling
 * to 1 s). The certificate must be that of the node which the hello names. A node of our group that
 * is behind our epoch is refused until it has caught up. A newer link of a node replaces the older.
 *
 * What waits to be sent on a link is bounded; beyond, the link is broken, so nothing is ever left
 * out of the middle. Everything happens on the core's thread.
 */
#include <stdbool.h>
#include <stdint.h>

#include <envelope.pb-c.h>
#include <uv.h>

#include "common/conf.h"
#include "common/err.h"

struct fabric;
struct metrics;

struct fabric_config {
    uv_loop_t *loop;
    const struct conf *conf;
    uint64_t boot_id;
    struct metrics *metrics;
    /* link_id is drawn anew for each link; 0 with up false. */
    void (*on_link)(void *ctx, uint32_t node, bool up, uint64_t link_id);
    /* Im, ImReply, Stanza, ReplicaFrame; the envelope dies after the call. */
    void (*on_frame)(void *ctx, uint32_t node, const Muster__Envelope *envelope);
    void *ctx;
};

/* NULL with a sentence: certificates, or the port. */
struct fabric *fabric_start(const struct fabric_config *config, struct err *ret_err);
/* No callback comes any more. */
void fabric_close(struct fabric *f);

/* Our group's, from the view: said in hellos, and what is older is refused from now on. */
void fabric_set_epoch(struct fabric *f, uint64_t epoch);

/* Queues a copy. False: no link, or it is broken now because too much waits. */
bool fabric_send(struct fabric *f, uint32_t node, const Muster__Envelope *envelope);

/* 0: no link now. */
uint64_t fabric_link_id(const struct fabric *f, uint32_t node);
