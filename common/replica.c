// SPDX-License-Identifier: Apache-2.0
#include "common/replica.h"

#include <assert.h>

#include "common/mem.h"
#include "common/replica_state.h"

/* Before the first view we could not say whose records are whose. */
bool replica_is_connected(const struct replica *r)
{
    return r->link_up && r->viewed;
}

Muster__ReplicaState replica_state(const struct replica *r)
{
    if (!r->restored)
        return MUSTER__REPLICA_STATE__REPLICA_FRESH;
    if (r->out.synced)
        return MUSTER__REPLICA_STATE__REPLICA_IN_SYNC;
    if (!r->link_up || r->lost)
        return MUSTER__REPLICA_STATE__REPLICA_ALONE;
    return MUSTER__REPLICA_STATE__REPLICA_SYNCING;
}

bool replica_is_mine(struct replica *r, struct str user)
{
    return r->config.is_mine(r->config.ctx, user);
}

bool replica_is_peers(struct replica *r, struct str user)
{
    if (!r->config.is_peers)
        return !replica_is_mine(r, user);
    return r->config.is_peers(r->config.ctx, user);
}

void replica_restore_end(struct replica *r, mono_t now)
{
    if (r->restored)
        return;
    r->restored = r->restored_due = true;
    if (r->out.phase == OUT_HELD)
        replica_out_start(r, r->out.stream, false, false);
    if (!r->link_up)
        return;
    if (r->in.phase != IN_LIVE)
        replica_in_ask(r, now);
    r->hello_due = true;
}

struct replica *replica_new(const struct replica_config *config)
{
    struct replica *r = mem_new(sizeof(*r));

    assert(config->boot_id && config->is_mine && config->send);
    assert(config->commit_timeout_ms > 0);
    r->config = *config;
    r->hello_at = r->restore_at = MONO_NEVER;
    r->commits_tail = &r->commits;
    r->told = MUSTER__REPLICA_STATE__REPLICA_FRESH;
    for (size_t i = 0; i < FRAME_RECORDS; i++)
        r->record_list[i] = &r->records[i];
    replica_out_stop(r);
    return r;
}

void replica_free(struct replica *r)
{
    if (!r)
        return;
    replica_out_stop(r);
    mem_free(r->log);
    while (r->commits) {
        struct commit *c = r->commits;

        r->commits = c->next;
        mem_free(c);
    }
    store_done(&r->store);
    mem_free(r);
}

bool replica_fits(const struct replica *r, const struct store_slot *slot,
                  const struct replica_record *record, size_t bytes_max)
{
    size_t freed = slot ? store_cost(&slot->record->view) : 0;
    size_t cost = store_cost(record);

    return cost <= freed || r->store.bytes - freed + cost <= bytes_max;
}

bool replica_same(const struct store_slot *slot, const struct replica_record *record)
{
    return slot && str_eq(slot->record->view.user, record->user) &&
           str_eq(slot->record->view.value, record->value);
}

bool replica_put(struct replica *r, uint32_t table, const struct replica_record *record)
{
    struct store_slot *slot = store_find(&r->store, table, record->key);

    assert(record->key.len > 0);
    if (record->key.len > REPLICA_KEY_MAX || record->user.len > REPLICA_KEY_MAX ||
        record->value.len > REPLICA_VALUE_MAX ||
        !replica_fits(r, slot, record, r->config.bytes_max))
        return false;
    if (replica_same(slot, record) && slot->ours)
        return true;
    slot = store_put(&r->store, table, record);
    slot->ours = true;
    slot->mark = r->in.mark;
    replica_out_log(r, slot->record, false);
    return true;
}

void replica_delete(struct replica *r, uint32_t table, struct str key)
{
    struct store_slot *slot = store_find(&r->store, table, key);

    if (!slot)
        return;
    replica_out_log(r, slot->record, true);
    store_remove(&r->store, slot);
}

bool replica_find(const struct replica *r, uint32_t table, struct str key,
                  struct replica_record *ret_record)
{
    struct store_slot *slot = store_find(&r->store, table, key);

    if (!slot)
        return false;
    *ret_record = slot->record->view;
    return true;
}

