/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "cmd/cmd.h"

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/file.h"
#include "control/words.h"
#include "daemon/exit.h"
#include "daemon/place.h"
#include "virtual/talk.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <unistd.h>

#define PATIENCE_MS 5000
#define MAX_TEXT    (1u << 20)

/* POINT/.supafs/NAME. What lies there may be no mount of ours: its links lead nowhere, so that it
 * cannot have other files read or written by who asks it. */
static int
open_file(const char *point, const char *name, int flags)
{
    sf_autofd int top = open(point, O_PATH | O_DIRECTORY | O_CLOEXEC);
    sf_autofd int dir =
        top < 0 ? -1 : openat(top, ".supafs", O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    int fd = dir < 0 ? -1 : openat(dir, name, flags | O_NOFOLLOW | O_CLOEXEC);
    return fd < 0 ? -errno : fd;
}

/* In a child, because open(2) on a mount that does not answer cannot be given up. Ends with the
 * errno as status. */
static void __attribute__((noreturn)) read_in_child(const char *point, const char *name, int to)
{
    char buf[4096];
    int fd = open_file(point, name, O_RDONLY);
    if (fd < 0)
        _exit(-fd & 0xff);
    for (;;) {
        ssize_t got = read(fd, buf, sizeof buf);
        if (got <= 0)
            _exit(got < 0 ? errno & 0xff : 0);
        if (write(to, buf, (size_t)got) != got)
            _exit(EPIPE);
    }
}

/* Until the end of the file or the deadline. */
static int
collect(int fd, struct sf_buf *out)
{
    int64_t end = sf_clock_ms() + PATIENCE_MS;
    char buf[4096];
    for (;;) {
        struct pollfd p = {.fd = fd, .events = POLLIN};
        int64_t left = end - sf_clock_ms();
        int n = left > 0 ? poll(&p, 1, (int)left) : 0;
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return n < 0 ? -errno : -ETIMEDOUT;
        ssize_t got = read(fd, buf, sizeof buf);
        if (got <= 0)
            return got < 0 ? -errno : 0;
        int rc = sf_buf_append_max(out, buf, (size_t)got, MAX_TEXT);
        if (rc)
            return rc;
    }
}

int
control_read(const char *point, const char *name, struct sf_buf *out)
{
    int fd[2], status = 0;
    if (pipe2(fd, O_CLOEXEC) < 0)
        return -errno;
    fflush(NULL);
    pid_t pid = fork();
    if (pid < 0) {
        int rc = -errno;
        close(fd[0]);
        close(fd[1]);
        return rc;
    }
    if (pid == 0)
        read_in_child(point, name, fd[1]);
    close(fd[1]);
    int rc = collect(fd[0], out);
    close(fd[0]);
    if (rc < 0) {
        kill(pid, SIGKILL);
        waitpid(pid, &status, WNOHANG); /* it may not be able to die */
        return rc;
    }
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
        ;
    return WIFEXITED(status) ? -WEXITSTATUS(status) : -EIO;
}

/* ---- which mounts --------------------------------------------------------------------------- */

static int
add_point(struct point_vec *v, const char *point)
{
    char *copy = strdup(point);
    int rc = copy ? point_vec_push(v, copy) : -ENOMEM;
    if (rc)
        free(copy);
    return rc;
}

static int
collect_point(void *arg, const struct sf_mount *m)
{
    return sf_place_is_ours(m->fstype) ? add_point(arg, m->point) : 0;
}

int
control_points(const char *named, struct point_vec *v)
{
    struct sf_mount_copy m;
    char point[PATH_MAX];
    if (!named) {
        int rc = sf_mounts_each(collect_point, v);
        if (rc < 0)
            complain("cannot list the mounts: %s", strerror(-rc));
        return rc < 0 ? SF_EXIT_FAILED : SF_EXIT_OK;
    }
    int rc = sf_mount_path(named, point);
    if (rc < 0) {
        complain("%s: %s", named, strerror(-rc));
        return SF_EXIT_USAGE;
    }
    if (sf_mount_find(point, &m) != 1 || !sf_place_is_ours(m.fstype)) {
        complain("nothing of supafs is mounted on %s", point);
        return SF_EXIT_USAGE;
    }
    return add_point(v, point) ? SF_EXIT_FAILED : SF_EXIT_OK;
}

void
control_points_fini(struct point_vec *v)
{
    for (size_t i = 0; i < v->len; i++)
        free(v->data[i]);
    point_vec_fini(v);
}

const char *
control_trouble(int rc)
{
    switch (rc) {
    case -ENOTCONN:
    case -ECONNABORTED:
        return "dead: its process is gone; mount again there, or run `supafs umount`";
    case -ETIMEDOUT:
        return "does not answer";
    case -EACCES:
        return "belongs to another user";
    default:
        return strerror(-rc);
    }
}

/* ---- requests ------------------------------------------------------------------------------- */

int
control_place_of(const char *path, struct control_place *ret)
{
    struct sf_mount_copy m;
    char real[PATH_MAX];
    if (!realpath(path, real))
        return -errno;
    if (sf_mount_of(real, &m) != 1 || !sf_place_is_ours(m.fstype))
        return -ENODEV;
    size_t n = strlen(m.point);
    snprintf(ret->point, sizeof ret->point, "%s", m.point);
    snprintf(ret->path, sizeof ret->path, "%s", real[n] == '/' ? real + n + 1 : ".");
    return 0;
}

int
control_find(const char *path, struct control_place *ret)
{
    int rc = control_place_of(path, ret);
    if (rc == -ENODEV)
        complain("%s is not in a mount of supafs", path);
    else if (rc)
        complain("%s: %s", path, strerror(-rc));
    return rc ? -1 : 0;
}

/* A mount that is read only cannot be written to, but spoken to. */
static int
open_control(const char *point, bool *by_pieces)
{
    int fd = open_file(point, "control", O_RDWR);
    *by_pieces = fd == -EROFS;
    return *by_pieces ? open_file(point, "control", O_RDONLY) : fd;
}

static int
send_pieces(int fd, const struct sf_buf *line)
{
    for (size_t at = 0; at < line->len;) {
        struct sf_talk_piece p = {.len = 0};
        size_t n = line->len - at < sizeof p.text ? line->len - at : sizeof p.text;
        p.len = (uint32_t)n;
        memcpy(p.text, line->data + at, n);
        if (ioctl(fd, SF_TALK_SAY, &p) < 0)
            return errno == ENOTTY ? -EROFS : -errno;
        at += n;
    }
    return 0;
}

static int
send_words(int fd, bool by_pieces, const char *const *words)
{
    sf_autobuf struct sf_buf line = SF_BUF_INIT;
    int rc = 0;
    for (; !rc && *words; words++)
        rc = sf_words_append(&line, *words);
    if (!rc)
        rc = sf_buf_putc(&line, '\n');
    if (rc)
        return rc;
    return by_pieces ? send_pieces(fd, &line) : sf_write_full(fd, line.data, line.len);
}

static int
pass_lines(int fd, struct answer *a, struct sf_buf *said)
{
    char buf[16384];
    ssize_t n;
    while ((n = read(fd, buf, sizeof buf)) > 0) {
        int rc = answer_take(a, buf, (size_t)n);
        if (rc)
            return rc;
    }
    return n < 0 ? -errno : answer_end(a, said);
}

int
control_answers(const char *point)
{
    sf_autobuf struct sf_buf text = SF_BUF_INIT;
    return control_read(point, "status", &text);
}

int
control_ask(const char *point, const char *const *words, void (*line)(void *arg, const char *text),
            void *arg, struct sf_buf *said)
{
    bool by_pieces;
    sf_autofd int fd = open_control(point, &by_pieces);
    if (fd < 0)
        return fd;
    struct answer a = ANSWER_INIT(line, arg);
    int rc = send_words(fd, by_pieces, words);
    if (!rc)
        rc = pass_lines(fd, &a, said);
    answer_fini(&a);
    return rc;
}
