// SPDX-License-Identifier: Apache-2.0
#include "proxyd/sip/table.h"

#include <string.h>

static uint64_t rotate(uint64_t x, int bits)
{
    return x << bits | x >> (64 - bits);
}

static void mix(uint64_t v[4])
{
    v[0] += v[1];
    v[2] += v[3];
    v[1] = rotate(v[1], 13) ^ v[0];
    v[3] = rotate(v[3], 16) ^ v[2];
    v[0] = rotate(v[0], 32);
    v[2] += v[1];
    v[0] += v[3];
    v[1] = rotate(v[1], 17) ^ v[2];
    v[3] = rotate(v[3], 21) ^ v[0];
    v[2] = rotate(v[2], 32);
}

static void absorb(uint64_t v[4], uint64_t word)
{
    v[3] ^= word;
    mix(v);
    v[0] ^= word;
}

uint32_t sip_hash(const struct sip_hash_key *key, struct str s)
{
    uint64_t v[4] = {key->k0 ^ 0x736f6d6570736575, key->k1 ^ 0x646f72616e646f6d,
                     key->k0 ^ 0x6c7967656e657261, key->k1 ^ 0x7465646279746573};
    uint64_t word;
    size_t at = 0;

    for (; s.len - at >= 8; at += 8) {
        memcpy(&word, s.p + at, 8);
        absorb(v, word);
    }
    word = (uint64_t)s.len << 56;
    for (size_t i = at; i < s.len; i++)
        word |= (uint64_t)(unsigned char)s.p[i] << (i - at) * 8;
    absorb(v, word);
    v[2] ^= 0xff;
    mix(v);
    mix(v);
    mix(v);
    word = v[0] ^ v[1] ^ v[2] ^ v[3];
    return (uint32_t)(word ^ word >> 32);
}
