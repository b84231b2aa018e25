// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * What pg_controldata prints of a cluster that does not run (core).
 */
#include <stdbool.h>
#include <stdint.h>

#include "common/str.h"

struct control {
    uint64_t system_id;
    uint32_t timeline;
    uint64_t lsn; /* the end of recovery at least; else of the last checkpoint */
};

/* False if the text lacks one of them. */
bool control_parse(struct str text, struct control *ret_control);

/* "16/B374D848"; false if it is none. */
bool control_parse_lsn(struct str text, uint64_t *ret_lsn);
