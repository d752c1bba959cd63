/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "write/stage.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "base/hash.h"
#include "base/str.h"
#include "write/writer.h"

#define TARGET_MAX 4096 /* bytes of "bucket/key" */
#define COPY_CHUNK (256 * 1024)

static int
stage_alloc(struct sf_writer *w, const char *path, int flags, struct sf_stage **ret)
{
    sf_autofree struct sf_stage *s = calloc(1, sizeof *s);
    sf_autofree char *copy = strdup(path);
    if (!s || !copy)
        return -ENOMEM;
    s->fd = open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW | flags, 0600);
    if (s->fd < 0)
        return -errno;
    atomic_init(&s->refs, 1);
    s->w = w;
    s->whole = true;
    s->path = sf_steal(copy);
    *ret = sf_steal(s);
    atomic_fetch_add(&w->staged_files, 1);
    return 0;
}

int
sf_stage_new(struct sf_writer *w, const char *bucket, const char *key, struct sf_stage **ret,
             struct sf_err *err)
{
    struct sf_stage *s = NULL;
    int rc = -EEXIST;
    for (int i = 0; i < 8 && rc == -EEXIST; i++) {
        unsigned char raw[12];
        char hex[2 * sizeof raw + 1];
        rc = sf_random_bytes(raw, sizeof raw);
        if (rc)
            break;
        sf_hex_encode(raw, sizeof raw, hex);
        sf_autofree char *path = NULL;
        if (asprintf(&path, "%s/%s", w->staging, hex) < 0) {
            path = NULL;
            rc = -ENOMEM;
            break;
        }
        rc = stage_alloc(w, path, O_CREAT | O_EXCL, &s);
    }
    if (rc)
        return sf_err_set(err, rc, "cannot create a file in %s: %s", w->staging, strerror(-rc));
    rc = sf_stage_target(s, bucket, key);
    if (rc) {
        sf_stage_unref(s);
        return sf_err_set(err, rc, "cannot write in %s: %s", w->staging, strerror(-rc));
    }
    *ret = s;
    return 0;
}

int
sf_stage_adopt(struct sf_writer *w, const char *path, struct sf_stage **ret)
{
    int rc = stage_alloc(w, path, 0, ret);
    if (rc)
        return rc;
    sf_autofree char *side = NULL;
    if (asprintf(&side, "%s" SF_STAGE_SIDECAR, path) < 0)
        side = NULL;
    (*ret)->sidecar = side && access(side, F_OK) == 0;
    (*ret)->clean = sf_stage_is_marked_clean(*ret);
    return 0;
}

struct sf_stage *
sf_stage_ref(struct sf_stage *s)
{
    atomic_fetch_add_explicit(&s->refs, 1, memory_order_relaxed);
    return s;
}

static void
sidecar_remove(struct sf_stage *s)
{
    sf_autofree char *side = NULL;
    if (!s->sidecar || asprintf(&side, "%s" SF_STAGE_SIDECAR, s->path) < 0) {
        side = NULL;
        return;
    }
    unlink(side);
    s->sidecar = false;
}

void
sf_stage_unref(struct sf_stage *s)
{
    if (!s || atomic_fetch_sub_explicit(&s->refs, 1, memory_order_acq_rel) != 1)
        return;
    if (!s->kept && !s->held) {
        unlink(s->path);
        sidecar_remove(s);
    }
    close(s->fd);
    atomic_fetch_sub(&s->w->staged_files, 1);
    sf_extents_fini(&s->present);
    free(s->path);
    free(s);
}

/* ---- what the file says of itself -------------------------------------------------------------
 */

