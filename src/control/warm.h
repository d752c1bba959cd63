/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef SF_CONTROL_WARM_H
#define SF_CONTROL_WARM_H

#include <limits.h>

#include "tree/files.h"

/*
 * Internal to src/control: reading files so that they are in the cache, several at once. One
 * thread uses it.
 */
struct sf_warm;

struct sf_warm_totals {
    uint64_t files, bytes;       /* read to their ends */
    uint64_t failed;             /* files */
    char trouble[PATH_MAX + 80]; /* the last of these, with its path */
};

int sf_warm_new(struct sf_tree *t, struct sf_warm **ret);
/* Begin a file; waits while many are being read. 0 or -ENOMEM. */
int sf_warm_file(struct sf_warm *w, const struct sf_files_one *f);
/* Begin no more, let those under way end after the piece that they read. */
void sf_warm_cancel(struct sf_warm *w);
void sf_warm_totals(struct sf_warm *w, struct sf_warm_totals *out);
/* Wait until all have ended, but not beyond @deadline_ms: 0 or -ETIMEDOUT. */
int sf_warm_wait(struct sf_warm *w, int64_t deadline_ms);
/* Waits for what is under way. May be NULL. */
void sf_warm_free(struct sf_warm *w);

#endif
