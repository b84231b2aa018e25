// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Passwords as they come in: asked for on a terminal without echo, else the first line of standard
 * input or of a file; never a word of the command line. Prepared by SASLprep (RFC 4013), as SCRAM
 * wants it.
 */
#include <stdbool.h>
#include <stddef.h>

#include "common/err.h"
#include "common/str.h"

enum { PASSWORD_BYTES_MAX = 256 };

/* file: NULL for terminal or standard input. 0, or -1 with a sentence. Not prepared. */
int password_read(const char *file, char ret_password[PASSWORD_BYTES_MAX + 1], struct err *ret_err);

/* 0, or -1 with a sentence: empty, too long, not UTF-8, or with forbidden characters. */
int password_prepare(struct str password, char ret_prepared[PASSWORD_BYTES_MAX + 1],
                     struct err *ret_err);
