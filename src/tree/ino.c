/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tree/internal.h"

#include "base/hash.h"
#include "base/htab.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/*
 * Inode numbers that lie in marks. A foreign copy of an object carries its mark along: then two
 * objects have one number, and the table tells who had it first. Open addressing over slot numbers
 * of nodes, at most three quarters full: some 8 bytes per node that has one.
 */

static struct node *
at(const struct sf_tree *t, uint32_t number)
{
    return node_at_locked(t, number - 1);
}

static uint32_t
home(const struct sf_tree *t, uint64_t ino)
{
    return (uint32_t)sf_htab_hash(&ino, sizeof ino) & (t->ino_room - 1);
}

/* The place of a number, or the free one where it would be. */
static uint32_t
place(const struct sf_tree *t, uint64_t ino)
{
    uint32_t i = home(t, ino);
    while (t->inos[i] && at(t, t->inos[i])->ino != ino)
        i = (i + 1) & (t->ino_room - 1);
    return i;
}

static bool
grow(struct sf_tree *t)
{
    uint32_t room = t->ino_room ? t->ino_room * 2 : 64, before = t->ino_room;
    uint32_t *old = t->inos, *inos = calloc(room, sizeof *inos);
    if (!inos)
        return false;
    t->inos = inos;
    t->ino_room = room;
    for (uint32_t i = 0; i < before; i++)
        if (old[i])
            inos[place(t, at(t, old[i])->ino)] = old[i];
    free(old);
    return true;
}

void
ino_of_dir_locked(struct node *n)
{
    char *bucket, *key, *both;
    if (n->own_ino || node_key_locked(n, &bucket, &key) < 0) /* what is in the table stays */
        return;
    if (asprintf(&both, "%s/%s", bucket, key) > 0) {
        n->ino = sf_hash64(both, strlen(both)) | 1;
        free(both);
    }
    free(bucket);
    free(key);
}

uint64_t
ino_choose_locked(struct sf_tree *t)
{
    uint64_t ino;
    do {
        const uint64_t from[2] = {t->ino_seed, ++t->ino_next};
        ino = sf_hash64(from, sizeof from);
    } while (ino <= SF_TREE_ROOT || (t->ino_room && t->inos[place(t, ino)]));
    return ino;
}

void
ino_claim_locked(struct sf_tree *t, struct node *n, uint64_t ino)
{
    if (ino <= SF_TREE_ROOT || n->own_ino)
        return;
    if (t->ino_count >= t->ino_room / 4 * 3 && !grow(t))
        return;
    uint32_t i = place(t, ino);
    if (t->inos[i]) {
        struct node *other = at(t, t->inos[i]);
        if (other->parent)
            return;
        other->own_ino = false; /* only handles know it: the name's new node goes on with it */
        t->ino_count--;
    }
    t->inos[i] = (uint32_t)n->nid;
    t->ino_count++;
    n->ino = ino;
    n->own_ino = true;
}

void
ino_release_locked(struct sf_tree *t, struct node *n)
{
    if (!n->own_ino)
        return;
    n->own_ino = false;
    uint32_t mask = t->ino_room - 1, hole = place(t, n->ino);
    t->ino_count--;
    /* Who stands behind and is not at home yet moves up. */
    for (uint32_t i = (hole + 1) & mask; t->inos[i]; i = (i + 1) & mask) {
        uint32_t from = home(t, at(t, t->inos[i])->ino);
        if (((i - from) & mask) < ((i - hole) & mask))
            continue;
        t->inos[hole] = t->inos[i];
        hole = i;
    }
    t->inos[hole] = 0;
}
