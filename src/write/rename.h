/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef SF_WRITE_RENAME_H
#define SF_WRITE_RENAME_H

#include "write/moving.h"
#include "write/record.h"
#include "write/writer.h"

/* Internal to src/write: renames on their way, of one object and of a directory. */

struct sf_rename {
    struct sf_job job;
    struct sf_writer *w;
    struct sf_rename_args args; /* strings are its own */
    /* The work, on a worker: 0 and *now, or the error, in @err too. */
    int (*fn)(struct sf_rename *rn, struct sf_version *now, struct sf_err *err);
    sf_rename_fn cb;
    void *arg;
    struct sf_record rec;    /* what the journal has; seq 0 = nothing. Names are borrowed from the
                                arguments; cache_control and mime, of a move, are its own */
    struct sf_moving moving; /* of a directory; listed until the callback has run, and longer while
                                it is half done */

    /* Of one that rests. What is to be found out or done then, as fn; it says with `arrived`
     * whether the object has the new name. */
    int (*settle)(struct sf_rename *rn, struct sf_version *now, struct sf_err *err);
    bool arrived;
    struct sf_rename *prev, *next; /* of the writer's list; its lock */
    struct sf_timer timer;
    struct sf_place *place; /* its lanes */
    unsigned tries;
    struct sf_err why;
};

void sf_rename_free(struct sf_rename *rn);

/**
 * sf_rename_rest - its callback has run, and its record is still there: keep the lanes, and settle
 * it later, again and again until the service tells or the writer ends.
 * Only from run(). True: it is not the caller's any more.
 */
bool sf_rename_rest(struct sf_rename *rn, const struct sf_err *why);
/* Those that rest are tried now: the one of this record, or all (0). Returns how many. */
unsigned sf_renames_wake(struct sf_writer *w, uint64_t seq);
/* Somebody waits for a lane, perhaps for theirs: soon. */
void sf_renames_hurry(struct sf_writer *w);
/* Those that rest; @fn runs under the writer's lock. */
void sf_renames_each(struct sf_writer *w, void (*fn)(void *arg, const struct sf_rename *rn),
                     void *arg);

/* A directory's objects have two names from now on: list it until the callback has run. */
void sf_rename_show(struct sf_rename *rn);

/* The journal has this from now on: before the request that it speaks of. 0 or the error. */
int sf_rename_note(struct sf_rename *rn, enum sf_record_state state, struct sf_err *err);
/* What came of it is known (@rc 0 or @err), or not: then the record stays. @rc without @err:
 * nothing was done. When it has `arrived`, attributes go along (sf_attrs_moved()) before that. */
void sf_rename_settle(struct sf_rename *rn, int rc, const struct sf_err *err);

/* Queue it, ordered by both names. Without memory @cb hears of it at once. */
void sf_rename_queue(struct sf_writer *w, const struct sf_rename_args *args,
                     int (*fn)(struct sf_rename *, struct sf_version *, struct sf_err *),
                     int (*settle)(struct sf_rename *, struct sf_version *, struct sf_err *),
                     sf_rename_fn cb, void *arg);

/* A record of the last daemon: bring it to its end with @fn. Takes strings out of it. 0 or
 * -ENOMEM. */
int sf_rename_again(struct sf_writer *w, struct sf_record *r,
                    int (*fn)(struct sf_rename *, struct sf_version *, struct sf_err *));
int sf_replay_rename(struct sf_writer *w, struct sf_record *r);
int sf_replay_rename_dir(struct sf_writer *w, struct sf_record *r);

/* May an object of this size and type go to the target's bucket? 0, -EFBIG, -EPERM. */
int sf_rename_allowed(const struct sf_rename_args *args, const char *key, uint64_t size,
                      const char *mime, struct sf_err *err);

/* One object and its two names; strings are borrowed. */
struct sf_move {
    struct sf_writer *w;
    const char *bucket, *key, *to_bucket, *to_key;
    bool replace;             /* a copy may go over what is there */
    struct sf_version source; /* what is moved; its id settles a lost reply */
    int64_t deadline_ms;
    int64_t began_ms;
};

/**
 * sf_move_send - move on the service; a lost reply is settled by looking at both names.
 * Returns 0; -EEXIST the target is somebody else's; -ENOENT; other errors; what could not be
 * settled has err->outcome_open.
 */
int sf_move_send(const struct sf_move *m, struct sf_err *err);

/* After a move: what the source's row said (Cache-Control and type), where the function
 * supafs_set_attrs may have put it there alone. */
void sf_move_keep_row(const struct sf_move *m, const char *cache_control, const char *mime);
/* After a move or copy (@rc), and sf_sources_hold() before it: contents that begin with the object
 * find it again. @now: NULL = as it was. */
void sf_move_told(const struct sf_move *m, int rc, const struct sf_version *now);

#endif
