/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "fuse/internal.h"

#include "base/str.h"
#include "chat/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/*
 * Chat files. Where a name may be one, the tree is asked first: an object of that name wins. Reads
 * may wait for what comes in minutes or never, so they are parked apart. They, and opens, which
 * wait for two seconds, leave at once when their caller does.
 */

/* ---- who asks --------------------------------------------------------------------------------
 */

struct caller {
    struct sf_chat_who who;
    gid_t groups[256];
};

static struct sf_chat_who
who_of(fuse_req_t req)
{
    const struct fuse_ctx *ctx = fuse_req_ctx(req);
    return (struct sf_chat_who){.uid = ctx->uid, .gid = ctx->gid};
}

/* With his groups, which takes a file of /proc to be read. */
static void
caller_of(fuse_req_t req, struct caller *c)
{
    int room = (int)(sizeof c->groups / sizeof *c->groups);
    c->who = who_of(req);
    int n = fuse_req_getgroups(req, room, c->groups);
    c->who.groups = c->groups;
    c->who.n_groups = n < 0 ? 0 : n < room ? (size_t)n : (size_t)room;
}

/* ---- opens -----------------------------------------------------------------------------------
 */

/* What a descriptor has. In a list, because a forced end of the session brings no RELEASE. */
struct chat_open {
    struct sf_chat_file *file;
    struct sf_chat_dir *dir; /* of .supafs/chats instead */
    unsigned refs;           /* the open's, and one of each call: the RELEASE of a caller that was
                                interrupted may overtake the call */
    struct chat_open *next, **self;
};

static struct chat_open *
open_ref(struct sf_fuse *f, const struct fuse_file_info *fi)
{
    struct chat_open *o = (struct chat_open *)(uintptr_t)fi->fh;
    SF_GUARD(&f->texts_lock);
    o->refs++;
    return o;
}

static void
open_unref(struct sf_fuse *f, struct chat_open *o)
{
    {
        SF_GUARD(&f->texts_lock);
        if (--o->refs)
            return;
        *o->self = o->next;
        if (o->next)
            o->next->self = o->self;
    }
    if (o->file)
        sf_chat_release(o->file);
    if (o->dir)
        sf_chat_releasedir(o->dir);
    free(o);
}

/* It is one now. */
static void
open_add(struct sf_fuse *f, struct chat_open *o)
{
    o->refs = 1;
    SF_GUARD(&f->texts_lock);
    o->self = &f->chats;
    o->next = f->chats;
    if (o->next)
        o->next->self = &o->next;
    f->chats = o;
}

/* The files are sf_chat_free()'s: nothing is asked by an end. */
void
chat_free_all(struct sf_fuse *f)
{
    while (f->chats) {
        struct chat_open *o = f->chats;
        f->chats = o->next;
        if (o->dir)
            sf_chat_releasedir(o->dir);
        free(o);
    }
}

/* Past the kernel's pages: what is there changes without its knowledge. */
static void
open_fill(struct op *op)
{
    op->fi.direct_io = 1;
    op->fi.keep_cache = 0;
}

static void
opened(void *arg, int err, const struct sf_tree_result *res)
{
    struct op *op = arg;
    struct chat_open *o = (struct chat_open *)(uintptr_t)op->fi.fh;
    if (err) {
        free(o);
    } else {
        o->file = res->other;
        open_add(op->fuse, o);
        open_fill(op);
    }
    op_done(op, err, res);
}

static int
reply_chat_open(struct op *op, const struct sf_tree_result *res)
{
    (void)res;
    return fuse_reply_open(op->req, &op->fi);
}

void
chat_undo_open(struct op *op)
{
    struct chat_open *o = (struct chat_open *)(uintptr_t)op->fi.fh;
    if (o->file)
        sf_chat_abandon(o->file); /* with O_TRUNC it would put the conversation away */
    open_unref(op->fuse, o);
}

static void
undo_chat_open(struct op *op, const struct sf_tree_result *res)
{
    (void)res;
    chat_undo_open(op);
}

static void
cancel_chat(struct op *op, uint64_t id)
{
    sf_chat_cancel(op->fuse->chat, id);
}

static const struct op_kind open_kind = {.name = "chat-open",
                                         .reply = reply_chat_open,
                                         .undo = undo_chat_open,
                                         .cancel = cancel_chat,
                                         .send = true};

