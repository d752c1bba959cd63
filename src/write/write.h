/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef SF_WRITE_WRITE_H
#define SF_WRITE_WRITE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"
#include "supabase/storage.h"
#include "write/failure.h"

struct sf_mark;

/*
 * Everything that changes the project goes through here: staged contents and their upload, removal,
 * renaming, directories and buckets. One change per key is in flight; changes of one key happen in
 * the order in which they were asked for. They run on a bounded pool of worker threads, and end in
 * exactly one callback, holding no lock: on one of these threads, or before the call returns when
 * there is nothing to do or the change cannot be queued (queue full, memory gone, stopping).
 *
 * After a lost reply nothing is repeated before the service has been asked what happened. What
 * could not be found out has outcome_open in its error.
 *
 * Below the state directory: staging/ (contents being written, mode 0600, the target in the
 * extended attribute user.supafs.target) and quarantine/ (contents that could not be uploaded, each
 * with a JSON note beside it: key, time, reason, size). What a killed daemon left in staging/ is
 * moved to quarantine/ at the next start.
 */
struct sf_cache;
struct sf_tables;
struct sf_writer;

struct sf_writer_opts {
    const char *state_dir;   /* of this identity, existing, 0700, locked by the caller */
    unsigned workers;        /* threads; 0 = 8 */
    unsigned max_queue;      /* changes waiting or running; beyond it -EAGAIN; 0 = 65536 */
    int64_t timeout_ms;      /* of one change with its retries, from when it runs; an upload has 1 s
                                per MiB more; 0 = 60000 */
    int64_t retry_ms;        /* before an upload that failed is tried again, longer each time up to
                                a minute; 0 = 1000 */
    uint64_t standard_limit; /* largest body of one request in bytes; more goes in pieces; 0 =
                                unknown */
    uint64_t attr_copy_max;  /* bytes of an object that is copied onto itself for new attributes */
    bool plain;              /* attrs=none: objects carry nothing of ours */
    /* What sf_content_keep() may acknowledge before the bucket has it; 0 = no bound. */
    uint64_t behind_files, behind_bytes;
    int64_t behind_age_ms;
    struct sf_cache
        *cache; /* of the project's bytes, borrowed until sf_writer_free(); NULL = none */
    struct sf_tables *tables; /* likewise: hears of all that was done */
    uint64_t keep_open_max; /* bytes fetched of one version for clean contents before a change here
                               destroys it; 0 = none */
};

/**
 * sf_writer_new - a writer over one project. It goes on with what the journal has of the last one;
 * other contents that a killed daemon left are put in quarantine.
 * @opts: copied.
 * @st:   borrowed until sf_writer_free().
 * Returns 0, -ENOMEM, or what is wrong with the directories.
 */
int sf_writer_new(const struct sf_writer_opts *opts, struct sf_storage *st, struct sf_writer **ret,
                  struct sf_err *err);
/* Changes that begin from now on end by then, and requests of uploads that run are given up then;
 * INT64_MAX = no longer so. */
void sf_writer_end_by(struct sf_writer *w, int64_t deadline_ms);
/* Waits for changes under way until @deadline_ms (CLOCK_BOOTTIME); those that begin meanwhile end
 * by then, too. Returns how many remain. */
unsigned sf_writer_drain(struct sf_writer *w, int64_t deadline_ms);
/* The records of contents that were sent, or given up, go behind. @done runs when those of all
 * until now are gone, so that no start brings these bytes back: on the journal's thread, holding no
 * lock, or before the call returns when memory is gone (-ENOMEM). */
void sf_writer_settle(struct sf_writer *w, void (*done)(void *arg, int rc), void *arg);
/* Changes that wait and loads end with -ECANCELED, those that run are waited for. All contents have
 * been given back. The event thread must still run. */
void sf_writer_free(struct sf_writer *w);

/* The largest object that may be written now, given a bucket's limit (0 = none): the least of it,
 * the project's limit and what was learned of it; UINT64_MAX = unlimited. */
uint64_t sf_writer_limit(struct sf_writer *w, uint64_t bucket_limit);
/* Learned from the service's OPTIONS. */
void sf_writer_set_global_limit(struct sf_writer *w, uint64_t limit);

