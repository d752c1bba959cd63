/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "store/internal.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "store/guard.h"

int
sf_env_put_aside(const char *dir, struct sf_err *err)
{
    char file[PATH_MAX + 16], aside[PATH_MAX + 32];
    snprintf(file, sizeof file, "%s/data.mdb", dir);
    snprintf(aside, sizeof aside, "%s.damaged", file);
    return rename(file, aside) < 0 ? sf_err_set(err, -errno, "cannot rename %s: %m", file) : 0;
}

void
env_note_last_txn(struct sf_env *env)
{
    MDB_envinfo info;
    mdb_env_info(env->mdb, &info);
    env->last_txn = info.me_last_txnid;
}

static int
open_tables(struct sf_env *env)
{
    MDB_txn *txn;
    int rc = mdb_txn_begin(env->mdb, NULL, 0, &txn);
    if (rc)
        return rc;
    for (unsigned i = 0; i < env->opts.n_tables && !rc; i++)
        rc = mdb_dbi_open(txn, env->opts.tables[i], MDB_CREATE, &env->tables[i]);
    if (!rc)
        return mdb_txn_commit(txn);
    mdb_txn_abort(txn);
    return rc;
}

static void
on_assert(MDB_env *mdb, const char *msg)
{
    (void)mdb, (void)msg;
    sf_guard_leave();
}

/* The result of LMDB, or -EUCLEAN. */
static int
open_mdb_step(void *arg)
{
    struct sf_env *env = arg;
    const struct sf_env_opts *o = &env->opts;
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    uint64_t size = o->max_bytes + o->max_bytes / 8;
    int dead, rc = mdb_env_set_mapsize(env->mdb, (size_t)(size / page + 1) * page);
    if (!rc)
        rc = mdb_env_set_maxdbs(env->mdb, o->n_tables);
    if (!rc && o->throw_away)
        rc = mdb_env_set_assert(env->mdb, on_assert);
    if (!rc)
        rc = mdb_env_open(env->mdb, o->dir, MDB_NOTLS | (o->throw_away ? MDB_NOSYNC : 0), 0600);
    if (!rc)
        rc = mdb_reader_check(env->mdb, &dead);
    if (rc)
        return rc;
    env_note_last_txn(env);
    if (env->closed_txn && env->last_txn != env->closed_txn)
        return MDB_CORRUPTED;
    rc = open_tables(env);
    env_note_last_txn(env);
    return rc;
}

/* LMDB was left in the middle of a write. Its transaction may have cursors on a stack that is gone,
 * so it cannot be ended, nor can what holds its locks be unmapped. It is kept as it is, out of
 * reach: the next one has files of its own. */
struct lost {
    struct lost *next;
    MDB_env *mdb;
    MDB_txn *idle[ENV_IDLE_MAX];
};
static struct lost *_Atomic all_lost; /* so that a search for leaks finds an owner */

void
env_lose(const struct sf_env *env)
{
    struct lost *l = calloc(1, sizeof *l);
    if (!l)
        return;
    l->mdb = env->mdb;
    memcpy(l->idle, env->idle, env->n_idle * sizeof *l->idle);
    l->next = atomic_load(&all_lost);
    while (!atomic_compare_exchange_weak(&all_lost, &l->next, l))
        ;
}

static void
abandon(struct sf_env *env)
{
    env_lose(env);
    env->mdb = NULL;
    env->n_idle = 0;
    env->abandoned = false;
    (void)unlink(env->lock_file);
}

static int
open_mdb(struct sf_env *env)
{
    int rc = mdb_env_create(&env->mdb);
    if (rc)
        return rc;
    rc = env->opts.throw_away ? sf_guarded(env->marker, open_mdb_step, env) : open_mdb_step(env);
    if (rc == -EFAULT)
        abandon(env);
    else if (rc) {
        mdb_env_close(env->mdb); /* after a failure, too */
        env->mdb = NULL;
    }
    return rc == -EFAULT ? MDB_CORRUPTED : rc;
}

int
env_open_files(struct sf_env *env, struct sf_err *err)
{
    int rc = open_mdb(env), e = env_errno(rc);
    env->closed_txn = 0;
    /* A damaged head may also ask for a map of any size. */
    bool damaged = e == -EUCLEAN || e == -EINVAL || e == -ENOMEM || e == -EIO;
    if (damaged && env->opts.throw_away && unlink(env->data) == 0) {
        env->began = SF_ENV_EMPTY;
        rc = open_mdb(env);
    }
    if (rc)
        return sf_err_set(err, env_errno(rc), "cannot open the database in %s: %s", env->opts.dir,
                          mdb_strerror(rc));
    /* The names of new files have to last as their content does. */
    if (!env->opts.throw_away &&
        ((rc = sf_fsync_parent(env->data)) || (rc = sf_fsync_parent(env->opts.dir))))
        return sf_err_set(err, rc, "cannot sync %s: %s", env->opts.dir, strerror(-rc));
    return 0;
}

void
env_close_mdb(struct sf_env *env)
{
    while (env->n_idle)
        mdb_txn_abort(env->idle[--env->n_idle]);
    if (env->mdb)
        mdb_env_close(env->mdb);
    env->mdb = NULL;
}

/* Damage was found. Nothing of the file is believed any more, so it goes. */
void
env_begin_empty(struct sf_env *env)
{
    sf_mutex_lock(&env->readers);
    while (env->reading)
        sf_cond_wait(&env->no_reader, &env->readers);
    sf_mutex_unlock(&env->readers); /* no other comes while it is damaged */
    if (env->abandoned)
        abandon(env);
    else
        env_close_mdb(env);
    bool ok = (unlink(env->data) == 0 || errno == ENOENT) && open_mdb(env) == 0;
    if (!ok)
        return; /* the next write tries again */
    atomic_fetch_add(&env->resets, 1);
    atomic_store(&env->damaged, false);
    if (env->opts.on_reset)
        env->opts.on_reset(env->opts.arg);
}
