/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "disk-fixture.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>

/* Flipped bits and worse, in blocks, rows and the structure of LMDB: never a wrong byte. */

#define MIB    (1u << 20)
#define SMALLS 40
#define LARGES 3

static uint64_t
size_of(unsigned n)
{
    return n < LARGES ? 2 * MIB + 777 : 500 + 997 * (uint64_t)(n - LARGES);
}

static void
fill(void)
{
    for (unsigned n = 0; n < LARGES + SMALLS; n++) {
        struct sf_disk_content *c = content_of(n, size_of(n));
        put_bytes(c, n, 0, size_of(n));
        sf_disk_unref(c);
    }
    sf_disk_flush(disk);
}

/* Bytes that are there. What is wrong ends the test. */
static uint64_t
read_all(void)
{
    uint64_t sum = 0;
    for (unsigned n = 0; n < LARGES + SMALLS; n++) {
        struct sf_disk_content *c = content_of(n, size_of(n));
        for (uint64_t off = 0; off < size_of(n); off += 10000) {
            ssize_t got = get_bytes(c, n, off, 10000, false);
            sum += got > 0 ? (uint64_t)got : 0;
        }
        sf_disk_unref(c);
    }
    return sum;
}

static uint64_t
all_bytes(void)
{
    uint64_t sum = 0;
    for (unsigned n = 0; n < LARGES + SMALLS; n++)
        sum += size_of(n);
    return sum;
}

static unsigned
draw(unsigned *seed, unsigned below)
{
    *seed = *seed * 1103515245 + 12345;
    return (*seed >> 8) % below;
}

/* The first block file; closed by the caller. */
static int
open_block(void)
{
    for (unsigned i = 0; i < 256; i++) {
        char path[128];
        snprintf(path, sizeof path, "%s/blocks/%02x", disk_dir, i);
        DIR *dir = opendir(path);
        struct dirent *e;
        int fd = -1;
        while (dir && fd < 0 && (e = readdir(dir)))
            if (e->d_name[0] != '.')
                fd = openat(dirfd(dir), e->d_name, O_RDWR);
        if (dir)
            closedir(dir);
        if (fd >= 0)
            return fd;
    }
    fail_msg("there is no block");
    return -1;
}

static int
open_index(void)
{
    char path[128];
    snprintf(path, sizeof path, "%s/index/data.mdb", disk_dir);
    int fd = open(path, O_RDWR);
    assert_true(fd >= 0);
    return fd;
}

static void
a_flipped_bit_in_a_block_is_a_miss(void **state)
{
    (void)state;
    char byte;
    disk_open((struct sf_disk_opts){0});
    fill();
    int fd = open_block();
    assert_int_equal(pread(fd, &byte, 1, 3 * SF_UNIT + 77), 1);
    byte ^= 16;
    assert_int_equal(pwrite(fd, &byte, 1, 3 * SF_UNIT + 77), 1);
    close(fd);
    assert_true(read_all() >= all_bytes() - SF_UNIT - 10000);
    assert_int_equal(disk_stats().bad_units, 1);
    fill(); /* fetched again */
    assert_int_equal(read_all(), all_bytes());
    assert_in_order();
}

static void
a_cut_block_is_a_miss(void **state)
{
    (void)state;
    disk_open((struct sf_disk_opts){0});
    fill();
    int fd = open_block();
    assert_int_equal(ftruncate(fd, 5 * SF_UNIT + 100), 0);
    close(fd);
    assert_true(read_all() < all_bytes());
    assert_int_equal(disk_stats().bad_units, 27);
    fill();
    assert_int_equal(read_all(), all_bytes());
    /* and after it was checked */
    fd = open_block();
    assert_int_equal(ftruncate(fd, 0), 0);
    close(fd);
    assert_true(read_all() < all_bytes());
    fill();
    assert_int_equal(read_all(), all_bytes());
    assert_in_order();
}

/* Blocks that are right, but elsewhere. */
static void
exchanged_blocks_are_misses(void **state)
{
    (void)state;
    char one[128], other[128];
    disk_open((struct sf_disk_opts){0});
    fill();
    int n = 0;
    for (unsigned i = 0; i < 256 && n < 2; i++) {
        char path[128];
        snprintf(path, sizeof path, "%s/blocks/%02x", disk_dir, i);
        DIR *dir = opendir(path);
        struct dirent *e;
        while (dir && n < 2 && (e = readdir(dir)))
            if (e->d_name[0] != '.' && !strstr(e->d_name, "-2"))
                snprintf(n++ ? other : one, sizeof one, "%.60s/%.60s", path, e->d_name);
        if (dir)
            closedir(dir);
    }
    assert_int_equal(n, 2);
    assert_int_equal(renameat2(AT_FDCWD, one, AT_FDCWD, other, 2 /* exchange */), 0);
    disk_close();
    disk_open((struct sf_disk_opts){0});
    assert_true(read_all() <= all_bytes() - 2 * MIB + 20000);
    assert_int_equal(disk_stats().bad_units, 64);
    assert_in_order();
}

