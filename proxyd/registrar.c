// SPDX-License-Identifier: Apache-2.0
#include "proxyd/registrar.h"

#include <assert.h>

#include <binding_record.pb-c.h>

#include "common/util.h"
#include "proxyd/registrar_private.h"

static struct registrar_user *find_user(const struct registrar *r, struct str aor)
{
    struct registrar_user *u;

    HASH_FIND(hh, r->users, aor.p, aor.len, u);
    return u;
}

struct registrar_user *registrar_add_user(struct registrar *r, struct str aor)
{
    struct registrar_user *u = find_user(r, aor);

    if (u)
        return u;
    u = mem_new(sizeof(*u));
    u->registrar = r;
    u->aor = own(aor);
    HASH_ADD_KEYPTR(hh, r->users, u->aor.p, u->aor.len, u);
    return u;
}

void registrar_release_user(struct registrar_user *u)
{
    if (u->first)
        return;
    HASH_DELETE(hh, u->registrar->users, u);
    disown(u->aor);
    mem_free(u);
}

/* ---- live bindings ---- */

static void free_binding(struct binding *b)
{
    const struct str owned[] = {b->key, b->contact, b->params, b->call_id, b->transport, b->source};

    for (size_t i = 0; i < ARRAY_LEN(owned); i++)
        disown(owned[i]);
    mem_free(b);
}

/* Out of memory here; its record stays. */
void registrar_drop(struct binding *b)
{
    struct registrar_user *u = b->user;
    struct binding **at = &u->first;

    while (*at != b)
        at = &(*at)->next;
    *at = b->next;
    u->count--;
    u->registrar->count--;
    timer_clear(u->registrar->config.timers, &b->expiry);
    free_binding(b);
}

void registrar_tell(const struct registrar *r, struct str aor, size_t count)
{
    r->config.on_change(r->config.ctx, aor, count);
}

static void on_expired(void *owner)
{
    struct binding *b = owner;
    struct registrar_user *u = b->user;
    struct registrar *r = u->registrar;

    if (r->config.is_mine(r->config.ctx, u->aor))
        replica_delete(r->config.replica, REGISTRAR_TABLE, b->key);
    registrar_drop(b);
    registrar_tell(r, u->aor, u->count);
    registrar_release_user(u);
}

struct binding *registrar_add_binding(struct registrar_user *u, struct str key)
{
    struct binding *b = mem_new(sizeof(*b)), **at = &u->first;

    b->user = u;
    b->key = own(key);
    timer_init(&b->expiry, on_expired, b);
    while (*at)
        at = &(*at)->next;
    *at = b;
    u->count++;
    u->registrar->count++;
    return b;
}

void registrar_arm(struct binding *b, mono_t now)
{
    struct registrar *r = b->user->registrar;
    uint64_t unix_ms = r->config.unix_ms(r->config.ctx);
    uint64_t left = b->expires_unix_ms > unix_ms ? b->expires_unix_ms - unix_ms : 0;

    timer_set(r->config.timers, &b->expiry, mono_after(now, left));
}

/* ---- records ---- */

bool registrar_put_record(const struct binding *b)
{
    const struct registrar_user *u = b->user;
    Muster__BindingRecord m = MUSTER__BINDING_RECORD__INIT;
    struct replica_record record = {.key = b->key, .user = u->aor};
    uint8_t *packed;
    bool taken;

    m.aor = (char *)u->aor.p;
    m.contact = (char *)b->contact.p;
    m.params = (char *)b->params.p;
    m.call_id = (char *)b->call_id.p;
    m.cseq = b->cseq;
    m.expires_unix_ms = b->expires_unix_ms;
    m.transport = (char *)b->transport.p;
    m.source = (char *)b->source.p;
    packed = mem_new(muster__binding_record__get_packed_size(&m) + 1);
    record.value = str_of_bytes(packed, muster__binding_record__pack(&m, packed));
    taken = replica_put(u->registrar->config.replica, REGISTRAR_TABLE, &record);
    mem_free(packed);
    return taken;
}

struct binding *registrar_find_key(const struct registrar_user *u, struct str key)
{
    struct binding *b = u ? u->first : NULL;

    while (b && !str_eq(b->key, key))
        b = b->next;
    return b;
}

