/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tus.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <openssl/evp.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"

#define LOCK_WAIT_MS 5000 /* the service's */
#define LOOK_MS      100  /* how often a waiting request looks whether the server stops */
#define SWEEP_ROOM   256
#define IDLE_MAX     64
#define HASH_CHUNK   (256u << 10)

/* What is known of an upload besides its row, kept from request to request for the running MD5. */
struct ds_tus_file {
    struct ds_tus_file *next; /* under the list's lock, as refs */
    unsigned refs;
    char version[DS_UUID_SIZE];

    pthread_mutex_t lock; /* protects the fields below */
    pthread_cond_t free;
    struct ds_tus_hold *holder; /* NULL = nobody */
    bool yields;                /* the holder's body is still coming */
    int64_t take_at_ns;         /* when it loses the upload; 0 = nobody else wants it */
    int fd;                     /* -1 until the holder writes */
    uint64_t offset;            /* while fd is open */
    EVP_MD_CTX *md5;            /* NULL = not from the first byte on */
    uint64_t md5_at;
};

struct ds_tus {
    struct ds_db *db;
    struct ds_store *store;
    struct ds_pace *pace;
    int dir; /* DIR/uploads */

    pthread_mutex_t lock; /* protects the list */
    struct ds_tus_file *files;
};

/* ---- start and end ---- */

