/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tree/internal.h"

#include "base/clock.h"
#include "observe/counter.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/*
 * Attributes of directories lie on their markers, which the listing of the parent does not show.
 * They are read once, before they are first given out. The first two directories whose attributes
 * are wanted are listed themselves: who looks at one goes on into it, as a rule, and the listing
 * has its marker. When a third one beside them is wanted, somebody goes through them: then one
 * listing of all that is below the parent tells of as many as its page reaches, and the rest is
 * asked for one by one, some at a time.
 */
#define AT_ONCE 16
#define FIRST   2 /* directories that are listed themselves */
/* This only bounds a mistake. */
#define ROUNDS        900
#define BACKGROUND_MS 1000

struct dir_ask {
    struct action act;
    struct sf_tree *tree;
    struct node *parent; /* counted */
    char *bucket, *prefix;
    uint64_t start_seq;
    int64_t start_ns;
    unsigned left; /* questions for one directory */
    int err;
    struct waiter *waiters;
    struct single *singles; /* to be asked */
};

struct single {
    struct single *next;
    struct dir_ask *ask;
    uint64_t nid;
    char *key; /* of the marker */
};

void
dir_marker_locked(struct sf_tree *t, struct node *dir, const struct sf_list_row *row,
                  uint64_t start_seq)
{
    struct sf_attr before;
    attr_fill_locked(t, dir, &before);
    dir->dir->placeholder = true;
    if (dir->type == N_DIR && dir->changed_seq <= start_seq)
        attr_row_locked(t, dir, row, 0, 0);
    if (dir->dir->attrs_known)
        apply_attrs_told_locked(t, dir, &before);
    dir->dir->attrs_old = false;
    dir_attrs_settled_locked(t, dir);
}

void
dir_attrs_settled_locked(struct sf_tree *t, struct node *dir)
{
    struct dir *d = dir->dir;
    if (d->attrs_old) { /* and there is no marker: they are not so any more */
        attr_row_locked(t, dir, NULL, 0, 0);
        dir->mtime_ns = dir->set & SF_SET_MTIME ? dir->mtime_ns : ATTR_TIME_NONE;
        dir->ctime_ns = dir->set & SF_SET_CTIME ? dir->ctime_ns : ATTR_TIME_NONE;
        d->attrs_old = false;
    }
    d->attrs_known = true;
    d->attrs_ns = sf_clock_ns();
    saved_learned_locked(t, dir);
}

/* ---- one listing for many ---------------------------------------------------------------------
 */

static bool
unknown(const struct node *n)
{
    return n->type == N_DIR && !n->dir->attrs_known;
}

/* Its key below the parent, as in the listing. */
static const char *
comp_of(const struct node *n)
{
    return node_comp(n);
}

static void
finish_locked(struct sf_tree *t, struct dir_ask *a)
{
    a->parent->dir->ask = NULL;
    tree_wake_locked(t, &a->waiters, a->err);
    node_unref_locked(t, a->parent);
    free(a->bucket);
    free(a->prefix);
    free(a);
}

void
dir_attrs_wake_locked(struct sf_tree *t, struct node *parent)
{
    if (parent->dir->ask)
        tree_wake_locked(t, &parent->dir->ask->waiters, 0);
}

static void
single_done(void *arg, const struct sf_err *err, const struct sf_list_page *page)
{
    struct single *s = arg;
    struct dir_ask *a = s->ask;
    struct sf_tree *t = a->tree;
    tree_lock(t);
    tree_answer_locked(t, err);
    sf_count(SF_C_LOOKUP_NETWORK, 1);
    struct node *n = node_get_locked(t, s->nid);
    if (err && !a->err)
        a->err = err->code;
    if (!err && n && n->dir) {
        for (size_t i = 0; i < page->n; i++)
            if (!strcmp(page->rows[i].key, s->key) && page->rows[i].size == 0)
                dir_marker_locked(t, n, &page->rows[i], a->start_seq);
        dir_attrs_settled_locked(t, n);
    }
    if (--a->left == 0)
        finish_locked(t, a);
    tree_unlock(t);
    free(s->key);
    free(s);
}

static void
singles_ask(struct action *act)
{
    struct dir_ask *a = (struct dir_ask *)act;
    struct sf_tree *t = a->tree;
    struct single *s = a->singles, *next;
    char *bucket =
        a->bucket; /* the last answer frees @a; it cannot come before the last question */
    for (; s; s = next) {
        next = s->next;
        const struct sf_list_args args = {.bucket = bucket, .prefix = s->key, .limit = 1};
        sf_storage_list(t->st, &args, tree_read_deadline(t), single_done, s);
    }
}

/* Questions for @first (NULL = none in particular) and others that are not known yet. */
static bool
singles_locked(struct sf_tree *t, struct dir_ask *a, struct node *first)
{
    const struct dir *d = a->parent->dir;
    struct single **tail = &a->singles;
    for (uint32_t i = 0; a->left < AT_ONCE && i <= d->slots; i++)
        for (struct node *c = i ? d->table[i - 1] : first; c; c = i ? c->hnext : NULL) {
            struct single *s;
            if (!unknown(c) || (i && c == first) || a->left >= AT_ONCE)
                continue;
            if (!(s = calloc(1, sizeof *s)) ||
                asprintf(&s->key, "%s%s/" SF_PLACEHOLDER, a->prefix, comp_of(c)) < 0) {
                free(s);
                continue;
            }
            s->ask = a;
            s->nid = c->nid;
            *tail = s;
            tail = &s->next;
            a->left++;
            tree_ask_locked(t);
        }
    if (a->left)
        tree_queue_locked(t, &a->act, singles_ask);
    return a->left > 0;
}

