// SPDX-License-Identifier: Apache-2.0
#include "common/digest.h"

#include <assert.h>
#include <limits.h>
#include <pthread.h>
#include <string.h>

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>

#include "common/util.h"

/* Fetched once: an implicit fetch would cost more than the digest of a short text. */
static const EVP_MD *algorithms[3];

static void fetch_algorithms(void)
{
    static const char *const names[] = {
        [DIGEST_MD5] = "MD5", [DIGEST_SHA1] = "SHA1", [DIGEST_SHA256] = "SHA256"};

    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        algorithms[i] = EVP_MD_fetch(NULL, names[i], NULL);
        assert(algorithms[i]);
    }
}

static const EVP_MD *algorithm(enum digest_kind kind)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;

    pthread_once(&once, fetch_algorithms);
    return algorithms[kind];
}

size_t digest_size(enum digest_kind kind)
{
    switch (kind) {
    case DIGEST_MD5:
        return 16;
    case DIGEST_SHA1:
        return 20;
    case DIGEST_SHA256:
        return 32;
    }
    assert(false);
    return 0;
}

void digest_raw(enum digest_kind kind, struct str data, uint8_t *ret_digest)
{
    int ok = EVP_Digest(data.p, data.len, ret_digest, NULL, algorithm(kind), NULL);

    assert(ok);
    (void)ok;
}

void digest_to_hex(struct str data, char *ret_hex)
{
    static const char digits[] = "0123456789abcdef";

    for (size_t i = 0; i < data.len; i++) {
        *ret_hex++ = digits[(uint8_t)data.p[i] >> 4];
        *ret_hex++ = digits[(uint8_t)data.p[i] & 15];
    }
    *ret_hex = '\0';
}

void digest_hex(enum digest_kind kind, struct str data, char ret_hex[DIGEST_HEX_MAX])
{
    uint8_t raw[DIGEST_BYTES_MAX];

    digest_raw(kind, data, raw);
    digest_to_hex(str_of_bytes(raw, digest_size(kind)), ret_hex);
}

void digest_hmac(enum digest_kind kind, struct str key, struct str data, uint8_t *ret_mac)
{
    assert(key.len <= INT_MAX);
    uint8_t *mac = HMAC(algorithm(kind), key.p, (int)key.len, (const uint8_t *)data.p, data.len,
                        ret_mac, NULL);

    assert(mac);
    (void)mac;
}

bool digest_equal(struct str a, struct str b)
{
    return a.len == b.len && CRYPTO_memcmp(a.p, b.p, a.len) == 0;
}

static const char base64_digits[] =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

void digest_base64(struct buf *out, struct str data)
{
    const uint8_t *in = (const uint8_t *)data.p;

    for (size_t i = 0; i < data.len; i += 3) {
        size_t have = data.len - i;
        uint32_t bits = (uint32_t)in[i] << 16 | (have > 1 ? (uint32_t)in[i + 1] << 8 : 0) |
                        (have > 2 ? in[i + 2] : 0u);
        char four[4] = {base64_digits[bits >> 18], base64_digits[bits >> 12 & 63],
                        have > 1 ? base64_digits[bits >> 6 & 63] : '=',
                        have > 2 ? base64_digits[bits & 63] : '='};

        buf_put(out, four, sizeof(four));
    }
}

static int base64_value(char c)
{
    const char *at = c ? strchr(base64_digits, c) : NULL;

    return at ? (int)(at - base64_digits) : -1;
}

/* Decodes four characters, of which the last `padding` are '='; false if they are not base64, or
 * not what an encoder writes (RFC 4648, 3.5: bits that are left over must be zero). */
static bool decode_four(const char *four, size_t padding, uint8_t ret_three[3])
{
    uint32_t bits = 0;

    for (size_t i = 0; i < 4; i++) {
        int value = i < 4 - padding ? base64_value(four[i]) : 0;

        if (value < 0)
            return false;
        bits = bits << 6 | (uint32_t)value;
    }
    if (bits & ((1u << 8 * padding) - 1))
        return false;
    ret_three[0] = (uint8_t)(bits >> 16);
    ret_three[1] = (uint8_t)(bits >> 8);
    ret_three[2] = (uint8_t)bits;
    return true;
}

bool digest_unbase64(struct buf *out, struct str text)
{
    size_t start = out->len;
    size_t padding = 0;

    if (text.len % 4)
        return false;
    while (padding < 2 && padding < text.len && text.p[text.len - 1 - padding] == '=')
        padding++;
    for (size_t i = 0; i < text.len; i += 4) {
        size_t pad = i + 4 == text.len ? padding : 0;
        uint8_t three[3];

        if (!decode_four(text.p + i, pad, three))
            goto refuse;
        buf_put(out, three, 3 - pad);
        if (out->full)
            goto refuse;
    }
    return true;

refuse:
    out->len = start;
    if (out->data)
        out->data[start] = '\0';
    return false;
}

/* StoredKey and ServerKey (RFC 5802, section 3). */
static void scram_keys(enum digest_kind kind, struct str password, const struct credentials *c,
                       uint8_t *ret_stored_key, uint8_t *ret_server_key)
{
    uint8_t salted[DIGEST_BYTES_MAX], client_key[DIGEST_BYTES_MAX];
    struct str key = {(const char *)salted, digest_size(kind)};

    digest_pbkdf2(kind, password, str_of_bytes(c->salt, sizeof(c->salt)), c->iterations, salted);
    digest_hmac(kind, key, STR("Client Key"), client_key);
    digest_raw(kind, str_of_bytes(client_key, digest_size(kind)), ret_stored_key);
    digest_hmac(kind, key, STR("Server Key"), ret_server_key);
    OPENSSL_cleanse(salted, sizeof(salted));
    OPENSSL_cleanse(client_key, sizeof(client_key));
}

void digest_credentials(struct str userid, struct str domain, struct str password,
                        const uint8_t salt[DIRECTORY_SALT_BYTES], struct credentials *ret)
{
    struct credentials c = {.iterations = DIRECTORY_ITERATIONS};
    char hex[DIGEST_HEX_MAX];
    struct buf a1;

    memcpy(c.salt, salt, sizeof(c.salt));
    scram_keys(DIGEST_SHA1, password, &c, c.sha1_stored_key, c.sha1_server_key);
    scram_keys(DIGEST_SHA256, password, &c, c.sha256_stored_key, c.sha256_server_key);

    buf_init(&a1, userid.len + domain.len + password.len + 2);
    buf_put_str(&a1, userid);
    buf_put_c(&a1, ':');
    buf_put_str(&a1, domain);
    buf_put_c(&a1, ':');
    buf_put_str(&a1, password);
    digest_hex(DIGEST_MD5, buf_str(&a1), hex);
    memcpy(c.digest_md5, hex, sizeof(c.digest_md5));
    digest_hex(DIGEST_SHA256, buf_str(&a1), c.digest_sha256);
    OPENSSL_cleanse(a1.data, a1.len);
    buf_done(&a1);
    *ret = c;
}
