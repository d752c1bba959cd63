/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef SF_CHAT_CHAT_H
#define SF_CHAT_CHAT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"
#include "tree/tree.h"

/*
 * Chat files as a filesystem shows them (docs/formats/chat.md): which names there are, who may, and
 * what each call does; one that is open is file.h. Knows conversations (conv.h), not how they are
 * answered, and not FUSE.
 *
 * Nothing here waits. What takes a callback ends in exactly one call of it, before it returns or
 * later on another thread; no lock is held then, and what the result holds is valid during the
 * call. Thread-safe.
 *
 * A node of a chat file has bits 63 and 62 of its id set, and an id is never used twice. One that
 * reached the caller in an entry counts one look-up, to be given back with sf_chat_forget(); the
 * directory of all conversations needs none. Names and attributes may never be kept (their time is
 * 0): so the kernel asks each time, and notices are not needed.
 */
struct sf_chat;
struct sf_convs;
struct sf_http;
struct sf_providers;

struct sf_chat_opts {
    struct sf_http *http; /* for timers; all of these are borrowed until sf_chat_free() */
    struct sf_tree *tree;
    struct sf_providers *providers; /* NULL, or none configured: no name is a chat name */
    struct sf_convs *convs;
    const char *identity; /* project, role and subject in one text: chat/names.h */
    const char *suffix;   /* one that is ok */
    uid_t owner;          /* of all chat files */
    bool read_only;       /* the mount is */
};

/** sf_chat_new - texts are copied. 0 or -ENOMEM. */
int sf_chat_new(const struct sf_chat_opts *opts, struct sf_chat **ret);
/* After the last request, before sf_convs_stop(): what is still open asks nothing any more, and
 * what was written to it becomes drafts (C9). Does not wait: sf_convs_stop() does. NULL is allowed.
 */
void sf_chat_stop(struct sf_chat *chat);
/* After sf_convs_stop(): what is still open is released. Before sf_convs_free() and sf_http_free().
 * NULL is allowed. */
void sf_chat_free(struct sf_chat *chat);

/* Who asks: of the request that begins the call; borrowed for it. */
struct sf_chat_who {
    uid_t uid;
    gid_t gid;
    const gid_t *groups; /* the others; needed for open and create only */
    size_t n_groups;
};

/* ---- names ----------------------------------------------------------------------------------- */

#define SF_CHAT_DIR (UINT64_C(3) << 62) /* the node of `.supafs/chats` */

/* Also of a node of which sf_virtual_owns() is true: ask this first. */
static inline bool
sf_chat_owns(uint64_t node)
{
    return node >> 62 == 3;
}

/** sf_chat_maybe - may this be a chat name, by the name alone? NULL @chat: false. @parent: a node
 * of the tree, SF_CHAT_DIR (true), or any other (false). */
bool sf_chat_maybe(const struct sf_chat *chat, uint64_t parent, const char *name);

/**
 * sf_chat_lookup - look for a chat file of this name. In a directory of the tree: after the tree
 * said that there is no such object (N4).
 * Result: entry; its node is 0 when there is none. Its ttl_ms is 0 in any case: also a negative
 * answer may not be kept. What cannot be told (the service fails) is an error.
 */
void sf_chat_lookup(struct sf_chat *chat, uint64_t parent, const char *name, sf_tree_fn fn,
                    void *arg);
void sf_chat_forget(struct sf_chat *chat, uint64_t node, uint64_t count);

/**
 * sf_chat_unlink - C3; after the tree said ENOENT for this name. -ENOENT: there is none here,
 * either; -EACCES (P2), -EROFS; -EPERM in SF_CHAT_DIR.
 */
void sf_chat_unlink(struct sf_chat *chat, const struct sf_chat_who *who, uint64_t parent,
                    const char *name, sf_tree_fn fn, void *arg);

/* C2: rename(2) put an object under this name, which may be a chat name: what it led to is put
 * away. Nobody is told. NULL @chat is allowed. */
