/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "disk-fixture.h"

#include <pthread.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/statvfs.h>
#include <sys/uio.h>

#include "store/env.h"

/* A disk that is full, cannot be written or fails, and many threads at once. */

#define MIB (1u << 20)

/* What the calls of the disk tier return instead of working; 0 = they work. The linker sends them
 * here (--wrap). */
static _Atomic int fail_reads, fail_writes;

ssize_t __real_pread(int fd, void *buf, size_t n, off_t off);
ssize_t __wrap_pread(int fd, void *buf, size_t n, off_t off);
ssize_t __real_preadv2(int fd, const struct iovec *iov, int n, off_t off, int flags);
ssize_t __wrap_preadv2(int fd, const struct iovec *iov, int n, off_t off, int flags);
ssize_t __real_pwrite(int fd, const void *buf, size_t n, off_t off);
ssize_t __wrap_pwrite(int fd, const void *buf, size_t n, off_t off);

static bool
fails(_Atomic int *how)
{
    errno = atomic_load(how);
    return errno != 0;
}

ssize_t
__wrap_pread(int fd, void *buf, size_t n, off_t off)
{
    return fails(&fail_reads) ? -1 : __real_pread(fd, buf, n, off);
}

ssize_t
__wrap_preadv2(int fd, const struct iovec *iov, int n, off_t off, int flags)
{
    return fails(&fail_reads) ? -1 : __real_preadv2(fd, iov, n, off, flags);
}

ssize_t
__wrap_pwrite(int fd, const void *buf, size_t n, off_t off)
{
    return fails(&fail_writes) ? -1 : __real_pwrite(fd, buf, n, off);
}

/* The directory becomes a file system of its own. */
static void
mount_small(const char *options)
{
    if ((unshare(CLONE_NEWNS) < 0 && unshare(CLONE_NEWUSER | CLONE_NEWNS) < 0) ||
        mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
        mount("test", disk_dir, "tmpfs", 0, options) < 0 || chmod(disk_dir, 0700) < 0) {
        print_message("mounting is not allowed here: %s\n", strerror(errno));
        skip();
    }
}

static int
teardown(void **state)
{
    atomic_store(&fail_reads, 0);
    atomic_store(&fail_writes, 0);
    disk_close();
    (void)umount2(disk_dir, MNT_DETACH);
    return disk_teardown(state);
}

static void
put_and_get(unsigned from, unsigned to, unsigned *kept)
{
    *kept = 0;
    for (unsigned n = from; n < to; n++) {
        uint64_t size = n % 4 ? MIB : 30000;
        struct sf_disk_content *c = content_of(n, size);
        put_bytes(c, n, 0, size);
        sf_disk_flush(disk);
        *kept += get_bytes(c, n, 0, size, false) == (ssize_t)size;
        sf_disk_unref(c);
    }
}

static void
a_full_disk_is_used_as_far_as_it_goes(void **state)
{
    (void)state;
    unsigned kept;
    mount_small("size=8m");
    disk_open((struct sf_disk_opts){.max_bytes = 64 * MIB});
    put_and_get(0, 40, &kept);
    assert_in_range(kept, 30, 40); /* evicted and tried once more */
    assert_int_equal(disk_stats().bypass, SF_DISK_NORMAL);
    assert_true(disk_stats().evicted > 20 * MIB);
    assert_in_order();
}

static void
the_floor_is_left_free(void **state)
{
    (void)state;
    unsigned kept;
    struct statvfs st;
    mount_small("size=24m");
    disk_open((struct sf_disk_opts){.max_bytes = 64 * MIB, .min_free = 12 * MIB});
    put_and_get(0, 60, &kept);
    assert_true(kept > 50);
    assert_int_equal(statvfs(disk_dir, &st), 0);
    assert_true((uint64_t)st.f_bavail * st.f_frsize >= 12 * MIB - MIB / 2);
    assert_true(disk_stats().bytes > 6 * MIB);
    assert_in_order();
}

/* Until the probes have found it well, or not. */
static void
wait_bypass(unsigned bypass)
{
    for (int i = 0; i < 1000 && disk_stats().bypass != bypass; i++)
        usleep(5000);
    assert_int_equal(disk_stats().bypass, bypass);
}

static void
a_read_only_disk_is_still_read(void **state)
{
    (void)state;
    unsigned kept;
    mount_small("size=32m");
    disk_open((struct sf_disk_opts){.max_bytes = 16 * MIB, .probe_ms = 50});
    put_and_get(0, 4, &kept);
    assert_int_equal(kept, 4);
    disk_close();
    disk_open((struct sf_disk_opts){.max_bytes = 16 * MIB, .probe_ms = 50});
    /* Files that are open for writing keep a remount away; these are not opened yet, but those of
     * the index are: so errors it is. */
    atomic_store(&fail_writes, EROFS);
    put_and_get(13, 16, &kept);
    assert_int_equal(kept, 0);
    wait_bypass(SF_DISK_NO_WRITES);
    assert_non_null(strstr(disk_stats().trouble, strerror(EROFS)));
    struct sf_disk_content *c = content_of(1, MIB);
    assert_int_equal(get_bytes(c, 1, 0, MIB, false), MIB);
    usleep(200000); /* probes do not help yet */
    assert_int_equal(disk_stats().bypass, SF_DISK_NO_WRITES);
    atomic_store(&fail_writes, 0);
    wait_bypass(SF_DISK_NORMAL);
    put_and_get(20, 24, &kept);
    assert_int_equal(kept, 4);
    assert_int_equal(get_bytes(c, 1, 0, MIB, false), MIB);
    sf_disk_unref(c);
    assert_in_order();
}

