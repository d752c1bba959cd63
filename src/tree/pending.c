/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tree/internal.h"

#include "base/clock.h"
#include "observe/log.h"
#include "write/meta.h"

#include <stdlib.h>
#include <string.h>

/*
 * What the journal had at the start, before the first request of a program: files are shown with
 * the bytes that they will have in the bucket, and what was removed is not shown.
 */

static struct node *
bucket_locked(struct sf_tree *t, const char *id)
{
    char name[SF_NAME_BUF_SIZE];
    if (t->root->type == N_BUCKET)
        return strcmp(t->root->dir->bucket->id, id) == 0 ? t->root : NULL;
    if (sf_bucket_to_name(id, name) < 0)
        return NULL;
    struct node *n = node_find_locked(t->root, name);
    return n && n->type == N_BUCKET ? n : NULL;
}

/* The directory of a key, made where it is not known yet; *comp = the rest. */
static struct node *
directory_locked(struct sf_tree *t, struct node *dir, const char *key, const char **comp)
{
    const char *slash;
    for (; dir && (slash = strchr(key, '/')); key = slash + 1) {
        struct node *below =
            apply_folder_locked(t, dir, key, (size_t)(slash - key), t->seq, sf_clock_ns(), 0);
        dir = below && node_is_dir(below) ? below : NULL;
    }
    *comp = key;
    return dir;
}

/* The directory of an object; NULL: it is of another part of the project. */
static struct node *
place_locked(struct sf_tree *t, const char *bucket, const char *key, const char **comp)
{
    struct node *dir = bucket_locked(t, bucket);
    if (!dir || !dir->dir->bucket)
        return NULL;
    size_t skip = strlen(dir->dir->bucket->prefix);
    return strncmp(key, dir->dir->bucket->prefix, skip) == 0
               ? directory_locked(t, dir, key + skip, comp)
               : NULL;
}

/* What was set of extended attributes: of a new file they are all that it has. */
static void
xattrs_locked(struct node *n, const char *changes)
{
    char *all = NULL;
    if (!changes || !extra_of(n) || !(n->extra->changes = strdup(changes)))
        return;
    n->xattrs = true;
    if (n->local_only && sf_xattrs_merge(NULL, changes, false, &all) == 0) {
        n->extra->xattrs = all;
        n->extra->xattrs_known = true;
        n->xattrs = all != NULL;
    }
}

static struct node *
file_locked(struct sf_tree *t, struct node *dir, const char *comp, const struct sf_pending *p)
{
    char name[SF_NAME_BUF_SIZE];
    struct sf_mark mark = {.valid = 0};
    if (!comp[0] || sf_name_from_key(comp, strlen(comp), node_name_flags(t, dir), name) < 0)
        return NULL;
    struct node *n = node_find_locked(dir, name);
    if (n && (node_is_dir(n) || live(n)->content))
        return NULL;
    if (n && n->type == N_ABSENT) {
        node_detach_locked(t, n);
        n = NULL;
    }
    if (!n)
        n = node_new_locked(t, dir, name, comp, N_FILE);
    if (!n || !live_of(n))
        return NULL;
    n->local_only = !p->exists;
    n->size = p->base->size;
    node_set_id(n, p->base->id);
    node_set_etag(n, p->base->etag);
    n->etag_open = true;
    node_changed_locked(t, n);
    n->checked_ns = sf_clock_ns();
    live_rw(n)->content = sf_content_ref(p->content);
    if (p->mark && sf_mark_parse(p->mark, &mark))
        attr_begin_locked(t, n, &mark);
    else
        attr_stamp_locked(n, true);
    xattrs_locked(n, p->xattrs);
    type_begin_locked(t, n, p->mime, p->cache_control);
    if (!n->ino)
        ino_claim_locked(t, n, ino_choose_locked(t));
    return n;
}

/* Its upload may have ended before anybody here could wait for it, or just when that was tried,
 * which lets go of the content: what came of it the service knows. Returns what the name does not
 * need any more, or NULL. */
static struct sf_content *
ended_locked(struct sf_tree *t, struct node *n)
{
    if (live(n)->commits || live(n)->open || !n->parent ||
        (live(n)->content && sf_content_dirty(live(n)->content)))
        return NULL;
    struct sf_content *c = content_take_locked(n);
    n->checked_ns = 0;
    if (n->local_only) {
        n->local_only = false;
        node_detach_locked(t, n);
    }
    return c;
}

static void
show(void *arg, const struct sf_pending *p)
{
    struct sf_tree *t = arg;
    const char *comp = NULL;
    struct node *n = NULL;
    tree_lock(t);
    struct node *dir = place_locked(t, p->bucket, p->key, &comp);
    if (dir)
        n = file_locked(t, dir, comp, p);
    if (n)
        node_ref_locked(n);
    tree_unlock(t);
    if (!n) { /* of another part of the project; it is uploaded all the same */
        sf_info("tree", "event=pending-not-shown object=%s/%s", p->bucket, p->key);
        return;
    }
    commit_patient(t, n, false);
    tree_lock(t);
    struct sf_content *ended = ended_locked(t, n);
    node_unref_locked(t, n);
    tree_unlock(t);
    if (ended)
        sf_content_unref(ended);
}

static void *
hide(void *arg, const char *bucket, const char *key)
{
    struct sf_tree *t = arg;
    char name[SF_NAME_BUF_SIZE];
    const char *comp = NULL;
    void *hidden = NULL;
    tree_lock(t);
    struct node *dir = place_locked(t, bucket, key, &comp);
    if (dir && comp[0] && !sf_name_is_placeholder(comp, strlen(comp)) &&
        sf_name_from_key(comp, strlen(comp), node_name_flags(t, dir), name) == 0)
        hidden = unlink_earlier_locked(t, dir, name);
    tree_unlock(t);
    return hidden;
}

void
pending_show(struct sf_tree *t)
{
    sf_writer_pending(t->writer, show, t); /* a file may have been made anew since its removal */
    sf_writer_earlier_removals(t->writer, hide, t, unlink_settled);
}
