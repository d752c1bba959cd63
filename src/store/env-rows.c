/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "store/internal.h"

#include <errno.h>
#include <string.h>

#include "store/guard.h"

int
env_errno(int rc)
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

MDB_val
env_val(const void *p, size_t n)
{
    return (MDB_val){.mv_data = (void *)p, .mv_size = n};
}

static int
run_step(void *arg)
{
    struct env_step *s = arg;
    return s->fn(s);
}

void
env_damage_found(struct sf_env *env)
{
    atomic_store(&env->damaged, true);
    SF_GUARD(&env->lock);
    env->due_ms = 0;
    sf_cond_signal(&env->wake);
}

int
env_step(struct env_step *s, bool writer)
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
        env_damage_found(env);
    return rc;
}

/* ---- reading -------------------------------------------------------------------------------- */

/* Opening one costs more than most reads, so some are kept; not one per thread, which come and go.
 */
static int
reader_enter(struct env_step *s)
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
reader_leave(struct env_step *s, bool keep)
{
    struct sf_env *env = s->env;
    if (s->cursor)
        mdb_cursor_close(s->cursor);
    if (s->txn && keep)
        mdb_txn_reset(s->txn);
    sf_mutex_lock(&env->readers);
    if (keep && s->txn && env->n_idle < ENV_IDLE_MAX)
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
begin_step(struct env_step *s)
{
    return env_errno(s->txn ? mdb_txn_renew(s->txn)
                            : mdb_txn_begin(s->env->mdb, NULL, MDB_RDONLY, &s->txn));
}

/* @s->fn in a transaction of a reader. */
int
env_read(struct env_step *s)
{
    int (*fn)(struct env_step *) = s->fn;
    int rc = reader_enter(s);
    if (rc)
        return rc;
    s->fn = begin_step;
    rc = env_step(s, false);
    bool begun = !rc;
    s->fn = fn;
    if (begun)
        rc = env_step(s, false);
    reader_leave(s, begun && rc != -EUCLEAN);
    return rc;
}

static int
get_step(struct env_step *s)
{
    int rc = mdb_get(s->txn, s->env->tables[s->table], &s->key, &s->value);
    return rc ? env_errno(rc) : s->call.value(s->arg, s->value.mv_data, s->value.mv_size);
}

int
sf_env_read(struct sf_env *env, unsigned table, const void *key, size_t len, sf_env_value_fn fn,
            void *arg)
{
    struct env_step s = {.env = env,
                         .fn = get_step,
                         .table = table,
                         .key = env_val(key, len),
                         .call.value = fn,
                         .arg = arg};
    return env_read(&s);
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
walk_step(struct env_step *s)
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
    return rc == MDB_NOTFOUND ? 0 : env_errno(rc);
}

int
sf_env_walk(struct sf_env *env, unsigned table, const void *after, size_t len, sf_env_row_fn fn,
            void *arg)
{
    struct env_step s = {.env = env,
                         .fn = walk_step,
                         .table = table,
                         .key = env_val(after, len),
                         .first = !after,
                         .call.row = fn,
                         .arg = arg};
    return env_read(&s);
}

/* ---- writing -------------------------------------------------------------------------------- */

static int
txn_step(struct sf_txn *txn, int (*fn)(struct env_step *s), struct env_step s)
{
    s.env = txn->env;
    s.txn = txn->mdb;
    s.fn = fn;
    return env_step(&s, true);
}

int
sf_txn_get(struct sf_txn *txn, unsigned table, const void *key, size_t len, struct sf_buf *out)
{
    return txn_step(
        txn, get_step,
        (struct env_step){
            .table = table, .key = env_val(key, len), .call.value = append, .arg = out});
}

/*
 * A long value lies on pages of its own, whose head says how many these are. LMDB believes that
 * when it frees them: of a damaged head it would make a list that no memory holds. So that is
 * looked at first. Head of LMDB 0.9: number u64, pad u16, flags u16, pages u32.
 */
static bool
sound(struct env_step *s)
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
put_step(struct env_step *s)
{
    if (!sound(s))
        return -EUCLEAN;
    return env_errno(mdb_put(s->txn, s->env->tables[s->table], &s->key, &s->value, 0));
}

int
sf_txn_put(struct sf_txn *txn, unsigned table, const void *key, size_t len, const void *value,
           size_t value_len)
{
    return txn_step(txn, put_step,
                    (struct env_step){.table = table,
                                      .key = env_val(key, len),
                                      .value = env_val(value, value_len)});
}

static int
del_step(struct env_step *s)
{
    if (!sound(s))
        return -EUCLEAN;
    return env_errno(mdb_del(s->txn, s->env->tables[s->table], &s->key, NULL));
}

int
sf_txn_del(struct sf_txn *txn, unsigned table, const void *key, size_t len)
{
    return txn_step(txn, del_step, (struct env_step){.table = table, .key = env_val(key, len)});
}

struct row {
    struct sf_buf *key, *value;
};

static int
next_step(struct env_step *s)
{
    struct row *row = s->arg;
    int rc = mdb_cursor_open(s->txn, s->env->tables[s->table], &s->cursor);
    if (rc)
        return env_errno(rc);
    rc = env_errno(mdb_cursor_get(s->cursor, &s->key, &s->value, MDB_SET_RANGE));
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
                    (struct env_step){.table = table, .key = env_val(key, len), .arg = &row});
}
