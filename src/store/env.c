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
#include "base/str.h"
#include "base/thread.h"
#include "observe/counter.h"
#include "store/guard.h"

#define BATCH_MAX 512 /* writes of one transaction: a bound for the pages it holds in memory */
#define LAZY_MS   200
#define CLEAN     "clean"
#define IDLE_MAX  16 /* transactions kept for the next readers */

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
    MDB_txn *idle[IDLE_MAX];
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
    case MDB_INCOMPATIBLE: /* what only a damaged page can lead to */
    case MDB_CURSOR_FULL:
    case MDB_PAGE_FULL:
    case MDB_BAD_DBI:
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

/* What is done under the guard, in a transaction of a reader or of the writer. */
struct step {
    struct sf_env *env;
    int (*fn)(struct step *s);
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
};

static int
run_step(void *arg)
{
    struct step *s = arg;
    return s->fn(s);
}

static void
damage_found(struct sf_env *env)
{
    atomic_store(&env->damaged, true);
    SF_GUARD(&env->lock);
    env->due_ms = 0;
    sf_cond_signal(&env->wake);
}

static int
step(struct step *s, bool writer)
{
    struct sf_env *env = s->env;
    if (!env->opts.throw_away)
        return s->fn(s);
    if (atomic_load(&env->damaged))
        return -EUCLEAN;
    int rc = sf_guarded(writer ? env->marker : NULL, run_step, s);
    if (rc == -EFAULT) {
        env->abandoned |= writer;
        rc = -EUCLEAN;
    }
    if (rc == -EUCLEAN)
        damage_found(env);
    return rc;
}

/* ---- reading -------------------------------------------------------------------------------- */

/* Opening one costs more than most reads, so some are kept; not one per thread, which come and go.
 */
static int
reader_enter(struct step *s)
{
    struct sf_env *env = s->env;
    SF_GUARD(&env->readers);
    if (atomic_load(&env->damaged))
        return -EUCLEAN;
    env->reading++;
    s->txn = env->n_idle ? env->idle[--env->n_idle] : NULL;
    return 0;
}

static void
reader_leave(struct step *s, bool keep)
{
    struct sf_env *env = s->env;
    if (s->cursor)
        mdb_cursor_close(s->cursor);
    if (s->txn && keep)
        mdb_txn_reset(s->txn);
    sf_mutex_lock(&env->readers);
    if (keep && s->txn && env->n_idle < IDLE_MAX)
        env->idle[env->n_idle++] = sf_steal(s->txn);
    sf_mutex_unlock(&env->readers);
    if (s->txn)
        mdb_txn_abort(s->txn);
    sf_mutex_lock(&env->readers);
    if (--env->reading == 0)
        sf_cond_signal(&env->no_reader);
    sf_mutex_unlock(&env->readers);
}

static int
begin_step(struct step *s)
{
    return errno_of(s->txn ? mdb_txn_renew(s->txn)
                           : mdb_txn_begin(s->env->mdb, NULL, MDB_RDONLY, &s->txn));
}

/* @s->fn in a transaction of a reader. */
static int
read_step(struct step *s)
{
    int (*fn)(struct step *) = s->fn;
    int rc = reader_enter(s);
    if (rc)
        return rc;
    s->fn = begin_step;
    rc = step(s, false);
    bool begun = !rc;
    s->fn = fn;
    if (begun)
        rc = step(s, false);
    reader_leave(s, begun && rc != -EUCLEAN);
    return rc;
}

static int
get_step(struct step *s)
{
    int rc = mdb_get(s->txn, s->env->tables[s->table], &s->key, &s->value);
    return rc ? errno_of(rc) : s->call.value(s->arg, s->value.mv_data, s->value.mv_size);
}

int
sf_env_read(struct sf_env *env, unsigned table, const void *key, size_t len, sf_env_value_fn fn,
            void *arg)
{
    struct step s = {.env = env,
                     .fn = get_step,
                     .table = table,
                     .key = val(key, len),
                     .call.value = fn,
                     .arg = arg};
    return read_step(&s);
}

static int
append(void *arg, const void *value, size_t len)
{
    return sf_buf_append(arg, value, len);
}

int
sf_env_get(struct sf_env *env, unsigned table, const void *key, size_t len, struct sf_buf *out)
{
    return sf_env_read(env, table, key, len, append, out);
}

