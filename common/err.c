// SPDX-License-Identifier: Apache-2.0
#include "common/err.h"

#include <stdarg.h>
#include <stdio.h>

int err_set(struct err *e, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    // cppcheck-suppress ctuuninitvar ; a sentence is written here, never read
    (void)vsnprintf(e->text, sizeof(e->text), format, args); /* cut is fine */
    va_end(args);
    return -1;
}
