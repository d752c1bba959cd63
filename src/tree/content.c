/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tree/internal.h"

#include "base/clock.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* Staging a file's bytes before they are changed. */

struct load {
    struct sf_tree *tree;
    struct node *node; /* counted */
    struct sf_content *content;
    uint64_t size;
};

int
content_make(struct sf_tree *t, struct node *n, struct sf_content **ret)
{
    char *bucket, *key;
    tree_lock(t);
    int rc = node_key_locked(n, &bucket, &key);
    tree_unlock(t);
    if (rc < 0)
        return rc;
    struct sf_err err = SF_ERR_INIT;
    rc = sf_content_new(t->writer, bucket, key, ret, &err);
    free(bucket);
    free(key);
    return rc;
}

static void
load_done(void *arg, const struct sf_err *err)
{
    struct load *l = arg;
    struct sf_tree *t = l->tree;
    struct node *n = l->node;
    int rc = err ? err->code : 0;
    tree_lock(t);
    n->loading = false;
    if (!rc && !n->content)
        n->content = sf_steal(l->content);
    if (rc == -ESTALE || rc == -ENOENT)
        n->checked_ns = 0;
    tree_wake_locked(t, &n->load_waiters, rc);
    node_unref_locked(t, n);
    tree_unlock(t);
    if (l->content)
        sf_content_unref(l->content);
    free(l);
}

/* Begin to fetch; the caller holds a place in the list of waiters. */
static int
load_start(struct sf_tree *t, struct node *n, struct sf_content *c)
{
    struct load *l = malloc(sizeof *l);
    if (!l)
        return -ENOMEM;
    tree_lock(t);
    *l = (struct load){t, n, c, n->size};
    char *etag = n->etag && !n->etag_open ? strdup(n->etag) : NULL;
    node_ref_locked(n);
    tree_unlock(t);
    sf_content_load(c, etag ? etag : "", l->size, load_done, l);
    free(etag);
    return 0;
}

int
content_need(struct sf_tree *t, struct node *n, struct waiter *w, struct sf_content **ret)
{
    struct sf_content *fresh = NULL;
    tree_lock(t);
    if (n->content) {
        *ret = sf_content_ref(n->content);
        tree_unlock(t);
        return 0;
    }
    bool first = !n->loading;
    uint64_t size = n->size;
    if (size) {
        n->loading = true;
        w->next = n->load_waiters;
        n->load_waiters = w;
    }
    tree_unlock(t);
    if (size && !first)
        return -EINPROGRESS;
    int rc = content_make(t, n, &fresh);
    if (rc == 0 && size)
        rc = load_start(t, n, fresh);
    if (rc == 0 && size)
        return -EINPROGRESS;
    tree_lock(t);
    if (rc == 0) {
        if (!n->content)
            n->content = sf_steal(fresh);
        *ret = sf_content_ref(n->content);
    } else if (size) {
        /* It did not begin: those who wait are told, the caller by the result. */
        struct waiter **p = &n->load_waiters;
        while (*p && *p != w)
            p = &(*p)->next;
        if (*p)
            *p = w->next;
        n->loading = false;
        tree_wake_locked(t, &n->load_waiters, rc);
    }
    tree_unlock(t);
    if (fresh)
        sf_content_unref(fresh);
    return rc;
}
