/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef SF_TREE_TREE_H
#define SF_TREE_TREE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/uio.h>

#include "base/err.h"
#include "cache/cache.h"

struct sf_http;
struct sf_cached;
struct sf_providers;
struct sf_storage;
struct sf_tables;
struct sf_writer;

/*
 * The project as a tree of nodes: names, attributes, listings, handles. Knows neither FUSE nor
 * HTTP. No call here waits: each ends in exactly one call of its callback, before it returns when
 * the answer is known, else later on another thread (event thread or a worker). Callbacks are made
 * holding no lock.
 *
 * Nodes are named by a 64-bit node id that is never used twice. A node id that reached the
 * caller in an sf_tree_entry counts one look-up, to be given back with sf_tree_forget(); the root
 * (SF_TREE_ROOT) needs none.
 */
struct sf_tree;
struct sf_env;

#define SF_TREE_ROOT 1

struct sf_tree_opts {
    const char *bucket; /* NULL = the whole project */
    const char *prefix; /* NULL, or a prefix inside it without slash at its ends */
    bool read_only;
    bool behind;         /* sync=writeback: close waits for the journal, not for the service */
    bool exclusive_open; /* O_EXCL is settled at open, by an empty object; else at close */
    uid_t uid;           /* defaults of objects without attributes of their own */
    gid_t gid;
    mode_t umask;
    int64_t attr_ttl_ms;            /* how long an answer of the service is believed */
    int64_t read_timeout_ms;        /* deadline of look-ups, listings and reads */
    int64_t write_timeout_ms;       /* deadline of changes */
    bool plain;                     /* attrs=none: marks are neither read nor written */
    bool predict;                   /* fetch files ahead that will probably be opened */
    uint64_t max_nodes;             /* remembered names beyond which unused ones are dropped */
    struct sf_cache *cache;         /* made with sf_tree_fetch() and its kin; borrowed */
    struct sf_tables *tables;       /* hears of what is read; NULL = none. Borrowed */
    struct sf_providers *providers; /* who may be asked for ids; NULL = none. Borrowed; stopped
                                       before the tree is freed */
    /* Where listings and attributes are kept between mounts; NULL = nowhere. Borrowed. */
    struct sf_env *saved_env;
    unsigned saved_table;  /* its number there */
    uint64_t saved_bytes;  /* and how much it may be */
    const char *saved_dir; /* for the file `changes` */
    /* Where what is learned of directories' orders is kept; NULL = nowhere. Borrowed; ends after
     * the tree. */
    struct sf_env *followed_env;
    unsigned followed_table;
};

/* Who asks. */
struct sf_cred {
    uid_t uid;
    gid_t gid;
    mode_t umask; /* applied to the modes of new files already by the kernel; kept for later */
};

struct sf_attr {
    uint64_t ino; /* st_ino; not the node id */
    mode_t mode;  /* with file type */
    uid_t uid;
    gid_t gid;
    uint32_t nlink;
    uint64_t size; /* bytes */
    dev_t rdev;
    int64_t atime_ns, mtime_ns, ctime_ns;
};

struct sf_tree_entry {
    uint64_t node; /* 0 = the name is known not to exist, for ttl_ms */
    struct sf_attr attr;
    int64_t ttl_ms; /* how long name and attributes may be kept; 0 = not at all */
};

/* An open file or directory; owned by the caller until released. */
struct sf_file;
struct sf_dir;

struct sf_tree_open {
    struct sf_file *file;
    bool keep_cache; /* cached pages of an earlier open are of this content */
    bool direct;     /* the kernel may not know the size yet: bypass its pages, or answer when it
                        has got the notices that were queued before */
};

