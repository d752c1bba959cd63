/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "cache/predict.h"

#include "base/cleanup.h"
#include "base/htab.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define KIB INT64_C(1024)

enum {
    MAX_DIRS = 64,
    MAX_PLANS = 8,
    MAX_PLAN = 2048,   /* files of a directory that are looked at */
    MAX_STAKES = 1024, /* files at stake, and those that were written off lately */
    RECENT = 4,        /* opened last */
    GAP_MS = 2000,     /* a longer pause ends a walk */
    STAKE_MS = 60000,  /* what is not opened in this time was fetched for nothing */
    WALK = 3,          /* files opened: a walk; one is enough while others go well */
    GOING_WELL_MS = 5000,
    CHAIN = 4,       /* followers of followers */
    EARN_SHIFT = 5,  /* a 32nd of what is opened */
    SAVE_AFTER = 32, /* pairs */
    PATIENCE = 8,    /* misses before what is at stake is written off */
};

static const int64_t credit_first = 1024 * KIB, credit_max = 8192 * KIB, credit_retry = 64 * KIB;

/* Of a step that fits an order; older ones count three quarters. Two in a row are an order. */
enum { STEP = 256, IN_ORDER = STEP + STEP * 3 / 4 };

enum order { LIST_UP, LIST_DOWN, NUMBER_UP, NUMBER_DOWN, ORDERS };

struct candidate {
    uint64_t id;
    uint32_t size;     /* UINT32_MAX: or more */
    uint32_t list;     /* place among the files, by the listing */
    uint32_t place;    /* in the listing */
    bool opened, done; /* done: fetched, or need not be */
};

/* The files of a directory as they were when a walk was seen, in the order of numbers in their
 * names. */
struct plan {
    uint64_t version;
    size_t n, left; /* left: small ones that are not done */
    size_t all;     /* entries of the listing, and of these not in it: */
    size_t before, behind;
    uint32_t *listed; /* by place in the listing: index of the file */
    struct candidate c[];
};

struct stake_key {
    uint64_t dir, id;
};

struct stake {
    struct stake_key key;
    uint32_t bytes;
    bool written_off; /* kept for a while: it may have been only early */
    int64_t at_ms;
    UT_hash_handle hh;
};

struct dir {
    uint64_t key;
    int64_t last_ms;
    uint64_t recent[RECENT];   /* newest first */
    unsigned n_recent, opened; /* files opened in this walk */
    bool walked;               /* it has had its first credit */
    int gain;                  /* times the bytes of what was used that credit grows by */
    int64_t credit;            /* bytes that may be at stake */
    uint64_t at_stake;
    unsigned stakes, misses; /* misses: since something was used */
    unsigned score[ORDERS];
    size_t at;        /* in the plan: opened last */
    unsigned outside; /* opens in a row that the plan has not */
    unsigned vain;    /* plans made for that with nothing used since */
    struct plan *plan;
    struct sf_follow follow;
    unsigned learned;   /* pairs, since it was saved */
    bool missed, asked; /* for what was saved of it */
    bool whole;         /* that is in it */
    UT_hash_handle hh;
};

struct sf_predict {
    struct sf_predict_opts opts;
    struct dir *dirs;     /* least recently used first */
    struct stake *stakes; /* oldest first */
    unsigned plans;
    int64_t credit, used_ms; /* used_ms: when something was used last */
    struct sf_predict_stats stats;
};

int
sf_predict_new(const struct sf_predict_opts *opts, struct sf_predict **ret)
{
    struct sf_predict *p = calloc(1, sizeof *p);
    if (!p)
        return -ENOMEM;
    p->opts = *opts;
    p->credit = credit_first;
    p->used_ms = INT64_MIN / 2;
    *ret = p;
    return 0;
}

/* ---- directories ---------------------------------------------------------------------------- */

static void
plan_drop(struct sf_predict *p, struct dir *d)
{
    if (!d->plan)
        return;
    free(d->plan->listed);
    free(sf_steal(d->plan));
    p->plans--;
}

