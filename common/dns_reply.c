// SPDX-License-Identifier: Apache-2.0
#include "common/dns_reply.h"

#include <stdio.h>

#include <ares.h>

enum { HEADER_BYTES = 12, CLASS_IN = 1, TYPE_SRV = 33 };

struct cursor {
    const uint8_t *reply;
    size_t len;
    size_t at;
};

static bool take_u16(struct cursor *c, uint16_t *ret_value)
{
    if (c->len - c->at < 2)
        return false;
    *ret_value = (uint16_t)(c->reply[c->at] << 8 | c->reply[c->at + 1]);
    c->at += 2;
    return true;
}

static bool take_u32(struct cursor *c, uint32_t *ret_value)
{
    uint16_t high, low;

    if (!take_u16(c, &high) || !take_u16(c, &low))
        return false;
    *ret_value = (uint32_t)high << 16 | low;
    return true;
}

/* ret_name: 256 bytes, or NULL to skip it. */
static bool take_name(struct cursor *c, char *ret_name)
{
    char *name;
    long used;

    if (c->at >= c->len || ares_expand_name(c->reply + c->at, c->reply, (int)c->len, &name, &used))
        return false;
    c->at += (size_t)used;
    if (ret_name)
        (void)snprintf(ret_name, 256, "%s", name); /* a name has 255 bytes at most */
    ares_free_string(name);
    return true;
}

/* The data of an SRV record; "." as its target says: no such service here. */
static bool take_target(struct cursor *c, struct dns_target *targets, size_t *count)
{
    struct dns_target t = {0};

    if (!take_u16(c, &t.priority) || !take_u16(c, &t.weight) || !take_u16(c, &t.port) ||
        !take_name(c, t.host))
        return false;
    if (t.host[0] && t.host[0] != '.')
        targets[(*count)++] = t;
    return true;
}

static bool take_record(struct cursor *c, struct dns_target *targets, size_t *count,
                        uint32_t *least_ttl_s)
{
    uint16_t type, class, size;
    uint32_t ttl_s;
    size_t end;

    if (!take_name(c, NULL) || !take_u16(c, &type) || !take_u16(c, &class) ||
        !take_u32(c, &ttl_s) || !take_u16(c, &size) || c->len - c->at < size)
        return false;
    end = c->at + size;
    if (type == TYPE_SRV && class == CLASS_IN && *count < DNS_ANSWERS_MAX) {
        *least_ttl_s = ttl_s < *least_ttl_s ? ttl_s : *least_ttl_s;
        if (!take_target(c, targets, count))
            return false;
    }
    c->at = end;
    return true;
}

bool dns_reply_srv(const uint8_t *reply, size_t len, struct dns_target *targets, size_t *count,
                   uint32_t *ret_ttl_s)
{
    struct cursor c = {reply, len, 4};
    uint32_t least_ttl_s = UINT32_MAX;
    uint16_t questions, answers;

    if (len < HEADER_BYTES || len > INT32_MAX || !take_u16(&c, &questions) ||
        !take_u16(&c, &answers))
        return false;
    c.at = HEADER_BYTES;
    for (; questions > 0; questions--) {
        if (!take_name(&c, NULL) || c.len - c.at < 4)
            return false;
        c.at += 4;
    }
    for (; answers > 0; answers--)
        if (!take_record(&c, targets, count, &least_ttl_s))
            return false;
    *ret_ttl_s = least_ttl_s;
    return true;
}

/* Is the first to be tried before the second? Of one priority, those of weight 0 come first in the
 * sum, so that they are seldom drawn. */
static bool is_before(const struct dns_target *a, const struct dns_target *b)
{
    if (a->priority != b->priority)
        return a->priority < b->priority;
    return a->weight == 0 && b->weight > 0;
}

static void swap(struct dns_target *a, struct dns_target *b)
{
    struct dns_target t = *a;

    *a = *b;
    *b = t;
}

void dns_reply_order(struct dns_target *targets, size_t count, uint64_t random)
{
    for (size_t i = 1; i < count; i++)
        for (size_t k = i; k > 0 && is_before(&targets[k], &targets[k - 1]); k--)
            swap(&targets[k], &targets[k - 1]);
    for (size_t i = 0; i < count; i++) {
        uint64_t sum = 0, drawn;
        size_t end = i, pick = i;

        for (; end < count && targets[end].priority == targets[i].priority; end++)
            sum += targets[end].weight;
        random = random * 6364136223846793005u + 1442695040888963407u;
        drawn = (random >> 33) % (sum + 1);
        for (sum = targets[i].weight; sum < drawn && pick + 1 < end; sum += targets[pick].weight)
            pick++;
        for (; pick > i; pick--)
            swap(&targets[pick], &targets[pick - 1]);
    }
}
