/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef SF_OBSERVE_COUNTER_H
#define SF_OBSERVE_COUNTER_H

#include <stdatomic.h>
#include <stdint.h>

/*
 * Numbers about what the process does, from the table observe/counters.def. All are 64 bits,
 * relaxed atomics, without locks, and start at 0. SF_C_x are counters, SF_G_x gauges, SF_H_x
 * histograms; the compiler tells them apart.
 */
enum sf_counter {
#define SF_COUNTER(id, name, help) SF_C_##id,
#include "observe/counters.def"
    SF_C_MAX
};

enum sf_gauge {
#define SF_GAUGE(id, name, help) SF_G_##id,
#include "observe/counters.def"
    SF_G_MAX
};

enum sf_histogram {
#define SF_HISTOGRAM(id, name, help) SF_H_##id,
#include "observe/counters.def"
    SF_H_MAX
};

#define SF_HISTOGRAM_BUCKETS 65

extern _Atomic uint64_t sf_counters_[SF_C_MAX];
extern _Atomic int64_t sf_gauges_[SF_G_MAX];

static inline void
sf_count(enum sf_counter c, uint64_t n)
{
    atomic_fetch_add_explicit(&sf_counters_[c], n, memory_order_relaxed);
}

static inline uint64_t
sf_counter_get(enum sf_counter c)
{
    return atomic_load_explicit(&sf_counters_[c], memory_order_relaxed);
}

/* Change a gauge by @delta. Returns its new value, as for sf_gauge_peak(). */
static inline int64_t
sf_gauge_add(enum sf_gauge g, int64_t delta)
{
    return atomic_fetch_add_explicit(&sf_gauges_[g], delta, memory_order_relaxed) + delta;
}

static inline void
sf_gauge_set(enum sf_gauge g, int64_t value)
{
    atomic_store_explicit(&sf_gauges_[g], value, memory_order_relaxed);
}

static inline int64_t
sf_gauge_get(enum sf_gauge g)
{
    return atomic_load_explicit(&sf_gauges_[g], memory_order_relaxed);
}

/* Raise a gauge to @value when it is lower. */
void sf_gauge_peak(enum sf_gauge g, int64_t value);

/* Add one observation. */
void sf_histogram_add(enum sf_histogram h, uint64_t value);

enum sf_metric_kind { SF_METRIC_COUNTER, SF_METRIC_GAUGE, SF_METRIC_HISTOGRAM };

/* One line of the table with its value. */
struct sf_metric {
    enum sf_metric_kind kind;
    const char *name; /* static */
    const char *help; /* static */
    int64_t value;    /* of a histogram: the number of observations */
    /* the rest for histograms: the sum, the largest observation, and values that at least so many
     * percent of the observations do not exceed (exact up to the next power of two) */
    uint64_t sum, max, p50, p90, p99;
    /* observations by size: bucket 0 counts zeros, bucket i values of 2^(i-1) to 2^i - 1 */
    uint64_t buckets[SF_HISTOGRAM_BUCKETS];
};

/**
 * sf_metric_each - call @fn for every line of the table, in its order by kind.
 * @fn: the metric is borrowed for the call; a result other than 0 ends the walk.
 *
 * Each number is right by itself; two of them may be a moment apart. Returns the last result.
 */
int sf_metric_each(int (*fn)(const struct sf_metric *m, void *arg), void *arg);

/* All to zero, for tests. */
void sf_metric_reset(void);

#endif
