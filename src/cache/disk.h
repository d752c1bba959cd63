/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef SF_CACHE_DISK_H
#define SF_CACHE_DISK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"
#include "cache/key.h"

struct sf_env;

/*
 * Internal to src/cache: what is kept on the local disk (docs/formats/cache.md). Contents are
 * sequences of units of 32 KiB, 32 of them are a chunk. The index in LMDB is the only truth of what
 * exists after a restart. Thread-safe; callers hold no lock of an order above 30.
 *
 * A disk that fails is bypassed: after three errors in a row reads miss or writes are dropped
 * (whichever fails), until a probe succeeds. Nothing here ever fails for such a reason.
 */
#define SF_UNIT       32768u
#define SF_CHUNK      (32u * SF_UNIT)
#define SF_DISK_SMALL 65536u /* contents up to this lie in LMDB */

struct sf_disk;

struct sf_disk_opts {
    const char *dir;    /* of this identity, existing, 0700, locked by the caller */
    uint64_t max_bytes; /* as docs/formats/cache.md counts them; never exceeded */
    uint64_t min_free;  /* bytes to be left free on its file system; 0 = none */
    int64_t max_age_ms; /* not used for so long = evicted; 0 = no limit */
    int64_t probe_ms;   /* between probes of a disk that failed; 0 = 30 s */
};

/**
 * sf_disk_open - quick, whatever is cached: no pass over the index. What an unclean end left is put
 * right behind.
 *
 * Returns 0 or -errno; the error says what to do.
 */
int sf_disk_open(const struct sf_disk_opts *opts, struct sf_disk **ret, struct sf_err *err);
/* Ends what was begun; no other call runs any more and no content is held. May be NULL. */
void sf_disk_close(struct sf_disk *d);
struct sf_env *sf_disk_env(struct sf_disk *d); /* tables: cache/tables.h */

/*
 * A content that somebody uses; counted. sf_disk_get() finds it by its name or makes it: memory
 * only, the index is asked later, by a call that may wait. sf_disk_get_new(): bytes that have no
 * name yet. 0 or -ENOMEM.
 */
struct sf_disk_content;
int sf_disk_get(struct sf_disk *d, const struct sf_cache_key *key, struct sf_disk_content **ret);
int sf_disk_get_new(struct sf_disk *d, uint64_t size, struct sf_disk_content **ret);
void sf_disk_ref(struct sf_disk_content *c);
void
sf_disk_unref(struct sf_disk_content *c); /* may be NULL; may be the last thing that holds it */
uint64_t sf_disk_size(const struct sf_disk_content *c);

/* Another name for the same bytes (a reply of our own copy, move or upload). @key->size is the
 * content's. Never waits; nothing happens when no memory is left, or the name is too long. */
void sf_disk_name(struct sf_disk_content *c, const struct sf_cache_key *key);

/*
 * @nowait: -EAGAIN instead of waiting for the disk (as far as that is known: a page of the index
 * may have to be read, but not while such reads were slow a moment ago).
 */
/* Bytes at the beginning of the range that are here; 0 = the first is not. */
ssize_t sf_disk_has(struct sf_disk_content *c, uint64_t off, size_t len, bool nowait);
/* Bytes read from the beginning of the range, each checked against its sum once; 0 = a miss. What
 * is bad is dropped and counted, and is a miss. -EAGAIN only when nothing at all was read. */
ssize_t sf_disk_read(struct sf_disk_content *c, uint64_t off, size_t len, void *buf, bool nowait);
/* The bytes were used, though read from elsewhere: for the policy. Memory only. */
void sf_disk_touch(struct sf_disk_content *c, uint64_t off, size_t len);
/* Keep whole units (@off is a multiple, and the end, unless it is the content's). Waits for the
 * disk. Drops what is here already, what finds no room, and what the disk does not take. */
void sf_disk_write(struct sf_disk_content *c, uint64_t off, size_t len, const void *buf);

/* Wait until what was written is in the index. */
void sf_disk_flush(struct sf_disk *d);
/* Give up what is here of it, unless pinned. Waits. Bytes freed. */
uint64_t sf_disk_evict(struct sf_disk_content *c);
/* Keep it whatever else needs room; lasts. Waits. 0, -ENOSPC, -EIO (the index cannot be written).
 */
int sf_disk_pin(struct sf_disk_content *c, bool pin);
/* As counted against max_bytes. Waits. */
struct sf_disk_usage {
    uint64_t bytes;
    uint64_t here; /* bytes of the content, in units */
    bool pinned;
};
void sf_disk_usage(struct sf_disk_content *c, struct sf_disk_usage *out);

/* One content of the index. */
struct sf_disk_row {
    uint64_t number, size;
    uint64_t here; /* bytes of it, in units */
    uint64_t bytes;
    bool pinned;
    unsigned n_names;
    struct sf_cache_key names[8]; /* oldest first; borrowed for the call */
};
/* Call @fn for each content, in the order of numbers, behind @after (0 = all). A result other than
 * 0 ends it and is returned; else 0 or -errno. Waits; holds nothing over the calls. */
int sf_disk_each(struct sf_disk *d, uint64_t after,
                 int (*fn)(void *arg, const struct sf_disk_row *row), void *arg);

/* Read all units and check their sums, drop what is bad; the content of each chunk's bytes is in
 * memory only for a moment. @fn may be NULL; another result than 0 ends it and is returned. */
struct sf_disk_verified {
    uint64_t units, bytes, bad; /* so far */
};
int sf_disk_verify(struct sf_disk *d, int (*fn)(void *arg, const struct sf_disk_verified *v),
                   void *arg, struct sf_disk_verified *out);

enum sf_disk_bypass {
    SF_DISK_NORMAL = 0,
    SF_DISK_NO_WRITES = 1,
    SF_DISK_NO_READS = 2, /* bits */
};
struct sf_disk_stats {
    uint64_t max_bytes, bytes, pinned; /* bytes: with what is being written */
    uint64_t chunks;                   /* in the index */
    uint64_t evicted, bad_units, errors,
        dropped;       /* since it was opened; bytes, units, calls, bytes */
    unsigned bypass;   /* enum sf_disk_bypass */
    char trouble[160]; /* the last error of the disk; "" = none */
    bool recovering;
};
void sf_disk_get_stats(struct sf_disk *d, struct sf_disk_stats *out);

#endif
