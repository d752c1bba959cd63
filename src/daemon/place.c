/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "daemon/place.h"

#include "base/mounts.h"
#include "observe/log.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <spawn.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

bool
sf_place_is_ours(const char *fstype)
{
    return !strcmp(fstype, "fuse.supafs");
}

/* fusermount3 says on its error output what is wrong; only its success is taken from it. */
static int
run_fusermount(const char *point, bool lazy)
{
    const char *argv[] = {"fusermount3", lazy ? "-uqz" : "-uq", "--", point, NULL};
    posix_spawn_file_actions_t quiet;
    pid_t pid;
    int status;
    posix_spawn_file_actions_init(&quiet);
    posix_spawn_file_actions_addopen(&quiet, 2, "/dev/null", O_WRONLY, 0);
    int rc = posix_spawnp(&pid, argv[0], &quiet, NULL, (char *const *)argv, environ);
    posix_spawn_file_actions_destroy(&quiet);
    if (rc)
        return -rc;
    while (waitpid(pid, &status, 0) < 0)
        if (errno != EINTR)
            return -errno;
    return WIFEXITED(status) && WEXITSTATUS(status) == 0 ? 0 : lazy ? -EPERM : -EBUSY;
}

int
sf_place_unmount(const char *point, bool lazy)
{
    if (geteuid() == 0)
        return umount2(point, (lazy ? MNT_DETACH : 0) | UMOUNT_NOFOLLOW) < 0 ? -errno : 0;
    return run_fusermount(point, lazy);
}

/* Not stat(2): the kernel may answer that from its cache. */
static bool
is_dead(const char *point)
{
    struct statfs st;
    return statfs(point, &st) < 0 && (errno == ENOTCONN || errno == ECONNABORTED);
}

/* A mount whose process was killed answers ENOTCONN for ever, until somebody takes it away. */
static int
heal(const char *point, struct sf_outcome *o)
{
    struct sf_mount_copy m;
    if (sf_mount_find(point, &m) != 1 || !sf_place_is_ours(m.fstype))
        return sf_outcome_fail(o, SF_EXIT_POINT_STALE,
                               "%s holds a dead mount that is not of supafs; run `umount -l %s` "
                               "if it is no longer needed",
                               point, point);
    int rc = sf_place_unmount(point, true);
    if (rc < 0)
        return sf_outcome_fail(o, SF_EXIT_POINT_STALE,
                               "%s holds a mount whose process is gone, and it cannot be taken "
                               "away (%s); run `umount -l %s` as root",
                               point, strerror(-rc), point);
    if (is_dead(point))
        return heal(point, o); /* several lay on each other; each round takes one */
    sf_outcome_say(o, "a dead mount on %s was taken away", point);
    return 0;
}

int
sf_place_prepare(const char *path, char *point, struct sf_outcome *o)
{
    struct sf_mount_copy m;
    struct stat st;
    int rc = sf_mount_path(path, point);
    if (rc < 0)
        return sf_outcome_fail(o, SF_EXIT_USAGE, "the mount point %s: %s%s", path, strerror(-rc),
                               rc == -ENOENT ? "; make it with mkdir" : "");
    if (is_dead(point) && heal(point, o) < 0)
        return -1;
    if (stat(point, &st) < 0)
        return sf_outcome_fail(o, SF_EXIT_USAGE, "the mount point %s: %s", point, strerror(errno));
    if (!S_ISDIR(st.st_mode))
        return sf_outcome_fail(o, SF_EXIT_USAGE, "the mount point %s is not a directory", point);
    if (sf_mount_find(point, &m) == 1)
        return sf_outcome_fail(o, SF_EXIT_POINT_IN_USE,
                               "%s (%s) is mounted on %s already; take another mount point, or run "
                               "`%s %s` first",
                               m.source, m.fstype, point,
                               sf_place_is_ours(m.fstype) ? "supafs umount" : "umount", point);
    if (geteuid() != 0 && access(point, W_OK) < 0)
        return sf_outcome_fail(o, SF_EXIT_USAGE,
                               "you may not write to %s, so you may not mount there; take a "
                               "directory of your own",
                               point);
    return 0;
}
