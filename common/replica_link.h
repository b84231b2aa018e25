// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * The shell around a replica: its timer, its flush in each turn of the loop, before it waits for
 * more, and its frames, which travel through the routerd of this node. presenced and proxyd send
 * them on their link to routerd, as Envelope.replica; routerd puts its own on the fabric itself.
 */
#include "common/daemon.h"
#include "common/replica.h"

struct replica_link;

/* `send`: how a frame leaves this process. `config`: service, boot_id, commit_timeout_ms, send and
 * on_state are filled in here; the rest is the caller's, and its ctx goes to its own callbacks.
 * That the peer is out of sync is raised as alarm ReplicaOutOfSync. */
struct replica_link *replica_link_start(struct daemon *d, const struct replica_config *config,
                                        bool (*send)(void *ctx, const Muster__ReplicaFrame *frame),
                                        void *send_ctx);
void replica_link_close(struct replica_link *l);

/* Called after each flush: commits may have set deadlines of the daemon's core, whose timer is to
 * be armed before the loop waits. */
void replica_link_after_flush(struct replica_link *l, void (*done)(void *ctx), void *ctx);

struct replica *replica_link_replica(struct replica_link *l);

/* Envelope.fabric_state came, or the link to routerd broke (peer_up false). */
void replica_link_state(struct replica_link *l, bool peer_up, uint64_t link_id);
/* Envelope.replica came. */
void replica_link_receive(struct replica_link *l, const Muster__ReplicaFrame *frame);
/* From daemon_config.on_view. */
void replica_link_view(struct replica_link *l, const struct view *view);
/* Re-arms the timer after the core was used outside a callback of the loop; within one it isn't
 * needed. */
void replica_link_touch(struct replica_link *l);

/* "in_sync", ...: for logs. */
const char *replica_link_state_name(Muster__ReplicaState state);
