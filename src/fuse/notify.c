/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "fuse/notify.h"

#define FUSE_USE_VERSION 314

#include <errno.h>
#include <fuse_lowlevel.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/htab.h"
#include "base/lock.h"
#include "base/thread.h"
#include "observe/log.h"

/* Beyond so many a notice is lost; the kernel then learns of the change when its own time for the
 * attributes is over. */
#define MAX_QUEUE 65536

/* One thing to forget; the key is the node and, for an entry, the name. */
struct notice {
    UT_hash_handle hh;
    struct notice *next;
    void (*fn)(void *arg); /* to be called instead; not in the table */
    void *arg;
    bool data;
    size_t name_len;
    uint64_t node; /* the key begins here */
    char name[];
};

struct notify {
    struct fuse_session *se;
    pthread_t thread;

    struct sf_mutex lock; /* leaf; protects the fields below */
    struct sf_cond more;
    struct notice *by_key;
    struct notice *first, **last;
    size_t queued;
    uint64_t sent, lost;
    bool stopping;
};

static void
send_notice(struct notify *n, const struct notice *x)
{
    int rc;
    if (x->name_len)
        rc = fuse_lowlevel_notify_inval_entry(n->se, x->node, x->name, x->name_len);
    else
        rc = fuse_lowlevel_notify_inval_inode(n->se, x->node, x->data ? 0 : -1, 0);
    /* -ENOENT: the kernel does not know it, all is well. */
    if (rc && rc != -ENOENT && rc != -ENODEV && rc != -EBADF)
        sf_debug("fuse", "event=notice-failed node=%lu name=%s err=%s", (unsigned long)x->node,
                 x->name, strerror(-rc));
}

static struct notice *
pop_locked(struct notify *n)
{
    struct notice *x = n->first;
    n->first = x->next;
    if (!n->first)
        n->last = &n->first;
    if (!x->fn)
        HASH_DEL(n->by_key, x);
    n->queued--;
    return x;
}

static void *
run(void *arg)
{
    struct notify *n = arg;
    sf_mutex_lock(&n->lock);
    for (;;) {
        while (!n->first && !n->stopping)
            sf_cond_wait(&n->more, &n->lock);
        if (n->stopping)
            break;
        struct notice *x = pop_locked(n);
        n->sent += !x->fn;
        sf_mutex_unlock(&n->lock);
        if (x->fn)
            x->fn(x->arg);
        else
            send_notice(n, x);
        free(x);
        sf_mutex_lock(&n->lock);
    }
    sf_mutex_unlock(&n->lock);
    return NULL;
}

int
notify_new(struct fuse_session *se, struct notify **ret)
{
    struct notify *n = calloc(1, sizeof *n);
    if (!n)
        return -ENOMEM;
    n->se = se;
    n->last = &n->first;
    sf_mutex_init(&n->lock, 0);
    sf_cond_init(&n->more);
    int rc = sf_thread_start("fuse-notify", run, n, &n->thread);
    if (rc) {
        sf_cond_fini(&n->more);
        sf_mutex_fini(&n->lock);
        free(n);
        return rc;
    }
    *ret = n;
    return 0;
}

void
notify_end(struct notify *n)
{
    sf_mutex_lock(&n->lock);
    n->stopping = true;
    sf_cond_signal(&n->more);
    sf_mutex_unlock(&n->lock);
    pthread_join(n->thread, NULL);
    while (n->first) {
        struct notice *x = pop_locked(n);
        if (x->fn)
            x->fn(x->arg);
        free(x);
    }
}

void
notify_free(struct notify *n)
{
    if (!n)
        return;
    sf_cond_fini(&n->more);
    sf_mutex_fini(&n->lock);
    free(n);
}

static void
append_locked(struct notify *n, struct notice *x)
{
    *n->last = x;
    n->last = &x->next;
    n->queued++;
    sf_cond_signal(&n->more);
}

static void
add(struct notify *n, uint64_t node, const char *name, bool data)
{
    size_t len = strlen(name), key_len = sizeof node + len;
    struct notice *x = calloc(1, sizeof *x + len + 1), *same;
    if (!x)
        return;
    x->node = node;
    x->name_len = len;
    x->data = data;
    memcpy(x->name, name, len);
    SF_GUARD(&n->lock);
    HASH_FIND(hh, n->by_key, &x->node, key_len, same);
    if (same) {
        same->data |= data;
        free(x);
        return;
    }
    if (n->queued < MAX_QUEUE && !n->stopping) {
        HASH_ADD_KEYPTR(hh, n->by_key, &x->node, key_len, x);
        if (SF_HTAB_ADDED(x)) {
            append_locked(n, x);
            return;
        }
    }
    n->lost++;
    free(x);
}

void
notify_inode(struct notify *n, uint64_t node, bool data)
{
    add(n, node, "", data);
}

void
notify_entry(struct notify *n, uint64_t parent, const char *name)
{
    if (*name)
        add(n, parent, name, false);
}

void
notify_after(struct notify *n, void (*fn)(void *arg), void *arg)
{
    struct notice *x = calloc(1, sizeof *x + 1);
    if (x) {
        x->fn = fn;
        x->arg = arg;
        SF_GUARD(&n->lock);
        if (!n->stopping) {
            append_locked(n, x);
            return;
        }
    }
    free(x);
    fn(arg);
}

void
notify_stats(struct notify *n, uint64_t *sent, uint64_t *lost)
{
    SF_GUARD(&n->lock);
    *sent = n->sent;
    *lost = n->lost;
}
