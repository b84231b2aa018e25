// SPDX-License-Identifier: Apache-2.0
/*
 * Digests and encodings against the vectors of the RFCs.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>
#include <openssl/evp.h>

#include "common/digest.h"
#include "common/mem.h"
#include "common/util.h"

static void hex_of_known_texts(void **state)
{
    char hex[DIGEST_HEX_MAX];

    (void)state;
    digest_hex(DIGEST_MD5, STR(""), hex); /* RFC 1321, A.5 */
    assert_string_equal(hex, "d41d8cd98f00b204e9800998ecf8427e");
    digest_hex(DIGEST_MD5, STR("message digest"), hex);
    assert_string_equal(hex, "f96b697d7cb7938d525a2f31aaf161d0");
    digest_hex(DIGEST_SHA1, STR("abc"), hex); /* RFC 3174, 7.3 */
    assert_string_equal(hex, "a9993e364706816aba3e25717850c26c9cd0d89d");
    digest_hex(DIGEST_SHA256, STR("abc"), hex); /* RFC 6234, 8.5 */
    assert_string_equal(hex, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}

static void hmac_of_rfc_2202_and_4231(void **state)
{
    uint8_t mac[DIGEST_BYTES_MAX];
    char hex[DIGEST_HEX_MAX];

    (void)state;
    digest_hmac(DIGEST_SHA1, STR("Jefe"), STR("what do ya want for nothing?"), mac);
    digest_to_hex(str_of_bytes(mac, 20), hex);
    assert_string_equal(hex, "effcdf6ae5eb2fa2d27416d5f184df9c259a7c79");
    digest_hmac(DIGEST_SHA256, STR("Jefe"), STR("what do ya want for nothing?"), mac);
    digest_to_hex(str_of_bytes(mac, 32), hex);
    assert_string_equal(hex, "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
    digest_hmac(DIGEST_MD5, STR(""), STR(""), mac);
    digest_to_hex(str_of_bytes(mac, 16), hex);
    assert_string_equal(hex, "74e6f7298a9c2d168935f58c001bad88");
}

static void pbkdf2_of_rfc_6070(void **state)
{
    uint8_t key[DIGEST_BYTES_MAX];
    char hex[DIGEST_HEX_MAX];

    (void)state;
    digest_pbkdf2(DIGEST_SHA1, STR("password"), STR("salt"), 4096, key);
    digest_to_hex(str_of_bytes(key, 20), hex);
    assert_string_equal(hex, "4b007901b765489abead49d926f721d065a429c1");
}

/* Ours is made of compression functions: the same as OpenSSL's for every length of the key. */
static void pbkdf2_is_that_of_openssl(void **state)
{
    static const uint32_t iterations[] = {1, 2, 7};
    uint8_t ours[DIGEST_BYTES_MAX], theirs[DIGEST_BYTES_MAX];
    char password[131], salt[16] = "0123456789abcde";

    (void)state;
    for (size_t len = 0; len < sizeof(password); len++) {
        uint32_t count = iterations[len % ARRAY_LEN(iterations)];
        struct str key = {password, len};

        password[len] = (char)(len * 7);
        digest_pbkdf2(DIGEST_SHA1, key, str_of_bytes(salt, 16), count, ours);
        PKCS5_PBKDF2_HMAC(password, (int)len, (uint8_t *)salt, 16, (int)count, EVP_sha1(), 20,
                          theirs);
        assert_memory_equal(ours, theirs, 20);
        digest_pbkdf2(DIGEST_SHA256, key, str_of_bytes(salt, 16), count, ours);
        PKCS5_PBKDF2_HMAC(password, (int)len, (uint8_t *)salt, 16, (int)count, EVP_sha256(), 32,
                          theirs);
        assert_memory_equal(ours, theirs, 32);
    }
}

/* The exchanges of RFC 5802 (section 5) and RFC 7677 (section 3), from the server's side: what we
 * keep verifies the client's proof and gives the server's signature. */
static void scram_exchanges_of_the_rfcs(void **state)
{
    static const struct {
        enum digest_kind kind;
        const char *salt, *auth, *proof, *signature;
    } rows[] = {
        {DIGEST_SHA1, "QSXCR+Q6sek8bf92",
         "n=user,r=fyko+d2lbbFgONRv9qkxdawL,"
         "r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,s=QSXCR+Q6sek8bf92,i=4096,"
         "c=biws,r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j",
         "v0X8v3Bz2T0CJGbJQyF0X+HI4Ts=", "rmF9pqV8S7suAoZWja4dJRkFsKQ="},
        {DIGEST_SHA256, "W22ZaJ0SNY7soEsUEjb6gQ==",
         "n=user,r=rOprNGfwEbeRWgbNEkqO,"
         "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096,"
         "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0",
         "dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=",
         "6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        size_t size = digest_size(rows[i].kind);
        uint8_t salted[32], client[32], stored[32], server[32], signature[32];
        struct str key = str_of_bytes(salted, size);
        struct buf salt, text;

        buf_init(&salt, 100);
        buf_init(&text, 100);
        assert_true(digest_unbase64(&salt, str_of(rows[i].salt)));
        digest_pbkdf2(rows[i].kind, STR("pencil"), buf_str(&salt), 4096, salted);
        digest_hmac(rows[i].kind, key, STR("Client Key"), client);
        digest_hmac(rows[i].kind, key, STR("Server Key"), server);
        digest_raw(rows[i].kind, str_of_bytes(client, size), stored);

        digest_hmac(rows[i].kind, str_of_bytes(stored, size), str_of(rows[i].auth), signature);
        for (size_t b = 0; b < size; b++)
            signature[b] ^= client[b];
        digest_base64(&text, str_of_bytes(signature, size));
        assert_string_equal(text.data, rows[i].proof);

        buf_clear(&text);
        digest_hmac(rows[i].kind, str_of_bytes(server, size), str_of(rows[i].auth), signature);
        digest_base64(&text, str_of_bytes(signature, size));
        assert_string_equal(text.data, rows[i].signature);
        buf_done(&salt);
        buf_done(&text);
    }
}

static void credentials_hold_all_that_protocols_ask_for(void **state)
{
    static const uint8_t salt[DIRECTORY_SALT_BYTES] = "0123456789abcdef";
    struct credentials c;
    uint8_t key[DIGEST_BYTES_MAX], mac[DIGEST_BYTES_MAX];

    (void)state;
    digest_credentials(STR("Mufasa"), STR("testrealm@host.com"), STR("Circle Of Life"), salt, &c);
    assert_string_equal(c.digest_md5, "939e7578ed9e3c518a452acee763bce9"); /* RFC 2617, 3.5 */
    assert_int_equal(strlen(c.digest_sha256), 64);
    assert_int_equal(c.iterations, 4096);
    assert_memory_equal(c.salt, salt, sizeof(salt));

    digest_pbkdf2(DIGEST_SHA256, STR("Circle Of Life"), str_of_bytes(salt, sizeof(salt)), 4096,
                  key);
    digest_hmac(DIGEST_SHA256, str_of_bytes(key, 32), STR("Server Key"), mac);
    assert_memory_equal(c.sha256_server_key, mac, 32);
}

/* RFC 7616, 3.9.1: the same user in both algorithms. */
static void ha1_of_rfc_7616(void **state)
{
    static const uint8_t salt[DIRECTORY_SALT_BYTES];
    struct credentials c;

    (void)state;
    digest_credentials(STR("Mufasa"), STR("http-auth@example.org"), STR("Circle of Life"), salt,
                       &c);
    assert_string_equal(c.digest_md5, "3d78807defe7de2157e2b0b6573a855f");
    assert_string_equal(c.digest_sha256,
                        "7987c64c30e25f1b74be53f966b49b90f2808aa92faf9a00262392d7b4794232");
}

static void base64_both_ways(void **state)
{
    static const struct {
        const char *plain, *coded;
    } rows[] = {/* RFC 4648, 10 */
                {"", ""},
                {"f", "Zg=="},
                {"fo", "Zm8="},
                {"foo", "Zm9v"},
                {"foob", "Zm9vYg=="},
                {"fooba", "Zm9vYmE="},
                {"foobar", "Zm9vYmFy"},
                {"\xff\xfe\xfd", "//79"}};
    struct buf out;

    (void)state;
    buf_init(&out, 100);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        buf_clear(&out);
        digest_base64(&out, str_of(rows[i].plain));
        assert_true(str_eq_c(buf_str(&out), rows[i].coded));
        buf_clear(&out);
        buf_puts(&out, "before ");
        assert_true(digest_unbase64(&out, str_of(rows[i].coded)));
        assert_true(str_eq_c(str_sub(buf_str(&out), 7, 100), rows[i].plain));
    }
    buf_done(&out);
}

static void what_is_not_base64_is_refused(void **state)
{
    static const char *const rows[] = {
        "Z",
        "Zg",
        "Zg=",
        "====",
        "=g==",
        "Zg==Zg==",
        "Z===",
        "Zm9v\n",
        "Zm 9",
        "Zm9\t",
        "Zh==" /* left-over bits */,
        "Zm9=",
        "Zm9vYm-_",
        "\xc3\xa4==",
    };
    struct buf out;

    (void)state;
    buf_init(&out, 100);
    buf_puts(&out, "kept");
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        if (digest_unbase64(&out, str_of(rows[i])))
            fail_msg("\"%s\" was taken", rows[i]);
        assert_string_equal(out.data, "kept");
    }
    assert_false(digest_unbase64(&out, str_of_bytes("AA\0A", 4)));
    buf_done(&out);

    buf_init(&out, 4); /* more than fits */
    assert_false(digest_unbase64(&out, STR("Zm9vYmFy")));
    assert_int_equal(out.len, 0);
    buf_done(&out);
}

static void equal_means_equal(void **state)
{
    (void)state;
    assert_true(digest_equal(STR("secret"), STR("secret")));
    assert_false(digest_equal(STR("secret"), STR("secreT")));
    assert_false(digest_equal(STR("secret"), STR("secre")));
    assert_true(digest_equal(STR(""), STR("")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(hex_of_known_texts),
        cmocka_unit_test(hmac_of_rfc_2202_and_4231),
        cmocka_unit_test(pbkdf2_of_rfc_6070),
        cmocka_unit_test(pbkdf2_is_that_of_openssl),
        cmocka_unit_test(scram_exchanges_of_the_rfcs),
        cmocka_unit_test(credentials_hold_all_that_protocols_ask_for),
        cmocka_unit_test(ha1_of_rfc_7616),
        cmocka_unit_test(base64_both_ways),
        cmocka_unit_test(what_is_not_base64_is_refused),
        cmocka_unit_test(equal_means_equal),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