struct sf_writer_stats {
    unsigned threads, running, queued;
    uint64_t uploads, upload_bytes, failures, quarantined;
    uint64_t staged_files, staged_bytes;
    uint64_t learned_limit; /* from a 413; 0 = none */
    /* the journal: changes acknowledged or half done, and not yet in the project */
    unsigned pending;
    char pending_kinds[96];   /* "content 2, rename 1"; "" = none */
    int64_t pending_since_ns; /* wall clock, of the oldest; 0 = none */
    unsigned pending_files;   /* contents among them */
    uint64_t pending_bytes;   /* and what they have */
    unsigned journal_damaged; /* records that the start could not read */
    uint64_t journal_syncs;   /* synced transactions since the start */
    /* contents of sf_content_keep() that the bucket does not have: files, bytes, since when (wall
     * clock, 0 = none), without those that are stuck; and how many wait for room; and how many
     * keeps there were */
    uint64_t behind_files, behind_bytes, behind_stuck;
    int64_t behind_since_ns;
    unsigned behind_waiting;
    uint64_t kept;
    char last_failure[600]; /* of an upload: time, object, reason; "" = none so far */
};
void sf_writer_stats(struct sf_writer *w, struct sf_writer_stats *out);

/* ---- a staged content ------------------------------------------------------------------------ */

/*
 * The bytes of one file while it is written, or while a version of it that the bucket has no more
 * is open. Thread-safe. Counted references. The bytes are in a local file; while an upload runs the
 * first write after its start clones it, so that an upload always sends one consistent state.
 *
 * A content may begin with the bytes of an object, of which none is fetched then. A read fetches
 * the part that it needs, once; a write fetches nothing; an upload fetches what is missing. Bytes
 * of another version are never used: when the source is gone, what lacks bytes fails with -ESTALE.
 */
struct sf_content;

/* The object that a content begins with; strings are borrowed for the call. */
struct sf_source {
    const char *bucket, *key;
    struct sf_version version; /* its size has to be known; without an ETag it is looked at before
                                  the first byte is fetched: id, version and size have to fit */
    const char *md5_etag;      /* NULL, "", or its ETag if the service gives MD5s */
    bool seen;                 /* somebody was given bytes of it */
};

/**
 * sf_content_new - an empty, clean content for a key.
 * Errors: -ENOSPC and others of the state directory's disk.
 */
int sf_content_new(struct sf_writer *w, const char *bucket, const char *key,
                   struct sf_content **ret, struct sf_err *err);
/* A clean content with the bytes of @src, which may have another key. No request. Errors: as above;
 * -EFBIG. */
int sf_content_of(struct sf_writer *w, const char *bucket, const char *key,
                  const struct sf_source *src, struct sf_content **ret, struct sf_err *err);
/* The same for an empty content that exists; it becomes dirty. -EINVAL when it is not empty. */
int sf_content_take(struct sf_content *c, const struct sf_source *src);
struct sf_content *sf_content_ref(struct sf_content *c);
/* What is still dirty with the last reference goes to quarantine (I/O on the local disk). */
void sf_content_unref(struct sf_content *c);

/* @n: bytes, or -errno. On a thread of the writer's, holding no lock. */
typedef void (*sf_read_fn)(void *arg, ssize_t n);
/**
 * sf_content_read - up to @len bytes at @off: less only at the end.
 * Returns bytes or -errno; -EINPROGRESS: some have to be fetched, and @cb runs once, possibly
 * before this returns. @buf: borrowed until then. -ESTALE: there is no such version any more.
 */
ssize_t sf_content_read(struct sf_content *c, void *buf, size_t len, uint64_t off, sf_read_fn cb,
                        void *arg);
/* All bytes, or -errno. Marks dirty. Never waits for the network. Locking: order 62 and 64; the
 * calls that change something do local I/O under the first. */
ssize_t sf_content_write(struct sf_content *c, const void *buf, size_t len, uint64_t off);
/* Write at the end, whatever it is; *off = where. When nothing else was done to an object's bytes
 * and somebody else has changed it before the upload, the end is the other's. */
