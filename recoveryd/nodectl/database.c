// SPDX-License-Identifier: Apache-2.0
#include "recoveryd/nodectl/database.h"

#include <stdio.h>
#include <string.h>

#include "common/str.h"

enum { CONNINFO_BYTES = 1536 };

/* libpq's messages have several lines: the first says it. */
static int refuse_with(const char *what, const char *message)
{
    struct str line, rest;

    (void)str_cut(str_of(message), '\n', &line, &rest); /* without a newline it is all */
    line = str_trim(line);
    if (str_istarts(line, STR("error:")))
        line = str_trim(str_sub(line, 6, line.len));
    return nodectl_refuse("%s: %.*s", what, STR_ARG(line));
}

PGconn *database_open(const struct nodectl *n)
{
    char conninfo[CONNINFO_BYTES];
    PGconn *conn;

    snprintf(conninfo, sizeof(conninfo),
             "%s target_session_attrs=read-write application_name=nodectl client_encoding=UTF8",
             n->conf.conninfo);
    conn = PQconnectdb(conninfo);
    if (PQstatus(conn) == CONNECTION_OK)
        return conn;
    refuse_with("no writable database can be reached", PQerrorMessage(conn));
    PQfinish(conn);
    return NULL;
}

PGresult *database_query(PGconn *conn, const char *sql, const char *const *params, int count)
{
    PGresult *r = PQexecParams(conn, sql, count, NULL, params, NULL, NULL, 0);

    if (PQresultStatus(r) == PGRES_COMMAND_OK || PQresultStatus(r) == PGRES_TUPLES_OK)
        return r;
    refuse_with("the database refused", PQerrorMessage(conn));
    PQclear(r);
    return NULL;
}
