// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * What ends later: commits of the replica, and requests to the database. What shall happen then is
 * named by numbers, not pointers, so that nothing is woken up that is gone.
 */
#include "routerd/state.h"

enum { LATER_ARGS = 4 };

struct later_args {
    uint64_t of[LATER_ARGS];
};

/* Calls `done` when all that was put so far is in both memories. Never from within. */
typedef void commit_cb(struct router *r, const struct later_args *args);
void later_commit(struct router *r, commit_cb *done, struct later_args args);

/* A request to the database; its number is handed to the op. `text` is copied. Exactly one answer
 * comes, with the status of common/db.h; if the router dies first, `drop` frees `data` instead. */
typedef void stored_cb(struct router *r, int status, struct str text, void *data);
struct later_request {
    stored_cb *done;
    void (*drop)(void *data); /* NULL: nothing to free */
    void *data;
    struct str text;
};
uint64_t later_stored(struct router *r, const struct later_request *request);
/* The answer came. Unknown numbers are ignored. */
void later_on_stored(struct router *r, uint64_t request, int status);

/* The same for answers of another kind: keeps only the text, and gives it back once (the caller
 * frees it; NULL: unknown). */
uint64_t later_text(struct router *r, struct str text);
char *later_take_text(struct router *r, uint64_t request);

void later_free(struct router *r);
