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
    if (n->etag && !(b->etag = strdup(n->etag)))
        return -ENOMEM;
    struct sf_version *v = &b->src.version;
    b->src.bucket = b->bucket;
    b->src.key = b->key;
    b->src.seen = n->readers > 0;
    v->size = n->size;
    snprintf(v->id, sizeof v->id, "%s", n->id);
    if (n->etag_open) /* then n->etag is what a service with MD5 ETags would say */
        b->src.md5_etag = b->etag;
    else if (b->etag && strlen(b->etag) < sizeof v->etag)
        memcpy(v->etag, b->etag, strlen(b->etag) + 1);
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
    uint32_t version = n->version;
    int rc = 0;
    bool have = n->content != NULL;
    if (have)
        *ret = sf_content_ref(n->content);
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
    bool other = !n->content && n->version != version; /* seen to be replaced meanwhile */
    if (!n->content && !other)
        n->content = sf_steal(fresh);
    if (!other)
        *ret = sf_content_ref(n->content);
    tree_unlock(t);
    if (fresh)
        sf_content_unref(fresh);
    return other ? content_need(t, n, ret) : 0;
}

void
content_keep_version(struct sf_tree *t, struct node *n)
{
    struct sf_content *c = NULL;
    tree_lock(t);
    bool wanted = n->type == N_FILE && n->open && !n->content && !n->local_only;
    tree_unlock(t);
    if (wanted && content_need(t, n, &c) == 0)
        sf_content_unref(c);
}
