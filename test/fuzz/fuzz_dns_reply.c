// SPDX-License-Identifier: Apache-2.0
#include <assert.h>
#include <stddef.h>
#include <stdint.h>

#include "common/dns_reply.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct dns_target targets[DNS_ANSWERS_MAX];
    size_t count = 0;
    uint32_t ttl_s;

    if (!dns_reply_srv(data, size, targets, &count, &ttl_s))
        return 0;
    assert(count <= DNS_ANSWERS_MAX);
    dns_reply_order(targets, count, size);
    for (size_t i = 1; i < count; i++)
        assert(targets[i - 1].priority <= targets[i].priority);
    return 0;
}
