// SPDX-License-Identifier: Apache-2.0
#include <stdio.h>
#include <string.h>

#include "common/mem.h"
#include "common/params.h"
#include "common/util.h"
#include "recoveryd/nodectl/database.h"
#include "recoveryd/nodectl/output.h"

enum { VALUE_BYTES = 160, ROWS_MAX = 1024 };

/* ---- what is in force ---- */

/* Rows of the table as recoveryd would tell them to `node`: its own after the cluster's. */
static PGresult *read_rows(PGconn *conn, uint32_t node)
{
    char number[16];
    const char *param = number;

    snprintf(number, sizeof(number), "%u", node);
    return database_query(
        conn,
        "SELECT service, name, value FROM parameters WHERE node IN (0, $1::integer)"
        " ORDER BY node, service, name",
        &param, 1);
}

static void apply_rows(const struct nodectl *n, const PGresult *rows, struct params *ret_params)
{
    Muster__Params message = MUSTER__PARAMS__INIT;
    Muster__Param params[ROWS_MAX], *pointers[ROWS_MAX];
    size_t count = (size_t)PQntuples(rows);

    if (count > ROWS_MAX)
        count = ROWS_MAX;
    for (size_t i = 0; i < count; i++) {
        muster__param__init(&params[i]);
        params[i].service = PQgetvalue(rows, (int)i, 0);
        params[i].name = PQgetvalue(rows, (int)i, 1);
        params[i].value = PQgetvalue(rows, (int)i, 2);
        pointers[i] = &params[i];
    }
    message.n_params = count;
    message.params = pointers;
    params_apply(ret_params, &message, &n->conf);
}

/* The values in force on this node; false, and a sentence is said, if they cannot be read. */
static bool read_params(struct nodectl *n, struct params *ret_params)
{
    PGconn *conn;
    PGresult *rows;

    if (!nodectl_conf(n))
        return false;
    conn = database_open(n);
    rows = conn ? read_rows(conn, n->conf.node) : NULL;
    if (rows)
        apply_rows(n, rows, ret_params);
    PQclear(rows);
    PQfinish(conn);
    return rows != NULL;
}

/* ---- list ---- */

static void put_json(json_t *list, const struct param_info *info, const char *value)
{
    json_t *one = json_object();

    output_set_text(one, "service", info->service);
    output_set_text(one, "name", info->name);
    output_set_text(one, "value", value);
    output_set_text(one, "default", info->default_text);
    output_set_flag(one, "per_node", info->per_node);
    output_set_text(one, "restart", info->restart ? info->restart : "");
    output_set_text(one, "help", info->help);
    json_array_append_new(list, one);
}

static void put_row(struct output_table *t, const struct param_info *info, const char *value)
{
    const char *cells[] = {
        info->service, info->name, value, info->default_text, info->per_node ? "node" : "cluster",
        info->help};

    output_row(t, cells);
}

static void list(const struct nodectl *n, const struct params *params, const char *service)
{
    static const char *const titles[] = {"SERVICE", "NAME",    "VALUE", "DEFAULT",
                                         "FOR",     "MEANING", NULL};
    size_t count;
    const struct param_info *table = params_table(&count);
    struct output_table *t = n->json ? NULL : output_table_new(titles);
    json_t *root = json_object(), *all = json_array();

    for (size_t i = 0; i < count; i++) {
        char value[VALUE_BYTES];

        if (service && strcmp(service, table[i].service) != 0)
            continue;
        params_get(params, &table[i], value, sizeof(value));
        if (t)
            put_row(t, &table[i], value);
        else
            put_json(all, &table[i], value);
    }
    json_object_set_new(root, "params", all);
    if (t) {
        output_table_end(t);
        json_decref(root);
    } else {
        output_json(root);
    }
}

int cmd_param_list(struct nodectl *n)
{
    struct params params;

    if (!read_params(n, &params))
        return REFUSED;
    list(n, &params, n->count ? n->words[0] : NULL);
    return DONE;
}

/* ---- get ---- */

/* "SERVICE NAME" or "SERVICE.NAME"; the words that it took. NULL, and a sentence is said. */
static const struct param_info *find_param(struct nodectl *n, int *ret_words)
{
    char *dot = strchr(n->words[0], '.');
    const struct param_info *info;

    *ret_words = dot ? 1 : 2;
    if (dot) {
        *dot = '\0';
        info = params_find(n->words[0], dot + 1);
        *dot = '.';
    } else {
        info = n->count > 1 ? params_find(n->words[0], n->words[1]) : NULL;
    }
    if (!info)
        nodectl_refuse("there is no parameter %s%s%s: nodectl param list", n->words[0],
                       dot || n->count < 2 ? "" : " ", dot || n->count < 2 ? "" : n->words[1]);
    return info;
}