ssize_t sf_content_append(struct sf_content *c, const void *buf, size_t len, uint64_t *off);
/* To the size that it has: nothing happens. */
int sf_content_truncate(struct sf_content *c, uint64_t size);
/* Zeros between @off and @off + @len, of which nothing is fetched or kept on the disk. @grow: also
 * beyond the end, which moves; else what lies beyond it stays as it is. -EFBIG. */
int sf_content_zero(struct sf_content *c, uint64_t off, uint64_t len, bool grow);
/* SEEK_HOLE or SEEK_DATA of lseek(2): what was not fetched yet counts as data. -ENXIO. */
int64_t sf_content_seek(struct sf_content *c, uint64_t off, bool hole);
uint64_t sf_content_size(const struct sf_content *c);
/* Counts changes of its bytes. */
uint64_t sf_content_gen(const struct sf_content *c);
/* Whether there is something to upload. Neither this nor the size takes a lock. */
bool sf_content_dirty(const struct sf_content *c);
/* Dirty even without a write: a new or truncated file. */
void sf_content_mark_dirty(struct sf_content *c);
/**
 * sf_content_retarget - another key for uploads that begin from now on.
 * @exists: an object of that key is known, as in a commit; @args->exists of commits made before
 *          speaks of the old key and counts no more.
 * An upload that runs already ends under the old key: sf_write_rename() comes after it.
 * Returns 0 or -ENOMEM. Does not wait for I/O; neither does the next.
 */
int sf_content_retarget(struct sf_content *c, const char *bucket, const char *key, bool exists);
/* The name is gone (unlink): nothing is uploaded any more, the bytes vanish with the last
 * reference. Returns true when an upload is under way, so that an object may yet appear: follow
 * with sf_write_delete(), which comes after it. */
bool sf_content_abandon(struct sf_content *c);

/* What a finished upload knows; "" where it does not. */
struct sf_commit {
    char id[40];      /* object id */
    char version[40]; /* the service's own name of the version, and its ETag: of copies */
    char etag[136];
    uint64_t size;            /* bytes uploaded */
    char md5_etag[36];        /* the ETag that a service with MD5 ETags would give, with quotes;
                                 "" where libcrypto has no MD5 */
    char sha256[65];          /* hex */
    const char *conflict_key; /* where somebody else's version was kept, or NULL; until the callback
                                 has run */
    bool uploaded;            /* false: it was clean, nothing was sent */
    bool still_dirty;         /* written to meanwhile */
    bool rebased;    /* appended to another version than was known: what was read of it is old */
    bool superseded; /* of sf_content_keep(): a later one goes in its place, or nothing was left to
                        do; the rest says nothing */
};
/* @err: NULL on success, else @done is NULL. */
typedef void (*sf_commit_fn)(void *arg, const struct sf_err *err, const struct sf_commit *done);

/* All pointers are borrowed for the call but mimes. */
struct sf_commit_args {
    bool exists;    /* an object of this key is known: replace it, keeping the content
                       type, cache control and metadata that it has (if it is gone by now,
                       create it) */
    bool exclusive; /* created with O_EXCL: what somebody else has put there is -EEXIST */
    const struct sf_version *base; /* the version that was seen; NULL = whichever is there now.
                                      Another one is kept as NAME.conflict-HOST-TIME */
    const char *mark;   /* our directive of Cache-Control (write/mark.h); NULL = as it is */
    const char *xattrs; /* changes to extended attributes as JSON (write/meta.h); NULL = none */
    uint64_t max_size;  /* beyond it -EFBIG without a request; 0 = the writer's limits alone */
    const char *const *mimes; /* the bucket's list or NULL; a type outside is -EPERM before a byte
                                 is sent; borrowed until the callback has run */
    const char *mime; /* NULL = the object's, else a guess from the name, then the content; "" = a
                         guess, whatever the object has */
    const char *cache_control; /* without our directive; NULL = as it is, "" = none */
    bool patient; /* called back when it is stored or refused, not when it only did not work
                     this time */
    bool later;   /* with patient: what just did not work is tried again after a pause, as it was */
    /* of sf_content_keep() */
    bool must;       /* whatever waits already: nobody waits for room, as at a handle's end */
    bool attrs_only; /* mark and xattrs are new, the bytes are not: -EBUSY when its upload has begun
                        (those go another way then) */
};
/**
 * sf_content_commit - upload what is dirty. Commits meanwhile join the one that runs unless there
 * were writes after it began; then they wait for it and upload once more. A commit that joins has
 * the arguments of the one that it joins. After a failure the content is dirty as before.
 *
 * A failure that may pass (sf_failure_is_held()) leaves bytes and record synced in the journal. If
 * somebody patient waits it is tried again, after 1 s to 60 s, with the next commit, or when
 * another upload has succeeded; until sf_writer_give_up(), then the patient get -ECANCELED.
 *
 * Errors beside the service's: -EFBIG; -EPERM; -EEXIST (exclusive); -ENOTSUP the object to replace
 * has more metadata than can be sent with so many bytes, and it would be lost; -ENOSPC the extended
 * attributes are too large.
 */
