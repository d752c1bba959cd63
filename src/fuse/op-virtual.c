/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "fuse/internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

/*
 * Virtual files answer at once, so nothing is parked but reads of those that are spoken to. Only
 * the mount's owner and root may look at them, also where the kernel was not told to check modes.
 */
static bool
permitted(const struct sf_fuse *f, fuse_req_t req)
{
    uid_t uid = fuse_req_ctx(req)->uid;
    if (uid == 0 || uid == f->opts.owner)
        return true;
    fuse_reply_err(req, EACCES);
    return false;
}

void
virtual_lookup(struct sf_fuse *f, fuse_req_t req, fuse_ino_t parent, const char *name)
{
    struct sf_tree_entry te;
    struct fuse_entry_param e;
    int rc = sf_virtual_lookup(f->virt, parent, name, &te);
    if (rc < 0) {
        fuse_reply_err(req, -rc);
        return;
    }
    entry_fill(&e, &te);
    fuse_reply_entry(req, &e);
}

void
virtual_getattr(struct sf_fuse *f, fuse_req_t req, fuse_ino_t ino)
{
    struct sf_attr a;
    struct stat st;
    int rc = sf_virtual_getattr(f->virt, ino, &a);
    if (rc < 0) {
        fuse_reply_err(req, -rc);
        return;
    }
    stat_fill(&st, ino, &a);
    fuse_reply_attr(req, &st, 1.0);
}

/* What one open reads; in a list, because a forced end of the session brings no RELEASE. */
struct text {
    struct sf_talk *talk; /* NULL: what it reads is in buf */
    struct sf_buf buf;
    unsigned refs; /* the open's, and one per read: a RELEASE may overtake the end of a reply */
    struct text *next, **self;
};

static void
text_unref(struct sf_fuse *f, struct text *t)
{
    {
        SF_GUARD(&f->texts_lock);
        if (--t->refs)
            return;
        *t->self = t->next;
        if (t->next)
            t->next->self = t->self;
    }
    sf_buf_fini(&t->buf);
    sf_talk_unref(t->talk);
    free(t);
}

static struct text *
text_new(struct sf_fuse *f)
{
    struct text *t = calloc(1, sizeof *t);
    if (!t)
        return NULL;
    t->refs = 1;
    sf_buf_init(&t->buf);
    SF_GUARD(&f->texts_lock);
    t->self = &f->texts;
    t->next = f->texts;
    if (t->next)
        t->next->self = &t->next;
    f->texts = t;
    return t;
}

/* Reads of a talk that wait end by this, and let go of the text. */
static void
text_release(struct sf_fuse *f, struct text *t)
{
    if (t->talk)
        sf_talk_close(t->talk);
    text_unref(f, t);
}

void
virtual_free_all(struct sf_fuse *f)
{
    while (f->texts)
        text_release(f, f->texts);
}

/* The text as it is now; reads of this open see nothing else. */
void
virtual_open(struct sf_fuse *f, fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
    bool talks = sf_virtual_talks(f->virt, ino);
    if (!permitted(f, req))
        return;
    if (!talks && ((fi->flags & O_ACCMODE) != O_RDONLY || fi->flags & O_TRUNC)) {
        fuse_reply_err(req, EACCES);
        return;
    }
    struct text *t = text_new(f);
    int rc = t ? 0 : -ENOMEM;
    if (t && talks)
        rc = (t->talk = sf_virtual_talk(f->virt, ino)) ? 0 : -ENOMEM;
    else if (t)
        rc = sf_virtual_read(f->virt, ino, &t->buf);
    fi->fh = (uintptr_t)t;
    fi->direct_io = 1;
    fi->nonseekable = talks;
    if (rc < 0)
        fuse_reply_err(req, -rc);
    if ((rc < 0 || fuse_reply_open(req, fi) != 0) && t)
        text_release(f, t);
}

/* ---- talks ---------------------------------------------------------------------------------- */

static int
reply_talk(struct op *op, const struct sf_tree_result *res)
{
    int rc = fuse_reply_buf(op->req, res->data, res->len);
    if (rc == 0)
        text_unref(op->fuse, (struct text *)(uintptr_t)op->fi.fh);
    return rc;
}

/* Its reader was interrupted: the next read gets it. */
static void
undo_talk(struct op *op, const struct sf_tree_result *res)
{
    struct text *t = (struct text *)(uintptr_t)op->fi.fh;
    if (res->len)
        sf_talk_unread(t->talk, res->data, res->len);
    text_unref(op->fuse, t);
}

static const struct op_kind talk_kind = {
    .name = "talk", .reply = reply_talk, .undo = undo_talk, .send = true};

