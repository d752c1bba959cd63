/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef SF_WRITE_KEPT_H
#define SF_WRITE_KEPT_H

#include <stdatomic.h>
#include <stdbool.h>

#include "supabase/storage.h"
#include "write/record.h"

struct sf_content;
struct sf_put;
struct sf_snapshot;
struct sf_writer;

/*
 * Internal to src/write: what the journal keeps of a content. A record is written before the first
 * request of an upload, and is gone after the last; in between a start can go on with it. When an
 * upload fails and nobody has refused the bytes, file and record are synced, and stay.
 */
struct sf_kept {
    struct sf_record rec;      /* of the worker that runs an upload, or of the only owner */
    uint64_t gen;              /* the content's, of which it speaks */
    char *old_file;            /* in staging/, which the record in the journal may still name */
    _Atomic uint64_t seq;      /* the record's; 0 = the journal has none */
    _Atomic uint64_t next_seq; /* of the content's `keep`; 0 = there is none */
    _Atomic bool durable;      /* record and bytes last, also over a power loss */
    bool inlined;              /* the record in the journal has the bytes */
    bool held;                 /* the upload's file is counted as held for it */
    bool untried;              /* nothing sent under rec.op can have reached the service */
    struct sf_progress progress;
};

struct sf_keep;
/* An upload of a state begins that the journal has: its record is the upload's; seq and durable are
 * set. Takes @keep, but not its snapshot. @refused: the record of a state before; 0 = none. */
void sf_kept_take(struct sf_content *c, struct sf_keep *keep, uint64_t refused);
/* Write the record, with the bytes of @fd if @inlined; waits. As sf_journal_put(). */
int sf_kept_put(struct sf_writer *w, struct sf_record *rec, bool inlined, int fd);
/* Whether the journal has a state of it that is to be sent. */
bool sf_content_has_record_locked(const struct sf_content *c);
/* The number of its record, of the one whose upload runs if there are two; 0 = none. No lock. */
uint64_t sf_kept_seq(const struct sf_content *c);
/* What is waiting to be sent; returns what was before. Both are owned; NULL = nothing. */
struct sf_keep *sf_keep_swap_locked(struct sf_content *c, struct sf_keep *keep);
/* The state that was committed or kept last. */
uint64_t sf_content_asked_gen_locked(const struct sf_content *c);
/* Before an upload of @snap: fills put->rec, and says what is known of an earlier attempt. */
void sf_kept_begin(struct sf_content *c, const struct sf_snapshot *snap, struct sf_put *put);
/* After it, before the snapshot is given back. @err: NULL = it succeeded. */
void sf_kept_end(struct sf_content *c, const struct sf_snapshot *snap, const struct sf_put *put,
                 const struct sf_err *err);
/* Nobody wants these bytes in the bucket any more. Any thread; does not wait. */
void sf_kept_drop(struct sf_content *c);
/* With the content: the file stays if the journal names it. */
void sf_kept_fini(struct sf_content *c);

/**
 * sf_replay_start - what the journal has of an earlier process becomes changes again: contents are
 * made of their files and queued, before anything new. Files that no record names go to quarantine.
 * Returns 0 or what is wrong with the directories.
 */
int sf_replay_start(struct sf_writer *w, struct sf_err *err);
/* A rename of that start has come to its end: what was to be sent to its new name before it
 * (@seq: its record) is replaced by it, and given up, or is sent. Any worker. */
void sf_replay_renamed(struct sf_writer *w, const char *bucket, const char *key, uint64_t seq,
                       bool replaced);
/* What such a rename did not come to is given back; the journal keeps it. No job runs any more. */
void sf_replay_end(struct sf_writer *w);
/* Whether a record names this file of staging/; only during the start. */
bool sf_replay_has_file(struct sf_writer *w, const char *file);

#endif
