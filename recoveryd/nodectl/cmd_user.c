// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/buf.h"
#include "common/db.h"
#include "common/digest.h"
#include "common/mem.h"
#include "common/util.h"
#include "recoveryd/nodectl/database.h"
#include "recoveryd/nodectl/output.h"
#include "recoveryd/nodectl/password.h"
#include "recoveryd/nodectl/users_csv.h"
#include "recoveryd/nodectl/users_hash.h"

enum {
    SQL_MAX = 4096,
    COPY_BYTES = 64 * 1024,
    NODES_TEXT = 64,
    NUMBER_BYTES = 16,
    CREDENTIALS = 8
};

/* The columns of `users` that come from a password, in the order of credential_texts(). */
#define CREDENTIAL_COLUMNS                                                                         \
    "salt, iterations, sha1_stored_key, sha1_server_key, sha256_stored_key, sha256_server_key,"    \
    " digest_md5, digest_sha256"

/* The same lock as syncagent's, so that homes are counted by one at a time. */
#define LOCK_HOMES "SELECT pg_advisory_xact_lock(hashtext('muster.assign_homes'))"

/* A user as the command line names it. */
struct named {
    char *userid, *aor;
};

static bool name_user(const struct nodectl *n, struct named *ret)
{
    struct err e;

    *ret = (struct named){NULL, NULL};
    if (users_csv_prepare(str_of(n->words[0]), n->conf.domain, &ret->userid, &ret->aor, &e) == 0)
        return true;
    nodectl_refuse("%s", e.text);
    return false;
}

static void forget_name(struct named *u)
{
    mem_free(u->userid);
    mem_free(u->aor);
}

/* "{1,2}": the nodes that may be a home. */
static void put_nodes(const struct nodectl *n, char ret_text[NODES_TEXT])
{
    struct buf b;

    buf_init(&b, NODES_TEXT - 1);
    buf_put_c(&b, '{');
    for (uint32_t i = 0; i < n->conf.nodes.count; i++)
        buf_printf(&b, "%s%u", i ? "," : "", n->conf.nodes.nodes[i].node);
    buf_put_c(&b, '}');
    snprintf(ret_text, NODES_TEXT, "%s", b.data);
    buf_done(&b);
}

/* ---- credentials as texts ---- */

struct credential_texts {
    struct buf keys[5];
    char iterations[NUMBER_BYTES];
    const char *texts[CREDENTIALS];
};

static const char *put_key(struct buf *b, const uint8_t *key, size_t len)
{
    buf_init(b, 128);
    db_put_bytes(b, str_of_bytes(key, len));
    return b->data;
}

static void credential_texts_init(struct credential_texts *t, const struct credentials *c)
{
    snprintf(t->iterations, sizeof(t->iterations), "%u", c->iterations);
    t->texts[0] = put_key(&t->keys[0], c->salt, sizeof(c->salt));
    t->texts[1] = t->iterations;
    t->texts[2] = put_key(&t->keys[1], c->sha1_stored_key, sizeof(c->sha1_stored_key));
    t->texts[3] = put_key(&t->keys[2], c->sha1_server_key, sizeof(c->sha1_server_key));
    t->texts[4] = put_key(&t->keys[3], c->sha256_stored_key, sizeof(c->sha256_stored_key));
    t->texts[5] = put_key(&t->keys[4], c->sha256_server_key, sizeof(c->sha256_server_key));
    t->texts[6] = c->digest_md5;
    t->texts[7] = c->digest_sha256;
}

static void credential_texts_done(struct credential_texts *t)
{
    for (size_t i = 0; i < ARRAY_LEN(t->keys); i++)
        buf_done(&t->keys[i]);
}

/* Asks for a password and derives everything from it. */
static bool get_credentials(const struct nodectl *n, const struct named *user, const char *file,
                            struct credentials *ret)
{
    char password[PASSWORD_BYTES_MAX + 1], prepared[PASSWORD_BYTES_MAX + 1];
    struct err e;
    bool good = password_read(file, password, &e) == 0 &&
                password_prepare(str_of(password), prepared, &e) == 0;

    if (good)
        users_hash_one(user->userid, n->conf.domain, prepared, ret);
    else
        nodectl_refuse("%s", e.text);
    explicit_bzero(password, sizeof(password));
    explicit_bzero(prepared, sizeof(prepared));
    return good;
}

/* ---- one statement ---- */

/* Runs it; `missing` is said when it changed no row. */
static int change_one(struct nodectl *n, const char *sql, const char *const *params, int count,
                      const char *missing)
{
    PGconn *conn = database_open(n);
    PGresult *r = conn ? database_query(conn, sql, params, count) : NULL;
    int status = r ? DONE : REFUSED;

    if (r && strcmp(PQcmdTuples(r), "0") == 0)
        status = nodectl_refuse("%s", missing);
    else if (r && n->json)
        output_json(json_object());
    PQclear(r);
    PQfinish(conn);
    return status;
}

