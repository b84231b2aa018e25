// SPDX-License-Identifier: Apache-2.0
#include "routerd/sasl.h"

#include <string.h>

#include "common/arena.h"
#include "common/digest.h"
#include "common/jid.h"
#include "common/mem.h"
#include "common/util.h"

struct mechanism {
    const char *name;
    enum digest_kind kind;
    bool scram, plus;
};

static const struct mechanism mechanisms[] = {
    {"SCRAM-SHA-256-PLUS", DIGEST_SHA256, true, true},
    {"SCRAM-SHA-1-PLUS", DIGEST_SHA1, true, true},
    {"SCRAM-SHA-256", DIGEST_SHA256, true, false},
    {"SCRAM-SHA-1", DIGEST_SHA1, true, false},
    {"PLAIN", DIGEST_SHA256, false, false},
};

struct sasl {
    const struct mechanism *mechanism;
    const struct directory *directory;
    char *domain;
    bool has_exporter;
    uint8_t exporter[SASL_BINDING_BYTES];
    uint8_t secret[SASL_SECRET_BYTES];
    char nonce[SASL_NONCE_BYTES / 3 * 4 + 1];
    bool challenged;
    const char *condition;
    char *aor;               /* who it wants to be */
    struct buf gs2_header;   /* as it came, to be compared with c= */
    struct buf auth_message; /* RFC 5802, 3 */
    char *whole_nonce;
};

static bool is_offered(const struct mechanism *m, const struct sasl_config *config)
{
    if (m->plus)
        return config->exporter != NULL;
    return m->scram || config->tls;
}

const char *sasl_mechanism(const struct sasl_config *config, size_t i)
{
    for (size_t k = 0; k < ARRAY_LEN(mechanisms); k++)
        if (is_offered(&mechanisms[k], config) && i-- == 0)
            return mechanisms[k].name;
    return NULL;
}

struct sasl *sasl_new(const struct sasl_config *config, struct str mechanism)
{
    struct buf nonce;
    struct sasl *s;

    for (size_t k = 0; k < ARRAY_LEN(mechanisms); k++) {
        if (!str_eq_c(mechanism, mechanisms[k].name) || !is_offered(&mechanisms[k], config))
            continue;
        s = mem_new(sizeof(*s));
        s->mechanism = &mechanisms[k];
        s->directory = config->directory;
        s->domain = str_dup(config->domain);
        s->has_exporter = config->exporter != NULL;
        if (config->exporter)
            memcpy(s->exporter, config->exporter, sizeof(s->exporter));
        memcpy(s->secret, config->secret, sizeof(s->secret));
        buf_init(&s->gs2_header, SASL_MESSAGE_MAX);
        buf_init(&s->auth_message, (size_t)3 * SASL_MESSAGE_MAX);
        buf_init(&nonce, sizeof(s->nonce) - 1);
        digest_base64(&nonce, str_of_bytes(config->nonce, sizeof(config->nonce)));
        memcpy(s->nonce, nonce.data, nonce.len);
        buf_done(&nonce);
        return s;
    }
    return NULL;
}

void sasl_free(struct sasl *s)
{
    if (!s)
        return;
    buf_done(&s->gs2_header);
    buf_done(&s->auth_message);
    mem_free(s->whole_nonce);
    mem_free(s->domain);
    mem_free(s->aor);
    mem_free(s);
}

const char *sasl_condition(const struct sasl *s)
{
    return s->condition;
}

struct str sasl_user(const struct sasl *s)
{
    return str_of(s->aor);
}

static enum sasl_outcome fail(struct sasl *s, const char *condition)
{
    s->condition = condition;
    return SASL_FAILURE;
}

/* ---- who ---- */

/* The bare JID of `name`, which may carry our domain; NULL when it can be nobody's. */
static char *aor_of(const struct sasl *s, struct str name)
{
    struct str local = name, rest;
    struct arena a;
    struct jid jid;
    struct buf text;
    char *aor = NULL;

    arena_init(&a, (size_t)4 * JID_MAX);
    buf_init(&text, JID_MAX);
    if (str_cut(name, '@', &local, &rest) && !str_eq_c(rest, s->domain))
        local = name;
    buf_put_str(&text, local);
    buf_put_c(&text, '@');
    buf_puts(&text, s->domain);
    if (!text.full && jid_parse(&a, buf_str(&text), &jid) == 0 && str_empty(jid.resource))
        aor = str_dup(jid.bare);
    buf_done(&text);
    arena_done(&a);
    return aor;
}

/* An authorization identity must be the one that is authenticated. */
static bool authzid_fits(const struct sasl *s, struct str authzid, struct str name)
{
    char *wanted, *own;
    bool fits;

    if (str_empty(authzid))
        return true;
    wanted = aor_of(s, authzid);
    own = aor_of(s, name);
    fits = wanted && own && str_eq_c(str_of(own), wanted);
    mem_free(wanted);
    mem_free(own);
    return fits;
}

/* ---- PLAIN ---- */

