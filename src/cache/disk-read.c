/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "cache/disk-internal.h"
#include "observe/counter.h"

/* A part of a read: bytes of one chunk. */
struct part {
    struct sf_disk_content *c;
    struct sf_chunk *ch; /* held */
    uint64_t number;
    uint32_t from, len; /* in the chunk */
    char *buf;
    bool nowait;
};

/* Bytes that are here from @from on, at most @len; the units of one kind when @checked is given. */
static uint32_t
extent_locked(const struct sf_chunk *ch, uint32_t from, uint32_t len, const bool *checked)
{
    uint32_t end = from + len, at = from;
    while (at < end) {
        uint32_t bit = 1u << at / SF_UNIT;
        if (!(ch->here & bit) || (checked && *checked != !!(ch->checked & bit)))
            break;
        at = (at / SF_UNIT + 1) * SF_UNIT;
    }
    return (at < end ? at : end) - from;
}

/* The part of a range that lies in the chunk of its first byte. */
static uint32_t
within_chunk(const struct sf_disk_content *c, uint64_t off, size_t len, uint32_t *from)
{
    *from = (uint32_t)(off % SF_CHUNK);
    uint64_t n = SF_CHUNK - *from;
    if (n > len)
        n = len;
    return (uint32_t)(n > c->size - off ? c->size - off : n);
}

static void
hit(struct sf_disk_content *c, uint32_t index)
{
    struct sf_disk *d = c->d;
    sf_mutex_lock(&d->lock);
    uint64_t identity = sf_content_identity_locked(c);
    sf_mutex_unlock(&d->lock);
    uint64_t rest = c->size - (uint64_t)index * SF_CHUNK;
    sf_policy_hit(d->policy, identity, index, rest < SF_CHUNK ? rest : SF_CHUNK,
                  sf_wall_ns() / 1000000);
}

void
sf_disk_touch(struct sf_disk_content *c, uint64_t off, size_t len)
{
    for (uint64_t at = off; at < off + len && at < c->size; at = (at / SF_CHUNK + 1) * SF_CHUNK)
        hit(c, (uint32_t)(at / SF_CHUNK));
}

ssize_t
sf_disk_has(struct sf_disk_content *c, uint64_t off, size_t len, bool nowait)
{
    struct sf_disk *d = c->d;
    uint64_t number;
    size_t sum = 0;
    if (off >= c->size || sf_disk_bypassed(d, SF_DISK_READ))
        return 0;
    int rc = sf_content_number(c, nowait, &number);
    if (rc)
        return rc == -EAGAIN ? rc : 0;
    while (sum < len && off + sum < c->size) {
        struct sf_chunk *ch;
        uint32_t from, want = within_chunk(c, off + sum, len - sum, &from), n = 0;
        sf_mutex_lock(&d->lock);
        rc = sf_chunk_hold_locked(d, number, (uint32_t)((off + sum) / SF_CHUNK), nowait, &ch);
        if (!rc)
            n = extent_locked(ch, from, want, NULL);
        sf_mutex_unlock(&d->lock);
        if (!rc)
            sf_chunk_release(d, ch);
        if (rc == -EAGAIN && !sum)
            return rc;
        sum += n;
        if (n < want)
            break;
    }
    return (ssize_t)sum;
}

/* ---- files ---------------------------------------------------------------------------------- */

/* Bytes, or -errno; -EAGAIN nothing without waiting. */
static ssize_t
read_file(struct part *p, int fd, void *buf, size_t n, off_t off)
{
    struct sf_disk *d = p->c->d;
    if (!p->nowait)
        return sf_pread_full(fd, buf, n, off);
    if (atomic_load_explicit(&d->no_nowait, memory_order_relaxed))
        return -EAGAIN;
    struct iovec iov = {.iov_base = buf, .iov_len = n};
    ssize_t got;
    do
        got = preadv2(fd, &iov, 1, off, RWF_NOWAIT);
    while (got < 0 && errno == EINTR);
    if (got < 0 && (errno == EOPNOTSUPP || errno == ENOSYS || errno == EINVAL)) {
        atomic_store_explicit(&d->no_nowait, true, memory_order_relaxed);
        return -EAGAIN;
    }
    return got < 0 ? -errno : got;
}