void sf_chat_covered(struct sf_chat *chat, uint64_t parent, const char *name);

/* C1: rename(2) took an object from this name: for five seconds it is no chat name. NULL @chat is
 * allowed. */
void sf_chat_moved(struct sf_chat *chat, uint64_t parent, const char *name);

/* ---- attributes ------------------------------------------------------------------------------ */

/* Of a chat file or SF_CHAT_DIR. Result: attr; ttl_ms is 0. -ESTALE no such node. */
void sf_chat_getattr(struct sf_chat *chat, uint64_t node, sf_tree_fn fn, void *arg);

struct sf_chat_file;
/**
 * sf_chat_setattr - P5, C5, W4. @f: NULL, or the open that is meant: who may was settled then.
 * Result: attr as it is now. -EPERM, -EINVAL, -EACCES, -EROFS.
 */
void sf_chat_setattr(struct sf_chat *chat, const struct sf_chat_who *who, uint64_t node,
                     struct sf_chat_file *f, const struct sf_attr *attr, unsigned valid,
                     sf_tree_fn fn, void *arg);

/** sf_chat_access - access(2), by P2 alone: 0 or -EACCES, -EROFS. */
int sf_chat_access(const struct sf_chat *chat, const struct sf_chat_who *who, uint64_t node,
                   int mask);

/** sf_chat_xattr_is - is this an attribute of files of the tree that is to be asked for here? NULL
 * @chat: false. */
bool sf_chat_xattr_is(const struct sf_chat *chat, const char *name);

/**
 * sf_chat_getxattr - S7, S9, E2; and `user.supafs.chat.name`: the name of the conversation of FILE
 * or DIR that names no provider, which may be an object's, too (N4); of a chat file its own.
 * @node: a chat file: any name; or a node of the tree: one for which sf_chat_xattr_is() is true.
 * Result: data, len. -ENODATA; -EACCES (P2); -EOPNOTSUPP it is the tree's to answer.
 */
void sf_chat_getxattr(struct sf_chat *chat, const struct sf_chat_who *who, uint64_t node,
                      const char *name, sf_tree_fn fn, void *arg);

/**
 * sf_chat_setxattr - C8, S5: likewise. @value: borrowed for the call; NULL = remove.
 * Returns what is answered: 0, -EINVAL (user.supafs.error tells why), -EACCES, ...; or 1: all is
 * well, and the tree is to keep it; with *remove instead of set (an empty value).
 */
int sf_chat_setxattr(struct sf_chat *chat, const struct sf_chat_who *who, uint64_t node,
                     const char *name, const void *value, size_t len, bool *remove);

/* ---- .supafs/chats ---------------------------------------------------------------------------
 *
 * N12. Its files are looked up as (SF_CHAT_DIR, name).
 */

struct sf_chat_dir;
/* Result: other, the struct sf_chat_dir, to be given back with sf_chat_releasedir(). What it lists
 * stays as it was then. */
void sf_chat_opendir(struct sf_chat *chat, sf_tree_fn fn, void *arg);
/* The entry at @off (0 ".", 1 "..", then the conversations): 1, or 0 at the end. No node comes with
 * it: with @plus the kernel looks up what it wants to know. */
int sf_chat_dirent(struct sf_chat_dir *dir, uint64_t off, struct sf_dirent *out);
void sf_chat_releasedir(struct sf_chat_dir *dir);

/* ---- what goes on ---------------------------------------------------------------------------- */

/* End what nobody waits for any more, by the id that its call returned: its callback runs with
 * -ECANCELED, unless it ran or runs. One that is over is no error. */
void sf_chat_cancel(struct sf_chat *chat, uint64_t id);

struct sf_chat_stats {
    uint64_t nodes, open_files, waiting; /* nodes that are known; reads that wait */
};
void sf_chat_stats(struct sf_chat *chat, struct sf_chat_stats *out);

#endif
