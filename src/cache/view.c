/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <errno.h>
#include <string.h>

#include "cache/internal.h"

/* Which units of a range are on the local disk: asked without the lock, used under it. */

int
view_make(struct view *v, struct sf_cached *c, uint64_t off, uint64_t end, bool nowait)
{
    memset(v, 0, sizeof *v);
    v->off = off / SF_UNIT * SF_UNIT;
    v->end = end - v->off > VIEW_UNITS * SF_UNIT ? v->off + VIEW_UNITS * SF_UNIT : end;
    if (!c->disk)
        return 0;
    for (uint64_t pos = v->off; pos < v->end;) {
        ssize_t n = sf_disk_has(c->disk, pos, v->end - pos, nowait);
        if (n < 0)
            return n == -EAGAIN ? -EAGAIN : 0;
        uint64_t stop = pos + (uint64_t)n;
        for (; pos < stop; pos += SF_UNIT)
            v->bits[(pos - v->off) / SF_UNIT / 64] |= UINT64_C(1) << (pos - v->off) / SF_UNIT % 64;
        if (!n)
            pos += SF_UNIT;
    }
    return 0;
}

bool
view_has(const struct view *v, uint64_t pos)
{
    if (pos < v->off || pos >= v->end)
        return false;
    uint64_t i = (pos - v->off) / SF_UNIT;
    return v->bits[i / 64] >> i % 64 & 1;
}

uint64_t
view_run(const struct view *v, uint64_t pos, uint64_t end)
{
    bool has = view_has(v, pos);
    uint64_t stop = pos;
    do
        stop = (stop / SF_UNIT + 1) * SF_UNIT;
    while (stop < end && view_has(v, stop) == has);
    return stop < end ? stop : end;
}
