// SPDX-License-Identifier: Apache-2.0
#include <assert.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "common/mem.h"
#include "recoveryd/pg/child.h"
#include "recoveryd/pg/control.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What PostgreSQL's tools print. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = mem_dup(data, size);
    struct control control;
    char words[64];

    if (control_parse(str_of_bytes(data, size), &control))
        assert(control.system_id && control.timeline && control.lsn);
    child_last_words(text, words, sizeof(words));
    assert(strlen(words) < sizeof(words));
    mem_free(text);
    return 0;
}
