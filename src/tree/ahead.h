/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef SF_TREE_AHEAD_H
#define SF_TREE_AHEAD_H

#include "cache/predict.h"
#include "tree/internal.h"

/* Internal to ahead*.c: files that will probably be opened soon. The tree's lock protects it. */
#define AHEAD_JOBS 256

/* A file to be fetched. */
struct ahead_job {
    struct node *node; /* counted */
    uint64_t dir, id;
    uint64_t bytes;
};

struct ahead {
    struct action act;
    struct sf_tree *tree;
    struct sf_predict *predict;
    struct ahead_job jobs[AHEAD_JOBS]; /* a ring */
    unsigned first, n;
    unsigned under_way;
    bool running;                 /* somebody begins jobs, or is about to; */
    bool again;                   /* and shall look once more */
    bool stopped;                 /* nothing more is begun */
    struct sf_predict_stats told; /* what the counters have */
};

/* What was learned of a directory (a node id), into the environment: later, on its thread. @arg:
 * the tree, which is locked. */
void ahead_save(void *arg, uint64_t dir, const struct sf_follow *learned, bool whole);
/* And from there. */
void ahead_load_locked(struct sf_tree *t, uint64_t dir);

#endif
