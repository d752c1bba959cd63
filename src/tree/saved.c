/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tree/saved.h"

#include "base/clock.h"
#include "base/file.h"
#include "base/hash.h"
#include "base/thread.h"
#include "observe/counter.h"
#include "observe/log.h"
#include "store/env.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define SAVE_MS      2000 /* what has changed is saved so much later, */
#define CHANGES_SIZE 32768
#define CHANGES_MARK "SFCHANG1"

/* The file `changes`, mapped: what is stored in it survives the process. */
struct changes {
    char mark[8];
    char boot[40];
    _Atomic int64_t all_ns;
    _Atomic int64_t dir_ns[(CHANGES_SIZE - 56) / 8];
};

/* ---- changes --------------------------------------------------------------------------------- */

static void
changes_open(struct saved *s, const char *dir)
{
    char path[4096];
    snprintf(path, sizeof path, "%s/changes", dir);
    sf_autofd int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    /* With all of its blocks there, storing into the map cannot fail for want of room. */
    if (!s->boot[0] || fd < 0 || ftruncate(fd, CHANGES_SIZE) < 0 ||
        posix_fallocate(fd, 0, CHANGES_SIZE)) {
        sf_warn("tree", "event=no-table-of-changes file=%s text=%s", path,
                "saved listings are asked for again");
        return;
    }
    void *map = mmap(NULL, CHANGES_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, fd, 0);
    if (map == MAP_FAILED)
        return;
    (void)mlock(map, CHANGES_SIZE); /* so that storing never waits for the disk */
    struct changes *c = s->changes = map;
    if (!memcmp(c->mark, CHANGES_MARK, sizeof c->mark) && !strncmp(c->boot, s->boot, 40))
        return;
    /* Another boot's, or lost: nothing that was saved before now counts. */
    memset(map, 0, CHANGES_SIZE);
    atomic_store(&c->all_ns, sf_clock_ns());
    memcpy(c->boot, s->boot, sizeof c->boot);
    memcpy(c->mark, CHANGES_MARK, sizeof c->mark);
}

/* However it is seen: a mount with attrs=none changes what others saved, too. */
static _Atomic int64_t *
change_of(struct saved *s, const char *bucket, const char *prefix)
{
    struct saved_id id;
    uint64_t h;
    saved_id_of(SAVED_DIR, bucket, prefix, &id);
    memcpy(&h, id.hash, sizeof h);
    return &s->changes->dir_ns[h % (sizeof s->changes->dir_ns / sizeof *s->changes->dir_ns)];
}

bool
saved_is_current(struct saved *s, const char *bucket, const char *prefix,
                 const struct saved_head *h)
{
    const struct sf_tree_opts *o = &s->tree->opts;
    return s->changes && !strcmp(h->boot, s->boot) && h->uid == o->uid && h->gid == o->gid &&
           h->taken_ns > atomic_load(&s->changes->all_ns) &&
           h->taken_ns > atomic_load(change_of(s, bucket, prefix)) && h->taken_ns <= sf_clock_ns();
}

/* ---- what is to be saved ----------------------------------------------------------------------
 */

static void
unlist_locked(struct sf_tree *t, struct node *n)
{
    struct dir *d = n->dir;
    *(d->unsaved_prev ? &d->unsaved_prev->dir->unsaved_next : &t->unsaved_first) = d->unsaved_next;
    *(d->unsaved_next ? &d->unsaved_next->dir->unsaved_prev : &t->unsaved_last) = d->unsaved_prev;
    d->unsaved = false;
}

void
saved_forget_locked(struct sf_tree *t, struct node *n)
{
    if (n->dir->unsaved)
        unlist_locked(t, n);
}

/* At the end of the queue, which is ordered by time: all wait equally long. */
static void
list_locked(struct sf_tree *t, struct node *n)
{
    struct dir *d = n->dir;
    d->unsaved = true;
    d->unsaved_ms = sf_clock_ms();
    d->unsaved_prev = t->unsaved_last;
    d->unsaved_next = NULL;
    *(t->unsaved_last ? &t->unsaved_last->dir->unsaved_next : &t->unsaved_first) = n;
    t->unsaved_last = n;
}