/* What an operation gives back; fields that it does not speak of are zero. */
struct sf_tree_result {
    struct sf_tree_entry entry; /* lookup, mkdir, mknod, symlink, create */
    struct sf_attr attr;        /* getattr, setattr */
    int64_t ttl_ms;             /* of attr */
    struct sf_tree_open open;   /* open, create */
    struct sf_dir *dir;         /* opendir */
    void *other;                /* never set by the tree: what others open (chat/chat.h) */
    const void *data;           /* readlink, getxattr: valid during the callback */
    const struct iovec *iov;    /* read: likewise */
    int n_iov;
    size_t len; /* bytes of data or iov; bytes written or copied */
};

/* @err: 0 or negative errno; then @res is NULL. */
typedef void (*sf_tree_fn)(void *arg, int err, const struct sf_tree_result *res);

/* Told when something that the kernel may have cached is no longer so; must not block and not call
 * back into the tree. */
struct sf_tree_notify {
    void (*inval_entry)(void *arg, uint64_t parent, const char *name);
    void (*inval_node)(void *arg, uint64_t node, bool data); /* attributes; with data: pages too */
    void *arg;
};

/**
 * sf_tree_new - a tree over one project. Options and strings are copied; http, storage and writer
 * are borrowed until sf_tree_free(). Nothing is sent.
 */
int sf_tree_new(const struct sf_tree_opts *opts, struct sf_http *http, struct sf_storage *storage,
                struct sf_writer *writer, struct sf_tree **ret, struct sf_err *err);

/**
 * sf_tree_start - ask for the root once: the bucket list, or the bucket of the mount. Waits up to
 * @deadline_ms (CLOCK_BOOTTIME), and not so long when the project is known from a mount before;
 * not on the event thread.
 *
 * Returns 0; 1: the service does not answer (@err says why), and what is known serves; or: -ENOENT
 * no such bucket (or not visible: @err says which), -EKEYEXPIRED, -EKEYREJECTED, -EACCES,
 * -ECONNREFUSED, -ETIMEDOUT, ... as mapped.
 */
int sf_tree_start(struct sf_tree *tree, int64_t deadline_ms, struct sf_err *err);

void sf_tree_set_notify(struct sf_tree *tree, const struct sf_tree_notify *notify);

/**
 * sf_tree_drain - commit what open files still hold (the kernel sends no FLUSH or RELEASE at a
 * forced end), wait for changes under way. Call after the last request, before sf_tree_free().
 * Returns the number of files that could not be committed by @deadline_ms: the journal has them, or
 * they were put in quarantine by this call.
 */
unsigned sf_tree_drain(struct sf_tree *tree, int64_t deadline_ms);

/* Write down for the next mount what is known and was not yet. After sf_tree_drain(). */
void sf_tree_save(struct sf_tree *tree, int64_t deadline_ms);

/* Open files that were not released are released. The event thread must still run, and end every
 * request that is under way (sf_http_close()). */
void sf_tree_free(struct sf_tree *tree);

/* ---- names ------------------------------------------------------------------------------------
 */

void sf_tree_lookup(struct sf_tree *tree, uint64_t parent, const char *name, sf_tree_fn cb,
                    void *arg);
void sf_tree_forget(struct sf_tree *tree, uint64_t node, uint64_t count);

void sf_tree_mkdir(struct sf_tree *tree, const struct sf_cred *cred, uint64_t parent,
                   const char *name, mode_t mode, sf_tree_fn cb, void *arg);
void sf_tree_rmdir(struct sf_tree *tree, uint64_t parent, const char *name, sf_tree_fn cb,
                   void *arg);
void sf_tree_unlink(struct sf_tree *tree, uint64_t parent, const char *name, sf_tree_fn cb,
                    void *arg);
void sf_tree_symlink(struct sf_tree *tree, const struct sf_cred *cred, const char *target,
                     uint64_t parent, const char *name, sf_tree_fn cb, void *arg);
/* @flags: those of renameat2(2). */
void sf_tree_rename(struct sf_tree *tree, uint64_t parent, const char *name, uint64_t new_parent,
                    const char *new_name, unsigned flags, sf_tree_fn cb, void *arg);
/* All types but directories and symlinks; -EPERM for devices with attrs=none, where nothing keeps
 * their number. */
