/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "virtual/virtual.h"

#include "base/clock.h"
#include "tree/names.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define DIR_NODE  (UINT64_C(1) << 63)
#define MAX_FILES 16
#define TTL_MS    1000

struct file {
    const char *name;
    sf_virtual_text_fn text; /* or */
    sf_talk_start_fn start;  /* or */
    uint64_t dir;            /* somebody else's node */
    void *arg;
};

struct sf_virtual {
    uid_t uid;
    gid_t gid;
    int64_t born_ns;
    size_t n;
    struct file files[MAX_FILES]; /* node id: DIR_NODE + 1 + index */
};

int
sf_virtual_new(uid_t uid, gid_t gid, struct sf_virtual **ret)
{
    struct sf_virtual *v = calloc(1, sizeof *v);
    if (!v)
        return -ENOMEM;
    v->uid = uid;
    v->gid = gid;
    v->born_ns = sf_wall_ns();
    *ret = v;
    return 0;
}

void
sf_virtual_free(struct sf_virtual *v)
{
    free(v);
}

static int
add(struct sf_virtual *v, struct file file)
{
    if (v->n == MAX_FILES)
        return -ENOSPC;
    v->files[v->n++] = file;
    return 0;
}

int
sf_virtual_add(struct sf_virtual *v, const char *name, sf_virtual_text_fn text, void *arg)
{
    return add(v, (struct file){.name = name, .text = text, .arg = arg});
}

int
sf_virtual_add_talk(struct sf_virtual *v, const char *name, sf_talk_start_fn start, void *arg)
{
    return add(v, (struct file){.name = name, .start = start, .arg = arg});
}

int
sf_virtual_add_dir(struct sf_virtual *v, const char *name, uint64_t node)
{
    return add(v, (struct file){.name = name, .dir = node});
}

bool
sf_virtual_claims(uint64_t parent, const char *name)
{
    return sf_virtual_owns(parent) || (parent == SF_TREE_ROOT && !strcmp(name, SF_CONTROL_DIR));
}

static const struct file *
file_of(const struct sf_virtual *v, uint64_t node)
{
    uint64_t i = node - DIR_NODE - 1;
    return node > DIR_NODE && i < v->n ? &v->files[i] : NULL;
}

int
sf_virtual_getattr(struct sf_virtual *v, uint64_t node, struct sf_attr *out)
{
    const struct file *f = file_of(v, node);
    bool dir = node == DIR_NODE || (f && f->dir);
    if (!dir && !f)
        return -ENOENT;
    *out = (struct sf_attr){
        .ino = f && f->dir ? f->dir : node,
        .mode = dir ? S_IFDIR | 0500 : S_IFREG | (f->start ? 0600 : 0400),
        .uid = v->uid,
        .gid = v->gid,
        .nlink = 1,
        .atime_ns = v->born_ns,
        .mtime_ns = v->born_ns,
        .ctime_ns = v->born_ns,
    };
    return 0;
}

static int
entry_of(struct sf_virtual *v, uint64_t node, struct sf_tree_entry *out)
{
    const struct file *f = file_of(v, node);
    *out = (struct sf_tree_entry){.node = f && f->dir ? f->dir : node, .ttl_ms = TTL_MS};
    return sf_virtual_getattr(v, node, &out->attr);
}

int
sf_virtual_lookup(struct sf_virtual *v, uint64_t parent, const char *name,
                  struct sf_tree_entry *out)
{
    uint64_t node = 0;
    if (parent == SF_TREE_ROOT && !strcmp(name, SF_CONTROL_DIR))
        node = DIR_NODE;
    for (size_t i = 0; parent == DIR_NODE && i < v->n; i++)
        if (!strcmp(v->files[i].name, name))
            node = DIR_NODE + 1 + i;
    return node ? entry_of(v, node, out) : -ENOENT;
}

int
sf_virtual_dirent(struct sf_virtual *v, uint64_t node, uint64_t off, struct sf_dirent *out)
{
    if (node != DIR_NODE || off >= v->n + 2)
        return 0;
    *out = (struct sf_dirent){.type = S_IFDIR, .ino = DIR_NODE, .next = off + 1};
    if (off < 2) {
        out->name = off ? ".." : ".";
        out->ino = off ? SF_TREE_ROOT : DIR_NODE;
        return 1;
    }
    out->name = v->files[off - 2].name;
    (void)entry_of(v, DIR_NODE + off - 1, &out->entry);
    out->type = out->entry.attr.mode & S_IFMT;
    out->ino = out->entry.attr.ino;
    return 1;
}

int
sf_virtual_read(struct sf_virtual *v, uint64_t node, struct sf_buf *out)
{
    const struct file *f = file_of(v, node);
    if (!f)
        return node == DIR_NODE ? -EISDIR : -ENOENT;
    return f->text ? f->text(f->arg, out) : f->dir ? -EISDIR : -EINVAL;
}

bool
sf_virtual_talks(const struct sf_virtual *v, uint64_t node)
{
    const struct file *f = file_of(v, node);
    return f && f->start;
}

struct sf_talk *
sf_virtual_talk(const struct sf_virtual *v, uint64_t node)
{
    const struct file *f = file_of(v, node);
    return sf_talk_new(f->start, f->arg);
}