static void
verify_finds_what_was_read_before(void **state)
{
    (void)state;
    struct sf_disk_verified v;
    char byte = 0;
    disk_open((struct sf_disk_opts){0});
    fill();
    assert_int_equal(read_all(), all_bytes());
    assert_int_equal(sf_disk_verify(disk, NULL, NULL, &v), 0);
    assert_int_equal(v.bytes, all_bytes());
    assert_int_equal(v.bad, 0);
    int fd = open_block();
    assert_int_equal(pwrite(fd, &byte, 1, 100), 1);
    byte = 1;
    assert_int_equal(pwrite(fd, &byte, 1, 101), 1);
    close(fd);
    assert_int_equal(sf_disk_verify(disk, NULL, NULL, &v), 0);
    assert_int_equal(v.bad, 1);
    assert_int_equal(sf_disk_verify(disk, NULL, NULL, &v), 0);
    assert_int_equal(v.bad, 0);
    assert_in_order();
}

/* The bytes of a small object inside data.mdb. */
static void
a_flipped_bit_in_a_value_is_a_miss(void **state)
{
    (void)state;
    char want[64];
    unsigned n = LARGES + 30;
    disk_open((struct sf_disk_opts){0});
    fill();
    disk_close();
    bytes_of_content(n, 5000, sizeof want, want);
    int fd = open_index();
    struct stat st;
    assert_int_equal(fstat(fd, &st), 0);
    char *all = malloc((size_t)st.st_size);
    assert_int_equal(pread(fd, all, (size_t)st.st_size, 0), st.st_size);
    unsigned found = 0;
    for (char *p = all; (p = memmem(p, (size_t)(all + st.st_size - p), want, sizeof want)); p++) {
        char flipped = (char)(*p ^ 1);
        assert_int_equal(pwrite(fd, &flipped, 1, p - all), 1);
        found++;
    }
    free(all);
    close(fd);
    assert_true(found > 0);
    disk_open((struct sf_disk_opts){0});
    assert_int_equal(read_all(), all_bytes() - size_of(n));
    assert_int_equal(disk_stats().bad_units, 1);
    assert_in_order();
}

/* ---- inside LMDB ---------------------------------------------------------------------------- */

#define WRONG 77 /* no status of a sanitizer */

/* Use everything, in a process of its own. Its exit status: 0, WRONG, or of the signal. */
static int
use_in_child(void (*damage)(unsigned seed), unsigned seed)
{
    int status;
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid) {
        assert_int_equal(waitpid(pid, &status, 0), pid);
        return status;
    }
    alarm(60);
    setenv("CMOCKA_TEST_ABORT", "1", 1);
    /* Not cmocka's handlers, which allocate: the process ends by the signal. */
    const int ends[] = {SIGSEGV, SIGBUS, SIGABRT};
    for (unsigned i = 0; i < sizeof ends / sizeof ends[0]; i++)
        signal(ends[i], SIG_DFL);
    struct sf_disk_opts o = {.dir = disk_dir, .max_bytes = 64u << 20};
    if (sf_disk_open(&o, &disk, NULL))
        _exit(0);
    if (damage)
        damage(seed);
    for (int round = 0; round < 2; round++)
        for (unsigned n = 0; n < LARGES + SMALLS; n++) {
            static char got[3 * MIB], want[3 * MIB];
            struct sf_disk_content *c = content_of(n, size_of(n));
            for (uint64_t off = 0; off < size_of(n); off += 100000) {
                ssize_t len = sf_disk_read(c, off, 100000, got, false);
                if (len > 0) {
                    bytes_of_content(n, off, (size_t)len, want);
                    if (memcmp(got, want, (size_t)len) != 0)
                        _exit(WRONG);
                }
            }
            if (n % 7 == 3)
                (void)sf_disk_evict(c);
            bytes_of_content(n, 0, size_of(n), want);
            sf_disk_write(c, 0, size_of(n), want);
            sf_disk_unref(c);
        }
    (void)sf_disk_each(disk, 0, sum_content, &(struct index_sums){0});
    disk_close();
    _exit(0);
}

