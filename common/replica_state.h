// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * How a replica works inside; only replica*.c include this.
 *
 * Each direction is a stream of its own, which its receiver asks for by a number that it has never
 * used before; every frame carries that number, so what was meant for another life of either side
 * is recognised and dropped. The sender of a stream numbers every record, those of the snapshot
 * too, and the receiver acknowledges numbers: so the window of the snapshot, the end of the
 * snapshot and commits all wait for the same thing.
 *
 *     incoming:  WAITING --begin--> SNAPSHOT --end--> LIVE          a gap: WAITING, new number
 *     outgoing:  NONE --Hello--> (HELD -->) SNAPSHOT --all sent--> ENDED --acknowledged--> LIVE
 *
 * HELD: we are fresh and the peer isn't; what we hold would be taken for all there is. From LIVE on
 * we are IN_SYNC. Nothing that was sent is kept: when a stream breaks, in any way, the next one
 * begins with a snapshot. A stream may also be asked for anew while it goes on, to compare what
 * both hold; then changes stay in order across the two, commits go on waiting, and we stay IN_SYNC.
 *
 * A snapshot has all that the peer does not own, and what we wrote last though the peer owns it
 * now: that may not have reached it before it does.
 *
 * Everything that goes out goes out in replica_flush(): changes are logged as they are made, each
 * holding on to the record as it was, and what else is due is a flag or a deadline. A flush sends
 * changes before it goes on with a snapshot, so the peer's memory is always one that we had.
 */
#include "common/replica.h"
#include "common/replica_store.h"

enum {
    FRAME_BYTES = 256 * 1024,
    FRAME_RECORDS = 2048,
    WINDOW_FRAMES = 4,        /* of a snapshot, sent and not acknowledged */
    HELLO_INTERVAL_MS = 1000, /* while there is no answer */
    SNAPSHOT_PATIENCE = 10,   /* commit timeouts: how long a frame of a snapshot may take */
    LOG_FIRST = 64,
};

struct change {
    struct store_record *record;
    bool deleted;
};

struct commit {
    struct commit *next;
    uint64_t seq; /* what the peer must have acknowledged */
    replica_commit_cb *done;
    void *ctx;
};

enum out_phase { OUT_NONE, OUT_HELD, OUT_SNAPSHOT, OUT_ENDED, OUT_LIVE };

struct outgoing {
    enum out_phase phase;
    uint64_t stream;
    bool all;
    bool begin_due;
    bool synced; /* the peer has held everything once, and nothing was lost since */
    uint64_t acked;
    uint64_t sent;
    uint64_t end_seq;
    uint64_t window[WINDOW_FRAMES]; /* last numbers of the snapshot's frames on their way */
    size_t window_count;
    mono_t patience; /* something must be acknowledged by then; MONO_NEVER: nothing is on its way */
};

enum in_phase { IN_WAITING, IN_SNAPSHOT, IN_LIVE };

struct incoming {
    enum in_phase phase;
    uint64_t stream;
    uint64_t next; /* asked for while `stream` goes on; 0: none */
    uint64_t seq;
    uint64_t mark;
    bool all;
    bool partial;
    bool ack_due;
    /* The nodes differ about who serves whom: ask again when these two epochs have changed. */
    bool disputed;
    uint64_t disputed_ours, disputed_peers;
};

struct replica {
    struct replica_config config;
    struct store store;

    bool link_up;
    uint64_t link_id;
    bool lost; /* the link is up, but the peer does not answer */
    bool hello_due;
    mono_t hello_at;
    uint64_t streams; /* that we have asked for */

    bool viewed;
    bool peer_expected;
    uint64_t epoch, peer_epoch;
    bool restored, restored_due;
    bool complete; /* a snapshot of everything was here once; restored without it: by waiting */
    mono_t restore_at;

    uint64_t seq; /* number of the last change that was logged, or sent in a snapshot */
    struct change *log;
    size_t log_count, log_size;
    struct commit *commits, **commits_tail;
    Muster__ReplicaState told;

    struct incoming in;
    struct outgoing out;
    /* One frame while it is made. */
    Muster__ReplicaRecord records[FRAME_RECORDS];
    Muster__ReplicaRecord *record_list[FRAME_RECORDS];
};

/* ---- replica.c ---- */

bool replica_is_connected(const struct replica *r);
bool replica_is_mine(struct replica *r, struct str user);
bool replica_is_peers(struct replica *r, struct str user);
/* FRESH is over; on_restored is due. */
void replica_restore_end(struct replica *r, mono_t now);
/* Is there room for `record` in the place of what `slot` (may be NULL) holds? */
bool replica_fits(const struct replica *r, const struct store_slot *slot,
                  const struct replica_record *record, size_t bytes_max);
/* Does `slot` (may be NULL) hold the same? */
bool replica_same(const struct store_slot *slot, const struct replica_record *record);

/* ---- replica_out.c: our stream ---- */

/* Is it one to which changes belong? */
bool replica_out_streaming(const struct replica *r);
void replica_out_stop(struct replica *r);
/* continues: the one before goes on until this one begins. */
void replica_out_start(struct replica *r, uint64_t stream, bool all, bool continues);
/* The peer does not answer as it should. What comes after is a hello a second, and a snapshot. */
void replica_out_lose(struct replica *r, mono_t now);
void replica_out_log(struct replica *r, struct store_record *record, bool deleted);
/* Sends what is due, and copes with a link that does not take it. */
void replica_out_send(struct replica *r, mono_t now);
int replica_out_ack(struct replica *r, uint64_t stream, uint64_t seq, mono_t now);
int replica_out_hello(struct replica *r, const Muster__ReplicaHello *hello);

/* ---- replica_in.c: the peer's stream ---- */

/* Asks for it anew; the next hello that nothing else calls for is said at `at`. */
void replica_in_ask(struct replica *r, mono_t at);
/* The same, while the one so far goes on. */
void replica_in_ask_next(struct replica *r, mono_t at);
/* The one that the peer ought to send. */
uint64_t replica_in_wanted(const struct replica *r);
/* The nodes differed about who serves whom, and agree now. */
bool replica_in_dispute_over(const struct replica *r);
int replica_in_ops(struct replica *r, uint64_t stream, const Muster__ReplicaOps *ops, mono_t now);
int replica_in_snapshot(struct replica *r, uint64_t stream, const Muster__ReplicaSnapshot *snapshot,
                        mono_t now);