void sf_content_commit(struct sf_content *c, const struct sf_commit_args *args, sf_commit_fn cb,
                       void *arg);
typedef void (*sf_write_fn)(void *arg, const struct sf_err *err);
/**
 * sf_content_keep - acknowledge what is dirty before the bucket has it: bytes and record are synced
 * to the journal, then it is uploaded behind, as by a patient commit.
 * @kept:    called once: the journal has it, or why it cannot (then nothing more comes, what was
 *           kept before stays kept, and a commit is the way that is left).
 * @settled: after @kept: stored or refused as in a commit; or with done->superseded; -ECANCELED:
 *           the writer ends, and the next one does it.
 *
 * Beyond the bounds of the writer it waits, in order, until there is room; also while the journal
 * is full. What has failed several times while others were stored takes no room (write/room.h).
 * Keeps of a content at the same time become one. What is kept while an earlier state
 * waits for its upload takes its place; an upload that runs is followed by another one. An upload
 * sends what was kept, unless a commit wants newer bytes. Thread-safe; does local I/O of up to 64
 * KiB.
 */
void sf_content_keep(struct sf_content *c, const struct sf_commit_args *args, sf_write_fn kept,
                     sf_commit_fn settled, void *arg);
/**
 * sf_content_move_kept - another name for what is kept, if no request was made for it: the record
 * gets it (and @over's records go, a content that it replaces; NULL = none), then @cb runs, and the
 * caller retargets the content before it returns from there. @exists: as sf_content_retarget().
 * Returns false when it has begun, or a keep is under way; then nothing was done.
 */
bool sf_content_move_kept(struct sf_content *c, const char *bucket, const char *key, bool exists,
                          struct sf_content *over, sf_write_fn cb, void *arg);
/* The name of what is kept is gone, and no request was made for it: as sf_content_abandon(), and
 * @cb when the journal has forgotten it. Returns false as above. */
bool sf_content_withdraw(struct sf_content *c, sf_write_fn cb, void *arg);
/* Whether the journal has it to be sent, so that nothing is lost when the process ends here; what
 * was refused is not. */
bool sf_content_kept(struct sf_content *c);
/* What user.supafs.sync says: "clean", "dirty", "uploading 43 %", "pending: WHY", "failed: WHY". */
void sf_content_sync_state(struct sf_content *c, char *buf, size_t size);
/* A content that the journal had from an earlier process, on its way to the bucket. */
struct sf_pending {
    struct sf_content
        *content; /* whoever wants to keep it takes a reference, the rest is borrowed */
    const char *bucket, *key, *mark;
    const char *xattrs;               /* changes, as in a commit; NULL = none */
    const char *mime, *cache_control; /* that were asked for, as in a commit */
    bool exists;                      /* an object of this key was known */
    const struct sf_version *base;    /* and which */
};
typedef void (*sf_pending_fn)(void *arg, const struct sf_pending *p);
/* All of them, in the order in which they were written. */
void sf_writer_pending(struct sf_writer *w, sf_pending_fn fn, void *arg);
/* Uploads that wait to be tried again end with -ECANCELED, and none waits any more. */
void sf_writer_give_up(struct sf_writer *w);
/* Keep the bytes in quarantine/ because of @why, and log where. The content is clean afterwards;
 * what is open still reads the bytes, a change leaves the kept file alone. @path_out: may be NULL;
 * at least PATH_MAX bytes; "" for an empty content, of which nothing is kept. On failure (disk
 * full) the bytes stay in staging/ for the next start, and @path_out says so. */
