// SPDX-License-Identifier: Apache-2.0
/*
 * Publications, RFC 3903. An entity tag names a publication as it is now: every request that
 * succeeds gives it a new one.
 */
#include <assert.h>
#include <string.h>

#include "common/digest.h"
#include "presenced/model.h"

enum { ETAG_BYTES = 8, EXPIRES_MAX_S = 86400, RECORD_MAX = 256 * 1024 };

static void on_expired(void *owner)
{
    struct publication *p = owner;
    struct presentity *presentity = p->presentity;

    publication_remove(p);
    presentity_changed(presentity);
    presentity_release(presentity);
}

static void link_in(struct publication *p)
{
    struct publication **at = &p->presentity->publications;

    while (*at)
        at = &(*at)->next;
    *at = p;
    p->presentity->publication_count++;
}

static void set_etag_and_expiry(struct publication *p)
{
    struct engine *e = p->engine;

    HASH_ADD_KEYPTR(hh, e->publications, p->record->etag, strlen(p->record->etag), p);
    timer_set(&e->timers, &p->expiry, engine_mono_of(e, p->record->expires_unix_ms));
    metrics_set(e->config.metrics, METRIC_PUBLICATIONS, HASH_COUNT(e->publications));
}

struct publication *publication_add(struct engine *e, Muster__PublicationRecord *record)
{
    struct publication *p = mem_new(sizeof(*p));

    p->engine = e;
    p->record = record;
    p->presentity = presentity_get(e, str_of(record->presentity));
    timer_init(&p->expiry, on_expired, p);
    link_in(p);
    set_etag_and_expiry(p);
    return p;
}

bool publication_has_room(const struct engine *e, struct str aor)
{
    const struct presentity *p = presentity_find(e, aor);

    return !p || p->publication_count < ENGINE_PUBLICATIONS_MAX;
}

void publication_drop(struct publication *p)
{
    struct publication **at = &p->presentity->publications;

    while (*at != p)
        at = &(*at)->next;
    *at = p->next;
    p->presentity->publication_count--;
    HASH_DEL(p->engine->publications, p);
    timer_clear(&p->engine->timers, &p->expiry);
    metrics_set(p->engine->config.metrics, METRIC_PUBLICATIONS,
                HASH_COUNT(p->engine->publications));
    muster__publication_record__free_unpacked(p->record, NULL);
    mem_free(p);
}

void publication_remove(struct publication *p)
{
    replica_delete(p->engine->replica, ENGINE_TABLE_PUBLICATIONS, str_of(p->record->etag));
    publication_drop(p);
}

/* ---- PUBLISH ---- */

static void answer(struct engine *e, uint64_t request, uint32_t code, const char *reason,
                   const char *etag, uint32_t expires_s)
{
    Muster__PublishReply reply = MUSTER__PUBLISH_REPLY__INIT;

    reply.code = code;
    reply.reason = (char *)reason;
    reply.etag = (char *)etag;
    reply.expires_s = expires_s;
    if (code / 100 == 2)
        engine_owe(e, request, &reply, NULL, STR(""));
    else
        e->config.ops->publish_reply(e->config.ctx, request, &reply);
}

static void draw_etag(struct engine *e, char ret_etag[2 * ETAG_BYTES + 1])
{
    uint8_t random[ETAG_BYTES];

    e->config.ops->random(e->config.ctx, random, sizeof(random));
    digest_to_hex(str_of_bytes(random, sizeof(random)), ret_etag);
}

/* Writes the record under its tag; a copy of its own in *ret_record. False when there is no room.
 */
static bool save(struct engine *e, const Muster__PublicationRecord *from,
                 Muster__PublicationRecord **ret_record)
{
    size_t size = muster__publication_record__get_packed_size(from);
    uint8_t *packed;
    struct replica_record record = {str_of(from->etag), str_of(from->presentity), {0}};
    bool ok;

    if (size > RECORD_MAX)
        return false;
    packed = mem_new(size);
    record.value = str_of_bytes(packed, muster__publication_record__pack(from, packed));
    ok = replica_put(e->replica, ENGINE_TABLE_PUBLICATIONS, &record);
    if (ok) {
        *ret_record = muster__publication_record__unpack(NULL, size, packed);
        assert(*ret_record);
    }
    mem_free(packed);
    return ok;
}

