/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef SF_WRITE_CONTENT_H
#define SF_WRITE_CONTENT_H

#include "base/lock.h"
#include "write/stage.h"
#include "write/writer.h"

/* Internal to src/write: what uploads and loads need of a content. */

struct sf_upload;

struct sf_content {
    _Atomic unsigned refs;
    struct sf_writer *w;
    _Atomic uint64_t size;      /* bytes; changed under io */
    _Atomic uint64_t gen;       /* counts changes; changed under io */
    _Atomic uint64_t clean_gen; /* the bucket has this one, or nobody wants it */
    _Atomic bool abandoned;
    _Atomic bool target_stale; /* the file does not name the present target yet */

    /* order 62; whoever changes the local file holds it meanwhile: the one lock held over I/O, of
     * the local disk. stage changes only under both this and `lock`. */
    struct sf_mutex io;
    bool frozen;  /* somebody needs the file as it is: clone it before a change */
    bool loading; /* being filled: no changes */

    struct sf_mutex lock; /* order 64; protects the fields below */
    struct sf_stage *stage;
    char *bucket, *key;
    bool exists;      /* an object of this key was put there by us */
    bool have_stored; /* an upload of ours succeeded, to the target of stored_seq */
    unsigned stored_seq;
    struct sf_version stored; /* what is known of it */
    unsigned target_seq;      /* counts changes of the target */
    bool uploading;           /* up runs */
    struct sf_err failure;    /* of the last upload; empty after a success */
    struct sf_upload *up;     /* waits or runs */
    struct sf_upload *next;   /* what comes after the running one */
};

/* One state of the bytes, for an upload. */
struct sf_snapshot {
    struct sf_stage *stage; /* referenced */
    uint64_t size, gen;
};

/* Take the present state; until the end of it a change clones the file first. */
void sf_content_freeze(struct sf_content *c, struct sf_snapshot *ret);
/* Give it back. @stored: the bucket has it now. */
void sf_content_thaw(struct sf_content *c, struct sf_snapshot *snap, bool stored);

/* Begin to fill an empty, clean content. 0, -EBUSY, or -EINVAL when it is not so. @ret: the file,
 * referenced. */
int sf_content_load_begin(struct sf_content *c, struct sf_stage **ret);
/* End it: with @ok it has @size bytes, else it is empty again. @stage: given back. */
void sf_content_load_end(struct sf_content *c, struct sf_stage *stage, bool ok, uint64_t size);

#endif
