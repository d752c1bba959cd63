/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "write/extents.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

void
sf_extents_fini(struct sf_extents *e)
{
    free(e->v);
    *e = (struct sf_extents){0};
}

int
sf_extents_reserve(struct sf_extents *e)
{
    if (e->n < e->cap)
        return 0;
    size_t cap = e->cap ? e->cap * 2 : 8, bytes;
    if (__builtin_mul_overflow(cap, sizeof *e->v, &bytes))
        return -ENOMEM;
    struct sf_extent *v = realloc(e->v, bytes);
    if (!v)
        return -ENOMEM;
    e->v = v;
    e->cap = cap;
    return 0;
}

/* The first extent that ends at @off or behind it. */
static size_t
first_from(const struct sf_extents *e, uint64_t off)
{
    size_t low = 0, high = e->n;
    while (low < high) {
        size_t mid = low + (high - low) / 2;
        if (e->v[mid].end < off)
            low = mid + 1;
        else
            high = mid;
    }
    return low;
}

int
sf_extents_add(struct sf_extents *e, uint64_t off, uint64_t end)
{
    if (off >= end)
        return 0;
    size_t at = first_from(e, off), next = at;
    while (next < e->n && e->v[next].off <= end) /* those that it meets or touches */
        next++;
    if (next == at) {
        int rc = sf_extents_reserve(e);
        if (rc)
            return rc;
        memmove(e->v + at + 1, e->v + at, (e->n - at) * sizeof *e->v);
        e->v[at] = (struct sf_extent){off, end};
        e->n++;
        return 0;
    }
    if (e->v[at].off < off)
        off = e->v[at].off;
    if (e->v[next - 1].end > end)
        end = e->v[next - 1].end;
    e->v[at] = (struct sf_extent){off, end};
    memmove(e->v + at + 1, e->v + next, (e->n - next) * sizeof *e->v);
    e->n -= next - at - 1;
    return 0;
}

void
sf_extents_cut(struct sf_extents *e, uint64_t size)
{
    while (e->n && e->v[e->n - 1].off >= size)
        e->n--;
    if (e->n && e->v[e->n - 1].end > size)
        e->v[e->n - 1].end = size;
}

int
sf_extents_copy(struct sf_extents *to, const struct sf_extents *from)
{
    if (!from->n)
        return 0;
    struct sf_extent *v = malloc(from->n * sizeof *v);
    if (!v)
        return -ENOMEM;
    memcpy(v, from->v, from->n * sizeof *v);
    *to = (struct sf_extents){v, from->n, from->n};
    return 0;
}

int
sf_extents_set(struct sf_extents *to, const struct sf_extent *v, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (v[i].off >= v[i].end || (i && v[i].off <= v[i - 1].end))
            return -EINVAL;
    const struct sf_extents from = {(struct sf_extent *)v, n, n};
    return sf_extents_copy(to, &from);
}

bool
sf_extents_gap(const struct sf_extents *e, uint64_t off, uint64_t end, struct sf_extent *gap)
{
    size_t at = first_from(e, off);
    if (at < e->n && e->v[at].off <= off)
        off = e->v[at++].end;
    if (off >= end)
        return false;
    gap->off = off;
    gap->end = at < e->n && e->v[at].off < end ? e->v[at].off : end;
    return true;
}

uint64_t
sf_extents_missing(const struct sf_extents *e, uint64_t size)
{
    uint64_t missing = size;
    for (size_t i = 0; i < e->n && e->v[i].off < size; i++)
        missing -= (e->v[i].end < size ? e->v[i].end : size) - e->v[i].off;
    return missing;
}

struct sf_extent
sf_extents_densest(const struct sf_extents *e, size_t count)
{
    struct sf_extent best = {0, UINT64_MAX};
    for (size_t i = 0; i + count <= e->n; i++)
        if (e->v[i + count - 1].end - e->v[i].off < best.end - best.off)
            best = (struct sf_extent){e->v[i].off, e->v[i + count - 1].end};
    return best;
}
