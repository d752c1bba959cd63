/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef SF_WRITE_KEEP_H
#define SF_WRITE_KEEP_H

#include "write/content.h"

/*
 * Internal to src/write: states of contents that are acknowledged before the bucket has them.
 *
 * A keep takes a snapshot and brings it to the journal: up to SF_KEEP_INLINE bytes are in the
 * record itself, of what is larger or not whole the staging file is synced first. The record has
 * all that an upload says before its request, so that the upload needs no other. One keep of a
 * content is under way at a time; those asked for meanwhile are the next one, together. The later
 * keep takes the place of one whose upload has not begun. How many files and bytes may be kept, and
 * for how long, is in room.c.
 */
struct sf_keeping;
struct sf_room;
struct sf_upload;

#define SF_KEEP_INLINE (64 * 1024)         /* bytes */
#define SF_KEEP_DATA   (64 * 1024 * 1024u) /* bytes in all records; beyond it files are synced */

/* A state that the journal has, and whose upload has not begun. */
struct sf_keep {
    struct sf_snapshot snap;  /* its stage is held for it */
    struct sf_record rec;     /* as it is in the journal, but without `data` */
    struct sf_version leaves; /* what its upload will make: size, and its ETag if that is known */
    bool inlined;             /* the record has the bytes */
    bool untried;             /* nothing that was sent under rec.op can have reached the service */
};

/* Off the lists, its record dropped if @drop, its memory freed. Any thread. */
void sf_keep_discard(struct sf_content *c, struct sf_keep *keep, bool drop);

/* Before an upload takes its bytes: is it to wait until the keep under way has ended, which queues
 * it then? *again: the upload wants newer bytes than those kept: sf_keep_again() is to be called.
 */
bool sf_keep_blocks_locked(struct sf_upload *up, bool *again);
void sf_keep_again(struct sf_content *c);

/* The bucket has what was kept: its record goes. */
void sf_keep_obsolete(struct sf_content *c);
/* The file of the state that is being kept, or NULL. */
struct sf_stage *sf_keeping_stage_locked(const struct sf_content *c);
/* The content is given up: who waits is told that nothing is left to do. */
void sf_keep_wake(struct sf_content *c);

#endif
