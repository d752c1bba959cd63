/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tree/internal.h"

#include "base/clock.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define TIMES (SF_SET_MTIME | SF_SET_CTIME | SF_SET_ATIME)

/* Where the service says nothing of a directory's times: when the mount began. */
static int64_t
known_time(const struct sf_tree *t, int64_t ns)
{
    return ns != ATTR_TIME_NONE ? ns : t->born_ns;
}

static mode_t
mode_of(const struct sf_tree *t, const struct node *n)
{
    mode_t base = node_is_dir(n) ? 0777 : 0666;
    if (n->symlink)
        return S_IFLNK | 0777;
    return node_format(n) | (n->mode == ATTR_MODE_NONE ? base & ~t->opts.umask : n->mode);
}

void
attr_fill_locked(const struct sf_tree *t, const struct node *n, struct sf_attr *out)
{
    *out = (struct sf_attr){
        .ino = n->ino,
        .mode = mode_of(t, n),
        .uid = n->uid == ATTR_ID_NONE ? t->opts.uid : n->uid,
        .gid = n->gid == ATTR_ID_NONE ? t->opts.gid : n->gid,
        .nlink = n == t->root || n->parent ? 1 : 0,
        .size = live(n)->content ? sf_content_size(live(n)->content) : n->size,
        .rdev = n->special && n->extra ? n->extra->rdev : 0,
        .mtime_ns = known_time(t, n->mtime_ns),
        .ctime_ns = known_time(t, n->ctime_ns),
    };
    bool own = n->extra && n->extra->atime_ns != ATTR_TIME_NONE;
    out->atime_ns = own ? n->extra->atime_ns : out->mtime_ns;
}

struct extra *
extra_of(struct node *n)
{
    if (!n->extra && (n->extra = calloc(1, sizeof *n->extra)))
        n->extra->atime_ns = ATTR_TIME_NONE;
    return n->extra;
}

struct live *
live_of(struct node *n)
{
    if (!extra_of(n))
        return NULL;
    if (!n->extra->live)
        n->extra->live = calloc(1, sizeof *n->extra->live);
    return n->extra->live;
}

static void
live_free(struct live *l)
{
    if (!l)
        return;
    free(l->link);
    free(l->failure);
    free(l->old_key);
    free(l);
}

void
live_trim_locked(struct node *n)
{
    struct extra *e = n->extra;
    const struct live *l = live(n);
    if (!e || l->open || l->busy || l->commits || l->gave_up_ms || l->link || l->content ||
        l->failure || l->old_key)
        return;
    live_free(sf_steal(e->live));
    if (e->atime_ns == ATTR_TIME_NONE && !e->rdev && !e->xattrs && !e->changes &&
        !e->xattrs_known && !e->writing && !e->told && !e->tagged)
        extra_free(sf_steal(n->extra));
}

void
extra_free(struct extra *e)
{
    if (!e)
        return;
    free(e->xattrs);
    free(e->changes);
    free(e->told);
    live_free(e->live);
    free(e);
}

static int
set_atime(struct node *n, int64_t ns)
{
    if (ns == ATTR_TIME_NONE && !n->extra)
        return 0;
    if (!extra_of(n))
        return -ENOMEM;
    n->extra->atime_ns = ns;
    return 0;
}

static int
set_rdev(struct node *n, dev_t rdev)
{
    if (!rdev && !n->extra)
        return 0;
    if (!extra_of(n))
        return -ENOMEM;
    n->extra->rdev = rdev;
    return 0;
}

void
attr_stamp_locked(struct node *n, bool mtime)
{
    n->attrs++;
    n->ctime_ns = sf_wall_ns();
    n->set |= SF_SET_CTIME;
    if (mtime) {
        n->mtime_ns = n->ctime_ns;
        n->set |= SF_SET_MTIME;
    }
}

void
attr_forget_times(struct node *n)
{
    n->set &= (uint16_t)~TIMES;
    n->marked = false;
    xattrs_forget_locked(n);
    set_atime(n, ATTR_TIME_NONE);
}

/* An owner that is the mount's default is not kept: another mount shows its own. */
static uint32_t
id_of(uint32_t id, uint32_t usual)
{
    return id == usual ? ATTR_ID_NONE : id;
}

static void
row_version(const struct sf_list_row *row, struct sf_version *out)
{
    size_t ni = strlen(row->id) + 1, ne = strlen(row->etag) + 1;
    out->size = row->size;
    memcpy(out->id, row->id, ni < sizeof out->id ? ni : 0);
    memcpy(out->etag, row->etag, ne <= sizeof out->etag ? ne : 0);
}

