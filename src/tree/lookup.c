/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tree/internal.h"

#include "base/clock.h"
#include "observe/counter.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/*
 * One name of a large directory: a listing of the keys that begin with it, folded at the next '/'.
 * The object itself sorts first; the folder of this name comes behind names that continue with a
 * character below '/', so where these fill the page, a second question asks for the folder alone.
 */
#define PAGE 32

static void lookup_ask(struct action *a);

int
lookup_start_locked(struct sf_tree *t, struct node *dir, const char *name, struct waiter *w)
{
    struct lookup *l = dir->dir->lookups;
    while (l && strcmp(l->name, name))
        l = l->next;
    if (!l) {
        struct sf_name_ref ref;
        int rc = sf_name_lookup(name, node_name_flags(t, dir), &ref);
        if (rc < 0)
            return rc;
        l = calloc(1, sizeof *l);
        if (!l)
            return -ENOMEM;
        l->tree = t;
        l->name = strdup(name);
        char *prefix = NULL;
        rc = l->name ? node_key_locked(dir, &l->bucket, &prefix) : -ENOMEM;
        if (rc == 0) {
            size_t np = strlen(prefix), nc = strlen(ref.comp);
            l->key = malloc(np + nc + 2);
            if (l->key) {
                memcpy(l->key, prefix, np);
                memcpy(l->key + np, ref.comp, nc + 1);
            } else {
                rc = -ENOMEM;
            }
            free(prefix);
        }
        if (rc < 0) {
            free(l->name);
            free(l->bucket);
            free(l);
            return rc;
        }
        l->start_ns = sf_clock_ns();
        l->start_seq = t->seq;
        l->dir = dir;
        node_ref_locked(dir);
        l->next = dir->dir->lookups;
        dir->dir->lookups = l;
        tree_ask_locked(t);
        tree_queue_locked(t, &l->act, lookup_ask);
    }
    if (w) {
        w->next = l->waiters;
        l->waiters = w;
    }
    return 0;
}

static void
lookup_finish_locked(struct sf_tree *t, struct lookup *l, int err)
{
    struct lookup **p = &l->dir->dir->lookups;
    while (*p != l)
        p = &(*p)->next;
    *p = l->next;
    tree_wake_locked(t, &l->waiters, err);
    node_unref_locked(t, l->dir);
    free(l->name);
    free(l->key);
    free(l->bucket);
    free(l);
    node_evict_locked(t);
}

/* Neither object nor folder of this name is there. */
static void
lookup_absent_locked(struct sf_tree *t, struct lookup *l)
{
    struct node *n = node_find_locked(l->dir, l->name);
    if (!n)
        node_absent_locked(t, l->dir, l->name, l->start_ns, false);
    else if (n->changed_seq <= l->start_seq && !node_is_local(n)) {
        if (n->type == N_ABSENT || (n->dir && dir_holds_local(n)))
            n->checked_ns = l->start_ns;
        else
            apply_gone_locked(t, n, l->start_ns);
    }
}

static void
verify_done(void *arg, const struct sf_err *err)
{
    struct lookup *l = arg;
    struct sf_tree *t = l->tree;
    tree_lock(t);
    tree_answer_locked(t, err);
    int code = bucket_verdict_locked(node_bucket_locked(l->dir), err);
    if (!code || code == -ENOENT)
        lookup_absent_locked(t, l);
    lookup_finish_locked(t, l, code == -ENOENT ? 0 : code);
    tree_unlock(t);
}

static void
lookup_verify(struct action *a)
{
    struct lookup *l = (struct lookup *)a;
    sf_storage_verify(l->tree->st, l->bucket, tree_read_deadline(l->tree), verify_done, l);
}

/* A page without any row is believed only while token and bucket are known to be good. */
static void
lookup_empty_locked(struct sf_tree *t, struct lookup *l)
{
    const struct bucket *b = node_bucket_locked(l->dir);
    if (bucket_verified(b)) {
        lookup_absent_locked(t, l);
        lookup_finish_locked(t, l, 0);
        return;
    }
    tree_ask_locked(t);
    tree_queue_locked(t, &l->act, lookup_verify);
}

/* Is "key/", where a folder would stand, before the page's end? */
static bool
folder_covered(const struct lookup *l, const struct sf_list_page *page)
{
    size_t nk = strlen(l->key);
    if (!page->more || l->as_folder)
        return true;
    int c = page->last ? strncmp(page->last, l->key, nk) : -1;
    return c > 0 || (c == 0 && (unsigned char)page->last[nk] > '/');
}

enum said { FOUND, MISSING, SAYS_NOTHING, ELSEWHERE };

/* It is not under this key. Where the directory is being renamed, or has been meanwhile, there is
 * another to be asked for; twice, because objects go from the old name to the new. */
