/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef SF_CACHE_DISK_INTERNAL_H
#define SF_CACHE_DISK_INTERNAL_H

#include <sys/queue.h>

#include "base/htab.h"
#include "base/lock.h"
#include "cache/disk.h"
#include "cache/policy.h"
#include "cache/row.h"
#include "cache/tables.h"
#include "store/env.h"

/* Shared by the files of the disk tier. */

#define SF_UNITS         32u   /* of a chunk */
#define SF_CHUNK_ROWS    512u  /* what the rows of a chunk are counted with */
#define SF_DISK_CHUNKS   8192u /* kept in memory while nobody uses them */
#define SF_QUEUE_PINNED  SF_POLICY_QUEUES
#define SF_META_CACHE    "cache"
#define SF_META_USAGE    "usage"
#define SF_DISK_TAKE_MAX 512 /* entries that one transaction takes off the queues */

_Static_assert(SF_ROW_QUEUES == SF_POLICY_QUEUES + 1, "a queue has no column in the usage");

struct sf_chunk_id {
    uint64_t number;
    uint32_t index, zero;
};

enum sf_chunk_state {
    SF_CHUNK_LOADING, /* somebody reads its row */
    SF_CHUNK_READY,
    SF_CHUNK_LEAVING, /* being evicted, or looked at by policy or recovery: it is waited for */
};

/* What this process knows of a chunk. Protected by the disk's lock. */
struct sf_chunk {
    struct sf_chunk_id id;
    enum sf_chunk_state state;
    uint32_t here;     /* units; ahead of the index by what is being committed */
    uint32_t checked;  /* of these, read back by this process and right */
    uint32_t writing;  /* units that somebody writes now */
    uint32_t dropping; /* units that were bad, and still are in the row */
    uint32_t sums[SF_UNITS];
    unsigned users;   /* calls that use it outside of the lock; its file stays open */
    unsigned commits; /* of its row under way */
    int fd;           /* -1 = not open */
    bool writable;
    TAILQ_ENTRY(sf_chunk) idle; /* while users and commits are 0 and it is ready */
    TAILQ_ENTRY(sf_chunk) open; /* while fd is not -1 */
    UT_hash_handle hh;
};
TAILQ_HEAD(sf_chunks, sf_chunk);

/* A name of a content in use. */
struct sf_disk_alias {
    struct sf_disk_alias *next;
    struct sf_disk_content *content;
    UT_hash_handle hh;
    size_t len;
    char key[];
};

struct sf_disk_content {
    struct sf_disk *d;
    uint64_t size;
    _Atomic unsigned refs;

    /* protected by the disk's lock */
    uint64_t number;   /* 0 = the index was not asked yet */
    uint64_t identity; /* for the policy; 0 = that of the number */
    struct sf_disk_alias *names, **last_name;
    LIST_ENTRY(sf_disk_content) all;
};

struct sf_disk {
    struct sf_disk_opts opts; /* dir is owned */
    struct sf_env *env;
    struct sf_policy *policy;
    int dir_fd, blocks_fd; /* the latter is replaced in place when the index begins empty */
    unsigned max_open;
    _Atomic int64_t slow_until_ms; /* pages of the index had to be read from the disk */
    _Atomic bool no_nowait;        /* the file system does not know RWF_NOWAIT */
    _Atomic unsigned bypass;
    _Atomic bool failing; /* an error since the last success */
    _Atomic uint64_t evicted, bad_units, errors, dropped;
    pthread_t thread;

