/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>

#define LOCK_TEXT_MAX 4200 /* a pid and a path */

/* Read to @n bytes or the end; @off < 0 = at the file position. */
static ssize_t
read_loop(int fd, char *buf, size_t n, off_t off)
{
    size_t done = 0;
    while (done < n) {
        ssize_t got = off < 0 ? read(fd, buf + done, n - done)
                              : pread(fd, buf + done, n - done, off + (off_t)done);
        if (got < 0) {
            if (errno == EINTR)
                continue;
            return -errno;
        }
        if (got == 0)
            break;
        done += (size_t)got;
    }
    return (ssize_t)done;
}

static int
write_loop(int fd, const char *buf, size_t n, off_t off)
{
    size_t done = 0;
    while (done < n) {
        ssize_t put = off < 0 ? write(fd, buf + done, n - done)
                              : pwrite(fd, buf + done, n - done, off + (off_t)done);
        if (put < 0) {
            if (errno == EINTR)
                continue;
            return -errno;
        }
        if (put == 0)
            return -EIO; /* would loop for ever */
        done += (size_t)put;
    }
    return 0;
}

ssize_t
sf_read_full(int fd, void *buf, size_t n)
{
    return read_loop(fd, buf, n, -1);
}

ssize_t
sf_pread_full(int fd, void *buf, size_t n, off_t off)
{
    return off < 0 ? -EINVAL : read_loop(fd, buf, n, off);
}

int
sf_write_full(int fd, const void *buf, size_t n)
{
    return write_loop(fd, buf, n, -1);
}

int
sf_pwrite_full(int fd, const void *buf, size_t n, off_t off)
{
    return off < 0 ? -EINVAL : write_loop(fd, buf, n, off);
}

/* Append what can be read from @fd, at most @max bytes. */
static int
read_all(int fd, size_t max, struct sf_buf *out)
{
    char chunk[16384];
    size_t start = out->len;
    for (;;) {
        ssize_t n = sf_read_full(fd, chunk, sizeof chunk);
        int rc = n < 0 ? (int)n : 0;
        if (!rc && (size_t)n > max - (out->len - start))
            rc = -EFBIG;
        if (!rc)
            rc = sf_buf_append(out, chunk, (size_t)n);
        explicit_bzero(chunk, sizeof chunk); /* key files are read with this, too */
        if (rc) {
            sf_buf_truncate(out, start);
            return rc;
        }
        if ((size_t)n < sizeof chunk)
            return 0;
    }
}

int
sf_read_file(const char *path, size_t max, struct sf_buf *out, struct sf_err *err)
{
    sf_autofd int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return sf_err_set(err, -errno, "cannot open %s: %m", path);
    int rc = read_all(fd, max, out);
    if (rc == -EFBIG)
        return sf_err_set(err, rc, "%s is larger than %zu bytes", path, max);
    if (rc)
        return sf_err_set(err, rc, "cannot read %s: %s", path, strerror(-rc));
    return 0;
}

int
sf_fsync_parent(const char *path)
{
    const char *slash = strrchr(path, '/');
    size_t n = slash ? (size_t)(slash - path) : 0;
    sf_autofree char *dir = !slash ? strdup(".") : n == 0 ? strdup("/") : strndup(path, n);
    if (!dir)
        return -ENOMEM;
    sf_autofd int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0 || fsync(fd) < 0)
        return -errno;
    return 0;
}

/* Fill the temporary file and put it in the place of @path. */
static int
fill_and_rename(int fd, const char *tmp, const char *path, const void *data, size_t n, mode_t mode)
{
    int rc = sf_write_full(fd, data, n);
    if (rc)
        return rc;
    if (fchmod(fd, mode) < 0 || fsync(fd) < 0 || rename(tmp, path) < 0)
        return -errno;
    return 0;
}

int
sf_write_file_atomic(const char *path, const void *data, size_t n, mode_t mode, struct sf_err *err)
{
    sf_autofree char *tmp = NULL;
    if (asprintf(&tmp, "%s.XXXXXX", path) < 0) {
        tmp = NULL;
        return sf_err_set(err, -ENOMEM, "out of memory");
    }
    sf_autofd int fd = mkostemp(tmp, O_CLOEXEC);
    if (fd < 0)
        return sf_err_set(err, -errno, "cannot create %s: %m", tmp);
    int rc = fill_and_rename(fd, tmp, path, data, n, mode);
    if (rc) {
        unlink(tmp);
        return sf_err_set(err, rc, "cannot write %s: %s", path, strerror(-rc));
    }
    rc = sf_fsync_parent(path);
    if (rc)
        return sf_err_set(err, rc, "cannot sync the directory of %s: %s", path, strerror(-rc));
    return 0;
}

