/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "cache/disk-internal.h"

#define BLOCKS "blocks"
#define TRASH  "trash-"

uint32_t
sf_unit_len(uint64_t size, uint64_t unit)
{
    uint64_t from = unit * SF_UNIT;
    if (from >= size)
        return 0;
    return size - from < SF_UNIT ? (uint32_t)(size - from) : SF_UNIT;
}

uint32_t
sf_units_charge(uint64_t size, uint32_t index, uint32_t mask)
{
    uint32_t sum = 0;
    for (unsigned i = 0; i < SF_UNITS; i++) {
        if (!(mask >> i & 1))
            continue;
        uint32_t n = sf_unit_len(size, (uint64_t)index * SF_UNITS + i);
        if (sf_disk_small(size))
            n = n > 1000 ? n + 16 : n;
        sum += sf_disk_small(size) && n <= 1000 ? n : (n + 4095) & ~4095u;
    }
    return sum;
}

/* ---- the table ------------------------------------------------------------------------------ */

static struct sf_chunk *
find_locked(struct sf_disk *d, uint64_t number, uint32_t index)
{
    struct sf_chunk_id id = {.number = number, .index = index};
    struct sf_chunk *ch;
    SF_ASSERT_HELD(&d->lock);
    HASH_FIND(hh, d->chunks, &id, sizeof id, ch);
    return ch;
}

static struct sf_chunk *
add_locked(struct sf_disk *d, uint64_t number, uint32_t index, enum sf_chunk_state state)
{
    struct sf_chunk *ch = calloc(1, sizeof *ch);
    if (!ch)
        return NULL;
    ch->id = (struct sf_chunk_id){.number = number, .index = index};
    ch->state = state;
    ch->fd = -1;
    HASH_ADD(hh, d->chunks, id, sizeof ch->id, ch);
    if (!SF_HTAB_ADDED(ch)) {
        free(ch);
        return NULL;
    }
    d->n_chunks++;
    return ch;
}

/* Returns a descriptor to close without the lock, or -1. */
static int
take_fd_locked(struct sf_disk *d, struct sf_chunk *ch)
{
    int fd = ch->fd;
    if (fd >= 0) {
        TAILQ_REMOVE(&d->open, ch, open);
        d->n_open--;
        ch->fd = -1;
    }
    return fd;
}

static int
remove_locked(struct sf_disk *d, struct sf_chunk *ch)
{
    int fd = take_fd_locked(d, ch);
    HASH_DEL(d->chunks, ch);
    d->n_chunks--;
    free(ch);
    return fd;
}

static bool
in_use(const struct sf_chunk *ch)
{
    return ch->users || ch->commits || ch->state != SF_CHUNK_READY;
}

/* It may have become idle. Returns a descriptor to close, or -1. */
static int
settle_locked(struct sf_disk *d, struct sf_chunk *ch)
{
    if (!in_use(ch))
        TAILQ_INSERT_TAIL(&d->idle, ch, idle);
    struct sf_chunk *oldest = TAILQ_FIRST(&d->idle);
    if (!oldest || d->n_chunks <= SF_DISK_CHUNKS)
        return -1;
    TAILQ_REMOVE(&d->idle, oldest, idle);
    return remove_locked(d, oldest);
}

static void
use_locked(struct sf_disk *d, struct sf_chunk *ch)
{
    if (!in_use(ch))
        TAILQ_REMOVE(&d->idle, ch, idle);
    ch->users++;
}

/* Read the row of a chunk that is new here. The lock is let go. */
static int
load_locked(struct sf_disk *d, struct sf_chunk *ch)
{
    struct sf_row_chunk row = {0};
    ch->users++;
    sf_mutex_unlock(&d->lock);
    int rc = sf_index_load_chunk(d, ch->id.number, ch->id.index, &row);
    sf_mutex_lock(&d->lock);
    ch->users--;
    sf_cond_broadcast(&d->changed);
    if (rc && rc != -ENOENT) {
        (void)remove_locked(d, ch);
        return rc == -ENOMEM ? rc : -EIO;
    }
    ch->here = row.mask;
    memcpy(ch->sums, row.sums, sizeof ch->sums);
    ch->state = SF_CHUNK_READY;
    TAILQ_INSERT_TAIL(&d->idle, ch, idle);
    return 0;
}