static void
remove_unnamed(struct ds_tus *tus)
{
    int fd = openat(tus->dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    sf_autodir DIR *dir = fd < 0 ? NULL : fdopendir(fd);
    if (!dir)
        return;
    for (struct dirent *entry; (entry = readdir(dir));) {
        ds_autoupload row = {0};
        if (entry->d_name[0] != '.' && ds_db_upload_get(tus->db, entry->d_name, &row) == -ENOENT)
            unlinkat(tus->dir, entry->d_name, 0);
    }
}

int
ds_tus_open(int dir_fd, struct ds_db *db, struct ds_store *store, struct ds_pace *pace,
            struct ds_tus **ret, struct sf_err *err)
{
    if (mkdirat(dir_fd, "uploads", 0700) < 0 && errno != EEXIST)
        return sf_err_set(err, -errno, "create folder uploads: %m");
    sf_autofd int dir = openat(dir_fd, "uploads", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (dir < 0)
        return sf_err_set(err, -errno, "open folder uploads: %m");
    struct ds_tus *tus = calloc(1, sizeof *tus);
    if (!tus)
        return sf_err_set(err, -ENOMEM, "uploads: no memory");
    tus->db = db;
    tus->store = store;
    tus->pace = pace;
    tus->dir = sf_steal_fd(dir);
    pthread_mutex_init(&tus->lock, NULL);
    remove_unnamed(tus);
    *ret = tus;
    return 0;
}

static void
file_free(struct ds_tus_file *file)
{
    if (file->fd >= 0)
        close(file->fd);
    EVP_MD_CTX_free(file->md5);
    pthread_cond_destroy(&file->free);
    pthread_mutex_destroy(&file->lock);
    free(file);
}

void
ds_tus_close(struct ds_tus *tus)
{
    if (!tus)
        return;
    while (tus->files) {
        struct ds_tus_file *next = tus->files->next;
        file_free(tus->files);
        tus->files = next;
    }
    close(tus->dir);
    pthread_mutex_destroy(&tus->lock);
    free(tus);
}

/* ---- rows and their age ---- */

void
ds_tus_remove(struct ds_tus *tus, const char *version)
{
    unlinkat(tus->dir, version, 0);
    ds_db_upload_delete(tus->db, version);
}

static void
sweep(struct ds_tus *tus)
{
    static _Thread_local char old[SWEEP_ROOM][DS_UUID_SIZE];
    int64_t expiry = atomic_load(&tus->pace->tus_expiry_ms);
    int64_t before = expiry > 0 ? ds_now_ms() - expiry : INT64_MIN;
    int64_t max = atomic_load(&tus->pace->tus_max);
    int keep = max > 0 && max < INT_MAX ? (int)max - 1 : INT_MAX; /* and the one to come */
    int n = ds_db_upload_old(tus->db, before, keep, old, SWEEP_ROOM);
    for (int i = 0; i < n; i++)
        ds_tus_remove(tus, old[i]);
}

int
ds_tus_create(struct ds_tus *tus, const struct ds_upload *upload)
{
    sweep(tus);
    sf_autofd int fd =
        openat(tus->dir, upload->version, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0)
        return -errno;
    int rc = ds_db_upload_insert(tus->db, upload);
    if (rc < 0)
        unlinkat(tus->dir, upload->version, 0);
    return rc;
}

int
ds_tus_find(struct ds_tus *tus, const char *version, struct ds_upload *ret, uint64_t *offset)
{
    ds_autoupload row = {0};
    int rc = ds_db_upload_get(tus->db, version, &row);
    if (rc < 0)
        return rc;
    int64_t expiry = atomic_load(&tus->pace->tus_expiry_ms);
    if (expiry > 0 && ds_now_ms() - row.created_ms > expiry)
        return -ESTALE;
    struct stat st;
    if (fstatat(tus->dir, version, &st, 0) == 0) {
        *offset = (uint64_t)st.st_size;
    } else {
        sf_autofd int fd = ds_store_open_version(tus->store, version, offset);
        if (fd < 0)
            return fd == -ENOENT ? -ESTALE : fd;
    }
    *ret = row;
    row = (struct ds_upload){0};
    return 0;
}

/* ---- the lock ---- */

/* Frees files that nobody uses, beyond those whose running MD5 is worth keeping. */
static void
trim_locked(struct ds_tus *tus)
{
    size_t idle = 0;
    for (struct ds_tus_file **at = &tus->files; *at;) {
        struct ds_tus_file *file = *at;
        if (file->refs == 0 && ++idle > IDLE_MAX) {
            *at = file->next;
            file_free(file);
        } else {
            at = &file->next;
        }
    }
}

static struct ds_tus_file *
file_ref(struct ds_tus *tus, const char *version)
{
    pthread_mutex_lock(&tus->lock);
    struct ds_tus_file *file = tus->files;
    while (file && strcmp(file->version, version) != 0)
        file = file->next;
    if (!file && (file = calloc(1, sizeof *file))) {
        file->fd = -1;
        snprintf(file->version, sizeof file->version, "%s", version);
        pthread_mutex_init(&file->lock, NULL);
        pthread_condattr_t attr;
        pthread_condattr_init(&attr);
        pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
        pthread_cond_init(&file->free, &attr);
        pthread_condattr_destroy(&attr);
        file->next = tus->files;
        tus->files = file;
        trim_locked(tus);
    }
    if (file)
        file->refs++;
    pthread_mutex_unlock(&tus->lock);
    return file;
}

static void
file_unref(struct ds_tus *tus, struct ds_tus_file *file)
{
    pthread_mutex_lock(&tus->lock);
    file->refs--;
    pthread_mutex_unlock(&tus->lock);
}

static void
close_locked(struct ds_tus_file *file)
{
    if (file->fd >= 0)
        close(file->fd);
    file->fd = -1;
}

static void
take_locked(struct ds_tus_file *file)
{
    struct ds_tus_hold *loser = file->holder;
    loser->lost = true;
    loser->taken(loser->arg, loser->offset);
    file->holder = NULL;
    close_locked(file);
}

static int
wait_locked(struct ds_tus *tus, struct ds_tus_file *file)
{
    int64_t deadline = ds_tick_ns() + LOCK_WAIT_MS * INT64_C(1000000);
    while (file->holder) {
        int64_t now = ds_tick_ns();
        if (file->take_at_ns == 0)
            file->take_at_ns = now + atomic_load(&tus->pace->tus_drain_ms) * 1000000;
        if (now >= file->take_at_ns && file->yields)
            take_locked(file);
        else if (now >= deadline || ds_pace_stopping(tus->pace))
            return -ETIMEDOUT;
        if (!file->holder)
            break;
        int64_t until = now + LOOK_MS * INT64_C(1000000);
        if (file->yields && file->take_at_ns < until)
            until = file->take_at_ns;
        struct timespec ts = {.tv_sec = until / 1000000000, .tv_nsec = until % 1000000000};
        pthread_cond_timedwait(&file->free, &file->lock, &ts);
    }
    return 0;
}

int
ds_tus_hold(struct ds_tus *tus, const char *version, bool yields, struct ds_tus_hold *hold)
{
    struct ds_tus_file *file = file_ref(tus, version);
    if (!file)
        return -ENOMEM;
    pthread_mutex_lock(&file->lock);
    int rc = wait_locked(tus, file);
    if (rc == 0) {
        file->holder = hold;
        file->yields = yields;
        file->take_at_ns = 0;
        hold->tus = tus;
        hold->file = file;
        hold->lost = false;
    }
    pthread_mutex_unlock(&file->lock);
    if (rc < 0)
        file_unref(tus, file);
    return rc;
}

bool
ds_tus_settle(struct ds_tus_hold *hold)
{
    pthread_mutex_lock(&hold->file->lock);
    bool mine = !hold->lost;
    if (mine)
        hold->file->yields = false;
    pthread_mutex_unlock(&hold->file->lock);
    return mine;
}

void
ds_tus_release(struct ds_tus_hold *hold)
{
    struct ds_tus_file *file = hold->file;
    if (!file)
        return;
    pthread_mutex_lock(&file->lock);
    if (!hold->lost) {
        file->holder = NULL;
        close_locked(file);
        pthread_cond_broadcast(&file->free);
    }
    pthread_mutex_unlock(&file->lock);
    hold->file = NULL;
    file_unref(hold->tus, file);
}

/* ---- bytes ---- */

/* Opens the file at its end, and starts or gives up the running MD5. */
static int
open_locked(struct ds_tus *tus, struct ds_tus_file *file)
{
    file->fd = openat(tus->dir, file->version, O_RDWR | O_APPEND | O_CLOEXEC);
    struct stat st;
    if (file->fd < 0 || fstat(file->fd, &st) < 0)
        return -errno;
    file->offset = (uint64_t)st.st_size;
    if (file->md5 && file->md5_at == file->offset)
        return 0;
    EVP_MD_CTX_free(file->md5);
    file->md5 = NULL;
    file->md5_at = 0;
    if (file->offset == 0 && atomic_load(&tus->pace->etag_style) == DS_ETAG_MD5) {
        file->md5 = EVP_MD_CTX_new();
        if (!file->md5 || EVP_DigestInit_ex(file->md5, EVP_md5(), NULL) != 1)
            return -ENOMEM;
    }
    return 0;
}

static int
write_locked(struct ds_tus_file *file, const char *bytes, size_t len)
{
    while (len > 0) {
        ssize_t n = write(file->fd, bytes, len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -errno;
        if (file->md5) {
            EVP_DigestUpdate(file->md5, bytes, (size_t)n);
            file->md5_at += (uint64_t)n;
        }
        file->offset += (uint64_t)n;
        bytes += n;
        len -= (size_t)n;
    }
    return 0;
}

int
ds_tus_add(struct ds_tus_hold *hold, const void *bytes, size_t len)
{
    struct ds_tus_file *file = hold->file;
    int rc = -ECANCELED;
    pthread_mutex_lock(&file->lock);
    if (!hold->lost) {
        rc = file->fd < 0 ? open_locked(hold->tus, file) : 0;
        if (rc == 0)
            rc = write_locked(file, bytes, len);
        hold->offset = file->offset;
    }
    pthread_mutex_unlock(&file->lock);
    return rc;
}

/* The MD5 of the whole file, running or read again after a restart. */
static int
digest_locked(struct ds_tus_file *file, char md5[33])
{
    unsigned char digest[EVP_MAX_MD_SIZE];
    if (!file->md5) {
        sf_autofree char *chunk = malloc(HASH_CHUNK);
        file->md5 = EVP_MD_CTX_new();
        if (!chunk || !file->md5 || EVP_DigestInit_ex(file->md5, EVP_md5(), NULL) != 1)
            return -ENOMEM;
        for (off_t at = 0;;) {
            ssize_t n = pread(file->fd, chunk, HASH_CHUNK, at);
            if (n < 0)
                return -errno;
            if (n == 0)
                break;
            EVP_DigestUpdate(file->md5, chunk, (size_t)n);
            at += n;
        }
    }
    EVP_DigestFinal_ex(file->md5, digest, NULL);
    EVP_MD_CTX_free(file->md5);
    file->md5 = NULL;
    ds_hex(digest, 16, md5);
    return 0;
}

int
ds_tus_finish(struct ds_tus_hold *hold, const struct ds_upload *upload, char md5[33])
{
    struct ds_tus *tus = hold->tus;
    struct ds_tus_file *file = hold->file;
    pthread_mutex_lock(&file->lock);
    int rc = file->fd < 0 ? open_locked(tus, file) : 0;
    if (rc == -ENOENT) { /* finished before: only the row is to be written again */
        uint64_t size;
        file->fd = ds_store_open_version(tus->store, upload->version, &size);
        rc = file->fd < 0 ? file->fd : 0;
    } else if (rc == 0) {
        rc = ds_store_link_in(tus->store, tus->dir, upload->version);
    }
    md5[0] = '\0';
    if (rc == 0 && atomic_load(&tus->pace->etag_style) == DS_ETAG_MD5)
        rc = digest_locked(file, md5);
    close_locked(file);
    pthread_mutex_unlock(&file->lock);
    return rc;
}

void
ds_tus_finished(struct ds_tus *tus, const char *version)
{
    unlinkat(tus->dir, version, 0);
    ds_db_upload_set_finished(tus->db, version);
}
