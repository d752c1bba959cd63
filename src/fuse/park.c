/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "fuse/park.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/lock.h"
#include "fuse/caller.h"
#include "fuse/internal.h"
#include "http/http.h"
#include "observe/counter.h"
#include "observe/log.h"

/*
 * op.word: bits 32..63 use count of the entry, 8..15 references, 3..7 flags, 0..2 state.
 *
 *   FREE -> START    op_begin(): the interrupt callback is being registered
 *   START -> OPEN    it is; anybody may take the request now
 *   OPEN -> DONE     taken by its completion
 *   OPEN -> ABORTED  taken by interrupt, deadline or end: the completion finds nobody to answer
 *
 * References: the handler's until op_end(), the completion's until it has run, an aborter's.
 */
enum { ST_FREE, ST_START, ST_OPEN, ST_DONE, ST_ABORTED };
#define ST_MASK   UINT64_C(7)
#define F_INTR    (UINT64_C(1) << 3) /* interrupted while in START */
#define F_WATCH   (UINT64_C(1) << 5) /* interrupted by a signal in passing: look again */
#define F_PARKED  (UINT64_C(1) << 4) /* counted in the gauge */
#define REF_ONE   (UINT64_C(1) << 8)
#define REF_MASK  (UINT64_C(0xff) << 8)
#define USE_ONE   (UINT64_C(1) << 32)
#define USE_SHIFT 32

#define CHUNK       256
#define PATIENCE_MS 2000
#define SWEEP_MS    250
#define NONE        UINT32_MAX

struct park {
    struct park_opts opts;
    _Atomic int64_t waiting;
    _Atomic bool armed; /* the sweep's timer runs */
    _Atomic uint64_t timer;
    _Atomic int closing; /* errno for what comes in, 0 = open */

    struct sf_mutex lock; /* leaf; protects the fields below */
    struct sf_cond idle;
    struct op *_Atomic *chunks; /* of CHUNK entries each; written under the lock, read without */
    _Atomic unsigned n_chunks;
    uint32_t free_head;
    unsigned used, apart;
    bool full_said;
};

static struct op *
slot_of(const struct park *p, uint32_t i)
{
    if (i / CHUNK >= atomic_load_explicit(&p->n_chunks, memory_order_acquire))
        return NULL;
    return atomic_load_explicit(&p->chunks[i / CHUNK], memory_order_acquire) + i % CHUNK;
}

static struct park *
park_of(const struct op *op)
{
    return op->fuse->park;
}

int
park_new(const struct park_opts *opts, struct park **ret)
{
    struct park *p = calloc(1, sizeof *p);
    if (!p)
        return -ENOMEM;
    p->opts = *opts;
    p->free_head = NONE;
    p->chunks = calloc((opts->max + opts->max_apart) / CHUNK + 1, sizeof *p->chunks);
    if (!p->chunks) {
        free(p);
        return -ENOMEM;
    }
    sf_mutex_init(&p->lock, 0);
    sf_cond_init(&p->idle);
    *ret = p;
    return 0;
}

/* Every completion has to come. One that does not is a fault; what it was helps to find it. */
static void
say_lost_locked(struct park *p)
{
    for (uint32_t i = 0; i < p->n_chunks * CHUNK; i++) {
        struct op *op = slot_of(p, i);
        if ((atomic_load(&op->word) & ST_MASK) != ST_FREE)
            sf_error("fuse", "event=request-never-completed kind=%s pid=%d", op->kind->name,
                     (int)atomic_load(&op->pid));
    }
}

void
park_free(struct park *p)
{
    if (!p)
        return;
    park_close(p, ENOTCONN);
    if (!sf_http_timer_cancel(p->opts.http, atomic_load(&p->timer)))
        while (atomic_load(&p->armed))
            usleep(1000); /* it runs just now */
    int64_t patience = sf_clock_ms() + PATIENCE_MS;
    sf_mutex_lock(&p->lock);
    while (p->used || p->apart)
        if (sf_cond_timedwait_ms(&p->idle, &p->lock, patience) == -ETIMEDOUT &&
            (p->used || p->apart)) {
            patience = INT64_MAX;
            say_lost_locked(p);
        }
    sf_mutex_unlock(&p->lock);
    for (unsigned i = 0; i < p->n_chunks; i++)
        free(p->chunks[i]);
    free(p->chunks);
    sf_cond_fini(&p->idle);
    sf_mutex_fini(&p->lock);
    free(p);
}

/* ---- entries ----------------------------------------------------------------------------------
 */

static bool
grow_locked(struct park *p)
{
    unsigned n = p->n_chunks;
    struct op *chunk = calloc(CHUNK, sizeof *chunk);
    if (!chunk)
        return false;
    for (unsigned i = CHUNK; i-- > 0;) {
        chunk[i].slot = n * CHUNK + i;
        chunk[i].next_free = p->free_head;
        p->free_head = chunk[i].slot;
    }
    atomic_store_explicit(&p->chunks[n], chunk, memory_order_release);
    atomic_store_explicit(&p->n_chunks, n + 1, memory_order_release);
    return true;
}