/* The directory right below the parent whose marker this is; NULL = none. */
static struct node *
marked_dir(struct sf_tree *t, struct node *parent, const char *below)
{
    const char *slash = strchr(below, '/');
    char name[SF_NAME_BUF_SIZE];
    if (!slash || strcmp(slash + 1, SF_PLACEHOLDER))
        return NULL;
    if (sf_name_from_key(below, (size_t)(slash - below), node_name_flags(t, parent), name) < 0)
        return NULL;
    struct node *n = node_find_locked(parent, name);
    return n && n->type == N_DIR ? n : NULL;
}

/* Is the place of its marker before the page's end? */
static bool
reached(const struct dir_ask *a, const struct node *n, const struct sf_list_page *page)
{
    char key[2048];
    if (!page->more)
        return true;
    if (!page->last)
        return false;
    snprintf(key, sizeof key, "%s%s/" SF_PLACEHOLDER, a->prefix, comp_of(n));
    return strcmp(key, page->last) <= 0;
}

static void
many_done(void *arg, const struct sf_err *err, const struct sf_list_page *page)
{
    struct dir_ask *a = arg;
    struct sf_tree *t = a->tree;
    const struct dir *d = a->parent->dir;
    bool rest = false;
    tree_lock(t);
    tree_answer_locked(t, err);
    sf_count(SF_C_LISTING_PAGES, 1);
    a->err = err ? err->code : 0;
    for (size_t i = 0; !err && i < page->n; i++) {
        const struct sf_list_row *row = &page->rows[i];
        struct node *n = row->size ? NULL : marked_dir(t, a->parent, row->key + strlen(a->prefix));
        if (n && !n->dir->attrs_known)
            dir_marker_locked(t, n, row, a->start_seq);
    }
    for (uint32_t i = 0; !err && i < d->slots; i++)
        for (struct node *c = d->table[i]; c; c = c->hnext) {
            if (!unknown(c) || c->checked_ns > a->start_ns)
                continue; /* of one that came later it says nothing */
            if (reached(a, c, page))
                dir_attrs_settled_locked(t, c);
            else
                rest = true;
        }
    a->parent->dir->deep = rest;
    if (!rest || !singles_locked(t, a, NULL))
        finish_locked(t, a);
    tree_unlock(t);
}

static void
many_ask(struct action *act)
{
    struct dir_ask *a = (struct dir_ask *)act;
    const struct sf_list_args args = {.bucket = a->bucket, .prefix = a->prefix};
    sf_storage_list(a->tree->st, &args, tree_read_deadline(a->tree), many_done, a);
}

static struct dir_ask *
ask_new_locked(struct sf_tree *t, struct node *parent)
{
    struct dir_ask *a = calloc(1, sizeof *a);
    if (!a || node_key_locked(parent, &a->bucket, &a->prefix) < 0) {
        free(a);
        return NULL;
    }
    a->tree = t;
    a->parent = parent;
    a->start_seq = t->seq;
    a->start_ns = sf_clock_ns();
    node_ref_locked(parent);
    return a;
}

/* Are there two of which nothing is known? */
static bool
several(const struct node *parent)
{
    const struct dir *d = parent->dir;
    unsigned n = 0;
    for (uint32_t i = 0; n < 2 && i < d->slots; i++)
        for (const struct node *c = d->table[i]; c; c = c->hnext)
            n += unknown(c);
    return n >= 2;
}

/* ---- what others call -------------------------------------------------------------------------
 */

bool
dir_attrs_known(const struct sf_tree *t, const struct node *n)
{
    return n->type != N_DIR || t->opts.plain || n->dir->attrs_known || !n->parent;
}

int
dir_attrs_locked(struct sf_tree *t, const struct resolve *r, struct node *n, struct waiter *w)
{
    struct node *p = n->parent;
    if (dir_attrs_known(t, n) || r->err < 0 || r->rounds > ROUNDS)
        return 0; /* without an answer, the mount's defaults */
    bool offline = tree_offline_locked(t);
    if (saved_want_locked(t, n, false, offline, w))
        return -EINPROGRESS;
    if (offline) { /* the same; its return is noticed by questions now and then */
        if (sf_clock_ms() - t->background_ms >= BACKGROUND_MS) {
            t->background_ms = sf_clock_ms();
            (void)!listing_start_locked(t, n, false, NULL);
        }
        return 0;
    }
    struct dir_ask *a = p->dir->ask;
    bool first = p->dir->asked < FIRST, listed = n->dir->listing && !n->dir->run;
    p->dir->asked += first;
    if (!a && !listed && (first || !several(p) || walk_comes_locked(t, n))) {
        int rc = listing_start_locked(t, n, false, w);
        return rc < 0 ? rc : -EINPROGRESS;
    }
    if (!a) {
        a = ask_new_locked(t, p);
        if (!a)
            return -ENOMEM;
        if (!p->dir->deep && several(p)) {
            tree_ask_locked(t);
            tree_queue_locked(t, &a->act, many_ask);
        } else if (!singles_locked(t, a, n)) {
            finish_locked(t, a);
            return -ENOMEM;
        }
        p->dir->ask = a;
    }
    w->next = a->waiters;
    a->waiters = w;
    return -EINPROGRESS;
}
