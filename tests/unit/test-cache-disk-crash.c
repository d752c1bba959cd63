/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "disk-fixture.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>

/*
 * The disk tier against a plain model, killed at any moment and opened again: no wrong byte, no
 * file that no row names, usage as the index has it.
 */

#define CONTENTS 48
#define UNITS    96 /* of the largest content */
#define LIMIT    (6u << 20)

/* What every process of a run knows. A unit that was never written must not be there. */
struct shared {
    _Atomic unsigned char written[CONTENTS][UNITS];
    _Atomic unsigned long steps, read_units;
};
static struct shared *shared;

static uint64_t
size_of(unsigned n)
{
    static const uint64_t sizes[] = {3,     900,   4096,   20000,    SF_UNIT, SF_UNIT + 5, 65536,
                                     65537, 99999, 500000, 1u << 20, 1100000, 3u << 20};
    return sizes[n % (sizeof sizes / sizeof *sizes)];
}

static unsigned
draw(unsigned *seed, unsigned below)
{
    *seed = *seed * 1103515245 + 12345;
    return (*seed >> 8) % below;
}

static void
mark(unsigned n, uint64_t off, size_t len)
{
    for (uint64_t u = off / SF_UNIT; u * SF_UNIT < off + len; u++)
        atomic_store(&shared->written[n][u], 1);
}

/* Only what was written may come back, and as it was. */
static void
read_some(struct sf_disk_content *c, unsigned n, uint64_t off, size_t len, bool nowait)
{
    ssize_t got = get_bytes(c, n, off, len, nowait);
    assert_true(got >= 0 || (nowait && got == -EAGAIN));
    for (uint64_t u = off / SF_UNIT; got > 0 && u * SF_UNIT < off + (uint64_t)got; u++)
        assert_true(atomic_load(&shared->written[n][u]));
    if (got > 0)
        atomic_fetch_add(&shared->read_units, 1);
}

static void
one_step(unsigned *seed)
{
    unsigned n = draw(seed, CONTENTS);
    uint64_t size = size_of(n), units = (size + SF_UNIT - 1) / SF_UNIT;
    struct sf_disk_content *c = content_of(n, size);
    uint64_t first = draw(seed, (unsigned)units), count = 1 + draw(seed, 40);
    uint64_t off = first * SF_UNIT, len = count * SF_UNIT;
    if (off + len > size)
        len = size - off;
    unsigned what = draw(seed, 100);
    if (what < 45) {
        mark(n, off, len);
        put_bytes(c, n, off, len);
    } else if (what < 85)
        read_some(c, n, draw(seed, (unsigned)size), 1 + draw(seed, 100000), what & 1);
    else if (what < 90)
        (void)sf_disk_evict(c);
    else if (what < 93)
        assert_int_equal(sf_disk_pin(c, what == 90 && n < 6), 0);
    else if (what < 97) {
        char id[32];
        snprintf(id, sizeof id, "alias-%u", n);
        struct sf_cache_key key = {"bucket", id, "\"e\"", size};
        sf_disk_name(c, &key);
    } else
        sf_disk_flush(disk);
    sf_disk_unref(c);
    atomic_fetch_add(&shared->steps, 1);
}

/* A process that works until it is killed. */
static void
child(unsigned seed)
{
    setenv("CMOCKA_TEST_ABORT", "1", 1); /* a failure here is the end of the child, and seen */
    disk_open((struct sf_disk_opts){.max_bytes = LIMIT});
    for (;;)
        one_step(&seed);
}

static void
check_all(void)
{
    assert_in_order();
    for (unsigned n = 0; n < CONTENTS; n++) {
        char id[32];
        struct sf_disk_content *c = content_of(n, size_of(n)), *alias;
        for (uint64_t off = 0; off < size_of(n); off += SF_UNIT)
            read_some(c, n, off, SF_UNIT, false);
        snprintf(id, sizeof id, "alias-%u", n);
        struct sf_cache_key key = {"bucket", id, "\"e\"", size_of(n)};
        assert_int_equal(sf_disk_get(disk, &key, &alias), 0);
        read_some(alias, n, 0, size_of(n), false);
        sf_disk_unref(alias);
        sf_disk_unref(c);
    }
    assert_int_equal(disk_stats().bad_units, 0);
    assert_in_order();
}

static bool
enough_was_done(void)
{
    return atomic_load(&shared->steps) > 100 && atomic_load(&shared->read_units) > 10;
}

static void
killed_at_any_moment(void **state)
{
    (void)state;
    int rounds = getenv("SF_SOAK") ? 400 : 25;
    shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_true(shared != MAP_FAILED);
    /* More of them where the machine is so busy that a child gets hardly anything done. */
    for (int i = 0; i < rounds || (i < 20 * rounds && !enough_was_done()); i++) {
        int status;
        pid_t pid = fork();
        assert_true(pid >= 0);
        if (!pid) {
            child((unsigned)i * 7919 + 1);
            _exit(0);
        }
        usleep(20000 + (unsigned)i * 7919 % 83 * 1000);
        kill(pid, SIGKILL);
        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
        disk_open((struct sf_disk_opts){.max_bytes = LIMIT});
        if (i % 5 == 4)
            check_all();
        else
            assert_in_order();
        disk_close();
    }
    assert_true(enough_was_done());
    munmap(shared, sizeof *shared);
}

