/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "daemon/place.h"

#include "base/cleanup.h"
#include "base/err.h"
#include "base/file.h"
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

/* Starts it; *said is the other end of its error output. */
static int
spawn_fusermount(const char *point, bool lazy, pid_t *pid, int *said)
{
    const char *argv[] = {"fusermount3", lazy ? "-uz" : "-u", "--", point, NULL};
    posix_spawn_file_actions_t actions;
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) < 0)
        return -errno;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, ends[1], 2);
    int rc = posix_spawnp(pid, argv[0], &actions, NULL, (char *const *)argv, environ);
    posix_spawn_file_actions_destroy(&actions);
    close(ends[1]);
    if (rc)
        close(ends[0]);
    else
        *said = ends[0];
    return -rc;
}

/* It has one exit status for all failures; only its words tell them apart. */
static int
run_fusermount(const char *point, bool lazy, struct sf_err *err)
{
    sf_autofd int said = -1;
    char text[256];
    pid_t pid;
    int status, rc = spawn_fusermount(point, lazy, &pid, &said);
    if (rc < 0)
        return sf_err_set(err, rc, "cannot run fusermount3 (package fuse3): %s", strerror(-rc));
    ssize_t n = sf_read_full(said, text, sizeof text - 1);
    text[n > 0 ? n : 0] = '\0';
    text[strcspn(text, "\n")] = '\0';
    while (waitpid(pid, &status, 0) < 0)
        if (errno != EINTR)
            return sf_err_set(err, -errno, "waiting for fusermount3: %m");
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
        return 0;
    if (strstr(text, "not found in"))
        return sf_err_set(err, -EPERM, "another user mounted it");
    return sf_err_set(err, strstr(text, "resource busy") ? -EBUSY : -EPERM, "%s",
                      *text ? text : "fusermount3 failed without a word");
}

int
sf_place_unmount(const char *point, bool lazy, struct sf_err *err)
{
    if (geteuid() != 0)
        return run_fusermount(point, lazy, err);
    if (umount2(point, (lazy ? MNT_DETACH : 0) | UMOUNT_NOFOLLOW) < 0)
        return sf_err_set(err, -errno, "%m");
    return 0;
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
    struct sf_err err = SF_ERR_INIT;
    int rc = sf_place_unmount(point, true, &err);
    if (rc < 0)
        return sf_outcome_fail(o, SF_EXIT_POINT_STALE,
                               "%s holds a mount whose process is gone, and it cannot be taken "
                               "away (%s); run `umount -l %s` as root",
                               point, err.msg, point);
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