size_t replica_count(const struct replica *r, uint32_t table)
{
    assert(table < REPLICA_TABLES_MAX);
    return r->store.tables[table] ? r->store.tables[table]->hh.tbl->num_items : 0;
}

void replica_each(struct replica *r, uint32_t table,
                  void (*each)(void *ctx, const struct replica_record *record), void *ctx)
{
    struct store_slot *next;

    assert(table < REPLICA_TABLES_MAX);
    for (struct store_slot *slot = r->store.tables[table]; slot; slot = next) {
        struct store_record *record = store_record_ref(slot->record);

        next = slot->hh.next;
        each(ctx, &record->view);
        store_record_unref(record);
    }
}

void replica_commit(struct replica *r, replica_commit_cb *done, void *ctx)
{
    struct commit *c = mem_new(sizeof(*c));

    *c = (struct commit){.seq = r->seq, .done = done, .ctx = ctx};
    *r->commits_tail = c;
    r->commits_tail = &c->next;
}

static bool commit_ready(const struct replica *r)
{
    return r->commits && (!r->out.synced || r->out.acked >= r->commits->seq);
}

/* Those that are ready now; what they commit in turn is for the next flush. */
static void run_commits(struct replica *r)
{
    struct commit **last = r->commits_tail;

    while (commit_ready(r)) {
        struct commit *c = r->commits;
        bool was_last = last == &c->next;

        r->commits = c->next;
        if (!r->commits)
            r->commits_tail = &r->commits;
        c->done(c->ctx);
        mem_free(c);
        if (was_last)
            break;
    }
}

/* Does the view say that there is nobody to get our memory back from? */
static bool nobody_to_ask(const struct replica *r)
{
    return !r->restored && r->viewed && !r->peer_expected && !r->link_up;
}

static void call_back(struct replica *r)
{
    if (r->told != replica_state(r)) {
        r->told = replica_state(r);
        if (r->config.on_state)
            r->config.on_state(r->config.ctx, r->told);
    }
    if (r->restored_due) {
        r->restored_due = false;
        if (r->config.on_restored)
            r->config.on_restored(r->config.ctx);
    }
    run_commits(r);
}

void replica_flush(struct replica *r, mono_t now)
{
    if (nobody_to_ask(r))
        replica_restore_end(r, now);
    if (replica_in_dispute_over(r)) {
        replica_in_ask_next(r, mono_after(now, HELLO_INTERVAL_MS));
        r->hello_due = true;
    }
    replica_out_send(r, now);
    call_back(r);
    if (r->log_count)
        replica_out_send(r, now);
}

bool replica_pending(const struct replica *r)
{
    return (replica_is_connected(r) &&
            (r->hello_due || r->out.begin_due || r->log_count || r->in.ack_due ||
             (r->out.phase == OUT_SNAPSHOT && r->out.window_count < WINDOW_FRAMES))) ||
           replica_in_dispute_over(r) || nobody_to_ask(r) || r->restored_due || commit_ready(r) ||
           r->told != replica_state(r);
}

int replica_receive(struct replica *r, const Muster__ReplicaFrame *frame, mono_t now)
{
    if (frame->service != r->config.service || !replica_is_connected(r))
        return REPLICA_E_STALE;
    switch (frame->body_case) {
    case MUSTER__REPLICA_FRAME__BODY_HELLO:
        return replica_out_hello(r, frame->hello);
    case MUSTER__REPLICA_FRAME__BODY_OPS:
        return replica_in_ops(r, frame->stream, frame->ops, now);
    case MUSTER__REPLICA_FRAME__BODY_SNAPSHOT:
        return replica_in_snapshot(r, frame->stream, frame->snapshot, now);
    case MUSTER__REPLICA_FRAME__BODY_ACK:
        return replica_out_ack(r, frame->stream, frame->ack->seq, now);
    case MUSTER__REPLICA_FRAME__BODY__NOT_SET:
    case _MUSTER__REPLICA_FRAME__BODY__CASE_IS_INT_SIZE:
        break;
    }
    return REPLICA_E_STALE;
}