static void
wake(struct saved *s, int64_t due_ms)
{
    SF_GUARD(&s->lock);
    if (due_ms >= s->due_ms)
        return;
    s->due_ms = due_ms;
    sf_cond_signal(&s->wake);
}

void
saved_learned_locked(struct sf_tree *t, struct node *dir)
{
    if (!t->saved || !dir->dir || dir->dir->unsaved)
        return;
    bool first = !t->unsaved_first;
    list_locked(t, dir);
    if (first)
        wake(t->saved, dir->dir->unsaved_ms + SAVE_MS);
}

static void
changed_locked(struct sf_tree *t, struct node *dir)
{
    enum saved_kind kind;
    char *bucket = NULL, *prefix = NULL;
    struct saved *s = t->saved;
    if (s->changes && saved_name_locked(t, dir, &kind, &bucket, &prefix) == 0) {
        atomic_store(change_of(s, bucket, prefix), sf_clock_ns());
    } else if (s->changes) {
        saved_all_changed_locked(t);
    }
    free(bucket);
    free(prefix);
    saved_learned_locked(t, dir);
}

void
saved_changed_locked(struct sf_tree *t, struct node *n)
{
    if (!t->saved)
        return;
    if (n->dir && (n == t->root || n->parent))
        changed_locked(t, n);
    if (n->parent)
        changed_locked(t, n->parent);
}

void
saved_all_changed_locked(struct sf_tree *t)
{
    if (t->saved && t->saved->changes)
        atomic_store(&t->saved->changes->all_ns, sf_clock_ns());
}

/* ---- the thread's work ------------------------------------------------------------------------
 */

/* The next directory whose time has come. Returns when to come back. */
static int64_t
save_next(struct saved *s, struct sf_tree *t, bool all)
{
    int64_t now = sf_clock_ms(), due = INT64_MAX;
    tree_lock(t);
    struct node *n = t->unsaved_first;
    if (n && !all && n->dir->unsaved_ms + SAVE_MS > now) {
        due = n->dir->unsaved_ms + SAVE_MS;
        n = NULL;
    }
    if (n) {
        unlist_locked(t, n);
        if (!all && n->dir->save_after_ms > now) {
            list_locked(t, n); /* a large one: not so often */
        } else {
            node_ref_locked(n);
            saved_save_locked(s, t, n);
            node_unref_locked(t, n);
        }
        due = t->unsaved_first ? now : INT64_MAX;
    }
    tree_unlock(t);
    return due;
}

/* ---- loads ------------------------------------------------------------------------------------
 */

/* Is anything to be hoped for from the table? */
static bool
is_wanted(const struct sf_tree *t, const struct node *dir, bool listing, bool any_age)
{
    const struct dir *d = dir->dir;
    if (!t->saved || d->renaming || (dir != t->root && !dir->parent))
        return false;
    if (!listing)
        return d->saved == SAVED_NOT || (any_age && d->saved != SAVED_ALL && !d->attrs_old);
    if ((d->listing && d->listing->complete) || (d->run && !any_age))
        return false;
    return d->saved <= SAVED_ATTRS || (d->saved == SAVED_OLD && any_age);
}

bool
saved_want_locked(struct sf_tree *t, struct node *dir, bool listing, bool any_age, struct waiter *w)
{
    struct saved *s = t->saved;
    struct load *l = dir->dir->load;
    if (!l && !is_wanted(t, dir, listing, any_age))
        return false;
    if (!l) {
        l = calloc(1, sizeof *l);
        if (!l)
            return false;
        l->dir = dir;
        l->listing = listing;
        l->any_age = any_age;
        SF_GUARD(&s->lock);
        if (s->stopping) {
            free(l);
            return false;
        }
        node_ref_locked(dir);
        dir->dir->load = l;
        *s->tail = l;
        s->tail = &l->next;
        sf_cond_signal(&s->wake);
    }
    w->next = l->waiters;
    l->waiters = w;
    return true;
}

/* The thread is ending: those who still wait ask the service. */
static void
cancel(struct sf_tree *t, struct load *l)
{
    tree_lock(t);
    l->dir->dir->load = NULL;
    l->dir->dir->saved = SAVED_ALL;
    tree_wake_locked(t, &l->waiters, 0);
    node_unref_locked(t, l->dir);
    tree_unlock(t);
    free(l);
}

