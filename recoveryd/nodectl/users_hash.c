// SPDX-License-Identifier: Apache-2.0
#include "recoveryd/nodectl/users_hash.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/random.h>
#include <unistd.h>

#include "common/digest.h"
#include "common/log.h"
#include "common/mem.h"

enum { THREADS_MAX = 64, BATCH = 16 };

struct work {
    const struct users_csv *all;
    const char *domain;
    struct credentials *credentials;
    atomic_size_t next; /* user that nobody has taken */
};

void users_hash_one(const char *userid, const char *domain, const char *password,
                    struct credentials *ret)
{
    uint8_t salt[DIRECTORY_SALT_BYTES];

    if (getrandom(salt, sizeof(salt), 0) != sizeof(salt)) { /* 16 bytes come whole or not at all */
        log_error("no_randomness", log_str("for", userid));
        abort();
    }
    digest_credentials(str_of(userid), str_of(domain), str_of(password), salt, ret);
}

static void *run(void *ctx)
{
    struct work *w = ctx;
    size_t from;

    while ((from = atomic_fetch_add(&w->next, BATCH)) < w->all->count)
        for (size_t i = from; i < from + BATCH && i < w->all->count; i++)
            users_hash_one(w->all->users[i].userid, w->domain, w->all->users[i].password,
                           &w->credentials[i]);
    return NULL;
}

struct credentials *users_hash(const struct users_csv *all, const char *domain)
{
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    size_t count = cores > 1 ? (cores > THREADS_MAX ? THREADS_MAX : (size_t)cores) : 1, started = 0;
    struct work w = {.all = all, .domain = domain};
    pthread_t threads[THREADS_MAX];

    w.credentials = mem_new((all->count + 1) * sizeof(*w.credentials));
    while (started < count - 1 && pthread_create(&threads[started], NULL, run, &w) == 0)
        started++;
    run(&w);
    while (started > 0)
        pthread_join(threads[--started], NULL);
    return w.credentials;
}
