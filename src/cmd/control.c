/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "cmd/cmd.h"

#include "base/clock.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define PATIENCE_MS 5000
#define MAX_TEXT    (1u << 20)

void
complain(const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    fputs("supafs: ", stderr);
    vfprintf(stderr, fmt, ap);
    fputc('\n', stderr);
    va_end(ap);
}

/* In a child, because open(2) on a mount that does not answer cannot be given up. Ends with the
 * errno as status. */
static void __attribute__((noreturn)) read_in_child(const char *point, const char *name, int to)
{
    char path[PATH_MAX], buf[4096];
    int n = snprintf(path, sizeof path, "%s/.supafs/%s", point, name);
    if (n < 0 || (size_t)n >= sizeof path)
        _exit(ENAMETOOLONG);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        _exit(errno & 0xff);
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

int
control_value(const char *text, const char *name, char *out, size_t size)
{
    size_t n = strlen(name);
    while (text && *text) {
        const char *end = strchrnul(text, '\n');
        if (!strncmp(text, name, n) && text[n] == ':' && text[n + 1] == ' ') {
            const char *value = text + n + 2;
            snprintf(out, size, "%.*s", (int)(end - value), value);
            return 0;
        }
        text = *end ? end + 1 : end;
    }
    return -ENOENT;
}
