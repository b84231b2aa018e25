// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * What the two files of the registrar share: registrar.c keeps bindings and their records, rebind.c
 * does what a REGISTER asks for.
 */
#include "proxyd/own.h"
#include "proxyd/registrar.h"
#include "proxyd/sip/table.h"

struct registrar_user {
    struct registrar *registrar;
    struct str aor; /* ours */
    struct binding *first;
    size_t count;
    UT_hash_handle hh;
};

struct registrar {
    struct registrar_config config;
    struct registrar_user *users; /* those with bindings */
    size_t count;
};

/* The user of that name, made where there is none. */
struct registrar_user *registrar_add_user(struct registrar *r, struct str aor);
/* Frees a user without bindings. */
void registrar_release_user(struct registrar_user *u);

struct binding *registrar_find_key(const struct registrar_user *u, struct str key);
/* A binding that says nothing yet. */
struct binding *registrar_add_binding(struct registrar_user *u, struct str key);
/* Out of memory here; its record stays. */
void registrar_drop(struct binding *b);
/* Sets the timer to when it expires. */
void registrar_arm(struct binding *b, mono_t now);
/* False: the replica is full. */
bool registrar_put_record(const struct binding *b);

void registrar_tell(const struct registrar *r, struct str aor, size_t count);
