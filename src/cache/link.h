/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef SF_CACHE_LINK_H
#define SF_CACHE_LINK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * What the way to the service carries, from when fetches begin and end. Valid when zeroed. Not
 * thread-safe.
 */
struct sf_link_time {
    int64_t ns; /* 0 = none */
    size_t len;
};

struct sf_link {
    unsigned active;       /* fetches under way */
    uint64_t active_bytes; /* asked for by them */
    uint64_t total;        /* bytes that came */

    int64_t mark_ns; /* since when the busy link is watched */
    uint64_t marked; /* total at that time */
    uint64_t least;  /* of active_bytes since then */

    struct sf_link_time quick[2]; /* the shortest fetch of now and of the time before */
    int64_t quick_since_ns;

    double rate;  /* bytes a nanosecond; 0 = not known */
    bool limited; /* that is what the link carries, not only what it carries at least */
};

/* One fetch, as it was when it began. */
struct sf_link_fetch {
    int64_t began_ns;
    size_t len;
    uint64_t total, active_bytes; /* of the link, before it */
    bool alone;                   /* nothing was under way */
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
