/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef SF_WRITE_PUT_H
#define SF_WRITE_PUT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

struct sf_object;
struct sf_writer;

/* Internal to src/write: one object sent whole, on a worker. */
struct sf_put {
    const char *bucket, *key;
    int fd;                   /* body, from offset 0; nobody changes it */
    uint64_t size;            /* bytes */
    const char *mime;         /* NULL = the replaced object's, else a guess */
    const char *const *mimes; /* what the bucket allows; NULL = all */
    bool replace;             /* an object is known: replace it and keep what it says of itself */

    /* on success */
    char id[40];
    char md5_etag[36]; /* "" where the system has no MD5 */
};

/**
 * sf_put_run - send the object; waits.
 *
 * A replacement begins with an info, to send content type, cache control and metadata again; when
 * the object has gone it becomes a creation. After a lost reply an info settles what happened
 * before anything is repeated. Returns 0; -EFBIG; -EPERM the bucket refuses the type; -ENOTSUP the
 * object's metadata does not fit in one request; -EEXIST; what the service answered; a lost reply
 * that could not be settled has err->outcome_open.
 */
int sf_put_run(struct sf_writer *w, struct sf_put *put, struct sf_err *err);

/* Whether a bucket with this list (NULL = all) takes this type: rows are "type/sub", or "type/"
 * and a star for all of a kind. */
bool sf_mime_allowed(const char *mime, const char *const *mimes);

/* The MD5 of @size bytes of @fd as an ETag, with quotes. 0, -EIO (fewer bytes), -ENOTSUP
 * (libcrypto has none), -errno. */
int sf_md5_etag(int fd, uint64_t size, char out[36]);

#endif
