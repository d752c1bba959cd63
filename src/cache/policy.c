/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "cache/policy.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>

enum {
    WAYS = 4,              /* slots that may know an entry; two sets share a cache line */
    MIN_SLOTS = 1024,      /* a power of two, as is */
    MAX_SLOTS = 128 << 10, /* 1 MiB */
    COUNT_MAX = 15,
    PROVEN_MIN = 2,   /* times asked for, the first time included */
    MARGIN = 1,       /* who was asked for so much more often takes the place of a proven one */
    SAMPLE = 3,       /* proven entries of which the weakest is looked for */
    PROMOTIONS = 128, /* in a row */
    ONE_USE_MS = 3000,
    STAMP_MS = 256,
    STAMP_MASK = 0xfff,
    TURN = 32,       /* ticks in which as many bytes were asked for as are cached */
    EPOCH_SHIFT = 9, /* 16 turns; then counts are worth half */
    SHARE_ALL = 1 << 16,
    SHARE_MIN = SHARE_ALL / 10, /* of the new entries */
    SHARE_MAX = SHARE_ALL / 10 * 8,
    SHARE_SPEED = 4,
};

/* What is known of an entry, in one word, so that threads need no lock. */
struct seen {
    uint32_t tag;   /* 31 bits of its hash; never 0, so that an empty word is nobody's */
    bool used;      /* hit since it was queued */
    uint8_t count;  /* 4 bits */
    uint16_t tick;  /* when it was counted last, on the clock of bytes asked for ... */
    uint16_t stamp; /* ... and of milliseconds; 12 bits */
};

struct sf_policy {
    uint32_t sets_mask;
    _Atomic uint32_t asked;    /* in this tick; KiB */
    _Atomic uint32_t per_tick; /* KiB */
    _Atomic uint32_t tick;
    /* Misses of what plain LRU would still have, less hits of what it would have given up: asked
     * for again after less, or more, than one turn. */
    _Atomic int32_t balance;
    int32_t share; /* of the new entries, of SHARE_ALL */
    _Atomic uint64_t slots[];
};

static uint64_t
pack(struct seen s)
{
    return (uint64_t)s.tag << 33 | (uint64_t)s.used << 32 | (uint64_t)s.count << 28 |
           (uint64_t)s.stamp << 16 | s.tick;
}

static struct seen
unpack(uint64_t w)
{
    return (struct seen){(uint32_t)(w >> 33), w >> 32 & 1, w >> 28 & 15, (uint16_t)w,
                         w >> 16 & STAMP_MASK};
}