/* The rows behind the key, as far as the function wants them. */
static int
walk_step(struct step *s)
{
    MDB_val k = s->key, v;
    int rc = mdb_cursor_open(s->txn, s->env->tables[s->table], &s->cursor);
    if (!rc)
        rc = mdb_cursor_get(s->cursor, &k, &v, s->first ? MDB_FIRST : MDB_SET_RANGE);
    if (!rc && !s->first && k.mv_size == s->key.mv_size &&
        memcmp(k.mv_data, s->key.mv_data, k.mv_size) == 0)
        rc = mdb_cursor_get(s->cursor, &k, &v, MDB_NEXT);
    while (!rc) {
        int result = s->call.row(s->arg, k.mv_data, k.mv_size, v.mv_data, v.mv_size);
        if (result)
            return result;
        rc = mdb_cursor_get(s->cursor, &k, &v, MDB_NEXT);
    }
    return rc == MDB_NOTFOUND ? 0 : errno_of(rc);
}

int
sf_env_walk(struct sf_env *env, unsigned table, const void *after, size_t len, sf_env_row_fn fn,
            void *arg)
{
    struct step s = {.env = env,
                     .fn = walk_step,
                     .table = table,
                     .key = val(after, len),
                     .first = !after,
                     .call.row = fn,
                     .arg = arg};
    return read_step(&s);
}

/* ---- writing -------------------------------------------------------------------------------- */

static int
txn_step(struct sf_txn *txn, int (*fn)(struct step *s), struct step s)
{
    s.env = txn->env;
    s.txn = txn->mdb;
    s.fn = fn;
    return step(&s, true);
}

int
sf_txn_get(struct sf_txn *txn, unsigned table, const void *key, size_t len, struct sf_buf *out)
{
    return txn_step(
        txn, get_step,
        (struct step){.table = table, .key = val(key, len), .call.value = append, .arg = out});
}

/*
 * A long value lies on pages of its own, whose head says how many these are. LMDB believes that
 * when it frees them: of a damaged head it would make a list that no memory holds. So that is
 * looked at first. Head of LMDB 0.9: number u64, pad u16, flags u16, pages u32.
 */
static bool
sound(struct step *s)
{
    MDB_val v;
    MDB_stat st;
    MDB_envinfo info;
    uint16_t flags;
    uint32_t pages;
    if (!s->env->opts.throw_away || mdb_get(s->txn, s->env->tables[s->table], &s->key, &v) != 0 ||
        mdb_stat(s->txn, s->env->tables[s->table], &st) != 0 ||
        8 + s->key.mv_size + v.mv_size <= (((st.ms_psize - 16) / 2) & ~1u) - 2)
        return true;
    mdb_env_info(s->env->mdb, &info);
    memcpy(&flags, (const char *)v.mv_data - 6, sizeof flags);
    memcpy(&pages, (const char *)v.mv_data - 4, sizeof pages);
    return (flags & 4) && pages > (v.mv_size + 15) / st.ms_psize &&
           pages <= info.me_mapsize / st.ms_psize;
}
_Static_assert(MDB_VERSION_MAJOR == 0 && MDB_VERSION_MINOR == 9, "see sound()");

static int
put_step(struct step *s)
{
    if (!sound(s))
        return -EUCLEAN;
    return errno_of(mdb_put(s->txn, s->env->tables[s->table], &s->key, &s->value, 0));
}

int
sf_txn_put(struct sf_txn *txn, unsigned table, const void *key, size_t len, const void *value,
           size_t value_len)
{
    return txn_step(
        txn, put_step,
        (struct step){.table = table, .key = val(key, len), .value = val(value, value_len)});
}

static int
del_step(struct step *s)
{
    if (!sound(s))
        return -EUCLEAN;
    return errno_of(mdb_del(s->txn, s->env->tables[s->table], &s->key, NULL));
}

int
sf_txn_del(struct sf_txn *txn, unsigned table, const void *key, size_t len)
{
    return txn_step(txn, del_step, (struct step){.table = table, .key = val(key, len)});
}

struct row {
    struct sf_buf *key, *value;
};

static int
next_step(struct step *s)
{
    struct row *row = s->arg;
    int rc = mdb_cursor_open(s->txn, s->env->tables[s->table], &s->cursor);
    if (rc)
        return errno_of(rc);
    rc = errno_of(mdb_cursor_get(s->cursor, &s->key, &s->value, MDB_SET_RANGE));
    if (!rc)
        rc = sf_buf_append(row->key, s->key.mv_data, s->key.mv_size);
    if (!rc && row->value)
        rc = sf_buf_append(row->value, s->value.mv_data, s->value.mv_size);
    mdb_cursor_close(s->cursor);
    return rc;
}