static void
save(struct sf_predict *p, struct dir *d)
{
    if (d->learned && p->opts.save)
        p->opts.save(p->opts.arg, d->key, &d->follow, d->whole);
    d->learned = 0;
}

static void
dir_drop(struct sf_predict *p, struct dir *d)
{
    save(p, d);
    plan_drop(p, d);
    HASH_DEL(p->dirs, d);
    free(d);
}

static struct dir *
dir_find(const struct sf_predict *p, uint64_t key)
{
    struct dir *d;
    HASH_FIND(hh, p->dirs, &key, sizeof key, d);
    return d;
}

/* Find or make; it is the most recently used one then. NULL = no memory. */
static struct dir *
dir_use(struct sf_predict *p, uint64_t key)
{
    struct dir *d = dir_find(p, key);
    if (d) {
        HASH_DEL(p->dirs, d);
        memset(&d->hh, 0, sizeof d->hh);
    } else {
        d = calloc(1, sizeof *d);
        if (!d)
            return NULL;
        d->key = key;
        d->last_ms = INT64_MIN / 2;
    }
    HASH_ADD(hh, p->dirs, key, sizeof d->key, d);
    if (!SF_HTAB_ADDED(d)) {
        if (d->plan)
            plan_drop(p, d);
        free(d);
        return NULL;
    }
    if (HASH_COUNT(p->dirs) > MAX_DIRS)
        dir_drop(p, p->dirs);
    return d;
}

bool
sf_predict_wants_learned(struct sf_predict *p, uint64_t dir)
{
    struct dir *d = dir_find(p, dir);
    bool wants = d && d->missed && !d->asked;
    if (wants)
        d->asked = true;
    return wants;
}

void
sf_predict_restore(struct sf_predict *p, uint64_t dir, const struct sf_follow *learned)
{
    struct dir *d = dir_find(p, dir);
    if (!d || d->whole)
        return;
    d->whole = true;
    if (!learned)
        return;
    struct sf_follow all = *learned;
    sf_follow_merge(&all, &d->follow);
    d->follow = all;
}

/* ---- what is at stake ----------------------------------------------------------------------- */

static void
earn(int64_t *credit, int64_t bytes)
{
    *credit += bytes;
    if (*credit > credit_max)
        *credit = credit_max;
    if (*credit < 0)
        *credit = 0;
}

static void
stake_end(struct sf_predict *p, struct dir *d, const struct stake *s)
{
    p->stats.at_stake -= s->bytes;
    if (d) {
        d->at_stake -= s->bytes;
        d->stakes--;
    }
}

static void
stake_free(struct sf_predict *p, struct stake *s)
{
    HASH_DEL(p->stakes, s);
    free(s);
}

static void
write_off(struct sf_predict *p, struct dir *d, struct stake *s)
{
    stake_end(p, d, s);
    s->written_off = true;
    p->stats.unused++;
    p->stats.unused_bytes += s->bytes;
    earn(&p->credit, -(int64_t)s->bytes);
    if (d)
        earn(&d->credit, d->gain * (int64_t)s->bytes);
}

static void
write_off_dir(struct sf_predict *p, struct dir *d)
{
    struct stake *s, *next;
    HASH_ITER (hh, p->stakes, s, next)
        if (s->key.dir == d->key && !s->written_off)
            write_off(p, d, s);
    d->credit = 0;
    d->misses = 0;
    memset(d->score, 0, sizeof d->score);
}

static void
expire(struct sf_predict *p, int64_t now_ms)
{
    struct stake *s, *next;
    HASH_ITER (hh, p->stakes, s, next) {
        if (now_ms - s->at_ms < STAKE_MS && HASH_COUNT(p->stakes) < MAX_STAKES)
            return;
        if (!s->written_off)
            write_off(p, dir_find(p, s->key.dir), s);
        stake_free(p, s);
    }
}

static struct stake *
stake_find(struct sf_predict *p, uint64_t dir, uint64_t id)
{
    struct stake_key key = {dir, id};
    struct stake *s;
    HASH_FIND(hh, p->stakes, &key, sizeof key, s);
    return s;
}

