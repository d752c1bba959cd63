/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef SF_WRITE_JOURNAL_INTERNAL_H
#define SF_WRITE_JOURNAL_INTERNAL_H

#include "base/htab.h"
#include "base/lock.h"
#include "store/env.h"
#include "write/journal.h"

/* What journal.c (figures and changes) and journal-open.c (the start and reading) share. */

enum { SF_JOURNAL_RECORDS, SF_JOURNAL_META, SF_JOURNAL_TABLES };
#define SF_JOURNAL_NEXT "next" /* key of the table of meta */

/* A record that is on disk, for the figures. */
struct sf_journal_entry {
    uint64_t seq;
    enum sf_record_kind kind;
    int64_t made_ns;
    uint64_t data; /* bytes of content in it */
    bool brief;
    bool done; /* its drop waits for the next transaction: not counted */
    UT_hash_handle hh;
};

struct sf_journal {
    struct sf_env *env;
    struct sf_env *brief; /* never synced: records of contents that count only in this boot */
    _Atomic unsigned pending, brief_pending; /* changes on their way to each of the two */
    char *dir, *brief_dir, *quarantine;
    _Atomic uint64_t next; /* seq of the next new record */

    struct sf_mutex lock; /* leaf; protects the fields below */
    struct sf_journal_entry *entries;
    unsigned records[SF_RECORD_KINDS];
    unsigned damaged;
    uint64_t data; /* of all entries */
};

/* It is on disk. Without memory a figure is too small. */
void sf_journal_remember(struct sf_journal *j, const struct sf_journal_entry *what);
/* The record that is never synced goes: the other one of its number has taken its place. Waits. */
void sf_journal_drop_brief(struct sf_journal *j, uint64_t seq);

#endif
