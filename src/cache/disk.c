/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "cache/disk.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/thread.h"
#include "cache/disk-internal.h"
#include "observe/counter.h"

#define INDEX_ROOM  (256u << 20) /* address space for rows beyond the cached bytes */
#define FAILURES    3            /* in a row: the disk is left alone */
#define PROBE_MS    30000
#define TICK_MS     10000 /* floor and age */
#define CHECK_MS    1000  /* between two looks at blocks and index */
#define OPEN_MIN    16
#define OPEN_MAX    4096
#define PROBE_BYTES 4096

static const char *const tables[] = {
#define SF_TABLE_NAME(id, name) name,
    SF_TABLES(SF_TABLE_NAME)
#undef SF_TABLE_NAME
};

/* ---- a disk that fails ---------------------------------------------------------------------- */

void
sf_disk_worked(struct sf_disk *d, int which)
{
    if (!atomic_load_explicit(&d->failing, memory_order_relaxed))
        return;
    SF_GUARD(&d->lock);
    d->failed[which] = 0;
    if (!d->failed[SF_DISK_READ] && !d->failed[SF_DISK_WRITE])
        atomic_store(&d->failing, false);
}

void
sf_disk_failed(struct sf_disk *d, int which, int rc, const char *what)
{
    atomic_fetch_add(&d->errors, 1);
    sf_count(SF_C_CACHE_DISK_ERRORS, 1);
    SF_GUARD(&d->lock);
    atomic_store(&d->failing, true);
    snprintf(d->trouble, sizeof d->trouble, "%s: %s", what, strerror(-rc));
    if (++d->failed[which] < FAILURES)
        return;
    atomic_fetch_or(&d->bypass, which == SF_DISK_READ ? SF_DISK_NO_READS | SF_DISK_NO_WRITES
                                                      : SF_DISK_NO_WRITES);
    sf_cond_signal(&d->wake);
}

/* Whether bytes can be written, read back and removed. */
static int
probe(struct sf_disk *d)
{
    char out[PROBE_BYTES], in[PROBE_BYTES];
    memset(out, 'p', sizeof out);
    sf_autofd int fd =
        openat(d->dir_fd, "probe", O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    int rc = fd < 0 ? -errno : sf_pwrite_full(fd, out, sizeof out, 0);
    if (!rc && fdatasync(fd) < 0)
        rc = -errno;
    ssize_t n = rc ? rc : sf_pread_full(fd, in, sizeof in, 0);
    if (n >= 0 && (n != (ssize_t)sizeof in || memcmp(in, out, sizeof in) != 0))
        n = -EIO;
    if (fd >= 0 && unlinkat(d->dir_fd, "probe", 0) < 0 && n >= 0)
        n = -errno;
    return n < 0 ? (int)n : 0;
}

static void
try_disk(struct sf_disk *d)
{
    int rc = probe(d);
    SF_GUARD(&d->lock);
    if (rc && rc != -ENOSPC) {
        snprintf(d->trouble, sizeof d->trouble, "the disk still fails: %s", strerror(-rc));
        return;
    }
    atomic_store(&d->bypass, 0);
    atomic_store(&d->failing, false);
    memset(d->failed, 0, sizeof d->failed);
    d->check_wanted = true;
}

/* ---- the thread ----------------------------------------------------------------------------- */

void
sf_disk_want_check(struct sf_disk *d)
{
    SF_GUARD(&d->lock);
    d->check_wanted = true;
    sf_cond_signal(&d->wake);
}

static int64_t
tick_of(const struct sf_disk *d)
{
    int64_t age = d->opts.max_age_ms;
    return age && age / 4 < TICK_MS ? age / 4 + 1 : TICK_MS;
}

/* One duty, without the lock. False = none is due. */
static bool
duty_locked(struct sf_disk *d, int64_t now, int64_t *tick_ms, int64_t *probe_ms)
{
    bool trash = d->trash, all = true;
    bool check = d->check_wanted && !atomic_load(&d->bypass) && now >= d->check_ms;
    bool probing = atomic_load(&d->bypass) && now >= *probe_ms, ticking = now >= *tick_ms;
    if (!trash && !check && !probing && !ticking)
        return false;
    d->trash = false;
    if (check) {
        d->check_wanted = false;
        d->checking = true;
    }
    sf_mutex_unlock(&d->lock);
    if (trash)
        sf_trash_remove(d);
    if (check)
        all = sf_disk_check(d);
    if (probing) {
        try_disk(d);
        *probe_ms = now + d->opts.probe_ms;
    }
    if (ticking) {
        sf_space_tick(d);
        *tick_ms = now + tick_of(d);
    }
    sf_mutex_lock(&d->lock);
    if (check)
        d->checking = false;
    if (check && (!all || d->stopping)) {
        d->check_wanted = true; /* what was in use may have been left over by who used it */
        d->check_ms = now + CHECK_MS;
    }
    return true;
}

static void *
disk_thread(void *arg)
{
    struct sf_disk *d = arg;
    int64_t tick_ms = sf_clock_ms() + tick_of(d), probe_ms = 0;
    sf_mutex_lock(&d->lock);
    while (!d->stopping) {
        int64_t now = sf_clock_ms();
        if (!atomic_load(&d->bypass))
            probe_ms = now + d->opts.probe_ms;
        if (duty_locked(d, now, &tick_ms, &probe_ms))
            continue;
        int64_t due = atomic_load(&d->bypass) && probe_ms < tick_ms ? probe_ms : tick_ms;
        if (d->check_wanted && !atomic_load(&d->bypass) && d->check_ms < due)
            due = d->check_ms;
        (void)sf_cond_timedwait_ms(&d->wake, &d->lock, due);
    }
    sf_mutex_unlock(&d->lock);
    return NULL;
}

/* ---- opening and closing -------------------------------------------------------------------- */

static void
disk_free(struct sf_disk *d)
{
    sf_env_close(d->env);
    sf_chunks_forget(d, true);
    sf_policy_free(d->policy);
    if (d->blocks_fd >= 0)
        close(d->blocks_fd);
    if (d->dir_fd >= 0)
        close(d->dir_fd);
    sf_cond_fini(&d->wake);
    sf_cond_fini(&d->changed);
    sf_mutex_fini(&d->lock);
    free((char *)d->opts.dir);
    free(d);
}

static struct sf_disk *
disk_new(const struct sf_disk_opts *opts)
{
    struct rlimit limit;
    struct sf_disk *d = calloc(1, sizeof *d);
    if (!d)
        return NULL;
    d->opts = *opts;
    d->opts.dir = strdup(opts->dir);
    if (!d->opts.probe_ms)
        d->opts.probe_ms = PROBE_MS;
    d->dir_fd = d->blocks_fd = -1;
    sf_mutex_init(&d->lock, 34);
    sf_cond_init(&d->changed);
    sf_cond_init(&d->wake);
    TAILQ_INIT(&d->idle);
    TAILQ_INIT(&d->open);
    LIST_INIT(&d->contents);
    d->max_open = OPEN_MIN;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur / 4 > OPEN_MIN)
        d->max_open = limit.rlim_cur / 4 > OPEN_MAX ? OPEN_MAX : (unsigned)limit.rlim_cur / 4;
    if (d->opts.dir && sf_policy_new(opts->max_bytes, &d->policy) == 0)
        return d;
    disk_free(d);
    return NULL;
}