int sf_content_quarantine(struct sf_content *c, const struct sf_err *why, char *path_out);

/* ---- what is pending, for a person who looks --------------------------------------------------
 */

/* One record of the journal, and what becomes of it just now. Strings are borrowed for the call;
 * NULL = not told. */
struct sf_pending_row {
    uint64_t seq;
    const char *kind, *state; /* as docs/formats/journal.md names them */
    const char *bucket, *key, *to_bucket, *to_key;
    uint64_t size;   /* bytes, of a content */
    int64_t made_ns; /* wall clock */
    unsigned attempts;
    int err; /* -errno of the last failure; 0 = none */
    const char *reason;
    const char *file; /* name below staging/ of a content's bytes; NULL = in the journal itself */
    bool running;     /* a request for it is under way */
    unsigned percent; /* of it, as far as is known */
    int64_t next_ms;  /* it rests, and is tried again after so long; -1 = it does not */
    bool damaged;     /* nobody can read it: `reason` says why; only seq is told */
};
/* Another result than 0 ends the walk. */
typedef int (*sf_pending_row_fn)(void *arg, const struct sf_pending_row *row);
/**
 * sf_writer_each_pending - all records, by number, which is the order in which they were made. @fn
 * is called without a lock and may take its time. Waits for the local disk. Returns 0, the result
 * of @fn, or -errno.
 */
int sf_writer_each_pending(struct sf_writer *w, sf_pending_row_fn fn, void *arg);
/* The same of a state directory that no daemon holds, which is only read. -EBUSY: one holds it, as
 * @err says; -ENOENT: there is no journal. */
int sf_state_each_pending(const char *state_dir, sf_pending_row_fn fn, void *arg,
                          struct sf_err *err);

/* Try now what rests: one record, or all (0). Returns how many were woken, or with @err -ENOENT:
 * there is no such record. */
int sf_writer_pending_retry(struct sf_writer *w, uint64_t seq, struct sf_err *err);
/**
 * sf_writer_pending_drop - a content is not to be sent any more: its upload ends with a refusal, so
 * its bytes go to quarantine, and whoever waits is told. Waits for that, a few seconds.
 * @path: gets where the bytes are, "" = there were none; PATH_MAX bytes.
 * Returns 0; -ENOENT no such record; -EINVAL it is no content; -EBUSY a program has it open, or its
 * request has not ended yet; -EALREADY it was stored meanwhile. @err says what to do.
 */
int sf_writer_pending_drop(struct sf_writer *w, uint64_t seq, char *path, struct sf_err *err);

struct sf_flush_now {
    unsigned left;    /* changes */
    uint64_t bytes;   /* of them that are still to be sent */
    unsigned refused; /* contents and removals that ended so */
    unsigned local;   /* attributes that cannot be written now; nobody waits for them */
    char reason[240]; /* why the first that has failed did so; "" = none has */
};
struct sf_flush_args {
    const char *bucket, *key; /* this key, or all below this prefix; NULL = everything */
    int64_t deadline_ms;      /* INT64_MAX = none */
    int (*progress)(void *arg, const struct sf_flush_now *now); /* some times a second; another
                                                                   result than 0 ends it */
    void *arg;
};
/**
 * sf_writer_flush - wait until all that was acknowledged before the call is in the bucket, or
 * refused. What rests is tried at once, and often.
 * Returns 0; -ETIMEDOUT; -ECANCELED the writer ends; the result of @progress; -ENOMEM.
 */
int sf_writer_flush(struct sf_writer *w, const struct sf_flush_args *args,
                    struct sf_flush_now *end);

/* What such a wait would wait for now; @settled: what stays here when the writer ends now, and all
 * that was done before is known to be (a sync of the local disk). */
void sf_writer_left(struct sf_writer *w, bool settled, struct sf_flush_now *now);