void sf_tree_mknod(struct sf_tree *tree, const struct sf_cred *cred, uint64_t parent,
                   const char *name, mode_t mode, dev_t rdev, sf_tree_fn cb, void *arg);
void sf_tree_readlink(struct sf_tree *tree, uint64_t node, sf_tree_fn cb, void *arg);

/* ---- attributes ----------------------------------------------------------------------------- */

#define SF_SET_MODE      (1u << 0)
#define SF_SET_UID       (1u << 1)
#define SF_SET_GID       (1u << 2)
#define SF_SET_SIZE      (1u << 3)
#define SF_SET_ATIME     (1u << 4)
#define SF_SET_MTIME     (1u << 5)
#define SF_SET_ATIME_NOW (1u << 6)
#define SF_SET_MTIME_NOW (1u << 7)
#define SF_SET_CTIME     (1u << 8)

/* @file: NULL or the open file that is meant. */
void sf_tree_getattr(struct sf_tree *tree, uint64_t node, struct sf_file *file, sf_tree_fn cb,
                     void *arg);
/* @attr: the fields named by @valid (SF_SET_*). */
void sf_tree_setattr(struct sf_tree *tree, uint64_t node, struct sf_file *file,
                     const struct sf_attr *attr, unsigned valid, sf_tree_fn cb, void *arg);

/* The names of user.* that others and programs set; user.supafs.* is told of by name only. Data:
 * the value, or names with a NUL each. -ENODATA; -EOPNOTSUPP nothing keeps them (a bucket,
 * attrs=none). */
/* Returns an id for sf_tree_cancel(), 0 when nothing can be cancelled. */
uint64_t sf_tree_getxattr(struct sf_tree *tree, uint64_t node, const char *name, sf_tree_fn cb,
                          void *arg);
/* Whether to get it may take as long as an upload takes. */
bool sf_tree_xattr_is_patient(const char *name);
void sf_tree_listxattr(struct sf_tree *tree, uint64_t node, sf_tree_fn cb, void *arg);
/* @value: borrowed for the call; NULL = remove. @flags: XATTR_CREATE, XATTR_REPLACE. Also -EEXIST,
 * -ENOSPC (4 KiB of JSON per object). */
void sf_tree_setxattr(struct sf_tree *tree, uint64_t node, const char *name, const void *value,
                      size_t len, int flags, sf_tree_fn cb, void *arg);

/* ---- files ---------------------------------------------------------------------------------- */

/* @flags: those of open(2), with O_TRUNC and O_APPEND. */
void sf_tree_open(struct sf_tree *tree, uint64_t node, int flags, sf_tree_fn cb, void *arg);
void sf_tree_create(struct sf_tree *tree, const struct sf_cred *cred, uint64_t parent,
                    const char *name, mode_t mode, int flags, sf_tree_fn cb, void *arg);
/* Returns an id for sf_tree_cancel(), 0 when the callback has run already. */
uint64_t sf_tree_read(struct sf_tree *tree, struct sf_file *file, uint64_t off, size_t len,
                      sf_tree_fn cb, void *arg);
/* @data: borrowed for the call. Fetches nothing. */
void sf_tree_write(struct sf_tree *tree, struct sf_file *file, uint64_t off, const void *data,
                   size_t len, sf_tree_fn cb, void *arg);
/* The same of the kernel's pages, which programs changed in their memory: they go to @off, with
 * O_APPEND, too. @file can be any handle that has mapped the file. */
void sf_tree_write_pages(struct sf_tree *tree, struct sf_file *file, uint64_t off, const void *data,
                         size_t len, sf_tree_fn cb, void *arg);