static void
mark_checked(struct sf_disk *d, struct sf_chunk *ch, unsigned unit)
{
    SF_GUARD(&d->lock);
    ch->checked |= ch->here & 1u << unit;
}

static void
bad_units(struct part *p, uint32_t mask)
{
    struct sf_disk *d = p->c->d;
    uint64_t n = (uint64_t)__builtin_popcount(mask);
    atomic_fetch_add(&d->bad_units, n);
    sf_count(SF_C_CACHE_BAD_UNITS, n);
    sf_index_drop_units(d, p->c->size, p->ch, mask);
}

/* What reading units of a file came to, when it was not what was asked for. */
static ssize_t
read_failed(struct part *p, ssize_t rc, uint32_t mask)
{
    struct sf_disk *d = p->c->d;
    if (rc == -EAGAIN)
        return rc;
    if (rc == -EMFILE || rc == -ENFILE || rc == -ENOMEM)
        return 0;
    if (rc < 0 && rc != -ENOENT)
        sf_disk_failed(d, SF_DISK_READ, (int)rc, "a block cannot be read");
    bad_units(p, mask);
    return 0;
}

/* The unit of the part's first byte, which nobody has looked at yet. */
static ssize_t
read_unchecked(struct part *p, int fd)
{
    char unit[SF_UNIT];
    struct sf_disk *d = p->c->d;
    unsigned i = p->from / SF_UNIT;
    uint64_t nth = (uint64_t)p->ch->id.index * SF_UNITS + i;
    uint32_t len = sf_unit_len(p->c->size, nth), skip = p->from % SF_UNIT;
    bool whole = !skip && p->len >= len;
    char *to = whole ? p->buf : unit;
    ssize_t n = read_file(p, fd, to, len, (off_t)i * SF_UNIT);
    if (p->nowait && n >= 0 && n < len)
        return -EAGAIN;
    if (n < 0)
        return read_failed(p, n, 1u << i);
    sf_mutex_lock(&d->lock);
    uint32_t sum = p->ch->sums[i];
    sf_mutex_unlock(&d->lock);
    if (n < len || sf_row_unit_sum(p->number, nth, to, len) != sum) {
        bad_units(p, 1u << i);
        return 0;
    }
    mark_checked(d, p->ch, i);
    uint32_t rest = len - skip < p->len ? len - skip : p->len;
    if (!whole)
        memcpy(p->buf, unit + skip, rest);
    return rest;
}

static ssize_t
read_part_file(struct part *p)
{
    struct sf_disk *d = p->c->d;
    const bool yes = true;
    int fd = sf_chunk_open(d, p->ch, false, p->nowait);
    if (fd < 0)
        return read_failed(p, fd, p->ch->here);
    sf_mutex_lock(&d->lock);
    uint32_t checked = extent_locked(p->ch, p->from, p->len, &yes);
    sf_mutex_unlock(&d->lock);
    if (!checked)
        return read_unchecked(p, fd);
    ssize_t n = read_file(p, fd, p->buf, checked, p->from);
    if (n == (ssize_t)checked || (p->nowait && n > 0))
        return n;
    unsigned first = p->from / SF_UNIT, last = (p->from + checked - 1) / SF_UNIT;
    uint32_t mask = (last == 31 ? ~0u : (1u << (last + 1)) - 1) & ~((1u << first) - 1);
    return read_failed(p, n, mask);
}

/* ---- values --------------------------------------------------------------------------------- */

struct value_read {
    struct part *p;
    uint64_t unit;
    uint32_t len, skip, want; /* of the unit; of what is asked for */
    uint32_t sum;
    bool check, bad;
};

/* Whether pages of the map are in memory. */
static bool
resident(const void *p, size_t n)
{
    unsigned char page[SF_UNIT / 4096 + 2];
    uintptr_t from = (uintptr_t)p & ~(uintptr_t)4095, to = ((uintptr_t)p + n + 4095) & ~4095ul;
    if (mincore((void *)from, to - from, page) < 0)
        return true;
    for (size_t i = 0; i < (to - from) / 4096; i++)
        if (!(page[i] & 1))
            return false;
    return true;
}

