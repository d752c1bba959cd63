/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tree/internal.h"

#include "base/buf.h"
#include "base/hash.h"

#include <assert.h>
#include <errno.h>
#include <malloc.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* ---- the slot table: node id -> node
 * ------------------------------------------------------------- A node id is (generation << 32 |
 * slot + 1), so the root (slot 0, generation 0) is 1. Bit 63 stays clear: virtual nodes have it
 * set. */

/* A free slot holds the generation of its next node and the number of the next free one, marked by
 * the lowest bit. (Places that were never used are not chained: nothing touches their pages.) */
static int
slots_grow_locked(struct sf_tree *t)
{
    uint32_t room = t->slots_room ? t->slots_room * 2 : 256;
    uint64_t *slots = room > t->slots_room && room < UINT32_MAX / 2
                          ? realloc(t->slots, room * sizeof *slots)
                          : NULL;
    if (!slots)
        return -ENOMEM;
    t->slots = slots;
    t->slots_room = room;
    return 0;
}

static int
slot_take_locked(struct sf_tree *t, struct node *n)
{
    uint32_t i = t->free_slot - 1;
    uint64_t gen = 0;
    if (t->free_slot) {
        gen = t->slots[i] >> 32;
        t->free_slot = (uint32_t)t->slots[i] >> 1;
    } else if (t->nslots < t->slots_room || slots_grow_locked(t) == 0) {
        i = t->nslots++;
    } else {
        return -ENOMEM;
    }
    t->slots[i] = (uintptr_t)n;
    n->nid = gen << 32 | (i + 1);
    t->nodes++;
    return 0;
}

static void
slot_free_locked(struct sf_tree *t, struct node *n)
{
    uint32_t i = (uint32_t)n->nid - 1;
    uint64_t gen = ((n->nid >> 32) + 1) & 0x7fffffff;
    t->slots[i] = gen << 32 | t->free_slot << 1 | 1;
    t->free_slot = i + 1;
    t->nodes--;
}

struct node *
node_get_locked(struct sf_tree *t, uint64_t nid)
{
    uint32_t i = (uint32_t)nid - 1;
    struct node *n = i < t->nslots ? node_at_locked(t, i) : NULL;
    return n && n->nid == nid ? n : NULL;
}

/* ---- children by name ------------------------------------------------------------------------
 * Chains through the nodes themselves: a handle of uthash would cost 56 bytes per known object. Two
 * in a chain, on the average, when the table is full. */

static struct node **
chain_of(const struct dir *d, const char *name)
{
    return &d->table[sf_htab_hash(name, strlen(name)) & (d->slots - 1)];
}

static int
table_grow(struct dir *d)
{
    uint32_t before = d->slots;
    struct node **old = d->table, **table = calloc(before ? before * 2UL : 8UL, sizeof *table);
    if (!table)
        return -ENOMEM;
    d->table = table;
    d->slots = before ? before * 2 : 8;
    for (uint32_t i = 0; i < before; i++)
        for (struct node *c = old[i], *next; c; c = next) {
            struct node **head = chain_of(d, node_name(c));
            next = c->hnext;
            c->hnext = *head;
            *head = c;
        }
    free(old);
    return 0;
}

struct node *
node_find_locked(const struct node *dir, const char *name)
{
    const struct dir *d = dir->dir;
    if (!d || !d->slots)
        return NULL;
    struct node *c = *chain_of(d, name);
    while (c && strcmp(node_name(c), name))
        c = c->hnext;
    return c;
}

static int
table_insert(struct node *dir, struct node *n)
{
    struct dir *d = dir->dir;
    if (d->count >= d->slots * 2UL && table_grow(d) < 0)
        return -ENOMEM;
    struct node **head = chain_of(d, node_name(n));
    n->hnext = *head;
    *head = n;
    d->count++;
    d->subdirs += n->dir != NULL;
    d->turnover++;
    n->parent = dir;
    return 0;
}

