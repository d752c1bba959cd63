/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef SF_STORE_ENV_H
#define SF_STORE_ENV_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"

/*
 * A directory with named tables of byte keys and values (LMDB). Reads are short transactions that
 * see the last commit and wait for nobody. All changes are done by one thread of the environment:
 * those that wait together are one transaction, so that many callers share one sync.
 * Thread-safe. One process at a time: the caller holds a lock on the directory.
 */
struct sf_env;
struct sf_txn;

#define SF_ENV_KEY_MAX 511 /* bytes; a key has at least 1 */
/* throw_away: a file in the directory; it has the boot that writes, or this and the last commit. */
#define SF_ENV_BOOT       "boot"
#define SF_ENV_BOOT_CLEAN "clean"

struct sf_env_opts {
    const char *dir;           /* made with mode 0700 when missing */
    const char *name;          /* of the thread */
    const char *const *tables; /* their names, static; calls name them by index */
    unsigned n_tables;
    uint64_t max_bytes; /* the file grows up to this, plus an eighth for writes that free */
    int64_t lazy_ms;    /* how long a lazy write may wait for another; 0 = 200 */
    bool throw_away;    /* never synced: what was written survives kill -9; after a power loss, and
                           when the file is damaged, it begins empty */
    /* throw_away: damage was found, and the environment has begun empty again. On its thread,
     * holding no lock, before anything else is written; may submit. NULL = none. */
    void (*on_reset)(void *arg);
    void *arg;
};

/*
 * A throw_away environment is read under a guard: where the file turns out to be damaged the call
 * returns -EUCLEAN, also from the middle of the caller's function that looks at borrowed bytes. So
 * that function holds no lock and owns nothing that it does not find again. The environment is then
 * made empty behind; until that is done all calls fail with -EUCLEAN.
 */

enum sf_env_began {
    SF_ENV_EMPTY,   /* new, or what was there could not be believed */
    SF_ENV_CLEAN,   /* as an orderly end left it */
    SF_ENV_UNCLEAN, /* throw_away: as the death of a process left it */
};

/**
 * sf_env_open - open or make it.
 * Returns 0; -EINVAL the directory is in a mount of supafs itself; -EUCLEAN there is a file that is
 * no such database (kept as it is); -ENOMEM; -errno of the directory. The error says what to do.
 */
int sf_env_open(const struct sf_env_opts *opts, struct sf_env **ret, struct sf_err *err);
/* What is no such database is called data.mdb.damaged from now on, in place of an older one, so
 * that another can be begun. 0, or -errno with a sentence. */
int sf_env_put_aside(const char *dir, struct sf_err *err);
/* Does what was submitted, also by done(), then ends. May be NULL. */
void sf_env_close(struct sf_env *env);

/* How it was found. For one that is not throw_away never SF_ENV_UNCLEAN. */
enum sf_env_began sf_env_began(const struct sf_env *env);

/* throw_away: what the caller keeps beside it is not in order, so the next one is to find it
 * SF_ENV_UNCLEAN, whatever its end is like. */
void sf_env_end_unclean(struct sf_env *env);

/* throw_away: the caller has found that the content of a row cannot be what was written. It begins
 * empty again, soon. */
void sf_env_distrust(struct sf_env *env);

/* Append a value to @out. 0, -ENOENT, -ENOMEM, -EIO, -EUCLEAN. */
int sf_env_get(struct sf_env *env, unsigned table, const void *key, size_t len, struct sf_buf *out);

/* The same without a copy: the result of @fn, which has the bytes borrowed for the call. */
typedef int (*sf_env_value_fn)(void *arg, const void *value, size_t len);
int sf_env_read(struct sf_env *env, unsigned table, const void *key, size_t len, sf_env_value_fn fn,
                void *arg);

/* A row; the bytes are borrowed for the call, in which no write may be waited for. A result other
 * than 0 ends the walk. */
typedef int (*sf_env_row_fn)(void *arg, const void *key, size_t key_len, const void *value,
                             size_t value_len);
/**
 * sf_env_walk - call @fn for the rows of a table in the order of the keys' bytes.
 * @after: begin behind this key; NULL = at the first.
 * One transaction, so the caller keeps it short by ending the walk and going on behind the last
 * key. Returns 0 at the end of the table, the result of @fn, or as sf_env_get().
 */
int sf_env_walk(struct sf_env *env, unsigned table, const void *after, size_t len, sf_env_row_fn fn,
                void *arg);

/* One change; belongs to the environment until done. */
struct sf_env_write {
    /* On the environment's thread; may change several tables. May run again when another write of
     * its transaction failed. Returns 0 or -errno; then none of its changes is kept. */
    int (*run)(struct sf_env_write *w, struct sf_txn *txn);
    /* On the same thread, holding no lock, after the commit or instead of it. Must not wait. The
     * write is the caller's again. */
    void (*done)(struct sf_env_write *w, int rc);
    bool frees; /* it only removes, or makes smaller: may use the reserve of a full file */
    bool lazy;  /* nobody waits: goes along with the next transaction, or makes one after lazy_ms */

    struct sf_env_write *next; /* the environment's own */
    int rc;
};

/* Queue a change. Never waits, never fails: done() gets 0, what run() returned, -ENOSPC (file or
 * disk full), -EIO, -EUCLEAN. Order is kept. */
void sf_env_submit(struct sf_env *env, struct sf_env_write *w);
/* The same, and wait; `done` is not used. Not from the environment's thread. */
int sf_env_write_wait(struct sf_env *env, struct sf_env_write *w);

/* For run(). Return 0, -ENOENT (get, del), -ENOSPC, -ENOMEM, -EIO, -EUCLEAN. */
int sf_txn_get(struct sf_txn *txn, unsigned table, const void *key, size_t len, struct sf_buf *out);
int sf_txn_put(struct sf_txn *txn, unsigned table, const void *key, size_t len, const void *value,
               size_t value_len);
int sf_txn_del(struct sf_txn *txn, unsigned table, const void *key, size_t len);
/* The first row whose key is not before @key; both outputs begin empty, @value may be NULL. */
int sf_txn_next(struct sf_txn *txn, unsigned table, const void *key, size_t len,
                struct sf_buf *ret_key, struct sf_buf *value);

struct sf_env_stats {
    uint64_t writes, commits; /* since it was opened */
    uint64_t bytes;           /* of the file that are in use */
    uint64_t resets;          /* times that damage was found */
};
void sf_env_get_stats(struct sf_env *env, struct sf_env_stats *out);

#endif
