/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef SF_PROVIDER_ERROR_H
#define SF_PROVIDER_ERROR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

/*
 * What a failed request to a provider means. The HTTP status says little: 429 is "wait a second",
 * "come back tomorrow" and "pay first". So the body's code and type are believed first, then its
 * message, then the status. One table leads there from all shapes of error bodies, a second one
 * from the class to errno and what may be done; docs/errors.md shows both.
 *
 * Pure: no request, no memory kept, any thread.
 */
struct sf_provider_type;

enum sf_provider_class {
    SF_PC_OK,
    SF_PC_AUTH,       /* the key is missing, wrong, or of another region */
    SF_PC_PERMISSION, /* the key may not do this */
    SF_PC_QUOTA,      /* money, plan, subscription: waiting does not help */
    SF_PC_RATE,       /* too many requests just now */
    SF_PC_RATE_LATER, /* a cap of the day, week or month is used up */
    SF_PC_OVERLOADED, /* the provider is; not our fault */
    SF_PC_SERVER,     /* it failed */
    SF_PC_NETWORK,    /* no reply */
    SF_PC_TIMEOUT,
    SF_PC_TOO_LARGE, /* the file */
    SF_PC_CONTEXT,   /* the prompt, for the model */
    SF_PC_EMPTY,     /* files without a byte are refused */
    SF_PC_TYPE,      /* the provider takes no files of this kind */
    SF_PC_COUNT,     /* too many files, or too many bytes, in the account */
    SF_PC_NOT_FOUND, /* no file of this id */
    SF_PC_NO_API,    /* the server has no such route */
    SF_PC_FILTERED,  /* content refused as unsafe */
    SF_PC_MODEL,     /* no such model */
    SF_PC_INVALID,   /* asked wrongly */
    SF_PC_EXTRACT,   /* the file was taken, and could not be read */
    SF_PC_LOADING,   /* a local server still loads its model */
    SF_PC_PROTOCOL,  /* an answer that cannot be believed */
    SF_PC_NO_ANSWER, /* a chat was answered with nothing */
    SF_PC_COUNT_OF   /* how many there are */
};

/* What may be done after a failure of a class, for requests that may be repeated at all. */
enum sf_provider_again {
    SF_PA_NO,   /* the same request will fail again */
    SF_PA_ONCE, /* one more try */
    SF_PA_SOON, /* until the deadline, with growing delays, or as the provider says */
};

struct sf_provider_class_info {
    const char *name; /* for status, logs and docs: "rate", "too large" */
    int err;          /* negative errno; 0 for SF_PC_OK */
    enum sf_provider_again again;
    bool provider; /* it is the provider that is in trouble: counts for the breaker, and another
                      provider may do. Else the file or the request is what was refused */
    const char *meaning;
};

/** sf_provider_class_info - the row of a class; never NULL. */
const struct sf_provider_class_info *sf_provider_class_info(enum sf_provider_class cls);

struct sf_provider_fault {
    enum sf_provider_class cls; /* SF_PC_OK = none */
    int err;                    /* negative errno of the class; 0 = none */
    int http;                   /* HTTP status, 0 = no reply */
    int64_t retry_after_ms;     /* as the provider said; -1 = it did not say. At most a day */
    char code[48];              /* the provider's own code or type: "1302", "server_error"; or "" */
    char text[400];             /* a sentence on one line, redacted, printable ASCII */
    char request_id[80];        /* by which the provider logged it; or "" */
};

/* A reply as far as errors go. */
struct sf_provider_reply {
    int status;       /* HTTP status */
    const char *body; /* may be NULL, HTML, cut, hostile */
    size_t len;
    /* A header by its name in any case, NULL = not there; may itself be NULL. */
    const char *(*header)(void *arg, const char *name);
    void *arg;
};

/**
 * sf_provider_fault_of - what a reply says.
 * @type: whose words they are; NULL = anybody's.
 * @out:  always filled; SF_PC_OK for a reply of success.
 *
 * All eight shapes of docs/errors.md are understood, also in a reply of 200 (and as one event of a
 * stream, with status 200 and its JSON as body). Do not ask about a 2xx whose body is a file's
 * content: a file may look like an error.
 *
 * Returns out->err.
 */
int sf_provider_fault_of(const struct sf_provider_type *type, const struct sf_provider_reply *reply,
                         struct sf_provider_fault *out);

/**
 * sf_provider_fault_net - the same where no reply came.
 * @err: of the transport. -ETIMEDOUT is SF_PC_TIMEOUT, what cannot be believed SF_PC_PROTOCOL,
 *       -EPERM and -EINVAL (refused before sending) SF_PC_INVALID, all else SF_PC_NETWORK;
 *       -ECANCELED keeps its errno.
 *
 * Returns out->err.
 */
int sf_provider_fault_net(const struct sf_err *err, struct sf_provider_fault *out);

/** sf_provider_fault_set - a fault that supafs itself found. Returns out->err. */
__attribute__((format(printf, 3, 4))) int sf_provider_fault_set(struct sf_provider_fault *out,
                                                                enum sf_provider_class cls,
                                                                const char *fmt, ...);

/* ---- the table of bodies, for the test and the documentation -------------------------------- */

/* One row. A condition that is NULL or 0 holds always; all of a row must hold; the first row wins.
 */
struct sf_provider_row {
    const char *vendor;  /* name of a type whose words alone are meant */
    const char *code;    /* error.code, or error.type; several separated by '|', "a-b" = a range */
    const char *message; /* part of the message, in any case */
    int http_from, http_to;
    enum sf_provider_class cls;
    const char *meaning;
};
const struct sf_provider_row *sf_provider_rows(size_t *n);

#endif
