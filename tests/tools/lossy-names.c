/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "lossy-internal.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct lossy_entry **
entry_at(struct lossy_entry **list, const char *name)
{
    while (*list && strcmp((*list)->name, name) != 0)
        list = &(*list)->next;
    return list;
}

void
lossy_entry_put(struct lossy_entry **list, const char *name, struct lossy_node *node)
{
    struct lossy_entry **at = entry_at(list, name), *e = *at;
    if (node)
        lossy_ref(node);
    if (e && node) {
        struct lossy_node *old = e->node;
        e->node = node;
        lossy_unref(old, 1);
    } else if (e) {
        *at = e->next;
        lossy_unref(e->node, 1);
        free(e);
    } else if (node) {
        size_t len = strlen(name) + 1;
        e = lossy_checked(calloc(1, sizeof *e + len));
        memcpy(e->name, name, len);
        e->node = node;
        *at = e;
    }
}

void
lossy_entries_free(struct lossy_entry **list)
{
    while (*list)
        lossy_entry_put(list, (*list)->name, NULL);
}

void
lossy_change_free(struct change *c)
{
    for (unsigned i = 0; i < c->n; i++) {
        lossy_unref(c->slots[i].dir, 1);
        if (c->slots[i].node)
            lossy_unref(c->slots[i].node, 1);
        free(c->slots[i].name);
    }
    free(c);
}

static struct change *
change_new(struct lossy_disk *d)
{
    struct change *c = lossy_checked(calloc(1, sizeof *c));
    *d->last = c;
    d->last = &c->next;
    return c;
}

/* A name changes now; @c remembers it until it is safe. */
static void
change_name(struct change *c, struct lossy_node *dir, const char *name, struct lossy_node *node)
{
    struct lossy_node *old = lossy_find(dir, name);
    struct slot *s = &c->slots[c->n++];
    lossy_ref(dir);
    if (node) {
        lossy_ref(node);
        node->names++;
        node->ctime = lossy_clock();
    }
    if (old)
        old->names--;
    *s = (struct slot){.dir = dir, .node = node, .name = lossy_checked(strdup(name))};
    lossy_entry_put(&dir->now, name, node);
    dir->mtime = dir->ctime = lossy_clock();
}

bool
lossy_builds_on(const struct change *c, const struct change *earlier)
{
    for (unsigned i = 0; i < c->n; i++)
        for (unsigned k = 0; k < earlier->n; k++) {
            const struct slot *a = &c->slots[i], *b = &earlier->slots[k];
            if (a->dir == b->dir && strcmp(a->name, b->name) == 0)
                return true;
            if (a->node && a->node == b->node)
                return true;
        }
    return false;
}

void
lossy_change_make_safe(struct change *c)
{
    for (unsigned i = 0; i < c->n; i++)
        lossy_entry_put(&c->slots[i].dir->safe, c->slots[i].name, c->slots[i].node);
}

/* Makes the chosen changes safe, and those that they build on, in their order. */
static void
settle_chosen(struct lossy_disk *d)
{
    bool more = true;
    while (more) {
        more = false;
        for (struct change *c = d->changes; c; c = c->next)
            for (struct change *e = d->changes; c->chosen && e != c; e = e->next)
                if (!e->chosen && lossy_builds_on(c, e))
                    e->chosen = more = true;
    }
    struct change **at = &d->changes;
    while (*at) {
        struct change *c = *at;
        if (c->chosen) {
            *at = c->next;
            lossy_change_make_safe(c);
            lossy_change_free(c);
        } else {
            at = &c->next;
        }
    }
    d->last = at;
}

void
lossy_sync_names_in(struct lossy_disk *d, const struct lossy_node *dir)
{
    for (struct change *c = d->changes; c; c = c->next)
        for (unsigned i = 0; i < c->n; i++)
            c->chosen |= c->slots[i].dir == dir;
    settle_chosen(d);
}

void
lossy_sync_names_of(struct lossy_disk *d, const struct lossy_node *node)
{
    for (struct change *c = d->changes; c; c = c->next)
        for (unsigned i = 0; i < c->n; i++)
            if (c->slots[i].node == node) {
                const struct lossy_node *dir = c->slots[i].dir;
                c->chosen = true;
                settle_chosen(d);
                lossy_sync_names_of(d, dir);
                lossy_sync_names_of(d, node);
                return;
            }
}

struct lossy_node *
lossy_find(const struct lossy_node *dir, const char *name)
{
    for (struct lossy_entry *e = dir->now; e; e = e->next)
        if (strcmp(e->name, name) == 0)
            return e->node;
    return NULL;
}

int
lossy_make(struct lossy_disk *d, struct lossy_node *dir, const char *name, mode_t mode,
           struct lossy_node **ret)
{
    if (lossy_find(dir, name))
        return -EEXIST;
    struct lossy_node *n = lossy_node_new(d, mode);
    change_name(change_new(d), dir, name, n);
    lossy_unref(n, 1);
    *ret = n;
    return 0;
}

/* Whether @old may go when the other thing is a directory, or is none. */
static int
may_go(const struct lossy_node *old, bool is_dir)
{
    if (S_ISDIR(old->mode) && !is_dir)
        return -EISDIR;
    if (!S_ISDIR(old->mode) && is_dir)
        return -ENOTDIR;
    return old->now ? -ENOTEMPTY : 0;
}

int
lossy_remove(struct lossy_disk *d, struct lossy_node *dir, const char *name, bool is_dir)
{
    struct lossy_node *n = lossy_find(dir, name);
    if (!n)
        return -ENOENT;
    int rc = may_go(n, is_dir);
    if (rc)
        return rc;
    change_name(change_new(d), dir, name, NULL);
    return 0;
}

int
lossy_rename(struct lossy_disk *d, struct lossy_node *dir, const char *name,
             struct lossy_node *to_dir, const char *to_name, unsigned flags)
{
    struct lossy_node *n = lossy_find(dir, name), *old = lossy_find(to_dir, to_name);
    if (flags & ~(unsigned)RENAME_NOREPLACE)
        return -EINVAL;
    if (!n)
        return -ENOENT;
    if (old && flags)
        return -EEXIST;
    int rc = old && old != n ? may_go(old, S_ISDIR(n->mode)) : 0;
    if (rc || old == n)
        return rc;
    struct change *c = change_new(d);
    change_name(c, to_dir, to_name, n);
    change_name(c, dir, name, NULL);
    return 0;
}
