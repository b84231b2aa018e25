// SPDX-License-Identifier: Apache-2.0
/*
 * PBKDF2 with one block of output, on the compression functions: the states of HMAC after its inner
 * and outer key are computed once, and an iteration is two compressions. OpenSSL's own copies two
 * contexts for each, which takes three times as long, and an import of users is little else.
 */
#define OPENSSL_SUPPRESS_DEPRECATED /* SHA1_Transform() and SHA256_Transform() */

#include <assert.h>
#include <string.h>

#include <openssl/crypto.h>
#include <openssl/sha.h>

#include "common/digest.h"

enum { BLOCK_BYTES = 64, WORDS_MAX = 8, LENGTH_BYTES = 8 };

/* A digest in the midst of a message: SHA-1 has five words, SHA-256 eight. */
struct state {
    uint32_t words[WORDS_MAX];
};

static size_t word_count(enum digest_kind kind)
{
    return digest_size(kind) / sizeof(uint32_t);
}

static void put_word(uint8_t *to, uint32_t word)
{
    to[0] = (uint8_t)(word >> 24);
    to[1] = (uint8_t)(word >> 16);
    to[2] = (uint8_t)(word >> 8);
    to[3] = (uint8_t)word;
}

static void put_words(enum digest_kind kind, const struct state *s, uint8_t *to)
{
    for (size_t i = 0; i < word_count(kind); i++)
        put_word(to + sizeof(uint32_t) * i, s->words[i]);
}

static void compress_sha1(struct state *s, const uint8_t block[BLOCK_BYTES])
{
    SHA_CTX c = {.h0 = s->words[0],
                 .h1 = s->words[1],
                 .h2 = s->words[2],
                 .h3 = s->words[3],
                 .h4 = s->words[4]};

    SHA1_Transform(&c, block);
    s->words[0] = c.h0;
    s->words[1] = c.h1;
    s->words[2] = c.h2;
    s->words[3] = c.h3;
    s->words[4] = c.h4;
}

static void compress(enum digest_kind kind, struct state *s, const uint8_t block[BLOCK_BYTES])
{
    SHA256_CTX c;

    if (kind == DIGEST_SHA1) {
        compress_sha1(s, block);
        return;
    }
    memcpy(c.h, s->words, sizeof(c.h));
    SHA256_Transform(&c, block);
    memcpy(s->words, c.h, sizeof(c.h));
}

static struct state initial(enum digest_kind kind)
{
    SHA256_CTX sha256;
    SHA_CTX sha1;
    struct state s = {0};

    if (kind == DIGEST_SHA1) {
        SHA1_Init(&sha1);
        s = (struct state){{sha1.h0, sha1.h1, sha1.h2, sha1.h3, sha1.h4}};
    } else {
        SHA256_Init(&sha256);
        memcpy(s.words, sha256.h, sizeof(s.words));
    }
    return s;
}

/* The state after the key's block, every byte of it combined with `pad` (RFC 2104). */
static struct state keyed(enum digest_kind kind, const uint8_t key[BLOCK_BYTES], uint8_t pad)
{
    struct state s = initial(kind);
    uint8_t block[BLOCK_BYTES];

    for (size_t i = 0; i < BLOCK_BYTES; i++)
        block[i] = key[i] ^ pad;
    compress(kind, &s, block);
    OPENSSL_cleanse(block, sizeof(block));
    return s;
}

/* A digest in its place in the last block of a message that is one block longer than it. */
static void pad_block(enum digest_kind kind, uint8_t ret_block[BLOCK_BYTES])
{
    size_t size = digest_size(kind);

    memset(ret_block + size, 0, BLOCK_BYTES - size);
    ret_block[size] = 0x80;
    put_word(ret_block + BLOCK_BYTES - sizeof(uint32_t), (uint32_t)(BLOCK_BYTES + size) * 8);
}

/* Every U but the first, combined into `ret_key`, which holds the first. */
static void iterate(enum digest_kind kind, const uint8_t key[BLOCK_BYTES], uint32_t iterations,
                    uint8_t *ret_key)
{
    const struct state inner = keyed(kind, key, 0x36), outer = keyed(kind, key, 0x5c);
    size_t size = digest_size(kind);
    uint8_t block[BLOCK_BYTES];

    memcpy(block, ret_key, size);
    pad_block(kind, block);
    for (uint32_t i = 1; i < iterations; i++) {
        struct state s = inner;

        compress(kind, &s, block);
        put_words(kind, &s, block);
        s = outer;
        compress(kind, &s, block);
        put_words(kind, &s, block);
        for (size_t k = 0; k < size; k++)
            ret_key[k] ^= block[k];
    }
    OPENSSL_cleanse(block, sizeof(block));
}

void digest_pbkdf2(enum digest_kind kind, struct str password, struct str salt, uint32_t iterations,
                   uint8_t *ret_key)
{
    uint8_t key[BLOCK_BYTES] = {0};
    struct buf first;

    assert(kind == DIGEST_SHA1 || kind == DIGEST_SHA256);
    assert(iterations > 0);
    if (password.len > BLOCK_BYTES)
        digest_raw(kind, password, key);
    else if (password.len)
        memcpy(key, password.p, password.len);

    buf_init(&first, salt.len + sizeof(uint32_t));
    buf_put_str(&first, salt);
    buf_put(&first, "\0\0\0\1", sizeof(uint32_t)); /* INT(1): the first block */
    digest_hmac(kind, password, buf_str(&first), ret_key);
    buf_done(&first);
    iterate(kind, key, iterations, ret_key);
    OPENSSL_cleanse(key, sizeof(key));
}
