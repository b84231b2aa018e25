// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * The cluster's writable database, synchronously: for commands about users and parameters.
 */
#include <libpq-fe.h>

#include "recoveryd/nodectl/nodectl.h"

/* NULL, and a sentence is said, where none can be reached. PQfinish() it. */
PGconn *database_open(const struct nodectl *n);

/* Runs one statement with texts for its parameters (NULL entries are SQL NULL). NULL, and a
 * sentence is said, if it fails. PQclear() it. */
PGresult *database_query(PGconn *conn, const char *sql, const char *const *params, int count);
