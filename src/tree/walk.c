/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tree/internal.h"

#include "base/buf.h"
#include "base/clock.h"
#include "observe/counter.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/*
 * Somebody goes through a tree (find, git status, du, rsync): directories of one parent are listed
 * one after the other. From the third on, a listing of all keys below that parent, which begins at
 * the directory that is wanted now, serves this and those that follow: a page has 1,000 objects,
 * however many directories they lie in. Pages are asked for ahead of the walker by AHEAD at most.
 *
 * To the rest of the tree such a directory's listing looks like any other run. What the walk cannot
 * serve (a page fails, a rename comes in between, the walker went elsewhere) is listed for itself.
 */
#define WALKS_MAX 4
#define AHEAD     2 /* pages that nobody has asked for yet */
#define CHILDREN  3 /* listed shortly one after the other make a walk */
#define WINDOW_MS 2000
#define LARGE     1000 /* rows of a page */

struct level {
    struct node *dir;  /* counted; NULL = not shown */
    struct listing *l; /* its run; NULL = it has one of its own */
    size_t end;        /* bytes of the key up to and with the '/' behind it */
};

struct walk {
    struct action act;
    struct walk *next;
    struct sf_tree *tree;
    struct node *top; /* counted */
    char *bucket, *prefix;
    char *first;       /* it began behind this key */
    char *last;        /* rows behind this key come next */
    struct sf_buf key; /* of the last row */
    struct level *levels;
    size_t n, cap;
    struct listing *promised; /* runs that wait until it comes to them */
    unsigned ahead;           /* pages since somebody last wanted something */
    int64_t wanted_ms;
    bool asking, over;
    uint64_t start_seq; /* of the page under way */
    int64_t start_ns;
};

static void walk_ask(struct action *a);

/* ---- what is wanted of it ------------------------------------------------------------------- */

static bool
somebody_waits(const struct walk *w)
{
    for (size_t i = 0; i < w->n; i++)
        if (w->levels[i].l && (w->levels[i].l->waiters || w->levels[i].l->refs > 1))
            return true;
    return w->promised;
}

static void
walk_go_locked(struct walk *w)
{
    struct sf_tree *t = w->tree;
    if (w->asking || w->over || (w->ahead >= AHEAD && !somebody_waits(w)))
        return;
    w->asking = true;
    w->start_seq = t->seq;
    w->start_ns = sf_clock_ns();
    tree_ask_locked(t);
    tree_queue_locked(t, &w->act, walk_ask);
}

static void
wanted_locked(struct walk *w)
{
    w->ahead = 0;
    w->wanted_ms = sf_clock_ms();
    walk_go_locked(w);
}

/* It comes to this directory or not at all. */
static void
unpromise(struct walk *w, struct listing *l)
{
    struct listing **p = &w->promised;
    while (*p && *p != l)
        p = &(*p)->next_promised;
    if (*p)
        *p = l->next_promised;
    l->next_promised = NULL;
}

/* ---- levels: the directories that the last row lies in --------------------------------------- */

/* Are the objects of this directory where its name says, and will they stay there? */
static bool
in_place_locked(struct sf_tree *t, const struct node *dir, const char *bucket, const char *prefix)
{
    char *b = NULL, *k = NULL;
    bool stays = sf_write_other_name(t->writer, bucket, prefix, &b, &k) == SF_NAME_STAYS;
    free(b);
    free(k);
    if (!stays || node_key_locked(dir, &b, &k) < 0)
        return false;
    stays = strcmp(b, bucket) == 0 && strcmp(k, prefix) == 0;
    free(b);
    free(k);
    return stays;
}

/* The run of a directory that the walk has come to; NULL: it has another, or none can be made, or
 * the walk began in the middle of it. @key: its prefix. */
static struct listing *
level_listing_locked(struct walk *w, struct node *d, const char *key, size_t len)
{
    struct sf_tree *t = w->tree;
    struct listing *l = d->dir->run;
    if ((l && l->walk != w) || strncmp(w->first, key, len) >= 0)
        return NULL;
    if (l)
        unpromise(w, l);
    else if (d->dir->renaming || listing_run_locked(t, d, &l) < 0)
        return NULL;
    l->walk = w;
    if (w->start_ns < l->start_ns)
        l->start_ns = w->start_ns;
    if (w->start_seq < l->start_seq)
        l->start_seq = w->start_seq;
    d->dir->placeholder = false;
    sf_count(SF_C_LISTINGS, 1);
    return l;
}

