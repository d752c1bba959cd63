/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tree/saved.h"

#include "base/clock.h"
#include "observe/counter.h"
#include "tree/words.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* From rows to nodes. What the tree knows of a name already is newer than any saved row of it. */

/* A directory being loaded. */
struct loading {
    struct saved *s;
    struct sf_tree *tree;
    struct node *dir; /* counted by the caller */
    struct saved_id id;
    enum saved_kind kind;
    char *bucket, *prefix;
    struct saved_head head;
    uint64_t *sums;
    bool current;            /* its times count */
    uint64_t start_seq;      /* of the tree */
    struct listing *listing; /* being put together */
    struct sf_buf key;
};

static void
loading_fini(struct loading *g)
{
    free(g->bucket);
    free(g->prefix);
    free(g->sums);
    sf_buf_fini(&g->key);
}

/* The head: 0, -ENOENT, or -errno, which comes to the same. */
static int
read_head(struct loading *g)
{
    sf_autobuf struct sf_buf value = SF_BUF_INIT;
    saved_id_of(g->kind, g->bucket, g->prefix, &g->id);
    int rc = saved_get(g->s, &g->id, 0, &value);
    if (rc == 0)
        rc = saved_head_parse(value.data, value.len, g->bucket, g->prefix, &g->head, &g->sums);
    if (rc == 0)
        g->current = saved_is_current(g->s, g->bucket, g->prefix, &g->head);
    return rc;
}

static int64_t
age(const struct loading *g, int64_t ns)
{
    return g->current && ns > 0 && ns <= sf_clock_ns() ? ns : SAVED_AGES_AGO;
}

static bool
is_fresh(const struct loading *g, int64_t ns)
{
    return fresh_locked(g->tree, age(g, ns), INT64_MAX);
}

/* ---- attributes ------------------------------------------------------------------------------ */

/* Attributes as the row of an object would tell them. */
static void
row_of(const struct saved_attrs *a, char mark[SF_MARK_SIZE], struct sf_list_row *row)
{
    mark[0] = '\0';
    if (a->marked && sf_mark_format(&a->mark, mark, SF_MARK_SIZE) < 0)
        mark[0] = '\0';
    row->cache_control = mark;
    row->mtime_ns = a->mtime_ns != SAVED_NO_TIME ? a->mtime_ns : 0;
    row->updated_ns = a->ctime_ns != SAVED_NO_TIME ? a->ctime_ns : 0;
}

/* The directory's own, unless it has been asked about meanwhile. Old ones are only shown while the
 * service is away. */
static void
apply_attrs_locked(struct loading *g, bool any_age)
{
    struct node *n = g->dir;
    char mark[SF_MARK_SIZE];
    bool fresh = is_fresh(g, g->head.attrs_ns);
    struct sf_list_row row = {.id = "", .etag = "", .mime = ""};
    if (n->type != N_DIR || n->dir->attrs_known || !g->head.attrs_known || !(fresh || any_age))
        return;
    sf_buf_clear(&g->key);
    if (sf_buf_printf(&g->key, "%s" SF_PLACEHOLDER, g->prefix) < 0)
        return;
    row.key = g->key.data;
    row.key_len = g->key.len;
    row_of(&g->head.attrs, mark, &row);
    if (n->changed_seq <= g->start_seq)
        attr_row_locked(g->tree, n, &row, row.mtime_ns, row.updated_ns);
    n->dir->attrs_known = fresh;
    n->dir->attrs_old = !fresh;
    n->dir->attrs_ns = age(g, g->head.attrs_ns);
    n->dir->placeholder |= g->head.placeholder;
}

/* ---- rows ------------------------------------------------------------------------------------ */

static struct node *
apply_object(struct loading *g, const struct saved_row *row, int64_t checked_ns)
{
    char mark[SF_MARK_SIZE];
    const char *mime = kind_mime(row->symlink ? S_IFLNK : (mode_t)DTTOIF(row->special));
    struct sf_list_row r = {
        .id = row->id, .etag = row->etag, .mime = mime ? mime : "", .size = row->size};
    sf_buf_clear(&g->key);
    if (sf_buf_printf(&g->key, "%s%s", g->prefix, row->comp) < 0)
        return NULL;
    r.key = g->key.data;
    r.key_len = g->key.len;
    row_of(&row->attrs, mark, &r);
    struct node *n = apply_object_locked(g->tree, g->dir, row->comp, strlen(row->comp), &r,
                                         g->start_seq, checked_ns, g->listing->id);
    if (n && row->etag_open)
        n->etag_open = true;
    if (n && n->type == N_FILE && n->changed_seq <= g->start_seq) {
        n->mime = row->mime[0] ? word_of(g->tree->words, row->mime) : 0;
        n->cache_control =
            row->cache_control_known ? word_of(g->tree->words, row->cache_control) : 0;
    }
    return n;
}

