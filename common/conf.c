// SPDX-License-Identifier: Apache-2.0
#include "common/conf.h"

#include <arpa/inet.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/buf.h"
#include "common/mem.h"
#include "common/params.h"
#include "common/util.h"

enum { FILE_BYTES_MAX = 64 * 1024, FIRST_PORT = 1, LAST_PORT = 65535 };

/* One row a key: how its value is read. `size` is that of a text's field, with the NUL. */
struct key {
    const char *name;
    int (*read)(struct conf *c, const struct key *k, struct str value, struct err *e);
    size_t offset, size;
};

static const struct {
    const char *name;
    uint16_t number;
} ports[CONF_PORTS] = {
    [CONF_PORT_SIP] = {"sip", 5060},
    [CONF_PORT_SIPS] = {"sips", 5061},
    [CONF_PORT_SIP_PEER] = {"sip_peer", 5062},
    [CONF_PORT_XMPP] = {"xmpp", 5222},
    [CONF_PORT_XMPPS] = {"xmpps", 5223},
    [CONF_PORT_FABRIC] = {"fabric", 7400},
    [CONF_PORT_HEARTBEAT] = {"heartbeat", 7401},
    [CONF_PORT_METRICS] = {"metrics", 9464},
    [CONF_PORT_DATABASE] = {"database", 5432},
};

static bool copy_text(char *to, size_t size, struct str from)
{
    if (from.len == 0 || from.len >= size || memchr(from.p, '\0', from.len))
        return false;
    memcpy(to, from.p, from.len);
    to[from.len] = '\0';
    return true;
}

static int read_text(struct conf *c, const struct key *k, struct str value, struct err *e)
{
    if (!copy_text((char *)c + k->offset, k->size, value))
        return err_set(e, "%s: 1 to %zu bytes", k->name, k->size - 1);
    return 0;
}

static int read_path(struct conf *c, const struct key *k, struct str value, struct err *e)
{
    bool absolute = value.len && value.p[0] == '/';
    char path[2 * CONF_PATH_MAX];
    int len = snprintf(path, sizeof(path), "%s%s%.*s", absolute ? "" : c->dir, absolute ? "" : "/",
                       value.len < CONF_PATH_MAX ? (int)value.len : 0, value.p);

    if (value.len >= CONF_PATH_MAX || len < 0 ||
        !copy_text((char *)c + k->offset, k->size, str_of_bytes(path, (size_t)len)))
        return err_set(e, "%s: a path of at most %d bytes", k->name, CONF_PATH_MAX - 1);
    return 0;
}

static int read_node(struct conf *c, const struct key *k, struct str value, struct err *e)
{
    uint32_t node;

    if (!str_u32(value, &node) || node < 1 || node > VIEW_NODES_MAX)
        return err_set(e, "%s: a number from 1 to %d", k->name, VIEW_NODES_MAX);
    c->node = node;
    return 0;
}

static int read_database(struct conf *c, const struct key *k, struct str value, struct err *e)
{
    if (!str_eq_c(value, "managed") && !str_eq_c(value, "external"))
        return err_set(e, "%s: managed or external", k->name);
    c->database_external = str_eq_c(value, "external");
    return 0;
}

static bool is_address(const char *text)
{
    uint8_t binary[16];

    return inet_pton(AF_INET, text, binary) == 1 || inet_pton(AF_INET6, text, binary) == 1;
}

/* number:name:group:address; the address is the rest, since IPv6 has colons of its own. */
static bool read_one_of_nodes(struct view *v, struct str text)
{
    struct view_node n = {0};
    struct str number, name, group, rest;

    if (v->count == VIEW_NODES_MAX || !str_cut(text, ':', &number, &rest) ||
        !str_cut(rest, ':', &name, &rest) || !str_cut(rest, ':', &group, &rest))
        return false;
    if (!str_u32(number, &n.node) || n.node < 1 || n.node > VIEW_NODES_MAX ||
        view_find(v, n.node) || !str_u32(group, &n.group) || n.group < 1 ||
        n.group > VIEW_NODES_MAX)
        return false;
    if (!copy_text(n.name, sizeof(n.name), name) ||
        !copy_text(n.address, sizeof(n.address), rest) || !is_address(n.address))
        return false;
    v->nodes[v->count++] = n;
    return true;
}

static int read_nodes(struct conf *c, const struct key *k, struct str value, struct err *e)
{
    struct view nodes = {0};
    struct str one, rest = value;

    while (rest.len) {
        (void)str_cut(rest, ' ', &one, &rest); /* without a space it is the last one */
        if (one.len && !read_one_of_nodes(&nodes, one))
            return err_set(e, "%s: 1 to %d of number:name:group:address, each number once", k->name,
                           VIEW_NODES_MAX);
    }
    c->nodes = nodes;
    return 0;
}

static int read_port(struct conf *c, struct str name, struct str value, struct err *e)
{
    uint32_t port;

    for (size_t i = 0; i < CONF_PORTS; i++) {
        if (!str_eq_c(name, ports[i].name))
            continue;
        if (!str_u32(value, &port) || port < FIRST_PORT || port > LAST_PORT)
            return err_set(e, "port.%s: a number from %d to %d", ports[i].name, FIRST_PORT,
                           LAST_PORT);
        c->ports[i] = (uint16_t)port;
        return 0;
    }
    return err_set(e, "port.%.*s: there is no such port", (int)(name.len < 64 ? name.len : 64),
                   name.p);
}

