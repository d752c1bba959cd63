/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef SF_WRITE_CHANGE_H
#define SF_WRITE_CHANGE_H

#include "write/writer.h"

/* Internal to src/write: a change of names on its way; the callback of the header at its end. */
struct sf_change {
    struct sf_job job;
    struct sf_writer *w;
    char *bucket, *key;
    char *to_bucket, *to_key; /* of a rename, else NULL */
    bool replace;
    /* The work, on a worker: 0 or the error, in @err too. */
    int (*fn)(struct sf_change *ch, int64_t deadline_ms, struct sf_err *err);
    sf_write_fn cb;
    void *arg;
};

/* Copy @template and queue it, ordered by its keys. */
void sf_change_queue(const struct sf_change *template);

/* Delete an object on this thread; a lost reply is settled. 0; -ENOENT; other errors. */
int sf_change_delete(struct sf_writer *w, const char *bucket, const char *key, int64_t deadline_ms,
                     struct sf_err *err);

/* Forget an error that turned out to be none. Returns 0. */
int sf_change_settled(struct sf_err *err, const char *what, const char *bucket, const char *key);

int sf_rename_run(struct sf_change *ch, int64_t deadline_ms, struct sf_err *err);

#endif
