// SPDX-License-Identifier: Apache-2.0
#include "routerd/durable.h"

#include <stdio.h>

#include "common/buf.h"
#include "common/db.h"
#include "common/jid.h"
#include "common/log.h"
#include "common/mem.h"
#include "common/params.h"
#include "routerd/router.h"

/*
 * Order. Queries with one key share a connection (common/db), so the key of a user orders what is
 * done for it. The id of a stored message that the core gets carries that key in its upper 16 bits,
 * so that the deletion is in the user's order too.
 *
 * Groups of a contact stand in one text, apart by U+001F, which no XML can carry.
 */
enum {
    ORDER_BIT = 1 << 16, /* a key is never 0 */
    ID_BITS = 48,
    IM_TEXT_MAX = 4 << 20, /* of a packed Im in hex */
    GROUPS_MAX = 64,
    GROUPS_TEXT_MAX = 65536,
};

enum {
    ROSTER_LOAD,
    ROSTER_PUT,
    ROSTER_DELETE,
    OFFLINE_PUT,
    OFFLINE_PUT_UNNAMED,
    OFFLINE_LIST,
    OFFLINE_DELETE,
};

/* One row: was it there already; is there room. Without a name a repetition cannot be told. */
#define OFFLINE_PUT_SQL                                                                            \
    "WITH held AS (SELECT count(*) < $5::bigint AS room, "                                         \
    "count(*) FILTER (WHERE sender = $2 AND message_id = $3 AND $3 <> '') > 0 AS known "           \
    "FROM offline_messages WHERE aor = $1), "                                                      \
    "stored AS (INSERT INTO offline_messages (aor, sender, message_id, im) "                       \
    "SELECT $1, $2, $3, $4::bytea FROM held WHERE room AND NOT known ON CONFLICT DO NOTHING) "     \
    "SELECT room OR known FROM held"

static const struct db_statement statements[] = {
    [ROSTER_LOAD] = {"roster_load",
                     "SELECT contact, name, subscription, ask, pending_in, approved, "
                     "array_to_string(groups, E'\\x1f') FROM rosters WHERE aor = $1 "
                     "ORDER BY contact",
                     true},
    [ROSTER_PUT] = {"roster_put",
                    "INSERT INTO rosters (aor, contact, name, subscription, ask, pending_in, "
                    "approved, groups) VALUES ($1, $2, $3, $4, $5, $6, $7, "
                    "string_to_array($8, E'\\x1f')) ON CONFLICT (aor, contact) DO UPDATE SET "
                    "name = excluded.name, subscription = excluded.subscription, "
                    "ask = excluded.ask, pending_in = excluded.pending_in, "
                    "approved = excluded.approved, groups = excluded.groups",
                    true},
    [ROSTER_DELETE] = {"roster_delete", "DELETE FROM rosters WHERE aor = $1 AND contact = $2",
                       true},
    [OFFLINE_PUT] = {"offline_put", OFFLINE_PUT_SQL, true},
    [OFFLINE_PUT_UNNAMED] = {"offline_put_unnamed", OFFLINE_PUT_SQL, false},
    [OFFLINE_LIST] = {"offline_list",
                      "SELECT id, im FROM (SELECT id, im, sum(octet_length(im)) OVER (ORDER BY id) "
                      "AS bytes FROM offline_messages WHERE aor = $1) m "
                      "WHERE bytes <= 16777216 ORDER BY id",
                      true},
    [OFFLINE_DELETE] = {"offline_delete", "DELETE FROM offline_messages WHERE id = $1", true},
    {NULL, NULL, false},
};

struct durable {
    struct db *db;
    const struct params *params;
    const struct durable_ops *ops;
    void *ctx;
    size_t first_statement;
};

/* A question that is asked. */
struct asked {
    struct durable *durable;
    uint64_t request;
    uint64_t order;
};

static uint64_t order_of(struct str aor)
{
    return (str_hash(aor) & (ORDER_BIT - 1)) | ORDER_BIT;
}

static void ask(struct durable *d, size_t statement, const struct str *params, size_t count,
                uint64_t order, db_done_cb *done, uint64_t request)
{
    struct asked *a = mem_new(sizeof(*a));

    *a = (struct asked){d, request, order};
    db_query(d->db, d->first_statement + statement, params, count, order, done, a);
}

static void on_done(void *ctx, const struct db_result *r)
{
    struct asked *a = ctx;

    a->durable->ops->on_stored(a->durable->ctx, a->request, r->status);
    mem_free(a);
}

/* ---- rosters ---- */

static size_t cut_groups(struct str text, struct str ret_groups[GROUPS_MAX])
{
    size_t count = 0;

    while (text.len > 0 && count < GROUPS_MAX)
        (void)str_cut(text, '\x1f', &ret_groups[count++], &text);
    return count;
}

static bool is_true(const struct db_result *r, int row, int column)
{
    return str_eq_c(db_text(r, row, column), "t");
}

static void read_item(const struct db_result *r, int row, struct str groups[GROUPS_MAX],
                      struct router_roster_item *ret_item)
{
    *ret_item = (struct router_roster_item){
        .contact = db_text(r, row, 0),
        .name = db_text(r, row, 1),
        .subscription = db_text(r, row, 2),
        .ask = is_true(r, row, 3),
        .pending_in = is_true(r, row, 4),
        .approved = is_true(r, row, 5),
        .groups = groups,
        .group_count = cut_groups(db_text(r, row, 6), groups),
    };
}

