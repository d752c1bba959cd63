/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "lossy-disk.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/xattr.h>
#include <time.h>
#include <unistd.h>

/* One of so many pages that are written again had reached the disk before. */
#define FLUSHED 8

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

/* ---- small things -----------------------------------------------------------------------------
 */

static void *
checked(void *p)
{
    if (!p) {
        fputs("lossyfs: no memory\n", stderr);
        abort();
    }
    return p;
}

/* splitmix64 */
static uint64_t
next_random(struct lossy_disk *d)
{
    uint64_t z = d->random += 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

/* True @percent times of a hundred. */
static bool
chance(struct lossy_disk *d, unsigned percent)
{
    return next_random(d) % 100 < percent;
}

static struct timespec
now(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_REALTIME, &ts);
    return ts;
}

static struct lossy_node *
node_new(struct lossy_disk *d, mode_t mode)
{
    struct lossy_node *n = checked(calloc(1, sizeof *n));
    n->refs = 1;
    n->ino = d->next_ino++;
    n->mode = mode;
    n->atime = n->mtime = n->ctime = now();
    return n;
}

/* ---- names ------------------------------------------------------------------------------------
 */

static struct lossy_entry **
entry_at(struct lossy_entry **list, const char *name)
{
    while (*list && strcmp((*list)->name, name) != 0)
        list = &(*list)->next;
    return list;
}

/* What a name of a directory's table stands for; NULL = nothing. */
static void
entry_put(struct lossy_entry **list, const char *name, struct lossy_node *node)
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
        e = checked(calloc(1, sizeof *e + len));
        memcpy(e->name, name, len);
        e->node = node;
        *at = e;
    }
}

static void
entries_free(struct lossy_entry **list)
{
    while (*list)
        entry_put(list, (*list)->name, NULL);
}

static void
change_free(struct change *c)
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
    struct change *c = checked(calloc(1, sizeof *c));
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
        node->ctime = now();
    }
    if (old)
        old->names--;
    *s = (struct slot){.dir = dir, .node = node, .name = checked(strdup(name))};
    entry_put(&dir->now, name, node);
    dir->mtime = dir->ctime = now();
}

/* Whether one of the two could not have happened without the other. */
static bool
builds_on(const struct change *c, const struct change *earlier)
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

static void
change_make_safe(struct change *c)
{
    for (unsigned i = 0; i < c->n; i++)
        entry_put(&c->slots[i].dir->safe, c->slots[i].name, c->slots[i].node);
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
                if (!e->chosen && builds_on(c, e))
                    e->chosen = more = true;
    }
    struct change **at = &d->changes;
    while (*at) {
        struct change *c = *at;
        if (c->chosen) {
            *at = c->next;
            change_make_safe(c);
            change_free(c);
        } else {
            at = &c->next;
        }
    }
    d->last = at;
}

static void
sync_names_in(struct lossy_disk *d, const struct lossy_node *dir)
{
    for (struct change *c = d->changes; c; c = c->next)
        for (unsigned i = 0; i < c->n; i++)
            c->chosen |= c->slots[i].dir == dir;
    settle_chosen(d);
}