/* @key: of the row; [from, end) is the next component in it, with its '/'. */
static void
push_locked(struct walk *w, const char *key, size_t from, size_t end)
{
    const char *comp = key + from;
    size_t len = end - 1 - from;
    struct level *up = w->n ? &w->levels[w->n - 1] : NULL;
    struct node *parent = up ? up->dir : w->top, *d = NULL;
    struct listing *l = up ? up->l : NULL;
    if (parent)
        d = apply_folder_locked(w->tree, parent, comp, len, w->start_seq, w->start_ns,
                                l ? l->id : 0);
    if (d && l)
        listing_append_locked(l, d);
    if (d && !node_is_dir(d))
        d = NULL;
    if (d)
        node_ref_locked(d);
    w->levels[w->n++] = (struct level){d, d ? level_listing_locked(w, d, key, end) : NULL, end};
}

/* All rows of the deepest directory were seen. */
static void
pop_locked(struct walk *w)
{
    struct sf_tree *t = w->tree;
    struct level v = w->levels[--w->n];
    struct listing *l = v.l;
    if (l && !v.dir->parent && l->refs <= 1) {
        listing_finish_locked(t, l, -ECANCELED, false);
    } else if (l && !in_place_locked(t, v.dir, l->bucket, l->prefix)) {
        listing_alone_locked(t, l);
    } else if (l) {
        v.dir->dir->large = l->n > LARGE;
        dir_attrs_settled_locked(t, v.dir); /* the marker was among its rows, or there is none */
        listing_finish_locked(t, l, 0, true);
    }
    if (v.dir)
        node_unref_locked(t, v.dir);
}

/* ---- rows ----------------------------------------------------------------------------------- */

static int
row_locked(struct walk *w, const struct sf_list_row *row)
{
    size_t np = strlen(w->prefix), at;
    const char *slash;
    while (w->n) {
        size_t end = w->levels[w->n - 1].end;
        if (row->key_len >= end && memcmp(row->key, w->key.data, end) == 0)
            break;
        pop_locked(w);
    }
    at = w->n ? w->levels[w->n - 1].end : np;
    while ((slash = memchr(row->key + at, '/', row->key_len - at))) {
        if (w->n == w->cap) {
            size_t cap = w->cap ? 2 * w->cap : 16;
            struct level *more = realloc(w->levels, cap * sizeof *more);
            if (!more)
                return -ENOMEM;
            w->levels = more;
            w->cap = cap;
        }
        size_t end = (size_t)(slash - row->key) + 1;
        push_locked(w, row->key, at, end);
        at = end;
    }
    sf_buf_clear(&w->key);
    if (sf_buf_append(&w->key, row->key, row->key_len) < 0)
        return -ENOMEM;
    struct level *v = w->n ? &w->levels[w->n - 1] : NULL;
    struct node *dir = v ? v->dir : w->top, *c = NULL;
    if (dir)
        c = apply_object_locked(w->tree, dir, row->key + at, row->key_len - at, row, w->start_seq,
                                w->start_ns, v && v->l ? v->l->id : 0);
    return c && v && v->l ? listing_append_locked(v->l, c) : 0;
}

/* Directories that the rows have passed without one of them: they are empty, or gone. */
static void
passed_locked(struct walk *w)
{
    for (struct listing *l = w->promised, *next; l; l = next) {
        next = l->next_promised;
        if (w->ahead <= AHEAD && strcmp(l->prefix, w->last) > 0)
            continue;
        unpromise(w, l);
        listing_alone_locked(w->tree, l);
    }
}

/* ---- life ----------------------------------------------------------------------------------- */

static void
walk_free_locked(struct walk *w)
{
    node_unref_locked(w->tree, w->top);
    sf_buf_fini(&w->key);
    free(w->levels);
    free(w->bucket);
    free(w->prefix);
    free(w->first);
    free(w->last);
    free(w);
}

/* What it has not finished goes on without it. */
static void
walk_end_locked(struct walk *w)
{
    struct sf_tree *t = w->tree;
    struct walk **p = &t->walks;
    while (*p != w)
        p = &(*p)->next;
    *p = w->next;
    w->over = true;
    for (struct listing *l; (l = w->promised);) {
        unpromise(w, l);
        listing_alone_locked(t, l);
    }
    while (w->n) {
        struct level v = w->levels[--w->n];
        if (v.l && (v.l->waiters || v.l->refs > 1))
            listing_alone_locked(t, v.l);
        else if (v.l)
            listing_finish_locked(t, v.l, -ECANCELED, false);
        if (v.dir)
            node_unref_locked(t, v.dir);
    }
    if (!w->asking)
        walk_free_locked(w);
}

void
walk_end_all_locked(struct sf_tree *t)
{
    while (t->walks)
        walk_end_locked(t->walks);
}

