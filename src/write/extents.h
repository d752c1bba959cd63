/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef SF_WRITE_EXTENTS_H
#define SF_WRITE_EXTENTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * Internal to src/write: which ranges of a file are there. Sorted; no two of them touch. Zeroed =
 * none. Not thread-safe. A function that fails leaves the set as it was.
 */
struct sf_extent {
    uint64_t off, end; /* bytes; off < end */
};

struct sf_extents {
    struct sf_extent *v;
    size_t n, cap;
};

void sf_extents_fini(struct sf_extents *e);
/* Room for one more, so that the next sf_extents_add() cannot fail. 0 or -ENOMEM. */
int sf_extents_reserve(struct sf_extents *e);
/* Add what is between @off and @end; nothing when they are equal. 0 or -ENOMEM. */
int sf_extents_add(struct sf_extents *e, uint64_t off, uint64_t end);
/* Forget what lies at @size and beyond. */
void sf_extents_cut(struct sf_extents *e, uint64_t size);
/* An independent copy; @to is empty. 0 or -ENOMEM. */
int sf_extents_copy(struct sf_extents *to, const struct sf_extents *from);
/* Take over a list from outside: -EINVAL unless it is as described above. @to is empty. */
int sf_extents_set(struct sf_extents *to, const struct sf_extent *v, size_t n);

/* The first gap at or after @off and before @end. False: there is none. */
bool sf_extents_gap(const struct sf_extents *e, uint64_t off, uint64_t end, struct sf_extent *gap);
/* How many bytes below @size are missing. */
uint64_t sf_extents_missing(const struct sf_extents *e, uint64_t size);
/* Where @count neighbours lie closest together: from the first's start to the last's end. There
 * are at least so many, and @count > 0. */
struct sf_extent sf_extents_densest(const struct sf_extents *e, size_t count);

#endif
