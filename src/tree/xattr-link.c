/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tree/xattr.h"

#include "base/clock.h"
#include "base/str.h"
#include "http/http.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/*
 * Links to hand out. Who has a signed one needs no key: it is told to who asks, and kept nowhere,
 * but for two seconds in memory, as programs ask first how long a value is.
 */

#define SECONDS_USUAL 3600
#define SECONDS_MAX   31536000
#define KEEP_MS       2000
#define LINKS         16 /* kept at a time */

struct link {
    uint64_t nid, seconds;
    int64_t until_ms; /* sf_clock_ms(); 0 = an empty place */
    char *bucket, *key, *url;
};

struct links {
    struct link all[LINKS];
    uint64_t timer; /* 0 = none */
};

/* ---- what is kept ----------------------------------------------------------------------------
 */

static void
drop(struct link *l)
{
    if (l->url)
        explicit_bzero(l->url, strlen(l->url));
    free(l->url);
    free(l->bucket);
    free(l->key);
    *l = (struct link){.url = NULL};
}

static void wipe(void *arg);

static void
timer_locked(struct sf_tree *t)
{
    int64_t first = INT64_MAX;
    for (const struct link *l = t->links->all; l < t->links->all + LINKS; l++)
        if (l->until_ms && l->until_ms < first)
            first = l->until_ms;
    if (t->http && !t->ending && !t->links->timer && first != INT64_MAX)
        t->links->timer = sf_http_timer(t->http, first, wipe, t);
}

static void
drop_old_locked(struct sf_tree *t)
{
    int64_t now = sf_clock_ms();
    for (struct link *l = t->links->all; l < t->links->all + LINKS; l++)
        if (l->until_ms && l->until_ms <= now)
            drop(l);
}

static void
wipe(void *arg)
{
    struct sf_tree *t = arg;
    tree_lock(t);
    t->links->timer = 0;
    if (t->ending)
        sf_cond_broadcast(&t->idle);
    drop_old_locked(t);
    timer_locked(t);
    tree_unlock(t);
}

void
links_end(struct sf_tree *t)
{
    struct links *all = t->links;
    if (!all)
        return;
    sf_mutex_lock(&t->lock);
    bool runs = all->timer && !sf_http_timer_cancel(t->http, all->timer);
    while (runs && all->timer)
        sf_cond_wait(&t->idle, &t->lock);
    t->links = NULL;
    sf_mutex_unlock(&t->lock);
    for (size_t i = 0; i < LINKS; i++)
        drop(&all->all[i]);
    free(all);
}

/* NULL: none for so long to what the node is called now. */
static const char *
find_locked(struct sf_tree *t, const struct node *n, uint64_t seconds, const char *bucket,
            const char *key)
{
    if (!t->links)
        return NULL;
    drop_old_locked(t);
    for (const struct link *l = t->links->all; l < t->links->all + LINKS; l++)
        if (l->until_ms && l->nid == n->nid && l->seconds == seconds && !strcmp(l->key, key) &&
            !strcmp(l->bucket, bucket))
            return l->url;
    return NULL;
}

/* In the place of the oldest. Without memory it is asked for again. */
static void
keep_locked(struct sf_tree *t, const struct link *link)
{
    if (t->ending || (!t->links && !(t->links = calloc(1, sizeof *t->links))))
        return;
    struct link *to = t->links->all, fresh = *link;
    for (struct link *l = to + 1; l < t->links->all + LINKS; l++)
        if (l->until_ms < to->until_ms)
            to = l;
    fresh.bucket = strdup(link->bucket);
    fresh.key = strdup(link->key);
    fresh.url = strdup(link->url);
    fresh.until_ms = sf_clock_ms() + KEEP_MS;
    drop(to);
    if (fresh.bucket && fresh.key && fresh.url)
        *to = fresh;
    else
        drop(&fresh);
    timer_locked(t);
}

/* ---- signed ----------------------------------------------------------------------------------
 */

struct ask {
    struct xattr_op *op;
    uint64_t seconds;
    char *bucket, *key;
};

static void
ask_free(struct ask *a)
{
    free(a->bucket);
    free(a->key);
    free(a);
}

