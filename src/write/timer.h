/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef SF_WRITE_TIMER_H
#define SF_WRITE_TIMER_H

#include <stdbool.h>
#include <stdint.h>

/*
 * Internal to src/write: one thread that calls short functions at given times. What takes longer
 * than a look at a few fields is put in the queue from there. Thread-safe.
 */
struct sf_timers;

/* Embedded in what it belongs to; zeroed, and fn set, before its first use. */
struct sf_timer {
    /* Runs on the timers' thread, holding no lock. The timer is no longer set then, and is not
     * looked at after this returns: it may be set again or freed here. */
    void (*fn)(struct sf_timer *t);

    /* the timers' own */
    struct sf_timer *prev, *next;
    int64_t at_ms;
    bool set;
};

/* Returns 0 or -ENOMEM; the thread starts with the first timer. */
int sf_timers_new(struct sf_timers **ret);
/* Ends the thread; what is still set is forgotten and does not run. May be NULL. */
void sf_timers_free(struct sf_timers *ts);

/**
 * sf_timer_set - let it run at @at_ms (CLOCK_BOOTTIME; the past = at once), also if it was set to
 * another time before.
 * Returns 0; -ESHUTDOWN the timers are being freed; -EAGAIN no thread could be started.
 */
int sf_timer_set(struct sf_timers *ts, struct sf_timer *t, int64_t at_ms);
/* The same, unless it is set to an earlier time already. */
int sf_timer_set_earlier(struct sf_timers *ts, struct sf_timer *t, int64_t at_ms);
/* True: it was set and does not run. False: it was not, or it runs now or will have run. */
bool sf_timer_cancel(struct sf_timers *ts, struct sf_timer *t);

#endif
