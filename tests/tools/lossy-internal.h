/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef SF_TESTS_LOSSY_INTERNAL_H
#define SF_TESTS_LOSSY_INTERNAL_H

#include "lossy-disk.h"

/* What lossy-disk.c (nodes, bytes, losses) and lossy-names.c (tables of names, and changes of them)
 * share. */

/* One name, and what it stands for from then on. */
struct slot {
    struct lossy_node *dir, *node; /* counted; node NULL = nothing */
    char *name;
};

/* A change of names that is not safe; all of its slots become so at once. */
struct change {
    struct change *next;
    unsigned n;
    struct slot slots[2];
    bool chosen; /* in what is being made safe, or in what is being dropped */
};

struct lossy_disk {
    struct lossy_node *root;
    struct change *changes, **last;
    uint64_t random, next_ino;
    bool lenient;
    int percent; /* of the loss under way */
    struct lossy_report report;
};

/* @p, unless there was no memory. */
void *lossy_checked(void *p);
struct timespec lossy_clock(void);
/* One reference, which is the caller's. */
struct lossy_node *lossy_node_new(struct lossy_disk *d, mode_t mode);

/* What a name of a directory's table stands for; NULL = nothing. */
void lossy_entry_put(struct lossy_entry **list, const char *name, struct lossy_node *node);
void lossy_entries_free(struct lossy_entry **list);
void lossy_change_free(struct change *c);
void lossy_change_make_safe(struct change *c);
/* Whether one of the two could not have happened without the other. */
bool lossy_builds_on(const struct change *c, const struct change *earlier);
void lossy_sync_names_in(struct lossy_disk *d, const struct lossy_node *dir);
/* The node's own name, and those of the directories above it. */
void lossy_sync_names_of(struct lossy_disk *d, const struct lossy_node *node);

#endif
