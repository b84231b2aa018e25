// SPDX-License-Identifier: Apache-2.0
#include "common/users.h"

#include <string.h>

#include "common/buf.h"
#include "common/log.h"
#include "common/mem.h"

/*
 * A load goes through the table in pages, in the order of its key, so that neither the answer nor
 * the time between two turns of the loop grows with the number of users. Notifications that come
 * meanwhile are obeyed at once; a new "*" makes the load start again when it has ended.
 */
enum { PAGE_ROWS = 1000 };

enum { PAGE, ONE };

#define COLUMNS                                                                                    \
    "aor, display_name, home, salt, iterations, sha1_stored_key, sha1_server_key, "                \
    "sha256_stored_key, sha256_server_key, digest_md5, digest_sha256"

enum {
    AOR,
    DISPLAY_NAME,
    HOME,
    SALT,
    ITERATIONS,
    SHA1_STORED_KEY,
    SHA1_SERVER_KEY,
    SHA256_STORED_KEY,
    SHA256_SERVER_KEY,
    DIGEST_MD5_TEXT,
    DIGEST_SHA256_TEXT,
};

static const struct db_statement statements[] = {
    [PAGE] = {"users_page", "SELECT " COLUMNS " FROM users WHERE aor > $1 ORDER BY aor LIMIT 1000",
              true},
    [ONE] = {"users_one", "SELECT " COLUMNS " FROM users WHERE aor = $1", true},
    {NULL, NULL, false},
};

struct users {
    struct db *db;
    struct directory *directory;
    void (*on_change)(void *ctx, const char *aor);
    void *ctx;
    size_t first_statement;
    unsigned pending; /* queries whose answers must find us */
    bool loading, again, loaded, closed;
};

/* About one user. */
struct question {
    struct users *users;
    char aor[];
};

static void load_page(struct users *u, struct str after);

static void free_if_done(struct users *u)
{
    if (u->closed && u->pending == 0)
        mem_free(u);
}

/* ---- rows ---- */

static bool read_key(const struct db_result *r, int row, int column, uint8_t *to, size_t size)
{
    struct buf b;
    bool good;

    buf_init(&b, size);
    good = db_bytes(r, row, column, &b) && b.len == size;
    if (good)
        memcpy(to, b.data, size);
    buf_done(&b);
    return good;
}

static bool read_hex(const struct db_result *r, int row, int column, char *to, size_t size)
{
    struct str text = db_text(r, row, column);

    if (text.len != size - 1)
        return false;
    memcpy(to, text.p, size);
    return true;
}

/* `ret_user` looks into the row. */
static bool read_user(const struct db_result *r, int row, struct user *ret_user)
{
    struct credentials *c = &ret_user->credentials;

    *ret_user = (struct user){.aor = db_text(r, row, AOR).p,
                              .display_name = db_text(r, row, DISPLAY_NAME).p};
    return str_u32(db_text(r, row, HOME), &ret_user->home) &&
           str_u32(db_text(r, row, ITERATIONS), &c->iterations) &&
           read_key(r, row, SALT, c->salt, sizeof(c->salt)) &&
           read_key(r, row, SHA1_STORED_KEY, c->sha1_stored_key, sizeof(c->sha1_stored_key)) &&
           read_key(r, row, SHA1_SERVER_KEY, c->sha1_server_key, sizeof(c->sha1_server_key)) &&
           read_key(r, row, SHA256_STORED_KEY, c->sha256_stored_key,
                    sizeof(c->sha256_stored_key)) &&
           read_key(r, row, SHA256_SERVER_KEY, c->sha256_server_key,
                    sizeof(c->sha256_server_key)) &&
           read_hex(r, row, DIGEST_MD5_TEXT, c->digest_md5, sizeof(c->digest_md5)) &&
           read_hex(r, row, DIGEST_SHA256_TEXT, c->digest_sha256, sizeof(c->digest_sha256));
}

static void put_row(struct users *u, const struct db_result *r, int row)
{
    struct user user;

    if (read_user(r, row, &user))
        directory_put(u->directory, &user);
    else
        log_warning("user_row_malformed", log_str("aor", db_text(r, row, AOR).p));
}

/* ---- all ---- */

static void start_load(struct users *u)
{
    u->again = u->loading;
    if (u->loading)
        return;
    u->loading = true;
    directory_reload_begin(u->directory);
    load_page(u, STR(""));
}

/* A question was not answered. When the database is away, a NULL notification tells that it is
 * back. */
static void load_again(struct users *u, int status)
{
    if (status != DB_E_REFUSED && db_is_up(u->db))
        start_load(u);
}

static void end_load(struct users *u)
{
    directory_reload_end(u->directory);
    u->loading = false;
    u->loaded = true;
    log_info("users_loaded", log_u64("count", directory_count(u->directory)));
    u->on_change(u->ctx, NULL);
    if (!u->closed && u->again)
        start_load(u);
}

static void on_page(void *ctx, const struct db_result *r)
{
    struct users *u = ctx;
    int count = r->rows ? PQntuples(r->rows) : 0;

    u->pending--;
    if (u->closed) {
        free_if_done(u);
        return;
    }
    if (r->status != DB_OK) {
        log_warning("users_not_loaded", log_u64("status", (uint64_t)r->status));
        u->loading = false;
        load_again(u, r->status);
        return;
    }
    for (int row = 0; row < count; row++)
        put_row(u, r, row);
    if (count == PAGE_ROWS)
        load_page(u, db_text(r, count - 1, AOR));
    else
        end_load(u);
}

static void load_page(struct users *u, struct str after)
{
    u->pending++;
    db_query(u->db, u->first_statement + PAGE, &after, 1, 0, on_page, u);
}

/* ---- one ---- */

static void on_one(void *ctx, const struct db_result *r)
{
    struct question *q = ctx;
    struct users *u = q->users;

    u->pending--;
    if (!u->closed && r->status == DB_OK) {
        if (PQntuples(r->rows) > 0)
            put_row(u, r, 0);
        else
            directory_remove(u->directory, str_of(q->aor));
        u->on_change(u->ctx, q->aor);
    } else if (!u->closed) {
        load_again(u, r->status);
    }
    mem_free(q);
    free_if_done(u);
}

static void load_one(struct users *u, const char *aor)
{
    struct str key = str_of(aor);
    struct question *q = mem_new(sizeof(*q) + key.len + 1);

    q->users = u;
    memcpy(q->aor, aor, key.len);
    u->pending++;
    /* All questions about one user in their order. */
    db_query(u->db, u->first_statement + ONE, &key, 1, str_hash(key) | 1, on_one, q);
}

static void on_notify(void *ctx, const char *payload)
{
    struct users *u = ctx;

    if (u->closed)
        return;
    if (!payload || strcmp(payload, "*") == 0)
        start_load(u);
    else
        load_one(u, payload);
}

/* ---- start and close ---- */

struct users *users_start(struct db *db, struct directory *directory,
                          void (*on_change)(void *ctx, const char *aor), void *ctx)
{
    struct users *u = mem_new(sizeof(*u));

    u->db = db;
    u->directory = directory;
    u->on_change = on_change;
    u->ctx = ctx;
    u->first_statement = db_add_statements(db, statements);
    db_listen(db, "muster_users", on_notify, u);
    return u;
}

bool users_loaded(const struct users *u)
{
    return u->loaded;
}

void users_close(struct users *u)
{
    u->closed = true;
    db_unlisten(u->db, on_notify, u);
    free_if_done(u);
}
