/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef SF_STORE_INTERNAL_H
#define SF_STORE_INTERNAL_H

#include <lmdb.h>
#include <pthread.h>
#include <stdatomic.h>

#include "base/lock.h"
#include "store/env.h"

/* Internal to src/store: what the parts of an environment share. env-rows.c reads and writes rows,
 * env-writer.c has the thread, env-files.c opens LMDB and begins it again, env.c the life of it. */

#define ENV_IDLE_MAX 16 /* transactions kept for the next readers */

struct sf_env {
    MDB_env *mdb; /* NULL = damaged, and a new one could not be made */
    MDB_dbi *tables;
    struct sf_env_opts opts; /* `dir` is owned */
    char *data, *lock_file;
    char *boot;   /* throw_away: the file that says which boot wrote it */
    char *marker; /* throw_away: the file that says that its damage ended a process */
    enum sf_env_began began;
    bool abandoned;      /* the writer was left in the middle; for its thread, and the opening */
    uint64_t closed_txn; /* throw_away: the last commit, as the end before said */
    size_t last_txn;     /* throw_away: the last commit; LMDB has two heads, and takes the other one
                            when it cannot read this; for its thread, and the opening */
    pthread_t thread;
    _Atomic uint64_t writes, commits, resets;
    _Atomic bool end_unclean;
    _Atomic bool damaged; /* set by anybody, cleared by the environment's thread */

    struct sf_mutex readers; /* leaf; protects the fields below */
    struct sf_cond no_reader;
    unsigned reading;
    MDB_txn *idle[ENV_IDLE_MAX];
    unsigned n_idle;

    struct sf_mutex lock; /* leaf; protects the fields below */
    struct sf_cond wake;
    struct sf_env_write *first, **tail;
    int64_t due_ms; /* when the next transaction begins; INT64_MAX = nothing waits */
    bool stopping;
};

struct sf_txn {
    struct sf_env *env;
    MDB_txn *mdb;
};

/* What is done under the guard, in a transaction of a reader or of the writer. */
struct env_step {
    struct sf_env *env;
    int (*fn)(struct env_step *s);
    MDB_txn *txn;
    MDB_cursor *cursor;
    unsigned table;
    MDB_val key, value;
    bool first; /* walk: from the first row */
    union {
        sf_env_value_fn value;
        sf_env_row_fn row;
    } call;
    void *arg;
    uint64_t number;
    bool exact;
};

/* env-rows.c */

/* -errno of a result of LMDB. */
int env_errno(int rc);
MDB_val env_val(const void *p, size_t n);
/* s->fn, guarded; @writer: on the environment's thread. What turns out to be damaged is noted. */
int env_step(struct env_step *s, bool writer);
/* s->fn in a transaction of a reader. */
int env_read(struct env_step *s);
/* The environment begins empty again, soon. */
void env_damage_found(struct sf_env *env);

/* env-writer.c */

/* Of the file; those that were given back do not count when it is full, or with @exact. */
uint64_t env_used_bytes(struct sf_env *env, bool exact);
/* Until the environment is stopped. @arg: the environment. */
void *env_thread(void *arg);

/* env-files.c */

int env_open_files(struct sf_env *env, struct sf_err *err);
/* Damage was found; on the environment's thread. Nothing of the file is believed any more. */
void env_begin_empty(struct sf_env *env);
void env_close_mdb(struct sf_env *env);
/* One that was left in the middle of a write is kept, out of reach. */
void env_lose(const struct sf_env *env);
/* After a commit, or when it was opened. */
void env_note_last_txn(struct sf_env *env);

#endif
