/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef SF_CACHE_CACHE_H
#define SF_CACHE_CACHE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "base/err.h"
#include "cache/key.h"

/*
 * Bytes of objects that were read or written here: a bounded pool of memory buffers over the disk
 * tier. A content is bytes that never change; names (bucket, id, ETag, size) lead to it.
 *
 * Thread-safe. No call waits unless its name ends in _wait. Callbacks run holding no lock: before
 * the call returns, where a fetch completes, or on a thread of the cache. They may call anything
 * here but sf_cache_free(). What is missing is fetched by the callback given at construction.
 */
struct sf_cache;
struct sf_cached;
struct sf_stream;
struct sf_disk;
struct sf_disk_content;
struct sf_env;

/* One read or prefetch covers at most so much; of a longer read the beginning is given. */
#define SF_CACHE_READ_MAX (1u << 20)

/* @err: NULL = all bytes asked for are in the buffer. Borrowed for the call. */
typedef void (*sf_fetched_fn)(void *arg, const struct sf_err *err, size_t len);

struct sf_cache_opts {
    const char *dir;      /* of the disk tier; NULL = memory only */
    uint64_t max_bytes;   /* of the disk tier */
    uint64_t min_free;    /* bytes left free on its file system */
    int64_t max_age_ms;   /* unused for so long = evicted; 0 = no limit */
    uint64_t memory;      /* of all buffers; 0 = sf_cache_memory_default() */
    uint64_t miss_max;    /* bytes that one miss fetches at most; 0 = 4 MiB */
    unsigned max_fetches; /* requests ahead of need under way at once; 0 = 16 */
    /**
     * fetch - get bytes [off, off+len) of @what, which was given to sf_stream_new().
     * @buf:      room for them, until done was called.
     * @priority: 1 somebody waits, 0 needed soon, -1 perhaps needed.
     *
     * Calls done(done_arg) exactly once, on any thread, perhaps before it returns. Called holding
     * no lock. Returns an id for cancel, 0 = there is nothing to cancel.
     */
    uint64_t (*fetch)(void *arg, void *what, uint64_t off, size_t len, char *buf, int priority,
                      sf_fetched_fn done, void *done_arg);
    void (*cancel)(void *arg, uint64_t id); /* done comes soon, with any result */
    void (*drop)(void *arg, void *what);    /* the cache needs @what no longer; may be NULL */
    int64_t (*now_ns)(void *arg);           /* for tests; NULL = sf_clock_ns() */
    void *arg;
};

/* What a quarter of the memory that this process may use allows, between 4 and 32 MiB. */
uint64_t sf_cache_memory_default(void);

/* A disk tier that cannot be opened is done without; the stats say why. 0 or -ENOMEM. */
int sf_cache_new(const struct sf_cache_opts *opts, struct sf_cache **ret, struct sf_err *err);

/* End all waiting reads with -ECANCELED, cancel fetches; fetch() is not called any more. */
void sf_cache_stop(struct sf_cache *cache);

/* Stops, waits for the completions of fetches (so whoever runs them is still there, or has run
 * them), writes what is to be kept (for two seconds at most), frees. All streams and contents have
 * been given back. */
void sf_cache_free(struct sf_cache *cache);

/* ---- contents ------------------------------------------------------------------------------- */

/* The content of this name, made when there is none. Counted. 0, -EINVAL, -ENOMEM. */
int sf_cached_get(struct sf_cache *cache, const struct sf_cache_key *key, struct sf_cached **ret);
/* A content that has no name yet: bytes of our own. */
int sf_cached_new(struct sf_cache *cache, uint64_t size, struct sf_cached **ret);
struct sf_cached *sf_cached_ref(struct sf_cached *c);
void sf_cached_unref(struct sf_cached *c); /* may be NULL */
uint64_t sf_cached_size(const struct sf_cached *c);

