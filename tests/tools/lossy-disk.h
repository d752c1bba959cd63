/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef SF_TESTS_LOSSY_DISK_H
#define SF_TESTS_LOSSY_DISK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>

/*
 * A disk in memory that forgets. Of everything it keeps two states: what programs see (now) and
 * what a loss of power leaves for certain (safe).
 *
 * Bytes, size and extended attributes of a file are safe after its fsync; after fdatasync bytes and
 * size. A name (made, renamed, removed) is safe after an fsync of its directory; that of a file
 * makes its own name safe only on a lenient disk, as on ext4. A rename between directories is
 * one change, safe as soon as one of them is synced.
 *
 * lossy_lose() is the loss of power. Changes of names that are not safe are kept or dropped by
 * chance; one that builds on a dropped one is dropped, too. So are pages of files, some of them
 * torn at a multiple of 512 bytes. A page that is written again may have reached the disk before:
 * by chance its older bytes are the safe ones then.
 *
 * Not thread-safe. No memory is the end of the process. Functions return 0 or -errno.
 */
#define LOSSY_PAGE   4096u
#define LOSSY_SECTOR 512u

struct lossy_disk;

struct lossy_page {
    unsigned char *now, *safe; /* LOSSY_PAGE bytes, NULL = zeros; the same when safe */
};

struct lossy_xattr {
    struct lossy_xattr *next;
    char *name;
    unsigned char *now, *safe; /* NULL = there is none; the same when safe */
    size_t now_len, safe_len;
};

/* A file or directory. */
struct lossy_node {
    uint64_t refs; /* names, changes of names, and whoever called lossy_ref() */
    uint64_t ino;
    unsigned names; /* that it has now */
    mode_t mode;
    uid_t uid;
    gid_t gid;
    struct timespec atime, mtime, ctime;

    uint64_t size, safe_size; /* of a file */
    struct lossy_page *pages;
    size_t n_pages;

    struct lossy_entry *now, *safe; /* of a directory */
    struct lossy_xattr *xattrs;
};

struct lossy_entry {
    struct lossy_entry *next;
    struct lossy_node *node;
    char name[];
};

/* What a loss did. */
struct lossy_report {
    unsigned losses;
    unsigned names_kept, names_dropped;
    unsigned pages_kept, pages_torn, pages_dropped;
    unsigned xattrs_kept, xattrs_dropped;
};

struct lossy_disk *lossy_new(uint64_t seed, bool lenient);
void lossy_free(struct lossy_disk *d);
struct lossy_node *lossy_root(struct lossy_disk *d); /* borrowed until the next loss */

void lossy_ref(struct lossy_node *n);
void lossy_unref(struct lossy_node *n, uint64_t count);

/* NULL = no such name; borrowed. */
struct lossy_node *lossy_find(const struct lossy_node *dir, const char *name);
/* -EEXIST. @ret: borrowed. */
int lossy_make(struct lossy_disk *d, struct lossy_node *dir, const char *name, mode_t mode,
               struct lossy_node **ret);
/* -ENOENT, -EISDIR, -ENOTDIR, -ENOTEMPTY. */
int lossy_remove(struct lossy_disk *d, struct lossy_node *dir, const char *name, bool is_dir);
/* The same, and -EEXIST. @flags: 0 or RENAME_NOREPLACE, others are -EINVAL. */
int lossy_rename(struct lossy_disk *d, struct lossy_node *dir, const char *name,
                 struct lossy_node *to_dir, const char *to_name, unsigned flags);

size_t lossy_read(const struct lossy_node *n, void *buf, size_t len, uint64_t off);
void lossy_write(struct lossy_disk *d, struct lossy_node *n, const void *buf, size_t len,
                 uint64_t off);
void lossy_resize(struct lossy_disk *d, struct lossy_node *n, uint64_t size);
/* Zeros instead of what is there; the size stays. */
void lossy_zero(struct lossy_disk *d, struct lossy_node *n, uint64_t off, uint64_t len);
/* lseek() with SEEK_DATA or SEEK_HOLE. */
int64_t lossy_seek(const struct lossy_node *n, uint64_t off, int whence);
uint64_t lossy_bytes(const struct lossy_node *n); /* that it takes */

/* Borrowed; NULL = there is none. */
const struct lossy_xattr *lossy_xattr(const struct lossy_node *n, const char *name);
/* @value: NULL removes it. @flags: of setxattr(2). -EEXIST, -ENODATA. */
int lossy_set_xattr(struct lossy_node *n, const char *name, const void *value, size_t len,
                    int flags);

/* fsync, or fdatasync, of a file or directory. */
void lossy_sync(struct lossy_disk *d, struct lossy_node *n, bool data_only);
/* What O_DSYNC promises of one write. */
void lossy_sync_range(struct lossy_node *n, uint64_t off, uint64_t len);

/* The loss. @percent: how much of what is not safe is kept; -1 = the dice say. All nodes are new
 * ones after it; those that somebody still holds belong to no name. */
void lossy_lose(struct lossy_disk *d, uint64_t seed, int percent);
const struct lossy_report *lossy_report(const struct lossy_disk *d); /* of all losses */

#endif
