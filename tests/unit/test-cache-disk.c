/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "disk-fixture.h"

#include <fcntl.h>
#include <pthread.h>
#include <stddef.h>

#include "cache/disk-internal.h"

/* The disk tier: what was put in comes out, within its limits, also after a restart. */

#define MIB (1u << 20)

static void
units_come_back(void **state)
{
    (void)state;
    disk_open((struct sf_disk_opts){0});
    struct sf_disk_content *c = content_of(1, 3 * MIB + 5000);
    assert_int_equal(sf_disk_has(c, 0, 100, false), 0);
    assert_int_equal(get_bytes(c, 1, 0, 100, false), 0);
    put_bytes(c, 1, MIB - 2 * SF_UNIT, 4 * SF_UNIT);
    assert_int_equal(sf_disk_has(c, 0, 100, false), 0);
    assert_int_equal(sf_disk_has(c, MIB - 2 * SF_UNIT + 7, 3 * MIB, true), 4 * SF_UNIT - 7);
    assert_int_equal(get_bytes(c, 1, MIB - 100, 4096, false), 4096);
    assert_int_equal(get_bytes(c, 1, MIB - 2 * SF_UNIT, 3 * MIB, false), 4 * SF_UNIT);
    put_bytes(c, 1, 3 * MIB, 5000); /* the last unit is a short one */
    assert_int_equal(get_bytes(c, 1, 3 * MIB + 4000, 4096, false), 1000);
    assert_int_equal(get_bytes(c, 1, 3 * MIB + 5000, 4096, false), 0);
    put_bytes(c, 1, 0, 3 * MIB + 5000);
    assert_int_equal(get_bytes(c, 1, 0, 4 * MIB, false), 3 * MIB + 5000);
    sf_disk_unref(c);
    assert_in_order();
    assert_int_equal(block_files(NULL), 4);
}

static void
small_contents_are_rows(void **state)
{
    (void)state;
    static const unsigned sizes[] = {1, 999, 1001, 4096, SF_UNIT, SF_UNIT + 1, SF_DISK_SMALL};
    const unsigned count = sizeof sizes / sizeof *sizes;
    disk_open((struct sf_disk_opts){0});
    for (int round = 0; round < 2; round++) {
        for (unsigned i = 0; i < count; i++) {
            struct sf_disk_content *c = content_of(i, sizes[i]);
            if (!round)
                put_bytes(c, i, 0, sizes[i]);
            sf_disk_flush(disk);
            assert_int_equal(get_bytes(c, i, 0, MIB, false), sizes[i]);
            assert_int_equal(get_bytes(c, i, sizes[i] - 1, MIB, false), 1);
            sf_disk_unref(c);
        }
        assert_int_equal(block_files(NULL), 0);
        assert_in_order();
        disk_close();
        disk_open((struct sf_disk_opts){0});
    }
    assert_int_equal(index_sums().contents, count);
}

static void
an_orderly_end_keeps_all(void **state)
{
    (void)state;
    disk_open((struct sf_disk_opts){0});
    struct sf_disk_content *c = content_of(5, 2 * MIB);
    put_bytes(c, 5, 0, 2 * MIB);
    sf_disk_unref(c);
    uint64_t bytes = disk_stats().bytes;
    disk_close();
    disk_open((struct sf_disk_opts){0});
    assert_int_equal(disk_stats().bytes, bytes);
    c = content_of(5, 2 * MIB);
    assert_int_equal(sf_disk_has(c, 0, 2 * MIB, false), 2 * MIB);
    assert_int_equal(get_bytes(c, 5, 0, 2 * MIB, false), 2 * MIB);
    sf_disk_unref(c);
    c = content_of(5, MIB); /* the size is a part of the name */
    assert_int_equal(sf_disk_has(c, 0, MIB, false), 0);
    sf_disk_unref(c);
    assert_in_order();
}

/* What was checked once costs one pread() that does not wait, and nothing else. */
static void
a_checked_unit_is_read_without_waiting(void **state)
{
    (void)state;
    disk_open((struct sf_disk_opts){0});
    struct sf_disk_content *c = content_of(1, 2 * MIB);
    put_bytes(c, 1, 0, 2 * MIB);
    assert_int_equal(get_bytes(c, 1, 100, 4096, false), 4096);
    ssize_t n = get_bytes(c, 1, 5000, 4096, true);
    assert_true(n == 4096 || n == -EAGAIN); /* a file system without RWF_NOWAIT */
    sf_disk_unref(c);
}

static void
another_name_finds_the_same_bytes(void **state)
{
    (void)state;
    struct sf_cache_key name = {"other", "id-x", "\"x\"", 2 * MIB};
    struct sf_disk_content *c, *other;
    disk_open((struct sf_disk_opts){0});
    c = content_of(7, 2 * MIB);
    put_bytes(c, 7, 0, MIB);
    sf_disk_name(c, &name);
    assert_int_equal(sf_disk_get(disk, &name, &other), 0);
    assert_ptr_equal(other, c);
    sf_disk_unref(other);
    sf_disk_unref(c);
    /* a name that is given before anything is cached, and to a content that had none */
    struct sf_cache_key late = {"bucket", "new", "\"n\"", 1000};
    assert_int_equal(sf_disk_get_new(disk, 1000, &c), 0);
    sf_disk_name(c, &late);
    put_bytes(c, 8, 0, 1000);
    sf_disk_unref(c);
    disk_close();
    disk_open((struct sf_disk_opts){0});
    assert_int_equal(sf_disk_get(disk, &name, &other), 0);
    assert_int_equal(get_bytes(other, 7, 0, 2 * MIB, false), MIB);
    sf_disk_unref(other);
    c = content_of(7, 2 * MIB);
    assert_int_equal(get_bytes(c, 7, 0, 2 * MIB, false), MIB);
    sf_disk_unref(c);
    assert_int_equal(sf_disk_get(disk, &late, &c), 0);
    assert_int_equal(get_bytes(c, 8, 0, 1000, false), 1000);
    sf_disk_unref(c);
    assert_int_equal(index_sums().contents, 2);
    assert_in_order();
}