    struct sf_mutex lock;    /* order 34; protects what is below, chunks and contents */
    struct sf_cond changed;  /* a chunk was loaded, room was made, a commit has ended */
    struct sf_chunk *chunks; /* by id */
    struct sf_chunks idle;   /* longest unused first */
    struct sf_chunks open;   /* longest unused first */
    unsigned n_chunks, n_open;
    struct sf_disk_alias *aliases; /* by key */
    LIST_HEAD(, sf_disk_content) contents;
    unsigned generation; /* of the index: one more for each that began empty */
    uint32_t starts;
    uint64_t next_number, next_place;
    struct sf_row_usage usage; /* as committed */
    uint64_t reserved;         /* bytes that are being written */
    uint64_t values;           /* bytes in memory that wait to become rows */
    bool making_room;
    uint64_t avail, written; /* statvfs(), and what was written since */
    int64_t avail_ms;
    unsigned failed[2]; /* errors in a row: reads, writes */
    char trouble[160];
    bool stopping, check_wanted, checking, trash;
    int64_t check_ms;    /* not before */
    struct sf_cond wake; /* of the thread */
};

/* ---- disk-chunk.c: what is known of chunks, their files -------------------------------------- */

static inline bool
sf_disk_small(uint64_t size)
{
    return size <= SF_DISK_SMALL;
}

/* Bytes of a unit of the content (0 = behind its end). */
uint32_t sf_unit_len(uint64_t size, uint64_t unit);
/* What units of a chunk are counted with, without its rows. */
uint32_t sf_units_charge(uint64_t size, uint32_t index, uint32_t mask);

/* Hold a chunk, with its row loaded. The lock is held, and may be let go meanwhile. 0; -EAGAIN;
 * -ENOMEM, -EIO the index cannot be read. */
int sf_chunk_hold_locked(struct sf_disk *d, uint64_t number, uint32_t index, bool nowait,
                         struct sf_chunk **ret);
void sf_chunk_release(struct sf_disk *d, struct sf_chunk *ch); /* holding no lock */
/* Make it leaving when nobody uses it. False = in use. */
bool sf_chunk_claim_locked(struct sf_disk *d, uint64_t number, uint32_t index);
/* The end of that: it stays, or is gone (its file was removed). Holding no lock. */
void sf_chunk_unclaim(struct sf_disk *d, uint64_t number, uint32_t index, bool gone);
void sf_chunk_commit_begin_locked(struct sf_chunk *ch);
void sf_chunk_commit_end_locked(struct sf_disk *d, struct sf_chunk *ch);
/* Forget all that nobody uses. */
void sf_chunks_forget(struct sf_disk *d, bool all);

/* Its descriptor; held by the caller. -EAGAIN: not open, and @nowait. */
int sf_chunk_open(struct sf_disk *d, struct sf_chunk *ch, bool create, bool nowait);
int sf_chunk_unlink(struct sf_disk *d, uint64_t number, uint32_t index);
int sf_blocks_open(struct sf_disk *d, struct sf_err *err);
int sf_blocks_move_away(struct sf_disk *d); /* to trash */
void sf_trash_remove(struct sf_disk *d);

/* ---- disk-content.c -------------------------------------------------------------------------- */

int sf_content_number(struct sf_disk_content *c, bool nowait, uint64_t *ret);
uint64_t sf_content_identity_locked(const struct sf_disk_content *c);

/* ---- disk-index.c: transactions -------------------------------------------------------------- */

/* sf_env_read(), which notices when it had to wait for the disk. */
int sf_index_read(struct sf_disk *d, unsigned table, const void *key, size_t len,
                  sf_env_value_fn fn, void *arg);
bool sf_index_slow(struct sf_disk *d);
int sf_index_load_chunk(struct sf_disk *d, uint64_t number, uint32_t index,
                        struct sf_row_chunk *ret);
int sf_index_begin(struct sf_disk *d);
void sf_index_on_reset(void *arg);

/* For transactions: the sum of all, changed along. */
int sf_txn_usage_get(struct sf_txn *txn, struct sf_row_usage *u);
int sf_txn_usage_put(struct sf_txn *txn, const struct sf_row_usage *u);
int sf_txn_chunk_get(struct sf_txn *txn, uint64_t number, uint32_t index, struct sf_row_chunk *row);
int sf_txn_chunk_put(struct sf_txn *txn, uint64_t number, uint32_t index,
                     const struct sf_row_chunk *row);
int sf_txn_queue_put(struct sf_txn *txn, unsigned queue, uint64_t place,
                     const struct sf_row_queue *row);
