/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "cmd/cmd.h"

#include "base/clock.h"
#include "base/file.h"
#include "base/mounts.h"
#include "base/str.h"
#include "daemon/exit.h"
#include "daemon/place.h"

#include <argp.h>
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

/* How much longer than stop_timeout a daemon may take, for what it does besides. */
#define MARGIN_MS       10000
#define DEFAULT_STOP_MS 60000

struct umount_line {
    const char *point;
    bool lazy;
};

static error_t
parse(int key, char *arg, struct argp_state *state)
{
    struct umount_line *l = state->input;
    switch (key) {
    case 'l':
        l->lazy = true;
        return 0;
    case ARGP_KEY_ARG:
        if (l->point)
            argp_error(state, "one mount point at a time");
        l->point = arg;
        return 0;
    case ARGP_KEY_END:
        if (!l->point)
            argp_error(state, "the mount point is missing");
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static const struct argp_option options[] = {
    {"lazy", 'l', NULL, 0,
     "Take it away now, though programs use it; it is finished when the last one has closed its "
     "files",
     0},
    {0}};

static const struct argp argp = {
    options,      parse,
    "MOUNTPOINT", "Unmount, and wait until uploads are done and the mount's process has ended.",
    NULL,         NULL,
    NULL};

/* What has to be known before the mount is gone. */
struct target {
    char point[PATH_MAX];
    char state_dir[PATH_MAX];
    int64_t stop_ms;
    pid_t pid; /* 0 = not known */
    int pidfd;
};

static void
ask(struct target *t)
{
    sf_autobuf struct sf_buf text = SF_BUF_INIT;
    char value[PATH_MAX];
    uint64_t pid;
    t->stop_ms = DEFAULT_STOP_MS;
    t->pidfd = -1;
    if (control_read(t->point, "status", &text) < 0)
        return;
    if (control_value(text.data, "pid", value, sizeof value) == 0 && !sf_parse_u64(value, &pid)) {
        t->pid = (pid_t)pid;
        t->pidfd = (int)syscall(SYS_pidfd_open, t->pid, 0);
    }
    if (control_value(text.data, "option stop_timeout", value, sizeof value) == 0)
        t->stop_ms = answer_ms(value);
    if (t->stop_ms < 0)
        t->stop_ms = DEFAULT_STOP_MS;
    control_value(text.data, "state_dir", t->state_dir, sizeof t->state_dir);
}

/* Another mount namespace may have a copy of the mount, which would keep the process alive; the one
 * who asks for an end means all of it. */
static void
tell_to_stop(const struct target *t)
{
    if (t->pidfd >= 0)
        (void)syscall(SYS_pidfd_send_signal, t->pidfd, SIGTERM, NULL, 0);
}

/* Returns 0 when the process is gone, -ETIMEDOUT when it is not. */
static int
wait_gone(const struct target *t)
{
    int64_t end = sf_clock_ms() + t->stop_ms + MARGIN_MS;
    if (t->pidfd < 0)
        return 0;
    for (;;) {
        struct pollfd p = {.fd = t->pidfd, .events = POLLIN};
        int64_t left = end - sf_clock_ms();
        int n = left > 0 ? poll(&p, 1, left < INT_MAX ? (int)left : INT_MAX) : 0;
        if (n > 0)
            return 0;
        if (n == 0)
            return -ETIMEDOUT;
        if (errno != EINTR)
            return -errno;
    }
}

/* What the daemon left behind about its end. */
static int
report(const struct target *t)
{
    sf_autobuf struct sf_buf text = SF_BUF_INIT;
    char path[PATH_MAX + 16], pid[32], count[32], where[PATH_MAX] = "";
    uint64_t n, whose, pending = 0;
    snprintf(path, sizeof path, "%s/last-stop", t->state_dir);
    if (!*t->state_dir || sf_read_file(path, 65536, &text, NULL) < 0)
        return 0;
    if (control_value(text.data, "pid", pid, sizeof pid) || sf_parse_u64(pid, &whose) ||
        whose != (uint64_t)t->pid)
        return 0; /* of an earlier mount */
    if (control_value(text.data, "not_uploaded", count, sizeof count) || sf_parse_u64(count, &n))
        return 0;
    if (n == 0)
        return 0;
    if (!control_value(text.data, "pending", count, sizeof count))
        (void)sf_parse_u64(count, &pending);
    if (pending)
        complain("%" PRIu64 " file%s could not be uploaded yet; the journal in %s keeps the bytes, "
                 "and the next mount sends them",
                 pending, pending == 1 ? "" : "s", t->state_dir);
    if (n <= pending)
        return SF_EXIT_FAILED;
    n -= pending;
    control_value(text.data, "quarantine", where, sizeof where);
    complain("%" PRIu64 " file%s could not be uploaded; the bytes are kept in %s, each with a note "
             "of its key and the reason",
             n, n == 1 ? "" : "s", where);
    return SF_EXIT_FAILED;
}

static int
refuse(const struct target *t, int rc, const char *why)
{
    if (rc == -EBUSY)
        complain(
            "%s is in use; close the files there and leave the directory (`fuser -vm %s` shows "
            "who), or run `supafs umount --lazy %s`",
            t->point, t->point, t->point);
    else
        complain("cannot unmount %s: %s", t->point, why);
    return SF_EXIT_FAILED;
}

static int
run(struct umount_line *l)
{
    struct target t = {0};
    struct sf_mount_copy m;
    struct sf_err err = SF_ERR_INIT;
    int rc = sf_mount_path(l->point, t.point);
    if (rc < 0) {
        complain("%s: %s", l->point, strerror(-rc));
        return SF_EXIT_USAGE;
    }
    if (sf_mount_find(t.point, &m) != 1 || !sf_place_is_ours(m.fstype)) {
        complain("nothing of supafs is mounted on %s; `supafs status` lists the mounts", t.point);
        return SF_EXIT_USAGE;
    }
    ask(&t);
    rc = sf_place_unmount(t.point, l->lazy || t.pid == 0, &err);
    if (rc < 0)
        return refuse(&t, rc, err.msg);
    if (l->lazy)
        return 0;
    tell_to_stop(&t);
    rc = wait_gone(&t);
    if (t.pidfd >= 0)
        close(t.pidfd);
    if (rc < 0) {
        complain("%s is unmounted, but its process %ld has not ended yet; it still uploads, and "
                 "keeps what it cannot upload in %s",
                 t.point, (long)t.pid, t.state_dir);
        return SF_EXIT_FAILED;
    }
    return report(&t);
}

int
cmd_umount(int argc, char **argv)
{
    struct umount_line l = {0};
    error_t bad = argp_parse(&argp, argc, argv, 0, NULL, &l);
    if (bad) {
        complain("%s", strerror(bad));
        return SF_EXIT_USAGE;
    }
    return run(&l);
}
