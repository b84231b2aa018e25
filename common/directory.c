// SPDX-License-Identifier: Apache-2.0
#include "common/directory.h"

#include <stdlib.h>
#include <string.h>

#include "common/mem.h"

#define uthash_malloc(size)    mem_new(size)
#define uthash_free(p, size)   mem_free(p)
#define uthash_fatal(sentence) abort()

#include <uthash.h>

/* One allocation a user: both strings are behind the struct. */
struct entry {
    struct user user;
    uint32_t load; /* number of the load that it was last put in */
    UT_hash_handle hh;
    char text[]; /* aor NUL display_name NUL */
};

struct directory {
    struct entry *entries;
    uint32_t load;
};

struct directory *directory_new(void)
{
    return mem_new(sizeof(struct directory));
}

static void drop(struct directory *d, struct entry *e)
{
    HASH_DELETE(hh, d->entries, e);
    mem_free(e);
}

void directory_free(struct directory *d)
{
    struct entry *e, *next;

    if (!d)
        return;
    HASH_ITER (hh, d->entries, e, next)
        drop(d, e);
    mem_free(d);
}

static struct entry *find(const struct directory *d, struct str aor)
{
    struct entry *e;

    HASH_FIND(hh, d->entries, aor.p, aor.len, e);
    return e;
}

void directory_put(struct directory *d, const struct user *user)
{
    struct str aor = str_of(user->aor);
    struct str name = str_of(user->display_name);
    struct entry *e = mem_new(sizeof(*e) + aor.len + 1 + name.len + 1);

    memcpy(e->text, aor.p, aor.len);
    memcpy(e->text + aor.len + 1, name.p, name.len);
    e->user = *user;
    e->user.aor = e->text;
    e->user.display_name = e->text + aor.len + 1;
    e->load = d->load;

    /* What is replaced goes last: `user` may be a copy of it, with its strings. */
    struct entry *old = find(d, aor);

    if (old)
        HASH_DELETE(hh, d->entries, old);
    HASH_ADD_KEYPTR(hh, d->entries, e->text, aor.len, e);
    mem_free(old);
}

void directory_remove(struct directory *d, struct str aor)
{
    struct entry *e = find(d, aor);

    if (e)
        drop(d, e);
}

const struct user *directory_find(const struct directory *d, struct str aor)
{
    struct entry *e = find(d, aor);

    return e ? &e->user : NULL;
}

size_t directory_count(const struct directory *d)
{
    return HASH_COUNT(d->entries);
}

void directory_reload_begin(struct directory *d)
{
    d->load++;
}

void directory_reload_end(struct directory *d)
{
    struct entry *e, *next;

    HASH_ITER (hh, d->entries, e, next) {
        if (e->load != d->load)
            drop(d, e);
    }
}

void directory_each(const struct directory *d, void (*each)(void *ctx, const struct user *user),
                    void *ctx)
{
    struct entry *e, *next;

    HASH_ITER (hh, d->entries, e, next)
        each(ctx, &e->user);
}
