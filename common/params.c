// SPDX-License-Identifier: Apache-2.0
#include "common/params.h"

#include <assert.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "common/log.h"
#include "common/str.h"
#include "common/util.h"

enum { VALUE_TEXT_BYTES = 32 };

/* Where a parameter's value is, and what it is at first. */
struct place {
    size_t offset;
    uint64_t number;  /* of DURATION, NUMBER, FLAG */
    const char *text; /* of TEXT */
};

#define OFFSET_DURATION(service, name) offsetof(struct params, service##_##name##_ms)
#define OFFSET_NUMBER(service, name)   offsetof(struct params, service##_##name)
#define OFFSET_FLAG(service, name)     offsetof(struct params, service##_##name)
#define OFFSET_TEXT(service, name)     offsetof(struct params, service##_##name)

#define DEFAULT_DURATION(value) (value), NULL
#define DEFAULT_NUMBER(value)   (value), NULL
#define DEFAULT_FLAG(value)     (value), NULL
#define DEFAULT_TEXT(value)     0, (value)

static const struct place places[] = {
#define PARAM(service, name, type, value, ...)                                                     \
    {OFFSET_##type(service, name), DEFAULT_##type(value)},
#include "common/params.def"
#undef PARAM
};

enum { COUNT = ARRAY_LEN(places) };

#define SCOPE_CLUSTER false
#define SCOPE_NODE    true

#define RESTART_NOTHING   NULL
#define RESTART_all       "all"
#define RESTART_proxyd    "proxyd"
#define RESTART_presenced "presenced"
#define RESTART_routerd   "routerd"
#define RESTART_recoveryd "recoveryd"

/* default_text is printed from places[] at the first look. */
static struct param_info table[] = {
#define PARAM(service, name, type, value, least, most, unit, scope, restart, help)                 \
    {#service, #name,         PARAM_##type,      NULL, least, most,                                \
     unit,     SCOPE_##scope, RESTART_##restart, help},
#include "common/params.def"
#undef PARAM
};

static char default_texts[COUNT][VALUE_TEXT_BYTES];

static const struct {
    const char *name;
    uint64_t ms;
} units[] = {{"d", 86400000}, {"h", 3600000}, {"min", 60000}, {"s", 1000}, {"ms", 1}};

static void print_duration(uint64_t ms, char *ret_text, size_t size)
{
    size_t i = 0;

    while (ms % units[i].ms || (ms == 0 && units[i].ms > 1))
        i++;
    (void)snprintf(ret_text, size, "%" PRIu64 "%s", ms / units[i].ms, units[i].name);
}

/* Into at least VALUE_TEXT_BYTES; of anything but a TEXT. */
static void print_number(enum param_type type, uint64_t value, char *ret_text, size_t size)
{
    if (type == PARAM_DURATION)
        print_duration(value, ret_text, size);
    else if (type == PARAM_FLAG)
        (void)snprintf(ret_text, size, "%s", value ? "on" : "off");
    else
        (void)snprintf(ret_text, size, "%" PRIu64, value);
}

static void print_defaults(void)
{
    for (size_t i = 0; i < COUNT; i++) {
        if (table[i].type == PARAM_TEXT) {
            table[i].default_text = places[i].text;
            continue;
        }
        print_number(table[i].type, places[i].number, default_texts[i], VALUE_TEXT_BYTES);
        table[i].default_text = default_texts[i];
    }
}

const struct param_info *params_table(size_t *ret_count)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;

    pthread_once(&once, print_defaults);
    *ret_count = COUNT;
    return table;
}

const struct param_info *params_find(const char *service, const char *name)
{
    size_t count;
    const struct param_info *infos = params_table(&count);

    for (size_t i = 0; i < count; i++)
        if (strcmp(infos[i].service, service) == 0 && strcmp(infos[i].name, name) == 0)
            return &infos[i];
    return NULL;
}

static void store_number(struct params *p, const struct param_info *info, uint64_t value)
{
    char *at = (char *)p + places[info - table].offset;

    if (info->type == PARAM_FLAG)
        *(bool *)at = value;
    else
        memcpy(at, &value, sizeof(value));
}

static uint64_t load_number(const struct params *p, const struct param_info *info)
{
    const char *at = (const char *)p + places[info - table].offset;
    uint64_t value;

    if (info->type == PARAM_FLAG)
        return *(const bool *)at;
    memcpy(&value, at, sizeof(value));
    return value;
}

static void store_text(struct params *p, const struct param_info *info, struct str value)
{
    char *at = (char *)p + places[info - table].offset;

    assert(value.len <= PARAM_TEXT_MAX);
    memcpy(at, value.p, value.len);
    at[value.len] = '\0';
}

void params_defaults(struct params *p)
{
    size_t count;
    const struct param_info *infos = params_table(&count);

    *p = (struct params){0};
    for (size_t i = 0; i < count; i++) {
        if (infos[i].type == PARAM_TEXT)
            store_text(p, &infos[i], str_of(places[i].text));
        else
            store_number(p, &infos[i], places[i].number);
    }
}

static bool parse_duration(struct str text, uint64_t *ret_ms)
{
    size_t digits = 0;
    uint64_t value;

    while (digits < text.len && text.p[digits] >= '0' && text.p[digits] <= '9')
        digits++;
    if (!str_u64(str_sub(text, 0, digits), &value))
        return false;
    for (size_t i = 0; i < ARRAY_LEN(units); i++) {
        if (!str_eq_c(str_sub(text, digits, text.len), units[i].name))
            continue;
        if (value > UINT64_MAX / units[i].ms)
            return false;
        *ret_ms = value * units[i].ms;
        return true;
    }
    return false;
}

static bool parse_number(const struct param_info *info, struct str text, uint64_t *ret_value)
{
    switch (info->type) {
    case PARAM_DURATION:
        return parse_duration(text, ret_value);
    case PARAM_NUMBER:
        return str_u64(text, ret_value);
    case PARAM_FLAG:
        *ret_value = str_eq_c(text, "on");
        return *ret_value || str_eq_c(text, "off");
    case PARAM_TEXT:
        break;
    }
    return false;
}

/* Is `value` in "a|b|c"? An empty list allows all. */
static bool is_listed(struct str value, const char *list)
{
    struct str one, rest = str_of(list);

    if (rest.len == 0)
        return true;
    while (rest.len) {
        (void)str_cut(rest, '|', &one, &rest); /* the last has none behind it */
        if (str_eq(one, value))
            return true;
    }
    return false;
}

static int refuse(const struct param_info *info, struct err *e)
{
    char least[VALUE_TEXT_BYTES], most[VALUE_TEXT_BYTES];

    if (info->type == PARAM_FLAG)
        return err_set(e, "%s.%s: on or off", info->service, info->name);
    if (info->type == PARAM_TEXT && *info->unit)
        return err_set(e, "%s.%s: one of %s", info->service, info->name, info->unit);
    print_number(info->type, info->least, least, sizeof(least));
    print_number(info->type, info->most, most, sizeof(most));
    if (info->type == PARAM_TEXT)
        return err_set(e, "%s.%s: %s to %s bytes", info->service, info->name, least, most);
    return err_set(e, "%s.%s: %s to %s", info->service, info->name, least, most);
}

int params_set(struct params *p, const char *service, const char *name, const char *text,
               struct err *ret_err)
{
    const struct param_info *info = params_find(service, name);
    struct str value = str_of(text);
    uint64_t number;

    if (!info)
        return err_set(ret_err, "%.32s.%.64s: there is no such parameter", service, name);
    if (info->type == PARAM_TEXT) {
        if (value.len < info->least || value.len > info->most || !str_utf8(value) ||
            !is_listed(value, info->unit))
            return refuse(info, ret_err);
        store_text(p, info, value);
        return 0;
    }
    if (!parse_number(info, value, &number) || number < info->least || number > info->most)
        return refuse(info, ret_err);
    store_number(p, info, number);
    return 0;
}

void params_get(const struct params *p, const struct param_info *info, char *ret_text, size_t size)
{
    if (info->type == PARAM_TEXT)
        (void)snprintf(ret_text, size, "%s", (const char *)p + places[info - table].offset);
    else
        print_number(info->type, load_number(p, info), ret_text, size);
}

static void set_or_log(struct params *p, const char *service, const char *name, const char *value)
{
    struct err e;

    if (params_set(p, service, name, value, &e))
        log_warning("parameter_refused", log_str("why", e.text), log_str("value", value));
}

void params_apply(struct params *p, const Muster__Params *message, const struct conf *conf)
{
    params_defaults(p);
    for (size_t i = 0; message && i < message->n_params; i++)
        set_or_log(p, message->params[i]->service, message->params[i]->name,
                   message->params[i]->value);
    for (size_t i = 0; i < conf->set_count; i++)
        set_or_log(p, conf->sets[i].service, conf->sets[i].name, conf->sets[i].value);
}