static void
table_remove(struct node *n)
{
    struct dir *d = n->parent->dir;
    struct node **p = chain_of(d, node_name(n));
    while (*p != n)
        p = &(*p)->hnext;
    *p = n->hnext;
    n->hnext = NULL;
    n->parent = NULL;
    d->count--;
    d->subdirs -= n->dir != NULL;
    d->turnover++;
}

/* ---- life --------------------------------------------------------------------------------------
 */

bool
node_is_dir(const struct node *n)
{
    return n->type <= N_DIR;
}

bool
node_is_within(const struct node *n, const struct node *top)
{
    while (n && n != top)
        n = n->parent;
    return n != NULL;
}

bool
dir_holds_local(const struct node *dir)
{
    if (dir->dir->renaming)
        return true;
    for (uint32_t i = 0; i < dir->dir->slots; i++)
        for (const struct node *c = dir->dir->table[i]; c; c = c->hnext)
            if (c->dir ? dir_holds_local(c) : node_is_local(c))
                return true;
    return false;
}

bool
node_is_local(const struct node *n)
{
    return n->local_only || live(n)->commits ||
           (live(n)->content &&
            (live(n)->writers || live(n)->busy || sf_content_dirty(live(n)->content)));
}

int
node_set_str(char **dst, const char *src)
{
    char *copy = NULL;
    if (src && *src && !(copy = strdup(src)))
        return -ENOMEM;
    free(*dst);
    *dst = copy;
    return 0;
}

void
bucket_free(struct bucket *b)
{
    if (!b)
        return;
    for (char **m = b->mimes; m && *m; m++)
        free(*m);
    free(b->mimes);
    free(b->id);
    free(b->prefix);
    free(b);
}

void
dir_unlist_locked(struct sf_tree *t, struct node *dir)
{
    if (dir->dir->listing)
        listing_unref_locked(t, sf_steal(dir->dir->listing));
    pages_forget_locked(dir);
}

static void
node_destroy_locked(struct sf_tree *t, struct node *n)
{
    if (n->dir) {
        struct dir *d = n->dir;
        saved_forget_locked(t, n);
        if (d->in_lru) {
            *(d->lru_prev ? &d->lru_prev->dir->lru_next : &t->lru_first) = d->lru_next;
            *(d->lru_next ? &d->lru_next->dir->lru_prev : &t->lru_last) = d->lru_prev;
        }
        dir_unlist_locked(t, n);
        pages_free(d->pages);
        bucket_free(d->bucket);
        free(d->table);
        free(d);
        t->dirs--;
    }
    ino_release_locked(t, n);
    slot_free_locked(t, n);
    node_text_free(n);
    extra_free(n->extra);
    free(n);
}

void
node_ref_locked(struct node *n)
{
    n->refs++;
}

/* Nobody outside its directory knows this node. */
static bool
node_unused(const struct node *n)
{
    return !n->nlookup && !n->refs && !live(n)->content && !live(n)->commits &&
           !(n->dir && n->dir->count) && !(n->dir && n->dir->lookups) && !(n->dir && n->dir->run);
}

/* Is it, or a directory above it, out of the tree? */
static bool
is_detached(const struct sf_tree *t, const struct node *n)
{
    while (n->parent)
        n = n->parent;
    return n != t->root;
}

/* Nobody comes to the names of a directory that is gone, but by what is in use. */
void
dir_clear_locked(struct sf_tree *t, struct node *dir)
{
    struct dir *d = dir->dir;
    node_ref_locked(dir);
    dir_unlist_locked(t, dir);
    for (uint32_t i = 0; i < d->slots; i++)
        for (struct node *c = d->table[i], *next; c; c = next) {
            next = c->hnext;
            if (c->dir && c->dir->count && !c->nlookup && !c->refs)
                dir_clear_locked(t, c);
            if (node_unused(c))
                node_detach_locked(t, c);
        }
    dir->refs--;
}

void
node_reap_locked(struct sf_tree *t, struct node *n)
{
    if (n == t->root || n->nlookup || n->refs)
        return;
    if (n->parent) {
        if (node_unused(n) && is_detached(t, n))
            node_detach_locked(t, n); /* comes back here, and for its directory */
        return;
    }
    if (n->dir && n->dir->count && !n->dir->run)
        dir_clear_locked(t, n);
    if (node_unused(n))
        node_destroy_locked(t, n);
}

