/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "store/env.h"

#include <assert.h>
#include <errno.h>
#include <lmdb.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/lock.h"
#include "base/mounts.h"
#include "base/thread.h"

#define BATCH_MAX 512 /* writes of one transaction: a bound for the pages it holds in memory */
#define LAZY_MS   200
#define CLEAN     "clean"

struct sf_env {
    MDB_env *mdb;
    MDB_dbi *tables;
    uint64_t max_bytes;
    bool throw_away;
    char *boot; /* throw_away: the file that says which boot wrote it */
    pthread_t thread;
    _Atomic uint64_t writes, commits;

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

static int
errno_of(int rc)
{
    if (rc >= 0)
        return -rc;
    switch (rc) {
    case MDB_NOTFOUND:
        return -ENOENT;
    case MDB_MAP_FULL:
    case MDB_TXN_FULL:
        return -ENOSPC;
    case MDB_BAD_VALSIZE:
        return -EINVAL;
    case MDB_READERS_FULL:
        return -EBUSY;
    case MDB_CORRUPTED:
    case MDB_PAGE_NOTFOUND:
    case MDB_INVALID:
    case MDB_VERSION_MISMATCH:
        return -EUCLEAN;
    default:
        return -EIO;
    }
}

/* ---- transactions --------------------------------------------------------------------------- */

static MDB_val
val(const void *p, size_t n)
{
    return (MDB_val){.mv_data = (void *)p, .mv_size = n};
}

static int
get(MDB_txn *txn, MDB_dbi table, const void *key, size_t len, struct sf_buf *out)
{
    MDB_val k = val(key, len), v;
    int rc = mdb_get(txn, table, &k, &v);
    return rc ? errno_of(rc) : sf_buf_append(out, v.mv_data, v.mv_size);
}

int
sf_txn_get(struct sf_txn *txn, unsigned table, const void *key, size_t len, struct sf_buf *out)
{
    return get(txn->mdb, txn->env->tables[table], key, len, out);
}

int
sf_txn_put(struct sf_txn *txn, unsigned table, const void *key, size_t len, const void *value,
           size_t value_len)
{
    MDB_val k = val(key, len), v = val(value, value_len);
    return errno_of(mdb_put(txn->mdb, txn->env->tables[table], &k, &v, 0));
}

int
sf_txn_del(struct sf_txn *txn, unsigned table, const void *key, size_t len)
{
    MDB_val k = val(key, len);
    return errno_of(mdb_del(txn->mdb, txn->env->tables[table], &k, NULL));
}

int
sf_env_get(struct sf_env *env, unsigned table, const void *key, size_t len, struct sf_buf *out)
{
    MDB_txn *txn;
    int rc = mdb_txn_begin(env->mdb, NULL, MDB_RDONLY, &txn);
    if (rc)
        return errno_of(rc);
    rc = get(txn, env->tables[table], key, len, out);
    mdb_txn_abort(txn);
    return rc;
}

/* The rows behind @after, as far as @fn wants them. */
static int
walk(MDB_cursor *cursor, const void *after, size_t len, sf_env_row_fn fn, void *arg)
{
    MDB_val k = val(after, len), v;
    int rc = mdb_cursor_get(cursor, &k, &v, after ? MDB_SET_RANGE : MDB_FIRST);
    if (!rc && after && k.mv_size == len && memcmp(k.mv_data, after, len) == 0)
        rc = mdb_cursor_get(cursor, &k, &v, MDB_NEXT);
    while (!rc) {
        int result = fn(arg, k.mv_data, k.mv_size, v.mv_data, v.mv_size);
        if (result)
            return result;
        rc = mdb_cursor_get(cursor, &k, &v, MDB_NEXT);
    }
    return rc == MDB_NOTFOUND ? 0 : errno_of(rc);
}

int
sf_env_walk(struct sf_env *env, unsigned table, const void *after, size_t len, sf_env_row_fn fn,
            void *arg)
{
    MDB_txn *txn;
    MDB_cursor *cursor;
    int rc = mdb_txn_begin(env->mdb, NULL, MDB_RDONLY, &txn);
    if (rc)
        return errno_of(rc);
    rc = errno_of(mdb_cursor_open(txn, env->tables[table], &cursor));
    if (!rc) {
        rc = walk(cursor, after, len, fn, arg);
        mdb_cursor_close(cursor);
    }
    mdb_txn_abort(txn);
    return rc;
}

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

static uint64_t
used_bytes(struct sf_env *env)
{
    MDB_envinfo info;
    MDB_stat st;
    MDB_txn *txn;
    mdb_env_info(env->mdb, &info);
    mdb_env_stat(env->mdb, &st);
    uint64_t pages = info.me_last_pgno + 1;
    if (pages * st.ms_psize < env->max_bytes || mdb_txn_begin(env->mdb, NULL, MDB_RDONLY, &txn))
        return pages * st.ms_psize;
    pages -= free_pages(txn);
    mdb_txn_abort(txn);
    return pages * st.ms_psize;
}

/* Those of a chain in one transaction; when one of them fails, nothing of it is kept. */
static int
commit(struct sf_env *env, struct sf_env_write *list, const struct sf_env_write *end, bool full)
{
    struct sf_txn txn = {.env = env};
    int rc = errno_of(mdb_txn_begin(env->mdb, NULL, 0, &txn.mdb));
    if (rc)
        return rc;
    for (struct sf_env_write *w = list; w != end && !rc; w = w->next)
        rc = full && !w->frees ? -ENOSPC : w->run(w, &txn);
    if (rc) {
        mdb_txn_abort(txn.mdb);
        return rc;
    }
    rc = errno_of(mdb_txn_commit(txn.mdb));
    if (!rc)
        atomic_fetch_add(&env->commits, 1);
    return rc;
}

/* All of them, in as few transactions as it takes: a write that fails takes no other with it. */
static void
commit_all(struct sf_env *env, struct sf_env_write *list)
{
    bool full = used_bytes(env) >= env->max_bytes;
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

static void *
env_thread(void *arg)
{
    struct sf_env *env = arg;
    sf_mutex_lock(&env->lock);
    for (;;) {
        while (!env->stopping && env->due_ms > sf_clock_ms())
            (void)sf_cond_timedwait_ms(&env->wake, &env->lock, env->due_ms);
        struct sf_env_write *list = env->first, **cut = &env->first;
        if (!list)
            break;
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
    int64_t due = w->lazy ? sf_clock_ms() + LAZY_MS : 0;
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

void
sf_env_get_stats(struct sf_env *env, struct sf_env_stats *out)
{
    *out = (struct sf_env_stats){
        .writes = atomic_load(&env->writes),
        .commits = atomic_load(&env->commits),
        .bytes = used_bytes(env),
    };
}

/* ---- opening -------------------------------------------------------------------------------- */

static int
is_own_mount(void *arg, const struct sf_mount *m)
{
    const struct stat *st = arg;
    return m->major == major(st->st_dev) && m->minor == minor(st->st_dev) &&
           strcmp(m->fstype, "fuse.supafs") == 0;
}

/* What such a file needs to be written would wait for this very database. */
static int
check_place(const char *dir, struct sf_err *err)
{
    struct stat st;
    if (stat(dir, &st) < 0)
        return sf_err_set(err, -errno, "cannot use %s: %m", dir);
    if (sf_mounts_each(is_own_mount, &st) == 1)
        return sf_err_set(err, -EINVAL,
                          "%s lies in a mount of supafs: it has to be on a local disk", dir);
    return 0;
}

/* One that may lack a part of what was written, since the system went down, begins empty. */
static int
drop_unsynced(struct sf_env *env, const char *dir, struct sf_err *err)
{
    char boot[64] = "";
    sf_autobuf struct sf_buf now = SF_BUF_INIT, then = SF_BUF_INIT;
    sf_autofree char *data = NULL;
    (void)sf_read_file("/proc/sys/kernel/random/boot_id", sizeof boot - 1, &now, NULL);
    snprintf(boot, sizeof boot, "%s", sf_buf_str(&now));
    if (asprintf(&env->boot, "%s/boot", dir) < 0)
        env->boot = NULL;
    if (asprintf(&data, "%s/data.mdb", dir) < 0)
        data = NULL;
    if (!env->boot || !data)
        return sf_err_set(err, -ENOMEM, "out of memory");
    int rc = sf_read_file(env->boot, 64, &then, NULL);
    bool whole = !rc && (strcmp(sf_buf_str(&then), CLEAN) == 0 ||
                         (boot[0] && strcmp(sf_buf_str(&then), boot) == 0));
    if (!whole && unlink(data) < 0 && errno != ENOENT)
        return sf_err_set(err, -errno, "cannot remove %s: %m", data);
    return sf_write_file_atomic(env->boot, boot, strlen(boot), 0600, err);
}

static int
open_tables(struct sf_env *env, const struct sf_env_opts *o)
{
    MDB_txn *txn;
    int rc = mdb_txn_begin(env->mdb, NULL, 0, &txn);
    if (rc)
        return rc;
    for (unsigned i = 0; i < o->n_tables && !rc; i++)
        rc = mdb_dbi_open(txn, o->tables[i], MDB_CREATE, &env->tables[i]);
    if (!rc)
        return mdb_txn_commit(txn);
    mdb_txn_abort(txn);
    return rc;
}

static int
open_mdb(struct sf_env *env, const struct sf_env_opts *o)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    uint64_t size = o->max_bytes + o->max_bytes / 8;
    int dead, rc = mdb_env_create(&env->mdb);
    if (rc)
        return rc;
    rc = mdb_env_set_mapsize(env->mdb, (size_t)(size / page + 1) * page);
    if (!rc)
        rc = mdb_env_set_maxdbs(env->mdb, o->n_tables);
    if (!rc)
        rc = mdb_env_open(env->mdb, o->dir, MDB_NOTLS | (o->throw_away ? MDB_NOSYNC : 0), 0600);
    if (!rc)
        rc = mdb_reader_check(env->mdb, &dead);
    if (!rc)
        rc = open_tables(env, o);
    if (rc) {
        mdb_env_close(env->mdb); /* after a failure, too */
        env->mdb = NULL;
    }
    return rc;
}

static int
open_files(struct sf_env *env, const struct sf_env_opts *o, struct sf_err *err)
{
    sf_autofree char *data = NULL;
    if (asprintf(&data, "%s/data.mdb", o->dir) < 0) {
        data = NULL;
        return sf_err_set(err, -ENOMEM, "out of memory");
    }
    int rc = open_mdb(env, o);
    if (errno_of(rc) == -EUCLEAN && o->throw_away && unlink(data) == 0)
        rc = open_mdb(env, o);
    if (rc)
        return sf_err_set(err, errno_of(rc), "cannot open the database in %s: %s", o->dir,
                          mdb_strerror(rc));
    /* The names of new files have to last as their content does. */
    if (!o->throw_away && ((rc = sf_fsync_parent(data)) || (rc = sf_fsync_parent(o->dir))))
        return sf_err_set(err, rc, "cannot sync %s: %s", o->dir, strerror(-rc));
    return 0;
}

static void
env_free(struct sf_env *env)
{
    if (env->mdb)
        mdb_env_close(env->mdb);
    sf_cond_fini(&env->wake);
    sf_mutex_fini(&env->lock);
    free(env->tables);
    free(env->boot);
    free(env);
}

int
sf_env_open(const struct sf_env_opts *opts, struct sf_env **ret, struct sf_err *err)
{
    struct sf_env *env = calloc(1, sizeof *env);
    if (!env)
        return sf_err_set(err, -ENOMEM, "out of memory");
    sf_mutex_init(&env->lock, 0);
    sf_cond_init(&env->wake);
    env->tail = &env->first;
    env->due_ms = INT64_MAX;
    env->max_bytes = opts->max_bytes;
    env->throw_away = opts->throw_away;
    env->tables = calloc(opts->n_tables, sizeof *env->tables);
    int rc = env->tables ? 0 : sf_err_set(err, -ENOMEM, "out of memory");
    if (!rc)
        rc = sf_mkdir_p(opts->dir, err);
    if (!rc)
        rc = check_place(opts->dir, err);
    if (!rc && opts->throw_away)
        rc = drop_unsynced(env, opts->dir, err);
    if (!rc)
        rc = open_files(env, opts, err);
    if (!rc && (rc = sf_thread_start(opts->name, env_thread, env, &env->thread)))
        rc = sf_err_set(err, rc, "cannot start a thread: %s", strerror(-rc));
    if (rc) {
        env_free(env);
        return rc;
    }
    *ret = env;
    return 0;
}

void
sf_env_close(struct sf_env *env)
{
    if (!env)
        return;
    sf_mutex_lock(&env->lock);
    env->stopping = true;
    sf_cond_signal(&env->wake);
    sf_mutex_unlock(&env->lock);
    pthread_join(env->thread, NULL);
    if (env->throw_away && mdb_env_sync(env->mdb, 1) == 0)
        (void)sf_write_file_atomic(env->boot, CLEAN, strlen(CLEAN), 0600, NULL);
    env_free(env);
}