static void
link_came(void *arg, const struct sf_err *err, const char *url)
{
    struct ask *a = arg;
    struct xattr_op *op = a->op;
    struct sf_tree *t = op->tree;
    int rc = err ? err->code : sf_buf_puts(&op->out, url);
    tree_lock(t);
    tree_answer_locked(t, err);
    if (!err) {
        const struct link link = {.nid = op->node->nid,
                                  .seconds = a->seconds,
                                  .bucket = a->bucket,
                                  .key = a->key,
                                  .url = (char *)url};
        keep_locked(t, &link);
    }
    tree_unlock(t);
    ask_free(a);
    xattr_end(op, rc == -ENOENT ? -ENODATA : rc);
}

/* For how long the link is to last; 0 or -EINVAL. */
static int
lifetime(const struct xattr_op *op, uint64_t *seconds)
{
    const char *what = op->name + strlen(XATTR_OURS), *dot = strchr(what, '.');
    *seconds = SECONDS_USUAL;
    if (!dot)
        return 0;
    int rc = sf_parse_u64(dot + 1, seconds);
    return rc || *seconds < 1 || *seconds > SECONDS_MAX ? -EINVAL : 0;
}

int
xattr_signed_url(struct xattr_op *op)
{
    struct sf_tree *t = op->tree;
    const struct node *n = op->node;
    uint64_t seconds;
    int rc = lifetime(op, &seconds);
    if (rc)
        return rc;
    if (n->type != N_FILE)
        return -ENODATA;
    struct ask *a = calloc(1, sizeof *a);
    if (!a)
        return -ENOMEM;
    op->secret = true;
    tree_lock(t);
    rc = n->local_only ? -ENODATA : node_key_locked(n, &a->bucket, &a->key);
    const char *known = rc ? NULL : find_locked(t, n, seconds, a->bucket, a->key);
    if (known)
        rc = sf_buf_puts(&op->out, known);
    else if (!rc)
        tree_ask_locked(t);
    tree_unlock(t);
    if (rc || known) {
        ask_free(a);
        return rc == -ESTALE ? -ENODATA : rc;
    }
    a->op = op;
    a->seconds = seconds;
    sf_storage_sign(t->st, a->bucket, a->key, seconds, tree_read_deadline(t), link_came, a);
    return -EINPROGRESS;
}

/* ---- public ----------------------------------------------------------------------------------
 */

static int
put_public(struct xattr_op *op)
{
    struct sf_tree *t = op->tree;
    char *bucket = NULL, *key = NULL;
    tree_lock(t);
    int rc = node_key_locked(op->node, &bucket, &key);
    tree_unlock(t);
    char *url = rc ? NULL : sf_storage_public_url(t->st, bucket, key);
    if (!rc)
        rc = url ? sf_buf_puts(&op->out, url) : -ENOMEM;
    free(url);
    free(bucket);
    free(key);
    return rc == -ESTALE ? -ENODATA : rc;
}

static void
bucket_came(void *arg, const struct sf_err *err, const struct sf_bucket_row *rows, size_t n)
{
    struct xattr_op *op = arg;
    struct sf_tree *t = op->tree;
    int rc = err ? err->code : n == 1 && rows->is_public ? put_public(op) : -ENODATA;
    tree_lock(t);
    tree_answer_locked(t, err);
    struct bucket *b = node_bucket_locked(op->node);
    if (!err && n == 1 && b && !strcmp(b->id, rows->id))
        bucket_set(b, rows, op->asked_ns);
    tree_unlock(t);
    xattr_end(op, rc == -ENOENT ? -ENODATA : rc);
}

int
xattr_public_url(struct xattr_op *op)
{
    struct sf_tree *t = op->tree;
    const struct node *n = op->node;
    if (n->type != N_FILE)
        return -ENODATA;
    op->asked_ns = sf_clock_ns();
    tree_lock(t);
    const struct bucket *b = n->local_only ? NULL : node_bucket_locked(n);
    char *id = b ? strdup(b->id) : NULL;
    bool known = b && b->public_ns && fresh_locked(t, b->public_ns, op->began_ns);
    bool is_public = known && b->is_public;
    if (id && !known)
        tree_ask_locked(t);
    tree_unlock(t);
    int rc = !b ? -ENODATA : !id ? -ENOMEM : !known ? -EINPROGRESS : is_public ? 0 : -ENODATA;
    if (rc == -EINPROGRESS)
        sf_storage_bucket_get(t->st, id, tree_read_deadline(t), bucket_came, op);
    free(id);
    return rc ? rc : put_public(op);
}
