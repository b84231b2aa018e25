// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Credentials of many users, on all processors: PBKDF2 is slow on purpose.
 */
#include "common/directory.h"
#include "recoveryd/nodectl/users_csv.h"

/* One for each of all->users, in order; mem_free() it. */
struct credentials *users_hash(const struct users_csv *all, const char *domain);

/* Of one user, with a new salt. */
void users_hash_one(const char *userid, const char *domain, const char *password,
                    struct credentials *ret);