static struct op *
slot_get(struct park *p, bool apart)
{
    SF_GUARD(&p->lock);
    unsigned *used = apart ? &p->apart : &p->used;
    unsigned max = apart ? p->opts.max_apart : p->opts.max;
    if (*used >= max || (p->free_head == NONE && !grow_locked(p))) {
        if (apart)
            return NULL;
        if (!p->full_said)
            sf_warn("fuse", "event=too-many-waiting max_parked=%u text=%s", p->opts.max,
                    "further requests fail with EAGAIN; is the project reachable?");
        p->full_said = true;
        return NULL;
    }
    struct op *op = slot_of(p, p->free_head);
    p->free_head = op->next_free;
    ++*used;
    return op;
}

static void
op_unref(struct op *op)
{
    struct park *p = park_of(op);
    uint64_t old = atomic_fetch_sub(&op->word, REF_ONE);
    if ((old & REF_MASK) != REF_ONE)
        return;
    /* The last one: nobody else changes the word of an entry without references. */
    atomic_store(&op->word, ((old >> USE_SHIFT) + 1) << USE_SHIFT | ST_FREE);
    SF_GUARD(&p->lock);
    op->next_free = p->free_head;
    p->free_head = op->slot;
    --*(op->kind->apart ? &p->apart : &p->used);
    if (p->used < p->opts.max / 2)
        p->full_said = false;
    if (!p->used && !p->apart)
        sf_cond_broadcast(&p->idle);
}

/* OPEN -> @to, with @refs more references; *old = the word before. */
static bool
take(struct op *op, uint32_t use, unsigned to, uint64_t refs, uint64_t *old)
{
    uint64_t w = atomic_load(&op->word);
    do {
        if (w >> USE_SHIFT != use || (w & ST_MASK) != ST_OPEN)
            return false;
    } while (!atomic_compare_exchange_weak(&op->word, &w, ((w & ~ST_MASK) | to) + refs));
    *old = w;
    return true;
}

static void
unpark(struct park *p, uint64_t old)
{
    if (old & F_PARKED) {
        atomic_fetch_sub(&p->waiting, 1);
        sf_gauge_add(SF_G_PARKED, -1);
    }
}

static void
cancel_work(struct op *op, uint64_t id)
{
    if (id && op->kind->cancel)
        op->kind->cancel(op, id);
    else if (id)
        sf_tree_cancel(park_of(op)->opts.tree, id);
}

/* Answer a request that waits, and let what works for it know. */
static bool
op_abort(struct op *op, uint32_t use, int err)
{
    uint64_t old;
    if (!take(op, use, ST_ABORTED, REF_ONE, &old))
        return false;
    struct park *p = park_of(op);
    unpark(p, old);
    fuse_reply_err(atomic_load(&op->req), err);
    cancel_work(op, atomic_exchange(&op->cancel, 0));
    op_unref(op);
    return true;
}

/* ---- the life of a request --------------------------------------------------------------------
 */

/* Called by libfuse while it holds the request's lock, perhaps late: @data is no pointer but slot
 * and use count. Must not call fuse_req_interrupt_func(), may reply. */
static void
interrupted(fuse_req_t req, void *data)
{
    struct sf_fuse *f = fuse_req_userdata(req);
    uint64_t id = (uint64_t)(uintptr_t)data;
    uint32_t use = (uint32_t)(id >> USE_SHIFT);
    struct op *op = slot_of(f->park, (uint32_t)id);
    uint64_t w = op ? atomic_load(&op->word) : 0;
    if (!op)
        return;
    /* A signal in passing does not end the request. The kernel tells of one signal only; the sweep
     * looks for those that come later. */
    if (!caller_stops(fuse_req_ctx(req)->pid)) {
        while (w >> USE_SHIFT == use && ((w & ST_MASK) == ST_START || (w & ST_MASK) == ST_OPEN))
            if (atomic_compare_exchange_weak(&op->word, &w, w | F_WATCH))
                return;
        return;
    }
    /* Being registered: a reply now would free what libfuse holds. op_begin() sees the flag. */
    while (w >> USE_SHIFT == use && (w & ST_MASK) == ST_START)
        if (atomic_compare_exchange_weak(&op->word, &w, w | F_INTR))
            return;
    if (op_abort(op, use, EINTR))
        sf_count(SF_C_FUSE_INTERRUPTS, 1);
}