int
sf_chunk_hold_locked(struct sf_disk *d, uint64_t number, uint32_t index, bool nowait,
                     struct sf_chunk **ret)
{
    for (;;) {
        struct sf_chunk *ch = find_locked(d, number, index);
        if (ch && ch->state == SF_CHUNK_READY) {
            use_locked(d, ch);
            *ret = ch;
            return 0;
        }
        /* One that is leaving may yet stay; soon one or the other is settled. */
        if (nowait && (ch || sf_index_slow(d)))
            return -EAGAIN;
        if (ch) {
            sf_cond_wait(&d->changed, &d->lock);
            continue;
        }
        ch = add_locked(d, number, index, SF_CHUNK_LOADING);
        int rc = ch ? load_locked(d, ch) : -ENOMEM;
        if (rc)
            return rc;
    }
}

static void
close_fd(int fd)
{
    if (fd >= 0)
        close(fd);
}

void
sf_chunk_release(struct sf_disk *d, struct sf_chunk *ch)
{
    sf_mutex_lock(&d->lock);
    ch->users--;
    int fd = settle_locked(d, ch);
    sf_mutex_unlock(&d->lock);
    close_fd(fd);
}

void
sf_chunk_commit_begin_locked(struct sf_chunk *ch)
{
    assert(ch->users);
    ch->commits++;
}

void
sf_chunk_commit_end_locked(struct sf_disk *d, struct sf_chunk *ch)
{
    ch->commits--;
    /* On the environment's thread: descriptors are closed by others. */
    if (!in_use(ch))
        TAILQ_INSERT_TAIL(&d->idle, ch, idle);
}

bool
sf_chunk_claim_locked(struct sf_disk *d, uint64_t number, uint32_t index)
{
    struct sf_chunk *ch = find_locked(d, number, index);
    if (!ch) {
        ch = add_locked(d, number, index, SF_CHUNK_LEAVING);
        return ch != NULL;
    }
    if (in_use(ch))
        return false;
    TAILQ_REMOVE(&d->idle, ch, idle);
    ch->state = SF_CHUNK_LEAVING;
    return true;
}

void
sf_chunk_unclaim(struct sf_disk *d, uint64_t number, uint32_t index, bool gone)
{
    int fd = -1;
    sf_mutex_lock(&d->lock);
    struct sf_chunk *ch = find_locked(d, number, index);
    assert(ch && ch->state == SF_CHUNK_LEAVING);
    /* One that was made for the claim has never seen its row. */
    if (gone || !ch->here)
        fd = remove_locked(d, ch);
    else {
        ch->state = SF_CHUNK_READY;
        TAILQ_INSERT_TAIL(&d->idle, ch, idle);
    }
    sf_cond_broadcast(&d->changed);
    sf_mutex_unlock(&d->lock);
    close_fd(fd);
}

void
sf_chunks_forget(struct sf_disk *d, bool all)
{
    struct sf_chunk *ch, *next;
    for (;;) {
        int fds[64], n = 0;
        sf_mutex_lock(&d->lock);
        while (n < 64 && (ch = TAILQ_FIRST(&d->idle))) {
            TAILQ_REMOVE(&d->idle, ch, idle);
            fds[n++] = remove_locked(d, ch);
        }
        sf_mutex_unlock(&d->lock);
        for (int i = 0; i < n; i++)
            close_fd(fds[i]);
        if (!n)
            break;
    }
    if (!all)
        return;
    SF_GUARD(&d->lock);
    HASH_ITER (hh, d->chunks, ch, next)
        close_fd(remove_locked(d, ch));
}

/* ---- files ---------------------------------------------------------------------------------- */

static void
path_of(char out[32], uint64_t number, uint32_t index)
{
    snprintf(out, 32, "%02x/%016llx-%x", (unsigned)(number + index) & 255,
             (unsigned long long)number, index);
}

static int
open_file(struct sf_disk *d, uint64_t number, uint32_t index, bool create, bool *writable)
{
    char path[32];
    int flags = O_CLOEXEC | O_NOFOLLOW;
    path_of(path, number, index);
    *writable = true;
    int fd = openat(d->blocks_fd, path, O_RDWR | flags | (create ? O_CREAT : 0), 0600);
    if (fd < 0 && errno == ENOENT && create) {
        char dir[3] = {path[0], path[1], '\0'};
        if (mkdirat(d->blocks_fd, dir, 0700) < 0 && errno != EEXIST)
            return -errno;
        fd = openat(d->blocks_fd, path, O_RDWR | flags | O_CREAT, 0600);
    }
    if (fd < 0 && !create && (errno == EROFS || errno == EACCES)) {
        *writable = false;
        fd = openat(d->blocks_fd, path, O_RDONLY | flags);
    }
    return fd < 0 ? -errno : fd;
}