static int
open_index(struct sf_disk *d, struct sf_err *err)
{
    sf_autofree char *dir = NULL;
    if (asprintf(&dir, "%s/index", d->opts.dir) < 0) {
        dir = NULL;
        return sf_err_set(err, -ENOMEM, "out of memory");
    }
    /* Rows of small objects take up to a half more than they are counted with. */
    struct sf_env_opts o = {.dir = dir,
                            .name = "cache-index",
                            .tables = tables,
                            .n_tables = SF_TABLE_MAX,
                            .max_bytes = d->opts.max_bytes + d->opts.max_bytes / 2 + INDEX_ROOM,
                            .throw_away = true,
                            .on_reset = sf_index_on_reset,
                            .arg = d};
    int rc = sf_env_open(&o, &d->env, err);
    if (rc)
        return rc;
    d->check_wanted = sf_env_began(d->env) == SF_ENV_UNCLEAN;
    d->trash = true; /* of an earlier start that was not done with it */
    rc = sf_index_begin(d);
    return rc ? sf_err_set(err, rc, "cannot begin the cache in %s: %s", dir, strerror(-rc)) : 0;
}

int
sf_disk_open(const struct sf_disk_opts *opts, struct sf_disk **ret, struct sf_err *err)
{
    struct sf_disk *d = disk_new(opts);
    if (!d)
        return sf_err_set(err, -ENOMEM, "out of memory");
    d->dir_fd = open(opts->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int rc = d->dir_fd < 0 ? sf_err_set(err, -errno, "cannot open %s: %m", opts->dir) : 0;
    if (!rc)
        rc = sf_blocks_open(d, err);
    if (!rc)
        rc = open_index(d, err);
    if (!rc && (rc = sf_thread_start("cache-disk", disk_thread, d, &d->thread)))
        rc = sf_err_set(err, rc, "cannot start a thread: %s", strerror(-rc));
    if (rc) {
        disk_free(d);
        return rc;
    }
    *ret = d;
    return 0;
}

void
sf_disk_close(struct sf_disk *d)
{
    if (!d)
        return;
    sf_mutex_lock(&d->lock);
    d->stopping = true;
    sf_cond_signal(&d->wake);
    sf_mutex_unlock(&d->lock);
    pthread_join(d->thread, NULL);
    sf_disk_flush(d);
    sf_mutex_lock(&d->lock);
    bool unfinished = d->check_wanted;
    sf_mutex_unlock(&d->lock);
    if (unfinished)
        sf_env_end_unclean(d->env);
    disk_free(d);
}

struct sf_env *
sf_disk_env(struct sf_disk *d)
{
    return d->env;
}

static int
nothing(struct sf_env_write *w, struct sf_txn *txn)
{
    (void)w, (void)txn;
    return 0;
}

void
sf_disk_flush(struct sf_disk *d)
{
    struct sf_env_write w = {.run = nothing, .frees = true};
    (void)sf_env_write_wait(d->env, &w);
}

void
sf_disk_get_stats(struct sf_disk *d, struct sf_disk_stats *out)
{
    *out = (struct sf_disk_stats){.max_bytes = d->opts.max_bytes,
                                  .evicted = atomic_load(&d->evicted),
                                  .bad_units = atomic_load(&d->bad_units),
                                  .errors = atomic_load(&d->errors),
                                  .dropped = atomic_load(&d->dropped),
                                  .bypass = atomic_load(&d->bypass)};
    SF_GUARD(&d->lock);
    out->bytes = sf_disk_bytes_locked(d);
    out->pinned = d->usage.bytes[SF_QUEUE_PINNED];
    for (int q = 0; q < SF_ROW_QUEUES; q++)
        out->chunks += d->usage.entries[q];
    memcpy(out->trouble, d->trouble, sizeof out->trouble);
    out->recovering = d->check_wanted || d->checking;
}
