// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * A file of users: userid,password,display_name,mail,directory_uri (RFC 4180), where the last three
 * may be missing. A first line that begins with `userid` names the columns and is skipped. Every
 * line is checked: userid prepared as a JID's local part, password by SASLprep.
 */
#include <stddef.h>

#include "common/err.h"
#include "common/str.h"

enum {
    USERS_CSV_FIELD_MAX = 1023, /* bytes of a field */
    USERS_CSV_USERS_MAX = 1000000,
    USERS_CSV_COMPLAINTS_MAX = 20, /* that are kept; the others are counted */
};

struct users_csv_user {
    size_t line;    /* where it began, from 1 */
    char *userid;   /* prepared */
    char *password; /* prepared */
    char *display_name, *mail, *directory_uri;
};

struct users_csv {
    struct users_csv_user *users;
    size_t count;
    struct err complaints[USERS_CSV_COMPLAINTS_MAX]; /* "line 7: ..." */
    size_t complaint_count;                          /* may be more than are kept */
};

struct users_csv_reader;

struct users_csv_reader *users_csv_reader_new(const char *domain);
void users_csv_feed(struct users_csv_reader *r, struct str bytes);
/* The end of the file: everything, the caller's to users_csv_free(). */
struct users_csv *users_csv_end(struct users_csv_reader *r);
/* Overwrites the passwords. */
void users_csv_free(struct users_csv *all);

/* "alice" or "alice@DOMAIN" as a prepared JID: userid is its local part. 0, or -1 with a sentence;
 * both results are the caller's to mem_free(). */
int users_csv_prepare(struct str userid, const char *domain, char **ret_userid, char **ret_aor,
                      struct err *ret_err);
