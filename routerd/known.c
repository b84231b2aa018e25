// SPDX-License-Identifier: Apache-2.0
#include "routerd/known.h"

#include <assert.h>
#include <string.h>

#include <utlist.h>

#include "common/jid.h"
#include "routerd/im.h"
#include "routerd/records.h"

enum { SWEEP_MS = 5000 };

struct known {
    struct known *prev, *next;               /* by expiry, the soonest first */
    struct known *sender_prev, *sender_next; /* of one sender, the oldest first */
    struct known_sender *sender;
    uint64_t expires_unix_ms;
    size_t len;
    char key[];
};

struct known_sender {
    UT_hash_handle hh;
    struct known *oldest;
    size_t count;
    char *name;
};

struct str known_key(const Muster__Im *im)
{
    struct str sender = jid_bare(str_of(im->from));
    struct str recipient = jid_bare(str_of(im->to));
    struct str id = im_id(im);
    size_t len = sender.len + 1 + id.len + 1 + recipient.len;
    char *key;

    if (str_empty(id))
        return (struct str){NULL, 0};
    key = mem_new(len + 1);
    memcpy(key, sender.p, sender.len);
    memcpy(key + sender.len + 1, id.p, id.len);
    memcpy(key + len - recipient.len, recipient.p, recipient.len);
    return (struct str){key, len};
}

bool known_find(const struct router *r, struct str key, struct known_im *ret_known)
{
    return record_find_known(r, key, ret_known);
}

static struct str sender_in(struct str key)
{
    return str_sub(key, 0, str_find(key, '\0'));
}

static struct str recipient_in(struct str key)
{
    return str_sub(key, str_rfind(key, '\0') + 1, SIZE_MAX);
}

/* Forgets the place in the order; the record is the caller's. */
static void drop(struct router *r, struct known *k)
{
    struct known_sender *sender = k->sender;

    DL_DELETE(r->known_first, k);
    DL_DELETE2(sender->oldest, k, sender_prev, sender_next);
    if (--sender->count == 0) {
        /* The analyser does not know that it is in the table. */
        HASH_DELETE(hh, r->known_senders, sender); // NOLINT(clang-analyzer-core.*)
        mem_free(sender->name);
        mem_free(sender);
    }
    mem_free(k);
}

static void expire(struct router *r, struct known *k)
{
    replica_delete(r->replica, TABLE_KNOWN, (struct str){k->key, k->len});
    drop(r, k);
}

static void on_sweep(void *owner)
{
    struct router *r = owner;

    while (r->known_first && r->known_first->expires_unix_ms <= r->now.unix_ms)
        expire(r, r->known_first);
    if (r->known_first)
        timer_set(&r->timers, &r->known_timer, mono_after(r->now.mono, SWEEP_MS));
}

void known_init(struct router *r)
{
    timer_init(&r->known_timer, on_sweep, r);
}

static struct known_sender *sender_of(struct router *r, struct str name)
{
    struct known_sender *sender;

    HASH_FIND(hh, r->known_senders, name.p, name.len, sender);
    if (!sender) {
        sender = mem_new(sizeof(*sender));
        sender->name = str_dup(name);
        HASH_ADD_KEYPTR(hh, r->known_senders, sender->name, name.len, sender);
    }
    return sender;
}

/* Behind those that expire no later; as a rule it is the last. */
static void insert(struct router *r, struct known *k)
{
    struct known *before = r->known_first ? r->known_first->prev : NULL;

    while (before && before->expires_unix_ms > k->expires_unix_ms)
        before = before == r->known_first ? NULL : before->prev;
    if (before)
        DL_APPEND_ELEM(r->known_first, before, k);
    else
        DL_PREPEND(r->known_first, k);
}

void known_restore(struct router *r, struct str key, uint64_t expires_unix_ms)
{
    struct known *k = mem_new(sizeof(*k) + key.len);
    uint64_t latest = r->now.unix_ms + KNOWN_MS;

    memcpy(k->key, key.p, key.len);
    k->len = key.len;
    k->expires_unix_ms = expires_unix_ms < latest ? expires_unix_ms : latest;
    k->sender = sender_of(r, sender_in(key));
    k->sender->count++;
    DL_APPEND2(k->sender->oldest, k, sender_prev, sender_next);
    insert(r, k);
    if (!timer_is_set(&r->known_timer))
        timer_set(&r->timers, &r->known_timer, mono_after(r->now.mono, SWEEP_MS));
}

void known_put(struct router *r, struct str key, bool stored, uint32_t generation)
{
    struct str sender = sender_in(key);
    struct known_im known = {.expires_unix_ms = r->now.unix_ms + KNOWN_MS};
    bool is_new = !record_find_known(r, key, &known);
    struct known_sender *others;

    if (generation < known.generation)
        return;
    known.stored = stored;
    known.generation = generation;
    HASH_FIND(hh, r->known_senders, sender.p, sender.len, others);
    if (is_new && others && others->count >= KNOWN_PER_SENDER)
        expire(r, others->oldest);
    /* Without room, a second one will be delivered: better than to refuse the first. */
    if (record_put_known(r, key, recipient_in(key), &known) && is_new)
        known_restore(r, key, known.expires_unix_ms);
}

void known_release(struct router *r)
{
    struct known *k, *next;

    for (k = r->known_first; k; k = next) {
        next = k->next;
        if (!router_serves(r, recipient_in((struct str){k->key, k->len})))
            drop(r, k);
    }
}

void known_free(struct router *r)
{
    while (r->known_first)
        drop(r, r->known_first);
    timer_clear(&r->timers, &r->known_timer);
}