static void
page_done(void *arg, const struct sf_err *err, const struct sf_list_page *page)
{
    struct walk *w = arg;
    struct sf_tree *t = w->tree;
    tree_lock(t);
    tree_answer_locked(t, err);
    w->asking = false;
    int rc = err ? err->code : 0;
    if (w->over) {
        walk_free_locked(w);
        tree_unlock(t);
        return;
    }
    if (!rc && !in_place_locked(t, w->top, w->bucket, w->prefix))
        rc = -ESTALE;
    if (!rc)
        sf_count(SF_C_LISTING_PAGES, 1);
    for (size_t i = 0; !rc && i < page->n; i++)
        rc = row_locked(w, &page->rows[i]);
    if (!rc && page->more && page->last)
        rc = node_set_str(&w->last, page->last);
    if (!rc && page->more && page->last) {
        w->ahead++;
        passed_locked(w);
        walk_go_locked(w);
    } else {
        while (!rc && w->n)
            pop_locked(w);
        walk_end_locked(w);
    }
    tree_unlock(t);
}

static void
walk_ask(struct action *a)
{
    struct walk *w = (struct walk *)a;
    const struct sf_list_args args = {.bucket = w->bucket, .prefix = w->prefix, .after = w->last};
    sf_storage_list(w->tree->st, &args, tree_read_deadline(w->tree), page_done, w);
}

/* Through all that is below @top, from the directory of this run on. */
static struct walk *
walk_new_locked(struct sf_tree *t, struct node *top, const struct listing *from)
{
    unsigned n = 0;
    struct walk *w, *old = NULL;
    for (w = t->walks; w; w = w->next, n++)
        if (!w->asking && !somebody_waits(w))
            old = w; /* the oldest of these */
    if (n >= WALKS_MAX && !old)
        return NULL;
    if (n >= WALKS_MAX)
        walk_end_locked(old);
    w = calloc(1, sizeof *w);
    if (!w)
        return NULL;
    w->tree = t;
    sf_buf_init(&w->key);
    w->first = strndup(from->prefix, strlen(from->prefix) - 1); /* DIR: DIR/ comes behind that */
    w->last = w->first ? strdup(w->first) : NULL;
    if (!w->last || node_key_locked(top, &w->bucket, &w->prefix) < 0) {
        free(w->first);
        free(w->last);
        free(w);
        return NULL;
    }
    w->top = top;
    node_ref_locked(top);
    w->next = t->walks;
    t->walks = w;
    sf_count(SF_C_WALKS, 1);
    return w;
}

/* ---- for listing.c and op-dir.c -------------------------------------------------------------- */

/* The topmost directory that somebody goes through, of those above this one; NULL = none. */
static struct node *
walked_locked(struct sf_tree *t, struct node *dir)
{
    int64_t now = sf_clock_ms();
    struct node *top = NULL;
    for (struct node *n = dir->parent; n && n->type != N_PROJECT; n = n->parent) {
        struct dir *d = n->dir;
        if (now - d->children_ms > WINDOW_MS)
            d->children = 0;
        if (n == dir->parent && d->children < CHILDREN)
            d->children++;
        d->children_ms = d->children ? now : 0;
        if (d->children >= CHILDREN && (n == t->root || n->parent) && !d->renaming)
            top = n;
    }
    return top;
}

/* One whose last page is old serves nobody. */
static bool
is_old(const struct walk *w)
{
    return !w->asking && sf_clock_ms() - w->wanted_ms > WINDOW_MS;
}

/* The walk that has this directory before it. */
static struct walk *
coming_locked(const struct sf_tree *t, const struct node *dir, const char *prefix)
{
    struct walk *w = t->walks;
    while (w && (is_old(w) || !node_is_within(dir, w->top) || strcmp(prefix, w->last) <= 0))
        w = w->next;
    return w;
}

bool
walk_comes_locked(const struct sf_tree *t, const struct node *dir)
{
    char *bucket = NULL, *prefix = NULL;
    if (!t->walks || node_key_locked(dir, &bucket, &prefix) < 0)
        return false;
    bool comes = coming_locked(t, dir, prefix);
    free(bucket);
    free(prefix);
    return comes;
}

bool
walk_takes_locked(struct sf_tree *t, struct listing *l)
{
    if (l->dir->type != N_DIR || !t->opts.attr_ttl_ms || tree_offline_locked(t))
        return false;
    struct node *top = walked_locked(t, l->dir);
    for (struct walk *i = t->walks, *next; i; i = next) {
        next = i->next;
        if (is_old(i))
            walk_end_locked(i);
    }
    struct walk *w = coming_locked(t, l->dir, l->prefix);
    if (!w && top)
        w = walk_new_locked(t, top, l);
    if (!w || !in_place_locked(t, l->dir, l->bucket, l->prefix))
        return false;
    l->walk = w;
    l->next_promised = w->promised;
    w->promised = l;
    wanted_locked(w);
    return true;
}

void
walk_joined_locked(struct listing *l)
{
    if (is_old(l->walk))
        walk_end_locked(l->walk);
    else
        wanted_locked(l->walk);
}

void
walk_followed_locked(struct sf_tree *t, const struct node *dir)
{
    for (struct walk *w = t->walks; w; w = w->next)
        if (node_is_within(dir, w->top))
            wanted_locked(w);
}
