// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Service parameters, from params.def. A struct params holds the values in force; unit of every
 * DURATION is the millisecond. Values come, as text, from recoveryd (Params) and node.conf.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <control.pb-c.h>

#include "common/conf.h"
#include "common/err.h"

enum param_type { PARAM_DURATION, PARAM_NUMBER, PARAM_FLAG, PARAM_TEXT };

enum { PARAM_TEXT_MAX = 128 };

#define PARAM_FIELD_DURATION(service, name) uint64_t service##_##name##_ms;
#define PARAM_FIELD_NUMBER(service, name)   uint64_t service##_##name;
#define PARAM_FIELD_FLAG(service, name)     bool service##_##name;
#define PARAM_FIELD_TEXT(service, name)     char service##_##name[PARAM_TEXT_MAX + 1];

/* params.recoveryd_heartbeat_interval_ms, params.common_io_threads, ... */
struct params {
#define PARAM(service, name, type, ...) PARAM_FIELD_##type(service, name)
#include "common/params.def"
#undef PARAM
};

struct param_info {
    const char *service;
    const char *name;
    enum param_type type;
    const char *default_text; /* as nodectl prints it: "200ms", "on", "1000" */
    uint64_t least, most;     /* in the unit */
    const char *unit;
    bool per_node;
    const char *restart; /* service, "all", or NULL */
    const char *help;
};

/* All of params.def, in its order. */
const struct param_info *params_table(size_t *ret_count);
/* NULL when there is none. */
const struct param_info *params_find(const char *service, const char *name);

void params_defaults(struct params *p);

/* Parses "200ms", "3s", "30min", "on", "off", "1000"; -1 and what is allowed in *ret_err. */
int params_set(struct params *p, const char *service, const char *name, const char *text,
               struct err *ret_err) __attribute__((warn_unused_result));

/* The value in force, as nodectl prints it. */
void params_get(const struct params *p, const struct param_info *info, char *ret_text, size_t size);

/* Defaults, then what recoveryd said (NULL: nothing yet), then node.conf. What cannot be taken is
 * logged and stays at its default. */
void params_apply(struct params *p, const Muster__Params *message, const struct conf *conf);
