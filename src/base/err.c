/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "base/err.h"

#include "base/redact.h"
#include "base/str.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

int
sf_err_set(struct sf_err *err, int code, const char *fmt, ...)
{
    if (!err || err->code)
        return code;
    int saved = errno;
    va_list ap;
    err->code = code;
    va_start(ap, fmt);
    errno = saved;
    if (vsnprintf(err->msg, sizeof err->msg, fmt, ap) >= (int)sizeof err->msg)
        (void)sf_utf8_trim(err->msg);
    va_end(ap);
    sf_redact(err->msg);
    errno = saved;
    return code;
}

int
sf_err_prefix(struct sf_err *err, const char *fmt, ...)
{
    if (!err || !err->code)
        return 0;
    char head[sizeof err->msg], old[sizeof err->msg];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(head, sizeof head, fmt, ap);
    va_end(ap);
    memcpy(old, err->msg, sizeof old);
    size_t n = strlen(head);
    if (n > sizeof err->msg - 3)
        n = sizeof err->msg - 3;
    memcpy(err->msg, head, n);
    int room = (int)(sizeof err->msg - n) - 3; /* for ": " and the NUL */
    snprintf(err->msg + n, sizeof err->msg - n, ": %.*s", room, old);
    (void)sf_utf8_trim(err->msg);
    sf_redact(err->msg);
    return err->code;
}

const char *
sf_errno_name(int code)
{
    const char *name = strerrorname_np(code < 0 ? -code : code);
    return name ? name : "unknown";
}