/* For disks without extended attributes. */
static int
sidecar_write(struct sf_stage *s, const char *text)
{
    sf_autofree char *side = NULL;
    if (asprintf(&side, "%s" SF_STAGE_SIDECAR, s->path) < 0) {
        side = NULL;
        return -ENOMEM;
    }
    sf_autofd int fd = open(side, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return -errno;
    s->sidecar = true;
    return sf_write_full(fd, text, strlen(text));
}

int
sf_stage_target(struct sf_stage *s, const char *bucket, const char *key)
{
    sf_autofree char *text = NULL;
    if (asprintf(&text, "%s/%s", bucket, key) < 0) {
        text = NULL;
        return -ENOMEM;
    }
    if (!s->sidecar && fsetxattr(s->fd, SF_STAGE_TARGET, text, strlen(text), 0) == 0)
        return 0;
    return sidecar_write(s, text);
}

char *
sf_stage_target_read(const struct sf_stage *s)
{
    char text[TARGET_MAX + 1];
    ssize_t n = fgetxattr(s->fd, SF_STAGE_TARGET, text, TARGET_MAX);
    if (n > 0)
        return strndup(text, (size_t)n);
    sf_autofree char *side = NULL;
    if (!s->sidecar || asprintf(&side, "%s" SF_STAGE_SIDECAR, s->path) < 0) {
        side = NULL;
        return NULL;
    }
    sf_autobuf struct sf_buf buf = SF_BUF_INIT;
    if (sf_read_file(side, TARGET_MAX, &buf, NULL) || !buf.len)
        return NULL;
    return sf_buf_steal(&buf, NULL);
}

void
sf_stage_mark_clean(struct sf_stage *s)
{
    if (!s->clean)
        s->clean = fsetxattr(s->fd, SF_STAGE_CLEAN, "1", 1, 0) == 0;
}

int
sf_stage_mark_dirty(struct sf_stage *s)
{
    if (!s->clean)
        return 0;
    if (fremovexattr(s->fd, SF_STAGE_CLEAN) < 0 && errno != ENODATA)
        return -errno;
    s->clean = false;
    return 0;
}

bool
sf_stage_is_marked_clean(const struct sf_stage *s)
{
    char c;
    return fgetxattr(s->fd, SF_STAGE_CLEAN, &c, 1) == 1;
}

void
sf_stage_mark_partial(struct sf_stage *s, bool partial)
{
    if (partial)
        (void)!fsetxattr(s->fd, SF_STAGE_PARTIAL, "1", 1, 0);
    else
        (void)!fremovexattr(s->fd, SF_STAGE_PARTIAL);
}

bool
sf_stage_is_marked_partial(const struct sf_stage *s)
{
    char c;
    return fgetxattr(s->fd, SF_STAGE_PARTIAL, &c, 1) == 1;
}

/* ---- copying ----------------------------------------------------------------------------------
 */

static int
copy_by_hand(int to, int from, off_t off, off_t end)
{
    sf_autofree char *buf = malloc(COPY_CHUNK);
    if (!buf)
        return -ENOMEM;
    while (off < end) {
        size_t want = end - off < COPY_CHUNK ? (size_t)(end - off) : COPY_CHUNK;
        ssize_t n = sf_pread_full(from, buf, want, off);
        if (n <= 0)
            return n < 0 ? (int)n : -EIO;
        int rc = sf_pwrite_full(to, buf, (size_t)n, off);
        if (rc)
            return rc;
        off += n;
    }
    return 0;
}

/* One stretch of data. */
static int
copy_extent(int to, int from, off_t off, off_t end)
{
    while (off < end) {
        loff_t in = off, out = off;
        ssize_t n = copy_file_range(from, &in, to, &out, (size_t)(end - off), 0);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && (errno == ENOSPC || errno == EDQUOT || errno == EIO))
            return -errno;
        if (n <= 0)
            return copy_by_hand(to, from, off, end);
        off += n;
    }
    return 0;
}

int
sf_stage_copy(struct sf_stage *to, const struct sf_stage *from, uint64_t size)
{
    off_t end = (off_t)size, off = 0;
    if (size == 0)
        return 0;
    if (ioctl(to->fd, FICLONE, from->fd) == 0)
        return ftruncate(to->fd, end) < 0 ? -errno : 0;
    while (off < end) {
        off_t data = lseek(from->fd, off, SEEK_DATA);
        if (data < 0 && errno == ENXIO)
            break; /* only a hole is left */
        if (data < 0)
            data = off;
        off_t hole = lseek(from->fd, data, SEEK_HOLE);
        if (hole < 0 || hole > end)
            hole = end;
        if (data >= end)
            break;
        int rc = copy_extent(to->fd, from->fd, data, hole);
        if (rc)
            return rc;
        off = hole;
    }
    return ftruncate(to->fd, end) < 0 ? -errno : 0;
}

int
sf_stage_copy_range(struct sf_stage *to, uint64_t to_off, const struct sf_stage *from, uint64_t off,
                    uint64_t len)
{
    sf_autofree char *buf = malloc(COPY_CHUNK);
    if (!buf)
        return -ENOMEM;
    while (len) {
        size_t want = len < COPY_CHUNK ? (size_t)len : COPY_CHUNK;
        ssize_t n = sf_pread_full(from->fd, buf, want, (off_t)off);
        if (n <= 0)
            return n < 0 ? (int)n : -EIO;
        int rc = sf_pwrite_full(to->fd, buf, (size_t)n, (off_t)to_off);
        if (rc)
            return rc;
        off += (uint64_t)n;
        to_off += (uint64_t)n;
        len -= (uint64_t)n;
    }
    return 0;
}

/* ---- staying ----------------------------------------------------------------------------------
 */

void
sf_stage_moved(struct sf_stage *s, char *path)
{
    sidecar_remove(s);
    free(s->path);
    s->path = path;
    s->moved = s->kept = true;
}

void
sf_stage_keep(struct sf_stage *s)
{
    s->kept = true;
}
