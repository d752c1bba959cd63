/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tree/internal.h"

#include "base/clock.h"
#include "observe/counter.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/*
 * Pages of a directory that is larger than one. Whoever goes through its names asks for them one by
 * one; a page of up to 1,000 rows around a name answers for all that it covers. The directory
 * remembers where pages begin and when each was asked for: that one begins where the one before
 * it ended lets names asked for in any order be answered by about one question per page.
 *
 * A page is some hundred times the bytes of a question for one name (lookup.c). So the first names
 * are asked for singly, and pages only as long as enough of the names that they brought are used.
 */
#define SINGLE_FIRST 2    /* names asked for singly, before pages */
#define PAGES_FREE   4    /* pages that need not have proved useful yet, */
#define PER_PAGE     4    /* and names that were answered, for each further one */
#define QUIET_MS     5000 /* no question for so long (beyond attr_ttl): it all begins again */

/* The rows behind @after, up to where the next page begins. */
struct page {
    char *after;      /* below the directory, folders with their slash; "" = from the first on */
    int64_t start_ns; /* when they were asked for; 0 = no longer known */
    bool asked;       /* a question began here; else it is the gap between two */
    size_t rows;      /* it showed so many nodes, and no others were known in its place when */
    uint64_t whole;   /* dir->turnover was this; 0 = others may have been */
    uint32_t run;     /* the listing that it is of; 0 = none */
};

struct pages {
    struct page *v; /* the first is behind "", each further one behind the one before it */
    size_t n, cap;
    struct page_ask *asks; /* under way */
    unsigned questions, pages, hits;
    int64_t asked_ms;
};

/* A question for a page. */
struct page_ask {
    struct action act;
    struct sf_tree *tree;
    struct page_ask *next;
    struct node *dir; /* counted */
    char *bucket, *prefix, *after;
    char *until; /* where the next page began before; NULL = not known */
    uint64_t start_seq;
    int64_t start_ns;
    struct waiter *waiters;
};

/* ---- what is remembered ------------------------------------------------------------------------
 */

void
pages_free(struct pages *p)
{
    for (size_t i = 0; p && i < p->n; i++)
        free(p->v[i].after);
    if (p)
        free(p->v);
    free(p);
}

void
pages_forget_locked(struct node *dir)
{
    const struct pages *p = dir->dir->pages;
    for (size_t i = 0; p && i < p->n; i++)
        p->v[i].start_ns = 0;
}

void
pages_wake_locked(struct sf_tree *t, struct node *dir)
{
    for (struct page_ask *a = dir->dir->pages ? dir->dir->pages->asks : NULL; a; a = a->next)
        tree_wake_locked(t, &a->waiters, 0);
}

/* The last page that begins before @key, or at it. */
static size_t
page_before(const struct pages *p, const char *key)
{
    size_t low = 0, high = p->n;
    while (high - low > 1) {
        size_t mid = (low + high) / 2;
        if (strcmp(p->v[mid].after, key) <= 0)
            low = mid;
        else
            high = mid;
    }
    return low;
}

/* Let a page begin behind @key, with what is known of the one that it is part of. 0, -ENOMEM. */
static int
split(struct pages *p, const char *key, size_t *at)
{
    size_t i = p->n ? page_before(p, key) : 0;
    if (p->n && !strcmp(p->v[i].after, key)) {
        *at = i;
        return 0;
    }
    if (p->n == p->cap) {
        size_t cap = p->cap ? p->cap * 2 : 8;
        struct page *v = reallocarray(p->v, cap, sizeof *v);
        if (!v)
            return -ENOMEM;
        p->v = v;
        p->cap = cap;
    }
    char *after = strdup(key);
    if (!after)
        return -ENOMEM;
    int64_t start_ns = p->n ? p->v[i].start_ns : 0;
    if (p->n)
        i++;
    memmove(&p->v[i + 1], &p->v[i], (p->n++ - i) * sizeof *p->v);
    p->v[i] = (struct page){.after = after, .start_ns = start_ns};
    *at = i;
    return 0;
}

void
pages_note_locked(struct node *dir, const char *after, const char *last, size_t rows,
                  int64_t start_ns, uint32_t run)
{
    struct dir *d = dir->dir;
    size_t from, to = 0, first;
    if (!d->pages && !(d->pages = calloc(1, sizeof *d->pages)))
        return;
    struct pages *p = d->pages;
    /* Without memory nothing is remembered of it, and what was stays right. */
    if (split(p, "", &first) < 0 || (last && split(p, last, &to) < 0) || split(p, after, &from) < 0)
        return;
    to = last ? page_before(p, last) : p->n;
    for (size_t i = from + 1; i < to; i++)
        free(p->v[i].after);
    if (to > from + 1) {
        memmove(&p->v[from + 1], &p->v[to], (p->n - to) * sizeof *p->v);
        p->n -= to - from - 1;
    }
    struct page *page = &p->v[from];
    *page = (struct page){
        .after = page->after, .start_ns = start_ns, .asked = true, .rows = rows, .run = run};
}

