/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cache/disk-internal.h"

/*
 * Blocks and index compared, after the end of a process that had no time for its duties, and after
 * failures. Chunks that somebody uses are left alone: they are in order, or will be.
 */

static bool
stopping(struct sf_disk *d)
{
    SF_GUARD(&d->lock);
    return d->stopping;
}

/* NUMBER-CHUNK in the directory XX where it belongs. */
static bool
parse_name(const char *name, unsigned dir, uint64_t *number, uint32_t *index)
{
    char again[32];
    unsigned long long n;
    unsigned i;
    if (sscanf(name, "%16llx-%8x", &n, &i) != 2)
        return false;
    snprintf(again, sizeof again, "%016llx-%x", n, i);
    *number = n;
    *index = i;
    return strcmp(name, again) == 0 && ((n + i) & 255) == dir;
}

/* Room that units take which the row does not name. */
static bool
give_back_holes(int dir, const char *name, const struct sf_row_chunk *row)
{
    struct stat st;
    sf_autofd int fd = openat(dir, name, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0 || fstat(fd, &st) < 0)
        return errno == EROFS;
    if ((uint64_t)st.st_blocks * 512 + SF_CHUNK_ROWS <= row->bytes)
        return true;
    for (unsigned i = 0; i < SF_UNITS; i++)
        if (!(row->mask >> i & 1) && fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                                               (off_t)i * SF_UNIT, SF_UNIT) < 0)
            return false;
    return true;
}

/* False = somebody uses it. */
static bool
check_file(struct sf_disk *d, int dir, const char *name, uint64_t number, uint32_t index)
{
    struct sf_row_chunk row;
    sf_mutex_lock(&d->lock);
    bool mine = sf_chunk_claim_locked(d, number, index);
    sf_mutex_unlock(&d->lock);
    if (!mine)
        return false;
    int rc = sf_index_load_chunk(d, number, index, &row);
    bool gone = rc == -ENOENT && sf_chunk_unlink(d, number, index) == 0;
    if (!rc)
        (void)give_back_holes(dir, name, &row);
    sf_chunk_unclaim(d, number, index, gone);
    return true;
}

/* Returns how many files could not be looked at. */
static unsigned
check_directory(struct sf_disk *d, unsigned nth)
{
    char name[12];
    unsigned skipped = 0;
    struct dirent *e;
    snprintf(name, sizeof name, "%02x", nth & 255);
    int fd = openat(d->blocks_fd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    sf_autodir DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;
    if (!dir) {
        if (fd >= 0)
            close(fd);
        return 0;
    }
    while ((e = readdir(dir)) && !stopping(d)) {
        uint64_t number;
        uint32_t index;
        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
            continue;
        if (parse_name(e->d_name, nth, &number, &index))
            skipped += !check_file(d, fd, e->d_name, number, index);
        else
            (void)unlinkat(fd, e->d_name, 0);
    }
    return skipped;
}

struct rows {
    struct sf_disk *d;
    uint64_t number, size;
};

static int
check_chunk(void *arg, uint32_t index, uint32_t mask, uint64_t bytes)
{
    struct rows *r = arg;
    struct sf_disk *d = r->d;
    struct sf_chunk *ch;
    (void)mask, (void)bytes;
    if (stopping(d))
        return -ECANCELED;
    sf_mutex_lock(&d->lock);
    int rc = sf_chunk_hold_locked(d, r->number, index, false, &ch);
    uint32_t here = rc ? 0 : ch->here;
    sf_mutex_unlock(&d->lock);
    if (rc)
        return 0;
    if (here && sf_chunk_open(d, ch, false, false) == -ENOENT)
        sf_index_drop_units(d, r->size, ch, here);
    sf_chunk_release(d, ch);
    return 0;
}

static int
check_row(void *arg, const struct sf_disk_row *row)
{
    struct rows r = {.d = arg, .number = row->number, .size = row->size};
    return sf_disk_small(row->size) ? 0 : sf_disk_each_chunk(r.d, row->number, check_chunk, &r);
}

bool
sf_disk_check(struct sf_disk *d)
{
    unsigned skipped = 0;
    for (unsigned i = 0; i < 256 && !stopping(d); i++)
        skipped += check_directory(d, i);
    return sf_disk_each(d, 0, check_row, d) == 0 && !skipped;
}
