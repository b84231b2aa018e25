// SPDX-License-Identifier: Apache-2.0
#include "proxyd/auth.h"

#include <stdio.h>
#include <string.h>

#include "common/digest.h"

enum {
    STAMP_HEX = 16,
    MAC_BYTES = 16,
    NONCE_CHARS = STAMP_HEX + 2 * MAC_BYTES,
    CLOCKS_DIFFER_MS = 60000, /* the other node's may be so far ahead */
    DIGEST_TEXT_MAX = 8192,
};

/* ---- nonces ---- */

static void make_nonce(const struct auth *a, uint64_t unix_ms, char ret_nonce[NONCE_CHARS + 1])
{
    uint8_t mac[DIGEST_BYTES_MAX];

    snprintf(ret_nonce, STAMP_HEX + 1, "%016llx", (unsigned long long)unix_ms);
    digest_hmac(DIGEST_SHA256, str_of_bytes(a->key, sizeof(a->key)),
                str_of_bytes(ret_nonce, STAMP_HEX), mac);
    digest_to_hex(str_of_bytes(mac, MAC_BYTES), ret_nonce + STAMP_HEX);
}

static bool read_stamp(struct str nonce, uint64_t *ret_unix_ms)
{
    uint64_t value = 0;

    for (size_t i = 0; i < STAMP_HEX; i++) {
        char c = nonce.p[i];

        if (c >= '0' && c <= '9')
            value = value << 4 | (uint64_t)(c - '0');
        else if (c >= 'a' && c <= 'f')
            value = value << 4 | (uint64_t)(c - 'a' + 10);
        else
            return false;
    }
    *ret_unix_ms = value;
    return true;
}

/* OK, STALE, or WRONG: not made by us. */
static enum auth_verdict check_nonce(const struct auth *a, struct str nonce, uint64_t unix_ms)
{
    char expected[NONCE_CHARS + 1];
    uint64_t made;

    if (nonce.len != NONCE_CHARS || !read_stamp(nonce, &made))
        return AUTH_WRONG;
    make_nonce(a, made, expected);
    if (!digest_equal(nonce, str_of(expected)))
        return AUTH_WRONG;
    if (made > unix_ms + CLOCKS_DIFFER_MS || made + a->nonce_lifetime_ms <= unix_ms)
        return AUTH_STALE;
    return AUTH_OK;
}

/* ---- responses ---- */

static bool digest_kind(struct str algorithm, enum digest_kind *ret_kind)
{
    if (algorithm.len == 0 || str_ieq_c(algorithm, "MD5"))
        *ret_kind = DIGEST_MD5;
    else if (str_ieq_c(algorithm, "SHA-256"))
        *ret_kind = DIGEST_SHA256;
    else
        return false;
    return true;
}

/* H(HA1 ":" nonce ":" nc ":" cnonce ":" qop ":" H(method ":" uri)), RFC 7616, 3.4.1. */
static void expected_response(enum digest_kind kind, struct str ha1,
                              const struct sip_credentials *c, struct str method,
                              char ret_hex[DIGEST_HEX_MAX])
{
    const struct str parts[] = {c->nonce, c->nc, c->cnonce, c->qop};
    char ha2[DIGEST_HEX_MAX];
    struct buf text;

    buf_init(&text, DIGEST_TEXT_MAX);
    buf_put_str(&text, method);
    buf_put_c(&text, ':');
    buf_put_str(&text, c->uri);
    digest_hex(kind, buf_str(&text), ha2);
    buf_clear(&text);
    buf_put_str(&text, ha1);
    for (size_t i = 0; i < sizeof(parts) / sizeof(*parts); i++) {
        buf_put_c(&text, ':');
        buf_put_str(&text, parts[i]);
    }
    buf_put_c(&text, ':');
    buf_puts(&text, ha2);
    digest_hex(kind, buf_str(&text), ret_hex);
    buf_done(&text);
}

/* The user that the credentials name; NULL when there is none. */
static const struct user *find_user(const struct auth *a, const struct directory *users,
                                    struct str username)
{
    struct buf aor;
    const struct user *user;

    buf_init(&aor, 2048);
    buf_put_str(&aor, username);
    buf_put_c(&aor, '@');
    buf_puts(&aor, a->realm);
    user = aor.full ? NULL : directory_find(users, buf_str(&aor));
    buf_done(&aor);
    return user;
}

static enum auth_verdict check(const struct auth *a, const struct directory *users,
                               const struct sip_credentials *c, struct str method, uint64_t unix_ms,
                               const struct user **ret_user)
{
    static const char nobodys_ha1[] =
        "0000000000000000000000000000000000000000000000000000000000000000";
    const struct user *user = find_user(a, users, c->username);
    enum auth_verdict verdict = check_nonce(a, c->nonce, unix_ms);
    enum digest_kind kind;
    char hex[DIGEST_HEX_MAX];
    struct str ha1;

    if (!digest_kind(c->algorithm, &kind) || !str_ieq_c(c->qop, "auth") || verdict == AUTH_WRONG)
        return AUTH_WRONG;
    ha1 = !user                   ? str_sub(STR(nobodys_ha1), 0, 2 * digest_size(kind))
          : kind == DIGEST_SHA256 ? str_of(user->credentials.digest_sha256)
                                  : str_of(user->credentials.digest_md5);
    expected_response(kind, ha1, c, method, hex);
    if (!digest_equal(c->response, str_of(hex)) || !user)
        return AUTH_WRONG;
    *ret_user = user;
    return verdict;
}

enum auth_verdict auth_check(const struct auth *a, const struct directory *users,
                             const struct sip_msg *request, uint64_t unix_ms,
                             const struct user **ret_user)
{
    for (size_t i = 0; i < request->header_count; i++) {
        const struct sip_header *h = &request->headers[i];
        struct sip_credentials c;

        if (h->id == SIP_HEADER_AUTHORIZATION && sip_credentials_parse(h->value, &c) &&
            str_ieq_c(c.realm, a->realm))
            return check(a, users, &c, request->method_text, unix_ms, ret_user);
    }
    return AUTH_MISSING;
}

/* ---- challenges ---- */

static void put_challenge(struct buf *out, const struct auth *a, const char *algorithm,
                          const char *nonce, bool stale)
{
    buf_printf(
        out,
        "WWW-Authenticate: Digest realm=\"%s\", qop=\"auth\", nonce=\"%s\", algorithm=%s%s\r\n",
        a->realm, nonce, algorithm, stale ? ", stale=true" : "");
}

static bool sha256_first(const struct auth *a, const struct sip_msg *request)
{
    struct sip_credentials c;
    enum digest_kind kind;

    if (sip_credentials_parse(sip_msg_value(request, SIP_HEADER_AUTHORIZATION), &c) &&
        c.algorithm.len && digest_kind(c.algorithm, &kind))
        return kind == DIGEST_SHA256;
    return a->sha256_first;
}

void auth_put_challenge(struct buf *out, const struct auth *a, const struct sip_msg *request,
                        enum auth_verdict verdict, uint64_t unix_ms)
{
    bool first = sha256_first(a, request);
    char nonce[NONCE_CHARS + 1];

    make_nonce(a, unix_ms, nonce);
    put_challenge(out, a, first ? "SHA-256" : "MD5", nonce, verdict == AUTH_STALE);
    put_challenge(out, a, first ? "MD5" : "SHA-256", nonce, verdict == AUTH_STALE);
}
