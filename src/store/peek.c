/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "store/peek.h"

#include <errno.h>
#include <lmdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "base/str.h"
#include "store/guard.h"

static int
errno_of(int rc)
{
    switch (rc) {
    case MDB_NOTFOUND:
        return 0;
    case MDB_INVALID:
    case MDB_CORRUPTED:
    case MDB_PAGE_NOTFOUND:
    case MDB_VERSION_MISMATCH:
    case MDB_INCOMPATIBLE:
        return -EUCLEAN;
    default:
        return rc > 0 ? -rc : rc < 0 ? -EIO : 0;
    }
}

struct walk {
    const char *dir, *table;
    sf_env_row_fn fn;
    void *arg;
    size_t size; /* of the file */
};

/* What a walk has open. LMDB may not be asked to take apart what a fault has left in the middle, so
 * it stays, once for each such file, and here is where it is known. */
struct opened {
    MDB_env *env;
    MDB_txn *txn;
    MDB_cursor *cursor;
};
static struct opened *volatile left_open;

static int
walk_table(const struct walk *w, struct opened *o)
{
    MDB_dbi dbi;
    MDB_val key, value;
    int rc = mdb_dbi_open(o->txn, w->table, 0, &dbi);
    if (rc)
        return errno_of(rc);
    if ((rc = mdb_cursor_open(o->txn, dbi, &o->cursor)))
        return errno_of(rc);
    int said = 0;
    while (!said && (rc = mdb_cursor_get(o->cursor, &key, &value, MDB_NEXT)) == 0)
        said = w->fn(w->arg, key.mv_data, key.mv_size, value.mv_data, value.mv_size);
    mdb_cursor_close(o->cursor);
    return said ? said : errno_of(rc);
}

/* Under a guard: a file that was cut, or a disk that cannot read it, ends the walk. */
static int
walk(void *arg)
{
    const struct walk *w = arg;
    struct opened *o = calloc(1, sizeof *o);
    if (!o || mdb_env_create(&o->env)) {
        free(o);
        return -ENOMEM;
    }
    left_open = o;
    int rc = mdb_env_set_mapsize(o->env, w->size);
    if (!rc)
        rc = mdb_env_set_maxdbs(o->env, 8);
    if (!rc)
        rc = mdb_env_open(o->env, w->dir, MDB_RDONLY | MDB_NOLOCK, 0);
    if (!rc)
        rc = mdb_txn_begin(o->env, NULL, MDB_RDONLY, &o->txn);
    int ret = errno_of(rc);
    if (!rc) {
        ret = walk_table(w, o);
        mdb_txn_abort(o->txn);
    }
    mdb_env_close(o->env);
    left_open = NULL;
    free(o);
    return ret;
}

/* Was it never synced, and left in the middle by a boot that is over? */
static bool
is_over(const char *dir)
{
    sf_autofree char *path = NULL;
    sf_autobuf struct sf_buf then = SF_BUF_INIT, now = SF_BUF_INIT;
    if (asprintf(&path, "%s/" SF_ENV_BOOT, dir) < 0) {
        path = NULL;
        return true;
    }
    if (sf_read_file(path, 64, &then, NULL))
        return access(path, F_OK) == 0;
    if (sf_str_starts(sf_buf_str(&then), SF_ENV_BOOT_CLEAN " "))
        return false;
    (void)sf_read_file("/proc/sys/kernel/random/boot_id", 63, &now, NULL);
    return !now.len || strcmp(sf_buf_str(&then), sf_buf_str(&now)) != 0;
}

int
sf_peek_walk(const char *dir, const char *table, sf_env_row_fn fn, void *arg)
{
    struct walk w = {.dir = dir, .table = table, .fn = fn, .arg = arg};
    sf_autofree char *data = NULL;
    struct stat st;
    if (asprintf(&data, "%s/data.mdb", dir) < 0) {
        data = NULL;
        return -ENOMEM;
    }
    if (stat(data, &st) < 0)
        return -errno;
    if (st.st_size == 0 || is_over(dir)) /* a kill between its making and its first page */
        return 0;
    w.size = (size_t)st.st_size;
    sf_guard_install();
    int rc = sf_guarded(NULL, walk, &w);
    return rc == -EFAULT ? -EUCLEAN : rc;
}
