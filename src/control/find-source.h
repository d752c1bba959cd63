/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef SF_CONTROL_FIND_SOURCE_H
#define SF_CONTROL_FIND_SOURCE_H

#include "base/vec.h"
#include "control/find-match.h"
#include "tables/tables.h"
#include "virtual/talk.h"

/*
 * Internal to src/control: where `supafs find` has its objects from, in the order of their keys.
 * The project's database while that answers; else listings without a delimiter, which tell all
 * objects. Since the order is the same, one takes over where the other failed. All calls wait, and
 * are ended by the end of the talk (-ECANCELED).
 */

SF_VEC_DEFINE(text_vec, char *); /* of strings on the heap */
void text_vec_free(struct text_vec *v);

struct find_from {
    struct sf_storage *st;
    struct sf_tables *tables;
    struct sf_talk *talk;
    int64_t timeout_ms; /* of a request */
    bool ask_tables;    /* the database; no more once it has failed */
    char trouble[240];  /* then why; "" = it was not asked */
};

/* The objects of a bucket whose keys begin so. Zeroed but for the first four is a start. */
struct find_source {
    struct find_from *from;
    const struct sf_find_want *want;
    const char *bucket, *prefix;
    bool exact; /* the one object whose key is the prefix */

    bool end;
    char *after;   /* NULL = nothing was told yet */
    bool verified; /* token and bucket are good */
    bool by_name;  /* these objects alone are asked for, in this order */
    struct text_vec names;
    size_t next;
};
void find_source_fini(struct find_source *s);

/* Some rows; also none, before the end. */
struct find_page {
    struct sf_found *rows;
    size_t n;
    bool complete; /* they tell all that is known: facts, and whether they are prefixes */
    bool prefixes; /* they tell whether they are prefixes */
    json_t *answer;
    char *text;
};
void find_page_fini(struct find_page *p);

/* @limit: rows that are wanted at most; 0 = as many as there are. 0, or -errno with a sentence. */
int find_source_next(struct find_source *s, uint64_t limit, struct find_page *page,
                     struct sf_err *err);

/* The ids of the project's buckets in the order of their bytes. 0, or -errno with a sentence. */
int find_buckets(const struct find_from *from, struct text_vec *ids, struct sf_err *err);

#endif