int sf_txn_queue_get(struct sf_txn *txn, unsigned queue, uint64_t place, struct sf_row_queue *row);
int sf_txn_queue_del(struct sf_txn *txn, unsigned queue, uint64_t place);
/* -ENOENT: there is none. @bytes hold the names of @row. */
int sf_txn_content_get(struct sf_txn *txn, uint64_t number, struct sf_buf *bytes,
                       struct sf_row_content *row);
int sf_txn_content_put(struct sf_txn *txn, uint64_t number, const struct sf_row_content *row);
/* With its names. */
int sf_txn_content_del(struct sf_txn *txn, uint64_t number, const struct sf_row_content *row);
/* Fill the row of one that has none, and write its names; not the row. */
int sf_txn_content_new(struct sf_txn *txn, struct sf_disk_content *c, uint64_t number,
                       struct sf_row_content *row);
int sf_txn_name_del(struct sf_txn *txn, const char *key, size_t len, uint64_t number);
/* All rows of a chunk, but not its row in the queue and not its part of the usage. */
int sf_txn_chunk_remove(struct sf_txn *txn, uint64_t number, uint32_t index, uint32_t mask);
void sf_usage_move_locked(struct sf_disk *d, const struct sf_row_usage *was,
                          const struct sf_row_usage *is);
uint64_t sf_disk_place(struct sf_disk *d);

/* Commit units that were written: takes over @reserved bytes and one commit of the chunk, which
 * the caller holds. @data: for a small content the bytes of the chunk from its first unit in @mask,
 * copied; the units are there when this is done. Never waits. */
int sf_index_add(struct sf_disk_content *c, uint64_t number, struct sf_chunk *ch, uint32_t mask,
                 uint64_t reserved, const void *data);
/* Units of a chunk that the caller holds turned out to be bad: they are not there any more. */
void sf_index_drop_units(struct sf_disk *d, uint64_t size, struct sf_chunk *ch, uint32_t mask);

/* ---- disk-read.c ----------------------------------------------------------------------------- */

/* Read a unit that is here and check it again. False = it was bad, and was dropped. */
bool sf_disk_recheck(struct sf_disk_content *c, struct sf_chunk *ch, unsigned unit, char *buf);

/* ---- disk-walk.c ----------------------------------------------------------------------------- */

/* The chunks of a content that the index has, in order. A result other than 0 ends it. */
typedef int (*sf_disk_chunk_fn)(void *arg, uint32_t index, uint32_t mask, uint64_t bytes);
int sf_disk_each_chunk(struct sf_disk *d, uint64_t number, sf_disk_chunk_fn fn, void *arg);

/* ---- disk-space.c ---------------------------------------------------------------------------- */

/* Count @need bytes as being written, evicting what has to go. False = no room. Waits. */
bool sf_space_reserve(struct sf_disk *d, uint64_t need);
void sf_space_give_back(struct sf_disk *d, uint64_t bytes);
/* Evict at least so much. Returns what was freed. */
uint64_t sf_space_make(struct sf_disk *d, uint64_t want);
void sf_space_tick(struct sf_disk *d); /* floor and age */

/* ---- disk-check.c ---------------------------------------------------------------------------- */

/* False = not everything could be looked at. */
bool sf_disk_check(struct sf_disk *d);

/* ---- disk.c ---------------------------------------------------------------------------------- */

enum { SF_DISK_READ, SF_DISK_WRITE };
/* What came of an operation of the disk. */
void sf_disk_worked(struct sf_disk *d, int which);
void sf_disk_failed(struct sf_disk *d, int which, int rc, const char *what);
static inline bool
sf_disk_bypassed(struct sf_disk *d, int which)
{
    return atomic_load_explicit(&d->bypass, memory_order_relaxed) &
           (which == SF_DISK_READ ? SF_DISK_NO_READS : SF_DISK_NO_WRITES);
}
/* Let the thread compare blocks and index. */
void sf_disk_want_check(struct sf_disk *d);
uint64_t sf_disk_bytes_locked(struct sf_disk *d);

#endif