static int
copy_value(void *arg, const void *value, size_t len)
{
    struct value_read *r = arg;
    if (r->p->nowait && len <= SF_UNIT && !resident(value, len))
        return -EAGAIN;
    r->bad =
        len != r->len || (r->check && sf_row_unit_sum(r->p->number, r->unit, value, len) != r->sum);
    if (!r->bad)
        memcpy(r->p->buf, (const char *)value + r->skip, r->want);
    return 0;
}

static ssize_t
read_part_value(struct part *p)
{
    struct sf_disk *d = p->c->d;
    unsigned char key[SF_ROW_SHORT_KEY];
    unsigned i = p->from / SF_UNIT;
    struct value_read r = {.p = p, .unit = i, .len = sf_unit_len(p->c->size, i)};
    r.skip = p->from % SF_UNIT;
    r.want = r.len - r.skip < p->len ? r.len - r.skip : p->len;
    sf_mutex_lock(&d->lock);
    r.check = !(p->ch->checked >> i & 1);
    r.sum = p->ch->sums[i];
    sf_mutex_unlock(&d->lock);
    int rc =
        sf_index_read(d, SF_TABLE_UNITS, key, sf_row_unit_key(key, p->number, i), copy_value, &r);
    if (rc == -EAGAIN)
        return rc;
    if (rc == -ENOENT || (!rc && r.bad)) {
        bad_units(p, 1u << i);
        return 0;
    }
    if (rc)
        return 0; /* the index is being dropped */
    if (r.check)
        mark_checked(d, p->ch, i);
    return r.want;
}

bool
sf_disk_recheck(struct sf_disk_content *c, struct sf_chunk *ch, unsigned unit, char *buf)
{
    struct part p = {.c = c, .ch = ch, .number = c->number, .from = unit * SF_UNIT, .buf = buf};
    struct sf_disk *d = c->d;
    p.len = sf_unit_len(c->size, (uint64_t)ch->id.index * SF_UNITS + unit);
    sf_mutex_lock(&d->lock);
    ch->checked &= ~(1u << unit);
    sf_mutex_unlock(&d->lock);
    ssize_t n = sf_disk_small(c->size) ? read_part_value(&p) : read_part_file(&p);
    return n == (ssize_t)p.len;
}

/* ---- all ------------------------------------------------------------------------------------ */

/* A piece of the read, as large as goes at once. */
static ssize_t
read_piece(struct part *p, uint64_t off, size_t len)
{
    struct sf_disk *d = p->c->d;
    uint32_t want = within_chunk(p->c, off, len, &p->from);
    sf_mutex_lock(&d->lock);
    int rc = sf_chunk_hold_locked(d, p->number, (uint32_t)(off / SF_CHUNK), p->nowait, &p->ch);
    p->len = rc ? 0 : extent_locked(p->ch, p->from, want, NULL);
    sf_mutex_unlock(&d->lock);
    if (rc)
        return rc == -EAGAIN ? rc : 0;
    ssize_t n = 0;
    if (p->len)
        n = sf_disk_small(p->c->size) ? read_part_value(p) : read_part_file(p);
    sf_chunk_release(d, p->ch);
    return n;
}

ssize_t
sf_disk_read(struct sf_disk_content *c, uint64_t off, size_t len, void *buf, bool nowait)
{
    struct part p = {.c = c, .nowait = nowait};
    struct sf_disk *d = c->d;
    size_t sum = 0;
    ssize_t n = 0;
    if (off >= c->size || sf_disk_bypassed(d, SF_DISK_READ))
        return 0;
    int rc = sf_content_number(c, nowait, &p.number);
    if (rc)
        return rc == -EAGAIN ? rc : 0;
    while (sum < len && off + sum < c->size) {
        p.buf = (char *)buf + sum;
        n = read_piece(&p, off + sum, len - sum);
        if (n <= 0)
            break;
        sum += (size_t)n;
    }
    if (sum) {
        sf_disk_worked(d, SF_DISK_READ);
        sf_disk_touch(c, off, sum);
    }
    return sum ? (ssize_t)sum : n;
}