static int
check_private(const char *path, struct sf_err *err)
{
    struct stat st;
    if (lstat(path, &st) < 0)
        return sf_err_set(err, -errno, "cannot look at %s: %m", path);
    if (!S_ISDIR(st.st_mode))
        return sf_err_set(err, -ENOTDIR, "%s is not a directory", path);
    if (st.st_uid != geteuid())
        return sf_err_set(err, -EPERM, "%s belongs to user %u, not to user %u who runs this", path,
                          (unsigned)st.st_uid, (unsigned)geteuid());
    if (st.st_mode & 077)
        return sf_err_set(err, -EPERM, "%s can be entered by others (mode %04o): chmod 700 it",
                          path, (unsigned)(st.st_mode & 07777));
    return 0;
}

/* What is synced in it later shall be found, so its name lasts, too. */
static int
make_one(const char *path)
{
    struct stat st;
    if (mkdir(path, 0700) == 0) {
        int rc = sf_fsync_parent(path);
        return rc == -EACCES ? 0 : rc; /* a parent that we may write to and not read */
    }
    /* /home may be read-only and yet hold what we look for */
    int rc = -errno;
    return rc == -EEXIST || stat(path, &st) == 0 ? 0 : rc;
}

int
sf_mkdir_p(const char *path, struct sf_err *err)
{
    sf_autofree char *p = strdup(path);
    if (!p)
        return sf_err_set(err, -ENOMEM, "out of memory");
    size_t n = strlen(p);
    while (n > 1 && p[n - 1] == '/')
        p[--n] = '\0';
    if (n == 0)
        return sf_err_set(err, -EINVAL, "a directory without a name");

    for (char *s = p + 1;; s++) {
        if (*s && *s != '/')
            continue;
        char c = *s;
        *s = '\0';
        int rc = make_one(p);
        if (rc)
            return sf_err_set(err, rc, "cannot make the directory %s: %s", p, strerror(-rc));
        *s = c;
        if (!c)
            break;
    }
    return check_private(p, err);
}

/* Write who we are into the lock file that we hold. */
static int
lock_sign(int fd, const char *what)
{
    sf_autobuf struct sf_buf text = SF_BUF_INIT;
    int rc = sf_buf_printf(&text, "pid %ld, %s\n", (long)getpid(), what);
    if (rc)
        return rc;
    if (ftruncate(fd, 0) < 0)
        return -errno;
    return sf_pwrite_full(fd, text.data, text.len, 0);
}

/* Read what the holder wrote, without the newline. */
static void
lock_read(int fd, struct sf_buf *text)
{
    char raw[LOCK_TEXT_MAX];
    ssize_t n = sf_pread_full(fd, raw, sizeof raw, 0);
    while (n > 0 && raw[n - 1] == '\n')
        n--;
    for (ssize_t i = 0; i < n; i++)
        if ((unsigned char)raw[i] < 0x20)
            raw[i] = '?';
    if (n > 0)
        sf_buf_append(text, raw, (size_t)n);
    else
        sf_buf_puts(text, "an unknown process");
}

int
sf_lock_dir(const char *dir, const char *what, int *ret_fd, struct sf_buf *holder,
            struct sf_err *err)
{
    sf_autofree char *path = NULL;
    if (asprintf(&path, "%s/lock", dir) < 0) {
        path = NULL;
        return sf_err_set(err, -ENOMEM, "out of memory");
    }
    sf_autofd int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return sf_err_set(err, -errno, "cannot open %s: %m", path);
    while (flock(fd, LOCK_EX | LOCK_NB) < 0) {
        if (errno == EINTR)
            continue;
        if (errno != EWOULDBLOCK)
            return sf_err_set(err, -errno, "cannot lock %s: %m", path);
        sf_autobuf struct sf_buf text = SF_BUF_INIT;
        lock_read(fd, &text);
        if (holder)
            sf_buf_append(holder, text.data, text.len);
        return sf_err_set(err, -EBUSY, "%s is held by %s", dir, text.data);
    }
    int rc = lock_sign(fd, what);
    if (rc)
        return sf_err_set(err, rc, "cannot write %s: %s", path, strerror(-rc));
    *ret_fd = sf_steal_fd(fd);
    return 0;
}