/* What is kept in quarantine/ of a state directory. */
struct sf_quarantine_row {
    const char *path;         /* of the bytes */
    const char *bucket, *key; /* NULL = not known */
    uint64_t size;
    const char *time, *err, *reason; /* NULL = there is no note */
};
/* Oldest first. 0, the result of @fn, or -errno; 0 also when there is no such directory. */
int sf_state_each_quarantined(const char *state_dir,
                              int (*fn)(void *arg, const struct sf_quarantine_row *row), void *arg);

/* Fetch all that is missing. */
void sf_content_fill(struct sf_content *c, sf_write_fn cb, void *arg);
/* Whether it has bytes of a source that were not fetched. */
bool sf_content_lacks(struct sf_content *c);
/* Of its present bytes, in hex: true, or false: it is not known yet. Waits some milliseconds at
 * most. */
bool sf_content_sha256(struct sf_content *c, char hex[65]);

/* ---- objects that contents begin with ---------------------------------------------------------
 */

/**
 * sf_sources_rescue - before a change that destroys the version at this key (delete, replace,
 * upload): every content that lacks bytes of it is filled. Waits; on a worker.
 * Clean contents (open versions) get keep_open_max bytes in all; one for which that does not do is
 * given up: its missing bytes are -ESTALE. Returns 0, or why bytes could not be fetched now
 * although the version may be there: then the change is better not done.
 */
int sf_sources_rescue(struct sf_writer *w, const char *bucket, const char *key, int64_t deadline_ms,
                      struct sf_err *err);
/* Before a server-side move of the object, or a copy after which it is deleted: nothing is fetched
 * of it until the next. */
void sf_sources_hold(struct sf_writer *w, const char *bucket, const char *key);
/* After it; with the same key again and NULL when it has failed. @was: what was moved; contents
 * that begin with another version are given up; NULL = not known. @now: what it is under the new
 * name, NULL or nothing known = the same object. Also for a copy onto itself. */
void sf_sources_moved(struct sf_writer *w, const char *bucket, const char *key,
                      const char *to_bucket, const char *to_key, const struct sf_version *was,
                      const struct sf_version *now);
/* After a copy of the object onto itself, for other attributes: version @before is now @now (NULL =
 * it was not copied, or nobody knows). Contents of yet other versions stay what they are. */
void sf_sources_renewed(struct sf_writer *w, const char *bucket, const char *key,
                        const struct sf_version *before, const struct sf_version *now);

/* ---- changes of names ------------------------------------------------------------------------ */

/* -ENOENT when there was no such object. */
void sf_write_delete(struct sf_writer *w, const char *bucket, const char *key, sf_write_fn cb,
                     void *arg);
/**
 * sf_write_delete_behind - the same, acknowledged before the service is asked.
 * @known:   the version that is meant, or NULL; after a restart no other one is removed.
 * @kept:    the journal has it (called once; with an error nothing more comes).
 * @settled: it is gone (-ENOENT counts so); or it was refused and is there still; -ECANCELED: the
 *           writer stops, and the next one does it.
 * Those asked for within a short time are sent together. Changes of the key wait for it, and let it
 * be sent at once.
 */
void sf_write_delete_behind(struct sf_writer *w, const char *bucket, const char *key,
                            const struct sf_version *known, sf_write_fn kept, sf_write_fn settled,
                            void *arg);
/* Returns what @settled gets of this one, or NULL: nobody waits for it. Called without a lock. */
typedef void *(*sf_removal_fn)(void *arg, const char *bucket, const char *key);
/**
 * sf_writer_earlier_removals - the same, of those that an earlier process has acknowledged and this
 * one has found in the journal, the latest first. Each is given once.
 * @settled: as above; it may run before the call returns.
 */
void sf_writer_earlier_removals(struct sf_writer *w, sf_removal_fn fn, void *arg,
                                sf_write_fn settled);
/* From now on what is acknowledged and not sent yet ends with -ECANCELED; the next start does it.
 */
void sf_write_deletes_end(struct sf_writer *w);
/* A small object written whole (symlinks, markers). @replace: as `exists` in a commit; @mark: as
 * there. */
void sf_write_put_small(struct sf_writer *w, const char *bucket, const char *key, const char *mime,
                        const void *data, size_t len, bool replace, const char *mark,
                        sf_commit_fn cb, void *arg);
