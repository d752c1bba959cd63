/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef SF_WRITE_MOVING_H
#define SF_WRITE_MOVING_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/lock.h"

/* Internal to src/write: the directories that are being renamed just now. */

struct sf_moving {
    struct sf_moving *next;
    const char *bucket, *prefix, *to_bucket, *to_prefix; /* borrowed while it is listed */
    _Atomic uint64_t done, total;                        /* objects; total 0 = not counted */
};

/* In the writer. */
struct sf_moving_list {
    struct sf_mutex lock; /* leaf */
    struct sf_moving *first;
    _Atomic unsigned n; /* so that nobody pays for an empty list */
};

void sf_moving_init(struct sf_moving_list *l);
void sf_moving_fini(struct sf_moving_list *l);
void sf_moving_add(struct sf_moving_list *l, struct sf_moving *m);
void sf_moving_remove(struct sf_moving_list *l, struct sf_moving *m);

#endif
