/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef SF_WRITE_ATTRS_H
#define SF_WRITE_ATTRS_H

#include "base/htab.h"
#include "base/vec.h"
#include "write/mark.h"
#include "write/record.h"
#include "write/writer.h"

/*
 * Internal to src/write: changes of attributes of objects whose bytes stay.
 *
 * One entry per key holds what was asked for and is not in the bucket yet, and its record in the
 * journal. Whatever is asked for the same key within SF_ATTRS_MERGE_MS joins it. Then it takes the
 * key's lane in the queue, and a worker writes it (attrs-run.c). From there on changes of the key
 * make another entry. What fails comes back: to be tried again, or `local` for the next upload.
 */
#define SF_ATTRS_MERGE_MS 1000

struct sf_attrs;
struct sf_put;

enum sf_attrs_state {
    SF_ATTRS_WAITING, /* in the table: until due_ms, or until its record is written */
    SF_ATTRS_LOCAL,   /* in the table: cannot be written; goes with the next upload */
    SF_ATTRS_BUSY,    /* in the list: has its job in the queue, or an upload carries it */
};

struct sf_attrs_told; /* who is to be told */
SF_VEC_DEFINE(seqs, uint64_t);

struct sf_attrs_entry {
    struct sf_job job;
    UT_hash_handle hh;
    struct sf_attrs_entry *prev, *next; /* of the list of its state */
    struct sf_writer *w;
    char *name; /* bucket, NUL, key */
    size_t name_len;
    const char *bucket, *key;
    enum sf_attrs_state state, before; /* before an upload took it */
    bool running;                      /* busy, and its name stays what it is */
    bool moved;                        /* busy in the lane of another name than it has now */
    bool gone;                         /* busy, and its object is not there any more */
    int64_t due_ms;
    unsigned attempts;
    int err; /* of the last failure */
    char *reason;

    struct sf_version seen; /* what the change is meant for; unknown = whatever is there */
    struct sf_mark mark;    /* whole */
    char *xattrs;           /* changes; NULL = none */
    char *mime;             /* to be set; "" = a guess; NULL = as it is */
    char *cache_control;    /* of others, to be set; "" = none; NULL = as it is */
    char op[SF_OP_LEN + 1]; /* of a copy that may be done; "" = none */

    uint64_t seq;      /* of its record */
    struct seqs older; /* records to be dropped once that has all of what they have */
    bool recorded;     /* that is on disk: it may be written */
    bool putting;      /* a newer form of the record is on its way there */
    bool stale;        /* something joined since */
    bool hurry;        /* somebody wants it in the queue as soon as it may go there */
    struct sf_attrs_told *kept, *settled, *flushes;
};

/* 0 or -ENOMEM. */
int sf_attrs_new(struct sf_writer *w, struct sf_attrs **ret);
/* From now on nothing is taken any more. */
void sf_attrs_stop(struct sf_attrs *a);
/* Stopped, nothing is queued or under way, and the journal is closed. Who waits is told -ECANCELED;
 * records stay. May be NULL. */
void sf_attrs_free(struct sf_attrs *a);

/**
 * sf_attrs_push - what is pending for a key, or for all keys below a prefix that ends in '/' ("" =
 * all of the bucket), takes its place in the queue now: before a change of the name is queued.
 */
void sf_attrs_push(struct sf_writer *w, const char *bucket, const char *key);

/**
 * sf_attrs_take - what is pending for a key goes with an upload. On a worker that holds the key's
 * lane. Returns NULL when there is nothing; else the caller's to read until sf_attrs_give_back().
 */
struct sf_attrs_entry *sf_attrs_take(struct sf_writer *w, const char *bucket, const char *key);
/* @now: the version that carries them; NULL = it failed, and they are pending as before. */
void sf_attrs_give_back(struct sf_attrs_entry *e, const struct sf_version *now);

/* The same around sf_put_run(): what is pending is put into @put, in front of its own changes of
 * xattrs, with the newer of the two marks, and type and Cache-Control of who has that, until the
 * end. With attrs=none only these two go along. What is pending for another file, which
 * this one replaces under its name, is not: it is gone when the upload is done. */
struct sf_attrs_carry {
    struct sf_attrs_entry *e;
    bool another; /* file's */
    char mark[SF_MARK_SIZE];
    char *xattrs;
    const char *own_mark, *own_xattrs, *own_mime, *own_cache_control;
};
void sf_attrs_carry_begin(struct sf_writer *w, struct sf_put *put, struct sf_attrs_carry *c);
void sf_attrs_carry_end(struct sf_attrs_carry *c, struct sf_put *put, bool done);
/* Whether mark @a was set after @b, both by this mount. */
bool sf_attrs_is_newer(const struct sf_mark *a, const struct sf_mark *b);

/* The server moved an object, or all below a prefix: what is local goes along, and what was pending
 * for the new name is gone. On a worker that has both lanes; the journal has it when this returns,
 * so that a start puts nothing on what has the names then. */
void sf_attrs_moved(struct sf_writer *w, const char *bucket, const char *key, const char *to_bucket,
                    const char *to_key);
/* It is gone, and with it what was pending. On a worker that has its lane. Returns whether there
 * was anything: then its record goes with sf_journal_settle(), or a while later. */
bool sf_attrs_gone(struct sf_writer *w, const char *bucket, const char *key);

/* A record of the journal, at the start; @r is taken. 0 or -ENOMEM. None is written before
 * sf_attrs_replayed(): a rename that stands behind it in the journal goes first, and tells what
 * became of the object. */
int sf_replay_attrs(struct sf_writer *w, struct sf_record *r);
void sf_attrs_replayed(struct sf_writer *w);

/* Try now what waits after a failure, and what is local: the entry whose record is @seq, or all
 * (0). Returns how many these are. */
unsigned sf_attrs_retry(struct sf_writer *w, uint64_t seq);
/* Call @fn with every entry, the lock held: it only looks. */
void sf_attrs_each(struct sf_attrs *a, void (*fn)(void *arg, const struct sf_attrs_entry *e),
                   void *arg);

struct sf_attrs_stats {
    unsigned pending, local;
};
void sf_attrs_get_stats(struct sf_attrs *a, struct sf_attrs_stats *out);

/* ---- attrs-run.c ------------------------------------------------------------------------------
 */

/**
 * sf_attrs_write - write one entry, on a worker that holds its lane.
 * @now: the version that has it.
 * Returns 0; -ENOENT the object is gone; 1 it cannot be written (@err says why) and stays local; or
 * the error after which it is to be tried again.
 */
int sf_attrs_write(struct sf_attrs_entry *e, int64_t deadline_ms, struct sf_version *now,
                   struct sf_err *err);
/* The entry's record in the journal as it is now; waits. 0 or -errno. */
int sf_attrs_record(struct sf_attrs_entry *e, enum sf_record_state state);

#endif
