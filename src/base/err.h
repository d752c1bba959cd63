/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef SF_BASE_ERR_H
#define SF_BASE_ERR_H

#include <stdbool.h>

/*
 * What failed, for functions that talk to the outside. No allocation, so it works when memory is
 * gone. Initialise with SF_ERR_INIT; functions that take one accept NULL.
 */
struct sf_err {
    int code;          /* negative errno; 0 = nothing recorded */
    int http_status;   /* 0 when the failure was not an HTTP reply */
    bool retryable;    /* the same request may succeed later */
    bool outcome_open; /* the request may or may not have taken effect (reply lost) */
    char api_code[48]; /* the service's own code, as "NoSuchKey"; empty when there is none */
    char msg[240];     /* NUL-terminated, redacted */
};

#define SF_ERR_INIT ((struct sf_err){0})

/**
 * sf_err_set - record the first error and return its code.
 * @err:  may be NULL; left alone when it holds an error already (the first one wins).
 * @code: negative errno.
 * @fmt:  printf format of the message; %m is the errno text of the call before.
 *
 * Returns @code, for `return sf_err_set(...)`.
 */
__attribute__((format(printf, 3, 4), warn_unused_result)) int
sf_err_set(struct sf_err *err, int code, const char *fmt, ...);

/**
 * sf_err_prefix - put "what: " before the message of an error that is on its way up.
 * @err: may be NULL or empty, then nothing happens.
 *
 * Returns err->code, or 0.
 */
__attribute__((format(printf, 2, 3))) int sf_err_prefix(struct sf_err *err, const char *fmt, ...);

/**
 * sf_errno_name - the symbolic name of an errno ("ENOENT"), for logs and status.
 * @code: positive or negative.
 *
 * Returns a static string; never NULL.
 */
const char *sf_errno_name(int code);

#endif
