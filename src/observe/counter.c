/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "observe/counter.h"

#include <string.h>

struct entry {
    const char *name, *help;
};

static const struct entry counter_table[] = {
#define SF_COUNTER(id, name, help) {#name, help},
#include "observe/counters.def"
};

static const struct entry gauge_table[] = {
#define SF_GAUGE(id, name, help) {#name, help},
#include "observe/counters.def"
};

static const struct entry histogram_table[] = {
#define SF_HISTOGRAM(id, name, help) {#name, help},
#include "observe/counters.def"
};

struct histogram {
    _Atomic uint64_t buckets[SF_HISTOGRAM_BUCKETS];
    _Atomic uint64_t sum, max;
};

_Atomic uint64_t sf_counters_[SF_C_MAX];
_Atomic int64_t sf_gauges_[SF_G_MAX];
static struct histogram histograms[SF_H_MAX];

void
sf_gauge_peak(enum sf_gauge g, int64_t value)
{
    int64_t old = sf_gauge_get(g);
    while (old < value &&
           !atomic_compare_exchange_weak_explicit(&sf_gauges_[g], &old, value, memory_order_relaxed,
                                                  memory_order_relaxed))
        ;
}

static size_t
bucket_of(uint64_t value)
{
    return value ? 64 - (size_t)__builtin_clzll(value) : 0;
}

/* The largest value that falls into a bucket. */
static uint64_t
bucket_top(size_t i)
{
    return i == 64 ? UINT64_MAX : (UINT64_C(1) << i) - 1;
}

void
sf_histogram_add(enum sf_histogram h, uint64_t value)
{
    struct histogram *p = &histograms[h];
    atomic_fetch_add_explicit(&p->buckets[bucket_of(value)], 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&p->sum, value, memory_order_relaxed);
    uint64_t old = atomic_load_explicit(&p->max, memory_order_relaxed);
    while (old < value && !atomic_compare_exchange_weak_explicit(
                              &p->max, &old, value, memory_order_relaxed, memory_order_relaxed))
        ;
}

/* A value that @percent of the observations do not exceed. */
static uint64_t
quantile(const struct sf_metric *m, unsigned percent)
{
    uint64_t total = (uint64_t)m->value, seen = 0;
    uint64_t want = total / 100 * percent + (total % 100 * percent + 99) / 100;
    for (size_t i = 0; i < SF_HISTOGRAM_BUCKETS; i++) {
        seen += m->buckets[i];
        if (seen >= want)
            return bucket_top(i) < m->max ? bucket_top(i) : m->max;
    }
    return m->max;
}

static void
histogram_read(const struct histogram *h, struct sf_metric *m)
{
    for (size_t i = 0; i < SF_HISTOGRAM_BUCKETS; i++) {
        m->buckets[i] = atomic_load_explicit(&h->buckets[i], memory_order_relaxed);
        m->value += (int64_t)m->buckets[i];
    }
    m->sum = atomic_load_explicit(&h->sum, memory_order_relaxed);
    m->max = atomic_load_explicit(&h->max, memory_order_relaxed);
    if (!m->value)
        return;
    m->p50 = quantile(m, 50);
    m->p90 = quantile(m, 90);
    m->p99 = quantile(m, 99);
}

int
sf_metric_each(int (*fn)(const struct sf_metric *m, void *arg), void *arg)
{
    int rc = 0;
    for (size_t i = 0; !rc && i < SF_C_MAX; i++) {
        struct sf_metric m = {.kind = SF_METRIC_COUNTER, .value = (int64_t)sf_counter_get(i)};
        m.name = counter_table[i].name;
        m.help = counter_table[i].help;
        rc = fn(&m, arg);
    }
    for (size_t i = 0; !rc && i < SF_G_MAX; i++) {
        struct sf_metric m = {.kind = SF_METRIC_GAUGE, .value = sf_gauge_get(i)};
        m.name = gauge_table[i].name;
        m.help = gauge_table[i].help;
        rc = fn(&m, arg);
    }
    for (size_t i = 0; !rc && i < SF_H_MAX; i++) {
        struct sf_metric m = {.kind = SF_METRIC_HISTOGRAM};
        m.name = histogram_table[i].name;
        m.help = histogram_table[i].help;
        histogram_read(&histograms[i], &m);
        rc = fn(&m, arg);
    }
    return rc;
}

void
sf_metric_reset(void)
{
    for (size_t i = 0; i < SF_C_MAX; i++)
        atomic_store(&sf_counters_[i], 0);
    for (size_t i = 0; i < SF_G_MAX; i++)
        atomic_store(&sf_gauges_[i], 0);
    for (size_t i = 0; i < SF_H_MAX; i++) {
        for (size_t j = 0; j < SF_HISTOGRAM_BUCKETS; j++)
            atomic_store(&histograms[i].buckets[j], 0);
        atomic_store(&histograms[i].sum, 0);
        atomic_store(&histograms[i].max, 0);
    }
}
