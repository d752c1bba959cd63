/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef SF_CACHE_STREAM_H
#define SF_CACHE_STREAM_H

#include <stdbool.h>
#include <stdint.h>

/*
 * The pattern of one reader, and what is to be fetched for it. Knows no I/O. Valid when zeroed. Not
 * thread-safe.
 *
 * A run is a reader at one place: it goes on forward, with small seeks both ways, or backward.
 * While most of what it passes is read, it is sequential, and a window ahead of it is fetched that
 * grows with what it has read. Everything else are misses, which fetch little more than was asked
 * for unless what came along gets used.
 */
#define SF_UNIT         32768u
#define SF_PIECE        (1u << 20) /* the most that one request fetches */
#define SF_PATTERN_RUNS 4

struct sf_run {
    uint64_t next;  /* end of its furthest read; 0 = no run */
    uint64_t last;  /* where its last read began */
    uint64_t bytes; /* read in it; fades */
    uint64_t span;  /* bytes it has passed; fades */
    uint64_t back;  /* bytes read backward without a break */
    uint64_t ahead; /* what ends here was asked for ahead of it */
    uint64_t turn;  /* when it was used last */
};

struct sf_pattern {
    struct sf_run runs[SF_PATTERN_RUNS];
    uint64_t turn;
    uint64_t miss;              /* what a miss fetches; 0 = none happened yet */
    uint64_t extra, extra_used; /* recent bytes that came along with misses, and of them used */
    uint64_t spent;             /* fetched by misses and not used */
    unsigned misses;
    bool probed, all; /* a larger miss was tried; all the rest is fetched */
    int64_t miss_ns;  /* time that misses took */
};

struct sf_pattern_env {
    uint64_t size;     /* of the content */
    uint64_t carries;  /* by the link in a round trip; 0 = not known */
    uint64_t miss_max; /* that a miss may fetch */
    uint64_t window;   /* that may be fetched ahead */
};

struct sf_plan {
    uint64_t off, end; /* what to fetch when something of the read is missing; covers it */
    uint64_t ahead_off, ahead_end; /* what to fetch in any case; empty when equal */
    struct sf_run *run;            /* set its .ahead to where that came to */
    bool miss;                     /* what is missing is a miss: see below */
};

/* A read was asked for; @len > 0, within the content. */
void sf_pattern_read(struct sf_pattern *p, const struct sf_pattern_env *env, uint64_t off,
                     uint64_t len, struct sf_plan *plan);

/* For a plan with .miss: @need bytes of it were fetched for the read, @extra came along. */
void sf_pattern_missed(struct sf_pattern *p, uint64_t need, uint64_t extra);
/* ... and the read waited so long for them. */
void sf_pattern_waited(struct sf_pattern *p, int64_t ns);
/* Bytes that had come along with a miss were read. */
void sf_pattern_used(struct sf_pattern *p, uint64_t bytes);

/* What misses may still fetch of this content. */
uint64_t sf_pattern_allowance(const struct sf_pattern *p, uint64_t miss_max);
/* What misses have not fetched of a content, about. */
uint64_t sf_pattern_rest(const struct sf_pattern *p, uint64_t size);
/* Would fetching all the @rest, which takes @rest_ns, cost no more than misses have cost? */
bool sf_pattern_all(const struct sf_pattern *p, uint64_t miss_max, uint64_t rest, int64_t rest_ns);

#endif