void
node_unref_locked(struct sf_tree *t, struct node *n)
{
    n->refs--;
    node_reap_locked(t, n);
}

static int
dir_init(struct sf_tree *t, struct node *n)
{
    n->dir = calloc(1, sizeof *n->dir);
    if (!n->dir)
        return -ENOMEM;
    t->dirs++;
    return 0;
}

struct node *
node_new_locked(struct sf_tree *t, struct node *parent, const char *name, const char *comp,
                enum node_type type)
{
    if (comp && !strcmp(comp, name))
        comp = NULL;
    size_t room = node_room(name, comp);
    struct node *n = calloc(1, offsetof(struct node, text) + room);
    if (!n)
        return NULL;
    n->type = (uint8_t)type;
    n->room = (uint16_t)room;
    n->mode = ATTR_MODE_NONE;
    n->uid = n->gid = ATTR_ID_NONE;
    n->mtime_ns = n->ctime_ns = ATTR_TIME_NONE;
    (void)!node_set_name(n, name, comp); /* there is room */
    if (slot_take_locked(t, n) < 0) {
        free(n);
        return NULL;
    }
    if ((node_is_dir(n) && dir_init(t, n) < 0) || (parent && table_insert(parent, n) < 0)) {
        node_destroy_locked(t, n);
        return NULL;
    }
    n->ino = sf_hash64(&n->nid, sizeof n->nid) | 1;
    return n;
}

void
node_detach_locked(struct sf_tree *t, struct node *n)
{
    if (!n->parent)
        return;
    if (live(n)->open && !live(n)->content && !live(n)->old_key) {
        char *bucket, *key;
        if (node_key_locked(n, &bucket, &key) == 0) {
            size_t nb = strlen(bucket) + 1, nk = strlen(key) + 1;
            char *old = live_rw(n)->old_key = malloc(nb + nk);
            if (old) {
                memcpy(old, bucket, nb);
                memcpy(old + nb, key, nk);
            }
            free(bucket);
            free(key);
        }
    }
    struct node *parent = n->parent;
    table_remove(n);
    node_reap_locked(t, n);
    node_reap_locked(t, parent);
}

int
node_attach_locked(struct sf_tree *t, struct node *n, struct node *dir, const char *name,
                   const char *comp)
{
    node_ref_locked(n);
    if (n->parent)
        node_detach_locked(t, n);
    int rc = node_set_name(n, name, comp && strcmp(comp, name) ? comp : NULL);
    if (rc == 0) {
        if (live(n)->old_key)
            free(sf_steal(live_rw(n)->old_key));
        rc = table_insert(dir, n);
    }
    node_unref_locked(t, n);
    return rc;
}

void
node_split_locked(struct sf_tree *t, struct node *n)
{
    struct node *dir = n->parent, *fresh = NULL;
    node_ref_locked(n);
    node_detach_locked(t, n);
    if (dir)
        fresh = node_new_locked(t, dir, node_name(n), node_comp(n), N_FILE);
    if (fresh) { /* else it is asked for again */
        node_copy_version(n, fresh);
        fresh->etag_open = n->etag_open;
        fresh->size = n->size;
        node_set_format(fresh, node_format(n));
        attr_give_locked(t, n, fresh);
        fresh->listing_id = n->listing_id;
        listing_added_locked(dir, fresh);
    }
    node_unref_locked(t, n);
}

void
node_changed_locked(struct sf_tree *t, struct node *n)
{
    n->changed_seq = ++t->seq;
    saved_changed_locked(t, n);
}

void
node_absent_locked(struct sf_tree *t, struct node *dir, const char *name, int64_t checked_ns,
                   bool changed)
{
    struct node *n = node_find_locked(dir, name);
    if (n && n->type != N_ABSENT)
        return;
    /* Without memory for it the name is asked again, nothing worse. */
    if (!n && !(n = node_new_locked(t, dir, name, NULL, N_ABSENT)))
        return;
    n->checked_ns = checked_ns;
    if (changed)
        node_changed_locked(t, n);
}