static void *
saved_thread(void *arg)
{
    struct saved *s = arg;
    sf_mutex_lock(&s->lock);
    while (!s->stopping || s->first) {
        struct load *l = s->first;
        if (l) {
            s->first = l->next;
            if (!s->first)
                s->tail = &s->first;
            bool stopping = s->stopping;
            sf_mutex_unlock(&s->lock);
            if (stopping)
                cancel(s->tree, l);
            else
                saved_load(s, s->tree, l);
            sf_mutex_lock(&s->lock);
        } else if (s->flushing || s->due_ms <= sf_clock_ms()) {
            bool all = s->flushing;
            s->due_ms = INT64_MAX;
            sf_mutex_unlock(&s->lock);
            int64_t due = save_next(s, s->tree, all);
            sf_mutex_lock(&s->lock);
            if (due < s->due_ms)
                s->due_ms = due;
            if (all && due == INT64_MAX) {
                s->flushing = false;
                sf_cond_broadcast(&s->idle);
            }
        } else if (s->due_ms == INT64_MAX) {
            sf_cond_wait(&s->wake, &s->lock);
        } else {
            (void)sf_cond_timedwait_ms(&s->wake, &s->lock, s->due_ms);
        }
    }
    sf_mutex_unlock(&s->lock);
    return NULL;
}

/* ---- life -------------------------------------------------------------------------------------
 */

static void
read_boot(char out[40])
{
    sf_autobuf struct sf_buf b = SF_BUF_INIT;
    memset(out, 0, 40);
    if (sf_read_file("/proc/sys/kernel/random/boot_id", 64, &b, NULL) == 0 && b.len >= 36)
        memcpy(out, b.data, 36);
}

int
saved_new(struct sf_tree *t, const struct sf_tree_opts *o, struct saved **ret)
{
    struct saved *s = calloc(1, sizeof *s);
    struct sf_writer_stats waiting = {0};
    if (!s)
        return -ENOMEM;
    s->tree = t;
    s->env = o->saved_env;
    s->table = o->saved_table;
    s->max_bytes = o->saved_bytes;
    s->tail = &s->first;
    s->due_ms = INT64_MAX;
    s->total = saved_total(s);
    sf_mutex_init(&s->lock, 0);
    sf_cond_init(&s->wake);
    sf_cond_init(&s->idle);
    read_boot(s->boot);
    changes_open(s, o->saved_dir);
    sf_writer_stats(t->writer, &waiting);
    if (waiting.pending && s->changes) /* what it knows is newer, and not all of it is told */
        atomic_store(&s->changes->all_ns, sf_clock_ns());
    int rc = sf_thread_start("saved", saved_thread, s, &s->thread);
    if (rc < 0) {
        saved_free(s);
        return rc;
    }
    s->started = true;
    *ret = s;
    return 0;
}

void
saved_flush(struct saved *s, int64_t deadline_ms)
{
    if (!s)
        return;
    SF_GUARD(&s->lock);
    s->flushing = true;
    sf_cond_signal(&s->wake);
    while ((s->flushing || s->writes) && !s->stopping &&
           sf_cond_timedwait_ms(&s->idle, &s->lock, deadline_ms) != -ETIMEDOUT)
        ;
}

void
saved_stop(struct saved *s)
{
    if (!s || !s->started)
        return;
    sf_mutex_lock(&s->lock);
    s->stopping = true;
    sf_cond_broadcast(&s->wake);
    sf_cond_broadcast(&s->idle);
    sf_mutex_unlock(&s->lock);
    pthread_join(s->thread, NULL);
    s->started = false;
    sf_mutex_lock(&s->lock);
    while (s->writes) /* they come back here */
        sf_cond_wait(&s->idle, &s->lock);
    sf_mutex_unlock(&s->lock);
}

void
saved_free(struct saved *s)
{
    if (!s)
        return;
    if (s->changes)
        munmap(s->changes, CHANGES_SIZE);
    sf_cond_fini(&s->wake);
    sf_cond_fini(&s->idle);
    sf_mutex_fini(&s->lock);
    free(s);
}
