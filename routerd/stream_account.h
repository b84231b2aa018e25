// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * What one side has sent and the other has not dealt with: messages and their bytes. Shared by both
 * threads; freed with its last reference. The numbers are for limits, so none waits for the other.
 */
#include <stdbool.h>
#include <stddef.h>

struct stream_account;

/* With one reference. */
struct stream_account *stream_account_new(void);
struct stream_account *stream_account_ref(struct stream_account *a);
void stream_account_unref(struct stream_account *a);

/* A message more, and one less. */
void stream_account_add(struct stream_account *a, size_t bytes);
void stream_account_take(struct stream_account *a, size_t bytes);

/* More than one of these? */
bool stream_account_beyond(const struct stream_account *a, size_t bytes, size_t messages);