/*
 * A file's rename. @replace: the target may exist and is replaced atomically (copy with upsert,
 * reply checked against the source, source deleted if it is still what was copied); else -EEXIST
 * (move). A lost reply is settled by looking at both names before anything is repeated. What
 * others wrote to the source meanwhile is kept where the service allows it; else it is counted
 * and logged. Into another bucket: -EFBIG and -EPERM by its limits, which the service does not
 * check.
 */
struct sf_rename_args {
    const char *bucket, *key, *to_bucket, *to_key;
    bool replace;
    uint64_t max_size;        /* the target bucket's limit; 0 = none */
    const char *const *mimes; /* the types that it takes; NULL = all; borrowed until the callback
                                 has run */
};
/* @now: the version that the new name has; empty where the service does not tell. */
typedef void (*sf_rename_fn)(void *arg, const struct sf_err *err, const struct sf_version *now);
void sf_write_rename(struct sf_writer *w, const struct sf_rename_args *args, sf_rename_fn cb,
                     void *arg);
/**
 * sf_write_rename_dir - the same of a directory; both keys end in '/', @replace does not count.
 *
 * The service moves one object at a time, so for a while some are under the one name and some under
 * the other: see sf_write_other_name(). Before anything moves: -ENOENT nothing is there; -ENOTEMPTY
 * anything but a marker is below the target; -EINVAL into itself; -ENAMETOOLONG, and -EFBIG or
 * -EPERM in another bucket, for any of the objects. An object that somebody else put under a new
 * name meanwhile stays, and ours is kept beside it. After an error in the middle both names have
 * some of the objects.
 */
void sf_write_rename_dir(struct sf_writer *w, const struct sf_rename_args *args, sf_rename_fn cb,
                         void *arg);

enum sf_other_name {
    SF_NAME_STAYS,
    SF_NAME_GOES, /* it is below a directory that is being renamed; the other name is the new one */
    SF_NAME_COMES, /* it is below the new name; the other is the old one */
};
/* Where else may @key (an object's, or a prefix) be found just now? Each object is under the old
 * name or the new one, and moves from the old to the new: who looks for it looks in this order.
 * *other_bucket and *other_key: for free(), unless it stays. Does not wait. */
enum sf_other_name sf_write_other_name(struct sf_writer *w, const char *bucket, const char *key,
                                       char **other_bucket, char **other_key);

struct sf_rename_progress {
    const char *bucket, *prefix, *to_bucket, *to_prefix;
    uint64_t done, total; /* objects; total 0 = not known */
};
typedef void (*sf_renames_fn)(void *arg, const struct sf_rename_progress *p);
/* All directories that are being renamed; @fn must not call back. */
void sf_write_renames(struct sf_writer *w, sf_renames_fn fn, void *arg);

/* Remove a directory: -ENOTEMPTY when anything but its placeholder is below; then the placeholder
 * goes. @prefix ends in '/'. */
void sf_write_rmdir(struct sf_writer *w, const char *bucket, const char *prefix, sf_write_fn cb,
                    void *arg);
void sf_write_bucket_create(struct sf_writer *w, const char *bucket, sf_write_fn cb, void *arg);
/* -ENOTEMPTY when it is not empty (the marker of an empty directory at its top counts as empty). */
void sf_write_bucket_delete(struct sf_writer *w, const char *bucket, sf_write_fn cb, void *arg);

/* ---- attributes ------------------------------------------------------------------------------ */

/* New attributes for an object whose bytes stay. Strings and structs are borrowed for the call. */
struct sf_attr_change {
    const char *bucket, *key;
    const struct sf_version *seen; /* what the caller takes the object for; NULL = whatever it is */
    const struct sf_mark *mark; /* all that stat(2) is to show (write/mark.h); one of which nothing
                                   is valid leaves the object's as it is */
    const char *xattrs;         /* NULL, or JSON: name -> base64, or null to remove */
    const char *mime;           /* NULL = as it is; "" = what the name tells */
    const char *cache_control;  /* without our directive; NULL = as it is, "" = none */
    bool former;                /* it had this before: what is asked for already is newer */
};
/* @now: the version that has the attributes; NULL with an error. */
typedef void (*sf_attrs_settled_fn)(void *arg, const struct sf_err *err,
                                    const struct sf_version *now);