/* service.name = value: checked here, so that a mistake is told with its line. */
static int read_set(struct conf *c, struct str key, struct str value, struct err *e)
{
    struct str service, name;
    struct conf_set set;
    struct params scratch;

    (void)str_cut(key, '.', &service, &name); /* without a dot the name is empty, and refused */
    if (!copy_text(set.service, sizeof(set.service), service) ||
        !copy_text(set.name, sizeof(set.name), name) ||
        (value.len && !copy_text(set.value, sizeof(set.value), value)))
        return err_set(e, "set.SERVICE.NAME = VALUE: a parameter, and at most %zu bytes",
                       sizeof(set.value) - 1);
    if (value.len == 0)
        set.value[0] = '\0';
    params_defaults(&scratch);
    if (params_set(&scratch, set.service, set.name, set.value, e))
        return -1;
    if (c->set_count == CONF_SETS_MAX)
        return err_set(e, "at most %d parameters can be set here", CONF_SETS_MAX);
    c->sets[c->set_count++] = set;
    return 0;
}

#define KEY(name, read)                                                                            \
    {                                                                                              \
#name, read, offsetof(struct conf, name), sizeof(((struct conf *)0)->name)                 \
    }

static const struct key keys[] = {
    {"node", read_node, 0, 0}, {"nodes", read_nodes, 0, 0}, {"database", read_database, 0, 0},
    KEY(domain, read_text),    KEY(conninfo, read_text),    KEY(tls_cert, read_path),
    KEY(tls_key, read_path),   KEY(tls_ca, read_path),      KEY(postgres_bin, read_path),
};

static int read_line(struct conf *c, struct str line, struct err *e)
{
    struct str key, value;

    if (!str_cut(line, '=', &key, &value))
        return err_set(e, "key = value, or # and a comment");
    key = str_trim(key);
    value = str_trim(value);
    for (size_t i = 0; i < ARRAY_LEN(keys); i++)
        if (str_eq_c(key, keys[i].name))
            return keys[i].read(c, &keys[i], value, e);
    if (str_starts(key, STR("port.")))
        return read_port(c, str_sub(key, 5, key.len), value, e);
    if (str_starts(key, STR("set.")))
        return read_set(c, str_sub(key, 4, key.len), value, e);
    return err_set(e,
                   "no such key; there are node, nodes, domain, database, conninfo, postgres_bin, "
                   "tls_cert, tls_key, tls_ca, port.NAME and set.SERVICE.NAME");
}

static void set_defaults(struct conf *c)
{
    static const struct {
        const char *key, *path;
    } paths[] = {{"tls_cert", "tls/node.crt"},
                 {"tls_key", "tls/node.key"},
                 {"tls_ca", "tls/ca.crt"},
                 {"postgres_bin", "/usr/lib/postgresql/15/bin"}};
    struct err ignored; /* the defaults fit, unless `dir` is too long, which is refused before */

    for (size_t i = 0; i < CONF_PORTS; i++)
        c->ports[i] = ports[i].number;
    for (size_t i = 0; i < ARRAY_LEN(paths); i++)
        for (size_t k = 0; k < ARRAY_LEN(keys); k++)
            if (str_eq_c(str_of(paths[i].key), keys[k].name))
                (void)read_path(c, &keys[k], str_of(paths[i].path), &ignored);
}

/* What no default can give. */
static int check_complete(struct conf *c, const char *file, struct err *e)
{
    if (!c->node)
        return err_set(e, "%s: node = NUMBER is missing", file);
    if (!c->domain[0])
        return err_set(e, "%s: domain = DOMAIN is missing", file);
    c->nodes.self = c->node;
    if (!view_find(&c->nodes, c->node))
        return err_set(e, "%s: nodes must name node %u", file, c->node);
    return 0;
}

int conf_parse(const char *dir, const char *file, struct str text, struct conf *ret_conf,
               struct err *ret_err)
{
    CLEANUP(mem_free_at) struct conf *c = mem_new(sizeof(*c));
    struct str line, rest = text;
    struct err why;

    if (!copy_text(c->dir, CONF_PATH_MAX / 2, str_of(dir)))
        return err_set(ret_err, "%s: the directory's name is longer than %d bytes", file,
                       CONF_PATH_MAX / 2 - 1);
    set_defaults(c);
    for (unsigned number = 1; rest.len; number++) {
        (void)str_cut(rest, '\n', &line, &rest); /* the last line may have no end */
        line = str_trim(str_sub(line, 0, str_find(line, '#')));
        if (line.len && read_line(c, line, &why))
            return err_set(ret_err, "%s:%u: %s", file, number, why.text);
    }
    if (check_complete(c, file, ret_err))
        return -1;
    *ret_conf = *c;
    return 0;
}

static int read_file(const char *path, struct buf *out, struct err *e)
{
    FILE *f = fopen(path, "re");
    size_t len = 1;

    if (!f)
        return err_set(e, "%s: %s", path, strerror(errno));
    while (len && !out->full) {
        char part[4096];

        len = fread(part, 1, sizeof(part), f);
        buf_put(out, part, len);
    }
    (void)fclose(f); /* only read */
    return out->full ? err_set(e, "%s: at most %d bytes", path, FILE_BYTES_MAX) : 0;
}

int conf_load(const char *dir, struct conf *ret_conf, struct err *ret_err)
{
    char path[PATH_MAX + sizeof("/node.conf")];
    char absolute[PATH_MAX];
    struct buf text;
    int r;

    if (!realpath(dir, absolute))
        return err_set(ret_err, "%s: %s", dir, strerror(errno));
    (void)snprintf(path, sizeof(path), "%s/node.conf", absolute);
    buf_init(&text, FILE_BYTES_MAX);
    r = read_file(path, &text, ret_err);
    if (r == 0)
        r = conf_parse(absolute, path, buf_str(&text), ret_conf, ret_err);
    buf_done(&text);
    return r;
}

const struct view_node *conf_self(const struct conf *c)
{
    return view_find(&c->nodes, c->node);
}