int
sf_chunk_open(struct sf_disk *d, struct sf_chunk *ch, bool create, bool nowait)
{
    bool writable;
    sf_mutex_lock(&d->lock);
    int fd = ch->fd >= 0 && (!create || ch->writable) ? ch->fd : -1;
    if (fd >= 0) {
        TAILQ_REMOVE(&d->open, ch, open);
        TAILQ_INSERT_TAIL(&d->open, ch, open);
    }
    sf_mutex_unlock(&d->lock);
    if (fd >= 0 || nowait)
        return fd >= 0 ? fd : -EAGAIN;
    fd = open_file(d, ch->id.number, ch->id.index, create, &writable);
    if (fd < 0)
        return fd;

    int surplus = -1;
    sf_mutex_lock(&d->lock);
    if (ch->fd >= 0 && (!create || ch->writable)) {
        surplus = fd; /* another thread was faster */
        fd = ch->fd;
    } else if (ch->fd >= 0) {
        /* One that only reads is in use by others, perhaps: it is kept until nobody is. */
        surplus = dup3(fd, ch->fd, O_CLOEXEC) < 0 ? -1 : fd;
        fd = surplus >= 0 ? ch->fd : fd;
        ch->writable = surplus >= 0;
    } else {
        ch->fd = fd;
        ch->writable = writable;
        TAILQ_INSERT_TAIL(&d->open, ch, open);
        d->n_open++;
    }
    struct sf_chunk *old, *next;
    int closing = -1;
    for (old = TAILQ_FIRST(&d->open); old && d->n_open > d->max_open && closing < 0; old = next) {
        next = TAILQ_NEXT(old, open);
        if (!old->users)
            closing = take_fd_locked(d, old);
    }
    sf_mutex_unlock(&d->lock);
    close_fd(surplus);
    close_fd(closing);
    return fd;
}

int
sf_chunk_unlink(struct sf_disk *d, uint64_t number, uint32_t index)
{
    char path[32];
    path_of(path, number, index);
    return unlinkat(d->blocks_fd, path, 0) < 0 && errno != ENOENT ? -errno : 0;
}

int
sf_blocks_open(struct sf_disk *d, struct sf_err *err)
{
    if (mkdirat(d->dir_fd, BLOCKS, 0700) < 0 && errno != EEXIST)
        return sf_err_set(err, -errno, "cannot make %s/" BLOCKS ": %m", d->opts.dir);
    int fd = openat(d->dir_fd, BLOCKS, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0)
        return sf_err_set(err, -errno, "cannot open %s/" BLOCKS ": %m", d->opts.dir);
    if (d->blocks_fd < 0) {
        d->blocks_fd = fd;
        return 0;
    }
    /* Those who use the old one at this moment meet the old directory or the new one. */
    int rc = dup3(fd, d->blocks_fd, O_CLOEXEC) < 0 ? -errno : 0;
    close(fd);
    return rc ? sf_err_set(err, rc, "cannot open %s/" BLOCKS ": %m", d->opts.dir) : 0;
}

int
sf_blocks_move_away(struct sf_disk *d)
{
    char name[48];
    snprintf(name, sizeof name, TRASH "%llx", (unsigned long long)sf_wall_ns());
    if (renameat(d->dir_fd, BLOCKS, d->dir_fd, name) < 0 && errno != ENOENT)
        return -errno;
    SF_GUARD(&d->lock);
    d->trash = true;
    sf_cond_signal(&d->wake);
    return 0;
}

/* A directory and what is below it, as far as it can be removed. */
static void
remove_tree(int at, const char *name, int depth)
{
    int fd = openat(at, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;
    struct dirent *e;
    if (!dir) {
        close_fd(fd);
        return;
    }
    while ((e = readdir(dir)))
        if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0 &&
            unlinkat(fd, e->d_name, 0) < 0 && errno == EISDIR && depth)
            remove_tree(fd, e->d_name, depth - 1);
    closedir(dir);
    (void)unlinkat(at, name, AT_REMOVEDIR);
}

void
sf_trash_remove(struct sf_disk *d)
{
    int fd = openat(d->dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    sf_autodir DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;
    struct dirent *e;
    if (!dir) {
        close_fd(fd);
        return;
    }
    while ((e = readdir(dir)))
        if (strncmp(e->d_name, TRASH, strlen(TRASH)) == 0)
            remove_tree(d->dir_fd, e->d_name, 1);
}
