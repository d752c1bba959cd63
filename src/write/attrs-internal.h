/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef SF_WRITE_ATTRS_INTERNAL_H
#define SF_WRITE_ATTRS_INTERNAL_H

#include "write/attrs.h"

/* What attrs.c (who asks), attrs-entry.c (table, records, queue) and attrs-job.c (the worker)
 * share.
 */

/* Somebody who waits for several entries. */
struct sf_attrs_flush {
    unsigned left;
    struct sf_err err; /* the first */
    sf_write_fn cb;
    void *arg;
};

/* Who waits for something of an entry; one of the three is set. */
struct sf_attrs_told {
    struct sf_attrs_told *next;
    sf_write_fn kept;
    sf_attrs_settled_fn settled;
    struct sf_attrs_flush *flush;
    void *arg;
};

struct sf_attrs_list {
    struct sf_attrs_entry *first, *last;
    unsigned n;
};

struct sf_attrs {
    struct sf_writer *w; /* constant */

    struct sf_mutex lock; /* order 67; protects the fields below and all entries */
    struct sf_cond put;   /* an entry's `putting` ended, or `queueing` is 0 again */
    struct sf_attrs_entry *table;
    struct sf_attrs_list waiting; /* those that wait, in the order in which they are due */
    struct sf_attrs_list local, busy;
    bool stopping;
    unsigned queueing; /* who is about to queue entries that have begun */
    struct sf_timer timer;
};

/* ---- attrs.c --------------------------------------------------------------------------------- */

/* Mark of somebody else's version, whose own mark is @theirs: its times and number are kept, what
 * was set here is set. */
struct sf_mark sf_attrs_for_another(const struct sf_mark *ours, const struct sf_mark *theirs);
/* Is what has the name now another file than the one that was meant? @mark: what it says. */
bool sf_attrs_is_replaced(const struct sf_attrs_entry *e, const struct sf_version *is,
                          const struct sf_mark *mark);

/* ---- attrs-entry.c --------------------------------------------------------------------------- */

struct sf_attrs_entry *sf_attrs_entry_new(struct sf_writer *w, const char *bucket, const char *key);
void sf_attrs_entry_free(struct sf_attrs_entry *e);
/* Another key; it is in no table. 0 or -ENOMEM. */
int sf_attrs_entry_name(struct sf_attrs_entry *e, const char *bucket, const char *key);
struct sf_attrs_entry *sf_attrs_find_locked(const struct sf_attrs *a, const char *bucket,
                                            const char *key);
/* Into the table, and the list of its state. 0 or -ENOMEM. */
int sf_attrs_add_locked(struct sf_attrs *a, struct sf_attrs_entry *e);
void sf_attrs_remove_locked(struct sf_attrs *a, struct sf_attrs_entry *e);
void sf_attrs_set_state_locked(struct sf_attrs *a, struct sf_attrs_entry *e,
                               enum sf_attrs_state state);
void sf_attrs_list_remove_locked(struct sf_attrs_list *l, struct sf_attrs_entry *e);
/* Out of the table, for a worker that holds the key's lane or an upload. */
void sf_attrs_grab_locked(struct sf_attrs *a, struct sf_attrs_entry *e);
/* Is it an entry of this key (NULL for both = any), or of one below this prefix? */
bool sf_attrs_matches(const struct sf_attrs_entry *e, const char *bucket, const char *key);
/* @to, of the same key and younger, takes over what @e has, but nothing of another file's; their
 * records become one. */
int sf_attrs_merge_locked(struct sf_attrs_entry *to, struct sf_attrs_entry *e);

void sf_attrs_told_add(struct sf_attrs_told **list, struct sf_attrs_told *t);
/* Tell all of a list and free it; no lock held. */
void sf_attrs_tell(struct sf_attrs *a, struct sf_attrs_told *t, const struct sf_err *err,
                   const struct sf_version *now);
/* One of those that @f waits for has ended. */
void sf_attrs_flush_one(struct sf_attrs *a, struct sf_attrs_flush *f, const struct sf_err *err);

/* A record on its way to the journal: taken under the lock (NULL: nothing to write, or one is on
 * its way), started without it; it frees @r. */
struct sf_attrs_put;
int sf_attrs_record_of(const struct sf_attrs_entry *e, enum sf_record_state state,
                       struct sf_record *r);
struct sf_attrs_put *sf_attrs_put_new_locked(struct sf_attrs_entry *e, struct sf_record *r);
void sf_attrs_put_start(struct sf_attrs_put *p, struct sf_record *r);
/* Records that the entry's own has made superfluous. No lock held. */
void sf_attrs_drop_older(struct sf_attrs_entry *e);

/* Begin those that match and are due by @due_ms; *ready is for sf_attrs_queue_all(). */
void sf_attrs_begin_all_locked(struct sf_attrs *a, const char *bucket, const char *key,
                               int64_t due_ms, struct sf_job **ready);
/* Queue those of @first, linked by job.next, for which `queueing` was raised once; NULL = none. */
void sf_attrs_queue_all(struct sf_attrs *a, struct sf_job *first);
/* When the timer has to run next (0 = not), and let it. */
int64_t sf_attrs_next_due_locked(const struct sf_attrs *a);
void sf_attrs_arm(struct sf_attrs *a, int64_t due_ms);
void sf_attrs_on_timer(struct sf_timer *t);

/* ---- attrs-job.c ----------------------------------------------------------------------------- */

void sf_attrs_job(struct sf_job *job, const struct sf_err *refused);
/* Wait until what joined the busy entry last is on disk. On a worker. */
void sf_attrs_complete_record(struct sf_attrs_entry *e);
/* No longer busy: it waits again, or is local, or joins one that came after. Who flushed is told
 * @why, NULL = it is as it should be. */
void sf_attrs_come_back(struct sf_attrs_entry *e, enum sf_attrs_state state,
                        const struct sf_err *why);
/* The object is not there any more: it is over, whatever was on its way to the journal. */
void sf_attrs_end(struct sf_attrs_entry *e);
/* It is over: @now has the attributes, or @err, the object is gone. */
void sf_attrs_settle(struct sf_attrs_entry *e, const struct sf_err *err,
                     const struct sf_version *now);

#endif