/* An op with room for an open, NULL = answered. */
static struct op *
open_begin(struct sf_fuse *f, fuse_req_t req, const struct op_kind *kind,
           const struct fuse_file_info *fi)
{
    struct chat_open *o = calloc(1, sizeof *o);
    if (!o) {
        fuse_reply_err(req, ENOMEM);
        return NULL;
    }
    struct op *op = op_begin(f, req, kind);
    if (!op) {
        free(o);
        return NULL;
    }
    op->fi = *fi;
    op->fi.fh = (uintptr_t)o;
    return op;
}

void
chat_open(struct sf_fuse *f, fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
    struct caller c;
    caller_of(req, &c);
    struct op *op = open_begin(f, req, &open_kind, fi);
    if (op)
        op_end(op, sf_chat_open(f->chat, &c.who, ino, fi->flags, opened, op));
}

void
chat_release(struct sf_fuse *f, const struct fuse_file_info *fi)
{
    open_unref(f, (struct chat_open *)(uintptr_t)fi->fh);
}

/* ---- names -----------------------------------------------------------------------------------
 */

/* A request that the tree or the chats did not settle alone, until the other one has answered. */
struct named {
    struct op *op;
    uint64_t parent;
    struct sf_chat_who who;
    const char *new_name; /* rename */
    uint64_t new_parent;
    struct sf_cred cred; /* create */
    mode_t mode;
    int flags;
    char name[];
};

/* @new_name: NULL = none. NULL = answered. */
static struct named *
named_new(struct op *op, uint64_t parent, const char *name, const char *new_name)
{
    size_t n = strlen(name) + 1, more = new_name ? strlen(new_name) + 1 : 0;
    struct named *s = calloc(1, sizeof *s + n + more);
    if (!s) {
        op_done(op, -ENOMEM, NULL);
        return NULL;
    }
    s->op = op;
    s->parent = parent;
    s->who = who_of(op->req);
    memcpy(s->name, name, n);
    if (new_name)
        s->new_name = memcpy(s->name + n, new_name, more);
    return s;
}

static void
looked_up(void *arg, int err, const struct sf_tree_result *res)
{
    struct named *s = arg;
    if (err == -ENOENT || (!err && !res->entry.node))
        sf_chat_lookup(s->op->fuse->chat, s->parent, s->name, op_done, s->op);
    else
        op_done(s->op, err, res);
    free(s);
}

void
chat_lookup(struct op *op, uint64_t parent, const char *name)
{
    if (sf_chat_owns(parent)) {
        sf_chat_lookup(op->fuse->chat, parent, name, op_done, op);
        return;
    }
    struct named *s = named_new(op, parent, name, NULL);
    if (s)
        sf_tree_lookup(op->fuse->tree, parent, name, looked_up, s);
}

void
chat_forget(struct sf_fuse *f, uint64_t node, uint64_t count)
{
    if (node != SF_CHAT_DIR)
        sf_chat_forget(f->chat, node, count);
}

static void
created(void *arg, int err, const struct sf_tree_result *res)
{
    struct named *s = arg;
    struct op *op = s->op;
    if (err == -ENOENT) {
        free((void *)(uintptr_t)op->fi.fh);
        sf_tree_create(op->fuse->tree, &s->cred, s->parent, s->name, s->mode, s->flags, op_done,
                       op);
    } else {
        opened(op, err, res);
    }
    free(s);
}

void
chat_create(struct sf_fuse *f, fuse_req_t req, const struct op_kind *kind, uint64_t parent,
            const char *name, mode_t mode, const struct fuse_file_info *fi)
{
    struct caller c;
    caller_of(req, &c);
    struct op *op = open_begin(f, req, kind, fi);
    struct named *s = op ? named_new(op, parent, name, NULL) : NULL;
    if (s) {
        cred_of(req, &s->cred);
        s->mode = mode;
        s->flags = fi->flags;
        sf_chat_create(f->chat, &c.who, parent, name, fi->flags, created, s);
    } else if (op) {
        free((void *)(uintptr_t)op->fi.fh);
    }
    if (op)
        op_end(op, 0);
}

static void
unlinked(void *arg, int err, const struct sf_tree_result *res)
{
    struct named *s = arg;
    if (err == -ENOENT)
        sf_chat_unlink(s->op->fuse->chat, &s->who, s->parent, s->name, op_done, s->op);
    else
        op_done(s->op, err, res);
    free(s);
}

