// SPDX-License-Identifier: Apache-2.0
#include "common/mem.h"
#include "common/replica_state.h"

bool replica_out_streaming(const struct replica *r)
{
    return r->out.phase >= OUT_SNAPSHOT;
}

static void log_clear(struct replica *r)
{
    for (size_t i = 0; i < r->log_count; i++)
        store_record_unref(r->log[i].record);
    r->log_count = 0;
}

void replica_out_stop(struct replica *r)
{
    log_clear(r);
    r->out = (struct outgoing){.phase = OUT_NONE, .patience = MONO_NEVER};
}

/* Another snapshot. Changes that wait follow its beginning; acknowledgements of the numbers so far
 * come on the new stream. */
static void out_go_on(struct replica *r, uint64_t stream, bool all)
{
    r->out.phase = OUT_SNAPSHOT;
    r->out.stream = stream;
    r->out.all = all;
    r->out.begin_due = true;
    r->out.window_count = 0;
    store_walk_start(&r->store);
}

void replica_out_start(struct replica *r, uint64_t stream, bool all, bool continues)
{
    bool held = !r->restored && !all;

    if (continues && replica_out_streaming(r)) {
        out_go_on(r, stream, all);
        return;
    }
    replica_out_stop(r);
    r->out.phase = held ? OUT_HELD : OUT_SNAPSHOT;
    r->out.stream = stream;
    r->out.all = all;
    r->out.begin_due = !held;
    r->out.acked = r->out.sent = r->seq;
    r->lost = false;
    store_walk_start(&r->store);
}

void replica_out_lose(struct replica *r, mono_t now)
{
    replica_out_stop(r);
    r->lost = true;
    r->hello_at = now;
}

void replica_out_log(struct replica *r, struct store_record *record, bool deleted)
{
    if (!replica_out_streaming(r))
        return;
    if (r->log_count == r->log_size) {
        size_t size = r->log_size ? 2 * r->log_size : LOG_FIRST;

        r->log = mem_grow(r->log, r->log_size * sizeof(*r->log), size * sizeof(*r->log));
        r->log_size = size;
    }
    r->log[r->log_count++] = (struct change){store_record_ref(record), deleted};
    r->seq++;
}

static bool send_frame(struct replica *r, Muster__ReplicaFrame *frame)
{
    frame->service = r->config.service;
    return r->config.send(r->config.ctx, frame);
}

static bool send_hello(struct replica *r)
{
    Muster__ReplicaHello hello = MUSTER__REPLICA_HELLO__INIT;
    Muster__ReplicaFrame frame = MUSTER__REPLICA_FRAME__INIT;

    hello.boot_id = r->config.boot_id;
    hello.epoch = r->epoch;
    hello.fresh = !r->complete;
    hello.stream = replica_in_wanted(r);
    hello.continues = r->in.next != 0;
    hello.serving = r->out.phase == OUT_NONE ? 0 : r->out.stream;
    frame.body_case = MUSTER__REPLICA_FRAME__BODY_HELLO;
    frame.hello = &hello;
    r->hello_due = false;
    return send_frame(r, &frame);
}

static bool send_ack(struct replica *r)
{
    Muster__ReplicaAck ack = MUSTER__REPLICA_ACK__INIT;
    Muster__ReplicaFrame frame = MUSTER__REPLICA_FRAME__INIT;

    ack.seq = r->in.seq;
    frame.stream = r->in.stream;
    frame.body_case = MUSTER__REPLICA_FRAME__BODY_ACK;
    frame.ack = &ack;
    r->in.ack_due = false;
    return send_frame(r, &frame);
}

static uint64_t patience_ms(const struct replica *r)
{
    return r->config.commit_timeout_ms * (r->out.phase == OUT_LIVE ? 1 : SNAPSHOT_PATIENCE);
}

/* From now on the peer owes us an acknowledgement. */
static void sent(struct replica *r, uint64_t seq, mono_t now)
{
    r->out.sent = seq;
    if (r->out.patience.ms == MONO_NEVER.ms)
        r->out.patience = mono_after(now, patience_ms(r));
}

static bool send_snapshot(struct replica *r, bool end, mono_t now)
{
    Muster__ReplicaSnapshot snapshot = MUSTER__REPLICA_SNAPSHOT__INIT;
    Muster__ReplicaFrame frame = MUSTER__REPLICA_FRAME__INIT;

    snapshot.end = end;
    snapshot.all = r->out.all;
    snapshot.partial = !r->restored;
    snapshot.epoch = r->epoch;
    snapshot.seq = end ? ++r->seq : r->out.sent;
    frame.stream = r->out.stream;
    frame.body_case = MUSTER__REPLICA_FRAME__BODY_SNAPSHOT;
    frame.snapshot = &snapshot;
    r->out.begin_due = false;
    if (end) {
        r->out.phase = OUT_ENDED;
        r->out.end_seq = snapshot.seq;
        sent(r, snapshot.seq, now);
    }
    return send_frame(r, &frame);
}

