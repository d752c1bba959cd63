/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef SF_WRITE_CONTENT_H
#define SF_WRITE_CONTENT_H

#include "base/lock.h"
#include "write/hashing.h"
#include "write/kept.h"
#include "write/room.h"
#include "write/source.h"
#include "write/stage.h"
#include "write/writer.h"

/* Internal to src/write: what uploads, fetches and the journal need of a content. */

struct sf_fetch;
struct sf_keep;
struct sf_keep_ask;
struct sf_keeping;
struct sf_upload;

struct sf_content {
    _Atomic unsigned refs;
    struct sf_writer *w;
    _Atomic uint64_t size;      /* bytes; changed under io */
    _Atomic uint64_t gen;       /* counts changes; changed under io */
    _Atomic uint64_t clean_gen; /* the bucket has this one, or nobody wants it */
    _Atomic bool abandoned;
    _Atomic bool target_stale; /* the file does not name the present target yet */
    _Atomic bool seen;         /* bytes of its source were given out */

    /* order 62; whoever changes the local file holds it meanwhile: the one lock held over I/O, of
     * the local disk. stage changes only under both this and `lock`. */
    struct sf_mutex io;
    bool frozen;    /* somebody needs the file as it is: clone it before a change */
    bool as_source; /* nothing was changed since it began with an object's bytes */
    bool appended;  /* and since then only appended to */
    struct sf_hashing hashing;

    struct sf_mutex lock; /* order 64; protects the fields below */
    struct sf_stage *stage;
    struct sf_stage *sent;    /* what an upload reads; counted; NULL = none */
    struct sf_base *base;     /* what missing bytes come from; once set it stays; NULL = none */
    struct sf_fetch *fetches; /* pieces under way */
    bool joining;             /* gaps between small extents are being fetched */
    char *bucket, *key;
    bool exists;      /* an object of this key was put there by us */
    bool renamed;     /* and not uploaded since */
    bool have_stored; /* an upload of ours succeeded, to the target of stored_seq */
    unsigned stored_seq;
    struct sf_version stored; /* what is known of it */
    unsigned target_seq;      /* counts changes of the target */
    bool uploading;           /* up runs */
    struct sf_err failure;    /* of the last upload; empty after a success */
    struct sf_upload *up;     /* waits or runs */
    struct sf_upload *next;   /* what comes after the running one */
    bool parked;              /* up waits for the end of keeping, which queues it */
    struct sf_keep *keep;     /* what the journal has, and whose upload has not begun; see keep.h */
    struct sf_keeping *keeping;
    struct sf_keep_ask *asks; /* for the one after that */
    /* of the upload that runs: whether the journal has all of it, its operation before those of
     * earlier states, and what it makes */
    bool sending_kept;
    char sending_ops[SF_FORMER_SIZE];
    struct sf_version sending_leaves;

    struct sf_charge charge; /* room's lock */
    struct sf_kept kept;     /* see there */

    struct sf_content *alive_prev, *alive_next; /* of the writer's list; its lock */
    struct sf_content *name_prev, *name_next;   /* of those with such a name; likewise */
    uint64_t name_hash;                         /* of bucket and key; likewise */
};

/* A content of this name is in the writer's list of it, names[hash % SF_CONTENT_NAMES]. */
uint64_t sf_content_name_hash(const char *bucket, const char *key);

/* One more reference unless the last one has gone. */
bool sf_content_ref_alive(struct sf_content *c);
/* Its files: the present one, and those of earlier states that are still needed. */
enum sf_content_stage { SF_STAGE_NOW, SF_STAGE_SENT, SF_STAGE_KEPT, SF_STAGE_KEEPING, SF_STAGES };
/* NULL = there is none. */
struct sf_stage *sf_content_stage_locked(const struct sf_content *c, enum sf_content_stage which);
/* Bytes that these lack. */
uint64_t sf_content_missing(struct sf_content *c);
/* Bytes of the source's version @gen were fetched: those that are still missing go into the files.
 * 0 (also when the version is another one by now) or -errno. Local I/O. */
int sf_content_store(struct sf_content *c, const char *buf, uint64_t off, size_t len, unsigned gen);

/* ---- between content.c and snapshot.c; all but the first with io held ------------------------ */

