/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "cmd/bench.h"

#include "base/cleanup.h"
#include "base/clock.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define THROUGH 131072u /* bytes of one read of a program that reads a file through */

static void
began(struct bench_result *r)
{
    r->started_ns = sf_clock_ns();
}

static void
done(struct bench_result *r, uint64_t operations, uint64_t bytes)
{
    r->took_ns = sf_clock_ns() - r->started_ns;
    r->operations = operations;
    r->bytes = bytes;
}

/* All of [off, off + n) into @buf; -EIO when it ends before or is not what was written. */
static int
read_right(int fd, uint64_t seed, uint64_t off, void *buf, size_t n)
{
    for (size_t have = 0; have < n;) {
        ssize_t got = pread(fd, (char *)buf + have, n - have, (off_t)(off + have));
        if (got <= 0)
            return got < 0 ? -errno : -EIO;
        have += (size_t)got;
    }
    return bench_right(seed, off, buf, n) ? 0 : -EIO;
}

static int
random_reads(struct bench *b, uint64_t count, struct bench_result *r)
{
    char path[PATH_MAX], buf[BENCH_SMALL];
    uint64_t state = 0, blocks = b->sizes.large / BENCH_SMALL;
    int rc = 0;
    bench_path(b, path, "", 0);
    began(r);
    sf_autofd int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    for (uint64_t i = 0; !rc && i < count; i++) {
        uint64_t off = bench_random(&state) % blocks * BENCH_SMALL;
        rc = *b->stop ? -EINTR : read_right(fd, bench_seed("", 0), off, buf, sizeof buf);
    }
    done(r, count, count * BENCH_SMALL);
    return rc;
}

static int
run_random(struct bench *b, struct bench_result *r)
{
    return random_reads(b, b->sizes.random_reads, r);
}

static int
run_random_cached(struct bench *b, struct bench_result *r)
{
    return random_reads(b, b->sizes.cached_reads, r);
}

static int
run_through(struct bench *b, struct bench_result *r)
{
    char path[PATH_MAX];
    sf_autofree char *buf = malloc(THROUGH);
    int rc = buf ? 0 : -ENOMEM;
    bench_path(b, path, "", 0);
    began(r);
    sf_autofd int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    uint64_t left = b->sizes.large, off = 0;
    for (; !rc && left; off += THROUGH) {
        size_t n = left < THROUGH ? (size_t)left : THROUGH;
        rc = *b->stop ? -EINTR : read_right(fd, bench_seed("", 0), off, buf, n);
        left -= n;
    }
    done(r, 1, b->sizes.large);
    return rc;
}

static int
files_in_order(struct bench *b, const char *folder, uint64_t files, struct bench_result *r)
{
    char path[PATH_MAX], buf[BENCH_SMALL];
    int rc = 0;
    began(r);
    for (uint64_t i = 0; !rc && i < files; i++) {
        bench_path(b, path, folder, i);
        sf_autofd int fd = open(path, O_RDONLY | O_CLOEXEC);
        if (fd < 0)
            return -errno;
        rc = *b->stop ? -EINTR : read_right(fd, bench_seed(folder, i), 0, buf, sizeof buf);
    }
    done(r, files, files * BENCH_SMALL);
    return rc;
}

static int
run_small(struct bench *b, struct bench_result *r)
{
    return files_in_order(b, "small", b->sizes.small_files, r);
}

static int
run_small_cached(struct bench *b, struct bench_result *r)
{
    return files_in_order(b, "list", b->sizes.list_files, r);
}

/* As `ls -l`. */
static int
run_list(struct bench *b, struct bench_result *r)
{
    char path[PATH_MAX];
    uint64_t seen = 0;
    if (bench_folder(b, path, "list"))
        return -ENAMETOOLONG;
    began(r);
    sf_autodir DIR *dir = opendir(path);
    if (!dir)
        return -errno;
    errno = 0;
    for (const struct dirent *e; (e = readdir(dir)); errno = 0) {
        struct stat st;
        if (e->d_name[0] == '.')
            continue;
        if (fstatat(dirfd(dir), e->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0)
            return -errno;
        if (st.st_size != BENCH_SMALL || *b->stop)
            return *b->stop ? -EINTR : -EIO;
        seen++;
    }
    done(r, seen, 0);
    return errno ? -errno : seen == b->sizes.list_files ? 0 : -EIO;
}

/* @round: what was written before is written over by a higher one. */
static int
write_files(struct bench *b, const char *folder, uint64_t files, uint64_t size, unsigned round)
{
    char path[PATH_MAX];
    int rc = 0;
    for (uint64_t i = 0; !rc && i < files; i++) {
        bench_path(b, path, folder, i);
        rc = *b->stop ? -EINTR : bench_fill(b, path, bench_seed(folder, i) + round, size);
    }
    return rc;
}

static int
make_dir(const struct bench *b, const char *folder)
{
    char path[PATH_MAX];
    if (bench_folder(b, path, folder))
        return -ENAMETOOLONG;
    return mkdir(path, 0700) < 0 && errno != EEXIST ? -errno : 0;
}

static int
written(struct bench *b, const char *folder, uint64_t files, uint64_t size, unsigned round,
        struct bench_result *r)
{
    int rc = make_dir(b, folder);
    began(r);
    if (!rc)
        rc = write_files(b, folder, files, size, round);
    if (!rc)
        rc = bench_wait_stored(b);
    done(r, files, files * size);
    return rc;
}

static int
run_write_small(struct bench *b, struct bench_result *r)
{
    return written(b, "write", b->sizes.write_files, BENCH_SMALL, 0, r);
}

static int
run_write_new(struct bench *b, struct bench_result *r)
{
    return written(b, "one", b->sizes.one_by_one, BENCH_SMALL, 0, r);
}

/* Over what the row before has written, or over what this writes first. */
static int
run_write_over(struct bench *b, struct bench_result *r)
{
    char path[PATH_MAX];
    struct stat st;
    int rc = make_dir(b, "one");
    bench_path(b, path, "one", b->sizes.one_by_one - 1);
    if (!rc && stat(path, &st) < 0)
        rc = write_files(b, "one", b->sizes.one_by_one, BENCH_SMALL, 0);
    return rc ? rc : written(b, "one", b->sizes.one_by_one, BENCH_SMALL, 1, r);
}

static int
run_write_large(struct bench *b, struct bench_result *r)
{
    return written(b, "big", 1, b->sizes.write_large, 0, r);
}

const struct bench_row bench_rows[] = {
    {"random", "4 KiB reads here and there in the large file", true, false, false, run_random},
    {"through", "the large file read through", true, false, false, run_through},
    {"small", "files of 4 KiB read one after another", true, false, false, run_small},
    {"list", "a directory listed, each entry with its attributes", true, false, false, run_list},
    {"random-cached", "as random; cached, but not by the kernel", false, true, false,
     run_random_cached},
    {"small-cached", "as small; cached, but not by the kernel", false, true, false,
     run_small_cached},
    {"write-small", "files of 4 KiB written, until all are stored", false, false, true,
     run_write_small},
    {"write-new", "a new file of 4 KiB until close() has returned", false, false, true,
     run_write_new},
    {"write-over", "the same over an existing file", false, false, true, run_write_over},
    {"write-large", "a large file written, until it is stored", false, false, true,
     run_write_large},
};
const unsigned bench_n_rows = sizeof bench_rows / sizeof *bench_rows;
