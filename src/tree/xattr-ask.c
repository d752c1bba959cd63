/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tree/xattr.h"

#include "base/clock.h"
#include "tables/tables.h"
#include "write/meta.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/*
 * What a node does not know of its object and somebody asks for: one info tells all of it. Where
 * the project has tables, who goes through a directory gets it from a row of theirs, of which one
 * question brings 1,000.
 */

static void
take_locked(struct node *n, const struct sf_meta *m)
{
    char *all = NULL;
    if (!extra_of(n) || sf_xattrs_merge(m->xattrs, n->extra->changes, false, &all))
        return; /* asked for again */
    free(n->extra->xattrs);
    n->extra->xattrs = all;
    n->extra->xattrs_known = true;
}

/* ---- beyond the row ---------------------------------------------------------------------------
 */

void
xattr_told_forget_locked(struct node *n)
{
    if (n->extra)
        free(sf_steal(n->extra->told));
}

const struct told *
xattr_told_locked(const struct xattr_op *op)
{
    const struct node *n = op->node;
    const struct told *told = n->extra ? n->extra->told : NULL;
    if (!told || told->attrs != n->attrs || told->version_count != n->version || node_is_local(n) ||
        !fresh_locked(op->tree, told->asked_ns, op->began_ns))
        return NULL;
    return told;
}

/* @info: of what has the name now. If that is what the node stands for, it is known from here on.
 */
static void
tell_locked(const struct xattr_op *op, const struct sf_object_info *info, const struct sf_meta *m)
{
    struct sf_tree *t = op->tree;
    struct node *n = op->node;
    struct sf_version is, have;
    sf_version_of_info(info, &is);
    node_version_of(n, !n->etag_open, &have);
    if (n->type != N_FILE || node_is_local(n))
        return;
    if (!sf_version_same(&is, &have)) {
        n->checked_ns = 0; /* another's: the next look tells */
        return;
    }
    struct told *told = extra_of(n) ? calloc(1, sizeof *told) : NULL;
    if (!told)
        return;
    *told = (struct told){.asked_ns = op->asked_ns, .attrs = n->attrs, .version_count = n->version};
    snprintf(told->version, sizeof told->version, "%s", is.version);
    snprintf(told->sha256, sizeof told->sha256, "%s", m->sha256);
    free(n->extra->told);
    n->extra->told = told;
    if (n->etag_open && is.etag[0] && !node_set_etag(n, is.etag))
        n->etag_open = false;
    struct sf_mark mark = {.valid = 0};
    sf_autofree char *bucket = NULL, *key = NULL;
    if (!t->opts.plain)
        (void)sf_mark_parse(info->cache_control, &mark);
    if (node_key_locked(n, &bucket, &key))
        bucket = key = NULL; /* then nothing of the journal is known */
    type_row_locked(t, n,
                    &(struct type_row){.bucket = bucket,
                                       .key = key,
                                       .is = &is,
                                       .mark = &mark,
                                       .mime = info->mime,
                                       .cache_control = info->cache_control});
}

int
xattr_need(struct xattr_op *op)
{
    struct sf_tree *t = op->tree;
    struct node *n = op->node;
    tree_lock(t);
    bool there = n->type == N_FILE && n->parent && !n->local_only;
    tree_unlock(t);
    if (!there || op->asked)
        return -ENODATA;
    xattr_ask(op);
    return -EINPROGRESS;
}

/* ---- an answer --------------------------------------------------------------------------------
 */

/* What the journal has for it, perhaps from an earlier mount, is not in the object yet. */
static int
add_pending(struct xattr_op *op, const struct sf_object_info *info, struct sf_meta *m)
{
    struct sf_tree *t = op->tree;
    struct sf_version is = {.size = 0};
    struct sf_mark mark = {.valid = 0};
    char *bucket, *key;
    tree_lock(t);
    int rc = attr_object_key_locked(op->node, &bucket, &key);
    tree_unlock(t);
    if (rc)
        return rc;
    if (info)
        sf_version_of_info(info, &is);
    if (info && info->cache_control)
        (void)sf_mark_parse(info->cache_control, &mark);
    rc = sf_write_xattrs_pending(t->writer, bucket, key, &is, &mark, &m->xattrs);
    free(bucket);
    free(key);
    return rc;
}

/* What is known of the object now, or why it is not; the tree has heard of the answer. @sha256: ""
 * = not told beside the envelope. */
