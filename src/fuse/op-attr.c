/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "fuse/internal.h"

#include <errno.h>

#define NS_PER_S INT64_C(1000000000)

static struct timespec
to_timespec(int64_t ns)
{
    int64_t s = ns / NS_PER_S, rest = ns % NS_PER_S;
    if (rest < 0) {
        s--;
        rest += NS_PER_S;
    }
    return (struct timespec){.tv_sec = s, .tv_nsec = rest};
}

static int64_t
from_timespec(const struct timespec *ts)
{
    int64_t ns;
    if (__builtin_mul_overflow((int64_t)ts->tv_sec, NS_PER_S, &ns) ||
        __builtin_add_overflow(ns, (int64_t)ts->tv_nsec, &ns))
        return ts->tv_sec < 0 ? INT64_MIN : INT64_MAX;
    return ns;
}

void
stat_fill(struct stat *st, uint64_t node, const struct sf_attr *a)
{
    *st = (struct stat){
        .st_ino = a->ino ? a->ino : node,
        .st_mode = a->mode,
        .st_nlink = a->nlink,
        .st_uid = a->uid,
        .st_gid = a->gid,
        .st_rdev = a->rdev,
        .st_size = (off_t)a->size,
        .st_blksize = 4096,
        .st_blocks = (blkcnt_t)(a->size / 512 + (a->size % 512 != 0)),
    };
    st->st_atim = to_timespec(a->atime_ns);
    st->st_mtim = to_timespec(a->mtime_ns);
    st->st_ctim = to_timespec(a->ctime_ns);
}

int
reply_attr(struct op *op, const struct sf_tree_result *res)
{
    struct stat st;
    stat_fill(&st, 0, &res->attr);
    fuse_reply_attr(op->req, &st, ttl_seconds(res->ttl_ms));
    return 0;
}

static const struct op_kind getattr_kind = {.name = "getattr", .reply = reply_attr};
static const struct op_kind setattr_kind = {.name = "setattr", .reply = reply_attr, .change = true};

void
do_getattr(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
    struct sf_fuse *f = fuse_of(req);
    bool chat = sf_chat_owns(ino);
    if (!chat && sf_virtual_owns(ino)) {
        virtual_getattr(f, req, ino);
        return;
    }
    struct op *op = op_begin(f, req, &getattr_kind);
    if (!op)
        return;
    if (chat)
        sf_chat_getattr(f->chat, ino, op_done, op);
    else
        sf_tree_getattr(f->tree, ino, file_of(fi), op_done, op);
    op_end(op, 0);
}

static bool
in_group(fuse_req_t req, gid_t gid)
{
    gid_t list[256];
    int room = (int)(sizeof list / sizeof *list), n = fuse_req_getgroups(req, room, list);
    for (int i = 0; i < n && i < room; i++)
        if (list[i] == gid)
            return true;
    return gid == fuse_req_ctx(req)->gid;
}

/* chown(2)'s rules, where the kernel was not asked to keep them: an owner gives a file to nobody,
 * and only to groups of his. */
static bool
may_chown(const struct sf_fuse *f, fuse_req_t req, const struct stat *st, int to_set)
{
    const struct fuse_ctx *who = fuse_req_ctx(req);
    if (f->opts.default_permissions || who->uid == 0)
        return true;
    if (to_set & FUSE_SET_ATTR_UID && st->st_uid != who->uid)
        return false;
    return !(to_set & FUSE_SET_ATTR_GID) || in_group(req, st->st_gid);
}

void
do_setattr(fuse_req_t req, fuse_ino_t ino, struct stat *st, int to_set, struct fuse_file_info *fi)
{
    static const struct {
        int fuse;
        unsigned tree;
    } bits[] = {
        {FUSE_SET_ATTR_MODE, SF_SET_MODE},
        {FUSE_SET_ATTR_UID, SF_SET_UID},
        {FUSE_SET_ATTR_GID, SF_SET_GID},
        {FUSE_SET_ATTR_SIZE, SF_SET_SIZE},
        {FUSE_SET_ATTR_ATIME, SF_SET_ATIME},
        {FUSE_SET_ATTR_MTIME, SF_SET_MTIME},
        {FUSE_SET_ATTR_ATIME_NOW, SF_SET_ATIME_NOW},
        {FUSE_SET_ATTR_MTIME_NOW, SF_SET_MTIME_NOW},
        {FUSE_SET_ATTR_CTIME, SF_SET_CTIME},
    };
    struct sf_fuse *f = fuse_of(req);
    unsigned valid = 0;
    bool chat = sf_chat_owns(ino);
    if ((!chat && sf_virtual_owns(ino)) || f->opts.read_only) {
        fuse_reply_err(req, f->opts.read_only ? EROFS : EPERM);
        return;
    }
    if (!chat && !may_chown(f, req, st, to_set)) {
        fuse_reply_err(req, EPERM);
        return;
    }
    for (size_t i = 0; i < sizeof bits / sizeof *bits; i++)
        if (to_set & bits[i].fuse)
            valid |= bits[i].tree;
    struct op *op = op_begin(f, req, &setattr_kind);
    if (!op)
        return;
    const struct sf_attr attr = {
        .mode = st->st_mode,
        .uid = st->st_uid,
        .gid = st->st_gid,
        .size = (uint64_t)st->st_size,
        .atime_ns = from_timespec(&st->st_atim),
        .mtime_ns = from_timespec(&st->st_mtim),
        .ctime_ns = from_timespec(&st->st_ctim),
    };
    if (chat)
        chat_setattr(op, ino, fi, &attr, valid);
    else
        sf_tree_setattr(f->tree, ino, file_of(fi), &attr, valid, op_done, op);
    op_end(op, 0);
}

/* Asked only without default_permissions: the tree has no opinion, the virtual and the chat files
 * have. */
void
do_access(fuse_req_t req, fuse_ino_t ino, int mask)
{
    struct sf_fuse *f = fuse_of(req);
    uid_t uid = fuse_req_ctx(req)->uid;
    bool denied = sf_virtual_owns(ino) && uid != 0 && uid != f->opts.owner;
    if (sf_chat_owns(ino))
        fuse_reply_err(req, -chat_access(f, req, ino, mask));
    else
        fuse_reply_err(req, denied ? EACCES : 0);
}