void sf_tree_flush(struct sf_tree *tree, struct sf_file *file, sf_tree_fn cb, void *arg);
void sf_tree_fsync(struct sf_tree *tree, struct sf_file *file, sf_tree_fn cb, void *arg);
/* Its attributes are in the bucket then; names are when their change returns. */
void sf_tree_fsyncdir(struct sf_tree *tree, uint64_t node, sf_tree_fn cb, void *arg);
/* Gives the handle back; what is still dirty is uploaded behind. */
void sf_tree_release(struct sf_tree *tree, struct sf_file *file);
void sf_tree_fallocate(struct sf_tree *tree, struct sf_file *file, int mode, uint64_t off,
                       uint64_t len, sf_tree_fn cb, void *arg);
/* SEEK_HOLE or SEEK_DATA of lseek(2): the place, or -errno. Only what is staged has holes, and none
 * is told of while a program may have changed pages of which nothing is known yet. */
int64_t sf_tree_seek(struct sf_tree *tree, struct sf_file *file, uint64_t off, bool hole);
void sf_tree_copy_range(struct sf_tree *tree, struct sf_file *in, uint64_t off_in,
                        struct sf_file *out, uint64_t off_out, size_t len, sf_tree_fn cb,
                        void *arg);
/**
 * sf_tree_cached - what is cached of a file's present bytes. Waits for nothing.
 * Returns 0 and a counted content; -ENODATA nothing can be: no file, an empty one, one that is
 * written here; -ESTALE, -ENOMEM.
 */
int sf_tree_cached(struct sf_tree *tree, uint64_t node, struct sf_cached **ret);
/* The bucket and key of what a node stands for; a directory's ends in '/', a bucket's is "" or its
 * prefix. Both for free(). 0, -ESTALE, -ENOMEM, -ENAMETOOLONG. */
int sf_tree_key(struct sf_tree *tree, uint64_t node, char **bucket, char **key);
/* The directory that a node is in (its id, which is not counted) and the name that it has there. 0;
 * -ESTALE it has none any more, or is the root. */
int sf_tree_where(struct sf_tree *tree, uint64_t node, uint64_t *parent, char name[static 256]);
/* Let the kernel forget the bytes that it keeps of a file. */
void sf_tree_drop_pages(struct sf_tree *tree, uint64_t node);
/* End what nobody waits for any more; its callback runs with -ECANCELED. */
void sf_tree_cancel(struct sf_tree *tree, uint64_t id);

/*
 * What the cache calls for bytes that it lacks, of what the tree gave it: fetch, cancel and drop of
 * struct sf_cache_opts. @arg: the storage. On any thread, no lock held.
 */
uint64_t sf_tree_fetch(void *arg, void *what, uint64_t off, size_t len, char *buf, int priority,
                       sf_fetched_fn done, void *done_arg);
void sf_tree_fetch_cancel(void *arg, uint64_t id);
void sf_tree_drop(void *arg, void *what);

/* ---- directories ------------------------------------------------------------------------------
 */

struct sf_dirent {
    const char *name; /* valid until the next call on the handle */
    mode_t type;      /* S_IFMT bits */
    uint64_t ino;
    uint64_t next; /* offset of the entry after this one */
    struct sf_tree_entry
        entry; /* with @plus: one look-up counted, unless it is "." or ".." (node 0) */
};

void sf_tree_opendir(struct sf_tree *tree, uint64_t node, sf_tree_fn cb, void *arg);
/* Calls back when entries from @off on are there (or the end is). */
void sf_tree_readdir(struct sf_tree *tree, struct sf_dir *dir, uint64_t off, sf_tree_fn cb,
                     void *arg);
/* The entry at @off: 1, or 0 at the end of what is there now. Never waits. */
int sf_tree_dirent(struct sf_tree *tree, struct sf_dir *dir, uint64_t off, bool plus,
                   struct sf_dirent *out);
void sf_tree_releasedir(struct sf_tree *tree, struct sf_dir *dir);

/* ---- figures ----------------------------------------------------------------------------------
 */

struct sf_tree_stats {
    uint64_t nodes, looked_up, directories, open_files, open_dirs, dirty_files;
    bool offline; /* the service does not answer; cached answers are served */
};
void sf_tree_stats(struct sf_tree *tree, struct sf_tree_stats *out);

#endif