void
pages_swept_locked(struct node *dir, uint32_t run)
{
    const struct pages *p = dir->dir->pages;
    for (size_t i = 0; p && i < p->n; i++)
        if (p->v[i].run == run)
            p->v[i].whole = dir->dir->turnover;
}

/* The page that tells of an object and a folder of this name; NULL = none. */
static const struct page *
page_of(const struct dir *d, const char *comp)
{
    const struct pages *p = d->pages;
    size_t nc = strlen(comp);
    if (!p || !p->n)
        return NULL;
    size_t i = page_before(p, comp);
    if (i && !strcmp(p->v[i].after, comp))
        return NULL; /* the object is the last row of the one before */
    if (i + 1 == p->n)
        return &p->v[i];
    const char *end = p->v[i + 1].after;
    int c = strncmp(comp, end, nc);
    return c < 0 || (c == 0 && (unsigned char)end[nc] >= '/') ? &p->v[i] : NULL;
}

int64_t
pages_asked_ns(const struct node *dir, const char *comp)
{
    const struct page *page = page_of(dir->dir, comp);
    return page ? page->start_ns : 0;
}

void
pages_hit_locked(const struct node *dir)
{
    if (dir->dir->pages)
        dir->dir->pages->hits++;
}

/* ---- an answer ---------------------------------------------------------------------------------
 */

/* Are the rows @after ... @last the place of this child's? */
static bool
is_within(const struct node *c, const char *after, const char *last)
{
    char key[SF_NAME_BUF_SIZE + 1];
    snprintf(key, sizeof key, "%s%s", node_comp(c), c->dir ? "/" : "");
    return strcmp(key, after) > 0 && (!last || strcmp(key, last) <= 0);
}

/* Were these very rows the answer last time, and has no name come or gone since? @turnover: that of
 * the directory before this answer. Then nobody has to be looked for among all its names. */
static bool
is_unchanged(const struct page_ask *a, const char *last, size_t rows, uint64_t turnover)
{
    const struct pages *p = a->dir->dir->pages;
    size_t i = p->n ? page_before(p, a->after) : 0;
    if (!p->n || turnover != a->dir->dir->turnover || strcmp(p->v[i].after, a->after) != 0)
        return false;
    const char *until = i + 1 < p->n ? p->v[i + 1].after : NULL;
    bool same = last && until ? !strcmp(last, until) : last == until;
    return same && p->v[i].whole == turnover && p->v[i].rows == rows;
}

/* Those that the page should have shown and did not are gone. */
static void
sweep_locked(struct page_ask *a, const char *last, bool dirs)
{
    struct sf_tree *t = a->tree;
    struct dir *d = a->dir->dir;
    for (uint32_t i = 0; i < d->slots; i++)
        for (struct node *c = d->table[i], *next; c; c = next) {
            next = c->hnext;
            if (c->checked_ns >= a->start_ns || c->type == N_ABSENT || (c->dir != NULL) != dirs ||
                c->changed_seq > a->start_seq || !is_within(c, a->after, last))
                continue;
            if (c->dir ? dir_holds_local(c) : node_is_local(c))
                c->checked_ns = c->dir ? a->start_ns : c->checked_ns;
            else
                apply_gone_locked(t, c, 0);
        }
}

/* Folders first, so that an object of the same name finds out whether it is in somebody's way.
 * Returns how many are shown. */
static size_t
rows_locked(struct page_ask *a, const struct sf_list_page *page, bool folders)
{
    size_t np = strlen(a->prefix), len, shown = 0;
    bool folder;
    for (size_t i = 0; i < page->n; i++) {
        const struct sf_list_row *row = &page->rows[i];
        struct node *c;
        if (row->folder != folders)
            continue;
        const char *comp = sf_key_child(row->key, np, &len, &folder);
        if (folders)
            c = apply_folder_locked(a->tree, a->dir, comp, len, a->start_seq, a->start_ns, 0);
        else
            c = apply_object_locked(a->tree, a->dir, comp, len, row, a->start_seq, a->start_ns, 0);
        shown += c != NULL;
    }
    return shown;
}

static void
apply_locked(struct page_ask *a, const struct sf_list_page *page)
{
    struct dir *d = a->dir->dir;
    const char *last = page->more ? page->last + strlen(a->prefix) : NULL;
    uint64_t turnover = d->turnover;
    size_t shown = rows_locked(a, page, true);
    if (d->subdirs > 0)
        sweep_locked(a, last, true); /* before objects that may have come in their place */
    shown += rows_locked(a, page, false);
    if (!is_unchanged(a, last, shown, turnover))
        sweep_locked(a, last, false);
    pages_note_locked(a->dir, a->after, last, shown, a->start_ns, 0);
    struct pages *p = d->pages;
    size_t at = page_before(p, a->after);
    if (p->n && !strcmp(p->v[at].after, a->after))
        p->v[at].whole = d->turnover;
}

