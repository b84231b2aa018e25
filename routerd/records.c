// SPDX-License-Identifier: Apache-2.0
#include "routerd/records.h"

#include <assert.h>
#include <string.h>

static bool put(struct router *r, uint32_t table, struct str key, struct str user,
                const ProtobufCMessage *message)
{
    uint8_t small[1024];
    size_t len = message ? protobuf_c_message_get_packed_size(message) : 0;
    uint8_t *bytes = len > sizeof(small) ? mem_new(len) : small;
    bool ok;

    small[0] = 0;
    if (message)
        protobuf_c_message_pack(message, bytes);
    ok = replica_put(r->replica, table,
                     &(struct replica_record){key, user, str_of_bytes(bytes, len)});
    if (bytes != small)
        mem_free(bytes);
    return ok;
}

/* protobuf-c wants `char *` where NULL is no text. */
static char *text_or_empty(char *text)
{
    static char empty[1];

    return text ? text : empty;
}

static size_t list_directed(const struct session *s, char ***ret_list)
{
    size_t count = 0;

    *ret_list = NULL;
    if (s->directed)
        *ret_list = mem_new(HASH_COUNT(s->directed) * sizeof(char *));
    for (struct directed *d = s->directed; d; d = d->hh.next)
        (*ret_list)[count++] = d->jid;
    return count;
}

bool record_put_session(const struct session *s)
{
    Muster__SessionRecord m = MUSTER__SESSION_RECORD__INIT;
    struct sm sm = s->sm;
    char *resource = str_dup(s->resource);
    bool ok;

    m.resource = resource;
    m.smid = sm.id;
    m.resumable = sm.resumable;
    m.window_ms = sm.window_ms;
    m.resume_deadline_unix_ms = sm.resume_deadline_unix_ms;
    m.available = s->available;
    m.priority = s->priority;
    m.show = text_or_empty(s->show);
    m.status = text_or_empty(s->status);
    m.since_unix_ms = s->since_unix_ms;
    if (s->presence)
        m.presence = (ProtobufCBinaryData){strlen(s->presence), (uint8_t *)s->presence};
    m.interested = s->interested;
    m.n_directed = list_directed(s, &m.directed);
    ok = put(s->router, TABLE_SESSIONS, str_of(s->jid), str_of(s->account->aor), &m.base);
    mem_free(m.directed);
    mem_free(resource);
    return ok;
}

void record_delete_session(const struct session *s)
{
    replica_delete(s->router->replica, TABLE_SESSIONS, str_of(s->jid));
    if (s->sm.id[0])
        replica_delete(s->router->replica, TABLE_COUNTERS, str_of(s->sm.id));
}

bool record_put_counters(struct session *s)
{
    Muster__SessionCounters m = MUSTER__SESSION_COUNTERS__INIT;

    m.in_done = s->sm.in_done;
    m.out_acked = s->sm.out_acked;
    if (!put(s->router, TABLE_COUNTERS, str_of(s->sm.id), str_of(s->account->aor), &m.base))
        return false;
    s->sm.in_put = s->sm.in_done;
    return true;
}

static void put_u64(char *to, uint64_t number)
{
    for (int i = 0; i < 8; i++)
        to[i] = (char)(number >> (56 - 8 * i));
}

void record_queue_key(const char *smid, uint64_t number, char ret_key[RECORD_QUEUE_KEY_LEN])
{
    memcpy(ret_key, smid, RECORD_SMID_LEN);
    put_u64(ret_key + RECORD_SMID_LEN, number);
}

uint64_t record_number(struct str key)
{
    uint64_t number = 0;

    assert(key.len >= 8);
    for (size_t i = key.len - 8; i < key.len; i++)
        number = number << 8 | (uint8_t)key.p[i];
    return number;
}

