/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "cmd/process.h"

#include "base/cleanup.h"
#include "base/file.h"
#include "base/str.h"

#include <dirent.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

static bool
is_alive(int pidfd)
{
    struct pollfd p = {.fd = pidfd, .events = POLLIN};
    return poll(&p, 1, 0) == 0;
}

/* The word behind "NAME:" in a file of /proc. */
static int
word_of(const char *path, const char *name, char out[32])
{
    sf_autobuf struct sf_buf text = SF_BUF_INIT;
    char scan[48];
    int rc = sf_read_file(path, 65536, &text, NULL);
    if (rc)
        return rc;
    snprintf(scan, sizeof scan, "\n%s:", name);
    const char *at = strstr(sf_buf_str(&text), scan);
    if (!at && strncmp(sf_buf_str(&text), scan + 1, strlen(scan + 1)) == 0)
        at = sf_buf_str(&text) - 1;
    return at && sscanf(at + strlen(scan), " %31s", out) == 1 ? 0 : -ENOENT;
}

/* It may not even be visible what a process of ours that holds a key has open; then the owner and
 * the name have to do. */
static bool
may_hold(pid_t pid, unsigned minor)
{
    char path[64], link[64], word[32];
    bool fuse = false, told = false;
    struct dirent *e;
    uint64_t n;
    snprintf(path, sizeof path, "/proc/%ld/fd", (long)pid);
    sf_autodir DIR *dir = opendir(path);
    if (!dir)
        return errno == EACCES || errno == ENOENT;
    while ((e = readdir(dir))) {
        ssize_t len = readlinkat(dirfd(dir), e->d_name, link, sizeof link - 1);
        link[len > 0 ? len : 0] = '\0';
        if (strcmp(link, "/dev/fuse") != 0)
            continue;
        fuse = true;
        snprintf(path, sizeof path, "/proc/%ld/fdinfo/%.20s", (long)pid, e->d_name);
        if (word_of(path, "fuse_connection", word) || sf_parse_u64(word, &n))
            continue; /* the kernel is older than that */
        told = true;
        if (n == minor)
            return true;
    }
    return fuse && !told;
}

static bool
is_supafs(pid_t pid, long owner)
{
    char path[64], word[32];
    uint64_t uid;
    snprintf(path, sizeof path, "/proc/%ld/status", (long)pid);
    int rc = word_of(path, "Name", word);
    /* hidepid= of /proc hides a daemon from its own user, who may end no other's process anyway. */
    if (rc == -ENOENT && geteuid() != 0)
        return owner == (long)geteuid();
    if (rc || !(sf_str_starts(word, "supafs") || sf_str_starts(word, "mount.supafs")))
        return false;
    return word_of(path, "Uid", word) == 0 && sf_parse_u64(word, &uid) == 0 && (long)uid == owner;
}

int
process_of_mount(const struct sf_mount_copy *m, pid_t pid)
{
    if (pid <= 1)
        return -ESRCH;
    sf_autofd int fd = (int)syscall(SYS_pidfd_open, pid, 0);
    if (fd < 0)
        return -errno;
    /* What was read was of this process if it lives afterwards. */
    bool ours = is_supafs(pid, m->owner) && may_hold(pid, m->minor);
    if (!is_alive(fd))
        return -ESRCH;
    return ours ? sf_steal_fd(fd) : -EPERM;
}
