// SPDX-License-Identifier: Apache-2.0
#include "syncagent/agent.h"

#include <assert.h>
#include <string.h>

#include "common/buf.h"
#include "common/db.h"
#include "common/log.h"
#include "common/mem.h"
#include "common/metrics.h"

enum { RETRY_MS = 5000, NODES_TEXT_MAX = 64 };

struct agent {
    struct agent_config config;
    struct db *db;
    uv_timer_t retry;
    struct buf nodes; /* "{1,2}"; empty: not allowed */
    bool looking;
    bool wanted; /* something changed since the look began */
    bool closing;
};

enum { ASSIGN };

/*
 * A node with n users offers the places n + 1, n + 2, ...; the lowest places are taken first, of
 * equal ones that of the lower node. So the k-th user without a home gets the k-th place. Some
 * thousand at a time, so that no transaction is long; who looks again gets the rest. Doing it twice
 * does no harm, since only users without a home are touched.
 */
static const struct db_statement statements[] = {
    [ASSIGN] = {"assign_homes",
                "WITH turn AS MATERIALIZED ("
                "    SELECT pg_try_advisory_xact_lock(hashtext('muster.assign_homes')) AS is_mine),"
                " homeless AS MATERIALIZED ("
                "    SELECT aor, row_number() OVER (ORDER BY aor) AS rank"
                "      FROM users, turn WHERE turn.is_mine AND home = 0 ORDER BY aor LIMIT 10000),"
                " nodes AS MATERIALIZED ("
                "    SELECT node, (SELECT count(*) FROM users WHERE home = node) AS users"
                "      FROM unnest($1::integer[]) AS node),"
                " places AS ("
                "    SELECT node, row_number() OVER (ORDER BY users + i, node) AS rank"
                "      FROM nodes, generate_series(1, (SELECT count(*) FROM homeless)) AS i),"
                " assigned AS ("
                "    UPDATE users SET home = places.node FROM homeless JOIN places USING (rank)"
                "     WHERE users.aor = homeless.aor AND users.home = 0 RETURNING users.aor)"
                " SELECT is_mine, (SELECT count(*) FROM assigned) FROM turn",
                true},
    {0},
};

static void look(struct agent *a);

static void on_retry(uv_timer_t *timer)
{
    look(timer->data);
}

/* What a look found out; assigned: of this batch. */
static void act_on(struct agent *a, bool is_mine, uint64_t assigned)
{
    if (assigned) {
        log_info("users_assigned", log_u64("users", assigned));
        if (a->config.metrics)
            metrics_add(a->config.metrics, METRIC_USERS_ASSIGNED, (int64_t)assigned);
    }
    /* Another agent is at it. Should it die, nobody else would look. */
    if (!is_mine)
        uv_timer_start(&a->retry, on_retry, RETRY_MS, 0);
    else if (assigned || a->wanted)
        look(a);
}

static void on_looked(void *ctx, const struct db_result *result)
{
    struct agent *a = ctx;
    uint64_t assigned = 0;
    bool is_mine = false;

    a->looking = false;
    if (a->closing)
        return;
    if (result->status == DB_OK && PQntuples(result->rows) == 1) {
        is_mine = str_eq_c(db_text(result, 0, 0), "t");
        (void)str_u64(db_text(result, 0, 1), &assigned); /* count(*) is a number */
    } else {
        log_warning("users_not_assigned", log_u64("status", (uint64_t)result->status),
                    log_str("sqlstate", result->sqlstate));
    }
    act_on(a, is_mine, assigned);
    if (a->config.on_looked)
        a->config.on_looked(a->config.ctx, assigned);
}

/* One look at a time; what changes meanwhile makes one more. */
static void look(struct agent *a)
{
    struct str nodes = buf_str(&a->nodes);

    if (a->looking) {
        a->wanted = true;
        return;
    }
    if (str_empty(nodes) || !db_is_up(a->db))
        return; /* agent_allow() or on_up() looks */
    a->wanted = false;
    a->looking = true;
    uv_timer_stop(&a->retry);
    db_query(a->db, ASSIGN, &nodes, 1, 0, on_looked, a);
}

static void on_up(void *ctx)
{
    look(ctx);
}

static void on_users(void *ctx, const char *payload)
{
    (void)payload;
    look(ctx);
}

struct agent *agent_start(uv_loop_t *loop, const struct agent_config *config)
{
    struct agent *a = mem_new(sizeof(*a));

    a->config = *config;
    buf_init(&a->nodes, NODES_TEXT_MAX);
    uv_timer_init(loop, &a->retry);
    a->retry.data = a;
    a->db = db_start(loop, &(struct db_config){.conninfo = config->conninfo,
                                               .connections = 1,
                                               .statements = statements,
                                               .on_up = on_up,
                                               .metrics = config->metrics,
                                               .ctx = a});
    db_listen(a->db, "muster_users", on_users, a);
    return a;
}

void agent_allow(struct agent *a, const struct view *view)
{
    struct buf nodes;

    buf_init(&nodes, NODES_TEXT_MAX);
    for (uint32_t i = 0; view && i < view->count; i++)
        buf_printf(&nodes, "%c%u", i ? ',' : '{', view->nodes[i].node);
    if (nodes.len)
        buf_put_c(&nodes, '}');
    assert(!nodes.full);
    if (str_eq(buf_str(&nodes), buf_str(&a->nodes))) {
        buf_done(&nodes);
        return;
    }
    buf_done(&a->nodes);
    a->nodes = nodes;
    look(a);
}

bool agent_is_idle(const struct agent *a)
{
    return !a->looking && !a->wanted && !uv_is_active((const uv_handle_t *)&a->retry);
}

static void on_retry_closed(uv_handle_t *handle)
{
    struct agent *a = handle->data;

    buf_done(&a->nodes);
    mem_free(a);
}

void agent_close(struct agent *a)
{
    a->closing = true;
    db_close(a->db);
    uv_close((uv_handle_t *)&a->retry, on_retry_closed);
}
