/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "fuse/internal.h"

#include <errno.h>
#include <string.h>

void
cred_of(fuse_req_t req, struct sf_cred *out)
{
    const struct fuse_ctx *ctx = fuse_req_ctx(req);
    *out = (struct sf_cred){.uid = ctx->uid, .gid = ctx->gid, .umask = ctx->umask};
}

double
ttl_seconds(int64_t ms)
{
    return (double)ms / 1000.0;
}

void
entry_fill(struct fuse_entry_param *e, const struct sf_tree_entry *te)
{
    *e = (struct fuse_entry_param){.ino = te->node};
    e->attr_timeout = e->entry_timeout = ttl_seconds(te->ttl_ms);
    if (te->node)
        stat_fill(&e->attr, te->node, &te->attr);
}

int
reply_entry(struct op *op, const struct sf_tree_result *res)
{
    struct fuse_entry_param e;
    /* A negative entry that may not be kept is better an error: the kernel asks again either way.
     */
    if (!res->entry.node && res->entry.ttl_ms <= 0) {
        fuse_reply_err(op->req, ENOENT);
        return 0;
    }
    entry_fill(&e, &res->entry);
    return fuse_reply_entry(op->req, &e);
}

static void
forget(struct sf_fuse *f, uint64_t node, uint64_t count)
{
    if (sf_chat_owns(node))
        chat_forget(f, node, count);
    else if (!sf_virtual_owns(node) && node != SF_TREE_ROOT)
        sf_tree_forget(f->tree, node, count);
}

void
undo_entry(struct op *op, const struct sf_tree_result *res)
{
    if (res->entry.node)
        forget(op->fuse, res->entry.node, 1);
}

int
reply_ok(struct op *op, const struct sf_tree_result *res)
{
    (void)res;
    fuse_reply_err(op->req, 0);
    return 0;
}

int
reply_count(struct op *op, const struct sf_tree_result *res)
{
    fuse_reply_write(op->req, res->len);
    return 0;
}

static const struct op_kind lookup_kind = {
    .name = "lookup", .reply = reply_entry, .undo = undo_entry};

void
do_lookup(fuse_req_t req, fuse_ino_t parent, const char *name)
{
    struct sf_fuse *f = fuse_of(req);
    bool chat = chat_maybe(f, parent, name);
    if (!chat && sf_virtual_claims(parent, name)) {
        virtual_lookup(f, req, parent, name);
        return;
    }
    struct op *op = op_begin(f, req, &lookup_kind);
    if (!op)
        return;
    if (chat)
        chat_lookup(op, parent, name);
    else
        sf_tree_lookup(f->tree, parent, name, op_done, op);
    op_end(op, 0);
}

void
do_forget(fuse_req_t req, fuse_ino_t ino, uint64_t nlookup)
{
    forget(fuse_of(req), ino, nlookup);
    fuse_reply_none(req);
}

void
do_forget_multi(fuse_req_t req, size_t count, struct fuse_forget_data *forgets)
{
    struct sf_fuse *f = fuse_of(req);
    for (size_t i = 0; i < count; i++)
        forget(f, forgets[i].ino, forgets[i].nlookup);
    fuse_reply_none(req);
}

static int
reply_link(struct op *op, const struct sf_tree_result *res)
{
    char target[4096 + 1];
    if (res->len > sizeof target - 1) {
        fuse_reply_err(op->req, ENAMETOOLONG);
        return 0;
    }
    memcpy(target, res->data, res->len);
    target[res->len] = '\0';
    fuse_reply_readlink(op->req, target);
    return 0;
}

static const struct op_kind readlink_kind = {.name = "readlink", .reply = reply_link};

void
do_readlink(fuse_req_t req, fuse_ino_t ino)
{
    struct sf_fuse *f = fuse_of(req);
    if (sf_virtual_owns(ino)) {
        fuse_reply_err(req, EINVAL);
        return;
    }
    struct op *op = op_begin(f, req, &readlink_kind);
    if (!op)
        return;
    sf_tree_readlink(f->tree, ino, op_done, op);
    op_end(op, 0);
}