/* Proves the password by HA1 (RFC 8760): one digest instead of the thousands of SCRAM's Hi(). */
static bool password_fits(const struct sasl *s, const struct user *user, struct str password)
{
    struct str local = str_sub(str_of(s->aor), 0, str_find(str_of(s->aor), '@'));
    char hex[DIGEST_HEX_MAX];
    struct buf text;

    buf_init(&text, (size_t)2 * SASL_MESSAGE_MAX);
    buf_put_str(&text, local);
    buf_put_c(&text, ':');
    buf_puts(&text, s->domain);
    buf_put_c(&text, ':');
    buf_put_str(&text, password);
    digest_hex(DIGEST_SHA256, buf_str(&text), hex);
    buf_done(&text);
    return user && digest_equal(str_of(hex), str_of(user->credentials.digest_sha256));
}

static enum sasl_outcome step_plain(struct sasl *s, struct str in)
{
    struct str authzid, name, password, rest;

    if (!str_cut(in, '\0', &authzid, &rest) || !str_cut(rest, '\0', &name, &password) ||
        str_empty(name) || str_empty(password) || password.len > SASL_MESSAGE_MAX / 2)
        return fail(s, "malformed-request");
    s->aor = aor_of(s, name);
    if (!s->aor || !password_fits(s, directory_find(s->directory, str_of(s->aor)), password))
        return fail(s, "not-authorized");
    if (!authzid_fits(s, authzid, name))
        return fail(s, "invalid-authzid");
    return SASL_SUCCESS;
}

/* ---- SCRAM ---- */

/* The value of the attribute that `text` begins with; `text` moves behind it. */
static bool take(struct str *text, char attribute, struct str *ret_value)
{
    struct str head, tail;

    if (text->len < 2 || text->p[0] != attribute || text->p[1] != '=')
        return false;
    str_cut(*text, ',', &head, &tail);
    *ret_value = str_sub(head, 2, SIZE_MAX);
    *text = tail;
    return true;
}

/* saslname: "=2C" is a comma, "=3D" an equals sign. */
static bool unescape(struct buf *out, struct str name)
{
    for (size_t i = 0; i < name.len; i++) {
        struct str escape = str_sub(name, i, 3);

        if (name.p[i] != '=') {
            buf_put_c(out, name.p[i]);
            continue;
        }
        if (!str_eq_c(escape, "=2C") && !str_eq_c(escape, "=3D"))
            return false;
        buf_put_c(out, escape.p[2] == 'C' ? ',' : '=');
        i += 2;
    }
    return name.len > 0 && !out->full;
}

/* gs2-header: "n,," "y,a=bob," "p=tls-exporter,,". What the client says of channel binding must
 * be what it would say if nobody had taken the PLUS mechanisms away (RFC 5802, 6). */
static bool take_header(struct sasl *s, struct str *text, struct str *ret_authzid)
{
    struct str whole = *text;
    struct str flag;

    if (!str_cut(*text, ',', &flag, text))
        return false;
    if (s->mechanism->plus ? !str_eq_c(flag, "p=tls-exporter")
                           : !str_eq_c(flag, "n") && !(str_eq_c(flag, "y") && !s->has_exporter))
        return false;
    *ret_authzid = str_of("");
    if (!take(text, 'a', ret_authzid)) {
        if (text->len == 0 || text->p[0] != ',')
            return false;
        *text = str_sub(*text, 1, SIZE_MAX);
    }
    buf_put_str(&s->gs2_header, str_sub(whole, 0, (size_t)(text->p - whole.p)));
    return true;
}

/* The salt of nobody: always the same for one name, and not to be told from a real one. */
static void invent_salt(const struct sasl *s, struct str name, uint8_t *ret_salt)
{
    uint8_t mac[DIGEST_BYTES_MAX];

    digest_hmac(DIGEST_SHA256, str_of_bytes(s->secret, sizeof(s->secret)),
                s->aor ? str_of(s->aor) : name, mac);
    memcpy(ret_salt, mac, DIRECTORY_SALT_BYTES);
}

static void put_challenge(struct sasl *s, struct str name, struct str client_nonce, struct buf *out)
{
    const struct user *user = s->aor ? directory_find(s->directory, str_of(s->aor)) : NULL;
    uint32_t iterations = user ? user->credentials.iterations : DIRECTORY_ITERATIONS;
    uint8_t salt[DIRECTORY_SALT_BYTES];
    struct buf nonce;

    if (user)
        memcpy(salt, user->credentials.salt, sizeof(salt));
    else
        invent_salt(s, name, salt);
    buf_init(&nonce, SASL_MESSAGE_MAX);
    buf_put_str(&nonce, client_nonce);
    buf_puts(&nonce, s->nonce);
    s->whole_nonce = buf_take(&nonce);
    buf_printf(out, "r=%s,s=", s->whole_nonce);
    digest_base64(out, str_of_bytes(salt, sizeof(salt)));
    buf_printf(out, ",i=%u", (unsigned)iterations);
}

