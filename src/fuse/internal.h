/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef SF_FUSE_INTERNAL_H
#define SF_FUSE_INTERNAL_H

#include "base/lock.h"
#include "chat/chat.h"
#include "fuse/notify.h"
#include "fuse/park.h"
#include "fuse/session.h"
#include "tree/tree.h"
#include "virtual/virtual.h"

#include <pthread.h>

struct sf_fuse {
    struct sf_fuse_opts opts; /* its strings are owned */
    struct sf_tree *tree;
    struct sf_virtual *virt;
    struct sf_chat *chat; /* NULL = no chat files */
    struct sf_http *http;
    struct fuse_session *se;
    struct park *park;
    struct notify *notify;
    pthread_t loop;
    bool looping, mounted;
    int ended_fd; /* eventfd */
    int greeted_fd;
    _Atomic bool gone; /* the loop's thread ends */
    uint64_t readahead;
    bool readahead_denied;
    unsigned dev_major, dev_minor; /* of the mount; 0, 0 = not known */

    struct sf_mutex texts_lock; /* leaf; protects the lists */
    struct text *texts;         /* of open virtual files */
    struct chat_open *chats;    /* of open chat files */
    _Atomic unsigned waking;    /* threads that tell the kernel's pollers something */
    _Atomic bool deaf;          /* it is not told any more */
};

static inline struct sf_fuse *
fuse_of(fuse_req_t req)
{
    return fuse_req_userdata(req);
}

/* May this be a chat file's name? Costs a pointer test where there are none. */
static inline bool
chat_maybe(const struct sf_fuse *f, uint64_t parent, const char *name)
{
    return f->chat && sf_chat_maybe(f->chat, parent, name);
}

static inline struct sf_file *
file_of(const struct fuse_file_info *fi)
{
    return fi ? (struct sf_file *)(uintptr_t)fi->fh : NULL;
}

void cred_of(fuse_req_t req, struct sf_cred *out);
void stat_fill(struct stat *st, uint64_t node, const struct sf_attr *a);
void entry_fill(struct fuse_entry_param *e, const struct sf_tree_entry *te);
double ttl_seconds(int64_t ms);

/* Replies that several kinds share. */
int reply_entry(struct op *op, const struct sf_tree_result *res);
void undo_entry(struct op *op, const struct sf_tree_result *res);
int reply_attr(struct op *op, const struct sf_tree_result *res);
int reply_ok(struct op *op, const struct sf_tree_result *res);
int reply_count(struct op *op, const struct sf_tree_result *res);

/* Whether a change may be made to this name: else it has been answered. */
bool change_allowed(struct sf_fuse *f, fuse_req_t req, uint64_t parent, const char *name);

