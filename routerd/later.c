// SPDX-License-Identifier: Apache-2.0
#include "routerd/later.h"

#include <utlist.h>

#include "common/mem.h"

struct commit {
    struct commit *prev, *next;
    struct router *router;
    commit_cb *done;
    struct later_args args;
};

struct request {
    UT_hash_handle hh;
    uint64_t number;
    struct later_request how;
    char *text;
};

static void on_commit(void *ctx)
{
    struct commit *c = ctx;
    struct router *r = c->router;

    DL_DELETE(r->commits, c);
    c->done(r, &c->args);
    mem_free(c);
}

void later_commit(struct router *r, commit_cb *done, struct later_args args)
{
    struct commit *c = mem_new(sizeof(*c));

    c->router = r;
    c->done = done;
    c->args = args;
    DL_APPEND(r->commits, c);
    replica_commit(r->replica, on_commit, c);
}

uint64_t later_stored(struct router *r, const struct later_request *request)
{
    struct request *q = mem_new(sizeof(*q));

    q->number = next_number(r);
    q->how = *request;
    q->text = str_dup(request->text);
    HASH_ADD(hh, r->requests, number, sizeof(q->number), q);
    return q->number;
}

static struct request *take(struct router *r, uint64_t number)
{
    struct request *q;

    HASH_FIND(hh, r->requests, &number, sizeof(number), q);
    if (q)
        HASH_DELETE(hh, r->requests, q);
    return q;
}

void later_on_stored(struct router *r, uint64_t request, int status)
{
    struct request *q = take(r, request);

    if (!q)
        return;
    if (q->how.done)
        q->how.done(r, status, str_of(q->text), q->how.data);
    mem_free(q->text);
    mem_free(q);
}

uint64_t later_text(struct router *r, struct str text)
{
    return later_stored(r, &(struct later_request){.text = text});
}

char *later_take_text(struct router *r, uint64_t request)
{
    struct request *q = take(r, request);
    char *text = q ? q->text : NULL;

    mem_free(q);
    return text;
}

void later_free(struct router *r)
{
    struct commit *c, *next_commit;
    struct request *q, *next;

    for (c = r->commits; c; c = next_commit) {
        next_commit = c->next;
        DL_DELETE(r->commits, c);
        mem_free(c);
    }
    for (q = r->requests; q; q = next) {
        next = q->hh.next;
        HASH_DELETE(hh, r->requests, q);
        if (q->how.drop)
            q->how.drop(q->how.data);
        mem_free(q->text);
        mem_free(q);
    }
}
