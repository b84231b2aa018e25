// SPDX-License-Identifier: Apache-2.0
#include "proxyd/registrar.h"

#include <assert.h>

#include <binding_record.pb-c.h>

#include "common/digest.h"
#include "common/util.h"
#include "proxyd/sip/table.h"

enum { CONTACTS_MAX = 2 * REGISTRAR_BINDINGS_MAX, KEY_MAX = 16384, LONG_NAME = 512 };

struct registrar_user {
    struct registrar *registrar;
    struct str aor; /* ours */
    struct binding *first;
    size_t count;
    UT_hash_handle hh;
};

struct registrar {
    struct registrar_config config;
    struct registrar_user *users; /* those with bindings */
    size_t count;
};

static struct str own(struct str s)
{
    return (struct str){str_dup(s), s.len};
}

static void disown(struct str s)
{
    mem_free((char *)s.p);
}

static struct registrar_user *find_user(const struct registrar *r, struct str aor)
{
    struct registrar_user *u;

    HASH_FIND(hh, r->users, aor.p, aor.len, u);
    return u;
}

static struct registrar_user *add_user(struct registrar *r, struct str aor)
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

static void free_user_if_empty(struct registrar_user *u)
{
    if (u->first)
        return;
    HASH_DELETE(hh, u->registrar->users, u);
    disown(u->aor);
    mem_free(u);
}

/* ---- live bindings ----------------------------------------------------------------------------
 */

static void free_binding(struct binding *b)
{
    const struct str owned[] = {b->key, b->contact, b->params, b->call_id, b->transport, b->source};

    for (size_t i = 0; i < ARRAY_LEN(owned); i++)
        disown(owned[i]);
    mem_free(b);
}

/* Out of memory here; its record stays. */
static void drop(struct binding *b)
{
    struct registrar_user *u = b->user;
    struct binding **at = &u->first;

    while (*at != b)
        at = &(*at)->next;
    *at = b->next;
    u->count--;
    u->registrar->count--;
    deadlines_clear(u->registrar->config.deadlines, &b->deadline);
    free_binding(b);
}

static void tell(const struct registrar *r, struct str aor, size_t count)
{
    r->config.on_change(r->config.ctx, aor, count);
}

static void on_expired(struct deadline *d, void *ctx, mono_t now)
{
    struct binding *b = CONTAINER_OF(d, struct binding, deadline);
    struct registrar_user *u = b->user;
    struct registrar *r = u->registrar;

    (void)ctx;
    (void)now;
    if (r->config.is_mine(r->config.ctx, u->aor))
        replica_delete(r->config.replica, REGISTRAR_TABLE, b->key);
    drop(b);
    tell(r, u->aor, u->count);
    free_user_if_empty(u);
}

static struct binding *add_binding(struct registrar_user *u, struct str key)
{
    struct binding *b = mem_new(sizeof(*b)), **at = &u->first;

    b->user = u;
    b->key = own(key);
    b->deadline.on_due = on_expired;
    while (*at)
        at = &(*at)->next;
    *at = b;
    u->count++;
    u->registrar->count++;
    return b;
}

static void replace(struct str *field, struct str value)
{
    disown(*field);
    *field = own(value);
}

static void arm(struct binding *b, mono_t now)
{
    struct registrar *r = b->user->registrar;
    uint64_t unix_ms = r->config.unix_ms(r->config.ctx);
    uint64_t left = b->expires_unix_ms > unix_ms ? b->expires_unix_ms - unix_ms : 0;

    deadlines_set(r->config.deadlines, &b->deadline, mono_after(now, left));
}

/* ---- records -----------------------------------------------------------------------------------
 */

static bool put_record(const struct binding *b)
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

static struct binding *find_key(const struct registrar_user *u, struct str key)
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

    if (find_key(find_user(r, record->user), record->key))
        return;
    m = muster__binding_record__unpack(NULL, record->value.len, (const uint8_t *)record->value.p);
    if (!m)
        return;
    u = add_user(r, record->user);
    b = add_binding(u, record->key);
    b->contact = own(str_of(m->contact));
    b->params = own(str_of(m->params));
    b->call_id = own(str_of(m->call_id));
    b->transport = own(str_of(m->transport));
    b->source = own(str_of(m->source));
    b->cseq = m->cseq;
    b->expires_unix_ms = m->expires_unix_ms;
    arm(b, now);
    muster__binding_record__free_unpacked(m, NULL);
    tell(r, u->aor, u->count);
}

/* ---- what a REGISTER asks for -------------------------------------------------------------------
 */

