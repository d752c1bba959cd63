/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "cache/stream.h"

#include <stddef.h>

#define SEEK_MAX    (1u << 20)   /* a run goes on after a seek of so much */
#define START       (128u << 10) /* window of a run that begins */
#define MISS_START  (64u << 10)
#define FADE        (64u << 20)
#define GROWTH      4  /* a window has so much more than was read in the run */
#define ALLOWANCE   16 /* times miss_max */
#define PROBE_AFTER 8  /* misses */

static uint64_t
min(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static uint64_t
max(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

static uint64_t
down(uint64_t n, uint64_t unit)
{
    return n / unit * unit;
}

static uint64_t
up(uint64_t n, uint64_t unit)
{
    return down(n + unit - 1, unit);
}

/* ---- runs ------------------------------------------------------------------------------------ */

/* How far a read is from where a run goes on; UINT64_MAX = not this run. */
static uint64_t
distance(const struct sf_run *r, uint64_t off, uint64_t end)
{
    if (!r->next)
        return UINT64_MAX;
    if (off >= r->next)
        return off <= max(r->next + SEEK_MAX, r->ahead) ? off - r->next : UINT64_MAX;
    if (end > r->last && r->next - off <= SEEK_MAX)
        return r->next - off;
    uint64_t back = r->last > end ? r->last - end : 0;
    return back <= SEEK_MAX ? back : UINT64_MAX;
}

/* The run that the read belongs to; else a new one in place of the one unused longest. */
static struct sf_run *
find_run(struct sf_pattern *p, uint64_t off, uint64_t end, bool *found)
{
    struct sf_run *best = NULL, *oldest = &p->runs[0];
    uint64_t least = UINT64_MAX;
    for (struct sf_run *r = p->runs; r < p->runs + SF_PATTERN_RUNS; r++) {
        uint64_t d = distance(r, off, end);
        if (d < least) {
            least = d;
            best = r;
        }
        if (r->turn < oldest->turn)
            oldest = r;
    }
    *found = best != NULL;
    if (!best) {
        best = oldest;
        *best = (struct sf_run){.next = off, .last = off};
    }
    best->turn = ++p->turn;
    return best;
}

static void
run_on(struct sf_run *r, uint64_t off, uint64_t end)
{
    uint64_t len = end - off;
    r->back = end <= r->last ? r->back + len : 0;
    if (end > r->next) {
        r->span += end - r->next;
        r->bytes += min(len, end - r->next);
        r->next = end;
    } else {
        /* Of what it had passed over, or read already; the kernel asks in any order. */
        r->bytes = min(r->bytes + len, max(r->span, r->bytes));
    }
    r->last = off;
    if (r->span > FADE) {
        r->span /= 2;
        r->bytes /= 2;
    }
}

/* ---- misses -----------------------------------------------------------------------------------
 */

uint64_t
sf_pattern_allowance(const struct sf_pattern *p, uint64_t miss_max)
{
    uint64_t all = ALLOWANCE * miss_max;
    return p->spent < all ? all - p->spent : 0;
}

/* What a miss fetches: more as long as an eighth of what came along is used, less when hardly
 * anything is; and no more than the link carries while it waits for the answer anyway. */
static uint64_t
miss_size(struct sf_pattern *p, const struct sf_pattern_env *env)
{
    uint64_t most = env->miss_max;
    if (env->carries)
        most = min(most, max(up(env->carries, SF_UNIT), SF_UNIT));
    if (!p->miss)
        p->miss = env->carries ? max(min(down(env->carries / 4, SF_UNIT), MISS_START), SF_UNIT)
                               : MISS_START;
    if (p->extra >= 8 * p->miss) {
        if (p->extra_used >= p->extra / 8)
            p->miss = 2 * p->miss;
        else if (p->extra_used < p->extra / 16)
            p->miss = max(p->miss / 2, SF_UNIT);
        p->extra /= 2;
        p->extra_used /= 2;
    }
    p->miss = max(min(p->miss, most), SF_UNIT);
    return p->miss;
}

void
sf_pattern_missed(struct sf_pattern *p, uint64_t need, uint64_t extra)
{
    p->misses++;
    p->extra += extra;
    p->spent += need + extra;
}

void
sf_pattern_waited(struct sf_pattern *p, int64_t ns)
{
    p->miss_ns += ns;
}

void
sf_pattern_used(struct sf_pattern *p, uint64_t bytes)
{
    p->extra_used += bytes;
    p->spent -= min(p->spent, bytes);
}

uint64_t
sf_pattern_rest(const struct sf_pattern *p, uint64_t size)
{
    return size - min(size, p->spent);
}

bool
sf_pattern_all(const struct sf_pattern *p, uint64_t miss_max, uint64_t rest, int64_t rest_ns)
{
    return p->misses >= PROBE_AFTER && rest <= sf_pattern_allowance(p, miss_max) &&
           p->miss_ns > rest_ns;
}

static void
plan_miss(struct sf_pattern *p, const struct sf_pattern_env *env, bool back, struct sf_plan *plan)
{
    uint64_t len = plan->end - plan->off, want = miss_size(p, env);
    uint64_t allowed = sf_pattern_allowance(p, env->miss_max);
    /* Whether all of it would come quickly is not seen from small fetches. */
    if (p->misses >= PROBE_AFTER && !p->probed && sf_pattern_rest(p, env->size) <= allowed) {
        p->probed = true;
        want = max(want, min(SF_PIECE, env->miss_max));
    }
    want = min(want, len + down(allowed / ALLOWANCE, SF_UNIT));
    plan->miss = true;
    if (want <= len)
        return;
    if (back)
        plan->off = plan->end > want ? up(plan->end - want, SF_UNIT) : 0;
    else
        plan->end = min(plan->off + want, env->size);
}

/* ---- what to fetch ----------------------------------------------------------------------------
 */

/* Is most of what it passes read? One read is no run yet, but who begins at the beginning often
 * goes on. */
static bool
sequential(const struct sf_run *r, bool found, uint64_t off)
{
    if (r->back)
        return false;
    return found ? r->bytes * 4 >= r->span : off == 0;
}

static void
plan_run(const struct sf_pattern_env *env, struct sf_run *r, bool found, struct sf_plan *plan)
{
    uint64_t most = min(max(2 * env->carries, SF_PIECE), env->window);
    uint64_t window = min(max(GROWTH * r->bytes, START), most);
    plan->end = min(max(plan->end, plan->off + START), env->size);
    if (!found && plan->end - plan->off > r->bytes)
        return; /* one small read */
    uint64_t from = max(plan->end, r->ahead), to = r->next + window;
    /* Requests of a size that is worth the trouble. */
    uint64_t grain = max(min(down(window / 2, START), SF_PIECE), START);
    to = to >= env->size ? env->size : down(to, grain);
    if (r->ahead > r->next + 2 * most) /* of a reader that has gone back */
        from = plan->end;
    if (to > from) {
        plan->ahead_off = from;
        plan->ahead_end = to;
    }
}

void
sf_pattern_read(struct sf_pattern *p, const struct sf_pattern_env *env, uint64_t off, uint64_t len,
                struct sf_plan *plan)
{
    bool found;
    struct sf_run *r = find_run(p, off, off + len, &found);
    run_on(r, off, off + len);
    *plan = (struct sf_plan){
        .off = down(off, SF_UNIT),
        .end = min(up(off + len, SF_UNIT), env->size),
        .run = r,
    };
    if (sequential(r, found, off))
        plan_run(env, r, found, plan);
    else
        plan_miss(p, env, r->back > len, plan); /* at least the second one */
}
