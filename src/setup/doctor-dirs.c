/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "setup/doctor-internal.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "base/mounts.h"
#include "base/str.h"
#include "daemon/dirs.h"
#include "daemon/place.h"

#define STATE_MIN (UINT64_C(256) << 20) /* bytes; what is written goes through there */
#define BLOCK     65536

/* A directory as a mount would use it. */
struct place {
    enum sf_opt opt;
    const char *option, *base;
    char own[PATH_MAX];   /* of the key's role in this project; "" = not known */
    char there[PATH_MAX]; /* the nearest directory of the path that is there */
    struct statvfs fs;
};

static void
climb(const char *path, char there[PATH_MAX])
{
    struct stat st;
    snprintf(there, PATH_MAX, "%s", path);
    while (stat(there, &st) < 0 && errno == ENOENT) {
        char *slash = strrchr(there, '/');
        if (!slash || slash == there) {
            snprintf(there, PATH_MAX, "/");
            return;
        }
        *slash = '\0';
    }
}

/* Whether bytes can be written there, by a file that never has a name. -EOPNOTSUPP: this file
 * system knows none, and it was not tried. */
static int
try_writing(const char *dir)
{
    static const char zeros[BLOCK];
    sf_autofd int fd = open(dir, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    if (fd < 0)
        return errno == EISDIR ? -EOPNOTSUPP : -errno;
    int rc = sf_write_full(fd, zeros, sizeof zeros);
    return rc ? rc : fsync(fd) < 0 ? -errno : 0;
}

static uint64_t
free_bytes(const struct place *p)
{
    return (uint64_t)p->fs.f_bavail * p->fs.f_frsize;
}

/* As the mount will, after it: the directory is private, and its own. */
static bool
is_private(const struct place *p, struct sf_doctor_row *row)
{
    struct stat st;
    if (!*p->own || stat(p->own, &st) < 0)
        return true;
    if (st.st_uid != geteuid()) {
        doctor_say(row, SF_DOCTOR_FAIL, "%s belongs to another user (uid %u)", p->own,
                   (unsigned)st.st_uid);
        doctor_advise(row, "mount as that user, or name another directory with -o %s=DIR",
                      p->option);
        return false;
    }
    if (st.st_mode & 077) {
        doctor_say(row, SF_DOCTOR_FAIL, "others may enter %s (mode %03o)", p->own,
                   (unsigned)st.st_mode & 0777);
        doctor_advise(row, "make it private: chmod 700 %s", p->own);
        return false;
    }
    return true;
}

static bool
can_write(const struct place *p, struct sf_doctor_row *row)
{
    struct sf_mount_copy m;
    int rc = (p->fs.f_flag & ST_RDONLY) ? -EROFS : try_writing(p->there);
    if (rc == -EOPNOTSUPP)
        rc = access(p->there, W_OK | X_OK) < 0 ? -errno : 0;
    if (sf_mount_of(p->there, &m) == 1 && sf_place_is_ours(m.fstype)) {
        doctor_say(row, SF_DOCTOR_FAIL, "%s lies in a mount of supafs", p->base);
        doctor_advise(row, "name a directory on a local disk with -o %s=DIR", p->option);
        return false;
    }
    if (rc == 0)
        return true;
    doctor_say(row, SF_DOCTOR_FAIL, "nothing can be written to %s: %s", p->there, strerror(-rc));
    if (rc == -ENOSPC || rc == -EDQUOT)
        doctor_advise(row, "make room there, or name a directory on another disk with -o %s=DIR",
                      p->option);
    else
        doctor_advise(row, "name a directory that you may write to with -o %s=DIR", p->option);
    return false;
}

/* Whom the lock says, while a mount has it; "" = nobody. */
static void
holder_of(const struct place *p, char *out, size_t size)
{
    char path[PATH_MAX + 8];
    out[0] = '\0';
    snprintf(path, sizeof path, "%s/lock", p->own);
    sf_autofd int fd = *p->own ? open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW) : -1;
    if (fd < 0 || flock(fd, LOCK_SH | LOCK_NB) == 0 || errno != EWOULDBLOCK)
        return;
    ssize_t n = sf_pread_full(fd, out, size - 1, 0);
    out[n > 0 ? n : 0] = '\0';
    out[strcspn(out, "\n")] = '\0';
    if (!*out)
        snprintf(out, size, "a mount that starts");
}

