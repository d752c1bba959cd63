/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tree/internal.h"

#include "base/clock.h"
#include "observe/counter.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* A listing of this many times max_nodes is given up. */
#define LISTING_MAX 8

static void listing_ask(struct action *a);

void
listing_ref_locked(struct listing *l)
{
    l->refs++;
}

void
listing_unref_locked(struct sf_tree *t, struct listing *l)
{
    if (--l->refs)
        return;
    assert(!l->running && !l->waiters);
    for (size_t i = 0; i < l->n; i++)
        node_unref_locked(t, l->entries[i]);
    free(l->entries);
    free(l->last);
    free(l->prefix);
    free(l->bucket);
    free(l);
}

int
listing_append_locked(struct listing *l, struct node *n)
{
    if (n->listing_id == l->id)
        return 0;
    if (l->n == l->cap) {
        size_t cap = l->cap ? l->cap + l->cap / 2 : 16;
        struct node **e = realloc(l->entries, cap * sizeof *e);
        if (!e)
            return -ENOMEM;
        l->entries = e;
        l->cap = cap;
    }
    n->listing_id = l->id;
    node_ref_locked(n);
    l->entries[l->n++] = n;
    return 0;
}

/* Is it in the listing? Only asked of a node that came from some listing before. */
static bool
listing_has(const struct listing *l, const struct node *n)
{
    for (size_t i = 0; i < l->n; i++)
        if (l->entries[i] == n)
            return true;
    return false;
}

/* Let go of what was removed since. Only while no handle counts its entries. */
static void
listing_compact(struct sf_tree *t, struct listing *l, const struct node *dir)
{
    size_t kept = 0;
    for (size_t i = 0; i < l->n; i++)
        if (l->entries[i]->parent == dir)
            l->entries[kept++] = l->entries[i];
        else {
            if (l->entries[i]->listing_id == l->id)
                l->entries[i]->listing_id = 0;
            node_unref_locked(t, l->entries[i]);
        }
    l->n = kept;
    if (kept <= l->cap - l->cap / 4)
        return;
    /* Else it would soon be full again, and all be looked through for a few. */
    size_t cap = l->cap + l->cap / 2;
    struct node **e = realloc(l->entries, cap * sizeof *e);
    if (e) {
        l->entries = e;
        l->cap = cap;
    }
}

void
listing_added_locked(struct node *dir, struct node *n)
{
    struct listing *const both[] = {dir->dir->listing, dir->dir->run};
    uint32_t before = n->listing_id, last = before;
    for (size_t i = 0; i < 2; i++) {
        struct listing *l = both[i];
        if (!l)
            continue;
        last = l->id;
        if (l->n == l->cap && l->refs == 1 && !l->running)
            listing_compact(l->tree, l, dir);
        if (before && (before == l->id || listing_has(l, n)))
            continue;
        n->listing_id = 0;
        if (listing_append_locked(l, n) < 0)
            l->complete = false; /* not known completely any more */
    }
    n->listing_id = last; /* of the run, if there is one: its rows are compared with it */
}

static struct listing *
listing_new(struct sf_tree *t)
{
    struct listing *l = calloc(1, sizeof *l);
    if (!l)
        return NULL;
    l->tree = t;
    l->refs = 1;
    l->id = ++t->next_listing ? t->next_listing : ++t->next_listing;
    l->start_ns = sf_clock_ns();
    l->start_seq = t->seq;
    return l;
}

static void
listing_install(struct sf_tree *t, struct node *dir, struct listing *l)
{
    struct listing *old = dir->dir->listing;
    dir->dir->listing = l;
    if (old)
        listing_unref_locked(t, old);
}

int
listing_empty_locked(struct sf_tree *t, struct node *dir)
{
    struct listing *l = listing_new(t);
    if (!l)
        return -ENOMEM;
    l->complete = true;
    listing_install(t, dir, l);
    return 0;
}

struct listing *
listing_saved_new_locked(struct sf_tree *t, int64_t checked_ns)
{
    struct listing *l = listing_new(t);
    if (l)
        l->start_ns = checked_ns;
    return l;
}

void
listing_saved_end_locked(struct sf_tree *t, struct node *dir, struct listing *l, bool whole)
{
    const struct dir *d = dir->dir;
    l->complete = whole;
    /* What came from elsewhere meanwhile is newer. */
    for (uint32_t i = 0; l->complete && i < d->slots; i++)
        for (struct node *c = d->table[i]; c; c = c->hnext)
            if (c->type != N_ABSENT && listing_append_locked(l, c) < 0)
                l->complete = false;
    if (l->complete && !d->run && !(d->listing && d->listing->complete))
        listing_install(t, dir, l);
    else
        listing_unref_locked(t, l);
}