static void
talk_read(struct sf_fuse *f, fuse_req_t req, size_t size, const struct fuse_file_info *fi)
{
    struct text *t = (struct text *)(uintptr_t)fi->fh;
    struct op *op = op_begin(f, req, &talk_kind);
    if (!op)
        return;
    {
        SF_GUARD(&f->texts_lock);
        t->refs++;
    }
    op->fi = *fi;
    sf_talk_read(t->talk, size, op_done, op);
    op_end(op, 0);
}

void
virtual_write(struct sf_fuse *f, fuse_req_t req, const char *buf, size_t size,
              const struct fuse_file_info *fi)
{
    struct text *t = (struct text *)(uintptr_t)fi->fh;
    (void)f;
    int n = t->talk ? sf_talk_write(t->talk, buf, size) : -EPERM;
    if (n < 0)
        fuse_reply_err(req, -n);
    else
        fuse_reply_write(req, (size_t)n);
}

/* Nothing but talks knows any: what all files have, as FS_IOC_GETFLAGS, is none of ours. */
void
do_ioctl(fuse_req_t req, fuse_ino_t ino, unsigned cmd, void *arg, struct fuse_file_info *fi,
         unsigned flags, const void *in, size_t in_size, size_t out_size)
{
    const struct sf_fuse *f = fuse_of(req);
    struct sf_talk_piece piece;
    (void)arg;
    (void)out_size;
    if (cmd != SF_TALK_SAY || in_size != sizeof piece || flags & FUSE_IOCTL_DIR ||
        sf_chat_owns(ino) || !sf_virtual_owns(ino) || !sf_virtual_talks(f->virt, ino)) {
        fuse_reply_err(req, ENOTTY);
        return;
    }
    const struct text *t = (const struct text *)(uintptr_t)fi->fh;
    memcpy(&piece, in, sizeof piece);
    int n =
        piece.len <= sizeof piece.text ? sf_talk_write(t->talk, piece.text, piece.len) : -EINVAL;
    if (n < 0)
        fuse_reply_err(req, -n);
    else
        fuse_reply_ioctl(req, n, NULL, 0);
}

/* ---- texts ---------------------------------------------------------------------------------- */

void
virtual_read(struct sf_fuse *f, fuse_req_t req, size_t size, off_t off,
             const struct fuse_file_info *fi)
{
    struct text *t = (struct text *)(uintptr_t)fi->fh;
    size_t rest = 0;
    if (t->talk) {
        talk_read(f, req, size, fi);
        return;
    }
    {
        SF_GUARD(&f->texts_lock);
        t->refs++;
    }
    if (off >= 0 && (uint64_t)off < t->buf.len)
        rest = t->buf.len - (size_t)off;
    fuse_reply_buf(req, rest ? t->buf.data + off : NULL, size < rest ? size : rest);
    text_unref(f, t);
}

void
virtual_release(struct sf_fuse *f, const struct fuse_file_info *fi)
{
    text_release(f, (struct text *)(uintptr_t)fi->fh);
}

void
virtual_opendir(struct sf_fuse *f, fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
    struct sf_attr a;
    if (!permitted(f, req))
        return;
    int rc = sf_virtual_getattr(f->virt, ino, &a);
    if (rc < 0)
        fuse_reply_err(req, -rc);
    else if (!S_ISDIR(a.mode))
        fuse_reply_err(req, ENOTDIR);
    else
        fuse_reply_open(req, fi);
}

void
reply_dirents(fuse_req_t req, size_t size, off_t off, bool plus,
              int (*at)(void *arg, uint64_t off, struct sf_dirent *out), void *arg)
{
    char buf[4096];
    struct sf_dirent d;
    size_t used = 0, n, room = size < sizeof buf ? size : sizeof buf;
    while (at(arg, (uint64_t)off, &d) == 1) {
        struct fuse_entry_param e;
        entry_fill(&e, &d.entry);
        e.attr.st_ino = d.ino;
        e.attr.st_mode = d.entry.node ? e.attr.st_mode : d.type;
        if (plus)
            n = fuse_add_direntry_plus(req, buf + used, room - used, d.name, &e, (off_t)d.next);
        else
            n = fuse_add_direntry(req, buf + used, room - used, d.name, &e.attr, (off_t)d.next);
        if (n > room - used)
            break;
        used += n;
        off = (off_t)d.next;
    }
    fuse_reply_buf(req, buf, used);
}

struct virtual_dir {
    struct sf_virtual *virt;
    fuse_ino_t ino;
};

static int
dirent_at(void *arg, uint64_t off, struct sf_dirent *out)
{
    const struct virtual_dir *dir = arg;
    return sf_virtual_dirent(dir->virt, dir->ino, off, out);
}

void
virtual_readdir(struct sf_fuse *f, fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
                bool plus)
{
    struct virtual_dir dir = {f->virt, ino};
    reply_dirents(req, size, off, plus, dirent_at, &dir);
}
