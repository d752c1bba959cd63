/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "daemon/dirs.h"

#include "base/buf.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/hash.h"
#include "base/mounts.h"
#include "base/str.h"
#include "config/config.h"
#include "observe/log.h"

#include <errno.h>
#include <inttypes.h>
#include <linux/magic.h>
#include <stdio.h>
#include <string.h>
#include <sys/vfs.h>
#include <unistd.h>

#define MARGIN_MS   5000
#define UNCLEAR_MS  2000
#define INTERVAL_US 50000
#define STOPPING    ", stopping"

/* 16 hex digits say nothing about the project to who lists it. */
int
sf_dirs_path(const char *base, const struct sf_config *cfg, const char *role, const char *subject,
             char out[PATH_MAX])
{
    sf_autobuf struct sf_buf id = SF_BUF_INIT;
    int rc = sf_buf_printf(&id, "%s\n%s\n%s", sf_config_str(cfg, SF_OPT_URL), role, subject);
    if (rc)
        return rc;
    int n = snprintf(out, PATH_MAX, "%s/%016" PRIx64, base, sf_hash64(id.data, id.len));
    return n < PATH_MAX ? 0 : -ENAMETOOLONG;
}

/* "pid 12, /mnt/project[, stopping]": is the holder's mount there? */
static bool
holder_serves(const char *holder)
{
    struct sf_mount_copy m;
    const char *point = strchr(holder, '/');
    return point && sf_mount_find(point, &m) == 1;
}

static int
hold(const char *dir, enum sf_opt opt, const char *point, int64_t patience_ms, int *fd,
     struct sf_outcome *o)
{
    struct sf_err err = SF_ERR_INIT;
    const char *option = sf_opt_info(opt)->name;
    int64_t begun = sf_clock_ms();
    if (sf_mkdir_p(dir, &err) < 0)
        return sf_outcome_fail(o, SF_EXIT_USAGE, "%s; name another directory with -o %s=DIR",
                               err.msg, option);
    for (;;) {
        sf_autobuf struct sf_buf holder = SF_BUF_INIT;
        struct sf_err why = SF_ERR_INIT;
        int rc = sf_lock_dir(dir, point, fd, &holder, &why);
        if (rc == 0)
            return 0;
        if (rc != -EBUSY)
            return sf_outcome_fail(o, SF_EXIT_FAILED, "%s", why.msg);
        int64_t waited = sf_clock_ms() - begun;
        bool stops = sf_str_ends(holder.data, STOPPING);
        if (stops ? waited > patience_ms : holder_serves(holder.data) || waited > UNCLEAR_MS)
            return sf_outcome_fail(o, SF_EXIT_DIRS_HELD,
                                   "%s is held by another mount (%s); unmount that one, or give "
                                   "this one a directory of its own with -o %s=DIR",
                                   dir, holder.data, option);
        usleep(INTERVAL_US);
    }
}

/* What is acknowledged from a journal has to be there after a restart of the machine. */
static int
check_lasting(const struct sf_dirs *d, const struct sf_config *cfg, struct sf_outcome *o)
{
    struct statfs fs;
    if (strcmp(sf_config_str(cfg, SF_OPT_SYNC), "writeback") != 0 ||
        sf_config_bool(cfg, SF_OPT_RO) || sf_config_bool(cfg, SF_OPT_UNSAFE_STATE_DIR))
        return 0;
    if (statfs(d->state, &fs) < 0)
        return sf_outcome_fail(o, SF_EXIT_FAILED, "%s: %s", d->state, strerror(errno));
    const char *kind = sf_dirs_fleeting((uint64_t)fs.f_type);
    if (!kind)
        return 0;
    return sf_outcome_fail(
        o, SF_EXIT_USAGE,
        "sync=writeback keeps files that were closed in %s until they are sent, "
        "and that is on a file system that does not outlive a restart (%s); name "
        "a directory on a local disk with -o state_dir=DIR, use sync=close, or "
        "accept that with -o unsafe_state_dir=yes",
        d->state, kind);
}

int
sf_dirs_hold(struct sf_dirs *d, const struct sf_config *cfg, const char *role, const char *subject,
             const char *point, struct sf_outcome *o)
{
    const char *cache = sf_config_str(cfg, SF_OPT_CACHE_DIR);
    const char *state = sf_config_str(cfg, SF_OPT_STATE_DIR);
    int64_t patience = sf_config_ms(cfg, SF_OPT_STOP_TIMEOUT) + MARGIN_MS;
    d->cache_fd = d->state_fd = -1;
    if (sf_dirs_path(cache, cfg, role, subject, d->cache) ||
        sf_dirs_path(state, cfg, role, subject, d->state))
        return sf_outcome_fail(o, SF_EXIT_USAGE, "the path of cache_dir or state_dir is too long");
    if (!strcmp(d->cache, d->state))
        return sf_outcome_fail(o, SF_EXIT_USAGE,
                               "cache_dir and state_dir are both %s; they must differ, because a "
                               "cache may be thrown away and the state may not",
                               cache);
    if (hold(d->state, SF_OPT_STATE_DIR, point, patience, &d->state_fd, o) < 0 ||
        check_lasting(d, cfg, o) < 0 ||
        hold(d->cache, SF_OPT_CACHE_DIR, point, patience, &d->cache_fd, o) < 0) {
        sf_dirs_release(d);
        return -1;
    }
    (void)sf_fsync_parent(d->state); /* one that was killed may have made it */
    return 0;
}

const char *
sf_dirs_fleeting(uint64_t f_type)
{
    switch (f_type & UINT32_MAX) { /* some systems give it with a sign */
    case TMPFS_MAGIC:
        return "tmpfs";
    case RAMFS_MAGIC:
        return "ramfs";
    case OVERLAYFS_SUPER_MAGIC:
        return "overlayfs";
    default:
        return NULL;
    }
}

static void
sign(int fd, const char *point)
{
    char text[PATH_MAX + 64];
    int n = snprintf(text, sizeof text, "pid %ld, %s%s\n", (long)getpid(), point, STOPPING);
    if (fd >= 0 && sf_pwrite_full(fd, text, (size_t)n, 0) < 0)
        sf_warn("daemon", "event=lock-not-signed err=%s", strerror(errno));
}

void
sf_dirs_stopping(struct sf_dirs *d, const char *point)
{
    sign(d->state_fd, point);
    sign(d->cache_fd, point);
}

void
sf_dirs_release(struct sf_dirs *d)
{
    if (d->cache_fd >= 0)
        close(d->cache_fd);
    if (d->state_fd >= 0)
        close(d->state_fd);
    d->cache_fd = d->state_fd = -1;
}