/* Bits, or whole pages, of the file of the index; the two pages that begin it are left alone every
 * other time. */
static void
spoil_index(unsigned seed)
{
    int fd = open_index();
    struct stat st;
    assert_int_equal(fstat(fd, &st), 0);
    unsigned pages = (unsigned)(st.st_size / 4096), what = draw(&seed, 4);
    for (unsigned i = 0; i < 1 + seed % 40; i++) {
        unsigned char page[4096];
        unsigned from = what & 1 ? 2 : 0, nth = from + draw(&seed, pages - from);
        assert_int_equal(pread(fd, page, sizeof page, (off_t)nth * 4096), sizeof page);
        if (what & 2)
            page[draw(&seed, 4096)] ^= (unsigned char)(1u << draw(&seed, 8));
        else
            for (unsigned k = draw(&seed, 64); k < sizeof page; k++)
                page[k] = (unsigned char)draw(&seed, 256);
        assert_int_equal(pwrite(fd, page, sizeof page, (off_t)nth * 4096), sizeof page);
    }
    close(fd);
}

static void
cut_index(unsigned seed)
{
    int fd = open_index();
    struct stat st;
    assert_int_equal(fstat(fd, &st), 0);
    unsigned pages = (unsigned)(st.st_size / 4096);
    assert_int_equal(ftruncate(fd, (off_t)draw(&seed, pages) * 4096), 0);
    close(fd);
}

static void
refill(void)
{
    (void)disk_teardown(NULL);
    (void)disk_setup(NULL);
    disk_open((struct sf_disk_opts){0});
    fill();
    disk_close();
}

/* @status of the one that met the damage. The next ones have to be well. */
static void
after_damage(int status, unsigned seed, unsigned *died)
{
    if (WIFSIGNALED(status)) {
        ++*died;
        if (WTERMSIG(status) != SIGSEGV && WTERMSIG(status) != SIGABRT &&
            WTERMSIG(status) != SIGBUS)
            fail_msg("seed %u: signal %d", seed, WTERMSIG(status));
    } else if (WEXITSTATUS(status))
        fail_msg("seed %u: %s", seed, WEXITSTATUS(status) == WRONG ? "a wrong byte" : "an error");
    for (int i = 0; i < 2; i++) {
        status = use_in_child(NULL, 0);
        if (status && i)
            fail_msg("seed %u: it does not get well: %#x", seed, status);
        if (!status)
            break;
    }
    disk_open((struct sf_disk_opts){0});
    for (int i = 0; i < 3 && read_all() != all_bytes(); i++) {
        wait_recovered(); /* what is met late begins it once more */
        fill();
    }
    assert_int_equal(read_all(), all_bytes());
    assert_in_order();
    disk_close();
}

static void
a_spoiled_index_gives_no_wrong_byte(void **state)
{
    (void)state;
    unsigned died = 0, rounds = getenv("SF_SOAK") ? 400 : 16;
    for (unsigned seed = 1; seed <= rounds; seed++) {
        refill();
        if (seed & 1)
            spoil_index(seed);
        after_damage(use_in_child(seed & 1 ? NULL : spoil_index, seed), seed, &died);
    }
    print_message("%u of %u damaged indexes ended a process\n", died, rounds);
}

static void
a_cut_index_is_begun_again(void **state)
{
    (void)state;
    unsigned died = 0, rounds = getenv("SF_SOAK") ? 100 : 6;
    for (unsigned seed = 1; seed <= rounds; seed++) {
        refill();
        if (seed & 1)
            cut_index(seed);
        after_damage(use_in_child(seed & 1 ? NULL : cut_index, seed), seed, &died);
    }
    assert_int_equal(died, 0);
}

int
main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, disk_setup, disk_teardown)
    const struct CMUnitTest tests[] = {
        TEST(a_flipped_bit_in_a_block_is_a_miss), TEST(a_cut_block_is_a_miss),
        TEST(exchanged_blocks_are_misses),        TEST(verify_finds_what_was_read_before),
        TEST(a_flipped_bit_in_a_value_is_a_miss), TEST(a_spoiled_index_gives_no_wrong_byte),
        TEST(a_cut_index_is_begun_again),
    };
    return cmocka_run_group_tests_name("cache-disk-damage", tests, NULL, NULL);
}
