/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef SF_WRITE_MARK_H
#define SF_WRITE_MARK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/*
 * What stat(2) shows, as a directive of an object's Cache-Control: docs/formats/attributes.md has
 * the grammar. Nothing here allocates unless it says so, and all of it takes hostile input.
 */

enum sf_mark_field {
    SF_MARK_MODE = 1 << 0,
    SF_MARK_UID = 1 << 1,
    SF_MARK_GID = 1 << 2,
    SF_MARK_MTIME = 1 << 3,
    SF_MARK_CTIME = 1 << 4,
    SF_MARK_ATIME = 1 << 5,
    SF_MARK_INO = 1 << 6,
    SF_MARK_RDEV = 1 << 7,
};

struct sf_mark {
    unsigned valid; /* enum sf_mark_field; what is not in it is 0 */
    mode_t mode;    /* with the type */
    uid_t uid;
    gid_t gid;
    int64_t mtime_ns, ctime_ns, atime_ns;
    uint64_t ino;
    dev_t rdev;   /* of a device */
    bool guessed; /* the content type was guessed by us */
    bool xattrs;  /* the envelope (write/meta.h) has extended attributes */
};

#define SF_MARK_SIZE 192 /* bytes that hold every mark, with the NUL */

/* The last well-formed mark of a Cache-Control (NULL = ""). Returns 1 and fills @out; or 0 and
 * @out is untouched. */
int sf_mark_parse(const char *cache_control, struct sf_mark *out);

/* Do they speak of two files? Only if this mount wrote them both: a copy that another client makes
 * has the number of what it copied. */
bool sf_mark_is_another(const struct sf_mark *x, const struct sf_mark *y);

/**
 * sf_mark_format - the directive `supafs="1;..."` alone, which sf_mark_parse() reads as well.
 * @m: a mode must have a type; an owner or ino that cannot be (-1, 0) is left out.
 * Returns its length, or -ENOSPC when @size is too small (SF_MARK_SIZE never is).
 */
int sf_mark_format(const struct sf_mark *m, char *buf, size_t size);

/**
 * sf_cache_control_with - a Cache-Control of others with our mark in place of any that it has.
 * @current: as the service tells it; NULL = "".
 * @m:       NULL = only take marks out; the result may then be "".
 * @ret:     for free().
 * Returns 0 or -ENOMEM.
 */
int sf_cache_control_with(const char *current, const struct sf_mark *m, char **ret);
/* The same without any mark, into @buf. Its length; -ENOSPC; -ENOMEM, but for the usual forms,
 * which need none. */
int sf_cache_control_others(const char *current, char *buf, size_t size);

#endif