/* ---- keys ------------------------------------------------------------------------------------ */

struct bucket *
node_bucket_locked(const struct node *n)
{
    while (n && n->type != N_BUCKET)
        n = n->parent;
    return n ? n->dir->bucket : NULL;
}

/* Append the directory's own key: "" or ending in '/'. 0, -ENOMEM, -ESTALE. */
static int
dir_key_append(const struct node *n, struct sf_buf *out)
{
    if (n->type == N_BUCKET)
        return sf_buf_append(out, n->dir->bucket->prefix, strlen(n->dir->bucket->prefix));
    if (n->type != N_DIR || !n->parent)
        return -ESTALE;
    int rc = dir_key_append(n->parent, out);
    const char *comp = node_comp(n);
    if (rc == 0)
        rc = sf_buf_append(out, comp, strlen(comp));
    return rc < 0 ? rc : sf_buf_append(out, "/", 1);
}

/* The parts of a key, owned by the caller. */
static int
key_parts(const struct node *dir, const char *comp, char **bucket, char **key)
{
    struct bucket *b = node_bucket_locked(dir);
    if (!b)
        return -ESTALE;
    struct sf_buf buf;
    sf_buf_init(&buf);
    int rc = dir_key_append(dir, &buf);
    if (rc == 0)
        rc = sf_buf_append(&buf, comp, strlen(comp));
    char *id = rc == 0 ? strdup(b->id) : NULL;
    if (rc == 0 && id) {
        *bucket = id;
        *key = sf_buf_steal(&buf, NULL);
        if (*key)
            return 0;
    }
    free(id);
    sf_buf_fini(&buf);
    return rc < 0 ? rc : -ENOMEM;
}

static int
old_key_parts(const struct node *n, char **bucket, char **key)
{
    char *b = strdup(live(n)->old_key),
         *k = strdup(live(n)->old_key + strlen(live(n)->old_key) + 1);
    if (!b || !k) {
        free(b);
        free(k);
        return -ENOMEM;
    }
    *bucket = b;
    *key = k;
    return 0;
}

int
node_key_locked(const struct node *n, char **bucket, char **key)
{
    if (node_is_dir(n))
        return key_parts(n, "", bucket, key);
    if (n->parent)
        return key_parts(n->parent, node_comp(n), bucket, key);
    return live(n)->old_key ? old_key_parts(n, bucket, key) : -ESTALE;
}

unsigned
node_name_flags(const struct sf_tree *t, const struct node *dir)
{
    if (dir->type == N_PROJECT)
        return SF_NAME_BUCKET;
    return dir == t->root ? SF_NAME_AT_ROOT : 0;
}

int
node_child_key_locked(const struct sf_tree *t, const struct node *dir, const char *name,
                      bool directory, char comp[SF_NAME_BUF_SIZE], char **bucket, char **key)
{
    int rc = sf_name_to_key(name, node_name_flags(t, dir), comp);
    if (rc < 0)
        return rc;
    char tail[SF_NAME_BUF_SIZE + 1];
    snprintf(tail, sizeof tail, "%s%s", comp, directory ? "/" : "");
    rc = key_parts(dir, tail, bucket, key);
    if (rc == 0 && strlen(*key) > SF_KEY_MAX) {
        free(sf_steal(*bucket));
        free(sf_steal(*key));
        return -ENAMETOOLONG;
    }
    return rc;
}

/* ---- forgetting ------------------------------------------------------------------------------ */

void
sf_tree_forget(struct sf_tree *t, uint64_t nid, uint64_t count)
{
    tree_lock(t);
    struct node *n = node_get_locked(t, nid);
    if (n && n != t->root) {
        assert(count <= n->nlookup);
        n->nlookup -= count;
        if (!n->nlookup) {
            t->looked_up--;
            if (t->evict_at && ++t->forgotten > t->opts.max_nodes / 8)
                t->evict_at = 0;
        }
        node_reap_locked(t, n);
    }
    tree_unlock(t);
}