/* The node's own name, and those of the directories above it. */
static void
sync_names_of(struct lossy_disk *d, const struct lossy_node *node)
{
    for (struct change *c = d->changes; c; c = c->next)
        for (unsigned i = 0; i < c->n; i++)
            if (c->slots[i].node == node) {
                const struct lossy_node *dir = c->slots[i].dir;
                c->chosen = true;
                settle_chosen(d);
                sync_names_of(d, dir);
                sync_names_of(d, node);
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
    struct lossy_node *n = node_new(d, mode);
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

/* ---- bytes ------------------------------------------------------------------------------------
 */

static void
page_settle(struct lossy_page *p)
{
    if (p->safe != p->now)
        free(p->safe);
    p->safe = p->now;
}

static void
page_fini(struct lossy_page *p)
{
    if (p->safe != p->now)
        free(p->safe);
    free(p->now);
}

/* The page's bytes, ready to be changed. */
static unsigned char *
page_open(struct lossy_disk *d, struct lossy_node *n, uint64_t index)
{
    if (index >= n->n_pages) {
        size_t count = index + 1 > 2 * n->n_pages ? index + 1 : 2 * n->n_pages;
        n->pages = checked(realloc(n->pages, count * sizeof *n->pages));
        memset(n->pages + n->n_pages, 0, (count - n->n_pages) * sizeof *n->pages);
        n->n_pages = count;
    }
    struct lossy_page *p = &n->pages[index];
    if (p->now != p->safe && next_random(d) % FLUSHED == 0)
        page_settle(p);
    if (!p->now) {
        p->now = checked(calloc(1, LOSSY_PAGE));
    } else if (p->now == p->safe) {
        p->now = checked(malloc(LOSSY_PAGE));
        memcpy(p->now, p->safe, LOSSY_PAGE);
    }
    return p->now;
}

size_t
lossy_read(const struct lossy_node *n, void *buf, size_t len, uint64_t off)
{
    if (off >= n->size)
        return 0;
    if (len > n->size - off)
        len = (size_t)(n->size - off);
    for (size_t done = 0; done < len;) {
        uint64_t at = off + done, index = at / LOSSY_PAGE;
        size_t in = at % LOSSY_PAGE, some = LOSSY_PAGE - in;
        some = some < len - done ? some : len - done;
        const unsigned char *page = index < n->n_pages ? n->pages[index].now : NULL;
        if (page)
            memcpy((char *)buf + done, page + in, some);
        else
            memset((char *)buf + done, 0, some);
        done += some;
    }
    return len;
}

/* @buf NULL: zeros, and no page is made for them. */
static void
change_bytes(struct lossy_disk *d, struct lossy_node *n, const void *buf, uint64_t len,
             uint64_t off)
{
    for (uint64_t done = 0; done < len;) {
        uint64_t at = off + done, index = at / LOSSY_PAGE;
        size_t in = at % LOSSY_PAGE, some = LOSSY_PAGE - in;
        some = some < len - done ? some : (size_t)(len - done);
        if (buf) {
            memcpy(page_open(d, n, index) + in, (const char *)buf + done, some);
        } else if (index >= n->n_pages) {
            break;
        } else if (n->pages[index].now && some == LOSSY_PAGE) {
            if (n->pages[index].now != n->pages[index].safe)
                free(n->pages[index].now);
            n->pages[index].now = NULL;
        } else if (n->pages[index].now) {
            memset(page_open(d, n, index) + in, 0, some);
        }
        done += some;
    }
    n->mtime = n->ctime = now();
}

void
lossy_write(struct lossy_disk *d, struct lossy_node *n, const void *buf, size_t len, uint64_t off)
{
    change_bytes(d, n, buf, len, off);
    if (len && off + len > n->size)
        n->size = off + len;
}

static void
zero_from(struct lossy_disk *d, struct lossy_node *n, uint64_t off)
{
    uint64_t end = n->n_pages * LOSSY_PAGE;
    if (off < end)
        change_bytes(d, n, NULL, end - off, off);
}

void
lossy_resize(struct lossy_disk *d, struct lossy_node *n, uint64_t size)
{
    zero_from(d, n, size);
    n->size = size;
    n->mtime = n->ctime = now();
}

void
lossy_zero(struct lossy_disk *d, struct lossy_node *n, uint64_t off, uint64_t len)
{
    change_bytes(d, n, NULL, len, off);
}

int64_t
lossy_seek(const struct lossy_node *n, uint64_t off, int whence)
{
    if (off >= n->size)
        return -ENXIO;
    for (; off < n->size; off = (off / LOSSY_PAGE + 1) * LOSSY_PAGE) {
        uint64_t index = off / LOSSY_PAGE;
        bool data = index < n->n_pages && n->pages[index].now;
        if (data == (whence == SEEK_DATA))
            return (int64_t)off;
    }
    return whence == SEEK_DATA ? -ENXIO : (int64_t)n->size;
}

uint64_t
lossy_bytes(const struct lossy_node *n)
{
    uint64_t bytes = 0;
    for (size_t i = 0; i < n->n_pages; i++)
        bytes += n->pages[i].now ? LOSSY_PAGE : 0;
    return bytes;
}

/* ---- extended attributes ----------------------------------------------------------------------
 */

const struct lossy_xattr *
lossy_xattr(const struct lossy_node *n, const char *name)
{
    for (const struct lossy_xattr *x = n->xattrs; x; x = x->next)
        if (x->now && strcmp(x->name, name) == 0)
            return x;
    return NULL;
}

static void
xattr_set_now(struct lossy_xattr *x, const void *value, size_t len)
{
    if (x->now != x->safe)
        free(x->now);
    x->now = NULL;
    if (value) {
        x->now = checked(malloc(len + 1));
        memcpy(x->now, value, len);
    }
    x->now_len = value ? len : 0;
}

static void
xattr_settle(struct lossy_xattr *x)
{
    if (x->safe != x->now)
        free(x->safe);
    x->safe = x->now;
    x->safe_len = x->now_len;
}

int
lossy_set_xattr(struct lossy_node *n, const char *name, const void *value, size_t len, int flags)
{
    struct lossy_xattr *x = n->xattrs;
    while (x && strcmp(x->name, name) != 0)
        x = x->next;
    bool there = x && x->now;
    if (there && (flags & XATTR_CREATE))
        return -EEXIST;
    if (!there && (!value || (flags & XATTR_REPLACE)))
        return -ENODATA;
    if (!x) {
        x = checked(calloc(1, sizeof *x));
        x->name = checked(strdup(name));
        x->next = n->xattrs;
        n->xattrs = x;
    }
    xattr_set_now(x, value, len);
    n->ctime = now();
    return 0;
}

/* ---- life and death ---------------------------------------------------------------------------
 */

void
lossy_ref(struct lossy_node *n)
{
    n->refs++;
}

void
lossy_unref(struct lossy_node *n, uint64_t count)
{
    n->refs -= count;
    if (n->refs)
        return;
    entries_free(&n->now);
    entries_free(&n->safe);
    for (size_t i = 0; i < n->n_pages; i++)
        page_fini(&n->pages[i]);
    free(n->pages);
    while (n->xattrs) {
        struct lossy_xattr *x = n->xattrs;
        n->xattrs = x->next;
        xattr_settle(x);
        free(x->now);
        free(x->name);
        free(x);
    }
    free(n);
}

struct lossy_disk *
lossy_new(uint64_t seed, bool lenient)
{
    struct lossy_disk *d = checked(calloc(1, sizeof *d));
    d->random = seed;
    d->lenient = lenient;
    d->next_ino = 1;
    d->last = &d->changes;
    d->root = node_new(d, S_IFDIR | 0755);
    d->root->names = 1;
    return d;
}

static void
changes_free(struct lossy_disk *d)
{
    while (d->changes) {
        struct change *c = d->changes;
        d->changes = c->next;
        change_free(c);
    }
    d->last = &d->changes;
}

void
lossy_free(struct lossy_disk *d)
{
    changes_free(d);
    lossy_unref(d->root, 1);
    free(d);
}

struct lossy_node *
lossy_root(struct lossy_disk *d)
{
    return d->root;
}

const struct lossy_report *
lossy_report(const struct lossy_disk *d)
{
    return &d->report;
}

/* ---- what is safe -----------------------------------------------------------------------------
 */

void
lossy_sync_range(struct lossy_node *n, uint64_t off, uint64_t len)
{
    for (uint64_t i = off / LOSSY_PAGE; i < n->n_pages && i * LOSSY_PAGE < off + len; i++)
        page_settle(&n->pages[i]);
    n->safe_size = n->size;
}

void
lossy_sync(struct lossy_disk *d, struct lossy_node *n, bool data_only)
{
    if (S_ISDIR(n->mode))
        sync_names_in(d, n);
    lossy_sync_range(n, 0, n->n_pages * LOSSY_PAGE);
    for (struct lossy_xattr *x = n->xattrs; x && !data_only; x = x->next)
        xattr_settle(x);
    if (d->lenient)
        sync_names_of(d, n);
}

/* How much of what is not safe reached the disk, in percent: often nothing, sometimes all. */
static unsigned
luck(struct lossy_disk *d)
{
    static const unsigned percent[] = {0, 0, 10, 50, 90, 100};
    if (d->percent >= 0)
        return (unsigned)d->percent;
    return percent[next_random(d) % (sizeof percent / sizeof *percent)];
}

static void
lose_names(struct lossy_disk *d)
{
    unsigned percent = luck(d);
    for (struct change *c = d->changes; c; c = c->next) {
        c->chosen = !chance(d, percent); /* to be dropped */
        for (struct change *e = d->changes; e != c && !c->chosen; e = e->next)
            c->chosen = e->chosen && builds_on(c, e);
        if (!c->chosen)
            change_make_safe(c);
        *(c->chosen ? &d->report.names_dropped : &d->report.names_kept) += 1;
    }
    changes_free(d);
}

static void
lose_page(struct lossy_disk *d, struct lossy_page *p, unsigned percent)
{
    static const unsigned char zeros[LOSSY_PAGE];
    if (!chance(d, percent)) {
        free(p->now);
        p->now = p->safe;
        d->report.pages_dropped++;
    } else if (p->now && chance(d, 25)) {
        for (unsigned at = 0; at < LOSSY_PAGE; at += LOSSY_SECTOR)
            if (chance(d, 50))
                memcpy(p->now + at, (p->safe ? p->safe : zeros) + at, LOSSY_SECTOR);
        page_settle(p);
        d->report.pages_torn++;
    } else {
        page_settle(p);
        d->report.pages_kept++;
    }
}

static void
lose_bytes(struct lossy_disk *d, struct lossy_node *n)
{
    unsigned percent = luck(d);
    for (size_t i = 0; i < n->n_pages; i++)
        if (n->pages[i].now != n->pages[i].safe)
            lose_page(d, &n->pages[i], percent);
    if (n->size != n->safe_size && !chance(d, percent))
        n->size = n->safe_size;
    zero_from(d, n, n->size); /* a page of a longer one may be back */
    lossy_sync_range(n, 0, n->n_pages * LOSSY_PAGE);
    for (struct lossy_xattr *x = n->xattrs; x; x = x->next) {
        if (x->now == x->safe)
            continue;
        bool kept = chance(d, percent);
        if (!kept) {
            free(x->now);
            x->now = x->safe;
            x->now_len = x->safe_len;
        }
        xattr_settle(x);
        *(kept ? &d->report.xattrs_kept : &d->report.xattrs_dropped) += 1;
    }
}

/* What is left of a file or directory and all below, in new nodes: the kernel may know the old
 * ones, with other bytes. */
static struct lossy_node *
rebuild(struct lossy_disk *d, struct lossy_node *old)
{
    struct lossy_node *n = node_new(d, old->mode);
    lose_bytes(d, old);
    n->uid = old->uid;
    n->gid = old->gid;
    n->atime = old->atime;
    n->mtime = old->mtime;
    n->ctime = old->ctime;
    n->names = 1;
    n->size = n->safe_size = old->size;
    n->pages = old->pages;
    n->n_pages = old->n_pages;
    n->xattrs = old->xattrs;
    old->pages = NULL;
    old->n_pages = 0;
    old->xattrs = NULL;
    for (struct lossy_entry *e = old->safe; e; e = e->next) {
        struct lossy_node *child = rebuild(d, e->node);
        entry_put(&n->now, e->name, child);
        entry_put(&n->safe, e->name, child);
        lossy_unref(child, 1);
    }
    return n;
}

void
lossy_lose(struct lossy_disk *d, uint64_t seed, int percent)
{
    d->random = seed;
    d->percent = percent;
    d->report.losses++;
    lose_names(d);
    struct lossy_node *old = d->root;
    d->root = rebuild(d, old);
    entries_free(&old->now);
    entries_free(&old->safe);
    old->names = 0;
    lossy_unref(old, 1);
}