struct change {
    struct sip_addr contact;
    struct str key;      /* ours */
    struct binding *old; /* NULL: there is none yet */
    uint64_t expires_ms; /* 0: remove */
};

struct changes {
    struct change list[CONTACTS_MAX];
    size_t count;
    bool all; /* "*" */
};

static struct sip_refusal refuse(unsigned code, const char *reason)
{
    return (struct sip_refusal){code, reason};
}

#define FINE ((struct sip_refusal){0, NULL})

/* The instance, or the URI. */
static void put_name(struct buf *out, const struct sip_addr *contact)
{
    struct str instance, reg_id;

    if (sip_param(contact->params, "+sip.instance", &instance) && instance.len) {
        buf_put_str(out, instance);
        if (sip_param(contact->params, "reg-id", &reg_id))
            sip_put_param(out, STR("reg-id"), reg_id);
    } else {
        buf_put_str(out, contact->uri.text);
    }
}

/* The AoR and what names the binding within it; a digest of that where it is long. */
static struct str make_key(struct str aor, const struct sip_addr *contact)
{
    struct buf key, name;
    char hex[DIGEST_HEX_MAX];
    size_t len;

    buf_init(&key, KEY_MAX);
    buf_init(&name, KEY_MAX);
    put_name(&name, contact);
    buf_put_str(&key, aor);
    buf_put_c(&key, '\n');
    if (name.len > LONG_NAME) {
        digest_hex(DIGEST_SHA256, buf_str(&name), hex);
        buf_puts(&key, hex);
    } else {
        buf_put_str(&key, buf_str(&name));
    }
    buf_done(&name);
    len = key.len;
    return (struct str){buf_take(&key), len};
}

static struct binding *find_binding(const struct registrar_user *u, struct str key,
                                    const struct sip_uri *uri)
{
    struct binding *b = find_key(u, key);
    struct sip_uri other;

    if (b)
        return b;
    for (b = u ? u->first : NULL; b; b = b->next)
        if (sip_uri_parse(b->contact, &other) == 0 && sip_uri_equal(&other, uri))
            return b;
    return NULL;
}

/* RFC 3261, 10.2.1.1: the parameter, else the header, else what we like. */
static uint64_t wanted_ms(const struct registrar *r, const struct sip_msg *m,
                          const struct sip_addr *contact)
{
    struct str value;
    uint32_t seconds;

    if (sip_param(contact->params, "expires", &value)) {
        if (!sip_seconds(value, &seconds))
            seconds = 3600;
    } else if (!sip_seconds(sip_msg_value(m, SIP_HEADER_EXPIRES), &seconds)) {
        seconds = UINT32_MAX;
    }
    return (uint64_t)seconds * 1000 < r->config.expires_max_ms ? (uint64_t)seconds * 1000
                                                               : r->config.expires_max_ms;
}

static struct sip_refusal add_change(struct registrar *r, const struct registrar_user *u,
                                     struct str aor, const struct sip_msg *m, struct str value,
                                     struct changes *changes)
{
    struct change *c = &changes->list[changes->count];

    if (changes->count == CONTACTS_MAX)
        return refuse(403, "Too Many Contacts");
    if (!sip_addr_parse(value, &c->contact) || c->contact.uri.scheme == SIP_SCHEME_OTHER)
        return refuse(400, "Malformed Contact");
    c->expires_ms = wanted_ms(r, m, &c->contact);
    if (c->expires_ms && c->expires_ms < r->config.expires_min_ms)
        return refuse(423, NULL);
    c->key = make_key(aor, &c->contact);
    c->old = find_binding(u, c->key, &c->contact.uri);
    changes->count++;
    if (c->old && str_eq(c->old->call_id, m->call_id) && m->cseq.number < c->old->cseq)
        return refuse(500, "CSeq Out Of Order");
    return FINE;
}

static struct sip_refusal read_wildcard(const struct sip_msg *m, size_t contacts)
{
    uint32_t seconds;

    if (contacts != 1 || !sip_seconds(sip_msg_value(m, SIP_HEADER_EXPIRES), &seconds) || seconds)
        return refuse(400, "Contact * Needs Expires 0 Alone");
    return FINE;
}

static struct sip_refusal read_changes(struct registrar *r, const struct registrar_user *u,
                                       struct str aor, const struct sip_msg *m,
                                       struct changes *changes)
{
    struct sip_refusal refusal = FINE;
    struct sip_walk walk = {0};
    struct str value;
    size_t contacts = 0;

    while (refusal.code == 0 && sip_msg_next(m, SIP_HEADER_CONTACT, &walk, &value)) {
        contacts++;
        if (str_eq_c(value, "*"))
            changes->all = true;
        else
            refusal = add_change(r, u, aor, m, value, changes);
    }
    if (refusal.code == 0 && changes->all)
        refusal = read_wildcard(m, contacts);
    return refusal;
}

