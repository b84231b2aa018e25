// SPDX-License-Identifier: Apache-2.0
/*
 * The parts of a JID are cut out first, at the first '/' and then at the first '@' before it
 * (RFC 7622, 3.2), and prepared one by one. Almost every part is ASCII, where the three profiles
 * come down to a look at each byte, so libidn is only asked about the rest. It works in place, in a
 * buffer of the largest size that a part may have; what would grow beyond that is refused.
 *
 * A part is prepared until it stays as it is. There are strings that stringprep changes once more
 * the second time, and a JID that is stored must not turn into another one when it is read again.
 */
#include "common/jid.h"

#include <string.h>
#include <stringprep.h>

enum part { PART_LOCAL, PART_DOMAIN, PART_RESOURCE };

struct prepared {
    char text[JID_PART_MAX + 1];
    size_t len;
};

/* RFC 7622, 3.3.1: the characters that a localpart may not have, besides controls and the space. */
static bool allowed_in_local(char c)
{
    return c > ' ' && c != 0x7f && !strchr("\"&'/:<>@", c);
}

static bool allowed_in_label(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-';
}

static bool is_ascii(struct str s)
{
    for (size_t i = 0; i < s.len; i++)
        if ((unsigned char)s.p[i] >= 0x80)
            return false;
    return true;
}

/* Letters in lower case where the profile folds case; false where a byte is forbidden. */
static bool prepare_ascii(enum part part, struct prepared *p)
{
    for (size_t i = 0; i < p->len; i++) {
        char *c = &p->text[i];

        if (part != PART_RESOURCE && *c >= 'A' && *c <= 'Z')
            *c |= 0x20;
        if (part == PART_LOCAL && !allowed_in_local(*c))
            return false;
        if (part == PART_RESOURCE && (*c < ' ' || *c == 0x7f))
            return false;
    }
    return true;
}

/* Localparts and domains name accounts, so code points that the profile's Unicode doesn't know,
 * and hence cannot fold, are refused there (RFC 3454, 7); in a resource they do no harm. */
static bool prepare_unicode(enum part part, struct prepared *p)
{
    static const struct {
        const Stringprep_profile *profile;
        int flags;
    } how[] = {
        [PART_LOCAL] = {stringprep_xmpp_nodeprep, STRINGPREP_NO_UNASSIGNED},
        [PART_DOMAIN] = {stringprep_nameprep, STRINGPREP_NO_UNASSIGNED},
        [PART_RESOURCE] = {stringprep_xmpp_resourceprep, 0},
    };
    struct prepared once;

    if (stringprep(p->text, sizeof(p->text), how[part].flags, how[part].profile) != STRINGPREP_OK)
        return false;
    p->len = strnlen(p->text, JID_PART_MAX);
    once = *p;
    if (stringprep(p->text, sizeof(p->text), how[part].flags, how[part].profile) != STRINGPREP_OK)
        return false;
    return strcmp(p->text, once.text) == 0;
}

/* An IPv6 address in brackets; what is between them is left to whoever connects to it. */
static bool is_ip_literal(struct str s)
{
    if (s.len < 4 || s.p[0] != '[' || s.p[s.len - 1] != ']')
        return false;
    for (size_t i = 1; i + 1 < s.len; i++)
        if (!strchr("0123456789abcdef:.", s.p[i]) || s.p[i] == '\0')
            return false;
    return true;
}

/* Labels of letters, digits, hyphens and what is not ASCII, 1 to 63 bytes each (RFC 7622, 3.2). */
static bool is_domain(struct str s)
{
    struct str label;

    if (is_ip_literal(s))
        return true;
    for (bool more = true; more;) {
        more = str_cut(s, '.', &label, &s);
        if (label.len == 0 || label.len > 63 || label.p[0] == '-' || label.p[label.len - 1] == '-')
            return false;
        for (size_t i = 0; i < label.len; i++)
            if ((unsigned char)label.p[i] < 0x80 && !allowed_in_label(label.p[i]))
                return false;
    }
    return true;
}

static bool prepare(enum part part, struct str text, struct prepared *ret)
{
    if (part == PART_DOMAIN && str_ends(text, STR(".")))
        text.len--; /* RFC 7622, 3.2: the final dot is stripped before anything else */
    if (text.len == 0 || text.len > JID_PART_MAX)
        return false;
    memcpy(ret->text, text.p, text.len);
    ret->text[text.len] = '\0';
    ret->len = text.len;
    if (!(is_ascii(text) ? prepare_ascii(part, ret) : prepare_unicode(part, ret)))
        return false;
    if (ret->len == 0)
        return false;
    return part != PART_DOMAIN || is_domain((struct str){ret->text, ret->len});
}

/* The parts with their separators, in one piece of memory. */
static bool join(struct arena *a, const struct prepared *local, const struct prepared *domain,
                 const struct prepared *resource, struct jid *ret)
{
    size_t local_len = local->len ? local->len + 1 : 0;
    size_t bare_len = local_len + domain->len;
    size_t full_len = bare_len + (resource->len ? resource->len + 1 : 0);
    char *p = arena_alloc(a, full_len + 1);

    if (!p)
        return false;
    if (local->len) {
        memcpy(p, local->text, local->len);
        p[local->len] = '@';
    }
    memcpy(p + local_len, domain->text, domain->len);
    if (resource->len) {
        p[bare_len] = '/';
        memcpy(p + bare_len + 1, resource->text, resource->len);
    }
    *ret = jid_split((struct str){p, full_len});
    return true;
}

int jid_parse(struct arena *a, struct str text, struct jid *ret_jid)
{
    struct prepared local, domain, resource;
    struct str bare, parts[3];
    bool has_resource, has_local;

    if (text.len == 0 || text.len > JID_MAX || !str_utf8(text))
        return JID_E_MALFORMED;
    local.len = resource.len = 0;
    has_resource = str_cut(text, '/', &bare, &parts[PART_RESOURCE]);
    has_local = str_cut(bare, '@', &parts[PART_LOCAL], &parts[PART_DOMAIN]);
    if (!has_local)
        parts[PART_DOMAIN] = bare;
    if (has_local && !prepare(PART_LOCAL, parts[PART_LOCAL], &local))
        return JID_E_MALFORMED;
    if (!prepare(PART_DOMAIN, parts[PART_DOMAIN], &domain))
        return JID_E_MALFORMED;
    if (has_resource && !prepare(PART_RESOURCE, parts[PART_RESOURCE], &resource))
        return JID_E_MALFORMED;
    return join(a, &local, &domain, &resource, ret_jid) ? 0 : JID_E_MALFORMED;
}

struct str jid_bare(struct str prepared)
{
    return str_sub(prepared, 0, str_find(prepared, '/'));
}

struct jid jid_split(struct str prepared)
{
    struct jid jid = {.full = prepared, .bare = jid_bare(prepared)};

    jid.resource = str_sub(prepared, jid.bare.len + 1, prepared.len);
    if (!str_cut(jid.bare, '@', &jid.local, &jid.domain)) {
        jid.local = str_of("");
        jid.domain = jid.bare;
    }
    return jid;
}