bool
listing_covers_locked(const struct listing *l, const char *comp)
{
    if (l->complete)
        return true;
    if (l->doubt)
        return false;
    /* Pages come in bytewise order of key; a directory's key has a '/' behind. */
    if (!l->last || !l->prefix)
        return false;
    size_t np = strlen(l->prefix), nc = strlen(comp);
    const char *last = l->last + np;
    int c = strncmp(comp, last, nc);
    return c < 0 || (c == 0 && (unsigned char)last[nc] > '/');
}

int
listing_run_locked(struct sf_tree *t, struct node *dir, struct listing **ret)
{
    struct listing *l = listing_new(t);
    if (!l)
        return -ENOMEM;
    int rc = dir->type == N_PROJECT ? 0 : node_key_locked(dir, &l->bucket, &l->prefix);
    if (rc < 0) {
        listing_unref_locked(t, l);
        return rc;
    }
    l->running = true;
    l->dir = dir;
    node_ref_locked(dir);
    dir->dir->run = *ret = l;
    return 0;
}

/*
 * Without a delimiter the service tells for certain whether more follows; with one it may lose rows
 * behind a page of 1,000 objects, so another question is needed there (supabase/list.c). So where
 * no directory has been seen so far, or when it was last listed, all keys are asked for.
 */
static void
listing_ask_locked(struct sf_tree *t, struct listing *l)
{
    const struct dir *d = l->dir->dir;
    bool leaf = d->listing && d->listing->complete && !d->subdirs;
    l->flat = l->last ? !l->folders : leaf;
    tree_ask_locked(t);
    tree_queue_locked(t, &l->act, listing_ask);
}

void
listing_alone_locked(struct sf_tree *t, struct listing *l)
{
    l->walk = NULL;
    listing_ask_locked(t, l);
}

int
listing_start_locked(struct sf_tree *t, struct node *dir, bool want_all, struct waiter *w)
{
    struct listing *l = dir->dir->run;
    bool made = !l;
    int rc = made ? listing_run_locked(t, dir, &l) : 0;
    if (rc < 0)
        return rc;
    l->want_all |= want_all;
    if (w) {
        w->next = l->waiters;
        l->waiters = w;
    }
    if (made && !walk_takes_locked(t, l))
        listing_ask_locked(t, l);
    else if (!made && l->walk)
        walk_joined_locked(l);
    return 0;
}

bool
listing_resume_locked(struct sf_tree *t, struct node *dir, int64_t since_ns)
{
    struct listing *l = dir->dir->listing;
    char *bucket, *prefix;
    if (!l || dir->dir->run || l->complete || l->failed || l->doubt || !l->last ||
        !fresh_locked(t, l->start_ns, since_ns) || node_key_locked(dir, &bucket, &prefix) < 0)
        return false;
    bool same = !strcmp(bucket, l->bucket) && !strcmp(prefix, l->prefix);
    free(bucket);
    free(prefix);
    if (!same)
        return false;
    dir->dir->listing = NULL;
    dir->dir->run = l; /* which counts it now */
    l->running = true;
    l->dir = dir;
    node_ref_locked(dir);
    listing_ask_locked(t, l);
    return true;
}

/* ---- the end of a run
 * ------------------------------------------------------------------------------ */

/* Has another answer shown this name after the page that did not? */
static bool
seen_since(const struct node *dir, const struct node *c, const struct listing *l)
{
    int64_t page_ns = pages_asked_ns(dir, node_comp(c));
    /* A page that is remembered may be of an earlier run. */
    return c->type != N_ABSENT && c->checked_ns >= (page_ns > l->start_ns ? page_ns : l->start_ns);
}

/* A complete run did not show these names: they are gone, unless changed here since it began. What
 * only is here is put into the listing, for its readers. */
static void
sweep_locked(struct sf_tree *t, struct node *dir, struct listing *l)
{
    struct dir *d = dir->dir;
    bool dirs = false;
    for (uint32_t i = 0; i < d->slots; i++)
        for (struct node *c = d->table[i], *next; c; c = next) {
            next = c->hnext;
            bool local = c->dir ? dir_holds_local(c) : node_is_local(c);
            if (c->listing_id == l->id || (c->type == N_ABSENT && c->leaving)) {
                continue;
            } else if (!local && c->changed_seq <= l->start_seq && !seen_since(dir, c, l)) {
                dirs |= c->dir != NULL;
                apply_gone_locked(t, c, 0);
            } else if (c->type != N_ABSENT) {
                if (c->dir && c->checked_ns < l->start_ns)
                    c->checked_ns = l->start_ns;
                if (listing_append_locked(l, c) < 0)
                    l->complete = false;
            }
        }
    /* An object in whose way such a directory was has its plain name again. */
    for (size_t i = 0; dirs && i < l->n; i++)
        if (l->entries[i]->parent == dir)
            apply_unclash_locked(t, l->entries[i]);
}

