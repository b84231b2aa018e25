// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * PostgreSQL's files: what can be seen of a cluster on disk, our marks in it, moving copies into
 * place. Everything here blocks, so postgres.c calls it on a thread of libuv's pool; functions read
 * nothing but their arguments. All leave the disk such that they can be called again after a crash.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/conf.h"

/* What a look at the disk tells. */
struct files_look {
    bool exists;        /* DIR/data/PG_VERSION */
    bool standby;       /* standby.signal is there */
    bool unusable;      /* files_mark() without files_follow() or files_install() */
    uint32_t pid;       /* of the living postmaster of this cluster; 0: none */
    unsigned leftovers; /* living processes in DIR/data that are not below a postmaster */
};

void files_look(const struct conf *conf, struct files_look *ret_look);

/* Makes DIR's run (0700), log, state and postgres. All return 0, or -1 and a sentence. */
int files_prepare(const struct conf *conf, struct err *ret_err);

/* Writes a file whole or not at all, and only if it differs; *ret_changed tells (may be NULL). */
int files_write(const char *path, struct str text, bool *ret_changed, struct err *ret_err);

/* From now on the cluster must not be started. */
int files_mark(const struct conf *conf, struct err *ret_err);

/* The cluster in DIR/data, rewound, will start as a standby: standby.signal, then the mark goes. */
int files_follow(const struct conf *conf, struct err *ret_err);

/* DIR/data.new becomes DIR/data; what was there becomes data.old-TIME, unless it was a standby's,
 * which is removed. `standby`: with standby.signal. The mark goes. */
int files_install(const struct conf *conf, bool standby, struct err *ret_err);

/* Removes DIR/data.new, what an earlier attempt left. */
int files_clear_new(const struct conf *conf, struct err *ret_err);

/* The last line of DIR/log/postgresql.log with FATAL or PANIC in it; "" without one. */
void files_last_fatal(const struct conf *conf, char *ret_line, size_t size);
