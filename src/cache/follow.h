/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef SF_CACHE_FOLLOW_H
#define SF_CACHE_FOLLOW_H

#include <stddef.h>
#include <stdint.h>

/*
 * Which file of a directory was opened after which: a bounded table per directory, that forgets
 * what was seen least. Pure; not thread-safe. Files are known by 32 bits of a hash of their names.
 */
#define SF_FOLLOW_SLOTS     256
#define SF_FOLLOW_SEEN_MAX  3
#define SF_FOLLOW_BYTES_MAX (4 + 9 * SF_FOLLOW_SLOTS)

struct sf_follow_pair {
    uint32_t first, next;
    uint8_t seen; /* 0 = the slot is free */
};

struct sf_follow { /* valid when zeroed */
    struct sf_follow_pair slots[SF_FOLLOW_SLOTS];
};

/* @next was opened after @first. */
void sf_follow_learn(struct sf_follow *f, uint32_t first, uint32_t next);
/* What was opened after @first most often, and at least @seen_min times, without @not. Returns
 * 0 or -ENOENT. */
int sf_follow_next(const struct sf_follow *f, uint32_t first, uint8_t seen_min, uint32_t not,
                   uint32_t *next);

/* Add what was learned later. */
void sf_follow_merge(struct sf_follow *f, const struct sf_follow *later);

/* Form for storing: bytes 1 and 0, number of pairs (2 bytes), then for each pair first (4), next
 * (4) and seen (1); lowest byte first. Returns the length, at most SF_FOLLOW_BYTES_MAX; 0 = nothing
 * was learned. */
size_t sf_follow_pack(const struct sf_follow *f, uint8_t out[SF_FOLLOW_BYTES_MAX]);
/* 0 or -EINVAL (then nothing is known); any bytes are safe. */
int sf_follow_unpack(struct sf_follow *f, const void *bytes, size_t len);

#endif