static enum sasl_outcome step_first(struct sasl *s, struct str in, struct buf *out)
{
    struct str text = in, authzid, bare, escaped, nonce;
    struct buf name;
    bool fits;

    if (in.len > SASL_MESSAGE_MAX / 2 || !str_utf8(in) || !take_header(s, &text, &authzid))
        return fail(s, "malformed-request");
    bare = text;
    if (!take(&text, 'n', &escaped) || !take(&text, 'r', &nonce) || nonce.len < 8)
        return fail(s, "malformed-request");
    buf_init(&name, SASL_MESSAGE_MAX);
    fits = unescape(&name, escaped);
    if (fits) {
        s->aor = aor_of(s, buf_str(&name));
        fits = authzid_fits(s, authzid, buf_str(&name));
        put_challenge(s, buf_str(&name), nonce, out);
    }
    buf_done(&name);
    if (!fits)
        return fail(s, s->whole_nonce ? "invalid-authzid" : "malformed-request");
    buf_put_str(&s->auth_message, bare);
    buf_put_c(&s->auth_message, ',');
    buf_put_str(&s->auth_message, buf_str(out));
    s->challenged = true;
    return SASL_CHALLENGE;
}

/* c= repeats the header, followed by the channel's binding. */
static bool binding_fits(const struct sasl *s, struct str encoded)
{
    struct buf sent, wanted;
    bool fits;

    buf_init(&sent, SASL_MESSAGE_MAX);
    buf_init(&wanted, SASL_MESSAGE_MAX);
    buf_put_str(&wanted, buf_str(&s->gs2_header));
    if (s->mechanism->plus)
        buf_put(&wanted, s->exporter, sizeof(s->exporter));
    fits = digest_unbase64(&sent, encoded) && digest_equal(buf_str(&sent), buf_str(&wanted));
    buf_done(&sent);
    buf_done(&wanted);
    return fits;
}

/* ClientKey := ClientProof XOR HMAC(StoredKey, AuthMessage); H(ClientKey) must be StoredKey. */
static bool proof_fits(const struct sasl *s, const struct credentials *c, struct str encoded)
{
    size_t size = digest_size(s->mechanism->kind);
    const uint8_t *stored =
        s->mechanism->kind == DIGEST_SHA1 ? c->sha1_stored_key : c->sha256_stored_key;
    uint8_t key[DIGEST_BYTES_MAX], hash[DIGEST_BYTES_MAX];
    struct buf proof;
    bool fits;

    buf_init(&proof, SASL_MESSAGE_MAX);
    fits = digest_unbase64(&proof, encoded) && proof.len == size;
    digest_hmac(s->mechanism->kind, str_of_bytes(stored, size), buf_str(&s->auth_message), key);
    for (size_t i = 0; fits && i < size; i++)
        key[i] ^= (uint8_t)proof.data[i];
    digest_raw(s->mechanism->kind, str_of_bytes(key, size), hash);
    fits = digest_equal(str_of_bytes(hash, size), str_of_bytes(stored, size)) && fits;
    buf_done(&proof);
    return fits;
}

static void put_signature(const struct sasl *s, const struct credentials *c, struct buf *out)
{
    size_t size = digest_size(s->mechanism->kind);
    const uint8_t *key =
        s->mechanism->kind == DIGEST_SHA1 ? c->sha1_server_key : c->sha256_server_key;
    uint8_t signature[DIGEST_BYTES_MAX];

    digest_hmac(s->mechanism->kind, str_of_bytes(key, size), buf_str(&s->auth_message), signature);
    buf_puts(out, "v=");
    digest_base64(out, str_of_bytes(signature, size));
}

static enum sasl_outcome step_final(struct sasl *s, struct str in, struct buf *out)
{
    static const struct credentials nobody;
    const struct user *user = s->aor ? directory_find(s->directory, str_of(s->aor)) : NULL;
    const struct credentials *c = user ? &user->credentials : &nobody;
    size_t proof_at = str_rfind(in, ',');
    struct str text = in, binding, nonce, proof, last = str_sub(in, proof_at + 1, SIZE_MAX);

    if (in.len > SASL_MESSAGE_MAX / 2 || proof_at >= in.len || !take(&text, 'c', &binding) ||
        !take(&text, 'r', &nonce) || !take(&last, 'p', &proof))
        return fail(s, "malformed-request");
    buf_put_c(&s->auth_message, ',');
    buf_put_str(&s->auth_message, str_sub(in, 0, proof_at));
    if (!binding_fits(s, binding) || !str_eq_c(nonce, s->whole_nonce))
        return fail(s, "malformed-request");
    if (!proof_fits(s, c, proof) || !user)
        return fail(s, "not-authorized");
    put_signature(s, c, out);
    return SASL_SUCCESS;
}

enum sasl_outcome sasl_step(struct sasl *s, struct str in, struct buf *out)
{
    if (!s->mechanism->scram)
        return step_plain(s, in);
    return s->challenged ? step_final(s, in, out) : step_first(s, in, out);
}
