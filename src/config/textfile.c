/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "config/textfile.h"

#include "base/cleanup.h"
#include "base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { MAX_TEXT = 1 << 20 };

int
sf_textfile_read_fd(int fd, const char *name, struct sf_textfile *ret, struct sf_err *err)
{
    struct sf_textfile f = {.len = 0};
    size_t cap = 64 * 1024;
    struct stat st;

    if (fstat(fd, &st))
        return sf_err_set(err, -errno, "cannot read %s: %m", name);
    if (S_ISREG(st.st_mode)) {
        f.shared = (st.st_mode & 077) != 0;
        cap = st.st_size < MAX_TEXT ? (size_t)st.st_size : MAX_TEXT;
    }
    /* No growing: realloc would leave copies of a key behind. */
    cap += 1;
    f.text = malloc(cap + 1);
    if (!f.text)
        return sf_err_set(err, -ENOMEM, "out of memory");
    ssize_t n = sf_read_full(fd, f.text, cap);
    int rc = 0;
    if (n < 0)
        rc = sf_err_set(err, (int)n, "cannot read %s: %s", name, strerror((int)-n));
    else if ((size_t)n == cap)
        rc = sf_err_set(err, -EFBIG, "%s is too large, or grew while it was read", name);
    f.len = n < 0 ? 0 : (size_t)n;
    f.text[f.len] = '\0';
    if (rc) {
        f.len = cap;
        sf_textfile_fini(&f);
        return rc;
    }
    *ret = f;
    return 0;
}

int
sf_textfile_read(const char *path, struct sf_textfile *ret, struct sf_err *err)
{
    struct stat st;
    /* O_NONBLOCK: opening a fifo must not wait for a writer. */
    sf_autofd int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    if (fd < 0 || fstat(fd, &st))
        return sf_err_set(err, -errno, "cannot read %s: %m", path);
    if (!S_ISREG(st.st_mode))
        return sf_err_set(err, S_ISDIR(st.st_mode) ? -EISDIR : -EINVAL,
                          "cannot read %s: it is not a regular file", path);
    return sf_textfile_read_fd(fd, path, ret, err);
}

void
sf_textfile_fini(struct sf_textfile *f)
{
    if (!f->text)
        return;
    explicit_bzero(f->text, f->len);
    free(f->text);
    f->text = NULL;
    f->len = 0;
}
