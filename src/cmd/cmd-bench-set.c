/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "cmd/bench.h"

#include "base/cleanup.h"
#include "base/file.h"
#include "cmd/cmd.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define PIECE 1048576u /* bytes of one write */

/* ---- contents ---------------------------------------------------------------------------------
 */

/* Mixes all bits of a number into all of its bits. */
static uint64_t
mix(uint64_t x)
{
    x ^= x >> 31;
    x *= UINT64_C(0x9e3779b97f4a7c15);
    x ^= x >> 29;
    x *= UINT64_C(0xd6e8feb86659fd93);
    return x ^ x >> 32;
}

uint64_t
bench_random(uint64_t *state)
{
    return mix(++*state * UINT64_C(0x632be59bd9b4e019));
}

uint64_t
bench_seed(const char *folder, uint64_t n)
{
    uint64_t seed = 0;
    while (*folder)
        seed = seed * 31 + (unsigned char)*folder++;
    return mix(seed * 1000003 + n);
}

static uint64_t
word_at(uint64_t seed, uint64_t off)
{
    return mix(seed + off / sizeof(uint64_t));
}

bool
bench_right(uint64_t seed, uint64_t off, const void *data, uint64_t n)
{
    uint64_t first, last, size = sizeof first;
    if (n < size)
        return false;
    memcpy(&first, data, size);
    memcpy(&last, (const char *)data + n - size, size);
    return first == word_at(seed, off) && last == word_at(seed, off + n - size);
}

/* ---- files ------------------------------------------------------------------------------------
 */

void
bench_path(const struct bench *b, char out[PATH_MAX], const char *folder, uint64_t n)
{
    /* No zeros in front: the order of the numbers is then not that of the names. */
    int len = *folder ? snprintf(out, PATH_MAX, "%s/%s/f%" PRIu64, b->dir, folder, n)
                      : snprintf(out, PATH_MAX, "%s/large", b->dir);
    if (len >= PATH_MAX)
        out[0] = '\0'; /* ENOENT for whoever uses it */
}

int
bench_folder(const struct bench *b, char out[PATH_MAX], const char *folder)
{
    return snprintf(out, PATH_MAX, "%s/%s", b->dir, folder) < PATH_MAX ? 0 : -ENAMETOOLONG;
}

int
bench_fill(const struct bench *b, const char *path, uint64_t seed, uint64_t size)
{
    uint64_t piece = size < PIECE ? size : PIECE;
    sf_autofree uint64_t *buf = malloc(piece ? piece : 1);
    sf_autofd int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (!buf || fd < 0)
        return buf ? -errno : -ENOMEM;
    for (uint64_t off = 0; off < size;) {
        uint64_t n = size - off < piece ? size - off : piece;
        for (uint64_t i = 0; i < n / sizeof *buf; i++)
            buf[i] = word_at(seed, off + i * sizeof *buf);
        int rc = *b->stop ? -EINTR : sf_write_full(fd, buf, n);
        if (rc)
            return rc;
        off += n;
    }
    return close(sf_steal_fd(fd)) < 0 ? -errno : 0;
}

static int
make_folder(const struct bench *b, const char *folder, uint64_t files)
{
    char path[PATH_MAX];
    if (bench_folder(b, path, folder))
        return -ENAMETOOLONG;
    fprintf(stderr, "supafs bench: making %" PRIu64 " files in %s\n", files, path);
    if (mkdir(path, 0700) < 0 && errno != EEXIST)
        return -errno;
    for (uint64_t i = 0; i < files; i++) {
        bench_path(b, path, folder, i);
        int rc = bench_fill(b, path, bench_seed(folder, i), BENCH_SMALL);
        if (rc)
            return rc;
    }
    return 0;
}

int
bench_set_make(const struct bench *b)
{
    char path[PATH_MAX];
    int rc = make_folder(b, "small", b->sizes.small_files);
    if (!rc)
        rc = make_folder(b, "list", b->sizes.list_files);
    if (!rc) {
        bench_path(b, path, "", 0);
        fprintf(stderr, "supafs bench: making %s of %" PRIu64 " bytes\n", path, b->sizes.large);
        rc = bench_fill(b, path, bench_seed("", 0), b->sizes.large);
    }
    if (rc && rc != -EINTR)
        complain("cannot make the files to be read: %s", strerror(-rc));
    return rc;
}

/* Everything in a directory of ours, and itself. */
static void
remove_folder(const char *path, int *rc)
{
    sf_autodir DIR *dir = opendir(path);
    if (!dir) {
        *rc = errno == ENOENT ? *rc : -errno;
        return;
    }
    for (const struct dirent *e; (e = readdir(dir));) {
        bool self = !strcmp(e->d_name, ".") || !strcmp(e->d_name, "..");
        if (!self && unlinkat(dirfd(dir), e->d_name, 0) < 0 && errno != ENOENT)
            *rc = -errno;
    }
    if (rmdir(path) < 0)
        *rc = -errno;
}

int
bench_set_remove(const struct bench *b)
{
    static const char *const folders[] = {"small", "list", "write", "one", "big"};
    char path[PATH_MAX];
    int rc = 0;
    for (size_t i = 0; i < sizeof folders / sizeof *folders; i++)
        if (!bench_folder(b, path, folders[i]))
            remove_folder(path, &rc);
    remove_folder(b->dir, &rc);
    if (rc)
        complain("cannot remove %s: %s", b->dir, strerror(-rc));
    return rc;
}
