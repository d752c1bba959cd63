/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "store/env.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "base/mounts.h"
#include "base/str.h"
#include "base/thread.h"
#include "store/guard.h"
#include "store/internal.h"

#define LAZY_MS 200

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
    bool clean =
        !rc && sf_str_starts(sf_buf_str(&then), SF_ENV_BOOT_CLEAN " ") &&
        sf_parse_u64(sf_buf_str(&then) + strlen(SF_ENV_BOOT_CLEAN " "), &env->closed_txn) == 0;
    bool whole = (clean || (!rc && boot[0] && strcmp(sf_buf_str(&then), boot) == 0)) &&
                 access(env->marker, F_OK) < 0;
    if (!whole && unlink(env->data) < 0 && errno != ENOENT)
        return sf_err_set(err, -errno, "cannot remove %s: %m", env->data);
    if (access(env->data, F_OK) == 0)
        env->began = clean ? SF_ENV_CLEAN : SF_ENV_UNCLEAN;
    (void)unlink(env->marker);
    return sf_write_file_atomic(env->boot, boot, strlen(boot), 0600, err);
}

void
sf_env_distrust(struct sf_env *env)
{
    assert(env->opts.throw_away);
    env_damage_found(env);
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

void
sf_env_get_stats(struct sf_env *env, struct sf_env_stats *out)
{
    *out = (struct sf_env_stats){
        .writes = atomic_load(&env->writes),
        .commits = atomic_load(&env->commits),
        .bytes = env_used_bytes(env, true),
        .resets = atomic_load(&env->resets),
    };
}

static void
env_free(struct sf_env *env)
{
    if (env->abandoned)
        env_lose(env);
    else
        env_close_mdb(env);
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
    if (!env->opts.lazy_ms)
        env->opts.lazy_ms = LAZY_MS;
    env->opts.dir = strdup(opts->dir);
    env->tables = calloc(opts->n_tables, sizeof *env->tables);
    env->data = path_in(opts->dir, "data.mdb");
    env->lock_file = path_in(opts->dir, "lock.mdb");
    env->boot = path_in(opts->dir, SF_ENV_BOOT);
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
        rc = env_open_files(env, err);
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
        snprintf(text, sizeof text, SF_ENV_BOOT_CLEAN " %zu", env->last_txn);
        (void)sf_write_file_atomic(env->boot, text, strlen(text), 0600, NULL);
    }
    env_free(env);
}
