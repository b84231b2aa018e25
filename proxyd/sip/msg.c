// SPDX-License-Identifier: Apache-2.0
#include "proxyd/sip/msg.h"

#include "common/mem.h"
#include "common/util.h"

static const char *const method_names[] = {
    [SIP_OTHER_METHOD] = "",
#define METHOD(id, name) [SIP_##id] = name,
#include "proxyd/sip/methods.def"
#undef METHOD
};

static const struct {
    const char *name;
    char compact;
} header_names[] = {
    [SIP_OTHER_HEADER] = {"", 0},
#define HEADER(id, name, compact) [SIP_HEADER_##id] = {name, compact},
#include "proxyd/sip/headers.def"
#undef HEADER
};

const char *sip_method_name(enum sip_method method)
{
    return method_names[method];
}

/* Methods are case-sensitive (RFC 3261, 7.1). */
enum sip_method sip_method_of(struct str name)
{
    for (size_t i = 1; i < ARRAY_LEN(method_names); i++)
        if (str_eq_c(name, method_names[i]))
            return (enum sip_method)i;
    return SIP_OTHER_METHOD;
}

const char *sip_header_name(enum sip_header_id id)
{
    return header_names[id].name;
}

enum sip_header_id sip_header_of(struct str name)
{
    for (size_t i = 1; i < ARRAY_LEN(header_names); i++) {
        if (name.len == 1 ? (name.p[0] | 0x20) == header_names[i].compact
                          : str_ieq_c(name, header_names[i].name))
            return (enum sip_header_id)i;
    }
    return SIP_OTHER_HEADER;
}

void sip_msg_free(struct sip_msg *m)
{
    if (!m)
        return;
    arena_done(&m->arena);
    mem_free(m);
}

const struct sip_header *sip_msg_find(const struct sip_msg *m, enum sip_header_id id)
{
    for (size_t i = 0; i < m->header_count; i++)
        if (m->headers[i].id == id)
            return &m->headers[i];
    return NULL;
}

struct str sip_msg_value(const struct sip_msg *m, enum sip_header_id id)
{
    const struct sip_header *h = sip_msg_find(m, id);

    return h ? h->value : (struct str){"", 0};
}

size_t sip_msg_count(const struct sip_msg *m, enum sip_header_id id)
{
    size_t count = 0;

    for (size_t i = 0; i < m->header_count; i++)
        count += m->headers[i].id == id;
    return count;
}

bool sip_msg_next(const struct sip_msg *m, enum sip_header_id id, struct sip_walk *at,
                  struct str *ret_value)
{
    while (!sip_list_next(&at->rest, ret_value)) {
        while (at->line < m->header_count && m->headers[at->line].id != id)
            at->line++;
        if (at->line == m->header_count)
            return false;
        at->rest = m->headers[at->line++].value;
    }
    return true;
}