/* The operations, as in struct fuse_lowlevel_ops. */
void do_lookup(fuse_req_t req, fuse_ino_t parent, const char *name);
void do_forget(fuse_req_t req, fuse_ino_t ino, uint64_t nlookup);
void do_forget_multi(fuse_req_t req, size_t count, struct fuse_forget_data *forgets);
void do_readlink(fuse_req_t req, fuse_ino_t ino);
void do_getattr(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void do_setattr(fuse_req_t req, fuse_ino_t ino, struct stat *attr, int to_set,
                struct fuse_file_info *fi);
void do_mknod(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode, dev_t rdev);
void do_mkdir(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode);
void do_unlink(fuse_req_t req, fuse_ino_t parent, const char *name);
void do_rmdir(fuse_req_t req, fuse_ino_t parent, const char *name);
void do_symlink(fuse_req_t req, const char *link, fuse_ino_t parent, const char *name);
void do_rename(fuse_req_t req, fuse_ino_t parent, const char *name, fuse_ino_t newparent,
               const char *newname, unsigned flags);
void do_link(fuse_req_t req, fuse_ino_t ino, fuse_ino_t newparent, const char *newname);
void do_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void do_create(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode,
               struct fuse_file_info *fi);
void do_flush(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void do_fsync(fuse_req_t req, fuse_ino_t ino, int datasync, struct fuse_file_info *fi);
void do_release(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void do_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *fi);
void do_write(fuse_req_t req, fuse_ino_t ino, const char *buf, size_t size, off_t off,
              struct fuse_file_info *fi);
void do_fallocate(fuse_req_t req, fuse_ino_t ino, int mode, off_t off, off_t len,
                  struct fuse_file_info *fi);
void do_lseek(fuse_req_t req, fuse_ino_t ino, off_t off, int whence, struct fuse_file_info *fi);
void do_copy_file_range(fuse_req_t req, fuse_ino_t ino_in, off_t off_in,
                        struct fuse_file_info *fi_in, fuse_ino_t ino_out, off_t off_out,
                        struct fuse_file_info *fi_out, size_t len, int flags);
void do_opendir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void do_readdir(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *fi);
void do_readdirplus(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
                    struct fuse_file_info *fi);
void do_releasedir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void do_fsyncdir(fuse_req_t req, fuse_ino_t ino, int datasync, struct fuse_file_info *fi);
void do_statfs(fuse_req_t req, fuse_ino_t ino);
void do_access(fuse_req_t req, fuse_ino_t ino, int mask);
void do_getxattr(fuse_req_t req, fuse_ino_t ino, const char *name, size_t size);
void do_setxattr(fuse_req_t req, fuse_ino_t ino, const char *name, const char *value, size_t size,
                 int flags);
void do_listxattr(fuse_req_t req, fuse_ino_t ino, size_t size);
void do_removexattr(fuse_req_t req, fuse_ino_t ino, const char *name);
void do_ioctl(fuse_req_t req, fuse_ino_t ino, unsigned cmd, void *arg, struct fuse_file_info *fi,
              unsigned flags, const void *in, size_t in_size, size_t out_size);
void do_poll(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi, struct fuse_pollhandle *ph);

/* op-virtual.c: the same for virtual nodes. */
void virtual_lookup(struct sf_fuse *f, fuse_req_t req, fuse_ino_t parent, const char *name);
void virtual_getattr(struct sf_fuse *f, fuse_req_t req, fuse_ino_t ino);
void virtual_open(struct sf_fuse *f, fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void virtual_read(struct sf_fuse *f, fuse_req_t req, size_t size, off_t off,
                  const struct fuse_file_info *fi);
void virtual_write(struct sf_fuse *f, fuse_req_t req, const char *buf, size_t size,
                   const struct fuse_file_info *fi);
void virtual_release(struct sf_fuse *f, const struct fuse_file_info *fi);
/* What the kernel did not release. */
void virtual_free_all(struct sf_fuse *f);
void virtual_opendir(struct sf_fuse *f, fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void virtual_readdir(struct sf_fuse *f, fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
                     bool plus);
/* Answer readdir for a directory of which @at knows each entry: 1, or 0 at the end. */
void reply_dirents(fuse_req_t req, size_t size, off_t off, bool plus,
                   int (*at)(void *arg, uint64_t off, struct sf_dirent *out), void *arg);

/*
 * op-chat.c: the same for chat files. Of a name that may be one (sf_chat_maybe()), instead of the
 * tree's function: it asks that, too. Those that take an op are between its begin and end.
 */
void chat_lookup(struct op *op, uint64_t parent, const char *name);
void chat_forget(struct sf_fuse *f, uint64_t node, uint64_t count);
void chat_unlink(struct op *op, uint64_t parent, const char *name);
void chat_rename(struct op *op, uint64_t parent, const char *name, uint64_t new_parent,
                 const char *new_name, unsigned flags);
/* @kind: its reply and undo are those of a file of the tree, unless the entry's node is a chat's;
 * fi.fh is set then, and for chat_undo_open(). */
void chat_create(struct sf_fuse *f, fuse_req_t req, const struct op_kind *kind, uint64_t parent,
                 const char *name, mode_t mode, const struct fuse_file_info *fi);
void chat_undo_open(struct op *op);
void chat_open(struct sf_fuse *f, fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void chat_read(struct sf_fuse *f, fuse_req_t req, size_t size, off_t off,
               const struct fuse_file_info *fi);
void chat_write(struct sf_fuse *f, fuse_req_t req, const char *buf, size_t size,
                const struct fuse_file_info *fi);
void chat_flush(struct sf_fuse *f, fuse_req_t req, const struct fuse_file_info *fi);
void chat_poll(struct sf_fuse *f, fuse_req_t req, const struct fuse_file_info *fi,
               struct fuse_pollhandle *ph);
/* The kernel is told no more of them; before the session is taken down. */
void chat_poll_end(struct sf_fuse *f);
/* Of files and of .supafs/chats. */
void chat_release(struct sf_fuse *f, const struct fuse_file_info *fi);
void chat_free_all(struct sf_fuse *f);
void chat_setattr(struct op *op, fuse_ino_t ino, const struct fuse_file_info *fi,
                  const struct sf_attr *attr, unsigned valid);
int chat_access(struct sf_fuse *f, fuse_req_t req, fuse_ino_t ino, int mask);
/* Whether an attribute is to be asked for, or set, by the next two. */
bool chat_has_xattr(const struct sf_fuse *f, fuse_ino_t ino, const char *name);
void chat_getxattr(struct op *op, fuse_ino_t ino, const char *name);
/* False: the tree is to keep it, or with *remove to remove it; else it has been answered. */
bool chat_setxattr(struct sf_fuse *f, fuse_req_t req, fuse_ino_t ino, const char *name,
                   const char *value, size_t size, bool *remove);
void chat_opendir(struct sf_fuse *f, fuse_req_t req, fuse_ino_t ino,
                  const struct fuse_file_info *fi);
void chat_readdir(struct sf_fuse *f, fuse_req_t req, size_t size, off_t off, bool plus,
                  const struct fuse_file_info *fi);

/* readahead.c: raise the kernel's read-ahead of the mount; says what it is then. */
void readahead_raise(struct sf_fuse *f);

#endif