static ProtobufCBinaryData binary(struct str s)
{
    return (ProtobufCBinaryData){s.len, (uint8_t *)s.p};
}

/* Place `at` of the frame being made. */
static void fill(struct replica *r, size_t at, const struct store_record *record, bool deleted)
{
    Muster__ReplicaRecord *m = &r->records[at];

    muster__replica_record__init(m);
    m->table = record->table;
    m->key = binary(record->view.key);
    m->user = binary(record->view.user);
    m->deleted = deleted;
    if (!deleted)
        m->value = binary(record->view.value);
}

static bool send_ops(struct replica *r, size_t count, uint64_t seq, mono_t now)
{
    Muster__ReplicaOps ops = MUSTER__REPLICA_OPS__INIT;
    Muster__ReplicaFrame frame = MUSTER__REPLICA_FRAME__INIT;

    ops.seq = seq;
    ops.epoch = r->epoch;
    ops.n_records = count;
    ops.records = r->record_list;
    frame.stream = r->out.stream;
    frame.body_case = MUSTER__REPLICA_FRAME__BODY_OPS;
    frame.ops = &ops;
    sent(r, seq, now);
    return send_frame(r, &frame);
}

/* All that was logged, in as few frames as it takes. The log must not change while it is sent. */
static bool send_log(struct replica *r, mono_t now)
{
    size_t bytes = 0, count = 0;
    uint64_t seq = r->seq - r->log_count;
    bool ok = true;

    for (size_t i = 0; ok && i < r->log_count; i++) {
        size_t cost = store_cost(&r->log[i].record->view);

        if (count == FRAME_RECORDS || (count && bytes + cost > FRAME_BYTES)) {
            ok = send_ops(r, count, seq, now);
            bytes = count = 0;
        }
        fill(r, count++, r->log[i].record, r->log[i].deleted);
        bytes += cost;
        seq++;
    }
    if (ok && count)
        ok = send_ops(r, count, seq, now);
    log_clear(r);
    return ok;
}

/* One frame of the snapshot; at its end, the end. */
static bool send_chunk(struct replica *r, mono_t now)
{
    size_t bytes = 0, count = 0;
    struct store_slot *slot = NULL;

    while (count < FRAME_RECORDS && bytes < FRAME_BYTES &&
           (slot = store_walk_next(&r->store)) != NULL) {
        if (!r->out.all && !slot->ours && replica_is_peers(r, slot->record->view.user))
            continue;
        fill(r, count++, slot->record, false);
        bytes += store_cost(&slot->record->view);
    }
    if (count) {
        r->seq += count;
        r->out.window[r->out.window_count++] = r->seq;
        if (!send_ops(r, count, r->seq, now))
            return false;
    }
    return slot || send_snapshot(r, true, now);
}

static bool send_due(struct replica *r, mono_t now)
{
    if (r->hello_due && !send_hello(r))
        return false;
    if (r->out.begin_due && !send_snapshot(r, false, now))
        return false;
    if (!send_log(r, now))
        return false;
    while (r->out.phase == OUT_SNAPSHOT && r->out.window_count < WINDOW_FRAMES)
        if (!send_chunk(r, now))
            return false;
    return !r->in.ack_due || send_ack(r);
}

void replica_out_send(struct replica *r, mono_t now)
{
    if (!replica_is_connected(r) || send_due(r, now))
        return;
    replica_out_lose(r, now); /* the link took half of it: both streams begin anew */
    replica_in_ask(r, mono_after(now, HELLO_INTERVAL_MS));
}

int replica_out_ack(struct replica *r, uint64_t stream, uint64_t seq, mono_t now)
{
    struct outgoing *out = &r->out;
    size_t left = 0;

    if (!replica_out_streaming(r) || stream != out->stream || seq > out->sent || seq < out->acked)
        return REPLICA_E_STALE;
    out->acked = seq;
    for (size_t i = 0; i < out->window_count; i++)
        if (out->window[i] > seq)
            out->window[left++] = out->window[i];
    out->window_count = left;
    if (out->phase == OUT_ENDED && seq >= out->end_seq) {
        out->phase = OUT_LIVE;
        out->synced = true;
    }
    out->patience = seq < out->sent ? mono_after(now, patience_ms(r)) : MONO_NEVER;
    return 0;
}

int replica_out_hello(struct replica *r, const Muster__ReplicaHello *hello)
{
    if (hello->stream == 0)
        return REPLICA_E_STALE;
    r->peer_epoch = hello->epoch;
    if (r->out.phase == OUT_NONE || r->out.stream != hello->stream)
        replica_out_start(r, hello->stream, hello->fresh, hello->continues);
    else if (r->out.phase == OUT_LIVE || r->out.phase == OUT_HELD)
        r->out.all = hello->fresh; /* the same life, grown up */
    if (hello->serving != replica_in_wanted(r))
        r->hello_due = true;
    return 0;
}