/* A record of a user of ours comes to life. */
static void activate(struct registrar *r, const struct replica_record *record, mono_t now)
{
    struct registrar_user *u;
    struct binding *b;
    Muster__BindingRecord *m;

    if (registrar_find_key(find_user(r, record->user), record->key))
        return;
    m = muster__binding_record__unpack(NULL, record->value.len, (const uint8_t *)record->value.p);
    if (!m)
        return;
    u = registrar_add_user(r, record->user);
    b = registrar_add_binding(u, record->key);
    b->contact = own(str_of(m->contact));
    b->params = own(str_of(m->params));
    b->call_id = own(str_of(m->call_id));
    b->transport = own(str_of(m->transport));
    b->source = own(str_of(m->source));
    b->cseq = m->cseq;
    b->expires_unix_ms = m->expires_unix_ms;
    registrar_arm(b, now);
    muster__binding_record__free_unpacked(m, NULL);
    registrar_tell(r, u->aor, u->count);
}

/* ---- looking ---- */

const struct binding *registrar_bindings(const struct registrar *r, struct str aor)
{
    const struct registrar_user *u = find_user(r, aor);

    return u ? u->first : NULL;
}

void registrar_put_contacts(const struct registrar *r, struct str aor, struct buf *out)
{
    uint64_t unix_ms = r->config.unix_ms(r->config.ctx);
    const struct binding *b;

    for (b = registrar_bindings(r, aor); b; b = b->next) {
        uint64_t left = b->expires_unix_ms > unix_ms ? b->expires_unix_ms - unix_ms : 0;

        buf_puts(out, "Contact: <");
        buf_put_str(out, b->contact);
        buf_put_c(out, '>');
        buf_put_str(out, b->params);
        buf_puts(out, ";expires=");
        buf_put_u64(out, (left + 999) / 1000);
        buf_puts(out, "\r\n");
    }
}

void registrar_each(const struct registrar *r,
                    void (*each)(void *ctx, struct str aor, size_t bindings), void *ctx)
{
    const struct registrar_user *u;

    for (u = r->users; u; u = u->hh.next)
        each(ctx, u->aor, u->count);
}

size_t registrar_count(const struct registrar *r)
{
    return r->count;
}

/* ---- who is ours ---- */

static void drop_user(struct registrar_user *u)
{
    while (u->first)
        registrar_drop(u->first);
    registrar_tell(u->registrar, u->aor, 0);
    registrar_release_user(u);
}

struct refreshing {
    struct registrar *registrar;
    struct str aor;
    mono_t now;
};

static void refresh_record(void *ctx, const struct replica_record *record)
{
    const struct refreshing *f = ctx;
    const struct registrar_config *config = &f->registrar->config;

    if ((f->aor.len == 0 || str_eq(f->aor, record->user)) &&
        config->is_mine(config->ctx, record->user))
        activate(f->registrar, record, f->now);
}

void registrar_refresh(struct registrar *r, struct str aor, mono_t now)
{
    struct refreshing f = {r, aor, now};
    struct registrar_user *u, *next;

    for (u = r->users; u; u = next) {
        next = u->hh.next;
        if ((aor.len == 0 || str_eq(aor, u->aor)) && !r->config.is_mine(r->config.ctx, u->aor))
            drop_user(u);
    }
    replica_each(r->config.replica, REGISTRAR_TABLE, refresh_record, &f);
}

static void forget_record(void *ctx, const struct replica_record *record)
{
    const struct refreshing *f = ctx;

    if (str_eq(f->aor, record->user))
        replica_delete(f->registrar->config.replica, REGISTRAR_TABLE, record->key);
}

void registrar_forget(struct registrar *r, struct str aor)
{
    struct refreshing f = {r, aor, {0}};
    struct registrar_user *u = find_user(r, aor);

    if (u)
        drop_user(u);
    replica_each(r->config.replica, REGISTRAR_TABLE, forget_record, &f);
}

/* ---- birth and death ---- */

struct registrar *registrar_new(const struct registrar_config *config)
{
    struct registrar *r = mem_new(sizeof(*r));

    r->config = *config;
    return r;
}

void registrar_limits(struct registrar *r, uint64_t expires_min_ms, uint64_t expires_max_ms)
{
    r->config.expires_min_ms = expires_min_ms;
    r->config.expires_max_ms = expires_max_ms;
}

void registrar_free(struct registrar *r)
{
    struct registrar_user *u;

    if (!r)
        return;
    while ((u = r->users)) {
        while (u->first)
            registrar_drop(u->first);
        registrar_release_user(u);
    }
    mem_free(r);
}

void registrar_check(const struct registrar *r)
{
    const struct registrar_user *u;
    const struct binding *b;
    size_t all = 0;

    for (u = r->users; u; u = u->hh.next) {
        size_t count = 0;

        for (b = u->first; b; b = b->next) {
            assert(b->user == u && timer_is_set(&b->expiry));
            assert(replica_find(r->config.replica, REGISTRAR_TABLE, b->key,
                                &(struct replica_record){0}));
            count++;
        }
        assert(count > 0 && count == u->count);
        all += count;
    }
    assert(all == r->count);
}
