/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/lock.h"
#include "write/timer.h"

/* The contract of write/timer.h. */

struct tick {
    struct sf_timer t;
    int64_t ran_ms;
    int place; /* among those that ran */
};

static struct sf_mutex lock = SF_MUTEX_INIT(0);
static struct sf_cond cond;
static int ran;

static void
tick_run(struct sf_timer *t)
{
    struct tick *k = (struct tick *)t;
    SF_GUARD(&lock);
    k->ran_ms = sf_clock_ms();
    k->place = ++ran;
    sf_cond_signal(&cond);
}

static void
wait_ran(int n)
{
    int64_t until = sf_clock_ms() + 10000;
    SF_GUARD(&lock);
    while (ran < n)
        if (sf_cond_timedwait_ms(&cond, &lock, until))
            fail_msg("a timer did not run");
}

static void
in_order_of_time(void **state)
{
    (void)state;
    struct sf_timers *ts;
    struct tick a = {.t.fn = tick_run}, b = {.t.fn = tick_run}, c = {.t.fn = tick_run},
                gone = {.t.fn = tick_run};
    sf_cond_init(&cond);
    ran = 0;
    assert_int_equal(sf_timers_new(&ts), 0);
    int64_t now = sf_clock_ms();
    assert_int_equal(sf_timer_set(ts, &a.t, now + 60), 0);
    assert_int_equal(sf_timer_set(ts, &gone.t, now + 50), 0);
    assert_int_equal(sf_timer_set(ts, &b.t, now + 30), 0);
    assert_int_equal(sf_timer_set(ts, &c.t, now + 100000), 0);
    assert_int_equal(sf_timer_set_earlier(ts, &c.t, now + 200000), 0); /* stays */
    assert_int_equal(sf_timer_set_earlier(ts, &c.t, now + 90), 0);
    assert_true(sf_timer_cancel(ts, &gone.t));
    assert_false(sf_timer_cancel(ts, &gone.t));
    wait_ran(3);
    assert_int_equal(b.place, 1);
    assert_int_equal(a.place, 2);
    assert_int_equal(c.place, 3);
    assert_true(b.ran_ms >= now + 30 && a.ran_ms >= now + 60 && c.ran_ms >= now + 90);
    assert_int_equal(gone.place, 0);
    assert_int_equal(sf_timer_set(ts, &a.t, 0), 0); /* the past: at once */
    wait_ran(4);
    assert_int_equal(sf_timer_set(ts, &b.t, sf_clock_ms() + 100000), 0);
    sf_timers_free(ts); /* does not wait for it */
    sf_timers_free(NULL);
    sf_cond_fini(&cond);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(in_order_of_time),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