static void
the_limit_holds(void **state)
{
    (void)state;
    disk_open((struct sf_disk_opts){.max_bytes = 4 * MIB});
    for (unsigned i = 0; i < 40; i++) {
        struct sf_disk_content *c = content_of(i, i % 3 ? MIB : 50000);
        put_bytes(c, i, 0, i % 3 ? MIB : 50000);
        assert_true(disk_stats().bytes <= 4 * MIB);
        sf_disk_unref(c);
    }
    assert_in_order();
    assert_true(disk_stats().bytes > 2 * MIB);
    assert_true(disk_stats().evicted > 20 * MIB);
    unsigned found = 0;
    for (unsigned i = 0; i < 40; i++) {
        struct sf_disk_content *c = content_of(i, i % 3 ? MIB : 50000);
        found += get_bytes(c, i, 0, MIB, false) > 0;
        sf_disk_unref(c);
    }
    assert_in_range(found, 2, 20);
    struct sf_disk_content *c = content_of(99, 8 * MIB); /* more than there is room for */
    put_bytes(c, 99, 0, 8 * MIB);
    sf_disk_unref(c);
    assert_in_order();
}

static void
pinned_contents_stay(void **state)
{
    (void)state;
    struct sf_disk_usage u;
    disk_open((struct sf_disk_opts){.max_bytes = 4 * MIB});
    struct sf_disk_content *pinned = content_of(100, 2 * MIB);
    put_bytes(pinned, 100, 0, MIB);
    assert_int_equal(sf_disk_pin(pinned, true), 0);
    put_bytes(pinned, 100, MIB, MIB); /* what comes later is pinned, too */
    for (unsigned i = 0; i < 20; i++) {
        struct sf_disk_content *c = content_of(i, MIB);
        put_bytes(c, i, 0, MIB);
        sf_disk_unref(c);
    }
    assert_int_equal(sf_disk_evict(pinned), 0);
    sf_disk_usage(pinned, &u);
    assert_true(u.pinned);
    assert_int_equal(u.here, 2 * MIB);
    assert_int_equal(disk_stats().pinned, u.bytes);
    assert_int_equal(get_bytes(pinned, 100, 0, 2 * MIB, false), 2 * MIB);
    assert_in_order();
    assert_int_equal(sf_disk_pin(pinned, false), 0);
    assert_int_equal(disk_stats().pinned, 0);
    assert_int_equal(sf_disk_evict(pinned), u.bytes);
    assert_int_equal(sf_disk_has(pinned, 0, 1, false), 0);
    sf_disk_unref(pinned);
    assert_in_order();
}

static void *
read_in_thread(void *arg)
{
    static ssize_t n;
    n = get_bytes(arg, 1, 100, 5000, false);
    return &n;
}

/* The policy looks at more than it evicts: what it puts back was never away. */
static void
what_may_leave_is_waited_for(void **state)
{
    (void)state;
    pthread_t t;
    void *n;
    disk_open((struct sf_disk_opts){0});
    struct sf_disk_content *c = content_of(1, MIB);
    for (int gone = 0; gone < 2; gone++) {
        put_bytes(c, 1, 0, MIB);
        sf_disk_flush(disk);
        assert_int_equal(get_bytes(c, 1, 0, 100, false), 100);
        sf_mutex_lock(&disk->lock);
        uint64_t number = c->number;
        assert_true(sf_chunk_claim_locked(disk, number, 0));
        sf_mutex_unlock(&disk->lock);
        assert_int_equal(get_bytes(c, 1, 100, 5000, true), -EAGAIN);
        assert_int_equal(pthread_create(&t, NULL, read_in_thread, c), 0);
        usleep(20000);
        if (gone)
            assert_int_equal(sf_chunk_unlink(disk, number, 0), 0);
        sf_chunk_unclaim(disk, number, 0, gone);
        assert_int_equal(pthread_join(t, &n), 0);
        assert_int_equal(*(ssize_t *)n, gone ? 0 : 5000);
    }
    sf_disk_unref(c);
    assert_in_order();
}

int
main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, disk_setup, disk_teardown)
    const struct CMUnitTest tests[] = {
        TEST(units_come_back),
        TEST(small_contents_are_rows),
        TEST(an_orderly_end_keeps_all),
        TEST(a_checked_unit_is_read_without_waiting),
        TEST(another_name_finds_the_same_bytes),
        TEST(the_limit_holds),
        TEST(pinned_contents_stay),
        TEST(what_may_leave_is_waited_for),
    };
    return cmocka_run_group_tests_name("cache-disk", tests, NULL, NULL);
}