/* @stage: taken, also on failure. */
int sf_content_alloc(struct sf_writer *w, const char *bucket, const char *key,
                     struct sf_stage *stage, struct sf_content **ret, struct sf_err *err);
void sf_content_set_size(struct sf_content *c, uint64_t size);
/* Another file from now on; taken. */
void sf_content_set_stage(struct sf_content *c, struct sf_stage *stage);
/* A new file for its target. */
int sf_content_stage_new(struct sf_content *c, struct sf_stage **ret);
/* Bytes have come into the file, which has @size now. Room for them was reserved. */
void sf_content_note_present(struct sf_content *c, struct sf_stage *s, uint64_t off, uint64_t end,
                             uint64_t size);
/* Make the file ready for a change that needs its first @keep bytes. */
int sf_content_begin_change(struct sf_content *c, uint64_t keep);

/* ---- one state of the bytes, for an upload -------------------------------------------------- */

struct sf_snapshot {
    struct sf_stage *stage; /* referenced */
    uint64_t size, gen;
    bool as_source; /* it is what the source is, byte for byte */
    bool rebased;   /* appended to another version than the one that was known: the source now */
    bool digested;
    struct sf_digests digests; /* once digested */
};

/* Take the present state; a change clones the file first. With io held. */
void sf_content_snap_locked_io(struct sf_content *c, struct sf_snapshot *ret);
/* The same, and an upload reads it until the end of it. One at a time. */
void sf_content_freeze(struct sf_content *c, struct sf_snapshot *ret);
/* An upload reads this state, which was taken before; the caller's reference is its own. */
void sf_content_send(struct sf_content *c, struct sf_snapshot *snap);
/* Give it back. @stored: the bucket has it now. */
void sf_content_thaw(struct sf_content *c, struct sf_snapshot *snap, bool stored);

/**
 * sf_content_fill_wait - fetch what the snapshot lacks; waits; on a worker.
 *
 * Before anything is concluded from the version that the bucket has: when the source is an older
 * one and the content was only appended to, the appended bytes go behind those of the present
 * version, @snap is taken anew (size, gen, rebased), and the source is that version.
 * Returns 0; -ESTALE the missing bytes are gone for good; -ENOSPC; what the service answered.
 */
int sf_content_fill_wait(struct sf_content *c, struct sf_snapshot *snap, int64_t deadline_ms,
                         struct sf_err *err);
/* The appended bytes behind those of the version that the bucket has now, as above, also when
 * nothing is missing. -ESTALE: it was not only appended to, or there is no object. */
int sf_content_rebase_wait(struct sf_content *c, struct sf_snapshot *snap, int64_t deadline_ms,
                           struct sf_err *err);
/* Digests of a whole snapshot, by a pass over the file if need be. 0 or -errno. */
int sf_snapshot_digest(struct sf_snapshot *snap);

/* ---- for the journal ------------------------------------------------------------------------ */

/* Name of the snapshot's file below staging/; valid as long as the snapshot. */
const char *sf_snapshot_file(const struct sf_snapshot *snap);
/* Which bytes are in it. @ret: empty before, to be freed; untouched when it is whole. 0, 1 = whole,
 * or -ENOMEM. */
int sf_snapshot_extents(struct sf_content *c, const struct sf_snapshot *snap,
                        struct sf_extents *ret);
/* The source, to be freed. 1, 0 = there is none, or -ENOMEM. */
int sf_content_source(struct sf_content *c, char **bucket, char **key, struct sf_version *version);
/* The snapshot's bytes last, also after a power loss; and so does the file's name. 0 or -errno. */
int sf_snapshot_sync(const struct sf_snapshot *snap);

/**
 * sf_content_adopt - a dirty content of a file that is in staging/ already, for a replay.
 * @file:    name below staging/.
 * @extents: @n ranges that are in it, checked, unless it is @whole.
 * @src:     where the rest comes from; NULL = none.
 * Returns 0; -ENOENT; -EINVAL the file is shorter than @size, or the extents are not what they
 * should be; -errno.
 */
int sf_content_adopt(struct sf_writer *w, const char *bucket, const char *key, const char *file,
                     uint64_t size, bool whole, const struct sf_extent *extents, size_t n,
                     const struct sf_source *src, struct sf_content **ret, struct sf_err *err);

#endif