void
sf_predict_was_here(struct sf_predict *p, uint64_t dir, uint64_t id)
{
    struct stake *s = stake_find(p, dir, id);
    if (!s)
        return;
    if (!s->written_off)
        stake_end(p, dir_find(p, dir), s);
    p->stats.files--;
    p->stats.bytes -= s->bytes;
    stake_free(p, s);
}

void
sf_predict_lost(struct sf_predict *p, uint64_t dir, uint64_t id)
{
    struct stake *s = stake_find(p, dir, id);
    if (!s)
        return;
    if (!s->written_off)
        write_off(p, dir_find(p, dir), s);
    stake_free(p, s);
}

/* Misses until what is at stake is given up: three times as many as a walk without order would have
 * on average. */
static unsigned
patience(const struct dir *d)
{
    size_t left = d->plan ? d->plan->left : 0;
    return PATIENCE + 3 * (unsigned)(left / d->stakes);
}

/* Was it fetched ahead? Then that was right. */
static bool
settle(struct sf_predict *p, struct dir *d, const struct sf_predict_open *o)
{
    struct stake *s = stake_find(p, o->dir, o->id);
    if (!s)
        return false;
    if (s->written_off)
        earn(&p->credit, s->bytes); /* it was only early */
    else
        stake_end(p, d, s);
    p->stats.used++;
    p->stats.used_bytes += s->bytes;
    earn(&p->credit, s->bytes);
    earn(&d->credit, d->gain * (int64_t)s->bytes);
    p->used_ms = o->now_ms;
    d->misses = d->vain = 0;
    stake_free(p, s);
    return true;
}

static void
missed(struct sf_predict *p, struct dir *d, const struct sf_predict_open *o)
{
    int64_t share = (int64_t)(o->size >> EARN_SHIFT);
    earn(&p->credit, share);
    if (d->walked)
        earn(&d->credit, share);
    if (d->stakes && ++d->misses > patience(d))
        write_off_dir(p, d);
}

static uint64_t
allowed(const struct sf_predict *p, const struct dir *d)
{
    int64_t a = p->credit - (int64_t)p->stats.at_stake, b = d->credit - (int64_t)d->at_stake;
    int64_t c = (int64_t)p->opts.max_ahead - (int64_t)p->stats.at_stake;
    a = a < b ? a : b;
    a = a < c ? a : c;
    return a < 0 ? 0 : (uint64_t)a;
}

/* 1 = fetched, 0 = not needed, -EAGAIN = not now. */
static int
fetch(struct sf_predict *p, struct dir *d, struct candidate *c, uint64_t bytes, int64_t now_ms,
      const struct sf_predict_ops *ops, void *arg)
{
    if (stake_find(p, d->key, c->id))
        return 0;
    struct stake *s = calloc(1, sizeof *s);
    if (!s)
        return -EAGAIN;
    s->key = (struct stake_key){d->key, c->id};
    s->bytes = (uint32_t)bytes;
    s->at_ms = now_ms;
    int rc = ops->fetch(arg, c->id, c->place, bytes);
    if (rc <= 0) {
        free(s);
        return rc;
    }
    HASH_ADD(hh, p->stakes, key, sizeof s->key, s);
    if (!SF_HTAB_ADDED(s)) {
        free(s);
        return 1;
    }
    p->stats.files++;
    p->stats.bytes += bytes;
    p->stats.at_stake += bytes;
    d->at_stake += bytes;
    d->stakes++;
    return 1;
}

/* ---- the files of a directory --------------------------------------------------------------- */

struct named {
    const char *name;
    struct candidate c;
};

static int
by_number(const void *a, const void *b)
{
    return strverscmp(((const struct named *)a)->name, ((const struct named *)b)->name);
}

static bool
is_small(const struct candidate *c)
{
    return c->size > 0 && c->size <= SF_PREDICT_SMALL;
}

static uint32_t
small_size(const struct candidate *c)
{
    return is_small(c) ? c->size : 0;
}