void
node_touch_lru_locked(struct sf_tree *t, struct node *n)
{
    struct dir *d = n->dir;
    if (t->lru_last == n)
        return;
    if (d->in_lru) {
        *(d->lru_prev ? &d->lru_prev->dir->lru_next : &t->lru_first) = d->lru_next;
        *(d->lru_next ? &d->lru_next->dir->lru_prev : &t->lru_last) = d->lru_prev;
    }
    d->lru_prev = t->lru_last;
    d->lru_next = NULL;
    *(t->lru_last ? &t->lru_last->dir->lru_next : &t->lru_first) = n;
    t->lru_last = n;
    d->in_lru = true;
}

/* What was set here is known nowhere else: such a node stays. */
static bool
node_droppable(const struct node *n)
{
    const unsigned kept = SF_SET_MODE | SF_SET_UID | SF_SET_GID | SF_SET_MTIME | NODE_SET_SAID;
    return node_unused(n) && !(n->set & kept);
}

/* Drop what nobody uses of one directory's children; then it is not completely known any more. */
static void
dir_evict(struct sf_tree *t, struct node *dir)
{
    struct dir *d = dir->dir;
    bool any = false;
    if (d->run)
        return;
    if (d->listing && d->listing->refs == 1) {
        listing_unref_locked(t, sf_steal(d->listing));
        d->saved = SAVED_NOT; /* it may come back from there */
    }
    node_ref_locked(dir);
    for (uint32_t i = 0; i < d->slots; i++)
        for (struct node *c = d->table[i], *next; c; c = next) {
            next = c->hnext;
            if (!node_droppable(c))
                continue;
            if (!any)
                dir_unlist_locked(t, dir);
            any = true;
            node_detach_locked(t, c);
            d->saved = SAVED_NOT;
        }
    node_unref_locked(t, dir);
}

/* So many dropped at once leave memory between what stays that malloc keeps for itself: some MiB,
 * worth the milliseconds that it takes to look for it. */
#define TRIM_NODES 20000

static void
evict_run(struct action *a)
{
    struct sf_tree *t = (struct sf_tree *)((char *)a - offsetof(struct sf_tree, evict));
    uint64_t target = t->opts.max_nodes - t->opts.max_nodes / 8;
    tree_lock(t);
    uint64_t before = t->nodes;
    t->evicting = false;
    /* Each goes to the end of the list, so that one round sees all of them once. */
    for (uint64_t left = t->dirs; t->lru_first && left && t->nodes > target; left--) {
        struct node *dir = t->lru_first;
        node_touch_lru_locked(t, dir);
        dir_evict(t, dir);
    }
    /* What is in use stays; looking through all of it at every answer would help nobody. */
    t->evict_at = t->nodes > target ? t->nodes + t->opts.max_nodes / 8 : 0;
    t->forgotten = 0;
    bool many = before - t->nodes >= TRIM_NODES;
    tree_unlock(t);
    if (many)
        malloc_trim(0);
}

/* Queued behind those who wait for an answer, so that they see it before it is dropped. */
void
node_evict_locked(struct sf_tree *t)
{
    if (t->nodes <= t->opts.max_nodes || t->nodes < t->evict_at || t->evicting)
        return;
    t->evicting = true;
    tree_queue_locked(t, &t->evict, evict_run);
}

void
node_free_all(struct sf_tree *t)
{
    for (uint32_t i = 0; i < t->nslots; i++) {
        struct node *n = node_at_locked(t, i);
        if (!n)
            continue;
        if (live(n)->content)
            sf_content_unref(content_take_locked(n));
        if (n->dir)
            n->dir->in_lru = false;
    }
    /* Listings hold references to nodes: first let go of all of them. */
    for (uint32_t i = 0; i < t->nslots; i++) {
        struct node *n = node_at_locked(t, i);
        if (n && n->dir && n->dir->listing) {
            struct listing *l = sf_steal(n->dir->listing);
            free(sf_steal(l->entries));
            l->n = 0;
            listing_unref_locked(t, l);
        }
    }
    for (uint32_t i = 0; i < t->nslots; i++)
        if (node_at_locked(t, i))
            node_destroy_locked(t, node_at_locked(t, i));
    free(t->slots);
    free(t->inos);
}