int
sf_txn_next(struct sf_txn *txn, unsigned table, const void *key, size_t len, struct sf_buf *ret_key,
            struct sf_buf *value)
{
    struct row row = {.key = ret_key, .value = value};
    return txn_step(txn, next_step,
                    (struct step){.table = table, .key = val(key, len), .arg = &row});
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

static int
used_step(struct step *s)
{
    MDB_envinfo info;
    MDB_stat st;
    mdb_env_info(s->env->mdb, &info);
    mdb_env_stat(s->env->mdb, &st);
    uint64_t pages = info.me_last_pgno + 1;
    if (pages * st.ms_psize >= s->env->opts.max_bytes)
        pages -= free_pages(s->txn);
    s->number = pages * st.ms_psize;
    return 0;
}

static uint64_t
used_bytes(struct sf_env *env)
{
    struct step s = {.env = env, .fn = used_step};
    (void)read_step(&s);
    return s.number;
}

static int
begin_write_step(struct step *s)
{
    int rc = mdb_txn_begin(s->env->mdb, NULL, 0, &s->txn);
    if (rc == MDB_PANIC && s->env->opts.throw_away)
        return -EUCLEAN; /* its head could not be written: good for nothing until begun again */
    if (rc || !s->env->opts.throw_away || mdb_txn_id(s->txn) == s->env->last_txn + 1)
        return errno_of(rc);
    mdb_txn_abort(s->txn);
    return -EUCLEAN;
}

static void
note_last_txn(struct sf_env *env)
{
    MDB_envinfo info;
    mdb_env_info(env->mdb, &info);
    env->last_txn = info.me_last_txnid;
}

static int
commit_step(struct step *s)
{
    int rc = mdb_txn_commit(s->txn);
    s->txn = NULL; /* whatever came of it */
    note_last_txn(s->env);
    return errno_of(rc);
}

/* Those of a chain in one transaction; when one of them fails, nothing of it is kept. */
static int
commit(struct sf_env *env, struct sf_env_write *list, const struct sf_env_write *end, bool full)
{
    struct step s = {.env = env, .fn = begin_write_step};
    int rc = step(&s, true);
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
    rc = step(&s, true);
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
    bool full = used_bytes(env) >= env->opts.max_bytes;
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

static void begin_empty(struct sf_env *env);

static void *
env_thread(void *arg)
{
    struct sf_env *env = arg;
    sf_mutex_lock(&env->lock);
    for (;;) {
        while (!env->stopping && env->due_ms > sf_clock_ms())
            (void)sf_cond_timedwait_ms(&env->wake, &env->lock, env->due_ms);
        if (atomic_load(&env->damaged) && !env->stopping) {
            sf_mutex_unlock(&env->lock);
            begin_empty(env);
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
        .resets = atomic_load(&env->resets),
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
drop_unsynced(struct sf_env *env, struct sf_err *err)
{
    char boot[64] = "";
    sf_autobuf struct sf_buf now = SF_BUF_INIT, then = SF_BUF_INIT;
    (void)sf_read_file("/proc/sys/kernel/random/boot_id", sizeof boot - 1, &now, NULL);
    snprintf(boot, sizeof boot, "%s", sf_buf_str(&now));
    int rc = sf_read_file(env->boot, 64, &then, NULL);
    bool clean = !rc && sf_str_starts(sf_buf_str(&then), CLEAN " ") &&
                 sf_parse_u64(sf_buf_str(&then) + strlen(CLEAN " "), &env->closed_txn) == 0;
    bool whole = (clean || (!rc && boot[0] && strcmp(sf_buf_str(&then), boot) == 0)) &&
                 access(env->marker, F_OK) < 0;
    if (!whole && unlink(env->data) < 0 && errno != ENOENT)
        return sf_err_set(err, -errno, "cannot remove %s: %m", env->data);
    if (access(env->data, F_OK) == 0)
        env->began = clean ? SF_ENV_CLEAN : SF_ENV_UNCLEAN;
    (void)unlink(env->marker);
    return sf_write_file_atomic(env->boot, boot, strlen(boot), 0600, err);
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
    note_last_txn(env);
    if (env->closed_txn && env->last_txn != env->closed_txn)
        return MDB_CORRUPTED;
    rc = open_tables(env);
    note_last_txn(env);
    return rc;
}

/* LMDB was left in the middle of a write. Its transaction may have cursors on a stack that is gone,
 * so it cannot be ended, nor can what holds its locks be unmapped. It is kept as it is, out of
 * reach: the next one has files of its own. */
struct lost {
    struct lost *next;
    MDB_env *mdb;
    MDB_txn *idle[IDLE_MAX];
};
static struct lost *_Atomic all_lost; /* so that a search for leaks finds an owner */

static void
lose(const struct sf_env *env)
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
    lose(env);
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

static int
open_files(struct sf_env *env, struct sf_err *err)
{
    int rc = open_mdb(env), e = errno_of(rc);
    env->closed_txn = 0;
    /* A damaged head may also ask for a map of any size. */
    bool damaged = e == -EUCLEAN || e == -EINVAL || e == -ENOMEM || e == -EIO;
    if (damaged && env->opts.throw_away && unlink(env->data) == 0) {
        env->began = SF_ENV_EMPTY;
        rc = open_mdb(env);
    }
    if (rc)
        return sf_err_set(err, errno_of(rc), "cannot open the database in %s: %s", env->opts.dir,
                          mdb_strerror(rc));
    /* The names of new files have to last as their content does. */
    if (!env->opts.throw_away &&
        ((rc = sf_fsync_parent(env->data)) || (rc = sf_fsync_parent(env->opts.dir))))
        return sf_err_set(err, rc, "cannot sync %s: %s", env->opts.dir, strerror(-rc));
    return 0;
}

static void
close_mdb(struct sf_env *env)
{
    while (env->n_idle)
        mdb_txn_abort(env->idle[--env->n_idle]);
    if (env->mdb)
        mdb_env_close(env->mdb);
    env->mdb = NULL;
}

/* Damage was found. Nothing of the file is believed any more, so it goes. */
static void
begin_empty(struct sf_env *env)
{
    sf_mutex_lock(&env->readers);
    while (env->reading)
        sf_cond_wait(&env->no_reader, &env->readers);
    sf_mutex_unlock(&env->readers); /* no other comes while it is damaged */
    if (env->abandoned)
        abandon(env);
    else
        close_mdb(env);
    bool ok = (unlink(env->data) == 0 || errno == ENOENT) && open_mdb(env) == 0;
    if (!ok)
        return; /* the next write tries again */
    atomic_fetch_add(&env->resets, 1);
    atomic_store(&env->damaged, false);
    if (env->opts.on_reset)
        env->opts.on_reset(env->opts.arg);
}

void
sf_env_distrust(struct sf_env *env)
{
    assert(env->opts.throw_away);
    damage_found(env);
}

void
sf_env_end_unclean(struct sf_env *env)
{
    atomic_store(&env->end_unclean, true);
}

enum sf_env_began
sf_env_began(const struct sf_env *env)
{
    return env->began;
}

static void
env_free(struct sf_env *env)
{
    if (env->abandoned)
        lose(env);
    else
        close_mdb(env);
    sf_cond_fini(&env->no_reader);
    sf_mutex_fini(&env->readers);
    sf_cond_fini(&env->wake);
    sf_mutex_fini(&env->lock);
    free((char *)env->opts.dir);
    free(env->tables);
    free(env->data);
    free(env->lock_file);
    free(env->boot);
    free(env->marker);
    free(env);
}

static char *
path_in(const char *dir, const char *name)
{
    char *path;
    return asprintf(&path, "%s/%s", dir, name) < 0 ? NULL : path;
}

static struct sf_env *
env_new(const struct sf_env_opts *opts)
{
    struct sf_env *env = calloc(1, sizeof *env);
    if (!env)
        return NULL;
    sf_mutex_init(&env->lock, 0);
    sf_cond_init(&env->wake);
    sf_mutex_init(&env->readers, 0);
    sf_cond_init(&env->no_reader);
    env->tail = &env->first;
    env->due_ms = INT64_MAX;
    env->opts = *opts;
    env->opts.dir = strdup(opts->dir);
    env->tables = calloc(opts->n_tables, sizeof *env->tables);
    env->data = path_in(opts->dir, "data.mdb");
    env->lock_file = path_in(opts->dir, "lock.mdb");
    env->boot = path_in(opts->dir, "boot");
    env->marker = path_in(opts->dir, "damaged");
    if (env->opts.dir && env->tables && env->data && env->lock_file && env->boot && env->marker)
        return env;
    env_free(env);
    return NULL;
}

int
sf_env_open(const struct sf_env_opts *opts, struct sf_env **ret, struct sf_err *err)
{
    struct sf_env *env = env_new(opts);
    if (!env)
        return sf_err_set(err, -ENOMEM, "out of memory");
    int rc = sf_mkdir_p(opts->dir, err);
    if (!rc)
        rc = check_place(opts->dir, err);
    if (!rc && opts->throw_away) {
        sf_guard_install();
        rc = drop_unsynced(env, err);
    } else if (!rc && access(env->data, F_OK) == 0)
        env->began = SF_ENV_CLEAN;
    if (!rc)
        rc = open_files(env, err);
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
    /* Where damage was just found the boot stays in the file, and the data goes. */
    if (atomic_load(&env->damaged))
        (void)unlink(env->data);
    else if (env->opts.throw_away && !atomic_load(&env->end_unclean) &&
             mdb_env_sync(env->mdb, 1) == 0) {
        char text[64];
        snprintf(text, sizeof text, CLEAN " %zu", env->last_txn);
        (void)sf_write_file_atomic(env->boot, text, strlen(text), 0600, NULL);
    }
    env_free(env);
}