static void
look(struct sf_doctor *d, enum sf_opt opt, struct place *p)
{
    char subject[128];
    *p = (struct place){
        .opt = opt, .option = sf_opt_info(opt)->name, .base = sf_config_str(d->cfg, opt)};
    if (d->auth && sf_config_str(d->cfg, SF_OPT_URL)) {
        sf_auth_subject(d->auth, subject, sizeof subject);
        if (sf_dirs_path(p->base, d->cfg, sf_auth_role(d->auth), subject, p->own) < 0)
            p->own[0] = '\0';
    }
    climb(*p->own ? p->own : p->base, p->there);
}

/* What is wrong with either. */
static bool
is_usable(struct place *p, struct sf_doctor_row *row)
{
    if (statvfs(p->there, &p->fs) < 0) {
        doctor_say(row, SF_DOCTOR_FAIL, "%s: %s", p->there, strerror(errno));
        doctor_advise(row, "name another directory with -o %s=DIR", p->option);
        return false;
    }
    return is_private(p, row) && can_write(p, row);
}

static void
say_well(const struct place *p, struct sf_doctor_row *row)
{
    char holder[PATH_MAX + 64];
    struct statfs fs;
    const char *kind = statfs(p->there, &fs) == 0 ? sf_dirs_fleeting((uint64_t)fs.f_type) : NULL;
    holder_of(p, holder, sizeof holder);
    doctor_say(row, SF_DOCTOR_OK, "%s, %llu MiB free%s%s%s%.300s", p->base,
               (unsigned long long)(free_bytes(p) >> 20), kind ? ", on " : "", kind ? kind : "",
               *holder ? "; held by " : "", holder);
}

void
check_cache(struct sf_doctor *d, struct sf_doctor_row *row)
{
    struct place p;
    look(d, SF_OPT_CACHE_DIR, &p);
    if (!is_usable(&p, row))
        return;
    uint64_t margin = sf_config_u64(d->cfg, SF_OPT_CACHE_MIN_FREE);
    if (free_bytes(&p) < margin && sf_config_u64(d->cfg, SF_OPT_CACHE_SIZE)) {
        doctor_say(row, SF_DOCTOR_WARN,
                   "%s has %llu MiB free, less than cache_min_free (%llu MiB): hardly anything is "
                   "cached",
                   p.base, (unsigned long long)(free_bytes(&p) >> 20),
                   (unsigned long long)(margin >> 20));
        doctor_advise(row, "make room there, name another disk with -o cache_dir=DIR, or set "
                           "cache_min_free lower");
        return;
    }
    say_well(&p, row);
}

void
check_state(struct sf_doctor *d, struct sf_doctor_row *row)
{
    struct place p;
    struct statfs fs;
    look(d, SF_OPT_STATE_DIR, &p);
    if (!is_usable(&p, row))
        return;
    const char *kind = statfs(p.there, &fs) == 0 ? sf_dirs_fleeting((uint64_t)fs.f_type) : NULL;
    bool behind = !strcmp(sf_config_str(d->cfg, SF_OPT_SYNC), "writeback");
    bool accepted =
        sf_config_bool(d->cfg, SF_OPT_UNSAFE_STATE_DIR) || sf_config_bool(d->cfg, SF_OPT_RO);
    if (!strcmp(p.base, sf_config_str(d->cfg, SF_OPT_CACHE_DIR))) {
        doctor_say(row, SF_DOCTOR_FAIL, "cache_dir and state_dir are both %s", p.base);
        doctor_advise(row, "name two: a cache may be thrown away, and the state may not");
    } else if (kind && !accepted) {
        doctor_say(row, behind ? SF_DOCTOR_FAIL : SF_DOCTOR_WARN,
                   "%s is on %s, which does not outlive a restart: what is not stored by then is "
                   "lost%s",
                   p.base, kind, behind ? ", and sync=writeback is refused" : "");
        doctor_advise(row, "name a directory on a local disk with -o state_dir=DIR");
    } else if (free_bytes(&p) < STATE_MIN) {
        doctor_say(row, SF_DOCTOR_WARN, "%s has %llu MiB free: a larger file cannot be written",
                   p.base, (unsigned long long)(free_bytes(&p) >> 20));
        doctor_advise(row, "make room there, or name another disk with -o state_dir=DIR");
    } else {
        say_well(&p, row);
    }
}