static struct plan *
plan_make(const struct sf_predict_ops *ops, void *arg)
{
    uint64_t version = 0;
    size_t all = ops->count(arg, &version), first = 0, last = all, n = 0;
    if (all > MAX_PLAN) {
        size_t at = ops->position(arg);
        first = at >= all || at < MAX_PLAN / 2 ? 0 : at - MAX_PLAN / 2;
        last = all - first > MAX_PLAN ? first + MAX_PLAN : all;
    }
    struct named *files = calloc(last - first + 1, sizeof *files);
    if (!files)
        return NULL;
    for (size_t i = first; i < last; i++) {
        struct sf_predict_file f;
        if (ops->at(arg, i, &f)) {
            uint32_t size = f.size < UINT32_MAX ? (uint32_t)f.size : UINT32_MAX;
            files[n] = (struct named){
                f.name, {.id = f.id, .size = size, .list = (uint32_t)n, .place = (uint32_t)i}};
            n++;
        }
    }
    qsort(files, n, sizeof *files, by_number);
    struct plan *plan = calloc(1, sizeof *plan + n * sizeof plan->c[0]);
    uint32_t *listed = calloc(n + 1, sizeof *listed);
    if (plan && listed) {
        *plan = (struct plan){.version = version, .n = n, .listed = sf_steal(listed)};
        plan->all = all;
        plan->before = first;
        plan->behind = all - last;
        for (size_t i = 0; i < n; i++) {
            plan->c[i] = files[i].c;
            plan->listed[files[i].c.list] = (uint32_t)i;
            plan->left += is_small(&plan->c[i]);
        }
    }
    if (plan && !plan->listed)
        free(sf_steal(plan));
    free(listed);
    free(files);
    return plan;
}

/* Often it is the next one of the listing, or near @from; n = it has none of this id. */
static size_t
plan_find(const struct plan *plan, size_t from, uint64_t id)
{
    if (from >= plan->n)
        return plan->n;
    size_t next = plan->c[from].list + 1;
    if (next < plan->n && plan->c[plan->listed[next]].id == id)
        return plan->listed[next];
    for (size_t i = 0, at = from; i < plan->n; i++, at = at + 1 < plan->n ? at + 1 : 0)
        if (plan->c[at].id == id)
            return at;
    return plan->n;
}

static void
done(struct plan *plan, struct candidate *c)
{
    if (!c->done && is_small(c))
        plan->left--;
    c->done = true;
}

/* Does the step from the file opened before fit an order? Up to two may be left out. */
static void
score(struct dir *d, size_t at)
{
    const struct candidate *c = d->plan->c;
    int64_t number = (int64_t)at - (int64_t)d->at, list = (int64_t)c[at].list - c[d->at].list;
    const int64_t steps[ORDERS] = {
        [LIST_UP] = list, [LIST_DOWN] = -list, [NUMBER_UP] = number, [NUMBER_DOWN] = -number};
    for (int o = 0; o < ORDERS; o++)
        d->score[o] = d->score[o] * 3 / 4 + (steps[o] >= 1 && steps[o] <= 3 ? STEP : 0);
}

static void
moved_to(struct dir *d, uint64_t id, bool first)
{
    size_t at = plan_find(d->plan, d->at, id);
    if (at == d->plan->n) {
        d->outside++;
        memset(d->score, 0, sizeof d->score);
        return;
    }
    d->outside = 0;
    if (!first)
        score(d, at);
    d->at = at;
    d->plan->c[at].opened = true;
    done(d->plan, &d->plan->c[at]);
}

/* Without an order, the rest of the listing. */
static enum order
best_order(const struct dir *d)
{
    enum order best = LIST_UP;
    for (enum order o = LIST_UP; o < ORDERS; o++)
        if (d->score[o] > d->score[best])
            best = o;
    return best;
}

/* The plan of a large directory is of a part of it. Is the reader elsewhere by now, or will it soon
 * be? A reader without a pattern always is: less and less is done for it. */