/* ---- add ---- */

struct add_options {
    const char *display_name, *mail, *directory_uri, *home, *password_file;
};

static bool is_node(const struct nodectl *n, const char *text)
{
    uint32_t number;

    if (str_u32(str_of(text), &number) && view_find(&n->conf.nodes, number))
        return true;
    nodectl_refuse("there is no node %s", text);
    return false;
}

static int add(struct nodectl *n, const struct named *user, const struct add_options *o)
{
    static const char sql[] =
        "INSERT INTO users (aor, userid, display_name, mail, directory_uri, home,"
        " " CREDENTIAL_COLUMNS ") SELECT $1, $2, $3, $4, $5, coalesce($6::integer,"
        " (SELECT node FROM unnest($7::integer[]) AS node"
        "  ORDER BY (SELECT count(*) FROM users WHERE home = node), node LIMIT 1)),"
        " $8, $9, $10, $11, $12, $13, $14, $15 ON CONFLICT DO NOTHING";
    const char *params[7 + CREDENTIALS] = {user->aor, user->userid,     o->display_name,
                                           o->mail,   o->directory_uri, o->home};
    struct credential_texts texts = {0};
    struct credentials c;
    char nodes[NODES_TEXT], missing[128];
    int status;

    if (!get_credentials(n, user, o->password_file, &c))
        return REFUSED;
    put_nodes(n, nodes);
    params[6] = nodes;
    credential_texts_init(&texts, &c);
    memcpy(params + 7, texts.texts, sizeof(texts.texts));
    snprintf(missing, sizeof(missing), "there is a user %.64s already: nodectl user passwd",
             user->userid);
    status = change_one(n, sql, params, ARRAY_LEN(params), missing);
    credential_texts_done(&texts);
    return status;
}

static const char *or_empty(const char *text)
{
    return text ? text : "";
}

int cmd_user_add(struct nodectl *n)
{
    struct add_options o = {
        .display_name = or_empty(nodectl_option(n, "--display-name")),
        .mail = or_empty(nodectl_option(n, "--mail")),
        .directory_uri = or_empty(nodectl_option(n, "--directory-uri")),
        .home = nodectl_option(n, "--home"),
        .password_file = nodectl_option(n, "--password-file"),
    };
    struct named user;
    int status = REFUSED;

    if (!nodectl_conf(n) || (o.home && !is_node(n, o.home)))
        return REFUSED;
    if (name_user(n, &user))
        status = add(n, &user, &o);
    forget_name(&user);
    return status;
}

/* ---- passwd, delete ---- */

static int set_password(struct nodectl *n, const struct named *user, const char *file)
{
    static const char sql[] = "UPDATE users SET (" CREDENTIAL_COLUMNS ") ="
                              " ($2, $3, $4, $5, $6, $7, $8, $9) WHERE aor = $1";
    const char *params[1 + CREDENTIALS] = {user->aor};
    struct credential_texts texts = {0};
    struct credentials c;
    int status;

    if (!get_credentials(n, user, file, &c))
        return REFUSED;
    credential_texts_init(&texts, &c);
    memcpy(params + 1, texts.texts, sizeof(texts.texts));
    status = change_one(n, sql, params, ARRAY_LEN(params), "there is no such user");
    credential_texts_done(&texts);
    return status;
}

int cmd_user_passwd(struct nodectl *n)
{
    const char *file = nodectl_option(n, "--password-file");
    struct named user;
    int status = REFUSED;

    if (!nodectl_conf(n))
        return REFUSED;
    if (name_user(n, &user))
        status = set_password(n, &user, file);
    forget_name(&user);
    return status;
}

int cmd_user_delete(struct nodectl *n)
{
    struct named user;
    int status = REFUSED;

    if (!nodectl_conf(n))
        return REFUSED;
    if (name_user(n, &user)) {
        const char *aor = user.aor;

        status =
            change_one(n, "DELETE FROM users WHERE aor = $1", &aor, 1, "there is no such user");
    }
    forget_name(&user);
    return status;
}

/* ---- list ---- */

static void print_json(const PGresult *r)
{
    static const char *const names[] = {"userid", "display_name", "mail", "directory_uri"};
    json_t *root = json_object(), *users = json_array();

    for (int i = 0; i < PQntuples(r); i++) {
        json_t *one = json_object();
        uint32_t home = 0;

        for (int k = 0; k < (int)ARRAY_LEN(names); k++)
            output_set_text(one, names[k], PQgetvalue(r, i, k));
        (void)str_u32(str_of(PQgetvalue(r, i, 4)), &home); /* 0: none */
        output_set_number(one, "home", home);
        json_array_append_new(users, one);
    }
    json_object_set_new(root, "users", users);
    output_json(root);
}

