// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Schema migrations: applies the files NNN_subject.sql of a directory that the database does not
 * have yet, in order, each in a transaction that also records it in schema_migrations. An advisory
 * lock keeps two nodes from doing it at once. Call it on the primary, each time it has come up.
 */
#include <stddef.h>

#include <uv.h>

#include "common/err.h"

struct migrate;

/* status: 0 all are applied; -1 no, `why` is one sentence with file and PostgreSQL's words. */
typedef void migrate_done_cb(void *ctx, int status, unsigned applied, const char *why);

/* `conninfo`: superuser of the local cluster (postgres_local_conninfo()), database muster. Gives up
 * after timeout_ms (0: 60 s). `done` comes once, never from within, unless migrate_close() is
 * called before; afterwards the pointer is dead. */
struct migrate *migrate_start(uv_loop_t *loop, const char *conninfo, const char *directory,
                              uint64_t timeout_ms, migrate_done_cb *done, void *ctx);
/* Abandons it: `done` does not come. */
void migrate_close(struct migrate *m);

/* Where the files are: beside the running program, in ../share/muster/schema (installed), or, run
 * from a build directory, in ../../../deploy/schema. 0, or -1 and a sentence. */
int migrate_directory(char *ret_path, size_t size, struct err *ret_err)
    __attribute__((warn_unused_result));