static bool
left_behind(struct dir *d, size_t all)
{
    const struct plan *plan = d->plan;
    if (d->outside) {
        if ((all == plan->all && !plan->before && !plan->behind) || d->outside < (unsigned)WALK
                                                                                     << d->vain)
            return false;
        d->vain += d->vain < 4;
        d->outside = 0;
        return true;
    }
    enum order o = best_order(d);
    size_t at = d->at < plan->n ? plan->c[d->at].list : 0;
    return d->score[o] >= IN_ORDER &&
           ((o == LIST_UP && plan->behind && plan->n - at < MAX_PLAN / 8) ||
            (o == LIST_DOWN && plan->before && at < MAX_PLAN / 8));
}

/* The directory's plan, of its present version; NULL = none. */
static struct plan *
plan_of(struct sf_predict *p, struct dir *d, const struct sf_predict_ops *ops, void *arg)
{
    uint64_t version;
    size_t n = ops->count(arg, &version);
    if (d->plan && (n == 0 || d->plan->version != version || left_behind(d, n)))
        plan_drop(p, d);
    if (d->plan || n == 0)
        return d->plan;
    while (p->plans >= MAX_PLANS)
        for (struct dir *old = p->dirs; old; old = old->hh.next)
            if (old->plan) {
                plan_drop(p, old);
                break;
            }
    d->plan = plan_make(ops, arg);
    if (!d->plan)
        return NULL;
    p->plans++;
    d->at = 0;
    for (unsigned i = d->n_recent; i-- > 0;)
        moved_to(d, d->recent[i], i + 1 == d->n_recent);
    return d->plan;
}

/* ---- decisions ------------------------------------------------------------------------------ */

/* The @k-th file after the one that was opened last; NULL = the order ends before. Without an order
 * the rest begins again at the other end. */
static struct candidate *
in_order(const struct dir *d, enum order o, size_t k)
{
    struct plan *plan = d->plan;
    bool up = o == LIST_UP || o == NUMBER_UP, list = o == LIST_UP || o == LIST_DOWN;
    size_t at = list ? plan->c[d->at].list : d->at;
    if (d->score[o] >= IN_ORDER && k > (up ? plan->n - 1 - at : at))
        return NULL;
    at = (up ? at + k : at + plan->n - k) % plan->n;
    return &plan->c[list ? plan->listed[at] : at];
}

/* How much to begin with. In an order, half of all credit; without one it depends on how soon
 * something would be used if this is a walk: at once where all of the directory fits, soon where a
 * part of it does that is worth mentioning; else next to nothing. */
static void
first_credit(struct sf_predict *p, struct dir *d)
{
    if (d->walked)
        return;
    int64_t rest = 0, mean;
    for (size_t i = 0; i < d->plan->n; i++)
        rest += d->plan->c[i].done ? 0 : (int64_t)small_size(&d->plan->c[i]);
    mean = rest / (int64_t)(d->plan->left + 1);
    d->gain = 4;
    if (d->score[best_order(d)] >= IN_ORDER || rest <= p->credit / 2) {
        d->credit = p->credit / 2;
    } else if (rest <= 4 * p->credit) {
        d->credit = p->credit / 4;
    } else {
        d->credit = mean * 4 < credit_retry ? mean * 4 : credit_retry;
        d->gain = 1;
    }
    d->walked = true;
    p->stats.walks++;
}

static void
walk(struct sf_predict *p, struct dir *d, int64_t now_ms, const struct sf_predict_ops *ops,
     void *arg)
{
    struct plan *plan = plan_of(p, d, ops, arg);
    if (!plan || !plan->left || d->outside)
        return;
    first_credit(p, d);
    enum order o = best_order(d);
    if (d->score[o] >= IN_ORDER && d->credit < credit_retry)
        d->credit = credit_retry; /* worth another try */
    for (size_t k = 1; k < plan->n && plan->left; k++) {
        struct candidate *c = in_order(d, o, k);
        if (!c)
            return;
        if (c->done || !is_small(c))
            continue;
        if (c->size > allowed(p, d) || fetch(p, d, c, c->size, now_ms, ops, arg) < 0)
            return;
        done(plan, c);
    }
}

