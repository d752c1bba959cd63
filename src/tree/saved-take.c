/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tree/saved.h"

#include "base/clock.h"
#include "tree/words.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* From nodes to rows. */

int
saved_name_locked(const struct sf_tree *t, const struct node *n, enum saved_kind *kind,
                  char **bucket, char **prefix)
{
    *bucket = *prefix = NULL;
    *kind = n->type == N_PROJECT ? SAVED_BUCKETS : t->opts.plain ? SAVED_PLAIN : SAVED_DIR;
    if (n->type != N_PROJECT)
        return node_key_locked(n, bucket, prefix);
    *bucket = strdup("");
    *prefix = strdup("");
    return *bucket && *prefix ? 0 : -ENOMEM;
}

static void
attrs_of(const struct node *n, struct saved_attrs *a)
{
    struct sf_mark *m = &a->mark;
    *a = (struct saved_attrs){.mtime_ns = n->mtime_ns, .ctime_ns = n->ctime_ns};
    if (n->mode != ATTR_MODE_NONE) {
        m->valid |= SF_MARK_MODE;
        m->mode = n->mode | node_format(n);
    }
    if (n->uid != ATTR_ID_NONE) {
        m->valid |= SF_MARK_UID;
        m->uid = n->uid;
    }
    if (n->gid != ATTR_ID_NONE) {
        m->valid |= SF_MARK_GID;
        m->gid = n->gid;
    }
    if (n->extra && n->extra->atime_ns != ATTR_TIME_NONE) {
        m->valid |= SF_MARK_ATIME;
        m->atime_ns = n->extra->atime_ns;
    }
    if (n->special && n->extra && n->extra->rdev) {
        m->valid |= SF_MARK_RDEV;
        m->rdev = n->extra->rdev;
    }
    if (n->own_ino && !node_is_dir(n)) {
        m->valid |= SF_MARK_INO;
        m->ino = n->ino;
    }
    if (n->marked && n->mtime_ns != ATTR_TIME_NONE) {
        m->valid |= SF_MARK_MTIME;
        m->mtime_ns = n->mtime_ns;
    }
    if (n->marked && n->ctime_ns != ATTR_TIME_NONE) {
        m->valid |= SF_MARK_CTIME;
        m->ctime_ns = n->ctime_ns;
    }
    m->guessed = n->guessed;
    m->xattrs = n->xattrs;
    a->marked = m->valid || m->guessed || m->xattrs;
}

static void
object_row(const struct sf_tree *t, const struct node *n, struct saved_row *row)
{
    char id[NODE_ID_SIZE], etag[NODE_ETAG_SIZE];
    const char *e = node_etag(n, etag), *i = node_id(n, id);
    row->kind = SAVED_OBJECT;
    if (strlen(i) < sizeof row->id)
        snprintf(row->id, sizeof row->id, "%s", i);
    if (strlen(e) <= SAVED_ETAG_MAX)
        snprintf(row->etag, sizeof row->etag, "%s", e);
    row->etag_open = n->etag_open;
    row->symlink = n->symlink;
    row->special = n->special;
    row->size = n->size;
    const char *mime = word_text(t->words, n->mime);
    const char *others = word_text(t->words, n->cache_control);
    snprintf(row->mime, sizeof row->mime, "%s", mime ? mime : "");
    snprintf(row->cache_control, sizeof row->cache_control, "%s", others ? others : "");
    row->cache_control_known = others;
    attrs_of(n, &row->attrs);
}

/* @mimes: holds the types. */
static void
bucket_row(const struct node *n, struct saved_row *row, struct sf_buf *mimes)
{
    const struct bucket *b = n->dir->bucket;
    row->kind = SAVED_BUCKET;
    row->size = b->size_limit;
    sf_buf_clear(mimes);
    for (char **m = b->mimes; m && *m; m++)
        if (sf_buf_append(mimes, *m, strlen(*m) + 1) < 0)
            return;
    row->mimes = mimes->data;
    row->mimes_len = mimes->len;
    attrs_of(n, &row->attrs);
}

void
saved_take_bucket_locked(const struct node *root, struct saved_row *row, struct sf_buf *mimes)
{
    *row = (struct saved_row){.kind = SAVED_BUCKET};
    snprintf(row->comp, sizeof row->comp, "%s", root->dir->bucket->id);
    bucket_row(root, row, mimes);
}

