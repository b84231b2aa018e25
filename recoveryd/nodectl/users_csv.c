// SPDX-License-Identifier: Apache-2.0
#include "recoveryd/nodectl/users_csv.h"

#include <csv.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/arena.h"
#include "common/jid.h"
#include "common/mem.h"
#include "common/util.h"
#include "recoveryd/nodectl/password.h"

enum { USERID, PASSWORD, DISPLAY_NAME, MAIL, DIRECTORY_URI, FIELDS };
enum { ROW_BYTES_MAX = 64 * 1024 };

struct users_csv_reader {
    struct csv_parser parser;
    const char *domain;
    struct users_csv *all;
    size_t room;
    size_t line;     /* of the byte that is fed */
    size_t row_line; /* where the row began */
    size_t row_bytes;
    bool in_row, broken, too_many;
    bool dead; /* what follows is not read */
    size_t fields;
    char *row[FIELDS];
};

__attribute__((format(printf, 3, 4))) static void complain(struct users_csv_reader *r, size_t line,
                                                           const char *format, ...)
{
    struct users_csv *all = r->all;
    char sentence[400];
    va_list args;

    va_start(args, format);
    vsnprintf(sentence, sizeof(sentence), format, args);
    va_end(args);
    if (all->complaint_count < USERS_CSV_COMPLAINTS_MAX)
        (void)err_set(&all->complaints[all->complaint_count], "line %zu: %s", line, sentence);
    all->complaint_count++;
    r->broken = true;
}

int users_csv_prepare(struct str userid, const char *domain, char **ret_userid, char **ret_aor,
                      struct err *ret_err)
{
    char text[2 * USERS_CSV_FIELD_MAX];
    struct str local, rest;
    struct arena a;
    struct jid jid;
    int r = -1;

    if (str_cut(userid, '@', &local, &rest) && !str_ieq_c(rest, domain))
        return err_set(ret_err, "%.*s: the domain here is %s", STR_ARG(userid), domain);
    if (local.len > USERS_CSV_FIELD_MAX || str_find(local, '/') < local.len)
        return err_set(ret_err, "%.*s is no user id", STR_ARG(str_sub(local, 0, 64)));
    snprintf(text, sizeof(text), "%.*s@%s", STR_ARG(local), domain);
    arena_init(&a, 4 * JID_MAX);
    if (jid_parse(&a, str_of(text), &jid) != 0 || str_empty(jid.local)) {
        err_set(ret_err, "%.*s is no user id", STR_ARG(local));
    } else {
        *ret_userid = str_dup(jid.local);
        *ret_aor = str_dup(jid.bare);
        r = 0;
    }
    arena_done(&a);
    return r;
}

static char *take_field(struct users_csv_reader *r, size_t field)
{
    char *text = r->row[field] ? r->row[field] : mem_strdup("");

    r->row[field] = NULL;
    return text;
}

static struct users_csv_user *new_user(struct users_csv_reader *r)
{
    struct users_csv *all = r->all;

    if (all->count == r->room) {
        size_t room = r->room ? 2 * r->room : 256;

        all->users =
            mem_grow(all->users, r->room * sizeof(*all->users), room * sizeof(*all->users));
        r->room = room;
    }
    return &all->users[all->count++];
}

static void take_row(struct users_csv_reader *r)
{
    char prepared[PASSWORD_BYTES_MAX + 1];
    char *userid = NULL, *aor = NULL;
    struct users_csv_user *u;
    struct err e;

    if (r->fields < 2) {
        complain(r, r->row_line, "it needs at least a userid and a password");
        return;
    }
    if (users_csv_prepare(str_trim(str_of(r->row[USERID])), r->domain, &userid, &aor, &e) != 0 ||
        password_prepare(str_of(r->row[PASSWORD]), prepared, &e) != 0) {
        complain(r, r->row_line, "%s", e.text);
        mem_free(userid);
        mem_free(aor);
        return;
    }
    u = new_user(r);
    u->line = r->row_line;
    u->userid = userid;
    u->password = mem_strdup(prepared);
    u->display_name = take_field(r, DISPLAY_NAME);
    u->mail = take_field(r, MAIL);
    u->directory_uri = take_field(r, DIRECTORY_URI);
    mem_free(aor);
    explicit_bzero(prepared, sizeof(prepared));
}

/* ---- libcsv's callbacks ---- */

static void on_field(void *data, size_t len, void *ctx)
{
    struct users_csv_reader *r = ctx;
    struct str field = str_of_bytes(data, data ? len : 0);

    if (r->fields >= FIELDS) {
        if (r->fields == FIELDS)
            complain(r, r->row_line, "it has more than %d fields", FIELDS);
    } else if (field.len > USERS_CSV_FIELD_MAX) {
        complain(r, r->row_line, "a field is longer than %d bytes", USERS_CSV_FIELD_MAX);
    } else if (!str_utf8(field)) {
        complain(r, r->row_line, "it is not UTF-8");
    } else {
        r->row[r->fields] = str_dup(field);
    }
    r->fields++;
}