static struct node *
apply_bucket(struct loading *g, const struct saved_row *row, int64_t checked_ns)
{
    const char *mimes[SAVED_MIMES_MAX / 8 + 1], *m = row->mimes;
    size_t n = 0;
    struct sf_bucket_row r = {.id = row->comp, .name = row->comp, .size_limit = row->size};
    for (; m && m < row->mimes + row->mimes_len && n < SAVED_MIMES_MAX / 8; m += strlen(m) + 1)
        mimes[n++] = m;
    mimes[n] = NULL;
    r.mimes = n ? mimes : NULL;
    r.updated_ns = row->attrs.ctime_ns != SAVED_NO_TIME ? row->attrs.ctime_ns : 0;
    struct node *b = apply_bucket_locked(g->tree, g->dir, &r, g->start_seq, checked_ns);
    if (b)
        b->dir->bucket->public_ns = 0; /* that was not saved */
    if (b && !b->checked_ns)
        b->checked_ns = checked_ns;
    return b;
}

/* Is the name known already, by something newer? Then *ret is what it is, or NULL. */
static bool
is_known(const struct loading *g, const struct saved_row *row, struct node **ret)
{
    char name[SF_NAME_BUF_SIZE];
    unsigned flags = node_name_flags(g->tree, g->dir);
    int rc = row->kind == SAVED_BUCKET
                 ? sf_bucket_to_name(row->comp, name)
                 : sf_name_from_key(row->comp, strlen(row->comp), flags, name);
    struct node *n = rc < 0 ? NULL : node_find_locked(g->dir, name);
    *ret = NULL;
    /* One of this very load makes place, or gets the other name: apply.c knows how. */
    if (!n || (n->listing_id == g->listing->id && n->type != N_ABSENT))
        return false;
    if (n->type != N_ABSENT)
        *ret = n;
    return true;
}

/* One page; 0 or -errno. */
static int
apply_page_locked(struct loading *g, struct saved_reader *r)
{
    struct saved_row row;
    int rc;
    while ((rc = saved_page_next(r, &row)) == 1) {
        int64_t checked = age(g, row.checked_ns ? row.checked_ns : g->head.checked_ns);
        struct node *n = NULL;
        if ((row.kind == SAVED_BUCKET) != (g->dir->type == N_PROJECT))
            return -EUCLEAN;
        if (is_known(g, &row, &n))
            ;
        else if (row.kind == SAVED_OBJECT)
            n = apply_object(g, &row, checked);
        else if (row.kind == SAVED_FOLDER)
            n = apply_folder_locked(g->tree, g->dir, row.comp, strlen(row.comp), g->start_seq,
                                    checked, g->listing->id);
        else
            n = apply_bucket(g, &row, checked);
        if (n && n->parent == g->dir && listing_append_locked(g->listing, n) < 0)
            return -ENOMEM;
    }
    return rc;
}

/* Is the directory still the one that the rows are of? */
static bool
is_same_locked(const struct loading *g)
{
    enum saved_kind kind;
    char *bucket, *prefix;
    const struct node *n = g->dir;
    bool same = (n == g->tree->root || n->parent) &&
                saved_name_locked(g->tree, n, &kind, &bucket, &prefix) == 0;
    if (!same)
        return false;
    same = !strcmp(bucket, g->bucket) && !strcmp(prefix, g->prefix);
    free(bucket);
    free(prefix);
    return same && !n->dir->renaming;
}

/* All pages, each with the lock taken anew. */
static int
load_pages(struct loading *g)
{
    struct sf_tree *t = g->tree;
    sf_autobuf struct sf_buf value = SF_BUF_INIT;
    int rc = 0;
    for (uint32_t i = 0; rc == 0 && i < g->head.pages; i++) {
        struct saved_reader r;
        sf_buf_clear(&value);
        rc = saved_get(g->s, &g->id, i + 1, &value);
        if (rc == 0)
            rc = saved_page_open(value.data, value.len, g->sums[i], &r);
        if (rc < 0)
            return rc;
        tree_lock(t);
        rc = is_same_locked(g) ? apply_page_locked(g, &r) : -ECANCELED;
        tree_unlock(t);
    }
    return rc;
}

static int
load_listing(struct loading *g)
{
    struct sf_tree *t = g->tree;
    tree_lock(t);
    const struct listing *known = g->dir->dir->listing;
    bool wanted = !(known && known->complete) && is_same_locked(g);
    g->listing = wanted ? listing_saved_new_locked(t, age(g, g->head.checked_ns)) : NULL;
    tree_unlock(t);
    if (!g->listing)
        return -ECANCELED;
    int rc = load_pages(g);
    tree_lock(t);
    bool whole = rc == 0 && g->head.complete && is_same_locked(g);
    listing_saved_end_locked(t, g->dir, g->listing, whole);
    g->listing = NULL;
    tree_unlock(t);
    sf_count(is_fresh(g, g->head.checked_ns) ? SF_C_SAVED_LOADED : SF_C_SAVED_LOADED_OLD, 1);
    return rc;
}

