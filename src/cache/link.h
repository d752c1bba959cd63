/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef SF_CACHE_LINK_H
#define SF_CACHE_LINK_H

#include <stddef.h>
#include <stdint.h>

/*
 * What the way to the service carries, from when fetches begin and end. Valid when zeroed. Not
 * thread-safe.
 */
struct sf_link {
    unsigned active; /* fetches under way */
    int64_t mark_ns; /* since when bytes are counted */
    uint64_t bytes;  /* that came since then */
    int opening;     /* nothing was under way before the mark: the first round trip is idle */

    int64_t rtt_ns[2]; /* shortest fetch of now and of the time before; 0 = none */
    int64_t rtt_since_ns;

    uint64_t sum_bytes; /* of recent samples, older ones count less */
    int64_t sum_ns;
};

/* One fetch, as it was when it began. */
struct sf_link_fetch {
    int64_t began_ns;
    size_t len;
    int alone; /* nothing else was under way: its time is the round trip's and its own */
};

void sf_link_begin(struct sf_link *l, struct sf_link_fetch *f, size_t len, int64_t now_ns);
/* @got: bytes that came; 0 when it failed. */
void sf_link_end(struct sf_link *l, const struct sf_link_fetch *f, size_t got, int64_t now_ns);

int64_t sf_link_rtt(const struct sf_link *l);          /* 0 = not known */
uint64_t sf_link_bytes_per_s(const struct sf_link *l); /* 0 = not known */
/* What is under way at a time when all of the link is used; 0 = not known. */
uint64_t sf_link_carries(const struct sf_link *l);
/* Time that @bytes take with many requests at once; INT64_MAX = not known. */
int64_t sf_link_time(const struct sf_link *l, uint64_t bytes);

#endif