/* Another name of the same bytes, which have the size of the name. Later gets of it lead here. */
void sf_cached_name(struct sf_cached *c, const struct sf_cache_key *key);
/* The same by name; nothing happens when @from is not known. */
void sf_cache_alias(struct sf_cache *cache, const struct sf_cache_key *from,
                    const struct sf_cache_key *to);

/* ---- reading ---------------------------------------------------------------------------------
 */

/* A reader of a content (an open file): its pattern decides what is fetched. @what is given to
 * fetch(), and to drop() when neither the stream nor a call of fetch() needs it any more; on
 * failure it stays the caller's. */
int sf_stream_new(struct sf_cached *c, void *what, struct sf_stream **ret);
/* Cancels what is being fetched ahead for it and nobody else wants. Reads go on. NULL is allowed.
 */
void sf_stream_free(struct sf_stream *s);

/* @err: 0 or -errno; then @why has more, or is NULL. What @iov shows is valid during the call;
 * @len, its sum, is less than asked for only at the end of the content and beyond
 * SF_CACHE_READ_MAX. */
typedef void (*sf_stream_read_fn)(void *arg, int err, const struct sf_err *why,
                                  const struct iovec *iov, int n, size_t len);
/* Returns an id for sf_cache_cancel(); 0 = the callback has run. */
uint64_t sf_stream_read(struct sf_stream *s, uint64_t off, size_t len, sf_stream_read_fn cb,
                        void *arg);
/* End a waiting read: its callback runs with -ECANCELED, unless it already ran. */
void sf_cache_cancel(struct sf_cache *cache, uint64_t id);

/**
 * sf_stream_prefetch - have bytes here ahead of need.
 * @len:  at most SF_CACHE_READ_MAX.
 * @done: runs when they are here or cannot come, perhaps before this returns; NULL = nobody cares.
 *
 * Returns 0; -EAGAIN the budget for such fetches is spent, nothing was begun (done is not called).
 */
int sf_stream_prefetch(struct sf_stream *s, uint64_t off, size_t len, sf_fetched_fn done,
                       void *arg);

/* ---- for write/ ----------------------------------------------------------------------------- */

/* Bytes that are here: 0, or -ENODATA when not all of them are. May wait for the local disk. */
int sf_cached_peek_wait(struct sf_cached *c, uint64_t off, void *buf, size_t len);
/* Bytes that were got otherwise. Kept as far as they are whole units of 32 KiB. */
void sf_cached_put_wait(struct sf_cached *c, uint64_t off, const void *buf, size_t len);
/* All of its bytes are in @fd, from 0. Returns 0 or -errno of reading. */
int sf_cached_adopt_wait(struct sf_cached *c, int fd);

/* ---- figures -------------------------------------------------------------------------------- */

/* Bytes of it that are cached. Reads the index of the disk tier. */
uint64_t sf_cached_here(struct sf_cached *c);

struct sf_cache_stats {
    uint64_t memory, memory_max, memory_peak; /* bytes of buffers */
    uint64_t ahead;                           /* of these, fetched ahead and not used yet */
    uint64_t unwritten;                       /* of these, to be written to the disk tier */
    bool writing;                             /* something to the disk tier now */
    unsigned contents, streams;
    unsigned fetches;        /* under way */
    unsigned waiting;        /* reads that wait */
    unsigned waiting_memory; /* of these, for memory */
    int64_t round_trip_ns;   /* measured; 0 = not yet */
    uint64_t bytes_per_s;    /* measured; 0 = not yet */
    char trouble[160];       /* why there is no disk tier though one was asked for; "" = none */
};
void sf_cache_get_stats(struct sf_cache *cache, struct sf_cache_stats *out);

/* ---- the disk tier, for those that look after it (cache/disk.h); NULL = there is none ---------
 */

struct sf_env *sf_cache_env(struct sf_cache *cache);
struct sf_disk *sf_cache_disk(struct sf_cache *cache);
struct sf_disk_content *sf_cached_disk(struct sf_cached *c);
/* Give up what is in memory of it and nobody uses. */
void sf_cached_forget(struct sf_cached *c);

#endif
