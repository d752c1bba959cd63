/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tree/internal.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Staging a file's bytes: before they are changed, and before their version is destroyed. */

void
content_begin_fini(struct content_begin *b)
{
    free(b->bucket);
    free(b->key);
    free(b->etag);
}

int
content_begin_locked(const struct node *n, struct content_begin *b)
{
    int rc = node_key_locked(n, &b->bucket, &b->key);
    if (rc < 0)
        return rc;
    char buf[NODE_ETAG_SIZE];
    if (node_has_etag(n) && !(b->etag = strdup(node_etag(n, buf))))
        return -ENOMEM;
    b->src.bucket = b->bucket;
    b->src.key = b->key;
    b->src.seen = live(n)->readers > 0;
    node_version_of(n, !n->etag_open, &b->src.version);
    if (n->etag_open) /* then it is what a service with MD5 ETags would say */
        b->src.md5_etag = b->etag;
    return 0;
}

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

int
content_need(struct sf_tree *t, struct node *n, struct sf_content **ret)
{
    struct sf_content *fresh = NULL;
    struct content_begin b = {0};
    tree_lock(t);
    uint16_t version = n->version;
    int rc = 0;
    bool have = live(n)->content != NULL;
    if (have)
        *ret = sf_content_ref(live(n)->content);
    else
        rc = content_begin_locked(n, &b);
    tree_unlock(t);
    if (have)
        return 0;
    if (rc == 0)
        rc = sf_content_of(t->writer, b.bucket, b.key, &b.src, &fresh, NULL);
    content_begin_fini(&b);
    if (rc < 0)
        return rc;
    tree_lock(t);
    bool other = !live(n)->content && n->version != version; /* seen to be replaced meanwhile */
    if (!live(n)->content && !other)
        rc = content_put_locked(n, &fresh);
    if (!other && rc == 0)
        *ret = sf_content_ref(live(n)->content);
    tree_unlock(t);
    if (fresh)
        sf_content_unref(fresh);
    return other ? content_need(t, n, ret) : rc;
}

void
content_keep_version(struct sf_tree *t, struct node *n)
{
    struct sf_content *c = NULL;
    tree_lock(t);
    bool wanted = n->type == N_FILE && live(n)->open && !live(n)->content && !n->local_only;
    tree_unlock(t);
    if (wanted && content_need(t, n, &c) == 0)
        sf_content_unref(c);
}
