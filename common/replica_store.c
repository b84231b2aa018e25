// SPDX-License-Identifier: Apache-2.0
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "common/mem.h"

#define uthash_malloc(size)    mem_new(size)
#define uthash_free(p, size)   mem_free(p)
#define uthash_fatal(sentence) abort()

#include "common/replica_store.h"

size_t store_cost(const struct replica_record *record)
{
    return sizeof(struct store_slot) + sizeof(struct store_record) + record->key.len +
           record->user.len + record->value.len;
}

static struct str append(char **at, struct str s)
{
    struct str copy = {*at, s.len};

    if (s.len)
        memcpy(*at, s.p, s.len);
    *at += s.len;
    return copy;
}

static struct store_record *record_new(uint32_t table, const struct replica_record *from)
{
    struct store_record *record =
        mem_new(sizeof(*record) + from->key.len + from->user.len + from->value.len);
    char *at = record->bytes;

    record->refs = 1;
    record->table = table;
    record->view.key = append(&at, from->key);
    record->view.user = append(&at, from->user);
    record->view.value = append(&at, from->value);
    return record;
}

struct store_record *store_record_ref(struct store_record *record)
{
    record->refs++;
    return record;
}

void store_record_unref(struct store_record *record)
{
    assert(record->refs > 0);
    if (--record->refs == 0)
        mem_free(record);
}

struct store_slot *store_find(const struct store *s, uint32_t table, struct str key)
{
    struct store_slot *slot;

    assert(table < REPLICA_TABLES_MAX);
    HASH_FIND(hh, s->tables[table], key.p, key.len, slot);
    return slot;
}

static struct store_slot *slot_add(struct store *s, struct store_record *record)
{
    struct store_slot *slot = mem_new(sizeof(*slot));

    slot->record = record;
    HASH_ADD_KEYPTR(hh, s->tables[record->table], record->view.key.p, record->view.key.len, slot);
    s->count++;
    return slot;
}

struct store_slot *store_put(struct store *s, uint32_t table, const struct replica_record *record)
{
    struct store_record *made = record_new(table, record);
    struct store_slot *slot = store_find(s, table, record->key);

    s->bytes += store_cost(record);
    if (!slot)
        return slot_add(s, made);
    s->bytes -= store_cost(&slot->record->view);
    slot->hh.key = made->view.key.p; /* the same key, where it will go on to be */
    store_record_unref(slot->record);
    slot->record = made;
    return slot;
}

void store_remove(struct store *s, struct store_slot *slot)
{
    assert(slot);
    if (s->walk == slot) {
        s->walk = slot->hh.next;
        if (!s->walk)
            s->walk_table++;
    }
    s->bytes -= store_cost(&slot->record->view);
    s->count--;
    HASH_DELETE(hh, s->tables[slot->record->table], slot);
    store_record_unref(slot->record);
    mem_free(slot);
}

void store_done(struct store *s)
{
    for (uint32_t table = 0; table < REPLICA_TABLES_MAX; table++)
        while (s->tables[table])
            store_remove(s, s->tables[table]);
}

void store_walk_start(struct store *s)
{
    s->walk_table = 0;
    s->walk = NULL;
}

struct store_slot *store_walk_next(struct store *s)
{
    struct store_slot *slot = s->walk;

    while (!slot && s->walk_table < REPLICA_TABLES_MAX) {
        slot = s->tables[s->walk_table];
        if (!slot)
            s->walk_table++;
    }
    if (!slot)
        return NULL;
    s->walk = slot->hh.next;
    if (!s->walk)
        s->walk_table++;
    return slot;
}
