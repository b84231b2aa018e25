// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Soft state in two memories: keyed records in numbered tables, the same on both nodes of a group.
 *
 *               link up, hellos            snapshot sent and acknowledged
 *     FRESH ---------------------+     +----------------------------------> IN_SYNC
 *       |                        v     |                                      |
 *       | no peer to wait for   SYNCING <---------- link new -----------------+
 *       v                        |  ^                                         |
 *     ALONE <--------------------+--+---- link down | nothing acknowledged ---+
 *                                             for commit_timeout_ms
 *
 * A record belongs to a user, and only the node that serves that user writes it. Every change gets
 * a number, goes to the peer in order, and is acknowledged cumulatively. replica_commit() calls
 * back when the peer holds everything so far, or at once (in the next replica_flush()) while the
 * group runs without its peer.
 *
 * A link that is new begins with hellos. Who says `fresh` has lost its memory and gets all that the
 * other holds, its own users' records too; anybody else gets what the other owns. So a daemon that
 * crashed comes back with what it had, and on_restored says when. Records hold deadlines if their
 * owner wants that; this module never acts on them.
 *
 * Conflicts: what the peer says of a user that is ours is refused, unless we are FRESH; what it
 * says of users that nobody serves, during a move, is taken unless we wrote that record last. Where
 * the nodes turn out to have differed, the stream is asked for again once their epochs agree.
 *
 * A core: frames go out through `send`, come in through replica_receive(), time comes in as an
 * argument. `send`, on_state, on_restored and commits are called from within replica_flush() only,
 * so call that after anything else, at the latest when replica_pending().
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <replica.pb-c.h>

#include "common/mono.h"
#include "common/str.h"

enum {
    REPLICA_TABLES_MAX = 16,
    REPLICA_KEY_MAX = 4096,                /* bytes of a key or a user */
    REPLICA_VALUE_MAX = (1 << 20) - 16384, /* so that a record fits a frame */
    REPLICA_E_STALE = 1,
    REPLICA_E_REFUSED = 2,
    REPLICA_E_FULL = 3,
};

struct replica;

struct replica_record {
    struct str key;  /* unique in its table, on both nodes; never empty */
    struct str user; /* bare JID / AoR */
    struct str value;
};

/* committed: true when the peer has it or there is none; it is never false today, so that a caller
 * need not ask. Exactly once per replica_commit(), in order. */
typedef void replica_commit_cb(void *ctx);

struct replica_config {
    uint32_t service; /* enum Service */
    uint64_t boot_id; /* never 0 */
    uint64_t commit_timeout_ms;
    uint64_t restore_timeout_ms; /* how long FRESH waits for a peer that should be there */
    size_t bytes_max;            /* all records; beyond, replica_put() refuses */
    /* Do we serve this user, by the view? */
    bool (*is_mine)(void *ctx, struct str user);
    /* Does the peer? During a move neither does. NULL: whom we don't serve the peer does. */
    bool (*is_peers)(void *ctx, struct str user);
    /* Hands a frame to the link. False: it was not taken, and the link counts as broken. */
    bool (*send)(void *ctx, const Muster__ReplicaFrame *frame);
    /* The state changed, for alarms and ViewAck. */
    void (*on_state)(void *ctx, Muster__ReplicaState state);
    /* FRESH is over: what the peer held of ours is here. Activate it, then serve. */
    void (*on_restored)(void *ctx);
    void *ctx;
};

struct replica *replica_new(const struct replica_config *config);
void replica_free(struct replica *r);

/* Adds or replaces a record of a user that is ours. False past bytes_max, or when the record is too
 * large: nothing changed. */
bool replica_put(struct replica *r, uint32_t table, const struct replica_record *record)
    __attribute__((warn_unused_result));
void replica_delete(struct replica *r, uint32_t table, struct str key);

/* True, and views into the record, valid until the next change. */
bool replica_find(const struct replica *r, uint32_t table, struct str key,
                  struct replica_record *ret_record);
size_t replica_count(const struct replica *r, uint32_t table);
/* Calls `each` for every record of a table, in the order in which they were first put. `each` may
 * delete or replace the record that it is shown, but add none. */
void replica_each(struct replica *r, uint32_t table,
                  void (*each)(void *ctx, const struct replica_record *record), void *ctx);

/* Calls back when all that was put so far is in both memories. Never from within. */
void replica_commit(struct replica *r, replica_commit_cb *done, void *ctx);

/* At the end of a turn of the loop: sends changes as one frame, calls what is committed. */
void replica_flush(struct replica *r, mono_t now);

/* From the link. link_id is new whenever frames may have been lost. */
void replica_link_up(struct replica *r, uint64_t link_id, mono_t now);
void replica_link_down(struct replica *r, mono_t now);
/* A frame of the peer. 0 · REPLICA_E_STALE: of an older stream, or out of place; nothing changed ·
 * REPLICA_E_REFUSED: some of its records are of users that are ours; the others were taken ·
 * REPLICA_E_FULL: more than bytes_max and a quarter; the peer is left out of sync. */
int replica_receive(struct replica *r, const Muster__ReplicaFrame *frame, mono_t now);

/* The view: our epoch, and whether the peer's daemon is there to be waited for. Also makes
 * is_mine() be asked anew. Before the first one the peer is not spoken to. */
void replica_view(struct replica *r, uint64_t epoch, bool peer_expected, mono_t now);

/* The parameter changed; counts from the next acknowledgement on. */
void replica_set_commit_timeout(struct replica *r, uint64_t commit_timeout_ms);

/* Time has passed. */
void replica_tick(struct replica *r, mono_t now);
mono_t replica_deadline(const struct replica *r);

Muster__ReplicaState replica_state(const struct replica *r);
/* A change is waiting to be flushed, or a commit to be called. */
bool replica_pending(const struct replica *r);
/* Asserts every invariant; for tests. */
void replica_check(const struct replica *r);
