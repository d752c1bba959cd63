/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef SF_TREE_SAVED_H
#define SF_TREE_SAVED_H

#include "tree/internal.h"
#include "tree/saved-format.h"

#include "store/env.h"

/*
 * Listings and attributes that outlive the mount (docs/formats/listings.md). One thread reads what
 * somebody waits for and writes what has changed, some seconds later and many at once; nobody else
 * touches the disk for it, and the thread takes the tree's lock for a page at a time.
 *
 * What was saved answers for the service only while it is younger than attr_ttl and nothing was
 * changed here since. Older knowledge is taken only when the service does not answer.
 */
struct changes;

struct saved {
    struct sf_tree *tree;
    struct sf_env *env;
    unsigned table;
    uint64_t max_bytes;
    char boot[40];
    struct changes *changes; /* NULL: nothing that was saved is ever fresh */
    pthread_t thread;
    bool started;

    struct sf_mutex lock; /* leaf; protects the fields below */
    struct sf_cond wake, idle;
    struct load *first, **tail;
    int64_t due_ms;          /* when something is to be saved; INT64_MAX = nothing */
    uint64_t under_way;      /* bytes, */
    unsigned writes;         /* and writes that have them */
    uint64_t total, to_come; /* in the table, and what these add at most */
    bool stopping, flushing, failing;
};

/* How old knowledge is called whose age is not known: never fresh, and older than any other. */
#define SAVED_AGES_AGO (INT64_MIN / 4)

/* A load under way; those who wait for it. */
struct load {
    struct load *next;
    struct node *dir; /* counted */
    bool listing;     /* its names are wanted, too */
    bool any_age;     /* also when it is old */
    struct waiter *waiters;
};

/* Everything of one directory, to be put into the table. */
struct saved_dir {
    struct saved_head head; /* without sums */
    enum saved_kind kind;
    char *bucket, *prefix;
    struct sf_buf page; /* being filled */
    unsigned rows;      /* in it */
};

/* 0 or -errno: then nothing is saved. */
int saved_new(struct sf_tree *t, const struct sf_tree_opts *o, struct saved **ret);
/* The thread ends; who waits for a load is told -ECANCELED. No lock held. May be NULL. */
void saved_stop(struct saved *s);
void saved_free(struct saved *s);
/* Write all that has changed, by @deadline_ms. No lock held. */
void saved_flush(struct saved *s, int64_t deadline_ms);

/* saved-table.c. What is in the table, appended to @out. 0 or -errno. */
int saved_get(struct saved *s, const struct saved_id *id, uint32_t page, struct sf_buf *out);
/* Put a directory into the table, some time later. @n is counted; the tree is locked, also
 * afterwards, and not in between. */
void saved_save_locked(struct saved *s, struct sf_tree *t, struct node *n);
/* Bytes of all that is in the table. */
uint64_t saved_total(struct saved *s);
/* Is a record of this boot and of these defaults, and was nothing changed here since? */
bool saved_is_current(struct saved *s, const char *bucket, const char *prefix,
                      const struct saved_head *h);
/* saved-load.c. No lock held. */
void saved_load(struct saved *s, struct sf_tree *t, struct load *l);
/* At the start, without service: the project or the bucket as it was known. 0 or -ENOENT. */
int saved_load_root(struct saved *s, struct sf_tree *t);
bool saved_knows_root(struct saved *s, struct sf_tree *t);

/* saved-take.c. Bucket and prefix of a directory, for free(). 0, -ESTALE, -ENOMEM. */
int saved_name_locked(const struct sf_tree *t, const struct node *n, enum saved_kind *kind,
                      char **bucket, char **prefix);
/* What is known of a directory; pages are given to @page (no lock held; takes the buffer's content)
 * as they fill. 1, 0 there is nothing to be saved, or -errno. The tree is locked, also afterwards,
 * and not in between. */
typedef int (*saved_page_fn)(void *arg, struct sf_buf *page, unsigned rows);
int saved_take_locked(struct sf_tree *t, struct node *n, struct saved_dir *d, saved_page_fn page,
                      void *arg);
void saved_dir_fini(struct saved_dir *d);
/* The one row of a bucket that is the mount's root. */
void saved_take_bucket_locked(const struct node *root, struct saved_row *row, struct sf_buf *mimes);

#endif
