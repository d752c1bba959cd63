/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef SF_TREE_NAME_OP_H
#define SF_TREE_NAME_OP_H

#include "tree/internal.h"

#define MIME_MARKER "application/octet-stream"

/*
 * Changes of names have one shape: find out what the name is now (which may take a question to the
 * service), check under the lock whether the change may be, let the writer do it, and take the
 * result into the tree. check() is called with the lock; go() and everything after it without.
 */
struct name_op {
    struct waiter w;
    struct sf_tree *tree;
    struct node *dir; /* counted: where @name is */
    struct resolve r;
    /* @found: NULL = the name is absent. 0 = go on, or -errno. */
    int (*check)(struct name_op *op, struct node *found);
    void (*go)(struct name_op *op);
    sf_tree_fn cb;
    void *arg;

    struct node *node;     /* counted: what is changed; NULL = nothing yet */
    struct node *from_dir; /* rename: counted, where the node is */
    struct sf_cred cred;
    mode_t mode;
    dev_t rdev;
    struct sf_mark mark; /* of what is made */
    int flags;
    bool replaces; /* rename: something is there that the service knows */
    bool leaves;   /* the node is marked as leaving */
    bool renames;  /* rename: @node is a directory, and marked as being renamed */
    bool counted;  /* in the directories' ops */
    bool waits;    /* for the end of a rename */
    bool mknod;
    bool settles; /* bytes that had a name are given up: no later start may bring them back */
    struct sf_tree_open open; /* create: the handle */
    struct sf_content *content;
    char *bucket, *key; /* of @name */
    char *from_bucket, *from_key;
    char **mimes;      /* rename: what the target's bucket takes; NULL = all */
    uint64_t max_size; /* and its limit; 0 = none */
    char *target;      /* symlink; removal: key of the marker to write first, NULL = none */
    struct node *kept; /* borrowed: the directory that the marker keeps */
    void (*next)(struct name_op *op); /* after the marker */
    char comp[SF_NAME_BUF_SIZE];
    char name[SF_NAME_BUF_SIZE];
    char from_name[SF_NAME_BUF_SIZE];
};

/* NULL when it failed at once; then cb was called. */
struct name_op *name_op_new(struct sf_tree *t, const char *name, sf_tree_fn cb, void *arg);
void name_op_start(struct name_op *op, uint64_t parent);
/* Answer and free; with success and an entry wanted, of @entry. */
void name_op_finish(struct name_op *op, int rc, struct node *entry);

/* Try again when a rename or a change of names has ended. Returns -EINPROGRESS. */
int name_op_wait_locked(struct name_op *op);

/* Renames: take @n as what is moved, and both its keys. 0 or -errno. */
int rename_begin_locked(struct name_op *op, struct node *n);
/* It has moved: it is under its new name and no longer under the old. 0, or -ENOMEM (detached). */
int rename_attach_locked(struct name_op *op);
/* The directory's part of rename_check() and of what follows. */
int rename_dir_check(struct name_op *op, struct node *n, struct node *found);
void rename_dir_send(struct name_op *op);

/* Attributes of what is to be made, in op->mark: who asked for it, and when. @mode: with the type
 * of a file. */
void name_new_attr_locked(struct name_op *op, bool directory, mode_t mode);
/* op->mark as text in @text; NULL with attrs=none. */
const char *name_mark_text(const struct name_op *op, char text[SF_MARK_SIZE]);
/* Is it here alone? Nothing was sent and nothing is about to be, nor has the journal anything of
 * it: also between an upload that failed, whose request may arrive late, and the next. */
bool name_is_unsent_locked(const struct node *n);
/* If a removal of @n would let its directory vanish, key of the marker to write first; else NULL.
 */
char *name_marker_locked(const struct sf_tree *t, const struct node *n);
/* Write that marker (op->target, if any) into @dir of @bucket, then go on with @next; a failure
 * ends the operation. @dir is counted by @op. No lock held. */
void name_op_keep_dir(struct name_op *op, struct node *dir, const char *bucket,
                      void (*next)(struct name_op *op));

#endif
