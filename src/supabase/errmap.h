/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef SF_SUPABASE_ERRMAP_H
#define SF_SUPABASE_ERRMAP_H

#include <stdbool.h>
#include <stddef.h>

/*
 * What a failed reply of the service means. The HTTP status says little (nearly every failure is
 * 400): the body's code is believed first, then its error text (old servers send no code), then its
 * statusCode, then the HTTP status. One table holds all of it; docs/errors.md shows the same table,
 * and the unit test holds both against each other.
 */

/* The body of a failed reply, cut to bounds and made printable. */
struct sf_fault {
    int http;          /* HTTP status */
    int status;        /* statusCode of the body, sent as string or number; 0 = none */
    bool json;         /* the body was a JSON object */
    char code[48];     /* "" = none */
    char error[64];    /* "" = none */
    char message[160]; /* of the JSON body, or the line of a plain-text one; "" = none */
};

enum sf_fault_class {
    SF_FAULT_OTHER,
    SF_FAULT_NO_KEY,    /* no such object, or hidden by a policy */
    SF_FAULT_NO_BUCKET, /* no such bucket, or hidden; or an expired token in disguise */
    SF_FAULT_EXISTS,    /* create or move onto something */
    SF_FAULT_NOT_EMPTY, /* bucket */
    SF_FAULT_DENIED,    /* a policy refuses */
    SF_FAULT_EXPIRED,   /* token: a renewed one will do */
    SF_FAULT_BAD_TOKEN, /* token: malformed, wrong signature, or missing */
    SF_FAULT_NAME,      /* key or bucket name not allowed */
    SF_FAULT_LIMIT,     /* size, MIME type, quota */
    SF_FAULT_RANGE,     /* 416 */
    SF_FAULT_BUSY,      /* refused before anything was done; later it may work */
    SF_FAULT_SERVER,    /* failed on the way; what was asked may have been done */
    SF_FAULT_REQUEST,   /* supafs asked wrongly, or the service is of another version */
};

/* One row. A condition that is NULL or 0 holds always; all of a row must hold; the first row wins.
 */
struct sf_errmap_row {
    const char *code;           /* "" = the body must have none; "23*" = it begins so */
    const char *error;          /* the whole error text */
    const char *message;        /* part of the message */
    int status_from, status_to; /* statusCode of the body */
    int http_from, http_to;     /* HTTP status */

    int err;    /* negative errno */
    bool retry; /* the same request may succeed later */
    enum sf_fault_class class;
    const char *meaning; /* for docs/errors.md */
};

/**
 * sf_fault_parse - read the body of a failed reply.
 * @http: HTTP status.
 * @body: may be NULL, not JSON, or hostile.
 * @out:  always filled.
 */
void sf_fault_parse(int http, const char *body, size_t len, struct sf_fault *out);

/** sf_errmap_find - the row that holds for @fault. Never NULL: the last row holds for everything.
 */
const struct sf_errmap_row *sf_errmap_find(const struct sf_fault *fault);

/** sf_errmap_rows - the whole table, for the test and the documentation. */
const struct sf_errmap_row *sf_errmap_rows(size_t *n);

/** sf_fault_class_name - a static lower-case word. */
const char *sf_fault_class_name(enum sf_fault_class class);

#endif