static void print_users(const PGresult *r)
{
    static const char *const titles[] = {"USERID",        "DISPLAY NAME", "MAIL",
                                         "DIRECTORY URI", "HOME",         NULL};
    struct output_table *t = output_table_new(titles);

    for (int i = 0; i < PQntuples(r); i++) {
        const char *cells[5];

        for (int k = 0; k < 5; k++)
            cells[k] = PQgetvalue(r, i, k);
        output_row(t, cells);
    }
    output_table_end(t);
}

int cmd_user_list(struct nodectl *n)
{
    const char *home = nodectl_option(n, "--home");
    PGconn *conn;
    PGresult *r;

    if (!nodectl_conf(n) || (home && !is_node(n, home)))
        return REFUSED;
    conn = database_open(n);
    r = conn ? database_query(conn,
                              "SELECT userid, display_name, mail, directory_uri, home FROM users"
                              " WHERE $1::integer IS NULL OR home = $1::integer ORDER BY userid",
                              &home, 1)
             : NULL;
    if (r && n->json)
        print_json(r);
    else if (r)
        print_users(r);
    PQclear(r);
    PQfinish(conn);
    return r ? DONE : REFUSED;
}

/* ---- import ---- */

static struct users_csv *read_csv(const struct nodectl *n, int fd, const char *file)
{
    struct users_csv_reader *reader = users_csv_reader_new(n->conf.domain);
    char *bytes = mem_new(COPY_BYTES);
    struct users_csv *all;
    ssize_t got;

    while ((got = read(fd, bytes, COPY_BYTES)) > 0)
        users_csv_feed(reader, str_of_bytes(bytes, (size_t)got));
    explicit_bzero(bytes, COPY_BYTES);
    mem_free(bytes);
    all = users_csv_end(reader);
    if (got == 0)
        return all;
    nodectl_refuse("cannot read %s: %s", file, strerror(errno));
    users_csv_free(all);
    return NULL;
}

static int refuse_file(const struct users_csv *all, const char *file)
{
    for (size_t i = 0; i < all->complaint_count && i < USERS_CSV_COMPLAINTS_MAX; i++)
        fprintf(stderr, "%s: %s\n", file, all->complaints[i].text);
    return nodectl_refuse("%s has %zu mistake%s; nothing was imported", file, all->complaint_count,
                          all->complaint_count == 1 ? "" : "s");
}

/* A field of COPY's text format. */
static void put_field(struct buf *out, const char *text, char end)
{
    for (; *text; text++) {
        char escape = *text == '\\'   ? '\\'
                      : *text == '\t' ? 't'
                      : *text == '\n' ? 'n'
                      : *text == '\r' ? 'r'
                                      : '\0';

        if (escape)
            buf_put_c(out, '\\');
        buf_put_c(out, escape ? escape : *text);
    }
    buf_put_c(out, end);
}

static void put_user(struct buf *out, const struct users_csv_user *u, const struct credentials *c)
{
    struct credential_texts texts = {0};

    put_field(out, u->userid, '\t');
    put_field(out, u->display_name, '\t');
    put_field(out, u->mail, '\t');
    put_field(out, u->directory_uri, '\t');
    credential_texts_init(&texts, c);
    for (size_t i = 0; i < CREDENTIALS; i++)
        put_field(out, texts.texts[i], i + 1 < CREDENTIALS ? '\t' : '\n');
    credential_texts_done(&texts);
}

static bool copy_users(PGconn *conn, const struct users_csv *all, const struct credentials *c)
{
    struct buf out;
    bool good = true;
    PGresult *r;

    buf_init(&out, COPY_BYTES);
    for (size_t i = 0; i < all->count && good; i++) {
        buf_clear(&out);
        put_user(&out, &all->users[i], &c[i]);
        good = !out.full && PQputCopyData(conn, out.data, (int)out.len) == 1;
    }
    buf_done(&out);
    good = PQputCopyEnd(conn, good ? NULL : "given up") == 1 && good;
    while ((r = PQgetResult(conn))) {
        good = good && PQresultStatus(r) == PGRES_COMMAND_OK;
        PQclear(r);
    }
    return good || nodectl_refuse("the database refused: %s", PQerrorMessage(conn)) == DONE;
}

static bool run_sql(PGconn *conn, const char *sql)
{
    PGresult *r = PQexec(conn, sql);
    ExecStatusType status = PQresultStatus(r);
    bool good = status == PGRES_COMMAND_OK || status == PGRES_TUPLES_OK || status == PGRES_COPY_IN;

    if (!good)
        nodectl_refuse("the database refused: %s", PQerrorMessage(conn));
    PQclear(r);
    return good;
}