struct op *
op_begin(struct sf_fuse *f, fuse_req_t req, const struct op_kind *kind)
{
    struct park *p = f->park;
    int closing = atomic_load_explicit(&p->closing, memory_order_relaxed);
    struct op *op = closing ? NULL : slot_get(p, kind->apart);
    sf_count(SF_C_FUSE_REQUESTS, 1);
    if (!op) {
        fuse_reply_err(req, closing ? closing : EAGAIN);
        return NULL;
    }
    uint64_t use = atomic_load(&op->word) >> USE_SHIFT;
    int64_t limit = kind->change ? p->opts.change_ms : p->opts.read_ms;
    op->fuse = f;
    op->kind = kind;
    op->dir = NULL;
    atomic_store_explicit(&op->req, req, memory_order_relaxed);
    atomic_store_explicit(&op->pid, fuse_req_ctx(req)->pid, memory_order_relaxed);
    atomic_store_explicit(&op->cancel, 0, memory_order_relaxed);
    atomic_store_explicit(&op->deadline_ms, kind->send ? INT64_MAX : sf_clock_ms() + limit,
                          memory_order_relaxed);
    atomic_store(&op->word, use << USE_SHIFT | 2 * REF_ONE | ST_START);
    fuse_req_interrupt_func(req, interrupted, (void *)(uintptr_t)(use << USE_SHIFT | op->slot));

    uint64_t w = atomic_load(&op->word);
    while (!(w & F_INTR))
        if (atomic_compare_exchange_weak(&op->word, &w, (w & ~ST_MASK) | ST_OPEN))
            return op;
    sf_count(SF_C_FUSE_INTERRUPTS, 1);
    fuse_reply_err(req, EINTR);
    op_unref(op);
    op_unref(op);
    return NULL;
}

void
op_done(void *arg, int err, const struct sf_tree_result *res)
{
    struct op *op = arg;
    uint64_t old = atomic_load(&op->word);
    bool wanted = take(op, (uint32_t)(old >> USE_SHIFT), ST_DONE, 0, &old);
    fuse_req_t req = atomic_load_explicit(&op->req, memory_order_relaxed);
    if (wanted)
        unpark(park_of(op), old);
    if (err) {
        /* A program knows nothing of what the tree cancels, but it does of turns of a chat (R7). */
        bool hidden = err == -ECANCELED && !op->kind->cancel;
        if (wanted)
            fuse_reply_err(req, hidden ? EIO : -err);
    } else if ((!wanted || op->kind->reply(op, res) != 0) && op->kind->undo) {
        op->kind->undo(op, res);
    }
    op_unref(op);
}

/* ---- deadlines --------------------------------------------------------------------------------
 */

static void sweep(void *arg);

static void
arm(struct park *p)
{
    if (atomic_load(&p->closing) || atomic_exchange(&p->armed, true))
        return;
    uint64_t id = sf_http_timer(p->opts.http, sf_clock_ms() + SWEEP_MS, sweep, p);
    atomic_store(&p->timer, id);
    if (!id)
        atomic_store(&p->armed, false);
}

static void
sweep_one(struct op *op, int64_t now)
{
    uint64_t w = atomic_load(&op->word);
    uint32_t use = (uint32_t)(w >> USE_SHIFT);
    if ((w & ST_MASK) != ST_OPEN)
        return;
    if (atomic_load(&op->deadline_ms) <= now) {
        if (op_abort(op, use, ETIMEDOUT))
            sf_count(SF_C_FUSE_TIMEOUTS, 1);
    } else if (w & F_WATCH && caller_stops(atomic_load(&op->pid))) {
        if (op_abort(op, use, EINTR))
            sf_count(SF_C_FUSE_INTERRUPTS, 1);
    }
}

static void
sweep(void *arg)
{
    struct park *p = arg;
    int64_t now = sf_clock_ms();
    unsigned n = atomic_load(&p->n_chunks) * CHUNK;
    for (unsigned i = 0; i < n && atomic_load(&p->waiting) > 0; i++)
        sweep_one(slot_of(p, i), now);
    atomic_store(&p->armed, false);
    if (atomic_load(&p->waiting) > 0)
        arm(p);
}

void
op_end(struct op *op, uint64_t cancel)
{
    struct park *p = park_of(op);
    uint64_t w = atomic_load(&op->word);
    if ((w & ST_MASK) == ST_OPEN) {
        /* Count before the flag is there: who takes the request subtracts. */
        sf_gauge_peak(SF_G_PARKED_PEAK, sf_gauge_add(SF_G_PARKED, 1));
        atomic_fetch_add(&p->waiting, 1);
        atomic_store(&op->cancel, cancel);
        while ((w & ST_MASK) == ST_OPEN &&
               !atomic_compare_exchange_weak(&op->word, &w, w | F_PARKED))
            ;
        if ((w & ST_MASK) != ST_OPEN)
            unpark(p, F_PARKED);
        else if (atomic_load(&p->closing)) /* park_close() may have passed by it before */
            op_abort(op, (uint32_t)(w >> USE_SHIFT), atomic_load(&p->closing));
        else
            arm(p);
    }
    /* Taken by an interrupt that did not know yet what to cancel. */
    if ((w & ST_MASK) == ST_ABORTED) {
        atomic_exchange(&op->cancel, 0);
        cancel_work(op, cancel);
    }
    op_unref(op);
}

void
park_close(struct park *p, int err)
{
    atomic_store(&p->closing, err);
    unsigned n = atomic_load(&p->n_chunks) * CHUNK;
    for (unsigned i = 0; i < n; i++) {
        struct op *op = slot_of(p, i);
        op_abort(op, (uint32_t)(atomic_load(&op->word) >> USE_SHIFT), err);
    }
}

uint64_t
park_waiting(const struct park *p)
{
    int64_t n = atomic_load(&p->waiting);
    return n > 0 ? (uint64_t)n : 0;
}