static void forget_row(struct users_csv_reader *r)
{
    for (size_t i = 0; i < FIELDS; i++) {
        if (i == PASSWORD && r->row[i])
            explicit_bzero(r->row[i], strlen(r->row[i]));
        mem_free(r->row[i]);
        r->row[i] = NULL;
    }
    r->fields = 0;
    r->broken = false;
    r->in_row = false;
    r->row_line = r->line; /* a lone CR ends a row too */
}

static void on_row(int c, void *ctx)
{
    struct users_csv_reader *r = ctx;
    bool first = r->row_line == 1;

    (void)c;
    if (!r->broken && first && r->row[USERID] && str_ieq_c(str_of(r->row[USERID]), "userid"))
        ; /* the names of the columns */
    else if (!r->broken && r->all->count < USERS_CSV_USERS_MAX)
        take_row(r);
    else if (!r->broken && !r->too_many) {
        complain(r, r->row_line, "there are more than %d users", USERS_CSV_USERS_MAX);
        r->too_many = true;
    }
    forget_row(r);
}

struct users_csv_reader *users_csv_reader_new(const char *domain)
{
    struct users_csv_reader *r = mem_new(sizeof(*r));

    r->domain = domain;
    r->all = mem_new(sizeof(*r->all));
    r->line = 1;
    csv_init(&r->parser, CSV_STRICT | CSV_STRICT_FINI | CSV_APPEND_NULL);
    return r;
}

static void give_up(struct users_csv_reader *r, const char *why)
{
    complain(r, r->row_line, "%s", why);
    r->dead = true;
}

static void begin_row(struct users_csv_reader *r)
{
    if (r->in_row)
        return;
    r->in_row = true;
    r->row_line = r->line;
    r->row_bytes = 0;
}

/* At most a line at a time, so that we know which one we are in. libcsv itself has no limits. */
void users_csv_feed(struct users_csv_reader *r, struct str bytes)
{
    while (bytes.len && !r->dead) {
        size_t newline = str_find(bytes, '\n');
        size_t len = newline < bytes.len ? newline + 1 : bytes.len;

        if (!str_empty(str_trim(str_sub(bytes, 0, len))))
            begin_row(r);
        r->row_bytes += r->in_row ? len : 0;
        if (r->row_bytes > ROW_BYTES_MAX)
            give_up(r, "it does not end; is a quote missing?");
        else if (csv_parse(&r->parser, bytes.p, len, on_field, on_row, r) != len)
            give_up(r, csv_strerror(csv_error(&r->parser)));
        r->line += newline < bytes.len;
        bytes = str_sub(bytes, len, bytes.len);
    }
}

static int by_userid(const void *a, const void *b)
{
    const struct users_csv_user *const *x = a, *const *y = b;
    int order = strcmp((*x)->userid, (*y)->userid);

    return order ? order : ((*x)->line > (*y)->line) - ((*x)->line < (*y)->line);
}

static void refuse_twins(struct users_csv_reader *r)
{
    size_t count = r->all->count;
    struct users_csv_user **sorted = mem_new((count + 1) * sizeof(struct users_csv_user *));

    for (size_t i = 0; i < count; i++)
        sorted[i] = &r->all->users[i];
    qsort(sorted, count, sizeof(*sorted), by_userid);
    for (size_t i = 1; i < count; i++)
        if (strcmp(sorted[i]->userid, sorted[i - 1]->userid) == 0)
            complain(r, sorted[i]->line, "%s is in line %zu already", sorted[i]->userid,
                     sorted[i - 1]->line);
    mem_free(sorted);
}

struct users_csv *users_csv_end(struct users_csv_reader *r)
{
    struct users_csv *all = r->all;

    if (!r->dead && csv_fini(&r->parser, on_field, on_row, r) != 0)
        give_up(r, csv_strerror(csv_error(&r->parser)));
    csv_free(&r->parser);
    forget_row(r);
    refuse_twins(r);
    mem_free(r);
    return all;
}

void users_csv_free(struct users_csv *all)
{
    for (size_t i = 0; i < all->count; i++) {
        struct users_csv_user *u = &all->users[i];

        explicit_bzero(u->password, strlen(u->password));
        mem_free(u->password);
        mem_free(u->userid);
        mem_free(u->display_name);
        mem_free(u->mail);
        mem_free(u->directory_uri);
    }
    mem_free(all->users);
    mem_free(all);
}
