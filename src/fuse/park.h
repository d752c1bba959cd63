/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef SF_FUSE_PARK_H
#define SF_FUSE_PARK_H

#define FUSE_USE_VERSION 314

#include <fuse_lowlevel.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "tree/tree.h"

struct sf_http;

/*
 * One table of the requests under way. A request is an `op` in the table from its arrival until
 * its completion has run and its handler has returned; who first takes it answers it: the
 * completion, the interrupt callback or the deadline.
 *
 * Entries are never freed while the table lives, and an id counts the uses of its entry. So the
 * interrupt callback, which libfuse may call late, and the sweep look at entries without a lock and
 * only take the one that they mean.
 */
struct park;
struct op;

/* What is particular to one kind of request. */
struct op_kind {
    const char *name;
    /* Answer a success; result of the fuse_reply_ function: not 0 = nobody got it. */
    int (*reply)(struct op *op, const struct sf_tree_result *res);
    /* Give back what came with a success that nobody gets; NULL = nothing did. */
    void (*undo)(struct op *op, const struct sf_tree_result *res);
    /* End what works for it, by the id that op_end() was given (not 0): it was answered already,
     * and its completion has run or will. NULL = sf_tree_cancel(). */
    void (*cancel)(struct op *op, uint64_t id);
    bool change; /* has the time limit of a change */
    bool send;   /* may take as long as an upload takes: no time limit here */
    bool apart;  /* waits for what may come in minutes or never: takes no place of the others */
};

struct op {
    _Atomic uint64_t word; /* use count, references, flags, state: park.c */
    uint32_t slot;
    uint32_t next_free;
    _Atomic(fuse_req_t) req;
    _Atomic uint64_t cancel; /* an id of the tree's or the kind's; 0 = nothing to cancel */
    _Atomic int64_t deadline_ms;
    _Atomic pid_t pid; /* the thread that asks */
    const struct op_kind *kind;
    struct sf_fuse *fuse;

    /* For the kind's functions. */
    struct fuse_file_info fi; /* open, create, opendir */
    struct sf_dir *dir;       /* readdir */
    uint64_t off;
    size_t size;
    bool plus;
};

struct park_opts {
    unsigned max;
    unsigned max_apart;         /* the same for kinds that are counted apart */
    int64_t read_ms, change_ms; /* time limits */
    struct sf_http *http;       /* for the timer */
    struct sf_tree *tree;       /* where requests are cancelled */
};

int park_new(const struct park_opts *opts, struct park **ret);
/* Waits until every completion has run. */
void park_free(struct park *p);

/**
 * op_begin - enter a request. NULL: it has been answered already (too many wait, or its caller was
 * told to stop before it began).
 */
struct op *op_begin(struct sf_fuse *f, fuse_req_t req, const struct op_kind *kind);

/* The completion to give to the tree, with the op as argument. */
void op_done(void *arg, int err, const struct sf_tree_result *res);

/* The handler's last word, after the call of the tree; @cancel: what its function returned, or what
 * the kind's `cancel` takes. */
void op_end(struct op *op, uint64_t cancel);

/* Answer everything that waits; what comes in later is answered at once. */
void park_close(struct park *p, int err);

uint64_t park_waiting(const struct park *p);

#endif
