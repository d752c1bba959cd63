/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <errno.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/file.h"
#include "cache/disk-internal.h"
#include "observe/counter.h"

#define VALUES_MAX (2u << 20) /* bytes of small contents that wait in memory to be written */

/* Units of one chunk that are to be kept. */
struct job {
    struct sf_disk_content *c;
    struct sf_chunk *ch; /* held */
    uint64_t number;
    uint32_t mask;    /* marked as being written */
    uint32_t first;   /* unit of the first byte */
    const char *data; /* from there on */
    uint64_t reserved;
    bool failed;
};

/* Units that the range covers wholly. */
static uint32_t
covered(const struct sf_disk_content *c, uint64_t off, uint64_t len)
{
    uint32_t mask = 0, index = (uint32_t)(off / SF_CHUNK);
    for (unsigned i = 0; i < SF_UNITS; i++) {
        uint64_t unit = (uint64_t)index * SF_UNITS + i, from = unit * SF_UNIT;
        uint32_t n = sf_unit_len(c->size, unit);
        if (n && from >= off && from + n <= off + len)
            mask |= 1u << i;
    }
    return mask;
}

static const char *
bytes_of(const struct job *j, unsigned unit)
{
    return j->data + (size_t)(unit - j->first) * SF_UNIT;
}

/* The run of units that begins with the first one of @mask; taken off it. */
static unsigned
next_run(uint32_t *mask, unsigned *first)
{
    unsigned n = 0;
    *first = (unsigned)__builtin_ctz(*mask);
    for (unsigned i = *first; i < SF_UNITS && *mask >> i & 1; i++, n++)
        *mask &= ~(1u << i);
    return n;
}

static int
write_file(const struct job *j)
{
    uint32_t left = j->mask;
    int fd = sf_chunk_open(j->c->d, j->ch, true, false);
    if (fd < 0)
        return fd;
    while (left) {
        unsigned first, n = next_run(&left, &first);
        uint64_t from = (uint64_t)first * SF_UNIT, len = (uint64_t)n * SF_UNIT;
        uint64_t here = (uint64_t)j->ch->id.index * SF_CHUNK + from;
        if (len > j->c->size - here)
            len = j->c->size - here;
        int rc = sf_pwrite_full(fd, bytes_of(j, first), len, (off_t)from);
        if (rc)
            return rc;
    }
    return 0;
}

/* Begin: mark what is missing as being written by us. */
static int
begin(struct job *j, uint32_t index, uint32_t wanted)
{
    struct sf_disk *d = j->c->d;
    SF_GUARD(&d->lock);
    int rc = sf_chunk_hold_locked(d, j->number, index, false, &j->ch);
    if (rc)
        return rc;
    while (j->ch->dropping & wanted)
        sf_cond_wait(&d->changed, &d->lock);
    j->mask = wanted & ~j->ch->here & ~j->ch->writing;
    j->ch->writing |= j->mask;
    j->reserved = sf_units_charge(j->c->size, index, j->mask) + (j->ch->here ? 0 : SF_CHUNK_ROWS);
    return 0;
}

/* @reserved: room was. */
static void
give_up(struct job *j, bool reserved)
{
    struct sf_disk *d = j->c->d;
    if (reserved)
        sf_space_give_back(d, j->reserved);
    atomic_fetch_add(&d->dropped, j->reserved);
    sf_count(SF_C_CACHE_DROPPED_BYTES, j->reserved);
    SF_GUARD(&d->lock);
    j->ch->writing &= ~j->mask;
}

/* The bytes are on the disk, or about to be: so say memory and index. */
static void
keep(struct job *j)
{
    struct sf_disk *d = j->c->d;
    bool small = sf_disk_small(j->c->size);
    uint32_t sums[SF_UNITS];
    for (unsigned i = 0; i < SF_UNITS; i++) {
        uint64_t unit = (uint64_t)j->ch->id.index * SF_UNITS + i;
        if (j->mask >> i & 1)
            sums[i] =
                sf_row_unit_sum(j->number, unit, bytes_of(j, i), sf_unit_len(j->c->size, unit));
    }
    sf_mutex_lock(&d->lock);
    for (unsigned i = 0; i < SF_UNITS; i++)
        if (j->mask >> i & 1)
            j->ch->sums[i] = sums[i];
    j->ch->checked &= ~j->mask;
    if (!small)
        j->ch->here |= j->mask;
    sf_chunk_commit_begin_locked(j->ch);
    sf_mutex_unlock(&d->lock);

    /* The runs of a small content lie one behind the other, as it has no unit that is missing in
     * between: it has at most two. */
    const char *data = small ? bytes_of(j, (unsigned)__builtin_ctz(j->mask)) : NULL;
    if (sf_index_add(j->c, j->number, j->ch, j->mask, j->reserved, data) == 0)
        return;
    sf_mutex_lock(&d->lock);
    j->ch->here &= ~j->mask;
    sf_chunk_commit_end_locked(d, j->ch);
    sf_mutex_unlock(&d->lock);
    give_up(j, true);
}

static void
write_units(struct job *j)
{
    struct sf_disk *d = j->c->d;
    if (!sf_space_reserve(d, j->reserved)) {
        give_up(j, false);
        return;
    }
    int rc = sf_disk_small(j->c->size) ? 0 : write_file(j);
    if (rc == -ENOSPC && sf_space_make(d, j->reserved))
        rc = write_file(j);
    if (!rc) {
        keep(j);
        return;
    }
    if (rc != -ENOSPC && rc != -EDQUOT && rc != -EMFILE && rc != -ENFILE)
        sf_disk_failed(d, SF_DISK_WRITE, rc, "a block cannot be written");
    give_up(j, true);
    j->failed = true;
}

/* Small contents wait in memory until they are rows: not many of them. */
static void
wait_for_values(struct sf_disk *d)
{
    SF_GUARD(&d->lock);
    while (d->values > VALUES_MAX)
        sf_cond_wait(&d->changed, &d->lock);
}

void
sf_disk_write(struct sf_disk_content *c, uint64_t off, size_t len, const void *buf)
{
    struct sf_disk *d = c->d;
    struct job j = {.c = c};
    if (sf_disk_bypassed(d, SF_DISK_WRITE) || off >= c->size ||
        sf_content_number(c, false, &j.number))
        return;
    if (len > c->size - off)
        len = c->size - off;
    if (sf_disk_small(c->size))
        wait_for_values(d);
    for (uint64_t at = off; at < off + len;) {
        uint64_t next = (at / SF_CHUNK + 1) * SF_CHUNK;
        uint32_t wanted = covered(c, at, (next < off + len ? next : off + len) - at);
        j.first = (uint32_t)(at % SF_CHUNK / SF_UNIT);
        j.data = (const char *)buf + (at - off);
        if (wanted && begin(&j, (uint32_t)(at / SF_CHUNK), wanted) == 0) {
            if (j.mask)
                write_units(&j);
            sf_chunk_release(d, j.ch);
            if (j.failed)
                sf_disk_want_check(d); /* the file, or what was written before the failure */
        }
        at = next;
    }
}