void
attr_row_locked(const struct sf_tree *t, struct node *n, const struct sf_list_row *row,
                int64_t mtime_ns, int64_t updated_ns)
{
    struct sf_mark m = {.valid = 0}, theirs;
    const struct bucket *b = row ? node_bucket_locked(n) : NULL;
    struct sf_version is = {.size = 0};
    if (b)
        row_version(row, &is);
    if (b && !t->opts.plain)
        (void)sf_mark_parse(row->cache_control, &m);
    theirs = m;
    bool coming = b && sf_write_attrs_pending(t->writer, b->id, row->key, &is, &m);
    if (t->opts.plain)
        m = theirs;
    if (row && n->type == N_FILE)
        type_row_locked(t, n,
                        &(struct type_row){.bucket = coming ? b->id : NULL,
                                           .key = row->key,
                                           .is = &is,
                                           .mark = &theirs,
                                           .mime = row->mime,
                                           .cache_control = row->cache_control});
    if (m.valid & SF_MARK_MTIME)
        mtime_ns = m.mtime_ns;
    if (m.valid & SF_MARK_CTIME)
        updated_ns = m.ctime_ns;
    if (!(n->set & SF_SET_CTIME)) { /* nothing was set here that it does not have */
        if (n->ctime_ns != updated_ns)
            xattrs_forget_locked(n);
        n->xattrs = m.xattrs;
    }
    if (!(n->set & SF_SET_MODE))
        n->mode = m.valid & SF_MARK_MODE && (m.mode & S_IFMT) == (mode_of(t, n) & S_IFMT)
                      ? m.mode & 07777
                      : ATTR_MODE_NONE;
    if (!(n->set & SF_SET_UID))
        n->uid = m.valid & SF_MARK_UID ? id_of(m.uid, t->opts.uid) : ATTR_ID_NONE;
    if (!(n->set & SF_SET_GID))
        n->gid = m.valid & SF_MARK_GID ? id_of(m.gid, t->opts.gid) : ATTR_ID_NONE;
    if (!(n->set & SF_SET_MTIME) && (mtime_ns || m.valid & SF_MARK_MTIME))
        n->mtime_ns = mtime_ns;
    if (!(n->set & SF_SET_CTIME) && (updated_ns || m.valid & SF_MARK_CTIME))
        n->ctime_ns = updated_ns;
    if (!(n->set & SF_SET_ATIME)) /* without memory it is the mtime that is shown */
        (void)!set_atime(n, m.valid & SF_MARK_ATIME ? m.atime_ns : ATTR_TIME_NONE);
    (void)!set_rdev(n, n->special && m.valid & SF_MARK_RDEV ? m.rdev : 0);
    if (m.valid & (SF_MARK_MTIME | SF_MARK_CTIME))
        n->marked = true;
}

void
attr_give_locked(struct sf_tree *t, struct node *from, struct node *to)
{
    to->set = from->set;
    to->mode = from->mode;
    to->uid = from->uid;
    to->gid = from->gid;
    to->mtime_ns = from->mtime_ns;
    to->ctime_ns = from->ctime_ns;
    to->marked = from->marked;
    to->guessed = from->guessed;
    to->xattrs = from->xattrs;
    to->mime = from->mime;
    to->cache_control = from->cache_control;
    if (from->extra && !to->extra && extra_of(to)) { /* what only its handles need stays */
        struct live *of = from->extra->live;
        *to->extra = *from->extra;
        *from->extra = (struct extra){.atime_ns = ATTR_TIME_NONE, .live = of};
        to->extra->live = NULL;
    }
    if (from->own_ino)
        ino_claim_locked(t, to, from->ino);
    else if (!to->own_ino)
        to->ino = from->ino;
}

void
attr_mark_locked(const struct sf_tree *t, const struct node *n, struct sf_mark *out)
{
    struct sf_attr a;
    attr_fill_locked(t, n, &a);
    *out = (struct sf_mark){
        .valid = SF_MARK_MODE | SF_MARK_MTIME | SF_MARK_CTIME | SF_MARK_INO,
        .mode = a.mode,
        .uid = n->uid,
        .gid = n->gid,
        .mtime_ns = a.mtime_ns,
        .ctime_ns = a.ctime_ns,
        .ino = n->ino,
        .guessed = n->guessed,
        .xattrs = n->xattrs,
    };
    if (node_is_dir(n)) /* theirs comes from the key */
        out->valid &= ~(unsigned)SF_MARK_INO;
    if (a.rdev) {
        out->valid |= SF_MARK_RDEV;
        out->rdev = a.rdev;
    }
    if (n->uid != ATTR_ID_NONE)
        out->valid |= SF_MARK_UID;
    if (n->gid != ATTR_ID_NONE)
        out->valid |= SF_MARK_GID;
    if (n->extra && n->extra->atime_ns != ATTR_TIME_NONE) {
        out->valid |= SF_MARK_ATIME;
        out->atime_ns = n->extra->atime_ns;
    }
}

