// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * The records of a replica: numbered tables of keyed records, in the order in which the keys were
 * first put. Contents are immutable and counted, so that a change which waits to be sent can hold
 * on to what it was; a slot is a key's place and survives a new content. Knows nothing of peers.
 */
#include <uthash.h>

#include "common/replica.h"

/* Key, user and value in one piece. */
struct store_record {
    uint32_t refs;
    uint32_t table;
    struct replica_record view; /* into bytes[] */
    char bytes[];
};

struct store_slot {
    struct store_record *record;
    uint64_t mark; /* the last snapshot that said it is there */
    bool ours;     /* the last change was made on this node */
    UT_hash_handle hh;
};

struct store {
    struct store_slot *tables[REPLICA_TABLES_MAX];
    size_t bytes; /* of all records, with what it costs to hold them */
    size_t count;
    uint32_t walk_table;
    struct store_slot *walk; /* the next one of the walk; NULL: the next table's first */
};

/* Costs of holding such a record, in bytes. */
size_t store_cost(const struct replica_record *record);

void store_done(struct store *s);

/* NULL when there is none. */
struct store_slot *store_find(const struct store *s, uint32_t table, struct str key);

/* Adds or replaces; the slot keeps its place, marks are the caller's to set. */
struct store_slot *store_put(struct store *s, uint32_t table, const struct replica_record *record);
void store_remove(struct store *s, struct store_slot *slot);

/* A walk over everything that goes on while records come and go: what is there from its start to
 * its end is visited once. There is one walk; starting it again abandons it. */
void store_walk_start(struct store *s);
struct store_slot *store_walk_next(struct store *s);

struct store_record *store_record_ref(struct store_record *record);
void store_record_unref(struct store_record *record);
