/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "daemon/exit.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

int
sf_outcome_fail(struct sf_outcome *o, enum sf_exit exit, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    o->exit = exit;
    vsnprintf(o->text, sizeof o->text, fmt, ap);
    va_end(ap);
    return -1;
}

void
sf_outcome_say(struct sf_outcome *o, const char *fmt, ...)
{
    size_t n = strlen(o->text);
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(o->text + n, sizeof o->text - n, fmt, ap);
    va_end(ap);
    n = strlen(o->text);
    snprintf(o->text + n, sizeof o->text - n, "\n");
}

enum sf_exit
sf_exit_of_config(const struct sf_err *err)
{
    switch (err->code) {
    case -EPERM:
        return SF_EXIT_KEY_EXPOSED;
    case -EKEYREJECTED:
        return SF_EXIT_KEY_WRONG;
    case -EKEYEXPIRED:
        return SF_EXIT_KEY_EXPIRED;
    case -ENOMEM:
        return SF_EXIT_FAILED;
    default:
        return SF_EXIT_USAGE;
    }
}

void
sf_exit_print(void)
{
#define SF_EXIT(id, code, meaning) printf("%d %s\n", code, meaning);
#include "daemon/exit.def"
#undef SF_EXIT
}