/* Has the directory its key still, and do no objects move into it or out of it? */
static bool
is_settled(struct page_ask *a)
{
    char *bucket = NULL, *prefix = NULL;
    if (sf_write_other_name(a->tree->writer, a->bucket, a->prefix, &bucket, &prefix) !=
        SF_NAME_STAYS) {
        free(bucket);
        free(prefix);
        return false;
    }
    bool same = a->dir->parent || a->dir == a->tree->root;
    same = same && node_key_locked(a->dir, &bucket, &prefix) == 0;
    same = same && !strcmp(bucket, a->bucket) && !strcmp(prefix, a->prefix);
    free(bucket);
    free(prefix);
    return same;
}

static void
page_done(void *arg, const struct sf_err *err, const struct sf_list_page *page)
{
    struct page_ask *a = arg, **p;
    struct sf_tree *t = a->tree;
    tree_lock(t);
    tree_answer_locked(t, err);
    /* Nothing at all is not believed without a look at token and bucket: lookup.c has that. */
    if (!err && page->n && is_settled(a)) {
        sf_count(SF_C_LISTING_PAGES, 1);
        apply_locked(a, page);
    }
    for (p = &a->dir->dir->pages->asks; *p != a; p = &(*p)->next)
        ;
    *p = a->next;
    tree_wake_locked(t, &a->waiters, err ? err->code : 0);
    node_unref_locked(t, a->dir);
    node_evict_locked(t);
    tree_unlock(t);
    free(a->bucket);
    free(a->prefix);
    free(a->after);
    free(a->until);
    free(a);
}

/* ---- a question ------------------------------------------------------------------------------ */

static void
page_send(struct action *act)
{
    struct page_ask *a = (struct page_ask *)act;
    struct sf_tree *t = a->tree;
    sf_autofree char *after = NULL;
    if (*a->after && asprintf(&after, "%s%s", a->prefix, a->after) < 0) {
        struct sf_err err = {.code = -ENOMEM};
        after = NULL;
        page_done(a, &err, NULL);
        return;
    }
    const struct sf_list_args args = {
        .bucket = a->bucket, .prefix = a->prefix, .after = after, .delimiter = true};
    sf_storage_list(t->st, &args, tree_read_deadline(t), page_done, a);
}

/* What sorts behind all that is less than @comp, as far as keys have it. */
static char *
just_before(const char *comp)
{
    char *text = NULL;
    size_t n = strlen(comp);
    unsigned char c = (unsigned char)comp[n - 1];
    if (c <= 0x21 || c >= 0x80)
        return strndup(comp, n - 1);
    return asprintf(&text, "%.*s%c\xf4\x8f\xbf\xbf", (int)n - 1, comp, c - 1) < 0 ? NULL : text;
}

/* Do the names that are asked for go through the directory, and is it worth a page? */
static bool
is_worth(const struct sf_tree *t, struct pages *p)
{
    int64_t now = sf_clock_ms();
    if (now - p->asked_ms > QUIET_MS + t->opts.attr_ttl_ms)
        p->questions = p->pages = p->hits = 0;
    p->asked_ms = now;
    if (p->questions < UINT16_MAX)
        p->questions++;
    return p->questions > SINGLE_FIRST &&
           p->pages < PAGES_FREE + (p->questions + p->hits) / PER_PAGE;
}

static struct page_ask *
ask_new(struct sf_tree *t, struct node *dir, const char *comp)
{
    struct pages *p = dir->dir->pages;
    struct page_ask *a = calloc(1, sizeof *a);
    size_t i = p->n ? page_before(p, comp) : 0;
    const char *until = i + 1 < p->n ? p->v[i + 1].after : NULL;
    if (!a)
        return NULL;
    a->tree = t;
    a->dir = dir;
    a->after = p->n && p->v[i].asked ? strdup(p->v[i].after) : just_before(comp);
    a->until = until ? strdup(until) : NULL;
    if (!a->after || (until && !a->until) || node_key_locked(dir, &a->bucket, &a->prefix) < 0) {
        free(a->after);
        free(a->until);
        free(a);
        return NULL;
    }
    a->start_seq = t->seq;
    a->start_ns = sf_clock_ns();
    node_ref_locked(dir);
    a->next = p->asks;
    p->asks = a;
    p->pages++;
    tree_ask_locked(t);
    tree_queue_locked(t, &a->act, page_send);
    return a;
}

bool
page_ask_locked(struct sf_tree *t, struct node *dir, const char *comp, int64_t since_ns,
                struct waiter *w)
{
    struct dir *d = dir->dir;
    if (!*comp || d->renaming || !t->opts.attr_ttl_ms)
        return false;
    if (!d->pages && !(d->pages = calloc(1, sizeof *d->pages)))
        return false;
    struct page_ask *a = d->pages->asks;
    while (a && (strcmp(comp, a->after) <= 0 || (a->until && strcmp(comp, a->until) > 0) ||
                 !fresh_locked(t, a->start_ns, since_ns)))
        a = a->next;
    if (a)
        d->pages->hits++;
    else if (!is_worth(t, d->pages) || !(a = ask_new(t, dir, comp)))
        return false;
    if (w) {
        w->next = a->waiters;
        a->waiters = w;
    }
    return true;
}
