/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef SF_CACHE_PREDICT_H
#define SF_CACHE_PREDICT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cache/follow.h"

/*
 * Which files will be opened soon: the rest of a directory of which several small files were opened
 * in a short time (a walk), and files that were opened after this one before (cache/follow.h).
 * Pure: events go in with their times, decisions come out by callbacks, which are made before a
 * call returns. Not thread-safe.
 *
 * What is fetched ahead is at stake until it is opened. How much may be, in bytes, has to be
 * earned: what gets used earns as much again, what does not is lost, a little comes with all that
 * is opened. So a walk is soon far ahead of its reader, and a reader without a pattern pays a few
 * per cent.
 */
#define SF_PREDICT_SMALL (128u << 10)  /* files up to this are fetched in a walk */
#define SF_PREDICT_HEAD  (1024u << 10) /* of larger ones that follow, so much */

struct sf_predict_file {
    uint64_t id;      /* a hash of the name, stable */
    const char *name; /* borrowed until the callback's caller returns */
    uint64_t size;
};

/* The directory of a file that is opened. */
struct sf_predict_ops {
    /* What is known of it: so many entries; 0 = nothing yet. @version changes when they do. */
    size_t (*count)(void *arg, uint64_t *version);
    /* Where the file that is opened stands among them; count() if it does not. */
    size_t (*position)(void *arg);
    /* Entry @i of them; false = no file that could be fetched. */
    bool (*at)(void *arg, size_t i, struct sf_predict_file *ret);
    /* Fetch the first @bytes of a file, which was entry @i. 1; 0 it is here already, or cannot be
     * fetched; -EAGAIN not now (budget): the rest of the call is given up. */
    int (*fetch)(void *arg, uint64_t id, size_t i, uint64_t bytes);
};

struct sf_predict_open {
    uint64_t dir; /* a number of the directory's */
    uint64_t id, size;
    int64_t now_ms;
};

struct sf_predict_stats {
    uint64_t files, bytes;         /* fetched ahead */
    uint64_t used, used_bytes;     /* of these, opened later */
    uint64_t unused, unused_bytes; /* of these, not opened in time; some still are later */
    uint64_t at_stake;             /* bytes of what is neither yet */
    uint64_t walks;
};

struct sf_predict;

struct sf_predict_opts {
    uint64_t max_ahead; /* bytes at stake at most */
    /* What was learned of a directory has changed, now and then and before it leaves memory.
     * @whole: what was saved before is part of it; else it is to be merged into that. NULL = it is
     * forgotten. */
    void (*save)(void *arg, uint64_t dir, const struct sf_follow *learned, bool whole);
    void *arg;
};

/* 0 or -ENOMEM. */
int sf_predict_new(const struct sf_predict_opts *opts, struct sf_predict **ret);
void sf_predict_free(struct sf_predict *p); /* saves; may be NULL */

/* A file is opened for reading. For what is cached, so that sf_predict_missed() does not follow,
 * nothing is fetched, unless it was fetched ahead itself. Memory that runs out costs predictions,
 * nothing else. */
void sf_predict_opened(struct sf_predict *p, const struct sf_predict_open *open,
                       const struct sf_predict_ops *ops, void *arg);
/* A file that was opened is read, and its beginning has to be fetched. */
void sf_predict_missed(struct sf_predict *p, const struct sf_predict_open *open,
                       const struct sf_predict_ops *ops, void *arg);
/* What fetch() was asked for was here already. */
void sf_predict_was_here(struct sf_predict *p, uint64_t dir, uint64_t id);
/* What was fetched ahead did not come, or was given up by the cache before it was opened. */
void sf_predict_lost(struct sf_predict *p, uint64_t dir, uint64_t id);

/* True once for each directory, after its first miss: what was saved of it is wanted. Then
 * sf_predict_restore(), soon or late; NULL: nothing was. */
bool sf_predict_wants_learned(struct sf_predict *p, uint64_t dir);
void sf_predict_restore(struct sf_predict *p, uint64_t dir, const struct sf_follow *learned);

void sf_predict_get_stats(const struct sf_predict *p, struct sf_predict_stats *ret);

#endif