/**
 * sf_write_attrs - change attributes. Changes of one key within a second are written as one.
 * @kept:    called when the change lasts, on a thread of the journal, or why it cannot be kept.
 * @settled: NULL, or called when the object has it, after @kept; or with -ENOENT, the object is
 *           gone; -ECANCELED, the writer ends (the journal has it); or another error, with which
 *           it stays local and goes with the next upload: too large for a copy without the
 *           function supafs_set_attrs, or refused.
 *
 * Both are called exactly once. If somebody else has written the object since @seen, times are
 * his, and so are content type and Cache-Control; only mode, owner and extended attributes are set.
 * If its mark tells that it is another file now, nothing is, and the one that was meant is gone.
 * The marker of an empty directory is made when it is not there.
 *
 * Content type and Cache-Control are to be what a GET says of the object: up to attr_copy_max a
 * copy onto itself brings them to its bytes; beyond that supafs_set_attrs sets them for those who
 * list.
 */
void sf_write_attrs(struct sf_writer *w, const struct sf_attr_change *ch, sf_write_fn kept,
                    sf_attrs_settled_fn settled, void *arg);
/**
 * sf_write_attrs_pending - what is not in the bucket yet, from this process or an earlier one.
 * @is: the version of the object as it is known now.
 * @m:  what its mark says; changed to what it will say.
 * Returns whether there is anything. Locking: order 67; memory only.
 */
bool sf_write_attrs_pending(struct sf_writer *w, const char *bucket, const char *key,
                            const struct sf_version *is, struct sf_mark *m);
/* The same of extended attributes: *xattrs is those that the object has (malloc'd JSON or NULL),
 * and becomes those that it will have. 0 or -ENOMEM. */
int sf_write_xattrs_pending(struct sf_writer *w, const char *bucket, const char *key,
                            const struct sf_version *is, const struct sf_mark *mark, char **xattrs);
/* The same of content type and Cache-Control: malloc'd, each NULL when nothing is to come, else as
 * in a change. 0 or -ENOMEM. */
int sf_write_type_pending(struct sf_writer *w, const char *bucket, const char *key,
                          const struct sf_version *is, const struct sf_mark *mark, char **mime,
                          char **cache_control);
/* Does a change of attributes of this key wait, or is it kept for the next upload? @why: of the
 * last attempt; "" = there was none. Locking: order 67; memory only. */
bool sf_write_attrs_wait(struct sf_writer *w, const char *bucket, const char *key, char *why,
                         size_t size);
/* Write what is pending for a key now (NULL for both = all); @cb when that was tried, with the
 * first error after which something is still pending. What is local is not tried. */
void sf_write_attrs_flush(struct sf_writer *w, const char *bucket, const char *key, sf_write_fn cb,
                          void *arg);

/* The content type for a name and the first bytes of a content (NULL = none yet). Static string. */
const char *sf_mime_guess(const char *name, const void *head, size_t len);
#define SF_MIME_HEAD 4096 /* bytes that an upload looks at */
/* May somebody set this as an object's content type? RFC 9110's "type/subtype", with parameters or
 * without, of at most SF_TYPE_MAX bytes; none of "inode/", which make another thing of a file. */
bool sf_mime_is_settable(const char *mime);
/* The same of a Cache-Control: visible ASCII and blanks between, at most SF_TYPE_MAX bytes, without
 * a directive of ours. */
bool sf_cache_control_is_settable(const char *text);
#define SF_TYPE_MAX 255
/* Whether a bucket with this list (NULL = all) takes this type: rows are "type/sub", or "type/"
 * and a star for all of a kind. */
bool sf_mime_allowed(const char *mime, const char *const *mimes);
/* Would the upload of a new object be refused for its type? Before it is made (@head NULL) the name
 * decides, if it tells a type; else the first bytes, once there are SF_MIME_HEAD. False is in the
 * log. */
bool sf_write_type_allowed(const char *bucket, const char *key, const void *head, size_t len,
                           const char *const *mimes);

#endif