static void
a_disk_that_cannot_be_read_is_bypassed(void **state)
{
    (void)state;
    unsigned kept;
    disk_open((struct sf_disk_opts){.max_bytes = 16 * MIB, .probe_ms = 50});
    put_and_get(0, 4, &kept);
    assert_int_equal(kept, 4);
    atomic_store(&fail_reads, EIO);
    for (unsigned n = 1; n < 4; n++) {
        struct sf_disk_content *c = content_of(n, MIB);
        assert_int_equal(get_bytes(c, n, 0, 4096, false), 0); /* a miss, no error */
        sf_disk_unref(c);
    }
    wait_bypass(SF_DISK_NO_READS | SF_DISK_NO_WRITES);
    assert_int_equal(disk_stats().errors, 3);
    struct sf_disk_content *c = content_of(0, 30000);
    assert_int_equal(sf_disk_has(c, 0, 30000, false), 0);
    atomic_store(&fail_reads, 0);
    wait_bypass(SF_DISK_NORMAL);
    assert_int_equal(get_bytes(c, 0, 0, 30000, false), 30000);
    sf_disk_unref(c);
    put_and_get(10, 14, &kept);
    assert_int_equal(kept, 4);
    assert_in_order();
}

static void
one_error_is_no_trouble(void **state)
{
    (void)state;
    unsigned kept;
    disk_open((struct sf_disk_opts){.max_bytes = 16 * MIB});
    for (int i = 0; i < 5; i++) {
        atomic_store(&fail_writes, EIO);
        put_and_get(1, 2, &kept);
        assert_int_equal(kept, 0);
        atomic_store(&fail_writes, 0);
        put_and_get(10, 12, &kept);
        assert_int_equal(kept, 2);
        struct sf_disk_content *c = content_of(10, MIB);
        (void)sf_disk_evict(c); /* so that it is written each time */
        sf_disk_unref(c);
    }
    assert_int_equal(disk_stats().bypass, SF_DISK_NORMAL);
    assert_int_equal(disk_stats().errors, 5);
    assert_in_order();
}

static void
what_nobody_used_for_long_goes(void **state)
{
    (void)state;
    disk_open((struct sf_disk_opts){.max_age_ms = 400});
    struct sf_disk_content *c = content_of(1, 2 * MIB);
    put_bytes(c, 1, 0, 2 * MIB);
    sf_disk_flush(disk);
    assert_int_equal(get_bytes(c, 1, 0, 2 * MIB, false), 2 * MIB);
    sf_disk_unref(c);
    for (int i = 0; i < 2000 && disk_stats().bytes; i++)
        usleep(5000);
    assert_int_equal(disk_stats().bytes, 0);
    assert_in_order();
    assert_int_equal(block_files(NULL), 0);
}

/* ---- many threads --------------------------------------------------------------------------- */

#define THREADS 4

static _Atomic bool stop;
static _Atomic unsigned wrong, served;

static void *
worker(void *arg)
{
    unsigned seed = (unsigned)(uintptr_t)arg;
    char *got = malloc(3 * MIB), *want = malloc(3 * MIB);
    while (got && want && !atomic_load(&stop)) {
        seed = seed * 1103515245 + 12345;
        unsigned n = (seed >> 8) % 12, what = (seed >> 16) % 16;
        uint64_t size = n % 3 ? MIB + 100000 : 40000, off = (seed >> 12) % size / SF_UNIT * SF_UNIT;
        size_t len = (size_t)(size - off < 300000 ? size - off : 10 * SF_UNIT);
        struct sf_disk_content *c = content_of(n, size);
        if (what < 6) {
            bytes_of_content(n, off, len, want);
            sf_disk_write(c, off, len, want);
        } else if (what < 14) {
            ssize_t rc = sf_disk_read(c, off + 5, 100000, got, what & 1);
            bytes_of_content(n, off + 5, 100000, want);
            if (rc > 0 && memcmp(got, want, (size_t)rc) != 0)
                atomic_fetch_add(&wrong, 1);
            atomic_fetch_add(&served, rc > 0);
        } else if (what == 14)
            (void)sf_disk_evict(c);
        else
            (void)sf_disk_has(c, off, size, true);
        sf_disk_unref(c);
    }
    free(got);
    free(want);
    return NULL;
}

static void
many_threads_at_once(void **state)
{
    (void)state;
    pthread_t t[THREADS];
    disk_open((struct sf_disk_opts){.max_bytes = 5 * MIB});
    atomic_store(&stop, false);
    for (uintptr_t i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&t[i], NULL, worker, (void *)(i * 77 + 1)), 0);
    for (int i = 0; i < 30; i++) {
        usleep(50000);
        assert_true(disk_stats().bytes <= 5 * MIB);
        if (i == 15)
            sf_env_distrust(sf_disk_env(disk)); /* all of it begins empty in between */
    }
    atomic_store(&stop, true);
    for (int i = 0; i < THREADS; i++)
        pthread_join(t[i], NULL);
    assert_int_equal(atomic_load(&wrong), 0);
    assert_true(atomic_load(&served) > 50);
    assert_in_order();
}

int
main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, disk_setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(many_threads_at_once),
        TEST(one_error_is_no_trouble),
        TEST(what_nobody_used_for_long_goes),
        TEST(a_disk_that_cannot_be_read_is_bypassed),
        TEST(a_full_disk_is_used_as_far_as_it_goes),
        TEST(the_floor_is_left_free),
        TEST(a_read_only_disk_is_still_read),
    };
    return cmocka_run_group_tests_name("cache-disk-trouble", tests, NULL, NULL);
}
