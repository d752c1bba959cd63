/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "write/content.h"

/* Ranges of zeros in a content: made without writing them, and found again. */

#define ZEROS (64 * 1024)

static int
zeros_by_hand(int fd, uint64_t off, uint64_t end)
{
    sf_autofree char *buf = calloc(1, ZEROS);
    if (!buf)
        return -ENOMEM;
    while (off < end) {
        size_t n = end - off < ZEROS ? (size_t)(end - off) : ZEROS;
        int rc = sf_pwrite_full(fd, buf, n, (off_t)off);
        if (rc)
            return rc;
        off += n;
    }
    return 0;
}

/* What the file has between @off and @end becomes zeros. */
static int
zero_file(int fd, uint64_t off, uint64_t end)
{
    if (off >= end)
        return 0;
    int mode = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE;
    int rc;
    do
        rc = fallocate(fd, mode, (off_t)off, (off_t)(end - off)) < 0 ? -errno : 0;
    while (rc == -EINTR);
    return rc == -EOPNOTSUPP || rc == -ENOSYS ? zeros_by_hand(fd, off, end) : rc;
}

int
sf_content_zero(struct sf_content *c, uint64_t off, uint64_t len, bool grow)
{
    uint64_t end;
    if (__builtin_add_overflow(off, len, &end) || end > INT64_MAX)
        return -EFBIG;
    SF_GUARD(&c->io);
    uint64_t old = atomic_load(&c->size);
    if (!grow && end > old)
        end = old;
    if (off >= end)
        return 0;
    int rc = sf_content_begin_change(c, old);
    if (rc)
        return rc;
    c->appended = false;
    sf_hashing_break(&c->hashing);
    rc = zero_file(c->stage->fd, off, end < old ? end : old);
    if (!rc && end > old && ftruncate(c->stage->fd, (off_t)end) < 0)
        rc = -errno;
    atomic_fetch_add(&c->gen, 1); /* also on failure: some of it may be zeros by now */
    if (rc)
        return rc;
    uint64_t size = end > old ? end : old;
    sf_content_note_present(c, c->stage, off < old ? off : old, end, size);
    if (size > old)
        sf_content_set_size(c, size);
    return 0;
}

/* From @at on: the end of what is to be fetched there, or @at itself. */
static uint64_t
fetched_from(const struct sf_stage *s, uint64_t at, uint64_t size)
{
    struct sf_extent gap;
    if (!s->whole && sf_extents_gap(&s->present, at, size, &gap) && gap.off == at)
        return gap.end;
    return at;
}

/* Where what is in the file from @at on ends. */
static uint64_t
present_until(const struct sf_stage *s, uint64_t at, uint64_t size)
{
    struct sf_extent gap;
    return !s->whole && sf_extents_gap(&s->present, at, size, &gap) ? gap.off : size;
}

int64_t
sf_content_seek(struct sf_content *c, uint64_t off, bool hole)
{
    SF_GUARD(&c->io); /* the ranges change under it alone, too */
    const struct sf_stage *s = c->stage;
    uint64_t size = atomic_load(&c->size);
    if (off >= size)
        return -ENXIO;
    for (uint64_t at = off; at < size;) {
        uint64_t next = fetched_from(s, at, size); /* nobody knows what they are: data */
        if (next > at && !hole)
            return (int64_t)at;
        at = next;
        next = present_until(s, at, size);
        off_t found = at < next ? lseek(s->fd, (off_t)at, hole ? SEEK_HOLE : SEEK_DATA) : -1;
        if (found < 0 && at < next && errno != ENXIO)
            return hole ? (int64_t)size : (int64_t)at; /* a disk that cannot tell */
        if (found >= 0 && (uint64_t)found < next)
            return found;
        at = next;
    }
    return hole ? (int64_t)size : -ENXIO;
}
