/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef SF_WRITE_COMMIT_H
#define SF_WRITE_COMMIT_H

#include "write/content.h"
#include "write/put.h"
#include "write/timer.h"

/* Internal to src/write: an upload of a content from the commit to its end. */

/* Somebody who committed and wants to know. */
struct waiter {
    struct waiter *next;
    sf_commit_fn cb;
    void *arg;
    bool patient;
    bool keep; /* of a state that is kept: told when another one takes its place */
};

/* One upload of a content and everybody who waits for it. */
struct sf_upload {
    struct sf_job job;
    struct sf_content *c; /* referenced */
    char *bucket, *key;   /* whose lane it is in */
    char *mime, *mark, *xattrs, *cache_control;
    const char *const *mimes;
    uint64_t max_size;
    bool exists, exclusive, have_base;
    struct sf_version base, source;
    unsigned target_seq; /* of the target that these four speak of */
    unsigned sent_seq;   /* of the target that it is sent to */

    uint64_t gen;   /* what it sends; from when it runs; content's lock, as what follows */
    uint64_t want;  /* what it has to send at least; what is kept may be newer or older */
    bool no_rekeep; /* newer bytes than those kept could not be kept, too */
    struct waiter *waiters;
    struct waiter **tail;
    bool resting;         /* failed, and waits to be tried again: the timer is set */
    bool cancelled;       /* it is not tried any more */
    _Atomic bool dropped; /* taken out of the queue: if it does not succeed, it was refused */
    unsigned tries, deferred;
    struct sf_timer timer;
    struct sf_upload *prev, *next; /* of those that rest, or of those that run; writer's lock */
};

void sf_upload_queue(struct sf_upload *up);
/* An upload of a content, with these arguments, and not its own yet. NULL = no memory. */
struct sf_upload *sf_upload_new_locked(struct sf_content *c, const struct sf_commit_args *args);
void sf_upload_free(struct sf_upload *up);
/* Order it by the key that the content has now. 0 or -ENOMEM. */
int sf_upload_aim_locked(struct sf_upload *up);
/* Do both accompany the bytes with the same? */
bool sf_upload_says_same(const struct sf_upload *a, const struct sf_upload *b);
/**
 * sf_upload_for_keep_locked - c->keep is a new one: see to its upload.
 * @fresh: with its arguments; taken, or what is left of an older one for sf_upload_free().
 * @w:     who waits for it, taken. *told: who waited for the state that it replaces, or NULL.
 * Returns the upload that is to be queued, or NULL.
 */
struct sf_upload *sf_upload_for_keep_locked(struct sf_content *c, struct sf_upload **fresh,
                                            struct waiter *w, struct waiter **told);

/* Those hear that a later state goes in place of theirs, and are freed; NULL = nobody. */
void sf_upload_tell_replaced(struct waiter *w);

/* Let it wait. False: nothing waits any more. */
bool sf_upload_rest_locked(struct sf_upload *up);
enum sf_upload_defer { SF_UPLOAD_GO, SF_UPLOAD_ASK, SF_UPLOAD_RESTS };
/**
 * sf_upload_defer_locked - is it better not begun? While requests fail in a way that may pass, what
 * was never sent is not: the file is here alone then, is renamed and removed without a request, and
 * nobody has to be asked what became of it. What somebody waits for, or was sent before, goes on.
 * @asked: sf_upload_ask() was called.
 * Returns ASK: call that, holding nothing, and then this again; RESTS: until something was stored,
 * or its timer queues it.
 */
enum sf_upload_defer sf_upload_defer_locked(struct sf_upload *up, bool asked);
/* A short question, whose answer changes nothing: is the service there? Waits. */
void sf_upload_ask(struct sf_upload *up);
/* True: it rests no more, and the caller queues it. False: it did not, or is being queued now. */
bool sf_upload_wake_locked(struct sf_upload *up);
/* The content's, if it rests. */
void sf_upload_wake(struct sf_content *c);
/* A writer's timer: the requests of all that run are given up. */
void sf_upload_cut(struct sf_timer *t);
/* Some of those that rest, the oldest first. */
void sf_upload_wake_all(struct sf_writer *w);

#endif