void
saved_load(struct saved *s, struct sf_tree *t, struct load *l)
{
    struct loading g = {.s = s, .tree = t, .dir = l->dir, .key = SF_BUF_INIT};
    struct dir *d = l->dir->dir;
    tree_lock(t);
    g.start_seq = t->seq;
    int rc = saved_name_locked(t, l->dir, &g.kind, &g.bucket, &g.prefix);
    tree_unlock(t);
    if (rc == 0)
        rc = read_head(&g);
    tree_lock(t);
    bool all = rc < 0 || (l->listing && !g.head.listing);
    if (rc == 0)
        apply_attrs_locked(&g, l->any_age);
    if (rc == 0 && g.head.rows > SAVED_LARGE)
        d->large = true; /* so that one name is not asked for by all of them */
    bool pages =
        rc == 0 && l->listing && g.head.listing && (l->any_age || is_fresh(&g, g.head.checked_ns));
    tree_unlock(t);
    if (pages)
        (void)load_listing(&g); /* what is lacking is asked for */
    tree_lock(t);
    if (all || pages)
        d->saved = SAVED_ALL;
    else if (l->listing)
        d->saved = SAVED_OLD;
    else if (d->saved == SAVED_NOT)
        d->saved = SAVED_ATTRS;
    d->load = NULL;
    tree_wake_locked(t, &l->waiters, 0);
    node_evict_locked(t);
    node_unref_locked(t, l->dir);
    tree_unlock(t);
    loading_fini(&g);
    free(l);
}

/* ---- the root at a start without service ------------------------------------------------------
 */

/* The row of one bucket in what was saved of @kind. 0, -ENOENT. */
static int
load_bucket(struct saved *s, struct sf_tree *t, enum saved_kind kind, const char *bucket, bool take)
{
    struct bucket *b = t->root->dir->bucket;
    struct loading g = {.s = s, .tree = t, .dir = t->root, .kind = kind, .key = SF_BUF_INIT};
    sf_autobuf struct sf_buf value = SF_BUF_INIT;
    struct saved_row row;
    g.bucket = strdup(bucket);
    g.prefix = strdup("");
    int rc = g.bucket && g.prefix ? read_head(&g) : -ENOMEM;
    bool found = false;
    for (uint32_t i = 0; rc == 0 && !found && i < g.head.pages; i++) {
        struct saved_reader r;
        sf_buf_clear(&value);
        rc = saved_get(s, &g.id, i + 1, &value);
        if (rc == 0)
            rc = saved_page_open(value.data, value.len, g.sums[i], &r);
        while (rc == 0 && !found && saved_page_next(&r, &row) == 1)
            found = row.kind == SAVED_BUCKET && !strcmp(row.comp, b->id);
    }
    if (found && take) {
        const char *mimes[SAVED_MIMES_MAX / 8 + 1], *m = row.mimes;
        struct sf_bucket_row r = {.id = b->id, .size_limit = row.size};
        size_t n = 0;
        for (; m && m < row.mimes + row.mimes_len && n < SAVED_MIMES_MAX / 8; m += strlen(m) + 1)
            mimes[n++] = m;
        mimes[n] = NULL;
        r.mimes = n ? mimes : NULL;
        tree_lock(t);
        bucket_set(b, &r, 0);
        tree_unlock(t);
    }
    loading_fini(&g);
    return found ? 0 : -ENOENT;
}

static int
load_project(struct saved *s, struct sf_tree *t, bool take)
{
    struct loading g = {.s = s, .tree = t, .dir = t->root, .kind = SAVED_BUCKETS};
    g.bucket = strdup("");
    g.prefix = strdup("");
    g.start_seq = t->seq;
    int rc = g.bucket && g.prefix ? read_head(&g) : -ENOMEM;
    if (rc == 0 && !g.head.complete)
        rc = -ENOENT;
    if (rc == 0 && take)
        rc = load_listing(&g);
    loading_fini(&g);
    return rc < 0 ? -ENOENT : 0;
}

static int
load_root(struct saved *s, struct sf_tree *t, bool take)
{
    if (!s)
        return -ENOENT;
    if (t->root->type == N_PROJECT)
        return load_project(s, t, take);
    int rc = load_bucket(s, t, SAVED_ONE_BUCKET, t->root->dir->bucket->id, take);
    return rc < 0 ? load_bucket(s, t, SAVED_BUCKETS, "", take) : rc;
}

int
saved_load_root(struct saved *s, struct sf_tree *t)
{
    return load_root(s, t, true);
}

bool
saved_knows_root(struct saved *s, struct sf_tree *t)
{
    return load_root(s, t, false) == 0;
}