/* A new publication, or a new document or lifetime of `old`. */
static void store(struct engine *e, uint64_t request, const Muster__Publish *m,
                  const Muster__Pidf *pidf, struct publication *old, uint32_t expires_s)
{
    Muster__PublicationRecord from = MUSTER__PUBLICATION_RECORD__INIT, *record;
    char etag[2 * ETAG_BYTES + 1];
    struct presentity *presentity;

    assert(pidf || old);
    draw_etag(e, etag);
    from.presentity = m->presentity;
    from.etag = etag;
    from.expires_unix_ms = e->now.unix_ms + expires_s * 1000ull;
    from.since_unix_ms = e->now.unix_ms;
    from.pidf = (Muster__Pidf *)pidf;
    from.id = etag;
    if (old)
        from.id = old->record->id;
    if (!pidf) {
        from.since_unix_ms = old->record->since_unix_ms;
        from.pidf = old->record->pidf;
    }
    if (!save(e, &from, &record)) {
        answer(e, request, 503, "No room for another publication", "", 0);
        return;
    }
    if (old) {
        replica_delete(e->replica, ENGINE_TABLE_PUBLICATIONS, str_of(old->record->etag));
        HASH_DEL(e->publications, old);
        muster__publication_record__free_unpacked(old->record, NULL);
        old->record = record;
        set_etag_and_expiry(old);
        presentity = old->presentity;
    } else {
        presentity = publication_add(e, record)->presentity;
    }
    answer(e, request, 200, "OK", etag, expires_s);
    if (pidf)
        presentity_changed(presentity);
}

static void take_back(struct engine *e, uint64_t request, struct publication *p)
{
    struct presentity *presentity = p->presentity;
    char etag[2 * ETAG_BYTES + 1];

    draw_etag(e, etag); /* RFC 3903, section 6, step 6: a 200 always carries one */
    publication_remove(p);
    answer(e, request, 200, "OK", etag, 0);
    presentity_changed(presentity);
    presentity_release(presentity);
}

static struct publication *find(const struct engine *e, const Muster__Publish *m)
{
    struct publication *p;

    HASH_FIND(hh, e->publications, m->etag, strlen(m->etag), p);
    return p && strcmp(p->presentity->aor, m->presentity) == 0 ? p : NULL;
}

void engine_on_publish(struct engine *e, uint64_t request, const Muster__Publish *publish,
                       const Muster__Pidf *pidf, const struct engine_now *now)
{
    const struct params *params = e->config.params;
    uint32_t least_s = (uint32_t)(params->presenced_publish_expires_min_ms / 1000);
    uint32_t expires_s = publish->has_expires
                             ? publish->expires_s
                             : (uint32_t)(params->presenced_publish_expires_default_ms / 1000);
    struct publication *old = *publish->etag ? find(e, publish) : NULL;

    e->now = *now;
    if (!directory_find(e->config.directory, str_of(publish->presentity)))
        answer(e, request, 404, "Not Found", "", 0);
    else if (!e->restored || e->suspended || !engine_serves(e, str_of(publish->presentity)))
        answer(e, request, 503, "Not serving this user now", "", 0);
    else if (expires_s > 0 && expires_s < least_s)
        answer(e, request, 423, "Interval Too Brief", "", least_s);
    else if (*publish->etag && !old)
        answer(e, request, 412, "Conditional Request Failed", "", 0);
    else if (old && expires_s == 0)
        take_back(e, request, old);
    else if (!old && (!pidf || expires_s == 0))
        answer(e, request, 400, "An initial publication needs a document and a lifetime", "", 0);
    else if (!old && !publication_has_room(e, str_of(publish->presentity)))
        answer(e, request, 403, "Too many publications of this user", "", 0);
    else
        store(e, request, publish, pidf, old,
              expires_s < EXPIRES_MAX_S ? expires_s : EXPIRES_MAX_S);
}
