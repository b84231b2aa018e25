// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * A sentence for an operator: why a configuration, a command or a file was refused.
 */
struct err {
    char text[512];
};

/* Writes the sentence, cut to fit; returns -1, so that a function can end with it. */
int err_set(struct err *e, const char *format, ...) __attribute__((format(printf, 2, 3)));
