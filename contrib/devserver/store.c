/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "store.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"

#define SMALL_MAX  (64u << 10)
#define PATH_SIZE  64
#define COPY_CHUNK (1u << 20)

struct ds_store {
    int objects; /* DIR/objects */
    int tmp;     /* DIR/tmp */
};

static int
open_folder(int dir_fd, const char *name, struct sf_err *err)
{
    if (mkdirat(dir_fd, name, 0700) < 0 && errno != EEXIST)
        return sf_err_set(err, -errno, "create folder %s: %m", name);
    int fd = openat(dir_fd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return sf_err_set(err, -errno, "open folder %s: %m", name);
    return fd;
}

/* Calls fn for each plain name in the folder; the folder's descriptor stays open. */
static int
each_name(int folder, void (*fn)(void *arg, int folder, const char *name), void *arg)
{
    int fd = openat(folder, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    sf_autodir DIR *dir = fdopendir(fd);
    if (!dir) {
        close(fd);
        return -ENOMEM;
    }
    for (struct dirent *entry; (entry = readdir(dir));)
        if (entry->d_name[0] != '.')
            fn(arg, folder, entry->d_name);
    return 0;
}

static void
remove_name(void *arg, int folder, const char *name)
{
    (void)arg;
    unlinkat(folder, name, 0);
}

int
ds_store_open(int dir_fd, struct ds_store **ret, struct sf_err *err)
{
    struct ds_store *store = calloc(1, sizeof *store);
    if (!store)
        return sf_err_set(err, -ENOMEM, "object store: no memory");
    store->objects = open_folder(dir_fd, "objects", err);
    store->tmp = store->objects < 0 ? -1 : open_folder(dir_fd, "tmp", err);
    if (store->tmp < 0) {
        int code = store->objects < 0 ? store->objects : store->tmp;
        ds_store_close(store);
        return code;
    }
    each_name(store->tmp, remove_name, NULL);
    for (int i = 0; i < 256; i++) {
        char name[4];
        snprintf(name, sizeof name, "%02x", (unsigned)i & 0xff);
        if (mkdirat(store->objects, name, 0700) < 0 && errno != EEXIST) {
            int code = sf_err_set(err, -errno, "create folder objects/%s: %m", name);
            ds_store_close(store);
            return code;
        }
    }
    *ret = store;
    return 0;
}

void
ds_store_close(struct ds_store *store)
{
    if (!store)
        return;
    if (store->objects >= 0)
        close(store->objects);
    if (store->tmp >= 0)
        close(store->tmp);
    free(store);
}

static void
version_path(const char *version, char out[PATH_SIZE])
{
    snprintf(out, PATH_SIZE, "%.2s/%s", version, version);
}

/* ---- sweep ---- */

struct sweep {
    char (*known)[DS_UUID_SIZE];
    size_t count;
    size_t removed;
};

static int
compare_versions(const void *a, const void *b)
{
    return strcmp(a, b);
}

static void
sweep_name(void *arg, int folder, const char *name)
{
    struct sweep *sweep = arg;
    char key[DS_UUID_SIZE];
    snprintf(key, sizeof key, "%s", name);
    if (sweep->count > 0 &&
        bsearch(key, sweep->known, sweep->count, sizeof *sweep->known, compare_versions))
        return;
    unlinkat(folder, name, 0);
    sweep->removed++;
}

int
ds_store_sweep(struct ds_store *store, struct ds_db *db)
{
    struct sweep sweep = {0};
    int rc = ds_db_versions(db, &sweep.known, &sweep.count);
    if (rc < 0)
        return rc;
    for (int i = 0; i < 256; i++) {
        char name[4];
        snprintf(name, sizeof name, "%02x", (unsigned)i & 0xff);
        sf_autofd int fd = openat(store->objects, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (fd >= 0)
            each_name(fd, sweep_name, &sweep);
    }
    free(sweep.known);
    if (sweep.removed > 0)
        fprintf(stderr, "supafs-devserver: removed %zu files of an unclean stop\n", sweep.removed);
    return 0;
}

/* ---- incoming ---- */

int
ds_incoming_init(struct ds_incoming *in, struct ds_store *store, bool hash)
{
    *in = (struct ds_incoming){.store = store, .fd = -1};
    if (ds_uuid_new(in->version) < 0)
        return -EIO;
    if (!hash)
        return 0;
    in->md5 = EVP_MD_CTX_new();
    if (!in->md5 || EVP_DigestInit_ex(in->md5, EVP_md5(), NULL) != 1) {
        ds_incoming_fini(in);
        return -ENOMEM;
    }
    return 0;
}

static int
write_all(int fd, const char *bytes, size_t len)
{
    while (len > 0) {
        ssize_t n = write(fd, bytes, len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -errno;
        bytes += n;
        len -= (size_t)n;
    }
    return 0;
}

static int
spill(struct ds_incoming *in)
{
    in->fd = openat(in->store->tmp, in->version, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (in->fd < 0)
        return -errno;
    int rc = in->small ? write_all(in->fd, in->small, in->size) : 0;
    free(in->small);
    in->small = NULL;
    return rc;
}

int
ds_incoming_add(struct ds_incoming *in, const void *bytes, size_t len)
{
    if (len == 0)
        return 0;
    if (in->md5)
        EVP_DigestUpdate(in->md5, bytes, len);
    int rc = 0;
    if (in->fd < 0 && in->size + len <= SMALL_MAX) {
        char *grown = realloc(in->small, in->size + len);
        if (!grown)
            return -ENOMEM;
        memcpy(grown + in->size, bytes, len);
        in->small = grown;
    } else {
        if (in->fd < 0)
            rc = spill(in);
        if (rc == 0)
            rc = write_all(in->fd, bytes, len);
    }
    if (rc == 0)
        in->size += len;
    return rc;
}

int
ds_incoming_commit(struct ds_incoming *in, char md5[33])
{
    int rc = in->fd < 0 ? spill(in) : 0;
    if (rc < 0)
        return rc;
    char path[PATH_SIZE];
    version_path(in->version, path);
    if (renameat(in->store->tmp, in->version, in->store->objects, path) < 0)
        return -errno;
    close(in->fd);
    in->fd = -1;
    unsigned char digest[EVP_MAX_MD_SIZE];
    md5[0] = '\0';
    if (in->md5) {
        EVP_DigestFinal_ex(in->md5, digest, NULL);
        ds_hex(digest, 16, md5);
    }
    return 0;
}

static int
hash_file(struct ds_incoming *in, int fd)
{
    if (!in->md5)
        return 0;
    sf_autofree char *chunk = malloc(COPY_CHUNK);
    if (!chunk)
        return -ENOMEM;
    for (off_t at = 0;;) {
        ssize_t n = pread(fd, chunk, COPY_CHUNK, at);
        if (n < 0)
            return -errno;
        if (n == 0)
            break;
        EVP_DigestUpdate(in->md5, chunk, (size_t)n);
        at += n;
    }
    return 0;
}

static int
copy_all(int from, int to)
{
    for (;;) {
        ssize_t n = copy_file_range(from, NULL, to, NULL, 1u << 30, 0);
        if (n < 0)
            return -errno;
        if (n == 0)
            return 0;
    }
}

static int
clone_or_copy(int from, int to)
{
    return ioctl(to, FICLONE, from) == 0 ? 0 : copy_all(from, to);
}

int
ds_incoming_append(struct ds_incoming *in, int fd)
{
    struct stat st;
    if (fstat(fd, &st) < 0)
        return -errno;
    int rc = in->fd < 0 ? spill(in) : 0;
    if (rc == 0)
        rc = copy_all(fd, in->fd);
    if (rc == 0)
        rc = hash_file(in, fd);
    if (rc == 0)
        in->size += (uint64_t)st.st_size;
    return rc;
}

int
ds_incoming_import(struct ds_incoming *in, const char *path, struct sf_err *err)
{
    sf_autofd int from = open(path, O_RDONLY | O_CLOEXEC);
    struct stat st;
    if (from < 0 || fstat(from, &st) < 0)
        return sf_err_set(err, -errno, "open %s: %m", path);
    if (!S_ISREG(st.st_mode))
        return sf_err_set(err, -EINVAL, "%s is not a regular file", path);
    int rc = spill(in);
    if (rc == 0)
        rc = clone_or_copy(from, in->fd);
    if (rc == 0)
        rc = hash_file(in, in->fd);
    in->size = (uint64_t)st.st_size;
    if (rc < 0)
        return sf_err_set(err, rc, "copy %s: %s", path, strerror(-rc));
    return 0;
}

void
ds_incoming_fini(struct ds_incoming *in)
{
    if (in->fd >= 0) {
        close(in->fd);
        unlinkat(in->store->tmp, in->version, 0);
    }
    free(in->small);
    EVP_MD_CTX_free(in->md5);
    *in = (struct ds_incoming){.fd = -1};
}

/* ---- versions ---- */

int
ds_store_open_version(struct ds_store *store, const char *version, uint64_t *size)
{
    char path[PATH_SIZE];
    version_path(version, path);
    sf_autofd int fd = openat(store->objects, path, O_RDONLY | O_CLOEXEC);
    struct stat st;
    if (fd < 0 || fstat(fd, &st) < 0)
        return -errno;
    *size = (uint64_t)st.st_size;
    return sf_steal_fd(fd);
}

int
ds_store_link(struct ds_store *store, const char *from, const char *to)
{
    char old[PATH_SIZE], new[PATH_SIZE];
    version_path(from, old);
    version_path(to, new);
    return linkat(store->objects, old, store->objects, new, 0) < 0 ? -errno : 0;
}

int
ds_store_link_in(struct ds_store *store, int dir_fd, const char *version)
{
    char path[PATH_SIZE];
    version_path(version, path);
    if (linkat(dir_fd, version, store->objects, path, 0) < 0 && errno != EEXIST)
        return -errno;
    return 0;
}

void
ds_store_remove(struct ds_store *store, const char *version)
{
    if (!*version)
        return;
    char path[PATH_SIZE];
    version_path(version, path);
    unlinkat(store->objects, path, 0);
}
