// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * The registrar (RFC 3261, 10.3): which contacts a user has, and for how long.
 *
 * A binding lives twice: as a record in the replica, on both nodes, and, where its user is served,
 * as a live binding with a timer, made from the record. Registering changes both; the caller
 * then waits for replica_commit() before it says 200. Bindings are told apart by their URI; a
 * device that gives its instance (RFC 5626) has one per instance and reg-id, wherever it is.
 *
 * A core. Replicas of users that are served elsewhere are left alone.
 */
#include "common/replica.h"
#include "common/timer.h"
#include "proxyd/sip/msg.h"

enum { REGISTRAR_TABLE = 1, REGISTRAR_BINDINGS_MAX = 10 };

struct registrar;

struct registrar_config {
    struct replica *replica;
    struct timers *timers; /* expiry; run by the owner */
    uint64_t expires_min_ms, expires_max_ms;
    bool (*is_mine)(void *ctx, struct str aor);
    /* The number of bindings of a user who is served here changed; 0 too when he is no more. */
    void (*on_change)(void *ctx, struct str aor, size_t bindings);
    uint64_t (*unix_ms)(void *ctx); /* the time of the event that is being handled */
    void *ctx;
};

struct binding {
    struct binding *next;
    struct str key; /* of its record */
    struct str contact, params, call_id, transport, source;
    uint32_t cseq;
    uint64_t expires_unix_ms;
    struct registrar_user *user;
    struct timer expiry;
};

struct registrar *registrar_new(const struct registrar_config *config);
void registrar_free(struct registrar *r);
void registrar_limits(struct registrar *r, uint64_t expires_min_ms, uint64_t expires_max_ms);

/* Does what a REGISTER of `aor` asks for, all of it or nothing. transport, source: see the record.
 */
struct sip_refusal registrar_register(struct registrar *r, struct str aor,
                                      const struct sip_msg *request, struct str transport,
                                      struct str source, mono_t now);

/* Appends a Contact header for each binding. */
void registrar_put_contacts(const struct registrar *r, struct str aor, struct buf *out);

/* The first binding of a user who is served here, or NULL; borrowed until the next change. */
const struct binding *registrar_bindings(const struct registrar *r, struct str aor);

/* The view or the directory changed, or the replica was restored: activates the bindings of users
 * who are now served here and lets go of others'. aor empty: of all. */
void registrar_refresh(struct registrar *r, struct str aor, mono_t now);

/* Removes the records of a user who was deleted. */
void registrar_forget(struct registrar *r, struct str aor);

/* Calls `each` for every user with bindings. */
void registrar_each(const struct registrar *r,
                    void (*each)(void *ctx, struct str aor, size_t bindings), void *ctx);

size_t registrar_count(const struct registrar *r); /* live bindings */
void registrar_check(const struct registrar *r);