bool record_put_queued(struct session *s, uint64_t number, struct str xml, const Muster__Im *im)
{
    Muster__QueuedStanza m = MUSTER__QUEUED_STANZA__INIT;
    char key[RECORD_QUEUE_KEY_LEN];
    Muster__Im bare;

    if (im) {
        bare = *im;
        bare.stanza = (ProtobufCBinaryData){0, NULL};
        m.im = &bare;
    }
    m.xml = (ProtobufCBinaryData){xml.len, (uint8_t *)xml.p};
    record_queue_key(s->sm.id, number, key);
    return put(s->router, TABLE_QUEUE, (struct str){key, sizeof(key)}, str_of(s->account->aor),
               &m.base);
}

void record_delete_queued(struct session *s, uint64_t number)
{
    char key[RECORD_QUEUE_KEY_LEN];

    record_queue_key(s->sm.id, number, key);
    replica_delete(s->router->replica, TABLE_QUEUE, (struct str){key, sizeof(key)});
}

Muster__QueuedStanza *record_queued(struct router *r, const char *smid, uint64_t number)
{
    char key[RECORD_QUEUE_KEY_LEN];
    struct replica_record record;

    record_queue_key(smid, number, key);
    if (!replica_find(r->replica, TABLE_QUEUE, (struct str){key, sizeof(key)}, &record))
        return NULL;
    return muster__queued_stanza__unpack(NULL, record.value.len, (const uint8_t *)record.value.p);
}

bool record_put_known(struct router *r, struct str key, struct str user,
                      const struct known_im *known)
{
    Muster__KnownIm m = MUSTER__KNOWN_IM__INIT;

    m.expires_unix_ms = known->expires_unix_ms;
    m.stored = known->stored;
    m.generation = known->generation;
    return put(r, TABLE_KNOWN, key, user, &m.base);
}

bool record_find_known(const struct router *r, struct str key, struct known_im *ret_known)
{
    struct replica_record record;
    Muster__KnownIm *m;

    if (!replica_find(r->replica, TABLE_KNOWN, key, &record))
        return false;
    m = muster__known_im__unpack(NULL, record.value.len, (const uint8_t *)record.value.p);
    if (!m)
        return false;
    *ret_known = (struct known_im){m->expires_unix_ms, m->stored, m->generation};
    muster__known_im__free_unpacked(m, NULL);
    return true;
}

/* The key of a stored message, in memory that the caller frees. */
static struct str stored_key(struct str aor, uint64_t id)
{
    char *key = mem_new(aor.len + 9);

    memcpy(key, aor.p, aor.len);
    put_u64(key + aor.len + 1, id);
    return (struct str){key, aor.len + 9};
}

bool record_put_stored(struct router *r, struct str aor, uint64_t id)
{
    struct str key = stored_key(aor, id);
    bool ok = put(r, TABLE_STORED, key, aor, NULL);

    mem_free((void *)key.p);
    return ok;
}

bool record_has_stored(struct router *r, struct str aor, uint64_t id)
{
    struct str key = stored_key(aor, id);
    struct replica_record record;
    bool found = replica_find(r->replica, TABLE_STORED, key, &record);

    mem_free((void *)key.p);
    return found;
}

void record_delete_stored(struct router *r, struct str aor, uint64_t id)
{
    struct str key = stored_key(aor, id);

    replica_delete(r->replica, TABLE_STORED, key);
    mem_free((void *)key.p);
}

void record_put_sip(struct router *r, const struct account *a)
{
    Muster__SipPresence m = MUSTER__SIP_PRESENCE__INIT;
    struct str aor = str_of(a->aor);

    if (!a->sip_seen.available) {
        replica_delete(r->replica, TABLE_SIP, aor);
        return;
    }
    m.show = text_or_empty(a->sip_seen.show);
    m.status = text_or_empty(a->sip_seen.status);
    m.since_unix_ms = a->sip_seen.since_unix_ms;
    /* Without room for it, contacts may see the resource a little too long after a takeover. */
    (void)!put(r, TABLE_SIP, aor, aor, &m.base);
}
