/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "policy-sim.h"

#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

enum { KIB = 1024, MIB = 1024 * 1024 };

static void
read_range(struct sim *s, unsigned first, unsigned n, uint64_t bytes)
{
    for (unsigned i = first; i < first + n; i++)
        sim_read(s, i, bytes);
    s->now_ms += 10000;
}

static unsigned
cached(const struct sim *s, unsigned first, unsigned n)
{
    unsigned here = 0;
    for (unsigned i = first; i < first + n; i++)
        here += sim_has(s, i);
    return here;
}

static void
a_scan_leaves_what_is_used(void **state)
{
    (void)state;
    struct sim s;
    sim_init(&s, 100 * MIB, 2000);
    for (int round = 0; round < 3; round++)
        read_range(&s, 0, 60, MIB);
    read_range(&s, 100, 1500, MIB);
    assert_int_equal(cached(&s, 0, 60), 60);
    assert_true(sim_used(&s) <= s.max_bytes);

    /* after a restart, too, though nobody remembers a hit */
    sim_restart(&s);
    read_range(&s, 100, 1500, MIB);
    assert_int_equal(cached(&s, 0, 60), 60);
    sim_fini(&s);
}

static void
what_is_not_used_any_more_goes(void **state)
{
    (void)state;
    struct sim s;
    sim_init(&s, 100 * MIB, 200);
    for (int round = 0; round < 20; round++)
        read_range(&s, 0, 80, MIB);
    for (int round = 0; round < 40; round++)
        read_range(&s, 100, 80, MIB);
    assert_true(cached(&s, 100, 80) >= 76);
    sim_fini(&s);
}

static void
a_pass_in_small_reads_is_one_use(void **state)
{
    (void)state;
    struct sim s;
    sim_init(&s, 100 * MIB, 2000);
    for (int round = 0; round < 3; round++)
        read_range(&s, 0, 60, MIB);
    for (unsigned i = 100; i < 1600; i++, s.now_ms += 50)
        for (int part = 0; part < 32; part++)
            sim_read(&s, i, MIB);
    assert_int_equal(cached(&s, 0, 60), 60);
    sim_fini(&s);
}

static void
pinned_entries_stay_and_nothing_hangs(void **state)
{
    (void)state;
    struct sim s;
    uint64_t freed;
    sim_init(&s, 10 * MIB, 100);
    read_range(&s, 0, 10, MIB);
    for (unsigned i = 0; i < 10; i++)
        s.entries[i].pinned = i % 2;
    assert_int_equal(sf_policy_evict(s.policy, &sim_ops, &s, 9 * MIB, 0, &freed), 0);
    assert_int_equal(freed, 5 * MIB);
    assert_int_equal(cached(&s, 0, 10), 5);
    sim_fini(&s);
}

static void
a_call_is_short(void **state)
{
    (void)state;
    struct sim s;
    sim_init(&s, 1000 * MIB, 3000);
    for (int round = 0; round < 5; round++)
        read_range(&s, 0, 1000, MIB); /* all used: nothing is easy to give up */
    for (unsigned i = 1000; i < 2000; i++) {
        s.takes = 0;
        sim_read(&s, i, MIB);
        assert_true(s.takes <= 150);
        s.now_ms += 100;
    }
    sim_fini(&s);
}

static void
an_error_of_the_owner_ends_the_call(void **state)
{
    (void)state;
    struct sim s;
    uint64_t freed;
    sim_init(&s, 100 * MIB, 200);
    for (int round = 0; round < 3; round++)
        read_range(&s, 0, 100, MIB);
    s.fail_push = 1;
    assert_int_equal(sf_policy_evict(s.policy, &sim_ops, &s, MIB, s.now_ms, &freed), -EIO);
    assert_int_equal(freed, 0);
    sim_fini(&s);
}

static void
age_takes_what_was_not_read_since(void **state)
{
    (void)state;
    struct sim s;
    uint64_t freed;
    sim_init(&s, 1000 * MIB, 200);
    read_range(&s, 0, 100, MIB);
    s.now_ms = 100000;
    read_range(&s, 100, 50, MIB);
    read_range(&s, 0, 10, MIB);
    assert_int_equal(sf_policy_expire(s.policy, &sim_ops, &s, 100000, s.now_ms, 40, &freed), 40);
    assert_int_equal(sf_policy_expire(s.policy, &sim_ops, &s, 100000, s.now_ms, 1000, &freed), 60);
    assert_int_equal(freed, 60 * MIB);
    assert_int_equal(cached(&s, 0, 10), 10);
    assert_int_equal(cached(&s, 10, 90), 0);
    assert_int_equal(cached(&s, 100, 50), 50);
    assert_int_equal(sf_policy_expire(s.policy, &sim_ops, &s, 100000, s.now_ms, 1000, &freed), 0);
    sim_fini(&s);
}

static void *
hit_all(void *arg)
{
    struct sim *s = arg;
    for (int64_t ms = 0; ms < 200000; ms += 1000)
        for (unsigned i = 0; i < 60; i++)
            sf_policy_hit(s->policy, i, 0, MIB, ms);
    return NULL;
}

static void
hits_come_from_any_thread(void **state)
{
    (void)state;
    struct sim s;
    pthread_t threads[3];
    sim_init(&s, 100 * MIB, 2000);
    for (int round = 0; round < 3; round++)
        read_range(&s, 0, 60, MIB);
    for (int i = 0; i < 3; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, hit_all, &s), 0);
    read_range(&s, 100, 1500, MIB);
    for (int i = 0; i < 3; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(cached(&s, 0, 60), 60);
    sim_fini(&s);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_scan_leaves_what_is_used),
        cmocka_unit_test(what_is_not_used_any_more_goes),
        cmocka_unit_test(a_pass_in_small_reads_is_one_use),
        cmocka_unit_test(pinned_entries_stay_and_nothing_hangs),
        cmocka_unit_test(a_call_is_short),
        cmocka_unit_test(an_error_of_the_owner_ends_the_call),
        cmocka_unit_test(hits_come_from_any_thread),
        cmocka_unit_test(age_takes_what_was_not_read_since),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
