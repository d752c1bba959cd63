/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "base/clock.h"
#include "base/lock.h"
#include "base/thread.h"

#include <errno.h>
#include <signal.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static void *
look_at_self(void *arg)
{
    sigset_t mask;
    pthread_sigmask(SIG_BLOCK, NULL, &mask);
    bool ok = sigismember(&mask, SIGTERM) && sigismember(&mask, SIGINT) &&
              sigismember(&mask, SIGCHLD) && sigismember(&mask, SIGUSR1);
    pthread_getname_np(pthread_self(), arg, 16);
    return ok ? arg : NULL;
}

static void
threads_have_a_name_and_no_signals(void **state)
{
    (void)state;
    pthread_t t;
    char name[16] = "";
    void *ok = NULL;
    sigset_t mask;
    assert_int_equal(sf_thread_start("a-name-that-is-too-long", look_at_self, name, &t), 0);
    pthread_join(t, &ok);
    assert_ptr_equal(ok, name);
    assert_string_equal(name, "a-name-that-is-");
    pthread_sigmask(SIG_BLOCK, NULL, &mask);
    assert_false(sigismember(&mask, SIGTERM));
}

/* Jobs that stand still until the gate opens, and note the order they began in. */
struct gate {
    struct sf_mutex lock;
    struct sf_cond cond;
    bool open;
    int begun, ended;
    int order[64];
};

struct job {
    struct gate *gate;
    int number;
};

static void
gate_job(void *arg)
{
    struct job *j = arg;
    struct gate *g = j->gate;
    SF_GUARD(&g->lock);
    g->order[g->begun++] = j->number;
    sf_cond_broadcast(&g->cond);
    while (!g->open)
        sf_cond_wait(&g->cond, &g->lock);
    g->ended++;
}

static void
gate_init(struct gate *g)
{
    *g = (struct gate){.open = false};
    sf_mutex_init(&g->lock, 5);
    sf_cond_init(&g->cond);
}

static void
gate_open(struct gate *g)
{
    SF_GUARD(&g->lock);
    g->open = true;
    sf_cond_broadcast(&g->cond);
}

static void
gate_wait_begun(struct gate *g, int n)
{
    SF_GUARD(&g->lock);
    while (g->begun < n)
        assert_int_equal(sf_cond_timedwait_ms(&g->cond, &g->lock, sf_clock_ms() + 20000), 0);
}

static void
pool_is_bounded(void **state)
{
    (void)state;
    struct gate g;
    struct job jobs[16];
    struct sf_pool *pool = NULL;
    struct sf_pool_stats st;
    gate_init(&g);
    for (int i = 0; i < 16; i++)
        jobs[i] = (struct job){&g, i};
    assert_int_equal(sf_pool_new("pool", 3, 4, &pool), 0);
    sf_pool_get_stats(pool, &st);
    assert_int_equal(st.threads, 0);

    for (int i = 0; i < 3; i++) {
        assert_int_equal(sf_pool_submit(pool, gate_job, &jobs[i]), 0);
        gate_wait_begun(&g, i + 1);
    }
    for (int i = 3; i < 7; i++)
        assert_int_equal(sf_pool_submit(pool, gate_job, &jobs[i]), 0);
    assert_int_equal(sf_pool_submit(pool, gate_job, &jobs[7]), -EAGAIN);
    sf_pool_get_stats(pool, &st);
    assert_int_equal(st.threads, 3);
    assert_int_equal(st.running, 3);
    assert_int_equal(st.queued, 4);
    assert_int_equal(st.peak, 3);
    assert_int_equal(sf_pool_drain(pool, sf_clock_ms() + 30), -ETIMEDOUT);

    gate_open(&g);
    assert_int_equal(sf_pool_drain(pool, sf_clock_ms() + 20000), 0);
    assert_int_equal(g.ended, 7);
    sf_pool_get_stats(pool, &st);
    assert_int_equal(st.running, 0);
    assert_int_equal(st.queued, 0);
    assert_int_equal(sf_pool_submit(pool, gate_job, &jobs[8]), 0);
    sf_pool_free(pool);
    assert_int_equal(g.ended, 8);
}

static void
one_worker_keeps_the_order_and_free_runs_the_rest(void **state)
{
    (void)state;
    struct gate g;
    struct job jobs[30];
    struct sf_pool *pool = NULL;
    gate_init(&g);
    assert_int_equal(sf_pool_new("pool", 1, 30, &pool), 0);
    for (int i = 0; i < 30; i++) {
        jobs[i] = (struct job){&g, i};
        assert_int_equal(sf_pool_submit(pool, gate_job, &jobs[i]), 0);
    }
    gate_open(&g);
    sf_pool_free(pool);
    assert_int_equal(g.ended, 30);
    for (int i = 0; i < 30; i++)
        assert_int_equal(g.order[i], i);
    sf_pool_free(NULL);
}

static void
idle_workers_are_used_again(void **state)
{
    (void)state;
    struct gate g;
    struct job job = {&g, 1};
    struct sf_pool *pool = NULL;
    struct sf_pool_stats st;
    gate_init(&g);
    g.open = true;
    assert_int_equal(sf_pool_new("pool", 8, 8, &pool), 0);
    for (int i = 0; i < 20; i++) {
        assert_int_equal(sf_pool_submit(pool, gate_job, &job), 0);
        assert_int_equal(sf_pool_drain(pool, sf_clock_ms() + 20000), 0);
        usleep(2000); /* until it waits again */
    }
    sf_pool_get_stats(pool, &st);
    assert_in_range(st.threads, 1, 3);
    assert_int_equal(st.peak, 1);
    sf_pool_free(pool);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(threads_have_a_name_and_no_signals),
        cmocka_unit_test(pool_is_bounded),
        cmocka_unit_test(one_worker_keeps_the_order_and_free_runs_the_rest),
        cmocka_unit_test(idle_workers_are_used_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
