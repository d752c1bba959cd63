/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tree/xattr.h"

#include "base/str.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

/* user.supafs.*: what the mount tells of a file. One table says all of each name. */

/* Which state are the bytes and attributes in? */
static int
get_sync(struct xattr_op *op)
{
    struct sf_tree *t = op->tree;
    const struct node *n = op->node;
    char text[400] = "clean";
    tree_lock(t);
    struct sf_content *c = live(n)->content ? sf_content_ref(live(n)->content) : NULL;
    tree_unlock(t);
    if (c) {
        sf_content_sync_state(c, text, sizeof text);
        sf_content_unref(c);
    }
    tree_lock(t);
    if (!strcmp(text, "clean") && live(n)->failure)
        snprintf(text, sizeof text, "failed: %s", live(n)->failure->msg);
    else if (!strcmp(text, "clean") && n->extra && n->extra->writing)
        snprintf(text, sizeof text, "pending");
    tree_unlock(t);
    return sf_buf_puts(&op->out, text);
}

/* How much of a file is on this machine, in the cache or staged? */
static int
get_cached(struct xattr_op *op)
{
    struct sf_tree *t = op->tree;
    struct node *n = op->node;
    tree_lock(t);
    bool file = n->type == N_FILE;
    uint64_t size = n->size;
    struct sf_content *c = live(n)->content ? sf_content_ref(live(n)->content) : NULL;
    tree_unlock(t);
    bool staged = c && !sf_content_lacks(c);
    if (c)
        sf_content_unref(c);
    if (!file)
        return -ENODATA;
    struct sf_cached *cached = staged || !size ? NULL : cached_of_node(t, n);
    uint64_t here = staged || !size ? size : cached ? sf_cached_here(cached) : 0;
    sf_cached_unref(cached);
    if (here >= size)
        return sf_buf_puts(&op->out, "100 %");
    return sf_buf_printf(&op->out, "%.0f %%", (double)here / (double)size * 100 - 0.5);
}

static int
get_error(struct xattr_op *op)
{
    struct sf_tree *t = op->tree;
    const struct node *n = op->node;
    char text[sizeof live(n)->failure->msg] = "";
    tree_lock(t);
    if (live(n)->failure)
        snprintf(text, sizeof text, "%s", live(n)->failure->msg);
    tree_unlock(t);
    return text[0] ? sf_buf_puts(&op->out, text) : -ENODATA;
}

static const struct xattr_ours table[] = {
    {"id", XATTR_IDENTITY, NULL, NULL, NULL},
    {"version", XATTR_IDENTITY, NULL, NULL, NULL},
    {"etag", XATTR_IDENTITY, NULL, NULL, NULL},
    {"sha256", XATTR_IDENTITY, NULL, NULL, NULL},
    {"bucket", XATTR_IDENTITY, NULL, NULL, NULL},
    {"key", XATTR_IDENTITY, NULL, NULL, NULL},
    {"sync", XATTR_STATE, get_sync, NULL, NULL},
    {"cached", XATTR_STATE, get_cached, NULL, NULL},
    {"error", XATTR_STATE, get_error, NULL, NULL},
    {"access_count", XATTR_STATE, NULL, NULL, NULL},
    {"last_accessed", XATTR_STATE, NULL, NULL, NULL},
    {"public_url", XATTR_LINK, NULL, NULL, NULL},
    {"signed_url", XATTR_LINK, NULL, NULL, NULL},
    {"signed_url.", XATTR_LINK, NULL, NULL, NULL},
    {"content_type", XATTR_SETTABLE, NULL, NULL, NULL},
    {"cache_control", XATTR_SETTABLE, NULL, NULL, NULL},
    {"tags", XATTR_SETTABLE, NULL, NULL, NULL},
};

#define ROWS (sizeof table / sizeof *table)

static bool
row_is(const struct xattr_ours *o, const char *what)
{
    size_t len = strlen(o->name);
    return o->name[len - 1] == '.' ? sf_str_starts(what, o->name) : !strcmp(what, o->name);
}

const struct xattr_ours *
xattr_ours_find(const char *name)
{
    const char *what = name + strlen(XATTR_OURS);
    for (size_t i = 0; i < ROWS; i++)
        if (row_is(&table[i], what))
            return &table[i];
    return NULL;
}

int
xattr_ours_go(struct xattr_op *op)
{
    const struct xattr_ours *o = op->ours;
    if (op->what == XATTR_GET)
        return o->get ? o->get(op) : -ENODATA;
    if (o->kind != XATTR_SETTABLE)
        return 0;
    if (o->set)
        return o->set(op);
    return op->remove ? -ENODATA : -EOPNOTSUPP;
}

int
xattr_ours_list_locked(const struct sf_tree *t, const struct node *n, struct sf_buf *out)
{
    int rc = 0;
    for (size_t i = 0; !rc && i < ROWS; i++)
        if (table[i].listed && table[i].listed(t, n)) {
            rc = sf_buf_puts(out, XATTR_OURS);
            if (!rc)
                rc = sf_buf_append(out, table[i].name, strlen(table[i].name) + 1);
        }
    return rc;
}