static void
object_came(struct xattr_op *op, int rc, const struct sf_object_info *info, const char *sha256)
{
    struct sf_tree *t = op->tree;
    struct node *n = op->node;
    struct sf_meta m = {.op = ""};
    if (!rc && info && sf_meta_parse(info->metadata, &m) < 0)
        rc = -ENOMEM;
    if (!rc && !m.sha256[0])
        snprintf(m.sha256, sizeof m.sha256, "%s", sha256);
    if (!rc)
        rc = add_pending(op, info, &m);
    tree_lock(t);
    bool same = n->version == op->version && n->attrs == op->attrs;
    if (!rc && (same || op->asked > 2))
        take_locked(n, &m);
    if (!rc && (same || op->asked > 2) && !xattrs_known_locked(n))
        rc = -ENOMEM;
    if (!rc && info && same)
        tell_locked(op, info, &m);
    tree_unlock(t);
    sf_meta_fini(&m);
    if (rc)
        xattr_end(op, rc == -ENOENT && op->ours ? -ENODATA : rc);
    else
        xattr_resume(op);
}

static void
info_came(void *arg, const struct sf_err *err, const struct sf_object_info *info)
{
    struct xattr_op *op = arg;
    struct sf_tree *t = op->tree;
    int rc = err ? err->code : 0;
    tree_lock(t);
    tree_answer_locked(t, err);
    tree_unlock(t);
    if (rc == -ENOENT && node_is_dir(op->node))
        rc = 0; /* it has no marker any more */
    object_came(op, rc, err ? NULL : info, "");
}

static void
ask_alone(struct xattr_op *op, const char *bucket, const char *key)
{
    struct sf_tree *t = op->tree;
    tree_lock(t);
    op->asked_ns = sf_clock_ns();
    tree_ask_locked(t);
    tree_unlock(t);
    sf_storage_info(t->st, bucket, key, tree_read_deadline(t), info_came, op);
}

/* ---- by the project's tables ------------------------------------------------------------------
 */

/* Old rows are good as long as no listing has shown other attributes since then. */
#define ROW_AGE_MS 30000

/* Is it of what the node stands for, and of its attributes? It was asked for at t->seq == @stamp.
 */
static bool
is_of_node_locked(const struct xattr_op *op, const struct sf_dir_fact *row, uint64_t stamp,
                  int64_t asked_ns)
{
    const struct node *n = op->node;
    struct sf_version have, is = {.size = row->size};
    struct sf_mark m = {.valid = 0};
    snprintf(is.id, sizeof is.id, "%s", row->id);
    if (strlen(row->etag) < sizeof is.etag)
        snprintf(is.etag, sizeof is.etag, "%s", row->etag);
    node_version_of(n, true, &have);
    if (n->changed_seq > stamp || n->etag_open || !have.id[0] || !have.etag[0] ||
        !sf_version_same(&is, &have))
        return false;
    if (op->ours && !fresh_locked(op->tree, asked_ns, op->began_ns))
        return false;
    (void)sf_mark_parse(row->cache_control, &m);
    return asked_ns >= n->checked_ns || (m.valid & SF_MARK_CTIME && m.ctime_ns == n->ctime_ns);
}

static void
row_came(void *arg, int rc, const struct sf_dir_fact *row, uint64_t stamp, int64_t asked_ns)
{
    struct xattr_op *op = arg;
    struct sf_tree *t = op->tree;
    char *bucket = NULL, *key = NULL;
    tree_lock(t);
    bool ours = !rc && is_of_node_locked(op, row, stamp, asked_ns);
    rc = ours ? 0 : attr_object_key_locked(op->node, &bucket, &key);
    tree_unlock(t);
    if (ours) {
        const struct sf_object_info info = {.id = row->id,
                                            .version = row->version,
                                            .etag = row->etag,
                                            .mime = row->mime,
                                            .cache_control = row->cache_control,
                                            .metadata = row->metadata,
                                            .size = row->size,
                                            .updated_ns = row->updated_ns};
        op->asked_ns = op->began_ns = asked_ns; /* it is young enough */
        object_came(op, 0, &info, row->sha256);
    } else if (rc) {
        xattr_end(op, rc);
    } else {
        ask_alone(op, bucket, key);
    }
    free(bucket);
    free(key);
}

/* ---- asking -----------------------------------------------------------------------------------
 */

void
xattr_ask(struct xattr_op *op)
{
    struct sf_tree *t = op->tree;
    struct node *n = op->node;
    char *bucket, *key;
    tree_lock(t);
    int rc = attr_object_key_locked(n, &bucket, &key);
    op->version = n->version;
    op->attrs = n->attrs;
    op->asked++;
    uint64_t stamp = t->seq;
    bool file = n->type == N_FILE;
    tree_unlock(t);
    if (rc) {
        xattr_end(op, rc);
        return;
    }
    int64_t age = op->ours || !t->opts.attr_ttl_ms ? t->opts.attr_ttl_ms : ROW_AGE_MS;
    if (!file || op->asked > 1 ||
        !sf_tables_object(t->opts.tables, bucket, key, stamp, tree_read_deadline(t), age, row_came,
                          op))
        ask_alone(op, bucket, key);
    free(bucket);
    free(key);
}
