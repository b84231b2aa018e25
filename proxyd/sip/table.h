// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * uthash as proxyd's cores use it: memory from mem_new(), and, for keys that peers choose, a hash
 * that they cannot predict.
 */
#include <stdint.h>
#include <stdlib.h>

#include "common/mem.h"
#include "common/str.h"

#define uthash_malloc(size)    mem_new(size)
#define uthash_free(ptr, size) mem_free(ptr)
#define uthash_fatal(message)  abort()
#include <uthash.h>

struct sip_hash_key {
    uint64_t k0, k1;
};

/* SipHash-1-3 of `s`. */
uint32_t sip_hash(const struct sip_hash_key *key, struct str s);
