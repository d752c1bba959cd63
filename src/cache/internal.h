/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef SF_CACHE_INTERNAL_H
#define SF_CACHE_INTERNAL_H

#include "base/htab.h"
#include "base/lock.h"
#include "base/thread.h"
#include "base/vec.h"
#include "cache/cache.h"
#include "cache/disk.h"
#include "cache/link.h"
#include "cache/pool.h"
#include "cache/stream.h"

/*
 * One lock (order 30) protects all of it but what is said to be atomic. It is held for memory work
 * only; what has to be done without it (fetches to begin, callbacks) is collected in a struct
 * later.
 */

struct read;

/* A read's use of one buffer. The buffer is pinned by it. */
struct piece {
    struct buf *buf;
    struct read *read;
    struct piece *next; /* of those that wait for the buffer */
    uint32_t from, len; /* in the buffer */
};

enum buf_state { BUF_FETCHING, BUF_READY };

/* Bytes of a content in memory; no two of a content overlap. Begins and ends with a unit, or with
 * the content. */
struct buf {
    struct sf_cached *content;
    uint64_t off;
    uint32_t len;
    enum buf_state state;
    char *mem;
    _Atomic unsigned pins;   /* reads that use it; raised under the lock, given back without it */
    struct piece *waits;     /* while it is fetched */
    struct fetch *fetch;     /* while it is fetched */
    struct buf *prev, *next; /* cache->old: those that are ready, oldest first */
    uint32_t high;           /* end of the furthest read in it */
    uint32_t fresh;          /* units that came along and were not read yet, as bits */
    bool ahead;              /* counted in cache->ahead */
    bool unwritten;          /* in the list cache->behind_first */
    struct buf *behind_prev, *behind_next;
    int64_t came_ns;
    bool missed; /* fetched by a miss: what gets used of it is told to the pattern */
    bool again;  /* read a second time: not given up at the first opportunity */
};

/* Units of a range that are on the local disk. */
#define VIEW_UNITS 1024u
struct view {
    uint64_t off, end;
    uint64_t bits[VIEW_UNITS / 64];
};

SF_VEC_DEFINE(bufs, struct buf *);

enum fetch_kind {
    FETCH_DEMAND, /* a read waits for it, or did when it began */
    FETCH_SOON,   /* ahead of a reader */
    FETCH_MAYBE,
    FETCH_DISK, /* from the local disk, for a read */
};

struct fetch {
    struct sf_cache *cache;
    struct buf *buf;
    struct sf_stream *stream;         /* counted */
    struct fetch *next, *next_cancel; /* struct later */
    uint64_t id;                      /* for cancel; 0 = not known yet */
    unsigned refs;                    /* who begins it, and its completion */
    enum fetch_kind kind;
    bool shared;    /* another stream counts on it */
    bool cancelled; /* nobody wants it; the buffer goes when it ends */
    bool ended;
    struct sf_link_fetch link;
};

struct name {
    UT_hash_handle hh;
    struct sf_cached *content;
    struct name *next; /* of the same content */
    size_t len;
    char key[]; /* bucket, id, ETag with their NULs, size */
};

struct sf_cached {
    struct sf_cache *cache;
    struct sf_cached *prev, *next;
    unsigned refs; /* of users; what has buffers stays without any */
    uint64_t size;
    struct bufs bufs;             /* by offset */
    struct sf_disk_content *disk; /* NULL = memory only */
    struct name *names;
};

struct sf_stream {
    struct sf_cached *content; /* counted */
    void *what;
    unsigned refs; /* its user, fetches and reads */
    int64_t turn;  /* in which it was seen to read on, the last time */
    struct sf_pattern pattern;
    bool resting;  /* all is being fetched, */
    uint64_t rest; /* from here on */
};

enum read_state { READ_LOOKS /* on the disk */, READ_WAITS, READ_NO_MEMORY, READ_OVER };

/* A read that could not be answered at once. */
struct read {
    UT_hash_handle hh;
    uint64_t id;
    struct sf_stream *stream; /* counted */
    uint64_t off;
    size_t len;
    sf_stream_read_fn cb; /* of a read, or NULL */
    sf_fetched_fn done;   /* of a prefetch, or NULL */
    void *arg;
    struct sf_plan plan;
    struct view view; /* of the plan's range */
    enum read_state state;
    unsigned refs; /* until it is answered, and a look at the disk */
    bool prefetch;
    bool own;                 /* it has begun a fetch itself */
    bool failed;              /* a fetch that it had joined failed */
    int64_t began_ns;         /* of a miss; 0 = none */
    unsigned pending;         /* pieces whose buffers are not ready */
    struct sf_err err;        /* of one that is over */
    struct read *prev, *next; /* cache->short_of_memory */
    struct read *later;       /* struct later */
    struct piece *pieces;
    unsigned n;
};

/* A read of SF_CACHE_READ_MAX that begins and ends within a unit. */
#define PIECES_MAX (SF_CACHE_READ_MAX / SF_UNIT + 2)

