/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "lossy-internal.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/xattr.h>
#include <time.h>
#include <unistd.h>

/* One of so many pages that are written again had reached the disk before. */
#define FLUSHED 8

/* ---- small things -----------------------------------------------------------------------------
 */

void *
lossy_checked(void *p)
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

struct timespec
lossy_clock(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_REALTIME, &ts);
    return ts;
}

struct lossy_node *
lossy_node_new(struct lossy_disk *d, mode_t mode)
{
    struct lossy_node *n = lossy_checked(calloc(1, sizeof *n));
    n->refs = 1;
    n->ino = d->next_ino++;
    n->mode = mode;
    n->atime = n->mtime = n->ctime = lossy_clock();
    return n;
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
        n->pages = lossy_checked(realloc(n->pages, count * sizeof *n->pages));
        memset(n->pages + n->n_pages, 0, (count - n->n_pages) * sizeof *n->pages);
        n->n_pages = count;
    }
    struct lossy_page *p = &n->pages[index];
    if (p->now != p->safe && next_random(d) % FLUSHED == 0)
        page_settle(p);
    if (!p->now) {
        p->now = lossy_checked(calloc(1, LOSSY_PAGE));
    } else if (p->now == p->safe) {
        p->now = lossy_checked(malloc(LOSSY_PAGE));
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
    n->mtime = n->ctime = lossy_clock();
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
    n->mtime = n->ctime = lossy_clock();
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
        x->now = lossy_checked(malloc(len + 1));
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
        x = lossy_checked(calloc(1, sizeof *x));
        x->name = lossy_checked(strdup(name));
        x->next = n->xattrs;
        n->xattrs = x;
    }
    xattr_set_now(x, value, len);
    n->ctime = lossy_clock();
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
    lossy_entries_free(&n->now);
    lossy_entries_free(&n->safe);
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
    struct lossy_disk *d = lossy_checked(calloc(1, sizeof *d));
    d->random = seed;
    d->lenient = lenient;
    d->next_ino = 1;
    d->last = &d->changes;
    d->root = lossy_node_new(d, S_IFDIR | 0755);
    d->root->names = 1;
    return d;
}

static void
changes_free(struct lossy_disk *d)
{
    while (d->changes) {
        struct change *c = d->changes;
        d->changes = c->next;
        lossy_change_free(c);
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
        lossy_sync_names_in(d, n);
    lossy_sync_range(n, 0, n->n_pages * LOSSY_PAGE);
    for (struct lossy_xattr *x = n->xattrs; x && !data_only; x = x->next)
        xattr_settle(x);
    if (d->lenient)
        lossy_sync_names_of(d, n);
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
            c->chosen = e->chosen && lossy_builds_on(c, e);
        if (!c->chosen)
            lossy_change_make_safe(c);
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
    struct lossy_node *n = lossy_node_new(d, old->mode);
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
        lossy_entry_put(&n->now, e->name, child);
        lossy_entry_put(&n->safe, e->name, child);
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
    lossy_entries_free(&old->now);
    lossy_entries_free(&old->safe);
    old->names = 0;
    lossy_unref(old, 1);
}