/* Users who are there keep their home; new ones are dealt out, each to the node with the fewest. */
static bool merge(const struct nodectl *n, PGconn *conn, uint64_t *ret_added)
{
    static const char sql[] =
        "WITH fresh AS MATERIALIZED ("
        "  SELECT userid, row_number() OVER (ORDER BY userid) AS rank FROM incoming"
        "   WHERE NOT EXISTS (SELECT FROM users WHERE users.userid = incoming.userid)),"
        " nodes AS MATERIALIZED ("
        "  SELECT node, (SELECT count(*) FROM users WHERE home = node) AS users"
        "    FROM unnest($1::integer[]) AS node),"
        " places AS MATERIALIZED ("
        "  SELECT node, row_number() OVER (ORDER BY users + i, node) AS rank"
        "    FROM nodes, generate_series(1, (SELECT count(*) FROM fresh)) AS i),"
        " merged AS ("
        "  INSERT INTO users (aor, userid, display_name, mail, directory_uri, home,"
        "   " CREDENTIAL_COLUMNS ")"
        "  SELECT userid || '@' || $2, userid, display_name, mail, directory_uri,"
        "   coalesce(places.node, 0), " CREDENTIAL_COLUMNS
        "   FROM incoming LEFT JOIN fresh USING (userid) LEFT JOIN places USING (rank)"
        "  ON CONFLICT (userid) DO UPDATE SET (display_name, mail, directory_uri,"
        "   " CREDENTIAL_COLUMNS ") = (excluded.display_name, excluded.mail,"
        "   excluded.directory_uri, excluded.salt, excluded.iterations, excluded.sha1_stored_key,"
        "   excluded.sha1_server_key, excluded.sha256_stored_key, excluded.sha256_server_key,"
        "   excluded.digest_md5, excluded.digest_sha256))"
        " SELECT count(*) FROM fresh";
    const char *params[2] = {NULL, n->conf.domain};
    char nodes[NODES_TEXT];
    PGresult *r;

    put_nodes(n, nodes);
    params[0] = nodes;
    r = database_query(conn, sql, params, 2);
    if (!r)
        return false;
    (void)str_u64(str_of(PQgetvalue(r, 0, 0)), ret_added); /* a count */
    PQclear(r);
    return true;
}

static bool store(const struct nodectl *n, const struct users_csv *all, uint64_t *ret_added)
{
    struct credentials *c;
    PGconn *conn = database_open(n); /* before the work: it may be in vain */
    bool good;

    if (!conn)
        return false;
    c = users_hash(all, n->conf.domain);
    good = run_sql(conn, "BEGIN") && run_sql(conn, LOCK_HOMES) &&
           run_sql(conn, "CREATE TEMP TABLE incoming ON COMMIT DROP AS SELECT userid, display_name,"
                         " mail, directory_uri, " CREDENTIAL_COLUMNS " FROM users LIMIT 0") &&
           run_sql(conn, "COPY incoming FROM STDIN") && copy_users(conn, all, c) &&
           run_sql(conn, "ANALYZE incoming") && merge(n, conn, ret_added) &&
           run_sql(conn, "COMMIT");
    mem_free(c);
    PQfinish(conn);
    return good;
}

static void print_import(const struct nodectl *n, uint64_t added, uint64_t changed)
{
    json_t *root;

    if (!n->json) {
        printf("%llu users added, %llu changed\n", (unsigned long long)added,
               (unsigned long long)changed);
        return;
    }
    root = json_object();
    output_set_number(root, "added", added);
    output_set_number(root, "changed", changed);
    output_json(root);
}

static int import(struct nodectl *n, int fd, const char *file)
{
    struct users_csv *all = read_csv(n, fd, file);
    uint64_t added = 0;
    int status = REFUSED;

    if (!all)
        return REFUSED;
    if (all->complaint_count) {
        status = refuse_file(all, file);
    } else if (all->count == 0 || store(n, all, &added)) {
        print_import(n, added, all->count - added);
        status = DONE;
    }
    users_csv_free(all);
    return status;
}

int cmd_user_import(struct nodectl *n)
{
    const char *file = n->words[0];
    bool is_stdin = strcmp(file, "-") == 0;
    int fd, status;

    if (!nodectl_conf(n))
        return REFUSED;
    fd = is_stdin ? STDIN_FILENO : open(file, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return nodectl_refuse("cannot read %s: %s", file, strerror(errno));
    status = import(n, fd, is_stdin ? "standard input" : file);
    if (!is_stdin)
        close(fd);
    return status;
}