static void
follow(struct sf_predict *p, struct dir *d, const struct sf_predict_open *o,
       const struct sf_predict_ops *ops, void *arg)
{
    uint32_t at = (uint32_t)o->id, next;
    for (int i = 0; i < CHAIN && !sf_follow_next(&d->follow, at, 1, (uint32_t)o->id, &next);
         i++, at = next) {
        struct plan *plan = plan_of(p, d, ops, arg);
        if (!plan)
            return;
        first_credit(p, d);
        size_t k = 0;
        while (k < plan->n && (uint32_t)plan->c[k].id != next)
            k++;
        if (k == plan->n || plan->c[k].size == 0)
            return;
        uint64_t bytes = plan->c[k].size < SF_PREDICT_HEAD ? plan->c[k].size : SF_PREDICT_HEAD;
        if (bytes > allowed(p, d) || fetch(p, d, &plan->c[k], bytes, o->now_ms, ops, arg) < 0)
            return;
        done(plan, &plan->c[k]);
    }
}

/* What orders tell needs no learning. */
static void
learn(struct sf_predict *p, struct dir *d, const struct sf_predict_open *o)
{
    uint64_t before = d->n_recent ? d->recent[0] : o->id;
    if (before == o->id || o->now_ms - d->last_ms > GAP_MS)
        return;
    if (d->plan && o->size <= SF_PREDICT_SMALL && d->score[best_order(d)] >= IN_ORDER)
        return;
    sf_follow_learn(&d->follow, (uint32_t)before, (uint32_t)o->id);
    if (++d->learned == SAVE_AFTER)
        save(p, d);
}

static void
remember(struct dir *d, const struct sf_predict_open *o)
{
    bool again = false;
    for (unsigned i = 0; i < d->n_recent; i++)
        again |= d->recent[i] == o->id;
    if (again)
        return;
    memmove(d->recent + 1, d->recent, (RECENT - 1) * sizeof d->recent[0]);
    d->recent[0] = o->id;
    d->n_recent += d->n_recent < RECENT;
    if (d->plan)
        moved_to(d, o->id, false);
    d->opened += o->size <= SF_PREDICT_SMALL;
}

static void
decide(struct sf_predict *p, struct dir *d, const struct sf_predict_open *o,
       const struct sf_predict_ops *ops, void *arg)
{
    follow(p, d, o, ops, arg);
    bool well = p->credit >= 2 * credit_first && o->now_ms - p->used_ms <= GOING_WELL_MS;
    if (o->size <= SF_PREDICT_SMALL && d->opened >= (well ? 1 : WALK))
        walk(p, d, o->now_ms, ops, arg);
}

void
sf_predict_opened(struct sf_predict *p, const struct sf_predict_open *o,
                  const struct sf_predict_ops *ops, void *arg)
{
    struct dir *d = dir_use(p, o->dir);
    if (!d)
        return;
    expire(p, o->now_ms);
    bool used = settle(p, d, o);
    learn(p, d, o);
    if (o->now_ms - d->last_ms > GAP_MS) {
        d->n_recent = d->opened = 0;
        memset(d->score, 0, sizeof d->score);
    }
    d->last_ms = o->now_ms;
    remember(d, o);
    if (used)
        decide(p, d, o, ops, arg);
}

void
sf_predict_missed(struct sf_predict *p, const struct sf_predict_open *o,
                  const struct sf_predict_ops *ops, void *arg)
{
    struct dir *d = dir_find(p, o->dir);
    if (!d)
        return;
    d->missed = true;
    missed(p, d, o);
    decide(p, d, o, ops, arg);
}

void
sf_predict_get_stats(const struct sf_predict *p, struct sf_predict_stats *ret)
{
    *ret = p->stats;
}

void
sf_predict_free(struct sf_predict *p)
{
    if (!p)
        return;
    while (p->dirs)
        dir_drop(p, p->dirs);
    while (p->stakes)
        stake_free(p, p->stakes);
    free(p);
}
