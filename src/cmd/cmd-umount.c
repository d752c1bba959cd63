/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "cmd/cmd.h"

#include "base/clock.h"
#include "base/file.h"
#include "base/mounts.h"
#include "base/str.h"
#include "cmd/process.h"
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
#include <time.h>
#include <unistd.h>

/* How much longer than stop_timeout a daemon may take, for what it does besides. */
#define MARGIN_MS       10000
#define DEFAULT_STOP_MS 60000
#define LOOK_MS         250
#define SOON_MS         1000 /* what takes no longer is not spoken of */
#define REASON_SHOWN    60

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
    bool dead; /* nobody answers there */
    bool tty;
};

static void
ask(struct target *t, const struct sf_mount_copy *m)
{
    sf_autobuf struct sf_buf text = SF_BUF_INIT;
    char value[PATH_MAX];
    uint64_t pid;
    t->stop_ms = DEFAULT_STOP_MS;
    t->pidfd = -1;
    t->dead = control_read(t->point, "status", &text) < 0;
    if (t->dead)
        return;
    if (control_value(text.data, "pid", value, sizeof value) < 0 || sf_parse_u64(value, &pid))
        pid = 0;
    t->pidfd = pid && pid <= INT_MAX ? process_of_mount(m, (pid_t)pid) : -EPERM;
    if (t->pidfd < 0) {
        complain("%s does not name a process of supafs that serves it; it is unmounted, and no "
                 "process is told or waited for",
                 t->point);
        return; /* nor is anything else believed that it says */
    }
    t->pid = (pid_t)pid;
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

/* ---- waiting -------------------------------------------------------------------------------- */

/* What the daemon says while it stops. */
struct progress {
    uint64_t left, bytes, seconds;
    char reason[240];
};

static uint64_t
number(const char *text, const char *name)
{
    char value[32];
    uint64_t n;
    return control_value(text, name, value, sizeof value) || sf_parse_u64(value, &n) ? 0 : n;
}

/* False: it has said nothing (yet). */
static bool
read_progress(const struct target *t, struct progress *p)
{
    sf_autobuf struct sf_buf text = SF_BUF_INIT;
    char path[PATH_MAX + 16];
    snprintf(path, sizeof path, "%s/stopping", t->state_dir);
    if (!*t->state_dir || sf_read_file(path, 4096, &text, NULL) < 0 ||
        number(text.data, "pid") != (uint64_t)t->pid)
        return false;
    *p = (struct progress){.left = number(text.data, "left"),
                           .bytes = number(text.data, "bytes"),
                           .seconds = number(text.data, "seconds")};
    (void)control_value(text.data, "reason", p->reason, sizeof p->reason);
    (void)sf_utf8_trim(p->reason);
    return p->left > 0;
}

static void
show_progress(const struct target *t, const struct progress *p, bool first)
{
    char size[16], age[16], why[REASON_SHOWN + 1];
    human_size(p->bytes, size);
    human_age((int64_t)p->seconds, age);
    if (t->tty)
        fprintf(stderr, "%" PRIu64 " change%s left, %s, for %s at most%s%s\033[K\r", p->left,
                plural(p->left), size, age, p->reason[0] ? "; " : "",
                shortened(p->reason, why, sizeof why));
    else if (first)
        complain("%" PRIu64 " change%s (%s) left to send; waiting for %s at most", p->left,
                 plural(p->left), size, age);
}

/* Returns 0 when the process is gone, -ETIMEDOUT when it is not, -EINTR after Ctrl-C. */
static int
wait_gone(const struct target *t)
{
    int64_t begun = sf_clock_ms(), end = begun + t->stop_ms + MARGIN_MS;
    struct progress now;
    bool shown = false;
    int rc = -ETIMEDOUT;
    for (int64_t left = end - begun; left > 0; left = end - sf_clock_ms()) {
        struct pollfd p = {.fd = t->pidfd, .events = POLLIN};
        int n = poll(&p, 1, left < LOOK_MS ? (int)left : LOOK_MS);
        if (n != 0) {
            rc = n > 0 ? 0 : -errno;
            break;
        }
        if (sf_clock_ms() - begun >= SOON_MS && read_progress(t, &now)) {
            show_progress(t, &now, !shown);
            shown = true;
        }
    }
    if (shown && t->tty)
        fputs("\033[K", stderr);
    return rc;
}

static void
on_signal(int number_of_it)
{
    (void)number_of_it; /* poll() returns with EINTR */
}

/* ---- the end -------------------------------------------------------------------------------- */

static void
say_pending(const struct target *t, uint64_t left, const char *text)
{
    char size[16], age[16];
    uint64_t since = number(text, "left_since");
    human_size(number(text, "left_bytes"), size);
    uint64_t now = (uint64_t)time(NULL);
    human_age(since && since < now ? (int64_t)(now - since) : 0, age);
    bool one = left == 1;
    complain("%" PRIu64
             " change%s (%s, the oldest %s old) %s not in the project yet; the journal in "
             "%s keeps %s, and the next mount sends %s",
             left, plural(left), size, age, one ? "is" : "are", t->state_dir, one ? "it" : "them",
             one ? "it" : "them");
    complain("`supafs queue ls --state-dir=%s` shows %s", t->state_dir, one ? "it" : "them");
}

/* What the daemon left behind about its end. */
static int
report(const struct target *t)
{
    sf_autobuf struct sf_buf text = SF_BUF_INIT;
    char path[PATH_MAX + 16], where[PATH_MAX] = "";
    snprintf(path, sizeof path, "%s/last-stop", t->state_dir);
    if (!*t->state_dir || sf_read_file(path, 65536, &text, NULL) < 0 ||
        number(text.data, "pid") != (uint64_t)t->pid)
        return SF_EXIT_OK; /* it is of an earlier mount */
    uint64_t n = number(text.data, "not_uploaded"), pending = number(text.data, "pending");
    uint64_t left = number(text.data, "left");
    uint64_t local = number(text.data, "left_local");
    if (left)
        say_pending(t, left, text.data);
    if (local)
        complain("the attributes of %" PRIu64 " file%s could not be written; they stay in %s",
                 local, plural(local), t->state_dir);
    if (n <= pending)
        return left ? SF_EXIT_PENDING : SF_EXIT_OK;
    n -= pending;
    control_value(text.data, "quarantine", where, sizeof where);
    complain("%" PRIu64 " file%s could not be uploaded; the bytes are kept in %s, each with a note "
             "of its key and the reason",
             n, plural(n), where);
    return SF_EXIT_REFUSED;
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
    ask(&t, &m);
    rc = sf_place_unmount(t.point, l->lazy || t.dead, &err);
    if (rc < 0)
        return refuse(&t, rc, err.msg);
    if (l->lazy)
        return 0;
    const struct sigaction act = {.sa_handler = on_signal, .sa_flags = SA_RESETHAND};
    t.tty = isatty(STDERR_FILENO);
    sigaction(SIGINT, &act, NULL);
    tell_to_stop(&t);
    rc = t.pidfd >= 0 ? wait_gone(&t) : 0;
    if (t.pidfd >= 0)
        close(t.pidfd);
    if (rc < 0) {
        complain("%s is unmounted, but its process %ld has not ended yet; it still uploads, and "
                 "keeps what it cannot upload in %s",
                 t.point, (long)t.pid, t.state_dir);
        return rc == -EINTR ? EXIT_INTERRUPTED : SF_EXIT_FAILED;
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
