/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "cache/follow.h"

#include <errno.h>
#include <string.h>

enum { WAYS = 4, FORMAT = 1, PAIR_BYTES = 9 };

static size_t
set_of(uint32_t first)
{
    return (first * UINT32_C(0x9e3779b1) >> 16) % (SF_FOLLOW_SLOTS / WAYS) * WAYS;
}

void
sf_follow_learn(struct sf_follow *f, uint32_t first, uint32_t next)
{
    struct sf_follow_pair *set = f->slots + set_of(first), *least = set;
    for (struct sf_follow_pair *p = set; p < set + WAYS; p++) {
        if (p->seen && p->first == first && p->next == next) {
            if (p->seen < SF_FOLLOW_SEEN_MAX)
                p->seen++;
            return;
        }
        if (p->seen < least->seen)
            least = p;
    }
    /* What was seen once more than the others is not lost to the first newcomer. */
    if (least->seen > 1)
        least->seen--;
    else
        *least = (struct sf_follow_pair){first, next, 1};
}

int
sf_follow_next(const struct sf_follow *f, uint32_t first, uint8_t seen_min, uint32_t not,
               uint32_t *next)
{
    const struct sf_follow_pair *set = f->slots + set_of(first), *best = NULL;
    for (const struct sf_follow_pair *p = set; p < set + WAYS; p++)
        if (p->seen && p->seen >= seen_min && p->first == first &&
            p->next != not &&(!best || p->seen > best->seen))
            best = p;
    if (!best)
        return -ENOENT;
    *next = best->next;
    return 0;
}

void
sf_follow_merge(struct sf_follow *f, const struct sf_follow *later)
{
    for (const struct sf_follow_pair *p = later->slots; p < later->slots + SF_FOLLOW_SLOTS; p++)
        for (uint8_t n = 0; n < p->seen; n++)
            sf_follow_learn(f, p->first, p->next);
}

static void
put32(uint8_t *out, uint32_t v)
{
    for (int i = 0; i < 4; i++)
        out[i] = (uint8_t)(v >> 8 * i);
}

static uint32_t
get32(const uint8_t *in)
{
    return in[0] | (uint32_t)in[1] << 8 | (uint32_t)in[2] << 16 | (uint32_t)in[3] << 24;
}

size_t
sf_follow_pack(const struct sf_follow *f, uint8_t out[SF_FOLLOW_BYTES_MAX])
{
    uint8_t *at = out + 4;
    for (const struct sf_follow_pair *p = f->slots; p < f->slots + SF_FOLLOW_SLOTS; p++) {
        if (!p->seen)
            continue;
        put32(at, p->first);
        put32(at + 4, p->next);
        at[8] = p->seen;
        at += PAIR_BYTES;
    }
    if (at == out + 4)
        return 0;
    out[0] = FORMAT;
    out[1] = 0;
    out[2] = (uint8_t)((at - out - 4) / PAIR_BYTES);
    out[3] = (uint8_t)((at - out - 4) / PAIR_BYTES >> 8);
    return (size_t)(at - out);
}

/* Where they stand follows from what they are, so no table comes out that learning could not make.
 */
int
sf_follow_unpack(struct sf_follow *f, const void *bytes, size_t len)
{
    const uint8_t *in = bytes;
    memset(f, 0, sizeof *f);
    if (len < 4 || in[0] != FORMAT || in[1] != 0)
        return -EINVAL;
    size_t n = in[2] | (size_t)in[3] << 8;
    if (n == 0 || n > SF_FOLLOW_SLOTS || len != 4 + n * PAIR_BYTES)
        return -EINVAL;
    for (in += 4; n > 0; n--, in += PAIR_BYTES) {
        struct sf_follow_pair pair = {get32(in), get32(in + 4), in[8]};
        struct sf_follow_pair *p = f->slots + set_of(pair.first), *end = p + WAYS;
        while (p < end && p->seen && !(p->first == pair.first && p->next == pair.next))
            p++;
        if (p == end || p->seen || pair.seen == 0 || pair.seen > SF_FOLLOW_SEEN_MAX) {
            memset(f, 0, sizeof *f);
            return -EINVAL;
        }
        *p = pair;
    }
    return 0;
}
