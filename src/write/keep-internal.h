/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef SF_WRITE_KEEP_INTERNAL_H
#define SF_WRITE_KEEP_INTERNAL_H

#include "write/commit.h"
#include "write/keep.h"

/* Between keep.c and keep-move.c. */

struct sf_keep_ask;

/* A keep under way. The content's lock protects asks and putting; the rest is of who runs it. */
struct sf_keeping {
    struct sf_keeping_link link; /* first; room's lock */
    struct sf_content *c;        /* counted */
    struct sf_keep_ask *asks;
    struct sf_keep_ask **tail;
    bool settled; /* the journal was full, and had no drops to come */
    bool putting; /* what comes to the content from now on is not in it */
    struct sf_keep *keep;
    uint64_t seq, replaces; /* of its record, and of the one that goes with it; 0 = none */
};

/* One begins; the content had none. NULL = no memory. */
struct sf_keeping *sf_keeping_new_locked(struct sf_content *c);
/* What it was about is over; go on with what was asked for meanwhile. @rc: not 0 = the journal has
 * what it had. @queue: an upload that is to be queued, @told: who is told that another one goes in
 * its place; both may be NULL. */
void sf_keeping_end(struct sf_keeping *k, int rc, struct sf_upload *queue, struct waiter *told);
/* rec->data: all bytes, of the file. 0 or -errno. */
int sf_keep_read_inline(struct sf_record *rec, int fd);

#endif