void
listing_finish_locked(struct sf_tree *t, struct listing *l, int err, bool complete)
{
    struct node *dir = l->dir;
    l->running = false;
    l->dir = NULL;
    l->err = err;
    l->failed = err < 0;
    l->complete = complete && !err;
    dir->dir->run = NULL;
    if (l->complete) {
        sweep_locked(t, dir, l);
        pages_swept_locked(dir, l->id);
    }
    if (!l->failed) {
        listing_ref_locked(l);
        listing_install(t, dir, l);
        saved_learned_locked(t, dir);
    }
    tree_wake_locked(t, &l->waiters, err);
    listing_unref_locked(t, l);
    node_unref_locked(t, dir);
    node_evict_locked(t);
}

/* ---- pages
 * --------------------------------------------------------------------------------------- */

/* Returns how many rows are shown. */
static size_t
apply_page_locked(struct sf_tree *t, struct listing *l, const struct sf_list_page *page)
{
    size_t shown = 0;
    size_t np = strlen(l->prefix), len;
    bool folder;
    for (size_t i = 0; i < page->n; i++) {
        const struct sf_list_row *row = &page->rows[i];
        const char *comp = sf_key_child(row->key, np, &len, &folder);
        struct node *c;
        l->rows_seen = true;
        l->folders |= folder || row->folder;
        if (folder || row->folder)
            c = apply_folder_locked(t, l->dir, comp, len, l->start_seq, l->page_ns, l->id);
        else
            c = apply_object_locked(t, l->dir, comp, len, row, l->start_seq, l->page_ns, l->id);
        if (c)
            listing_append_locked(l, c);
        shown += c != NULL;
    }
    return shown;
}

static void
verify_done(void *arg, const struct sf_err *err)
{
    struct listing *l = arg;
    struct sf_tree *t = l->tree;
    tree_lock(t);
    tree_answer_locked(t, err);
    int code = bucket_verdict_locked(node_bucket_locked(l->dir), err);
    if (!code && l->dir != t->root && l->dir->type == N_DIR && !l->dir->dir->placeholder &&
        l->dir->parent && l->dir->changed_seq <= l->start_seq && !dir_holds_local(l->dir))
        apply_gone_locked(t, l->dir, l->start_ns);
    listing_finish_locked(t, l, code == -ENOENT ? 0 : code, true);
    tree_unlock(t);
}

static void
listing_verify(struct action *a)
{
    struct listing *l = (struct listing *)a;
    sf_storage_verify(l->tree->st, l->bucket, tree_read_deadline(l->tree), verify_done, l);
}

/* Nothing at all came: is that so, or is the token or the bucket bad? */
static void
page_empty_locked(struct sf_tree *t, struct listing *l)
{
    const struct bucket *b = node_bucket_locked(l->dir);
    bool gone_dir = l->dir->type == N_DIR && l->dir->changed_seq <= l->start_seq;
    if (!gone_dir && bucket_verified(b)) {
        listing_finish_locked(t, l, 0, true);
        return;
    }
    tree_ask_locked(t);
    tree_queue_locked(t, &l->act, listing_verify);
}

/* Go on under this name, from its first key. Takes the strings. */
static void
list_name(struct listing *l, char *bucket, char *prefix)
{
    free(l->bucket);
    free(l->prefix);
    l->bucket = bucket;
    l->prefix = prefix;
    free(sf_steal(l->last));
}

/*
 * One name of the directory has been listed to its end. Is there another to be listed? Where it is
 * being renamed, objects go from the old name to the new: who lists the old one first and then the
 * new one misses none. Where it was renamed meanwhile, all begins again.
 */
static bool
other_name_locked(struct sf_tree *t, struct listing *l)
{
    char *bucket = NULL, *prefix = NULL;
    switch (sf_write_other_name(t->writer, l->bucket, l->prefix, &bucket, &prefix)) {
    case SF_NAME_COMES:
        if (l->both) { /* the old one is done */
            free(bucket);
            free(prefix);
            return false;
        }
        break;
    case SF_NAME_GOES:
        break;
    case SF_NAME_STAYS:
        if (l->both || node_key_locked(l->dir, &bucket, &prefix) < 0)
            return false;
        if (strcmp(bucket, l->bucket) == 0 && strcmp(prefix, l->prefix) == 0) {
            free(bucket);
            free(prefix);
            return false;
        }
        l->doubt = true;
        list_name(l, bucket, prefix);
        return true;
    }
    l->both = l->doubt = true;
    list_name(l, bucket, prefix);
    return true;
}

