/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "cache/link.h"

#define RTT_WINDOW_NS (10 * INT64_C(1000000000))
#define SAMPLE_NS     (50 * INT64_C(1000000)) /* a busy link gives one this often, at least */
#define MEMORY_BYTES  (8u << 20)              /* older samples than the last so many fade */
#define SMALL         (128u << 10)

int64_t
sf_link_rtt(const struct sf_link *l)
{
    if (!l->rtt_ns[0] || (l->rtt_ns[1] && l->rtt_ns[1] < l->rtt_ns[0]))
        return l->rtt_ns[1];
    return l->rtt_ns[0];
}

uint64_t
sf_link_bytes_per_s(const struct sf_link *l)
{
    if (l->sum_ns <= 0)
        return 0;
    return (uint64_t)((double)l->sum_bytes * 1e9 / (double)l->sum_ns);
}

uint64_t
sf_link_carries(const struct sf_link *l)
{
    return (uint64_t)((double)sf_link_bytes_per_s(l) * (double)sf_link_rtt(l) / 1e9);
}

int64_t
sf_link_time(const struct sf_link *l, uint64_t bytes)
{
    uint64_t rate = sf_link_bytes_per_s(l);
    if (!rate)
        return INT64_MAX;
    return sf_link_rtt(l) + (int64_t)((double)bytes * 1e9 / (double)rate);
}

/* Bytes came in @ns. When they came about as fast as one byte would have, the link was not what
 * limited them: they say only what it carries at least. */
static void
sample(struct sf_link *l, uint64_t bytes, int64_t ns, int opening)
{
    int64_t net = opening ? ns - sf_link_rtt(l) : ns;
    int floor = net < ns / 8;
    if (floor)
        net = ns / 8;
    if (bytes == 0 || net <= 0)
        return;
    if (floor && (double)bytes * 1e9 / (double)net < (double)sf_link_bytes_per_s(l))
        return;
    l->sum_bytes += bytes;
    l->sum_ns += net;
    while (l->sum_bytes > MEMORY_BYTES) {
        l->sum_bytes /= 2;
        l->sum_ns /= 2;
    }
}

static void
round_trip(struct sf_link *l, const struct sf_link_fetch *f, int64_t now_ns)
{
    int64_t ns = now_ns - f->began_ns;
    if (ns <= 0)
        return;
    if (now_ns - l->rtt_since_ns > RTT_WINDOW_NS && f->alone && f->len <= SMALL) {
        /* What was found long ago may not be true any more; what a busy link shows is no answer. */
        l->rtt_ns[1] = l->rtt_ns[0];
        l->rtt_ns[0] = 0;
        l->rtt_since_ns = now_ns;
    }
    if (l->rtt_ns[0] == 0 || ns < l->rtt_ns[0])
        l->rtt_ns[0] = ns;
}

void
sf_link_begin(struct sf_link *l, struct sf_link_fetch *f, size_t len, int64_t now_ns)
{
    f->began_ns = now_ns;
    f->len = len;
    f->alone = l->active == 0;
    if (l->active++ == 0) {
        l->mark_ns = now_ns;
        l->bytes = 0;
        l->opening = 1;
    }
}

void
sf_link_end(struct sf_link *l, const struct sf_link_fetch *f, size_t got, int64_t now_ns)
{
    l->active--;
    if (got) {
        round_trip(l, f, now_ns);
        l->bytes += got;
    }
    int64_t busy = now_ns - l->mark_ns;
    if (l->active == 0) {
        sample(l, l->bytes, busy, l->opening);
    } else if (busy >= SAMPLE_NS && busy >= 2 * sf_link_rtt(l)) {
        sample(l, l->bytes, busy, l->opening);
        l->mark_ns = now_ns;
        l->bytes = 0;
        l->opening = 0;
    }
}
