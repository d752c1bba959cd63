/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef SF_WRITE_CHANGE_H
#define SF_WRITE_CHANGE_H

#include "write/writer.h"

/* Internal to src/write: a removal, or a change of buckets, on its way; the callback of the header
 * at its end. */
struct sf_change {
    struct sf_job job;
    struct sf_writer *w;
    char *bucket, *key;
    /* The work, on a worker: 0 or the error, in @err too. */
    int (*fn)(struct sf_change *ch, int64_t deadline_ms, struct sf_err *err);
    sf_write_fn cb;
    void *arg;
};

/* Copy @template and queue it, ordered by its key. */
void sf_change_queue(const struct sf_change *template);

/**
 * sf_change_delete - delete an object on this thread; a lost reply is settled.
 * @expected: the version that is meant to go, or NULL. The service removes whichever is there: that
 *            it was another is counted and logged, no more can be done.
 * Returns 0; -ENOENT; -EACCES it is there, and stays; other errors.
 */
int sf_change_delete(struct sf_writer *w, const char *bucket, const char *key,
                     const struct sf_version *expected, int64_t deadline_ms, struct sf_err *err);

enum sf_below_what { SF_BELOW_NOTHING, SF_BELOW_MARKER, SF_BELOW_SOMETHING };
/* What is below @prefix ("" = in the bucket)? An enum sf_below_what, or the error. */
int sf_change_look_below(struct sf_writer *w, const char *bucket, const char *prefix,
                         int64_t deadline_ms, struct sf_err *err);
/* Remove the marker of @prefix, if it is there. */
int sf_change_remove_marker(struct sf_writer *w, const char *bucket, const char *prefix,
                            int64_t deadline_ms, struct sf_err *err);

/* The service says which version it removed: was it the one that was meant? */
void sf_change_removed(const char *bucket, const char *key, const struct sf_version *expected,
                       const struct sf_version *removed);

/* Forget an error that turned out to be none. Returns 0. */
int sf_change_settled(struct sf_err *err, const char *what, const char *bucket, const char *key);

#endif
