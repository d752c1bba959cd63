/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "supabase/keyfile.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "supabase/secret.h"

static void
stamp_of(const struct stat *sb, struct sf_keyfile_stamp *ret)
{
    memset(ret, 0, sizeof *ret);
    ret->dev = sb->st_dev;
    ret->ino = sb->st_ino;
    ret->size = sb->st_size;
    ret->mtime_ns = (int64_t)sb->st_mtim.tv_sec * 1000000000 + sb->st_mtim.tv_nsec;
    ret->ctime_ns = (int64_t)sb->st_ctim.tv_sec * 1000000000 + sb->st_ctim.tv_nsec;
}

int
sf_keyfile_stamp(const char *path, struct sf_keyfile_stamp *ret)
{
    struct stat sb;
    if (stat(path, &sb) < 0)
        return -errno;
    stamp_of(&sb, ret);
    return 0;
}

static int
check_file(const char *path, const struct stat *sb, struct sf_err *err)
{
    if (!S_ISREG(sb->st_mode))
        return sf_err_set(err, -EINVAL, "key file %s is not a regular file", path);
    if (sb->st_uid != geteuid() && sb->st_uid != 0)
        return sf_err_set(err, -EACCES, "key file %s belongs to another user (uid %u)", path,
                          (unsigned)sb->st_uid);
    if (sb->st_mode & 077)
        return sf_err_set(err, -EACCES,
                          "key file %s is open to others (mode %04o): run chmod 600 on it", path,
                          (unsigned)(sb->st_mode & 07777));
    if (sb->st_size > SF_KEYFILE_MAX)
        return sf_err_set(err, -EINVAL, "key file %s is larger than %d bytes", path,
                          SF_KEYFILE_MAX);
    return 0;
}

/* One line without the spaces around it. */
struct line {
    const char *p;
    size_t n;
};

static bool
is_space(char c)
{
    return c == ' ' || c == '\t' || c == '\r';
}

static void
trim(struct line *l)
{
    while (l->n > 0 && is_space(l->p[0])) {
        l->p++;
        l->n--;
    }
    while (l->n > 0 && is_space(l->p[l->n - 1]))
        l->n--;
}

static bool
next_line(const char **at, const char *end, struct line *l)
{
    if (*at >= end)
        return false;
    const char *nl = memchr(*at, '\n', (size_t)(end - *at));
    l->p = *at;
    l->n = (size_t)((nl ? nl : end) - *at);
    *at = nl ? nl + 1 : end;
    trim(l);
    return true;
}

/* NAME=value, export NAME=value: true when NAME is @variable; then *l is the raw value. */
static bool
match_variable(struct line *l, const char *variable)
{
    size_t n = strlen(variable);
    if (l->n > 7 && memcmp(l->p, "export", 6) == 0 && is_space(l->p[6])) {
        l->p += 7;
        l->n -= 7;
        trim(l);
    }
    if (l->n <= n || memcmp(l->p, variable, n) != 0)
        return false;
    l->p += n;
    l->n -= n;
    trim(l);
    if (l->n == 0 || l->p[0] != '=')
        return false;
    l->p++;
    l->n--;
    trim(l);
    return true;
}

/* Takes quotes off; an unquoted value ends before " #". */
static bool
unquote(struct line *l)
{
    if (l->n > 0 && (l->p[0] == '"' || l->p[0] == '\'')) {
        const char *close = memchr(l->p + 1, l->p[0], l->n - 1);
        if (!close)
            return false;
        struct line rest = {close + 1, (size_t)(l->p + l->n - close - 1)};
        trim(&rest);
        if (rest.n > 0 && rest.p[0] != '#')
            return false;
        l->n = (size_t)(close - l->p - 1);
        l->p++;
        return true;
    }
    for (size_t i = 0; i < l->n; i++) {
        if (l->p[i] == '#' && (i == 0 || is_space(l->p[i - 1]))) {
            l->n = i;
            trim(l);
            break;
        }
    }
    return true;
}

static int
store_key(const struct line *l, char *key, struct sf_err *err)
{
    if (l->n == 0)
        return sf_err_set(err, -EINVAL, "the key is empty");
    if (l->n > SF_KEY_MAX)
        return sf_err_set(err, -EINVAL, "the key is longer than %d bytes", SF_KEY_MAX);
    memcpy(key, l->p, l->n);
    key[l->n] = '\0';
    return 0;
}

int
sf_keyfile_pick(const char *text, size_t len, const char *variable, char *key, struct sf_err *err)
{
    const char *at = text, *end = text + len;
    struct line l, last = {NULL, 0};
    if (len >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0)
        at += 3;
    if (!variable) {
        if (!next_line(&at, end, &l))
            return sf_err_set(err, -EINVAL, "the key file is empty");
        if (memchr(l.p, '=', l.n))
            return sf_err_set(err, -EINVAL,
                              "the first line is no key but looks like NAME=value: say which "
                              "variable to take");
        return store_key(&l, key, err);
    }
    /* As in a shell, the last assignment counts. */
    while (next_line(&at, end, &l)) {
        if (l.n > 0 && l.p[0] != '#' && match_variable(&l, variable))
            last = l;
    }
    if (!last.p)
        return sf_err_set(err, -ENOENT, "no line %s=... in the file", variable);
    if (!unquote(&last))
        return sf_err_set(err, -EINVAL, "the value of %s has unbalanced quotes", variable);
    return store_key(&last, key, err);
}

static int
read_all(int fd, char *buf, size_t size, size_t *len)
{
    size_t n = 0;
    while (n < size) {
        ssize_t got = read(fd, buf + n, size - n);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return -errno;
        if (got == 0)
            break;
        n += (size_t)got;
    }
    *len = n;
    return 0;
}

int
sf_keyfile_read(const char *path, const char *variable, char *key, struct sf_keyfile_stamp *stamp,
                struct sf_err *err)
{
    /* O_NONBLOCK: a fifo in place of the file must not stop the event thread. */
    sf_autofd int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    struct stat sb;
    if (fd < 0 || fstat(fd, &sb) < 0)
        return sf_err_set(err, -errno, "key file %s: %m", path);
    int rc = check_file(path, &sb, err);
    if (rc < 0)
        return rc;
    char *text = sf_secret_alloc(SF_KEYFILE_MAX);
    if (!text)
        return sf_err_set(err, -ENOMEM, "key file %s: out of memory", path);
    size_t len = 0;
    rc = read_all(fd, text, SF_KEYFILE_MAX, &len);
    if (rc < 0) {
        errno = -rc;
        rc = sf_err_set(err, rc, "key file %s: %m", path);
    } else {
        struct sf_err why = SF_ERR_INIT;
        rc = sf_keyfile_pick(text, len, variable, key, &why);
        if (rc < 0)
            rc = sf_err_set(err, rc, "key file %s: %s", path, why.msg);
    }
    if (rc == 0)
        stamp_of(&sb, stamp);
    sf_secret_free(text, SF_KEYFILE_MAX);
    return rc;
}