/* What a kill between two steps leaves: made by hand. */
static void
leftovers_are_found(void **state)
{
    (void)state;
    char path[192];
    disk_open((struct sf_disk_opts){0});
    struct sf_disk_content *c = content_of(1, 5u << 20);
    put_bytes(c, 1, 0, 5u << 20);
    sf_disk_unref(c);
    disk_close();
    unsigned files = block_files(NULL);
    assert_int_equal(files, 5);

    /* the end was not an orderly one */
    int status;
    pid_t pid = fork();
    if (!pid) {
        disk_open((struct sf_disk_opts){0});
        kill(getpid(), SIGKILL);
    }
    waitpid(pid, &status, 0);
    snprintf(path, sizeof path, "%s/blocks/07/0000010000000007-0", disk_dir);
    char *slash = strrchr(path, '/');
    *slash = '\0';
    (void)mkdir(path, 0700);
    *slash = '/';
    close(open(path, O_WRONLY | O_CREAT, 0600)); /* a file without row */
    snprintf(slash, 16, "/strange");
    close(open(path, O_WRONLY | O_CREAT, 0600));
    /* a row without file, and a file with more than its row knows */
    unsigned hidden = 0;
    for (unsigned i = 0; i < 256 && hidden < 2; i++) {
        snprintf(path, sizeof path, "%s/blocks/%02x", disk_dir, i);
        DIR *dir = opendir(path);
        struct dirent *e;
        while (dir && hidden < 2 && (e = readdir(dir)))
            if (strchr(e->d_name, '-') && strlen(e->d_name) == 18 && strcmp(e->d_name + 16, "-0") &&
                unlinkat(dirfd(dir), e->d_name, 0) == 0)
                hidden++;
        if (dir)
            closedir(dir);
    }
    assert_int_equal(hidden, 2);
    disk_open((struct sf_disk_opts){0});
    assert_in_order();
    assert_int_equal(block_files(NULL), 3);
    assert_int_equal(index_sums().here, 3u << 20);
}

/* Room that bytes take which no row names is given back. */
static void
bytes_that_no_row_names_are_given_back(void **state)
{
    (void)state;
    int status;
    disk_open((struct sf_disk_opts){0});
    struct sf_disk_content *c = content_of(1, 1u << 20);
    put_bytes(c, 1, 0, SF_UNIT);
    sf_disk_unref(c);
    disk_close();
    pid_t pid = fork();
    if (!pid) {
        disk_open((struct sf_disk_opts){0});
        kill(getpid(), SIGKILL);
    }
    waitpid(pid, &status, 0);
    for (unsigned i = 0; i < 256; i++) {
        char path[128], junk[5 * SF_UNIT];
        memset(junk, 'j', sizeof junk);
        snprintf(path, sizeof path, "%s/blocks/%02x", disk_dir, i);
        DIR *dir = opendir(path);
        struct dirent *e;
        while (dir && (e = readdir(dir)))
            if (e->d_name[0] != '.') {
                int fd = openat(dirfd(dir), e->d_name, O_WRONLY);
                assert_int_equal(pwrite(fd, junk, sizeof junk, 3 * SF_UNIT), sizeof junk);
                close(fd);
            }
        if (dir)
            closedir(dir);
    }
    uint64_t bytes;
    (void)block_files(&bytes);
    assert_true(bytes >= 6 * SF_UNIT);
    disk_open((struct sf_disk_opts){0});
    assert_in_order();
    c = content_of(1, 1u << 20);
    assert_int_equal(get_bytes(c, 1, 0, 1u << 20, false), SF_UNIT);
    sf_disk_unref(c);
}

/* Another boot: what was not synced may be torn, so nothing of it is believed. */
static void
another_boot_begins_empty(void **state)
{
    (void)state;
    char path[128];
    disk_open((struct sf_disk_opts){0});
    struct sf_disk_content *c = content_of(1, 3u << 20);
    put_bytes(c, 1, 0, 3u << 20);
    sf_disk_unref(c);
    disk_close();
    snprintf(path, sizeof path, "%s/index/boot", disk_dir);
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fputs("1d3c9f0e-0000-4000-8000-000000000000", f);
    fclose(f);
    disk_open((struct sf_disk_opts){0});
    c = content_of(1, 3u << 20);
    assert_int_equal(get_bytes(c, 1, 0, 1000, false), 0);
    assert_in_order();
    assert_int_equal(disk_stats().bytes, 0);
    put_bytes(c, 1, 0, 3u << 20);
    assert_int_equal(get_bytes(c, 1, 0, 3u << 20, false), 3u << 20);
    sf_disk_unref(c);
    assert_in_order();
    assert_int_equal(block_files(NULL), 3);
    disk_close();
    /* the old blocks are gone */
    DIR *dir = opendir(disk_dir);
    struct dirent *e;
    while ((e = readdir(dir)))
        assert_null(strstr(e->d_name, "trash"));
    closedir(dir);
}

int
main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, disk_setup, disk_teardown)
    const struct CMUnitTest tests[] = {
        TEST(killed_at_any_moment),
        TEST(leftovers_are_found),
        TEST(bytes_that_no_row_names_are_given_back),
        TEST(another_boot_begins_empty),
    };
    return cmocka_run_group_tests_name("cache-disk-crash", tests, NULL, NULL);
}