static bool
elsewhere_locked(struct sf_tree *t, struct lookup *l)
{
    char *bucket = NULL, *key = NULL;
    if (l->turns >= 2)
        return false;
    if (sf_write_other_name(t->writer, l->bucket, l->key, &bucket, &key) == SF_NAME_STAYS) {
        const char *slash = strrchr(l->key, '/'), *comp = slash ? slash + 1 : l->key;
        char *prefix = NULL;
        if (node_key_locked(l->dir, &bucket, &prefix) < 0)
            return false;
        if (asprintf(&key, "%s%s", prefix, comp) < 0)
            key = NULL;
        free(prefix);
        if (!key || (strcmp(key, l->key) == 0 && strcmp(bucket, l->bucket) == 0)) {
            free(bucket);
            free(key);
            return false;
        }
    }
    free(l->bucket);
    free(l->key);
    l->bucket = bucket;
    l->key = key;
    l->as_folder = l->object = false;
    l->turns++;
    return true;
}

/* What the page says of the name. */
static enum said
lookup_apply_locked(struct sf_tree *t, struct lookup *l, const struct sf_list_page *page)
{
    size_t nk = strlen(l->key);
    const char *slash = strrchr(l->key, '/');
    const char *comp = slash ? slash + 1 : l->key;
    size_t nc = strlen(comp);
    const struct sf_list_row *object = NULL;
    struct node *found = NULL, *n = node_find_locked(l->dir, l->name);
    bool folder = false, covered = folder_covered(l, page);
    for (size_t i = 0; i < page->n; i++) {
        const struct sf_list_row *row = &page->rows[i];
        if (!row->folder && !l->as_folder && !strcmp(row->key, l->key))
            object = row;
        else if (!strncmp(row->key, l->key, nk) && row->key[nk] == '/')
            folder = true;
    }
    l->object |= object != NULL;
    if (!folder && !l->object && covered && elsewhere_locked(t, l))
        return ELSEWHERE;
    if (folder) {
        found = apply_folder_locked(t, l->dir, comp, nc, l->start_seq, l->start_ns, 0);
    } else if (n && n->dir) {
        /* Not a directory any more? Before that is known an object would get the other name. */
        if (!covered)
            return SAYS_NOTHING;
        if (n->changed_seq <= l->start_seq && !dir_holds_local(n))
            apply_gone_locked(t, n, 0);
        else if (n->checked_ns < l->start_ns)
            n->checked_ns = l->start_ns;
        if (l->as_folder && l->object)
            return FOUND; /* asked once more, it is the object that is found */
    }
    if (object && apply_object_locked(t, l->dir, comp, nc, object, l->start_seq, l->start_ns, 0))
        return FOUND;
    return found ? FOUND : covered ? MISSING : SAYS_NOTHING;
}

static void
page_done(void *arg, const struct sf_err *err, const struct sf_list_page *page)
{
    struct lookup *l = arg;
    struct sf_tree *t = l->tree;
    tree_lock(t);
    tree_answer_locked(t, err);
    sf_count(SF_C_LOOKUP_NETWORK, 1);
    bool empty = !err && !page->n && !l->as_folder; /* before the second step there were rows */
    enum said said = err ? MISSING : !empty ? lookup_apply_locked(t, l, page) : MISSING;
    if (empty && elsewhere_locked(t, l))
        said = ELSEWHERE;
    if (err || said == FOUND) {
        lookup_finish_locked(t, l, err ? err->code : 0);
    } else if (said == SAYS_NOTHING || said == ELSEWHERE) {
        l->as_folder = said == SAYS_NOTHING;
        tree_ask_locked(t);
        tree_queue_locked(t, &l->act, lookup_ask);
    } else if (empty) {
        lookup_empty_locked(t, l);
    } else {
        lookup_absent_locked(t, l);
        lookup_finish_locked(t, l, 0);
    }
    tree_unlock(t);
}

static void
lookup_ask(struct action *a)
{
    struct lookup *l = (struct lookup *)a;
    struct sf_tree *t = l->tree;
    struct sf_list_args args = {
        .bucket = l->bucket, .prefix = l->key, .limit = PAGE, .delimiter = true};
    sf_autofree char *below = NULL; /* @l may be gone as soon as the question is on its way */
    if (l->as_folder) {
        if (asprintf(&below, "%s/", l->key) < 0)
            below = NULL;
        args = (struct sf_list_args){.bucket = l->bucket, .prefix = below, .limit = 1};
    }
    if (l->as_folder && !below) {
        struct sf_err err = {.code = -ENOMEM};
        page_done(l, &err, NULL);
        return;
    }
    sf_storage_list(t->st, &args, tree_read_deadline(t), page_done, l);
}