void
chat_unlink(struct op *op, uint64_t parent, const char *name)
{
    struct named *s = named_new(op, parent, name, NULL);
    if (s)
        sf_tree_unlink(op->fuse->tree, parent, name, unlinked, s);
}

/* What should have been renamed is no object: is it a chat file? Then it has to be copied. */
static void
not_renamed(void *arg, int err, const struct sf_tree_result *res)
{
    struct op *op = arg;
    bool found = !err && res->entry.node;
    if (found)
        chat_forget(op->fuse, res->entry.node, 1);
    op_done(op, found ? -EXDEV : err ? err : -ENOENT, NULL);
}

static void
renamed(void *arg, int err, const struct sf_tree_result *res)
{
    struct named *s = arg;
    struct sf_chat *chat = s->op->fuse->chat;
    if (!err) {
        sf_chat_covered(chat, s->new_parent, s->new_name);
        sf_chat_moved(chat, s->parent, s->name);
    }
    if (err == -ENOENT && sf_chat_maybe(chat, s->parent, s->name))
        sf_chat_lookup(chat, s->parent, s->name, not_renamed, s->op);
    else
        op_done(s->op, err, res);
    free(s);
}

void
chat_rename(struct op *op, uint64_t parent, const char *name, uint64_t new_parent,
            const char *new_name, unsigned flags)
{
    struct named *s = named_new(op, parent, name, new_name);
    if (!s)
        return;
    s->new_parent = new_parent;
    sf_tree_rename(op->fuse->tree, parent, name, new_parent, new_name, flags, renamed, s);
}

/* ---- bytes -----------------------------------------------------------------------------------
 */

static int
reply_chat_read(struct op *op, const struct sf_tree_result *res)
{
    fuse_reply_buf(op->req, res->data, res->len);
    return 0;
}

static const struct op_kind read_kind = {.name = "chat-read",
                                         .reply = reply_chat_read,
                                         .cancel = cancel_chat,
                                         .send = true,
                                         .apart = true};
static const struct op_kind flush_kind = {
    .name = "chat-flush", .reply = reply_ok, .change = true, .send = true};

void
chat_read(struct sf_fuse *f, fuse_req_t req, size_t size, off_t off,
          const struct fuse_file_info *fi)
{
    struct chat_open *o = open_ref(f, fi);
    struct op *op = op_begin(f, req, &read_kind);
    if (op)
        op_end(op, sf_chat_read(o->file, (uint64_t)off, size, fi->flags & O_NONBLOCK, op_done, op));
    open_unref(f, o);
}

/* Answered at once. Offsets do not count. */
void
chat_write(struct sf_fuse *f, fuse_req_t req, const char *buf, size_t size,
           const struct fuse_file_info *fi)
{
    struct chat_open *o = open_ref(f, fi);
    ssize_t n = sf_chat_write(o->file, buf, size);
    if (n < 0)
        fuse_reply_err(req, (int)-n);
    else
        fuse_reply_write(req, (size_t)n);
    open_unref(f, o);
}

void
chat_flush(struct sf_fuse *f, fuse_req_t req, const struct fuse_file_info *fi)
{
    struct chat_open *o = open_ref(f, fi);
    struct op *op = op_begin(f, req, &flush_kind);
    if (op) {
        sf_chat_flush(o->file, op_done, op);
        op_end(op, 0);
    }
    open_unref(f, o);
}

/* ---- poll ------------------------------------------------------------------------------------
 */

struct waker {
    struct sf_fuse *fuse;
    struct fuse_pollhandle *ph;
};

/* Under locks of the chats; but the kernel takes this notice without waiting for anything, so it
 * needs no thread of its own. Nobody is woken any more once the session is being taken down. */
static void
woken(void *arg, bool changed)
{
    struct waker *w = arg;
    if (changed) {
        atomic_fetch_add(&w->fuse->waking, 1);
        if (!atomic_load(&w->fuse->deaf))
            (void)fuse_lowlevel_notify_poll(w->ph);
        atomic_fetch_sub(&w->fuse->waking, 1);
    }
    fuse_pollhandle_destroy(w->ph);
    free(w);
}

void
chat_poll_end(struct sf_fuse *f)
{
    atomic_store(&f->deaf, true);
    while (atomic_load(&f->waking))
        usleep(1000);
}