void
attr_mark_text_locked(const struct sf_tree *t, const struct node *n, char mark[SF_MARK_SIZE])
{
    struct sf_mark m;
    attr_mark_locked(t, n, &m);
    if (t->opts.plain || sf_mark_format(&m, mark, SF_MARK_SIZE) < 0)
        mark[0] = '\0';
}

bool
attr_mark_fits_locked(const struct sf_tree *t, const struct node *n, const char *cache_control)
{
    struct sf_mark m;
    struct sf_attr a;
    if (t->opts.plain || !cache_control || !sf_mark_parse(cache_control, &m) ||
        !(m.valid & SF_MARK_INO) || !(m.valid & SF_MARK_MTIME) || m.ino != n->ino)
        return false;
    attr_fill_locked(t, n, &a);
    return n->set & SF_SET_MTIME || m.mtime_ns == a.mtime_ns;
}

void
attr_sent_locked(const struct sf_tree *t, struct node *n, uint32_t attrs)
{
    n->marked = n->marked || !t->opts.plain;
    if (n->attrs != attrs)
        return;
    n->set &= t->opts.plain ? (uint16_t)~NODE_SET_SAID : 0;
    if (t->opts.plain)
        return;
    if (n->extra)
        free(sf_steal(n->extra->changes));
}

void
attr_begin_locked(struct sf_tree *t, struct node *n, const struct sf_mark *m)
{
    n->mode = m->valid & SF_MARK_MODE ? m->mode & 07777 : ATTR_MODE_NONE;
    n->uid = m->valid & SF_MARK_UID ? id_of(m->uid, t->opts.uid) : ATTR_ID_NONE;
    n->gid = m->valid & SF_MARK_GID ? id_of(m->gid, t->opts.gid) : ATTR_ID_NONE;
    n->mtime_ns = m->valid & SF_MARK_MTIME ? m->mtime_ns : sf_wall_ns();
    n->ctime_ns = m->valid & SF_MARK_CTIME ? m->ctime_ns : sf_wall_ns();
    n->xattrs = m->xattrs;
    (void)!set_rdev(n, m->valid & SF_MARK_RDEV ? m->rdev : 0);
    n->set = SF_SET_MODE | SF_SET_UID | SF_SET_GID | SF_SET_MTIME | SF_SET_CTIME;
    if (n->type == N_DIR)
        ino_of_dir_locked(n);
    else
        ino_claim_locked(t, n, m->ino);
}

int
attr_set_locked(const struct sf_tree *t, struct node *n, const struct sf_attr *attr, unsigned valid)
{
    int64_t now = sf_wall_ns();
    if (valid & (SF_SET_ATIME | SF_SET_ATIME_NOW)) {
        int rc = set_atime(n, valid & SF_SET_ATIME_NOW ? now : attr->atime_ns);
        if (rc < 0)
            return rc;
        n->set |= SF_SET_ATIME;
    }
    n->attrs++;
    if (valid & SF_SET_MODE)
        n->mode = attr->mode & 07777;
    if (valid & (SF_SET_UID | SF_SET_GID) && !(valid & SF_SET_MODE) && n->type == N_FILE &&
        n->mode != ATTR_MODE_NONE) { /* as chown(2) does */
        n->mode &= n->mode & S_IXGRP ? (uint16_t) ~(S_ISUID | S_ISGID) : (uint16_t)~S_ISUID;
        n->set |= SF_SET_MODE;
    }
    if (valid & SF_SET_UID)
        n->uid = id_of(attr->uid, t->opts.uid);
    if (valid & SF_SET_GID)
        n->gid = id_of(attr->gid, t->opts.gid);
    if (valid & (SF_SET_MTIME | SF_SET_MTIME_NOW)) {
        n->mtime_ns = valid & SF_SET_MTIME_NOW ? now : attr->mtime_ns;
        n->set |= SF_SET_MTIME;
    }
    n->ctime_ns = now;
    n->set |= SF_SET_CTIME | (valid & (SF_SET_MODE | SF_SET_UID | SF_SET_GID));
    return 0;
}

int64_t
attr_ttl_locked(const struct sf_tree *t, const struct node *n)
{
    int64_t left;
    if (n == t->root || (n->type == N_FILE && node_is_local(n)))
        return t->opts.attr_ttl_ms;
    if (!n->parent || !dir_attrs_known(t, n))
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
    if (rc < 0 && !(live(n)->open && rc == -ESTALE))
        return rc; /* fstat(2): handles keep what they have; the kernel does not name them */
    rc = dir_attrs_locked(t, &g->r, n, &g->w);
    if (rc < 0)
        return rc;
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
    if (n && dir_attrs_known(t, n) &&
        (n == t->root || !n->parent || node_is_local(n) ||
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
