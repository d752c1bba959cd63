/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "cache/link.h"

#define QUICK_NS  (10 * INT64_C(1000000000)) /* a round trip may have changed after that */
#define SAMPLE_NS (50 * INT64_C(1000000))    /* a busy link is measured over so long, at least */
#define FADE      (8u << 20)                 /* bytes after which all before is forgotten */
#define SMALL     (128u << 10)

/* ---- what is known ---------------------------------------------------------------------------
 */

uint64_t
sf_link_bytes_per_s(const struct sf_link *l)
{
    return (uint64_t)(l->rate * 1e9);
}

/* The shortest fetch, without the time that its bytes took. */
int64_t
sf_link_rtt(const struct sf_link *l)
{
    const struct sf_link_time *t = &l->quick[0];
    if (!t->ns || (l->quick[1].ns && l->quick[1].ns < t->ns))
        t = &l->quick[1];
    int64_t ns = t->ns;
    if (l->limited)
        ns -= (int64_t)((double)t->len / l->rate);
    return ns > t->ns / 8 ? ns : t->ns / 8;
}

uint64_t
sf_link_carries(const struct sf_link *l)
{
    return (uint64_t)(l->rate * (double)sf_link_rtt(l));
}

int64_t
sf_link_time(const struct sf_link *l, uint64_t bytes)
{
    if (l->rate <= 0)
        return INT64_MAX;
    return sf_link_rtt(l) + (int64_t)((double)bytes / l->rate);
}

/* ---- samples ---------------------------------------------------------------------------------
 */

/* So many bytes need no more than @ns. */
static void
at_least(struct sf_link *l, uint64_t bytes, int64_t ns)
{
    double rate = (double)bytes / (double)ns;
    if (rate <= l->rate)
        return;
    l->rate = rate;
    l->limited = false;
}

/* So many bytes took @ns, and the link had enough to do. One slow answer says little, and so do few
 * bytes. */
static void
exactly(struct sf_link *l, uint64_t bytes, int64_t ns)
{
    double rate = (double)bytes / (double)ns;
    double share = bytes < FADE ? (double)bytes / FADE : 1;
    if (!l->limited) /* what was known may have been far too much */
        share = rate > l->rate ? 1 : 0.5;
    l->rate += (rate - l->rate) * share;
    l->limited = true;
}

static void
quick(struct sf_link *l, const struct sf_link_fetch *f, int64_t now_ns)
{
    int64_t ns = now_ns - f->began_ns;
    if (ns <= 0)
        return;
    if (now_ns - l->quick_since_ns > QUICK_NS && f->alone && f->len <= SMALL) {
        /* What a busy link shows would be no answer. */
        l->quick[1] = l->quick[0];
        l->quick[0].ns = 0;
        l->quick_since_ns = now_ns;
    }
    if (l->quick[0].ns == 0 || ns < l->quick[0].ns)
        l->quick[0] = (struct sf_link_time){ns, f->len};
}

/* What began with this fetch or later came in the time behind its round trip. If that is too short
 * to be measured, it is taken for a sixteenth of the whole. */
static void
sample(struct sf_link *l, const struct sf_link_fetch *f, int64_t now_ns)
{
    int64_t ns = now_ns - f->began_ns, net = ns - sf_link_rtt(l);
    uint64_t came = l->total - f->total;
    came = came > f->active_bytes ? came - f->active_bytes : 0;
    if (came < f->len)
        came = f->len;
    if (ns / 16 <= 0)
        return;
    if (f->alone && came == f->len && came >= SMALL && net >= ns / 16)
        exactly(l, came, net);
    else
        at_least(l, came, net > ns / 16 ? net : ns / 16);
}

static void
mark(struct sf_link *l, int64_t now_ns)
{
    l->mark_ns = now_ns;
    l->marked = l->total;
    l->least = UINT64_MAX;
}

/* Was there always more under way than what came in a round trip? Then more would not have helped.
 */
static void
watch(struct sf_link *l, int64_t now_ns)
{
    int64_t rtt = sf_link_rtt(l), ns = now_ns - l->mark_ns;
    if (ns < SAMPLE_NS || ns < 2 * rtt)
        return;
    uint64_t came = l->total - l->marked;
    if (came && (double)came * (double)rtt / (double)ns <= (double)l->least)
        exactly(l, came, ns);
    mark(l, now_ns);
}

void
sf_link_begin(struct sf_link *l, struct sf_link_fetch *f, size_t len, int64_t now_ns)
{
    f->began_ns = now_ns;
    f->len = len;
    f->total = l->total;
    f->active_bytes = l->active_bytes;
    f->alone = l->active == 0;
    l->active++;
    l->active_bytes += len;
}

void
sf_link_end(struct sf_link *l, const struct sf_link_fetch *f, size_t got, int64_t now_ns)
{
    l->active--;
    l->active_bytes -= f->len;
    if (l->active_bytes < l->least)
        l->least = l->active_bytes;
    l->total += got;
    if (got) {
        quick(l, f, now_ns);
        sample(l, f, now_ns);
    }
    if (l->active == 0)
        mark(l, now_ns);
    else
        watch(l, now_ns);
}
