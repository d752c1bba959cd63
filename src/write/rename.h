/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef SF_WRITE_RENAME_H
#define SF_WRITE_RENAME_H

#include "write/moving.h"
#include "write/writer.h"

/* Internal to src/write: renames on their way, of one object and of a directory. */

struct sf_rename {
    struct sf_job job;
    struct sf_writer *w;
    struct sf_rename_args args; /* strings are its own */
    /* The work, on a worker: 0 and *now, or the error, in @err too. */
    int (*fn)(struct sf_rename *rn, struct sf_version *now, struct sf_err *err);
    sf_rename_fn cb;
    void *arg;
    struct sf_moving moving; /* of a directory; listed until the callback has run */
};

/* Queue it, ordered by both names. Without memory @cb hears of it at once. */
void sf_rename_queue(struct sf_writer *w, const struct sf_rename_args *args,
                     int (*fn)(struct sf_rename *, struct sf_version *, struct sf_err *),
                     sf_rename_fn cb, void *arg);

/* May an object of this size and type go to the target's bucket? 0, -EFBIG, -EPERM. */
int sf_rename_allowed(const struct sf_rename_args *args, const char *key, uint64_t size,
                      const char *mime, struct sf_err *err);

/* One object and its two names; strings are borrowed. */
struct sf_move {
    struct sf_writer *w;
    const char *bucket, *key, *to_bucket, *to_key;
    struct sf_version source; /* what is moved; its id settles a lost reply */
    int64_t deadline_ms;
};

/**
 * sf_move_send - move on the service; a lost reply is settled by looking at both names.
 * Returns 0; -EEXIST the target is somebody else's; -ENOENT; other errors; what could not be
 * settled has err->outcome_open.
 */
int sf_move_send(const struct sf_move *m, struct sf_err *err);

#endif