struct sf_cache {
    struct sf_cache_opts opts;
    struct sf_mutex lock; /* order 30; protects all below, and what is in contents */
    struct sf_bufpool pool;
    struct name *names; /* htab */
    struct sf_cached *contents;
    unsigned n_contents, n_streams;
    struct buf *oldest, *newest;
    uint64_t ahead; /* bytes of buffers fetched ahead and not used */
    unsigned ahead_fetches;
    int64_t turn;        /* time, in steps of TURN_NS */
    unsigned runners[2]; /* streams that read on in this turn, in the one before */
    unsigned fetches;
    unsigned lent; /* memory that is in no buffer */
    struct sf_link link;
    struct read *reads; /* htab: those that wait */
    struct read *short_first, *short_last;
    unsigned n_short;
    uint64_t last_id;
    bool stopped;
    int64_t stopped_ms;
    unsigned beginning;                     /* calls of fetch() */
    struct sf_disk *disk;                   /* NULL = memory only */
    struct sf_pool *io;                     /* reads of the disk */
    struct sf_pool *writer;                 /* one thread */
    struct buf *behind_first, *behind_last; /* to be written, oldest first */
    uint64_t unwritten;                     /* bytes of them */
    bool writing, watching;                 /* jobs of the pools */
    int64_t write_began_ms;                 /* of the buffer that is written now */
    char trouble[160];                      /* why there is no disk tier */
    struct sf_cond quiet;                   /* beginning, fetches or n_streams came to 0 */

    _Atomic bool hungry; /* reads wait for memory */
};

/* What is to be done when the lock is free again. */
struct later {
    struct fetch *begin, **begin_end;
    struct read *over, **over_end; /* reads to be answered */
    struct fetch *cancel;          /* counted */
};

/* cache.c */
int64_t cache_now(struct sf_cache *cache);
void later_init(struct later *l);
void later_run(struct sf_cache *cache, struct later *l);

/* content.c */
void cached_unref_locked(struct sf_cached *c);
void cached_drop_if_unused_locked(struct sf_cached *c);
void stream_unref(struct sf_stream *s);
void stream_over(struct sf_stream *s); /* its last reference is gone */

/* view.c */
/* 0, or -EAGAIN: only who waits for the disk learns it. At most VIEW_UNITS are looked at. */
int view_make(struct view *v, struct sf_cached *c, uint64_t off, uint64_t end, bool nowait);
bool view_has(const struct view *v, uint64_t pos);
/* The end of the units from @pos on, before @end, that are like the first one. */
uint64_t view_run(const struct view *v, uint64_t pos, uint64_t end);

/* buf.c */
size_t buf_find_locked(const struct sf_cached *c, uint64_t off); /* the first that ends behind */
bool covered_locked(const struct sf_cached *c, uint64_t off, uint64_t end, bool *ready);
uint64_t piece_end(uint64_t pos, uint64_t end, const struct buf *next);
/* Being fetched, with memory of its own; NULL = there is none. @force: somebody waits for it. */
struct buf *buf_new_locked(struct sf_cached *c, uint64_t off, uint64_t len, bool force);
char *memory_locked(struct sf_cache *cache, size_t len, bool force);
void buf_free_locked(struct buf *b);
void buf_ready_locked(struct buf *b);
void buf_not_ahead_locked(struct buf *b);
uint32_t units_of(uint32_t from, uint32_t len);
/* It is fetched for [off, end): what else is in it comes along. */
void buf_asked_locked(struct buf *b, uint64_t off, uint64_t end);
/* A reader uses bytes of it. */
void buf_read_locked(struct sf_stream *s, struct buf *b, uint32_t from, uint32_t len);
void buf_unpin(struct sf_cache *cache, struct buf *b);
/* What was fetched ahead long ago no longer counts as that. */
void buf_age_locked(struct sf_cache *cache);

/* behind.c */
void behind_add_locked(struct buf *b);
void behind_drop_locked(struct buf *b);
/* So much waits to be written that what is ahead of need has to wait. */
bool behind_full_locked(const struct sf_cache *cache);
bool behind_slow_locked(const struct sf_cache *cache);
void behind_watch_locked(struct sf_cache *cache); /* a read waits for memory */

/* fetch.c */
uint64_t ahead_max(const struct sf_cache *cache);
bool ahead_allowed_locked(struct sf_cache *cache, size_t len);
struct fetch *fetch_new_locked(struct sf_stream *s, uint64_t off, uint64_t end,
                               enum fetch_kind kind);
void fetch_undo_locked(struct fetch *f); /* it was not queued */
void fetch_queue(struct later *l, struct fetch *f);
void fetch_begin(struct fetch *f);
void fetch_give_up_locked(struct fetch *f, struct later *l);
void fetch_cancel(struct fetch *f);
/* What the plan of a read wants ahead of it, and what else the stream wants. No lock is held. */
void fetch_ahead(struct sf_stream *s, const struct sf_plan *plan);

/* read.c */
unsigned pieces_pin_locked(struct sf_stream *s, uint64_t off, size_t len, struct piece *p,
                           struct read *r);
void pieces_give(const struct piece *p, unsigned n, size_t len, sf_stream_read_fn cb, void *arg);
void pieces_unpin(struct sf_cache *cache, const struct piece *p, unsigned n);
struct read *read_new_locked(struct sf_stream *s, uint64_t off, size_t len);
void read_unref(struct sf_cache *cache, struct read *r);
void read_try_locked(struct read *r, struct later *l);
void read_answer(struct sf_cache *cache, struct read *r);
void read_cancel_locked(struct read *r, struct later *l);
void read_fetched_locked(struct piece *waits, struct later *l);
void read_failed_locked(struct piece *waits, const struct fetch *f, const struct sf_err *err,
                        struct later *l);
/* Reads that wait for memory are tried again, in their order, as long as there is some. */
void read_feed_locked(struct sf_cache *cache, struct later *l);
void read_feed(struct sf_cache *cache);

#endif
