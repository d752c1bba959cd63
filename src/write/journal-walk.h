/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef SF_WRITE_JOURNAL_WALK_H
#define SF_WRITE_JOURNAL_WALK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct sf_env;

/*
 * Internal to the journal: the records of its two environments in the order of their
 * numbers, as text, in short transactions. What is added on the way may be seen or not.
 */
#define SF_JOURNAL_PAGE 64 /* records read in one transaction */

struct sf_raw_record {
    uint64_t seq;
    char *text; /* with a NUL behind it */
    size_t len;
    bool brief; /* it lies in the one that is never synced */
    bool twice; /* that one has another of this number, which this one has replaced */
};

struct sf_journal_reader {
    struct sf_env *env;
    struct sf_raw_record rows[SF_JOURNAL_PAGE];
    unsigned n, at;
    bool more; /* there may be others behind these */
};

struct sf_journal_walk {
    struct sf_journal_reader synced, brief;
    unsigned table;
    uint64_t after;
};

void sf_journal_walk_begin(struct sf_journal_walk *w, struct sf_env *synced, struct sf_env *brief,
                           unsigned table);
void sf_journal_walk_fini(struct sf_journal_walk *w);
/* The next, until the next call; NULL = there is none. 0 or -errno. */
int sf_journal_walk_next(struct sf_journal_walk *w, const struct sf_raw_record **ret);

#endif
