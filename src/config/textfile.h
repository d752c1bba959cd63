/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef SF_CONFIG_TEXTFILE_H
#define SF_CONFIG_TEXTFILE_H

#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>

/* A small file in memory, wiped when given back: it may hold keys. */
struct sf_textfile {
    char *text; /* text[len] is NUL */
    size_t len;
    bool shared; /* others than its owner can read or change it */
};

/**
 * sf_textfile_read - read a whole regular file.
 *
 * Returns 0; -EFBIG more than 1 MiB; -EINVAL not a regular file; -errno of open(2) or read(2);
 * -ENOMEM. *ret is untouched on failure.
 */
int sf_textfile_read(const char *path, struct sf_textfile *ret, struct sf_err *err);

/* The same from an open descriptor, which may also be a pipe; it is read to its end. */
int sf_textfile_read_fd(int fd, const char *name, struct sf_textfile *ret, struct sf_err *err);

void sf_textfile_fini(struct sf_textfile *f);

#define sf_autotextfile sf_defer(sf_textfile_fini)

#endif
