/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "store/internal.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#include "base/clock.h"
#include "observe/counter.h"

#define BATCH_MAX 512 /* writes of one transaction: a bound for the pages it holds in memory */

/* ---- the writer thread ---------------------------------------------------------------------- */

/* Pages that earlier transactions gave back. */
static uint64_t
free_pages(MDB_txn *txn)
{
    MDB_cursor *cursor;
    MDB_val k, v;
    uint64_t n = 0;
    size_t count;
    if (mdb_cursor_open(txn, 0, &cursor)) /* LMDB's own table of them: a count, then numbers */
        return 0;
    while (mdb_cursor_get(cursor, &k, &v, MDB_NEXT) == 0) {
        memcpy(&count, v.mv_data, sizeof count);
        n += count;
    }
    mdb_cursor_close(cursor);
    return n;
}

static int
used_step(struct env_step *s)
{
    MDB_envinfo info;
    MDB_stat st;
    mdb_env_info(s->env->mdb, &info);
    mdb_env_stat(s->env->mdb, &st);
    uint64_t pages = info.me_last_pgno + 1;
    if (s->exact || pages * st.ms_psize >= s->env->opts.max_bytes)
        pages -= free_pages(s->txn);
    s->number = pages * st.ms_psize;
    return 0;
}

uint64_t
env_used_bytes(struct sf_env *env, bool exact)
{
    struct env_step s = {.env = env, .fn = used_step, .exact = exact};
    (void)env_read(&s);
    return s.number;
}

static int
begin_write_step(struct env_step *s)
{
    int rc = mdb_txn_begin(s->env->mdb, NULL, 0, &s->txn);
    if (rc == MDB_PANIC && s->env->opts.throw_away)
        return -EUCLEAN; /* its head could not be written: good for nothing until begun again */
    if (rc || !s->env->opts.throw_away || mdb_txn_id(s->txn) == s->env->last_txn + 1)
        return env_errno(rc);
    mdb_txn_abort(s->txn);
    return -EUCLEAN;
}

static int
commit_step(struct env_step *s)
{
    int rc = mdb_txn_commit(s->txn);
    s->txn = NULL; /* whatever came of it */
    env_note_last_txn(s->env);
    return env_errno(rc);
}

/* Those of a chain in one transaction; when one of them fails, nothing of it is kept. */
static int
commit(struct sf_env *env, struct sf_env_write *list, const struct sf_env_write *end, bool full)
{
    struct env_step s = {.env = env, .fn = begin_write_step};
    int rc = env_step(&s, true);
    if (rc)
        return rc;
    struct sf_txn txn = {.env = env, .mdb = s.txn};
    for (struct sf_env_write *w = list; w != end && !rc; w = w->next)
        rc = full && !w->frees ? -ENOSPC : w->run(w, &txn);
    if (!rc && env->opts.throw_away && atomic_load(&env->damaged))
        rc = -EUCLEAN;
    if (rc) {
        if (!env->abandoned)
            mdb_txn_abort(s.txn);
        return rc;
    }
    s.fn = commit_step;
    rc = env_step(&s, true);
    if (!rc)
        atomic_fetch_add(&env->commits, 1);
    if (!env->opts.throw_away)
        sf_count(SF_C_SYNCS, 1);
    return rc;
}

/* All of them, in as few transactions as it takes: a write that fails takes no other with it. */
static void
commit_all(struct sf_env *env, struct sf_env_write *list)
{
    bool full = env_used_bytes(env, false) >= env->opts.max_bytes;
    int rc = commit(env, list, NULL, full);
    for (struct sf_env_write *w = list; w; w = w->next)
        w->rc = rc && (w != list || list->next) ? commit(env, w, w->next, full) : rc;
    while (list) {
        struct sf_env_write *w = list;
        list = w->next;
        atomic_fetch_add(&env->writes, 1);
        w->done(w, w->rc);
    }
}

void *
env_thread(void *arg)
{
    struct sf_env *env = arg;
    sf_mutex_lock(&env->lock);
    for (;;) {
        while (!env->stopping && env->due_ms > sf_clock_ms())
            (void)sf_cond_timedwait_ms(&env->wake, &env->lock, env->due_ms);
        if (atomic_load(&env->damaged) && !env->stopping) {
            sf_mutex_unlock(&env->lock);
            env_begin_empty(env);
            sf_mutex_lock(&env->lock);
        }
        struct sf_env_write *list = env->first, **cut = &env->first;
        if (!list && env->stopping)
            break;
        if (!list) {
            env->due_ms = INT64_MAX;
            continue;
        }
        for (unsigned n = 0; *cut && n < BATCH_MAX; n++)
            cut = &(*cut)->next;
        env->first = *cut;
        if (!env->first) {
            env->tail = &env->first;
            env->due_ms = INT64_MAX;
        }
        *cut = NULL;
        sf_mutex_unlock(&env->lock);
        commit_all(env, list);
        sf_mutex_lock(&env->lock);
    }
    sf_mutex_unlock(&env->lock);
    return NULL;
}

void
sf_env_submit(struct sf_env *env, struct sf_env_write *w)
{
    w->next = NULL;
    SF_GUARD(&env->lock);
    *env->tail = w;
    env->tail = &w->next;
    int64_t due = w->lazy ? sf_clock_ms() + env->opts.lazy_ms : 0;
    if (due < env->due_ms) {
        env->due_ms = due;
        sf_cond_signal(&env->wake);
    }
}

/* A write that somebody waits for. */
struct waiting {
    struct sf_env_write w;
    struct sf_env *env;
    struct sf_env_write *real;
    struct sf_cond finished; /* with the environment's lock, which also protects the next */
    bool done;
    int rc;
};

static int
waiting_run(struct sf_env_write *w, struct sf_txn *txn)
{
    struct sf_env_write *real = ((struct waiting *)w)->real;
    return real->run(real, txn);
}

static void
waiting_done(struct sf_env_write *w, int rc)
{
    struct waiting *wait = (struct waiting *)w;
    SF_GUARD(&wait->env->lock);
    wait->rc = rc;
    wait->done = true;
    sf_cond_signal(&wait->finished);
}

int
sf_env_write_wait(struct sf_env *env, struct sf_env_write *w)
{
    struct waiting wait = {.env = env, .real = w};
    wait.w = (struct sf_env_write){.run = waiting_run, .done = waiting_done, .frees = w->frees};
    assert(!pthread_equal(pthread_self(), env->thread));
    sf_cond_init(&wait.finished);
    sf_env_submit(env, &wait.w);
    sf_mutex_lock(&env->lock);
    while (!wait.done)
        sf_cond_wait(&wait.finished, &env->lock);
    sf_mutex_unlock(&env->lock);
    sf_cond_fini(&wait.finished);
    return wait.rc;
}