/* ---- doing it -----------------------------------------------------------------------------------
 */

static void remove_binding(struct binding *b)
{
    replica_delete(b->user->registrar->config.replica, REGISTRAR_TABLE, b->key);
    drop(b);
}

static void remove_all(struct registrar_user *u)
{
    while (u->first)
        remove_binding(u->first);
}

/* Every parameter but expires, which is ours to tell. */
static struct str kept_params(struct str params)
{
    struct str name, value;
    struct buf out;
    size_t len;

    buf_init(&out, SIP_LINE_MAX);
    while (sip_param_next(&params, &name, &value))
        if (!str_ieq_c(name, "expires"))
            sip_put_param(&out, name, value);
    len = out.len;
    return (struct str){buf_take(&out), len};
}

static bool keep(struct registrar_user *u, const struct change *c, const struct sip_msg *m,
                 struct str transport, struct str source, mono_t now)
{
    const struct registrar *r = u->registrar;
    struct binding *b = c->old ? c->old : add_binding(u, c->key);
    struct str params = kept_params(c->contact.params);

    replace(&b->contact, c->contact.uri.text);
    replace(&b->params, params);
    replace(&b->call_id, m->call_id);
    replace(&b->transport, transport);
    replace(&b->source, source);
    b->cseq = m->cseq.number;
    b->expires_unix_ms = r->config.unix_ms(r->config.ctx) + c->expires_ms;
    disown(params);
    arm(b, now);
    if (put_record(b))
        return true;
    drop(b);
    return false;
}

/* Does the user have more than we allow when all of it is done? */
static bool too_many(const struct registrar_user *u, const struct changes *changes)
{
    size_t added = 0, removed = 0;

    for (size_t i = 0; i < changes->count; i++) {
        added += !changes->list[i].old && changes->list[i].expires_ms;
        removed += changes->list[i].old && !changes->list[i].expires_ms;
    }
    return added && u->count + added > REGISTRAR_BINDINGS_MAX + removed;
}

/* The same REGISTER once more, from a client that did not see its answer. */
static bool is_repeated(const struct change *c, const struct sip_msg *m)
{
    return c->old && str_eq(c->old->call_id, m->call_id) && c->old->cseq == m->cseq.number;
}

static struct sip_refusal apply(struct registrar_user *u, struct changes *changes,
                                const struct sip_msg *m, struct str transport, struct str source,
                                mono_t now)
{
    if (too_many(u, changes))
        return refuse(403, "Too Many Bindings");
    if (changes->all)
        remove_all(u);
    for (size_t i = 0; i < changes->count; i++) {
        struct change *c = &changes->list[i];

        /* Two values of one request may mean the same binding; the last one counts. */
        c->old = find_binding(u, c->key, &c->contact.uri);
        if (is_repeated(c, m) && i == 0)
            break;
        if (c->expires_ms == 0) {
            if (c->old)
                remove_binding(c->old);
        } else if (!keep(u, c, m, transport, source, now)) {
            return refuse(503, "Too Many Records");
        }
    }
    return FINE;
}

struct sip_refusal registrar_register(struct registrar *r, struct str aor,
                                      const struct sip_msg *request, struct str transport,
                                      struct str source, mono_t now)
{
    struct registrar_user *u = add_user(r, aor);
    struct changes changes = {.count = 0};
    size_t before = u->count;
    struct sip_refusal refusal = read_changes(r, u, aor, request, &changes);

    if (refusal.code == 0)
        refusal = apply(u, &changes, request, transport, source, now);
    for (size_t i = 0; i < changes.count; i++)
        disown(changes.list[i].key);
    if (u->count != before)
        tell(r, u->aor, u->count);
    free_user_if_empty(u);
    return refusal;
}

/* ---- looking ------------------------------------------------------------------------------------
 */

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

/* ---- who is ours --------------------------------------------------------------------------------
 */

static void drop_user(struct registrar_user *u)
{
    while (u->first)
        drop(u->first);
    tell(u->registrar, u->aor, 0);
    free_user_if_empty(u);
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

/* ---- birth and death
 * ------------------------------------------------------------------------------ */

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
            drop(u->first);
        free_user_if_empty(u);
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
            assert(b->user == u && b->deadline.place != 0);
            assert(replica_find(r->config.replica, REGISTRAR_TABLE, b->key,
                                &(struct replica_record){0}));
            count++;
        }
        assert(count > 0 && count == u->count);
        all += count;
    }
    assert(all == r->count);
}
