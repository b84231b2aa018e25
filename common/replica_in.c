// SPDX-License-Identifier: Apache-2.0
#include "common/replica_state.h"

/* Streams of other lives and of the peer won't have the same number: boot ids are random. */
static uint64_t new_stream(struct replica *r)
{
    uint64_t stream = r->config.boot_id + ++r->streams;

    return stream ? stream : r->config.boot_id + ++r->streams;
}

void replica_in_ask(struct replica *r, mono_t at)
{
    r->in = (struct incoming){.phase = IN_WAITING, .stream = new_stream(r), .mark = r->in.mark};
    r->hello_at = at;
}

void replica_in_ask_next(struct replica *r, mono_t at)
{
    r->in.next = new_stream(r);
    r->hello_at = at;
}

uint64_t replica_in_wanted(const struct replica *r)
{
    return r->in.next ? r->in.next : r->in.stream;
}

bool replica_in_dispute_over(const struct replica *r)
{
    return r->in.disputed && r->in.phase == IN_LIVE && !r->in.next && r->epoch == r->peer_epoch &&
           (r->epoch != r->in.disputed_ours || r->peer_epoch != r->in.disputed_peers);
}

static struct str str_of_binary(ProtobufCBinaryData b)
{
    return str_of_bytes(b.data, b.len);
}

static void dispute(struct replica *r)
{
    r->in.disputed = true;
    r->in.disputed_ours = r->epoch;
    r->in.disputed_peers = r->peer_epoch;
}

/* May the peer say this about that record? */
static bool may_write(struct replica *r, const struct store_slot *slot, struct str user)
{
    struct str held = slot ? slot->record->view.user : user;

    if (!r->restored)
        return true;
    if (replica_is_mine(r, held) || replica_is_mine(r, user))
        return false;
    return !slot || !slot->ours || replica_is_peers(r, held);
}

static int apply(struct replica *r, const Muster__ReplicaRecord *m)
{
    struct replica_record record = {str_of_binary(m->key), str_of_binary(m->user),
                                    str_of_binary(m->value)};
    struct store_slot *slot;

    if (m->table >= REPLICA_TABLES_MAX || record.key.len == 0 || record.key.len > REPLICA_KEY_MAX ||
        record.user.len > REPLICA_KEY_MAX)
        return REPLICA_E_REFUSED;
    slot = store_find(&r->store, m->table, record.key);
    if (m->deleted ? !slot : replica_same(slot, &record)) {
        if (slot)
            slot->mark = r->in.mark;
        return 0;
    }
    if (!may_write(r, slot, record.user)) {
        if (r->in.all && r->in.phase == IN_SNAPSHOT)
            return 0; /* it came too late to be restored, and has been told so */
        dispute(r);
        return REPLICA_E_REFUSED;
    }
    if (m->deleted) {
        store_remove(&r->store, slot);
        return 0;
    }
    if (!replica_fits(r, slot, &record, r->config.bytes_max + r->config.bytes_max / 4))
        return REPLICA_E_FULL;
    slot = store_put(&r->store, m->table, &record);
    slot->ours = false;
    slot->mark = r->in.mark;
    return 0;
}

/* Something is missing, so nothing that follows makes sense. */
static int on_gap(struct replica *r, mono_t now)
{
    replica_in_ask(r, now);
    r->hello_due = true;
    return REPLICA_E_STALE;
}

/* A restore that is under way is not cut short. */
static void note_progress(struct replica *r, mono_t now)
{
    r->in.ack_due = true;
    if (!r->restored)
        r->restore_at = mono_after(now, r->config.restore_timeout_ms);
}

int replica_in_ops(struct replica *r, uint64_t stream, const Muster__ReplicaOps *ops, mono_t now)
{
    int result = 0;

    if (stream != r->in.stream)
        return REPLICA_E_STALE;
    if (r->in.phase == IN_WAITING || ops->seq - ops->n_records != r->in.seq)
        return on_gap(r, now);
    r->peer_epoch = ops->epoch;
    for (size_t i = 0; i < ops->n_records; i++) {
        int applied = apply(r, ops->records[i]);

        if (applied == REPLICA_E_FULL) {
            replica_in_ask(r, mono_after(now, HELLO_INTERVAL_MS));
            return REPLICA_E_FULL;
        }
        result = applied ? applied : result;
    }
    r->in.seq = ops->seq;
    note_progress(r, now);
    return result;
}

/* Was a record that the snapshot did not name deleted while we could not hear of it? Only its owner
 * can have done that, so others are kept. */
static bool is_gone(struct replica *r, const struct store_slot *slot)
{
    if (slot->mark == r->in.mark || r->in.partial)
        return false;
    return r->epoch == r->peer_epoch && replica_is_peers(r, slot->record->view.user);
}

static void drop_gone(struct replica *r)
{
    struct store_slot *next;

    for (uint32_t table = 0; table < REPLICA_TABLES_MAX; table++)
        for (struct store_slot *slot = r->store.tables[table]; slot; slot = next) {
            next = slot->hh.next;
            if (is_gone(r, slot))
                store_remove(&r->store, slot);
        }
}

static void on_begin(struct replica *r, const Muster__ReplicaSnapshot *snapshot, mono_t now)
{
    r->in.phase = IN_SNAPSHOT;
    r->in.seq = snapshot->seq;
    r->in.all = snapshot->all;
    r->in.partial = snapshot->partial;
    r->in.disputed = false;
    r->in.mark++;
    note_progress(r, now);
}

int replica_in_snapshot(struct replica *r, uint64_t stream, const Muster__ReplicaSnapshot *snapshot,
                        mono_t now)
{
    if (stream != r->in.stream && (snapshot->end || stream != r->in.next))
        return REPLICA_E_STALE;
    r->peer_epoch = snapshot->epoch;
    if (!snapshot->end) {
        if (stream == r->in.next)
            r->in.next = 0;
        r->in.stream = stream;
        on_begin(r, snapshot, now);
        return 0;
    }
    if (r->in.phase != IN_SNAPSHOT || snapshot->seq != r->in.seq + 1)
        return on_gap(r, now);
    drop_gone(r);
    r->in.phase = IN_LIVE;
    r->in.seq = snapshot->seq;
    note_progress(r, now);
    if (r->epoch != r->peer_epoch)
        dispute(r);
    if (r->in.all && !r->complete) {
        r->complete = true;
        r->hello_due = true;
        replica_restore_end(r, now);
    }
    return 0;
}