/* Content numbers are local: nobody chooses them to collide. */
static uint64_t
mix(uint64_t content, uint32_t chunk)
{
    uint64_t h = content * UINT64_C(0x9e3779b97f4a7c15) + chunk;
    h = (h ^ h >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    h = (h ^ h >> 27) * UINT64_C(0x94d049bb133111eb);
    return h ^ h >> 31;
}

static _Atomic uint64_t *
set_of(struct sf_policy *p, uint64_t h)
{
    return p->slots + (size_t)((uint32_t)h & p->sets_mask) * WAYS;
}

static uint32_t
tag_of(uint64_t h)
{
    return (uint32_t)(h >> 33) | 1;
}

static uint16_t
tick_now(const struct sf_policy *p)
{
    return (uint16_t)atomic_load_explicit(&p->tick, memory_order_relaxed);
}

static unsigned
worth(const struct sf_policy *p, struct seen s)
{
    unsigned passed = ((unsigned)(tick_now(p) >> EPOCH_SHIFT) - (s.tick >> EPOCH_SHIFT)) &
                      (0xffff >> EPOCH_SHIFT);
    return passed > 3 ? 0 : (unsigned)s.count >> passed;
}

static _Atomic uint64_t *
find(struct sf_policy *p, uint64_t h, struct seen *ret)
{
    _Atomic uint64_t *set = set_of(p, h);
    for (int i = 0; i < WAYS; i++) {
        *ret = unpack(atomic_load_explicit(&set[i], memory_order_relaxed));
        if (ret->tag == tag_of(h))
            return &set[i];
    }
    *ret = (struct seen){0};
    return NULL;
}

static unsigned
times_asked(struct sf_policy *p, const struct sf_policy_entry *e)
{
    struct seen s;
    return find(p, mix(e->content, e->chunk), &s) ? worth(p, s) : 0;
}

static bool
used_since(struct sf_policy *p, const struct sf_policy_entry *e)
{
    struct seen s;
    return find(p, mix(e->content, e->chunk), &s) && s.used;
}

/* The time of an entry that is pushed again: a hit since it was queued is a later one. */
static void
renew(struct sf_policy *p, struct sf_policy_entry *e, int64_t now_ms)
{
    struct seen s;
    _Atomic uint64_t *slot = find(p, mix(e->content, e->chunk), &s);
    if (!slot || !s.used)
        return;
    s.used = false;
    atomic_store_explicit(slot, pack(s), memory_order_relaxed);
    e->queued_ms = now_ms;
}

static void
count_one(struct sf_policy *p, uint64_t bytes)
{
    uint32_t kib = bytes > UINT64_C(1) << 30 ? 1 << 20 : (uint32_t)(bytes >> 10) + 1;
    uint32_t n = atomic_fetch_add_explicit(&p->asked, kib, memory_order_relaxed) + kib;
    uint32_t per = atomic_load_explicit(&p->per_tick, memory_order_relaxed);
    if (n >= per && atomic_compare_exchange_strong(&p->asked, &n, n % per))
        atomic_fetch_add_explicit(&p->tick, n / per, memory_order_relaxed);
}

/* A slot for an entry that has none: the weakest one of its set. One that was asked for often is
 * worn down first, so that a scan does not empty the table. */
static void
remember(struct sf_policy *p, uint64_t h, struct seen fresh)
{
    _Atomic uint64_t *set = set_of(p, h), *weakest = NULL;
    struct seen least = {0};
    for (int i = 0; i < WAYS; i++) {
        struct seen s = unpack(atomic_load_explicit(&set[i], memory_order_relaxed));
        uint16_t age = (uint16_t)(fresh.tick - s.tick),
                 oldest = (uint16_t)(fresh.tick - least.tick);
        s.count = (uint8_t)worth(p, s);
        if (!weakest || s.count < least.count || (s.count == least.count && age > oldest)) {
            weakest = &set[i];
            least = s;
        }
    }
    if (least.count > 1) {
        least.count--;
        least.tick = fresh.tick;
        fresh = least;
    }
    atomic_store_explicit(weakest, pack(fresh), memory_order_relaxed);
}

/* Two threads at once may lose a count; nothing else rests on these words. */
static void
ask(struct sf_policy *p, uint64_t content, uint32_t chunk, uint64_t bytes, int64_t now_ms, bool hit)
{
    uint64_t h = mix(content, chunk);
    uint16_t stamp = (uint16_t)((uint64_t)now_ms / STAMP_MS & STAMP_MASK), tick = tick_now(p);
    struct seen s;
    _Atomic uint64_t *slot = find(p, h, &s);
    if (!slot) {
        /* an entry that is here was asked for before, whoever forgot it */
        remember(p, h, (struct seen){tag_of(h), hit, hit ? 2 : 1, tick, stamp});
        count_one(p, bytes);
        return;
    }
    bool counts = ((stamp - s.stamp) & STAMP_MASK) >= ONE_USE_MS / STAMP_MS;
    if (!counts && s.used == hit)
        return;
    s.used = hit;
    if (counts) {
        bool far = (uint16_t)(tick - s.tick) > TURN;
        if (far == hit)
            atomic_fetch_add_explicit(&p->balance, hit ? -1 : 1, memory_order_relaxed);
        unsigned n = worth(p, s) + 1;
        s.count = n > COUNT_MAX ? COUNT_MAX : (uint8_t)n;
        s.tick = tick;
        s.stamp = stamp;
    }
    atomic_store_explicit(slot, pack(s), memory_order_relaxed);
    if (counts)
        count_one(p, bytes);
}

static uint32_t
kib_per_tick(uint64_t cached)
{
    uint64_t kib = cached / 1024 / TURN + 1;
    return kib > UINT32_MAX / 2 ? UINT32_MAX / 2 : (uint32_t)kib;
}

int
sf_policy_new(uint64_t max_bytes, struct sf_policy **ret)
{
    uint32_t slots = MIN_SLOTS;
    while (slots < MAX_SLOTS && slots < max_bytes / 16384)
        slots *= 2;
    struct sf_policy *p = calloc(1, sizeof *p + slots * sizeof p->slots[0]);
    if (!p)
        return -ENOMEM;
    p->sets_mask = slots / WAYS - 1;
    p->per_tick = kib_per_tick(max_bytes);
    p->share = SHARE_MIN;
    *ret = p;
    return 0;
}

void
sf_policy_free(struct sf_policy *p)
{
    free(p);
}

void
sf_policy_hit(struct sf_policy *p, uint64_t content, uint32_t chunk, uint64_t bytes, int64_t now_ms)
{
    ask(p, content, chunk, bytes, now_ms, true);
}

enum sf_policy_queue
sf_policy_admit(struct sf_policy *p, uint64_t content, uint32_t chunk, uint64_t bytes,
                int64_t now_ms)
{
    ask(p, content, chunk, bytes, now_ms, false);
    return SF_POLICY_NEW;
}

struct round {
    struct sf_policy *p;
    const struct sf_policy_ops *ops;
    void *arg;
    int64_t now_ms;
    uint64_t freed;
    int promotions; /* since something was evicted */
};

static int
evict(struct round *r, const struct sf_policy_entry *e)
{
    int rc = r->ops->evict(r->arg, e);
    if (rc)
        return rc;
    r->freed += e->bytes;
    r->promotions = 0;
    return 0;
}

static int
push(struct round *r, enum sf_policy_queue queue, struct sf_policy_entry *e)
{
    renew(r->p, e, r->now_ms);
    return r->ops->push(r->arg, queue, e);
}

/* Take the one of the oldest proven entries that was asked for least; the others go to the end. */
static int
take_weakest(struct round *r, struct sf_policy_entry *ret, unsigned *asked)
{
    int rc = r->ops->take(r->arg, SF_POLICY_PROVEN, INT64_MAX, ret);
    if (rc)
        return rc;
    *asked = times_asked(r->p, ret);
    for (int i = 1; *asked && i < SAMPLE; i++) {
        struct sf_policy_entry other, stays;
        rc = r->ops->take(r->arg, SF_POLICY_PROVEN, INT64_MAX, &other);
        if (rc)
            return rc == -ENOENT ? 0 : rc;
        unsigned n = times_asked(r->p, &other);
        stays = other;
        if (n < *asked) {
            stays = *ret;
            *ret = other;
            *asked = n;
        }
        rc = push(r, SF_POLICY_PROVEN, &stays);
        if (rc)
            return rc;
    }
    return 0;
}

/* There is no place for another proven entry: it goes, or the weakest of those that are there. It
 * has to be ahead by more than one time, because in a loop that is too large those that come later
 * in this round are behind by one: so a part of the loop stays. */
static int
contend(struct round *r, struct sf_policy_entry *e)
{
    struct sf_policy_entry weakest;
    unsigned asked;
    int rc = take_weakest(r, &weakest, &asked);
    if (rc == -ENOENT)
        return evict(r, e);
    if (rc)
        return rc;
    struct sf_policy_entry *stays = e, *goes = &weakest;
    if (times_asked(r->p, e) <= asked + MARGIN) {
        stays = &weakest;
        goes = e;
    }
    rc = push(r, SF_POLICY_PROVEN, stays);
    return rc ? rc : evict(r, goes);
}

static int
evict_proven(struct round *r)
{
    struct sf_policy_entry e;
    unsigned asked;
    int rc = take_weakest(r, &e, &asked);
    return rc ? rc : evict(r, &e);
}

/* What the clock is measured by, how much is cached; and the share of the new entries, which grows
 * while plain LRU would do better. */
static void
adapt(struct sf_policy *p, uint64_t bytes, uint64_t entries)
{
    atomic_store_explicit(&p->per_tick, kib_per_tick(bytes), memory_order_relaxed);
    int64_t balance = atomic_exchange_explicit(&p->balance, 0, memory_order_relaxed);
    int64_t share = p->share + balance * (SHARE_SPEED * SHARE_ALL /
                                          (int64_t)(entries < SHARE_ALL ? entries + 1 : SHARE_ALL));
    p->share = (int32_t)(share < SHARE_MIN ? SHARE_MIN : share > SHARE_MAX ? SHARE_MAX : share);
}

static int
step(struct round *r)
{
    struct sf_policy_usage fresh, proven;
    r->ops->usage(r->arg, SF_POLICY_NEW, &fresh);
    r->ops->usage(r->arg, SF_POLICY_PROVEN, &proven);
    uint64_t all = fresh.bytes + proven.bytes;
    adapt(r->p, all, fresh.entries + proven.entries);

    struct sf_policy_entry e;
    uint64_t share = all / SHARE_ALL * (uint64_t)(SHARE_ALL - r->p->share);
    int rc = -ENOENT;
    if (proven.bytes > share)
        rc = evict_proven(r);
    if (rc != -ENOENT)
        return rc;
    rc = r->ops->take(r->arg, SF_POLICY_NEW, INT64_MAX, &e);
    if (rc == -ENOENT)
        return evict_proven(r);
    if (rc)
        return rc;
    if (times_asked(r->p, &e) < PROVEN_MIN)
        return evict(r, &e);
    if (proven.bytes + e.bytes > share || r->promotions++ == PROMOTIONS)
        return contend(r, &e);
    return push(r, SF_POLICY_PROVEN, &e);
}

int
sf_policy_evict(struct sf_policy *p, const struct sf_policy_ops *ops, void *arg, uint64_t want,
                int64_t now_ms, uint64_t *freed)
{
    struct round r = {p, ops, arg, now_ms, 0, 0};
    int rc = 0;
    while (!rc && r.freed < want)
        rc = step(&r);
    *freed = r.freed;
    return rc == -ENOENT ? 0 : rc;
}

int
sf_policy_expire(struct sf_policy *p, const struct sf_policy_ops *ops, void *arg, int64_t before_ms,
                 int64_t now_ms, int max, uint64_t *freed)
{
    struct round r = {p, ops, arg, now_ms, 0, 0};
    int rc = 0, seen = 0;
    for (int q = 0; q < SF_POLICY_QUEUES && !rc; q++) {
        struct sf_policy_entry e;
        while (!rc && seen < max) {
            rc = ops->take(arg, (enum sf_policy_queue)q, before_ms, &e);
            if (rc)
                break;
            seen++;
            rc = used_since(p, &e) ? push(&r, (enum sf_policy_queue)q, &e) : evict(&r, &e);
        }
        if (rc == -ENOENT)
            rc = 0;
    }
    *freed = r.freed;
    return rc ? rc : seen;
}
