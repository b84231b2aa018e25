// SPDX-License-Identifier: Apache-2.0
#include <assert.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "common/conf.h"
#include "common/params.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The bytes are node.conf. It is refused with a sentence, or complete and within its limits. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct conf c;
    static struct params p;
    struct err e = {""};

    if (conf_parse("/srv/n1", "node.conf", str_of_bytes(data, size), &c, &e)) {
        assert(strncmp(e.text, "node.conf:", 10) == 0);
        return 0;
    }
    assert(conf_self(&c)->node == c.node);
    assert(c.set_count <= CONF_SETS_MAX && c.nodes.count <= VIEW_NODES_MAX);
    assert(strnlen(c.tls_key, CONF_PATH_MAX) < CONF_PATH_MAX && c.tls_key[0] == '/');
    for (size_t i = 0; i < CONF_PORTS; i++)
        assert(c.ports[i] != 0);
    params_apply(&p, NULL, &c); /* every set.* was checked: nothing is logged */
    return 0;
}
