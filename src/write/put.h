/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef SF_WRITE_PUT_H
#define SF_WRITE_PUT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "supabase/storage.h"
#include "write/op.h"

struct sf_commit;
struct sf_record;
struct sf_writer;

/*
 * Internal to src/write: one object brought to the bucket, on a worker. put.c is the course of it,
 * put-plan.c what is sent and how, put-send.c the requests, put-keep.c what happens to somebody
 * else's version.
 */
struct sf_put {
    const char *bucket, *key;
    int fd;                   /* body, from offset 0; nobody changes it */
    uint64_t size;            /* bytes */
    const char *mime;         /* NULL = the replaced object's, else a guess; "" = a guess */
    const char *const *mimes; /* what the bucket allows; NULL = all */
    bool exists;              /* an object of this key is known: it is replaced */
    bool exclusive; /* what somebody else put there meanwhile is -EEXIST, not a conflict */
    bool renamed;   /* what is there may be another file, which the rename has replaced */
    const struct sf_version *base; /* the version that is replaced knowingly; NULL = whichever */
    const char *mark;              /* our directive of Cache-Control; NULL = none */
    const char *xattrs;            /* changes to extended attributes, as JSON; NULL = none */
    const char *cache_control;     /* of others; NULL = the replaced object's; "" = none */

    /* All bytes are those of this object, and perhaps not in @fd yet; NULL = no such. */
    const char *from_bucket, *from_key;
    const struct sf_version *source;
    /* Bring all bytes into @fd; NULL = they are there. */
    int (*fill)(void *arg, int64_t deadline_ms, struct sf_err *err);
    void *fill_arg;

    struct sf_record *rec; /* what the journal keeps of it, NULL = nothing; state, op and what an
                              upload under way needs are filled in here */
    _Atomic uint64_t *seq; /* of the record in the journal; 0 = somebody dropped it meanwhile */
    bool inlined;          /* the record has the bytes */
    char op[27];           /* what it is sent under; "" = an id is made */
    bool resume;           /* an earlier attempt with rec->op may have taken effect */
    char former[SF_FORMER_SIZE]; /* or one of these with other bytes, which were ours, too */
    const struct sf_version *former_left; /* the same of objects that carry no id; NULL = none */
    bool reached;                         /* set: something of this may have come to the service */
    struct sf_progress *progress;         /* NULL = nobody looks */

    /* on success; what is not known is "" */
    char id[40], version[40], etag[136];
    char md5_etag[36];      /* "" where the system has no MD5 */
    char sha256[65];        /* may be filled by the caller together with md5_etag */
    char conflict_key[901]; /* where somebody else's version was kept; "" = there was none */
};

/**
 * sf_put_run - bring it to the bucket; waits.
 *
 * A replacement begins with an info: its version against @base, and what the object says of itself
 * (content type, cache control, metadata of others), which is sent again. Another version than
 * @base is kept beside it first. Bytes that the service has already are not sent. Each request is
 * settled before anything is repeated: by the operation id in the object's metadata, or, where
 * objects carry none, by version, size and hash.
 *
 * Returns 0; -EFBIG; -EPERM the bucket refuses the type; -ENOTSUP the object's metadata does not
 * fit in what can be sent; -EEXIST (@exclusive); what the service answered. A lost reply that could
 * not be settled has err->outcome_open.
 */
int sf_put_run(struct sf_writer *w, struct sf_put *put, struct sf_err *err);

/* Whether an earlier attempt, which put->resume speaks of, has brought all of it; fills @put as a
 * success does. For bytes that can no longer be had. */
bool sf_put_was_done(struct sf_writer *w, struct sf_put *put);

/* What a finished one tells; borrows from @put. */
void sf_put_result(const struct sf_put *put, struct sf_commit *done);

#endif