static void on_roster(void *ctx, const struct db_result *r)
{
    struct asked *a = ctx;
    struct durable *d = a->durable;
    size_t count = r->rows ? (size_t)PQntuples(r->rows) : 0;
    struct router_roster_item *items = mem_new((count + 1) * sizeof(*items));
    struct str(*groups)[GROUPS_MAX] = mem_new((count + 1) * sizeof(*groups));

    for (size_t i = 0; i < count; i++)
        read_item(r, (int)i, groups[i], &items[i]);
    d->ops->on_roster(d->ctx, a->request, r->status, items, count);
    mem_free(groups);
    mem_free(items);
    mem_free(a);
}

void durable_roster_load(struct durable *d, uint64_t request, struct str aor)
{
    ask(d, ROSTER_LOAD, &aor, 1, order_of(aor), on_roster, request);
}

/* An absent text is an empty one here, never NULL. */
static struct str text_of(struct str s)
{
    return s.p ? s : STR("");
}

static struct str flag(bool value)
{
    return value ? STR("t") : STR("f");
}

void durable_roster_put(struct durable *d, uint64_t request, struct str aor,
                        const struct router_roster_item *item)
{
    struct buf groups;

    buf_init(&groups, GROUPS_TEXT_MAX);
    for (size_t i = 0; i < item->group_count && i < GROUPS_MAX; i++) {
        if (i > 0)
            buf_put_c(&groups, '\x1f');
        buf_put_str(&groups, item->groups[i]);
    }
    ask(d, ROSTER_PUT,
        (struct str[]){aor, item->contact, text_of(item->name), item->subscription, flag(item->ask),
                       flag(item->pending_in), flag(item->approved), buf_str(&groups)},
        8, order_of(aor), on_done, request);
    buf_done(&groups);
}

void durable_roster_delete(struct durable *d, uint64_t request, struct str aor, struct str contact)
{
    ask(d, ROSTER_DELETE, (struct str[]){aor, contact}, 2, order_of(aor), on_done, request);
}

/* ---- messages ---- */

static void on_put(void *ctx, const struct db_result *r)
{
    struct asked *a = ctx;
    int status = r->status;

    if (status == DB_OK && !is_true(r, 0, 0))
        status = DB_E_REFUSED; /* no room */
    a->durable->ops->on_stored(a->durable->ctx, a->request, status);
    mem_free(a);
}

static void put_packed(struct buf *out, const Muster__Im *im)
{
    size_t len = muster__im__get_packed_size(im);
    uint8_t *packed = mem_new(len);

    muster__im__pack(im, packed);
    db_put_bytes(out, str_of_bytes(packed, len));
    mem_free(packed);
}

void durable_offline_put(struct durable *d, uint64_t request, struct str aor, const Muster__Im *im)
{
    struct str id = str_of(im->id);
    struct str sender = jid_bare(str_of(im->from));
    struct buf text;
    char most[24];

    buf_init(&text, IM_TEXT_MAX);
    put_packed(&text, im);
    (void)snprintf(most, sizeof(most), "%ju", (uintmax_t)d->params->routerd_offline_messages_max);
    ask(d, id.len > 0 ? OFFLINE_PUT : OFFLINE_PUT_UNNAMED,
        (struct str[]){aor, sender, id, buf_str(&text), str_of(most)}, 5, order_of(aor), on_put,
        request);
    buf_done(&text);
}

static bool read_message(const struct asked *a, const struct db_result *r, int row,
                         struct router_offline *ret_message)
{
    struct buf packed;
    uint64_t id;
    Muster__Im *im = NULL;

    buf_init(&packed, IM_TEXT_MAX / 2);
    if (str_u64(db_text(r, row, 0), &id) && db_bytes(r, row, 1, &packed))
        im = muster__im__unpack(NULL, packed.len, (const uint8_t *)buf_str(&packed).p);
    buf_done(&packed);
    if (!im) {
        log_warning("offline_message_malformed", log_str("id", db_text(r, row, 0).p));
        return false;
    }
    *ret_message = (struct router_offline){id | a->order << ID_BITS, im};
    return true;
}

static void on_list(void *ctx, const struct db_result *r)
{
    struct asked *a = ctx;
    struct durable *d = a->durable;
    int rows = r->rows ? PQntuples(r->rows) : 0;
    struct router_offline *messages = mem_new(((size_t)rows + 1) * sizeof(*messages));
    size_t count = 0;

    for (int row = 0; row < rows; row++)
        count += read_message(a, r, row, &messages[count]);
    d->ops->on_offline(d->ctx, a->request, r->status, messages, count);
    for (size_t i = 0; i < count; i++)
        muster__im__free_unpacked((Muster__Im *)messages[i].im, NULL);
    mem_free(messages);
    mem_free(a);
}

void durable_offline_list(struct durable *d, uint64_t request, struct str aor)
{
    ask(d, OFFLINE_LIST, &aor, 1, order_of(aor), on_list, request);
}

void durable_offline_delete(struct durable *d, uint64_t request, uint64_t id)
{
    struct str text;
    char digits[24];

    (void)snprintf(digits, sizeof(digits), "%ju", (uintmax_t)(id & (((uint64_t)1 << ID_BITS) - 1)));
    text = str_of(digits);
    ask(d, OFFLINE_DELETE, &text, 1, id >> ID_BITS | ORDER_BIT, on_done, request);
}

/* ---- start and end ---- */

struct durable *durable_new(struct db *db, const struct params *params,
                            const struct durable_ops *ops, void *ctx)
{
    struct durable *d = mem_new(sizeof(*d));

    d->db = db;
    d->params = params;
    d->ops = ops;
    d->ctx = ctx;
    d->first_statement = db_add_statements(db, statements);
    return d;
}

void durable_free(struct durable *d)
{
    mem_free(d);
}