/* A child; false: there is nothing to be said of it. */
static bool
row_of(const struct sf_tree *t, const struct saved_dir *d, const struct node *c,
       struct saved_row *row, struct sf_buf *mimes)
{
    const char *comp = c->type == N_BUCKET ? c->dir->bucket->id : node_comp(c);
    if (c->type == N_ABSENT || c->local_only || c->leaving || strlen(comp) > SAVED_COMP_MAX)
        return false;
    *row = (struct saved_row){.kind = SAVED_FOLDER};
    snprintf(row->comp, sizeof row->comp, "%s", comp);
    if (!d->head.complete)
        row->checked_ns = c->checked_ns > 0 ? c->checked_ns : 1; /* soon after the boot: too old */
    if (c->type == N_FILE)
        object_row(t, c, row);
    else if (c->type == N_BUCKET)
        bucket_row(c, row, mimes);
    return true;
}

/* The page is full, or the last. */
static int
give_page_locked(struct sf_tree *t, struct saved_dir *d, saved_page_fn page, void *arg)
{
    if (!d->rows)
        return 0;
    tree_unlock(t);
    int rc = page(arg, &d->page, d->rows);
    d->head.rows += d->rows;
    d->rows = 0;
    tree_lock(t);
    return rc < 0 ? rc : saved_page_begin(&d->page);
}

static int
add_locked(struct sf_tree *t, struct saved_dir *d, const struct node *c, struct sf_buf *mimes,
           saved_page_fn page, void *arg)
{
    struct saved_row row;
    if (!row_of(t, d, c, &row, mimes))
        return 0;
    int rc = saved_page_add(&d->page, &row);
    if (rc == -ENAMETOOLONG) { /* not saved, so not all of them are */
        d->head.complete = false;
        return 0;
    }
    if (rc < 0)
        return rc;
    d->rows++;
    if (row.checked_ns > d->head.checked_ns)
        d->head.checked_ns = row.checked_ns;
    return saved_page_full(&d->page, d->rows) ? give_page_locked(t, d, page, arg) : 0;
}

/* In the order of the listing, so that pages stay the same while names are added at its end. */
static int
take_listing_locked(struct sf_tree *t, struct node *n, struct saved_dir *d, struct sf_buf *mimes,
                    saved_page_fn page, void *arg)
{
    struct listing *l = n->dir->listing;
    int rc = 0;
    d->head.complete = true;
    listing_ref_locked(l);
    for (size_t i = 0; !rc && i < l->n; i++)
        if (l->entries[i]->parent == n)
            rc = add_locked(t, d, l->entries[i], mimes, page, arg);
    if (!l->complete)
        d->head.complete = false;
    d->head.checked_ns = l->start_ns > 0 ? l->start_ns : 0;
    listing_unref_locked(t, l);
    return rc;
}

/* Single names. Where the table grows meanwhile some are missed, nothing worse. */
static int
take_names_locked(struct sf_tree *t, struct node *n, struct saved_dir *d, struct sf_buf *mimes,
                  saved_page_fn page, void *arg)
{
    int rc = 0;
    for (uint32_t i = 0; !rc && i < n->dir->slots; i++)
        for (const struct node *c = n->dir->table[i]; c && !rc; c = c->hnext) {
            uint64_t given = d->head.rows;
            rc = add_locked(t, d, c, mimes, page, arg);
            if (d->head.rows != given) /* the lock was away: this chain may be another */
                break;
        }
    return rc;
}

static bool
is_here(const struct sf_tree *t, const struct node *n)
{
    while (n->parent && !n->dir->renaming)
        n = n->parent;
    return n == t->root && !n->dir->renaming;
}

int
saved_take_locked(struct sf_tree *t, struct node *n, struct saved_dir *d, saved_page_fn page,
                  void *arg)
{
    sf_autobuf struct sf_buf mimes = SF_BUF_INIT;
    struct saved_head *h = &d->head;
    const struct listing *l = n->dir->listing;
    if (!is_here(t, n))
        return 0;
    *d = (struct saved_dir){.page = SF_BUF_INIT};
    int rc = saved_name_locked(t, n, &d->kind, &d->bucket, &d->prefix);
    if (!rc)
        rc = saved_page_begin(&d->page);
    if (rc < 0)
        return rc;
    h->taken_ns = sf_clock_ns();
    h->uid = t->opts.uid;
    h->gid = t->opts.gid;
    h->attrs_known = n->type == N_DIR && n->dir->attrs_known;
    h->attrs_ns = n->dir->attrs_ns;
    h->placeholder = n->dir->placeholder;
    attrs_of(n, &h->attrs);
    h->listing = (l && l->complete) || n->dir->count;
    if (!h->listing && !h->attrs_known)
        return 0;
    rc = l && l->complete ? take_listing_locked(t, n, d, &mimes, page, arg)
                          : take_names_locked(t, n, d, &mimes, page, arg);
    return rc < 0 ? rc : (rc = give_page_locked(t, d, page, arg)) < 0 ? rc : 1;
}

void
saved_dir_fini(struct saved_dir *d)
{
    free(d->bucket);
    free(d->prefix);
    sf_buf_fini(&d->page);
}
