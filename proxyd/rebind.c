// SPDX-License-Identifier: Apache-2.0
/*
 * What a REGISTER asks for (RFC 3261, 10.3, steps 6 to 8): read as a whole, refused as a whole,
 * then done.
 */
#include "common/digest.h"
#include "common/util.h"
#include "proxyd/registrar_private.h"

enum { CONTACTS_MAX = 2 * REGISTRAR_BINDINGS_MAX, KEY_MAX = 16384, LONG_NAME = 512 };

/* ---- reading ---- */

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
    struct binding *b = registrar_find_key(u, key);
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

/* ---- doing it ---- */

static void remove_binding(struct binding *b)
{
    replica_delete(b->user->registrar->config.replica, REGISTRAR_TABLE, b->key);
    registrar_drop(b);
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

static void replace(struct str *field, struct str value)
{
    disown(*field);
    *field = own(value);
}

static bool keep(struct registrar_user *u, const struct change *c, const struct sip_msg *m,
                 struct str transport, struct str source, mono_t now)
{
    const struct registrar *r = u->registrar;
    struct binding *b = c->old ? c->old : registrar_add_binding(u, c->key);
    struct str params = kept_params(c->contact.params);

    replace(&b->contact, c->contact.uri.text);
    replace(&b->params, params);
    replace(&b->call_id, m->call_id);
    replace(&b->transport, transport);
    replace(&b->source, source);
    b->cseq = m->cseq.number;
    b->expires_unix_ms = r->config.unix_ms(r->config.ctx) + c->expires_ms;
    disown(params);
    registrar_arm(b, now);
    if (registrar_put_record(b))
        return true;
    registrar_drop(b);
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
    struct registrar_user *u = registrar_add_user(r, aor);
    struct changes changes = {.count = 0};
    size_t before = u->count;
    struct sip_refusal refusal = read_changes(r, u, aor, request, &changes);

    if (refusal.code == 0)
        refusal = apply(u, &changes, request, transport, source, now);
    for (size_t i = 0; i < changes.count; i++)
        disown(changes.list[i].key);
    if (u->count != before)
        registrar_tell(r, u->aor, u->count);
    registrar_release_user(u);
    return refusal;
}
