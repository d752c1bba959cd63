/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef SF_WRITE_WRITER_H
#define SF_WRITE_WRITER_H

#include <stdatomic.h>

#include "base/lock.h"
#include "supabase/storage.h"
#include "write/known.h"
#include "write/moving.h"
#include "write/queue.h"
#include "write/timer.h"
#include "write/write.h"

/* Internal to src/write: what all its files share. */

struct sf_attrs;
struct sf_cache;
struct sf_deletes;
struct sf_journal;
struct sf_base;
struct sf_get;
struct sf_hold;
struct sf_pool;
struct sf_rename;
struct sf_room;
struct sf_replayed;
struct sf_tables;
struct sf_upload;

/* The marker of an empty directory, as Supabase Studio writes it; the service keeps it empty. */
#define SF_PLACEHOLDER ".emptyFolderPlaceholder"

#define SF_CONTENT_NAMES 1024 /* lists of contents by name */

struct sf_writer {
    struct sf_storage *st;    /* borrowed, as is the next */
    struct sf_cache *cache;   /* NULL = none */
    struct sf_tables *tables; /* likewise */
    struct sf_queue *queue;
    struct sf_timers *timers;
    struct sf_known *known;
    struct sf_journal *journal;
    struct sf_attrs *attrs;
    char *staging, *quarantine; /* directories */
    struct sf_pool *fetchers;   /* threads that fetch missing bytes */
    struct sf_pool *hashers;    /* threads that take digests behind writers */
    struct sf_pool *keepers;    /* and those that sync files */
    struct sf_room *room;
    int64_t timeout_ms, retry_ms;
    uint64_t keep_open_max;
    uint64_t attr_copy_max; /* bytes */

    /* Bytes, 0 = unknown: of one request and of one object, told and learned from a 413. */
    _Atomic uint64_t standard_limit, learned_standard, global_limit, learned_limit;
    /* The last request for an upload failed in a way that may pass; and when somebody may ask again
     * whether the service is there, see sf_upload_defer_locked(). */
    _Atomic bool troubled;
    _Atomic int64_t ask_ms;
    _Atomic uint64_t bytes_per_s;    /* that the link sends; 0 = not measured yet */
    _Atomic bool rpc_seen;           /* the project has supafs_set_attrs */
    _Atomic int64_t no_rpc_until_ms; /* and here it had not */
    bool plain;                      /* objects carry nothing of ours */
    _Atomic uint64_t uploads, upload_bytes, failures, quarantined;
    _Atomic uint64_t kept;
    _Atomic uint64_t staged_files, staged_bytes;
    _Atomic unsigned contents; /* alive */
    _Atomic uint64_t removals_refused;

    struct sf_deletes *deletes;
    struct sf_moving_list moving; /* directories that are being renamed */

    struct sf_mutex lock;   /* order 68; protects the fields below */
    struct sf_cond stopped; /* stopping was set */
    bool stopping;
    char last_failure[600];           /* of an upload */
    int64_t drain_ms;                 /* jobs end by this; INT64_MAX = not draining */
    struct sf_base *bases;            /* what contents begin with */
    struct sf_cond bases_changed;     /* some of them may be asked for again */
    struct sf_hold *holds;            /* objects whose name is being changed */
    struct sf_get *gets;              /* under way */
    bool gave_up;                     /* no upload waits to be tried again */
    struct sf_replayed *replayed;     /* contents of the journal that are on their way */
    struct sf_replayed *renamed_over; /* those that a rename in the journal may have replaced */
    bool replay_sent;                 /* the start has begun to send them all */
    struct sf_upload *running;        /* uploads that do */
    struct sf_timer cut;              /* at drain_ms: what they wait for is cancelled */
    struct sf_upload *resting;        /* those that do, oldest first */
    struct sf_content *alive;         /* all contents */
    struct sf_content *names[SF_CONTENT_NAMES]; /* the same, by what their names hash to */
    struct sf_rename *renames;                  /* that rest */
};

/* The deadline of a change of @bytes that begins now: timeout_ms, and time to send the bytes. */
int64_t sf_writer_deadline(struct sf_writer *w, uint64_t bytes);

/* The same deadline, or when all has to end if that is sooner. */
int64_t sf_writer_cut(struct sf_writer *w, int64_t deadline_ms);

/* When a request that changes something is to be given up: early enough to settle it afterwards. */
int64_t sf_writer_try_until(const struct sf_writer *w, int64_t deadline_ms);

/**
 * sf_writer_pause - wait before the @attempt-th repetition (from 1): longer each time, with jitter.
 * Returns false when nothing is to be repeated: stopping, the deadline is near, enough attempts.
 */
bool sf_writer_pause(struct sf_writer *w, unsigned attempt, int64_t deadline_ms);

/* Whether sf_writer_free() wants all work to end. */
bool sf_writer_stopping(struct sf_writer *w);

/* A 413 for @size bytes in one request, or by a resumable upload: lower the learned limit of one
 * request or of one object. False: the bucket's own limit explains it, or the key does. */
bool sf_writer_learn(struct sf_writer *w, const char *bucket, const char *key, uint64_t size,
                     bool resumable, int64_t deadline_ms);

#define sf_autoobject sf_defer(sf_object_fini)

#endif
