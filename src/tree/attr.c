/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tree/internal.h"

#include "base/clock.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>

/* Where the service says nothing of a directory's times: when the mount began. */
static int64_t
default_time(const struct sf_tree *t, int64_t known_ns)
{
    return known_ns ? known_ns : t->born_ns;
}

static mode_t
default_mode(const struct sf_tree *t, const struct node *n)
{
    if (node_is_dir(n))
        return S_IFDIR | (0777 & ~t->opts.umask);
    if (n->symlink)
        return S_IFLNK | 0777;
    return S_IFREG | (0666 & ~t->opts.umask);
}

void
attr_fill_locked(const struct sf_tree *t, const struct node *n, struct sf_attr *out)
{
    const struct local_attr none = {0}, *l = n->local ? n->local : &none;
    mode_t mode = default_mode(t, n);
    *out = (struct sf_attr){
        .ino = n->ino,
        .mode = l->valid & SF_SET_MODE ? (mode & S_IFMT) | l->mode : mode,
        .uid = l->valid & SF_SET_UID ? l->uid : t->opts.uid,
        .gid = l->valid & SF_SET_GID ? l->gid : t->opts.gid,
        .nlink = n == t->root || n->parent ? 1 : 0,
        .size = n->content ? sf_content_size(n->content) : n->size,
    };
    out->mtime_ns = l->valid & SF_SET_MTIME ? l->mtime_ns : default_time(t, n->mtime_ns);
    out->ctime_ns = l->valid & SF_SET_CTIME ? l->ctime_ns : default_time(t, n->updated_ns);
    out->atime_ns = l->valid & SF_SET_ATIME ? l->atime_ns : out->mtime_ns;
}

struct local_attr *
attr_local_locked(struct node *n)
{
    if (!n->local)
        n->local = calloc(1, sizeof *n->local);
    return n->local;
}

void
attr_stamp_locked(struct node *n, bool mtime)
{
    struct local_attr *l = attr_local_locked(n);
    if (!l)
        return;
    l->ctime_ns = sf_wall_ns();
    l->valid |= SF_SET_CTIME;
    if (mtime) {
        l->mtime_ns = l->ctime_ns;
        l->valid |= SF_SET_MTIME;
    }
}

int64_t
attr_ttl_locked(const struct sf_tree *t, const struct node *n)
{
    int64_t left;
    if (n == t->root || (n->type == N_FILE && node_is_local(n)))
        return t->opts.attr_ttl_ms;
    if (!n->parent)
        return 0;
    left = t->opts.attr_ttl_ms - (sf_clock_ns() - n->checked_ns) / 1000000;
    return left > 0 ? left : 0;
}

void
entry_fill_locked(struct sf_tree *t, struct node *n, struct sf_tree_entry *out)
{
    out->node = n->nid;
    out->ttl_ms = attr_ttl_locked(t, n);
    attr_fill_locked(t, n, &out->attr);
    if (n != t->root && n->nlookup++ == 0)
        t->looked_up++;
}

/* ---- getattr --------------------------------------------------------------------------------- */

struct getattr {
    struct waiter w;
    struct sf_tree *tree;
    struct node *node; /* counted */
    struct resolve r;
    sf_tree_fn cb;
    void *arg;
};

static void getattr_resume(struct waiter *w, int err);

/* One round: 0 and @res, -EINPROGRESS, or -errno. */
static int
getattr_try_locked(struct getattr *g, struct sf_tree_result *res)
{
    struct sf_tree *t = g->tree;
    struct node *n = g->node;
    int rc = revalidate_locked(t, &g->r, n, &g->w);
    if (rc < 0 && !(n->open && (rc == -ESTALE || rc == -ENOENT)))
        return rc; /* fstat(2): handles keep what they have; the kernel does not name them */
    attr_fill_locked(t, n, &res->attr);
    res->ttl_ms = attr_ttl_locked(t, n);
    return 0;
}

static void
getattr_resume(struct waiter *w, int err)
{
    struct getattr *g = (struct getattr *)w;
    struct sf_tree *t = g->tree;
    struct sf_tree_result res = {0};
    tree_lock(t);
    g->r.err = err;
    g->r.rounds++;
    int rc = getattr_try_locked(g, &res);
    if (rc != -EINPROGRESS)
        node_unref_locked(t, g->node);
    tree_unlock(t);
    if (rc == -EINPROGRESS)
        return;
    g->cb(g->arg, rc, rc < 0 ? NULL : &res);
    free(g);
}

void
sf_tree_getattr(struct sf_tree *t, uint64_t nid, struct sf_file *file, sf_tree_fn cb, void *arg)
{
    struct sf_tree_result res = {0};
    struct getattr *g, on_stack = {.tree = t, .r = {.since_ns = sf_clock_ns()}};
    tree_lock(t);
    struct node *n = file ? file->node : node_get_locked(t, nid);
    int rc = n ? 0 : -ESTALE;
    if (n && (n == t->root || !n->parent || node_is_local(n) ||
              fresh_locked(t, n->checked_ns, on_stack.r.since_ns))) {
        /* Known, or no longer to be known better: a detached node keeps what it had. */
        attr_fill_locked(t, n, &res.attr);
        res.ttl_ms = attr_ttl_locked(t, n);
    } else if (n && (g = malloc(sizeof *g))) {
        *g = on_stack;
        g->w.resume = getattr_resume;
        g->node = n;
        g->cb = cb;
        g->arg = arg;
        node_ref_locked(n);
        rc = getattr_try_locked(g, &res);
        if (rc != -EINPROGRESS) {
            node_unref_locked(t, n);
            free(g);
        }
    } else if (n) {
        rc = -ENOMEM;
    }
    tree_unlock(t);
    if (rc != -EINPROGRESS)
        cb(arg, rc, rc < 0 ? NULL : &res);
}

/* ---- setattr without a size ---------------------------------------------------------------------
 */

void
attr_set_locked(const struct sf_attr *attr, unsigned valid, struct local_attr *l)
{
    int64_t now = sf_wall_ns();
    if (valid & SF_SET_MODE)
        l->mode = attr->mode & 07777;
    if (valid & SF_SET_UID)
        l->uid = attr->uid;
    if (valid & SF_SET_GID)
        l->gid = attr->gid;
    if (valid & (SF_SET_ATIME | SF_SET_ATIME_NOW))
        l->atime_ns = valid & SF_SET_ATIME_NOW ? now : attr->atime_ns;
    if (valid & (SF_SET_MTIME | SF_SET_MTIME_NOW))
        l->mtime_ns = valid & SF_SET_MTIME_NOW ? now : attr->mtime_ns;
    l->ctime_ns = now;
    l->valid |= SF_SET_CTIME | (valid & (SF_SET_MODE | SF_SET_UID | SF_SET_GID));
    if (valid & (SF_SET_ATIME | SF_SET_ATIME_NOW))
        l->valid |= SF_SET_ATIME;
    if (valid & (SF_SET_MTIME | SF_SET_MTIME_NOW))
        l->valid |= SF_SET_MTIME;
}