void
chat_poll(struct sf_fuse *f, fuse_req_t req, const struct fuse_file_info *fi,
          struct fuse_pollhandle *ph)
{
    struct waker *w = ph ? malloc(sizeof *w) : NULL;
    if (ph && !w) {
        fuse_pollhandle_destroy(ph);
        fuse_reply_err(req, ENOMEM);
        return;
    }
    if (w)
        *w = (struct waker){f, ph};
    struct chat_open *o = open_ref(f, fi);
    short now = sf_chat_poll(o->file, w ? woken : NULL, w);
    open_unref(f, o);
    fuse_reply_poll(req, (unsigned)now);
}

/* ---- attributes ------------------------------------------------------------------------------
 */

void
chat_setattr(struct op *op, fuse_ino_t ino, const struct fuse_file_info *fi,
             const struct sf_attr *attr, unsigned valid)
{
    struct sf_fuse *f = op->fuse;
    struct chat_open *o = fi ? open_ref(f, fi) : NULL;
    const struct sf_chat_who who = who_of(op->req);
    sf_chat_setattr(f->chat, &who, ino, o ? o->file : NULL, attr, valid, op_done, op);
    if (o)
        open_unref(f, o);
}

int
chat_access(struct sf_fuse *f, fuse_req_t req, fuse_ino_t ino, int mask)
{
    const struct sf_chat_who who = who_of(req);
    return sf_chat_access(f->chat, &who, ino, mask);
}

bool
chat_has_xattr(const struct sf_fuse *f, fuse_ino_t ino, const char *name)
{
    if (sf_virtual_owns(ino))
        return sf_chat_owns(ino) && sf_str_starts(name, "user.");
    return sf_chat_xattr_is(f->chat, name);
}

static void
got_xattr(void *arg, int err, const struct sf_tree_result *res)
{
    struct named *s = arg;
    if (err == -EOPNOTSUPP && !sf_chat_owns(s->parent))
        sf_tree_getxattr(s->op->fuse->tree, s->parent, s->name, op_done, s->op);
    else
        op_done(s->op, err == -EOPNOTSUPP ? -ENODATA : err, res);
    free(s);
}

void
chat_getxattr(struct op *op, fuse_ino_t ino, const char *name)
{
    struct named *s = named_new(op, ino, name, NULL);
    if (s)
        sf_chat_getxattr(op->fuse->chat, &s->who, ino, name, got_xattr, s);
}

bool
chat_setxattr(struct sf_fuse *f, fuse_req_t req, fuse_ino_t ino, const char *name,
              const char *value, size_t size, bool *remove)
{
    const struct sf_chat_who who = who_of(req);
    int rc = sf_chat_setxattr(f->chat, &who, ino, name, value, size, remove);
    if (rc <= 0)
        fuse_reply_err(req, -rc);
    return rc <= 0;
}

/* ---- .supafs/chats ---------------------------------------------------------------------------
 */

static void
opened_dir(void *arg, int err, const struct sf_tree_result *res)
{
    struct op *op = arg;
    struct chat_open *o = (struct chat_open *)(uintptr_t)op->fi.fh;
    if (err) {
        free(o);
    } else {
        o->dir = res->other;
        open_add(op->fuse, o);
    }
    op_done(op, err, res);
}

static const struct op_kind opendir_kind = {
    .name = "chat-opendir", .reply = reply_chat_open, .undo = undo_chat_open};

void
chat_opendir(struct sf_fuse *f, fuse_req_t req, fuse_ino_t ino, const struct fuse_file_info *fi)
{
    int rc = ino == SF_CHAT_DIR ? chat_access(f, req, ino, R_OK) : -ENOTDIR;
    if (rc < 0) {
        fuse_reply_err(req, -rc);
        return;
    }
    struct op *op = open_begin(f, req, &opendir_kind, fi);
    if (!op)
        return;
    sf_chat_opendir(f->chat, opened_dir, op);
    op_end(op, 0);
}

static int
dirent_at(void *arg, uint64_t off, struct sf_dirent *out)
{
    return sf_chat_dirent(arg, off, out);
}

void
chat_readdir(struct sf_fuse *f, fuse_req_t req, size_t size, off_t off, bool plus,
             const struct fuse_file_info *fi)
{
    struct chat_open *o = open_ref(f, fi);
    reply_dirents(req, size, off, plus, dirent_at, o->dir);
    open_unref(f, o);
}
