/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef TESTS_UNIT_DISK_FIXTURE_H
#define TESTS_UNIT_DISK_FIXTURE_H

#include <dirent.h>
#include <errno.h>
#include <ftw.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "cache/disk.h"

/* A disk tier in a directory of its own, and contents whose bytes follow from their names. */

static char disk_dir[64];
static struct sf_disk *disk;

static inline int
fixture_remove(const char *path, const struct stat *st, int flag, struct FTW *f)
{
    (void)st, (void)flag, (void)f;
    return remove(path);
}

static inline int
disk_setup(void **state)
{
    (void)state;
    snprintf(disk_dir, sizeof disk_dir, "/tmp/supafs-disk-XXXXXX");
    return mkdtemp(disk_dir) ? 0 : -1;
}

static inline int
disk_teardown(void **state)
{
    (void)state;
    sf_disk_close(disk);
    disk = NULL;
    return nftw(disk_dir, fixture_remove, 8, FTW_DEPTH | FTW_PHYS);
}

static inline void
disk_open(struct sf_disk_opts o)
{
    struct sf_err err = SF_ERR_INIT;
    o.dir = disk_dir;
    if (!o.max_bytes)
        o.max_bytes = 64u << 20;
    int rc = sf_disk_open(&o, &disk, &err);
    if (rc)
        fail_msg("%s", err.msg);
}

static inline void
disk_close(void)
{
    sf_disk_close(disk);
    disk = NULL;
}

static inline struct sf_disk_content *
content_of(unsigned n, uint64_t size)
{
    char id[32], etag[32];
    struct sf_disk_content *c;
    snprintf(id, sizeof id, "id-%u", n);
    snprintf(etag, sizeof etag, "\"etag-%u\"", n);
    struct sf_cache_key key = {.bucket = "bucket", .id = id, .etag = etag, .size = size};
    assert_int_equal(sf_disk_get(disk, &key, &c), 0);
    return c;
}

static inline void
bytes_of_content(unsigned n, uint64_t off, size_t len, char *out)
{
    for (size_t i = 0; i < len; i++) {
        uint64_t x = (off + i) * 0x9e3779b97f4a7c15u + n * 0xbf58476d1ce4e5b9u;
        out[i] = (char)(x >> 29 ^ x >> 47);
    }
}

static inline void
put_bytes(struct sf_disk_content *c, unsigned n, uint64_t off, size_t len)
{
    char *buf = malloc(len);
    assert_non_null(buf);
    bytes_of_content(n, off, len, buf);
    sf_disk_write(c, off, len, buf);
    free(buf);
}

/* Bytes that came, each of which is right. */
static inline ssize_t
get_bytes(struct sf_disk_content *c, unsigned n, uint64_t off, size_t len, bool nowait)
{
    char *buf = malloc(len), *want = malloc(len);
    assert_true(buf && want);
    ssize_t got = sf_disk_read(c, off, len, buf, nowait);
    if (got > 0) {
        bytes_of_content(n, off, (size_t)got, want);
        assert_memory_equal(buf, want, (size_t)got);
    }
    free(buf);
    free(want);
    return got;
}

static inline struct sf_disk_stats
disk_stats(void)
{
    struct sf_disk_stats s;
    sf_disk_get_stats(disk, &s);
    return s;
}

/* Until the thread has compared blocks and index. */
static inline void
wait_recovered(void)
{
    for (int i = 0; i < 1000 && disk_stats().recovering; i++)
        usleep(5000);
    assert_false(disk_stats().recovering);
}

/* Files below blocks/, and what they take. */
static inline unsigned
block_files(uint64_t *bytes)
{
    unsigned n = 0;
    uint64_t sum = 0;
    for (unsigned i = 0; i < 256; i++) {
        char path[128];
        snprintf(path, sizeof path, "%s/blocks/%02x", disk_dir, i);
        DIR *dir = opendir(path);
        struct dirent *e;
        struct stat st;
        while (dir && (e = readdir(dir)))
            if (e->d_name[0] != '.' && fstatat(dirfd(dir), e->d_name, &st, 0) == 0) {
                n++;
                sum += (uint64_t)st.st_blocks * 512;
            }
        if (dir)
            closedir(dir);
    }
    if (bytes)
        *bytes = sum;
    return n;
}

struct index_sums {
    uint64_t bytes, large, here; /* counted; of contents that lie in files; bytes of objects */
    unsigned contents, files;    /* files: chunks of such contents, at most */
};

static inline int
sum_content(void *arg, const struct sf_disk_row *row)
{
    struct index_sums *s = arg;
    s->contents++;
    s->bytes += row->bytes;
    s->here += row->here;
    if (row->size > SF_DISK_SMALL)
        s->large += row->bytes;
    return 0;
}

static inline struct index_sums
index_sums(void)
{
    struct index_sums s = {0};
    assert_int_equal(sf_disk_each(disk, 0, sum_content, &s), 0);
    return s;
}

/* What is counted is what the index has, and no file takes room that is not counted. */
static inline void
assert_in_order(void)
{
    uint64_t bytes;
    sf_disk_flush(disk);
    wait_recovered(); /* what was committed may ask for it */
    sf_disk_flush(disk);
    struct index_sums s = index_sums();
    unsigned files = block_files(&bytes);
    assert_int_equal(disk_stats().bytes, s.bytes);
    assert_true(files <= disk_stats().chunks);
    assert_true(bytes + 512 * (uint64_t)files <= s.large);
    assert_true(s.bytes <= disk_stats().max_bytes);
}

#endif
