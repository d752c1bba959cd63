/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "base/lock.h"

#include "base/clock.h"

#include <errno.h>
#include <time.h>

/* A waiter looks at CLOCK_BOOTTIME at least this often, because pthread can only wait on MONOTONIC.
 */
#define WAIT_SLICE_MS 5000

/* The address of a thread-local object is an identity that costs no call. */
static _Thread_local char self_mark;

#ifdef SF_LOCK_CHECK
#define HELD_MAX 16

/* Ordered mutexes that this thread holds, oldest first. */
static _Thread_local const struct sf_mutex *held[HELD_MAX];
static _Thread_local int held_count;

/* Leaves that this thread holds. */
static _Thread_local int held_leaves;

static void
order_check(const struct sf_mutex *m)
{
    if (!m->order)
        return;
    assert(!held_leaves && "a mutex with an order is taken under a leaf, see docs/threads.md");
    for (int i = 0; i < held_count; i++)
        assert(held[i]->order < m->order && "lock order violated, see docs/threads.md");
}

static void
order_push(const struct sf_mutex *m)
{
    if (!m->order) {
        held_leaves++;
        return;
    }
    assert(held_count < HELD_MAX);
    held[held_count++] = m;
}

static void
order_pop(const struct sf_mutex *m)
{
    if (!m->order) {
        held_leaves--;
        return;
    }
    int i = held_count;
    while (i > 0 && held[i - 1] != m)
        i--;
    assert(i > 0 && "unlock of a mutex that this thread does not hold");
    for (; i < held_count; i++)
        held[i - 1] = held[i];
    held_count--;
}
#else
static inline void
order_check(const struct sf_mutex *m)
{
    (void)m;
}

static inline void
order_push(const struct sf_mutex *m)
{
    (void)m;
}

static inline void
order_pop(const struct sf_mutex *m)
{
    (void)m;
}
#endif

static void
owner_set(struct sf_mutex *m, uintptr_t owner)
{
    atomic_store_explicit(&m->owner, owner, memory_order_relaxed);
}

void
sf_mutex_init(struct sf_mutex *m, int order)
{
    pthread_mutexattr_t attr;
    int rc = pthread_mutexattr_init(&attr);
    assert(rc == 0);
#ifdef SF_LOCK_CHECK
    pthread_mutexattr_settype(&attr, PTHREAD_MUTEX_ERRORCHECK);
#endif
    rc = pthread_mutex_init(&m->m, &attr);
    assert(rc == 0);
    (void)rc;
    pthread_mutexattr_destroy(&attr);
    atomic_init(&m->owner, 0);
    m->order = order;
}

void
sf_mutex_fini(struct sf_mutex *m)
{
    int rc = pthread_mutex_destroy(&m->m);
    assert(rc == 0 && "destroying a mutex that is held");
    (void)rc;
}

void
sf_mutex_lock(struct sf_mutex *m)
{
    order_check(m);
    int rc = pthread_mutex_lock(&m->m);
    assert(rc == 0 && "locking a mutex twice");
    (void)rc;
    owner_set(m, (uintptr_t)&self_mark);
    order_push(m);
}

bool
sf_mutex_trylock(struct sf_mutex *m)
{
    int rc = pthread_mutex_trylock(&m->m);
    if (rc)
        return false;
    owner_set(m, (uintptr_t)&self_mark);
    order_push(m);
    return true;
}

void
sf_mutex_unlock(struct sf_mutex *m)
{
    order_pop(m);
    owner_set(m, 0);
    int rc = pthread_mutex_unlock(&m->m);
    assert(rc == 0 && "unlock of a mutex that this thread does not hold");
    (void)rc;
}

bool
sf_mutex_held(const struct sf_mutex *m)
{
    return atomic_load_explicit(&m->owner, memory_order_relaxed) == (uintptr_t)&self_mark;
}

void
sf_cond_init(struct sf_cond *c)
{
    pthread_condattr_t attr;
    int rc = pthread_condattr_init(&attr);
    assert(rc == 0);
    rc = pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    assert(rc == 0);
    rc = pthread_cond_init(&c->c, &attr);
    assert(rc == 0);
    (void)rc;
    pthread_condattr_destroy(&attr);
}

void
sf_cond_fini(struct sf_cond *c)
{
    pthread_cond_destroy(&c->c);
}

void
sf_cond_signal(struct sf_cond *c)
{
    pthread_cond_signal(&c->c);
}

void
sf_cond_broadcast(struct sf_cond *c)
{
    pthread_cond_broadcast(&c->c);
}

void
sf_cond_wait(struct sf_cond *c, struct sf_mutex *m)
{
    SF_ASSERT_HELD(m);
    owner_set(m, 0);
    int rc = pthread_cond_wait(&c->c, &m->m);
    assert(rc == 0);
    (void)rc;
    owner_set(m, (uintptr_t)&self_mark);
}

/* Wait at most @ms. Returns 0 when woken, ETIMEDOUT after the time. */
static int
wait_slice(struct sf_cond *c, struct sf_mutex *m, int64_t ms)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    ts.tv_sec += ms / 1000;
    ts.tv_nsec += ms % 1000 * 1000000;
    if (ts.tv_nsec >= 1000000000) {
        ts.tv_nsec -= 1000000000;
        ts.tv_sec++;
    }
    owner_set(m, 0);
    int rc = pthread_cond_timedwait(&c->c, &m->m, &ts);
    assert(rc == 0 || rc == ETIMEDOUT);
    owner_set(m, (uintptr_t)&self_mark);
    return rc;
}

int
sf_cond_timedwait_ms(struct sf_cond *c, struct sf_mutex *m, int64_t deadline_ms)
{
    SF_ASSERT_HELD(m);
    for (;;) {
        int64_t left = deadline_ms - sf_clock_ms();
        if (left <= 0)
            return -ETIMEDOUT;
        if (!wait_slice(c, m, left < WAIT_SLICE_MS ? left : WAIT_SLICE_MS))
            return 0;
    }
}