/* Before a page counts: are its keys on the move? Then it proves no absence. */
static void
doubt_locked(struct sf_tree *t, struct listing *l)
{
    char *bucket, *prefix;
    if (sf_write_other_name(t->writer, l->bucket, l->prefix, &bucket, &prefix) == SF_NAME_STAYS)
        return;
    l->doubt = true;
    free(bucket);
    free(prefix);
}

static void
page_done(void *arg, const struct sf_err *err, const struct sf_list_page *page)
{
    struct listing *l = arg;
    struct sf_tree *t = l->tree;
    tree_lock(t);
    tree_answer_locked(t, err);
    bool removed = !l->dir->parent && l->dir != t->root;
    if (err) {
        listing_finish_locked(t, l, err->code, false);
    } else if (removed && l->refs <= 1) {
        listing_finish_locked(t, l, -ECANCELED, false);
    } else {
        bool first = !l->last;
        sf_count(SF_C_LISTING_PAGES, 1);
        if (first)
            sf_count(SF_C_LISTINGS, 1);
        if (first && !l->both)
            l->dir->dir->placeholder = false;
        doubt_locked(t, l);
        l->dir->dir->large = page->more || (!first && l->dir->dir->large);
        size_t shown = apply_page_locked(t, l, page);
        if (!l->doubt && (!first || page->more) && (page->last || !page->more))
            pages_note_locked(l->dir, first ? "" : l->last + strlen(l->prefix),
                              page->more ? page->last + strlen(l->prefix) : NULL, shown, l->page_ns,
                              l->id);
        if (!page->more ||
            (page->last && strcmp(page->last + strlen(l->prefix), SF_PLACEHOLDER) >= 0))
            dir_attrs_settled_locked(t, l->dir); /* the marker was on it, or there is none */
        bool wanted = l->want_all && (l->for_name || l->waiters || l->refs > 1);
        if (page->more && l->n / LISTING_MAX >= t->opts.max_nodes) {
            listing_finish_locked(t, l, -ENOMEM, false); /* it may have no end */
        } else if (page->more && (!page->last || node_set_str(&l->last, page->last) < 0)) {
            listing_finish_locked(t, l, -ENOMEM, false);
        } else if (page->more && wanted) {
            tree_wake_locked(t, &l->waiters, 0);
            listing_ask_locked(t, l);
        } else if (!page->more && other_name_locked(t, l)) {
            listing_ask_locked(t, l);
        } else if (!page->more && first && !l->rows_seen) {
            page_empty_locked(t, l);
        } else {
            listing_finish_locked(t, l, 0, !page->more);
        }
    }
    tree_unlock(t);
}

static void
listing_ask(struct action *a)
{
    struct listing *l = (struct listing *)a;
    struct sf_tree *t = l->tree;
    if (!l->prefix) {
        listing_buckets(t, l);
        return;
    }
    l->page_ns = sf_clock_ns();
    const struct sf_list_args args = {
        .bucket = l->bucket, .prefix = l->prefix, .after = l->last, .delimiter = !l->flat};
    sf_storage_list(t->st, &args, tree_read_deadline(t), page_done, l);
}

/* ---- buckets
 * -------------------------------------------------------------------------------------- */

static void
buckets_done(void *arg, const struct sf_err *err, const struct sf_bucket_row *rows, size_t n)
{
    struct listing *l = arg;
    struct sf_tree *t = l->tree;
    tree_lock(t);
    tree_answer_locked(t, err);
    for (size_t i = 0; !err && i < n; i++) {
        struct node *c = apply_bucket_locked(t, l->dir, &rows[i], l->start_seq, l->start_ns);
        if (c)
            listing_append_locked(l, c);
    }
    listing_finish_locked(t, l, err ? err->code : 0, true);
    tree_unlock(t);
}

void
listing_of_buckets_locked(struct sf_tree *t, const struct sf_bucket_row *rows, size_t n,
                          int64_t start_ns)
{
    struct listing *l = listing_new(t);
    if (!l)
        return; /* then it is asked for when it is needed */
    l->start_ns = start_ns;
    l->complete = true;
    for (size_t i = 0; i < n; i++) {
        struct node *c = apply_bucket_locked(t, t->root, &rows[i], l->start_seq, start_ns);
        if (c && listing_append_locked(l, c) < 0)
            l->complete = false;
    }
    listing_install(t, t->root, l);
}

void
listing_buckets(struct sf_tree *t, struct listing *l)
{
    sf_storage_bucket_list(t->st, tree_read_deadline(t), buckets_done, l);
}
