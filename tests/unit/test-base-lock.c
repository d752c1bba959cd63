/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "base/clock.h"
#include "base/lock.h"
#include "base/thread.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/resource.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <signal.h>
#include <sys/wait.h>

#include <cmocka.h>

static struct sf_mutex low = SF_MUTEX_INIT(10), high = SF_MUTEX_INIT(20), leaf = SF_MUTEX_INIT(0);

static void
guard_unlocks_at_the_end_of_the_scope(void **state)
{
    (void)state;
    assert_false(sf_mutex_held(&low));
    {
        SF_GUARD(&low);
        SF_GUARD(&high);
        SF_GUARD(&leaf);
        SF_ASSERT_HELD(&low);
        assert_true(sf_mutex_held(&high) && sf_mutex_held(&leaf));
    }
    assert_false(sf_mutex_held(&low) || sf_mutex_held(&high) || sf_mutex_held(&leaf));
}

static void *
not_mine(void *arg)
{
    (void)arg;
    bool wrong = sf_mutex_held(&low) || sf_mutex_trylock(&low);
    return wrong ? &low : NULL;
}

static void
another_thread_does_not_hold_it(void **state)
{
    (void)state;
    pthread_t t;
    void *wrong = NULL;
    SF_GUARD(&low);
    assert_int_equal(sf_thread_start("other", not_mine, NULL, &t), 0);
    pthread_join(t, &wrong);
    assert_null(wrong);
}

/* Whether the function ends its process by an assertion. */
static bool
aborts(void (*fn)(void))
{
    pid_t pid = fork();
    if (pid == 0) {
        struct rlimit none = {0, 0};
        setrlimit(RLIMIT_CORE, &none);
        signal(SIGABRT, SIG_DFL);
        int null = open("/dev/null", O_WRONLY);
        dup2(null, STDERR_FILENO);
        fn();
        _exit(0);
    }
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT;
}

static void
wrong_order(void)
{
    sf_mutex_lock(&high);
    sf_mutex_lock(&low);
}

static void
same_order(void)
{
    struct sf_mutex other;
    sf_mutex_init(&other, 10);
    sf_mutex_lock(&low);
    sf_mutex_lock(&other);
}

static void
order_under_leaf(void)
{
    sf_mutex_lock(&leaf);
    sf_mutex_lock(&low);
}

static void
lock_twice(void)
{
    sf_mutex_lock(&leaf);
    sf_mutex_lock(&leaf);
}

static void
unlock_unheld(void)
{
    sf_mutex_unlock(&low);
}

static void
assert_unheld(void)
{
    SF_ASSERT_HELD(&low);
}

static void
right_order(void)
{
    sf_mutex_lock(&low);
    sf_mutex_lock(&high);
    sf_mutex_unlock(&low); /* not the last one taken */
    sf_mutex_lock(&leaf);
    sf_mutex_unlock(&high);
    sf_mutex_unlock(&leaf);
    sf_mutex_lock(&low);
}

static void
mistakes_are_caught(void **state)
{
    (void)state;
    assert_true(aborts(assert_unheld));
    assert_false(aborts(right_order));
#ifdef SF_LOCK_CHECK
    assert_true(aborts(wrong_order));
    assert_true(aborts(same_order));
    assert_true(aborts(order_under_leaf));
    assert_true(aborts(lock_twice));
    assert_true(aborts(unlock_unheld));
#else
    (void)wrong_order;
    (void)same_order;
    (void)order_under_leaf;
    (void)lock_twice;
    (void)unlock_unheld;
#endif
}

struct ping {
    struct sf_mutex lock;
    struct sf_cond cond;
    int turn;
};

static void *
pong(void *arg)
{
    struct ping *p = arg;
    SF_GUARD(&p->lock);
    for (int i = 0; i < 100; i++) {
        while (p->turn != 1)
            sf_cond_wait(&p->cond, &p->lock);
        SF_ASSERT_HELD(&p->lock);
        p->turn = 0;
        sf_cond_signal(&p->cond);
    }
    return NULL;
}

static void
conditions_wake(void **state)
{
    (void)state;
    struct ping p = {.turn = 0};
    pthread_t t;
    sf_mutex_init(&p.lock, 5);
    sf_cond_init(&p.cond);
    assert_int_equal(sf_thread_start("pong", pong, &p, &t), 0);
    sf_mutex_lock(&p.lock);
    for (int i = 0; i < 100; i++) {
        p.turn = 1;
        sf_cond_broadcast(&p.cond);
        while (p.turn != 0)
            assert_int_equal(sf_cond_timedwait_ms(&p.cond, &p.lock, sf_clock_ms() + 20000), 0);
        SF_ASSERT_HELD(&p.lock);
    }
    sf_mutex_unlock(&p.lock);
    pthread_join(t, NULL);
    sf_cond_fini(&p.cond);
    sf_mutex_fini(&p.lock);
}

static void
deadlines_end_a_wait(void **state)
{
    (void)state;
    struct sf_cond c;
    sf_cond_init(&c);
    SF_GUARD(&low);
    int64_t begin = sf_clock_ms();
    int rc;
    while ((rc = sf_cond_timedwait_ms(&c, &low, begin + 30)) == 0)
        ;
    assert_int_equal(rc, -ETIMEDOUT);
    assert_in_range(sf_clock_ms() - begin, 30, 10000);
    assert_int_equal(sf_cond_timedwait_ms(&c, &low, 0), -ETIMEDOUT);
    SF_ASSERT_HELD(&low);
    sf_cond_fini(&c);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(guard_unlocks_at_the_end_of_the_scope),
        cmocka_unit_test(another_thread_does_not_hold_it),
        cmocka_unit_test(mistakes_are_caught),
        cmocka_unit_test(conditions_wake),
        cmocka_unit_test(deadlines_end_a_wait),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