int cmd_param_get(struct nodectl *n)
{
    const struct param_info *info;
    struct params params;
    char value[VALUE_BYTES];
    json_t *root;
    int words;

    info = find_param(n, &words);
    if (!info || !read_params(n, &params))
        return REFUSED;
    params_get(&params, info, value, sizeof(value));
    if (!n->json) {
        printf("%s\n", value);
        return DONE;
    }
    root = json_object();
    output_set_text(root, "value", value);
    output_json(root);
    return DONE;
}

/* ---- set ---- */

struct setting {
    const struct param_info *info;
    const char *value; /* NULL: the default */
    uint32_t node;     /* 0: the cluster */
};

/* Values that are good alone, but not together. */
static bool fit_together(const struct params *p)
{
    if (p->recoveryd_serving_lease_ms < p->recoveryd_heartbeat_timeout_ms &&
        p->recoveryd_heartbeat_interval_ms < p->recoveryd_serving_lease_ms)
        return true;
    nodectl_refuse(
        "recoveryd heartbeat_interval (%llu ms) must be less than serving_lease (%llu ms),"
        " and that less than heartbeat_timeout (%llu ms)",
        (unsigned long long)p->recoveryd_heartbeat_interval_ms,
        (unsigned long long)p->recoveryd_serving_lease_ms,
        (unsigned long long)p->recoveryd_heartbeat_timeout_ms);
    return false;
}

/* Writes it, and looks at the outcome before it is committed. */
static bool write_setting(const struct nodectl *n, PGconn *conn, const struct setting *s)
{
    char node[16];
    const char *const params[] = {s->info->service, s->info->name, node, s->value};
    struct params outcome;
    PGresult *r;

    snprintf(node, sizeof(node), "%u", s->node);
    r = s->value ? database_query(conn,
                                  "INSERT INTO parameters (service, name, node, value)"
                                  " VALUES ($1, $2, $3, $4) ON CONFLICT (service, name, node)"
                                  " DO UPDATE SET value = excluded.value",
                                  params, 4)
                 : database_query(conn,
                                  "DELETE FROM parameters WHERE service = $1 AND name = $2"
                                  " AND node = $3",
                                  params, 3);
    PQclear(r);
    if (!r)
        return false;
    r = read_rows(conn, s->node ? s->node : n->conf.node);
    if (!r)
        return false;
    apply_rows(n, r, &outcome);
    PQclear(r);
    return fit_together(&outcome);
}

static int set(struct nodectl *n, const struct setting *s)
{
    PGconn *conn = database_open(n);
    PGresult *begin, *end = NULL;

    if (!conn)
        return REFUSED;
    begin = database_query(conn, "BEGIN", NULL, 0);
    if (begin && write_setting(n, conn, s))
        end = database_query(conn, "COMMIT", NULL, 0);
    PQclear(begin);
    PQclear(end);
    PQfinish(conn);
    if (end && n->json)
        output_json(json_object());
    else if (end && s->info->restart)
        printf("It counts when %s %s been restarted.\n",
               strcmp(s->info->restart, "all") == 0 ? "all services" : s->info->restart,
               strcmp(s->info->restart, "all") == 0 ? "have" : "has");
    return end ? DONE : REFUSED;
}

int cmd_param_set(struct nodectl *n)
{
    const char *node = nodectl_option(n, "--node");
    struct setting s = {0};
    struct params checked;
    struct err e;
    int words;

    s.info = find_param(n, &words);
    if (!s.info || !nodectl_conf(n))
        return REFUSED;
    if (n->count != words + 1) {
        (void)nodectl_refuse("param set needs a service, a name and a value");
        return USAGE;
    }
    if (node && (!str_u32(str_of(node), &s.node) || !view_find(&n->conf.nodes, s.node)))
        return nodectl_refuse("there is no node %s", node);
    if (node && !s.info->per_node)
        return nodectl_refuse("%s %s is for the whole cluster", s.info->service, s.info->name);
    if (strcmp(n->words[words], "default") != 0)
        s.value = n->words[words];
    params_defaults(&checked);
    if (s.value && params_set(&checked, s.info->service, s.info->name, s.value, &e) != 0)
        return nodectl_refuse("%s", e.text);
    return set(n, &s);
}
