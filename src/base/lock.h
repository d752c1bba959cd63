/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef SF_BASE_LOCK_H
#define SF_BASE_LOCK_H

#include "base/cleanup.h"

#include <assert.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

/*
 * A mutex that knows who holds it and where it stands in the global order (docs/threads.md).
 * With SF_LOCK_CHECK (configure --disable-lock-check turns it off) every lock operation asserts
 * that the order of the mutex is greater than that of each mutex the thread holds already, and
 * that nobody locks twice or unlocks what another thread holds. Order 0 is a leaf: it may be taken
 * any time, and only other leaves under it.
 */
struct sf_mutex {
    pthread_mutex_t m;
    _Atomic uintptr_t owner; /* identity of the holding thread; 0 = free */
    int order;
};

/* For mutexes in static storage. */
#ifdef SF_LOCK_CHECK
#define SF_MUTEX_INIT(ord)                                                                         \
    {                                                                                              \
        .m = PTHREAD_ERRORCHECK_MUTEX_INITIALIZER_NP, .order = (ord)                               \
    }
#else
#define SF_MUTEX_INIT(ord)                                                                         \
    {                                                                                              \
        .m = PTHREAD_MUTEX_INITIALIZER, .order = (ord)                                             \
    }
#endif

/**
 * sf_mutex_init - make a mutex ready for use; cannot fail on Linux (asserted).
 * @order: place in the global lock order; 0 = leaf.
 */
void sf_mutex_init(struct sf_mutex *m, int order);

/* Give back what sf_mutex_init() took; nobody holds the mutex. */
void sf_mutex_fini(struct sf_mutex *m);

void sf_mutex_lock(struct sf_mutex *m);
void sf_mutex_unlock(struct sf_mutex *m);

/* Returns true when the mutex was free and is now held. The order is not checked. */
bool sf_mutex_trylock(struct sf_mutex *m);

/* Whether the calling thread holds @m. */
bool sf_mutex_held(const struct sf_mutex *m);

#define SF_ASSERT_HELD(mutex) assert(sf_mutex_held(mutex))

static inline void
sf_mutex_unlock_at_exit(struct sf_mutex **m)
{
    if (*m)
        sf_mutex_unlock(*m);
}

#define SF_GUARD_CAT2_(a, b) a##b
#define SF_GUARD_CAT_(a, b)  SF_GUARD_CAT2_(a, b)

/* Lock @mutex now, unlock it at the end of the scope. */
#define SF_GUARD(mutex)                                                                            \
    sf_defer(sf_mutex_unlock_at_exit)                                                              \
        __attribute__((unused)) struct sf_mutex *SF_GUARD_CAT_(sf_guard_, __LINE__) = (mutex);     \
    sf_mutex_lock(SF_GUARD_CAT_(sf_guard_, __LINE__))

/* A condition variable; waits do not notice changes of the wall clock. */
struct sf_cond {
    pthread_cond_t c;
};

void sf_cond_init(struct sf_cond *c);
void sf_cond_fini(struct sf_cond *c);
void sf_cond_signal(struct sf_cond *c);
void sf_cond_broadcast(struct sf_cond *c);

/* Wait for a signal; @m is held by the caller, and again on return. Wakes without cause happen. */
void sf_cond_wait(struct sf_cond *c, struct sf_mutex *m);

/**
 * sf_cond_timedwait_ms - wait for a signal, but not beyond a deadline.
 * @m:           held by the caller, and again on return.
 * @deadline_ms: on the clock of sf_clock_ms(); INT64_MAX = no deadline.
 *
 * Returns 0 when woken (also without cause); -ETIMEDOUT when the deadline has passed.
 * Time that the machine sleeps counts, within a few seconds.
 */
int sf_cond_timedwait_ms(struct sf_cond *c, struct sf_mutex *m, int64_t deadline_ms);

#endif
