/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "fuse/internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>

/*
 * Virtual files answer at once, so nothing is parked. Only the mount's owner and root may look at
 * them, also where the kernel was not told to check modes.
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

/* The text as it is now; reads of this open see nothing else. */
void
virtual_open(struct sf_fuse *f, fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
    if (!permitted(f, req))
        return;
    if ((fi->flags & O_ACCMODE) != O_RDONLY || fi->flags & O_TRUNC) {
        fuse_reply_err(req, EACCES);
        return;
    }
    struct sf_buf *text = calloc(1, sizeof *text);
    if (!text) {
        fuse_reply_err(req, ENOMEM);
        return;
    }
    sf_buf_init(text);
    int rc = sf_virtual_read(f->virt, ino, text);
    fi->fh = (uintptr_t)text;
    fi->direct_io = 1;
    if (rc < 0)
        fuse_reply_err(req, -rc);
    if (rc < 0 || fuse_reply_open(req, fi) != 0)
        virtual_release(fi);
}

void
virtual_read(fuse_req_t req, size_t size, off_t off, const struct fuse_file_info *fi)
{
    const struct sf_buf *text = (const struct sf_buf *)(uintptr_t)fi->fh;
    if (off < 0 || (uint64_t)off >= text->len) {
        fuse_reply_buf(req, NULL, 0);
        return;
    }
    size_t rest = text->len - (size_t)off;
    fuse_reply_buf(req, text->data + off, size < rest ? size : rest);
}

void
virtual_release(struct fuse_file_info *fi)
{
    struct sf_buf *text = (struct sf_buf *)(uintptr_t)fi->fh;
    sf_buf_fini(text);
    free(text);
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
virtual_readdir(struct sf_fuse *f, fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
                bool plus)
{
    char buf[4096];
    struct sf_dirent d;
    size_t used = 0, n, room = size < sizeof buf ? size : sizeof buf;
    while (sf_virtual_dirent(f->virt, ino, (uint64_t)off, &d) == 1) {
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