void replica_link_up(struct replica *r, uint64_t link_id, mono_t now)
{
    if (r->link_up && r->link_id == link_id)
        return;
    r->link_up = true;
    r->link_id = link_id;
    r->lost = false;
    replica_out_stop(r);
    replica_in_ask(r, mono_after(now, HELLO_INTERVAL_MS));
    r->hello_due = true;
}

void replica_link_down(struct replica *r, mono_t now)
{
    (void)now;
    r->link_up = r->lost = r->hello_due = false;
    replica_out_stop(r);
    replica_in_ask(r, MONO_NEVER);
}

void replica_view(struct replica *r, uint64_t epoch, bool peer_expected, mono_t now)
{
    bool changed = epoch != r->epoch;

    if (!r->viewed) {
        r->restore_at = mono_after(now, r->config.restore_timeout_ms);
        r->hello_at = mono_after(now, HELLO_INTERVAL_MS);
    }
    r->viewed = true;
    r->peer_expected = peer_expected;
    r->epoch = epoch;
    if (!changed || !r->link_up)
        return;
    r->hello_due = true;
    /* Records that the snapshot has passed by may now be in its scope. */
    if (r->out.phase == OUT_SNAPSHOT || r->out.phase == OUT_ENDED)
        replica_out_start(r, r->out.stream, r->out.all, true);
}

void replica_set_commit_timeout(struct replica *r, uint64_t commit_timeout_ms)
{
    assert(commit_timeout_ms > 0);
    r->config.commit_timeout_ms = commit_timeout_ms;
}

void replica_tick(struct replica *r, mono_t now)
{
    if (!r->restored && mono_reached(now, r->restore_at))
        replica_restore_end(r, now);
    if (!replica_is_connected(r))
        return;
    if (mono_reached(now, r->out.patience))
        replica_out_lose(r, now);
    if (!mono_reached(now, r->hello_at))
        return;
    r->hello_at = MONO_NEVER;
    if (r->in.phase == IN_LIVE && !r->in.next && r->out.phase != OUT_NONE)
        return;
    r->hello_due = true;
    r->hello_at = mono_after(now, HELLO_INTERVAL_MS);
    if (r->out.phase == OUT_NONE)
        r->lost = true;
}

mono_t replica_deadline(const struct replica *r)
{
    mono_t at = MONO_NEVER;

    if (replica_pending(r))
        return (mono_t){0};
    if (!r->restored && r->restore_at.ms < at.ms)
        at = r->restore_at;
    if (replica_is_connected(r) && r->out.patience.ms < at.ms)
        at = r->out.patience;
    if (replica_is_connected(r) && r->hello_at.ms < at.ms)
        at = r->hello_at;
    return at;
}

void replica_check(const struct replica *r)
{
    size_t bytes = 0, count = 0;

    for (uint32_t table = 0; table < REPLICA_TABLES_MAX; table++)
        for (const struct store_slot *slot = r->store.tables[table]; slot; slot = slot->hh.next) {
            assert(slot->record->refs > 0 && slot->record->table == table);
            assert(slot->mark <= r->in.mark);
            bytes += store_cost(&slot->record->view);
            count++;
        }
    assert(bytes == r->store.bytes && count == r->store.count);
    assert(bytes <= r->config.bytes_max + r->config.bytes_max / 4);
    assert(r->link_up || (r->out.phase == OUT_NONE && r->in.phase == IN_WAITING));
    assert(replica_out_streaming(r) || r->log_count == 0);
    assert(r->out.acked <= r->out.sent && r->out.sent <= r->seq);
    assert(r->out.window_count <= WINDOW_FRAMES);
    assert(r->out.phase != OUT_LIVE || r->out.synced);
    assert(!r->out.synced || replica_out_streaming(r));
    assert(!r->in.next || r->in.phase != IN_WAITING);
    assert((r->out.phase == OUT_NONE) == (r->out.stream == 0));
    assert(!replica_out_streaming(r) ||
           (r->out.patience.ms == MONO_NEVER.ms) == (r->out.acked == r->out.sent));
    assert((r->commits == NULL) == (r->commits_tail == &r->commits));
}
