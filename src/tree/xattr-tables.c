/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tree/xattr.h"

#include "base/clock.h"
#include "base/str.h"
#include "tables/tables.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/xattr.h>
#include <time.h>

/*
 * What the project's tables know of a file, and what is to be told them: its tags, and how often it
 * was read. Without tables in the project it is what is known here (tables/tables.h).
 */

#define WAIT_MS      3000 /* for the database; then it is what is known here */
#define TAGS_MAX     64
#define TAG_BYTES    100
#define NS_PER_S     INT64_C(1000000000)
#define TIME_PATTERN "%Y-%m-%dT%H:%M:%SZ"

/* ---- the value -------------------------------------------------------------------------------
 */

/* No control characters, of C0 or C1; UTF-8. */
static bool
is_tag(const char *s, size_t len)
{
    if (!len || len > TAG_BYTES || !sf_utf8_valid(s, len))
        return false;
    for (size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char)s[i], next = i + 1 < len ? (unsigned char)s[i + 1] : 0;
        if (c < 0x20 || c == 0x7f || (c == 0xc2 && next < 0xa0))
            return false;
    }
    return true;
}

static bool
has(char *const *tags, size_t n, const char *tag)
{
    for (size_t i = 0; i < n; i++)
        if (!strcmp(tags[i], tag))
            return true;
    return false;
}

void
tags_free(char **tags)
{
    for (char **tag = tags; tag && *tag; tag++)
        free(*tag);
    free(tags);
}

int
tags_parse(const char *text, size_t len, char ***ret)
{
    char **tags = calloc(TAGS_MAX + 1, sizeof *tags);
    const char *end = text + len;
    size_t n = 0;
    int rc = tags ? 0 : -ENOMEM;
    for (const char *p = text; !rc; p++) {
        const char *comma = memchr(p, ',', (size_t)(end - p));
        const char *next = comma ? comma : end, *last = next;
        for (; p < last && *p == ' '; p++)
            ;
        for (; last > p && last[-1] == ' '; last--)
            ;
        char *tag = is_tag(p, (size_t)(last - p)) ? strndup(p, (size_t)(last - p)) : NULL;
        if (!is_tag(p, (size_t)(last - p)))
            rc = -EINVAL;
        else if (!tag)
            rc = -ENOMEM;
        else if (has(tags, n, tag))
            free(tag);
        else if (n == TAGS_MAX) {
            free(tag);
            rc = -EINVAL;
        } else {
            tags[n++] = tag;
        }
        p = next;
        if (!comma)
            break;
    }
    if (rc)
        tags_free(tags);
    else
        *ret = tags;
    return rc;
}

static int
put_tags(struct sf_buf *out, char *const *tags)
{
    int rc = 0;
    for (size_t i = 0; !rc && tags[i]; i++)
        rc = sf_buf_printf(out, "%s%s", i ? "," : "", tags[i]);
    return rc;
}

/* ---- asking ----------------------------------------------------------------------------------
 */

struct ask {
    struct xattr_op *op;
    int (*done)(struct xattr_op *op, const struct sf_tables_row *row); /* NULL: nothing is known */
};

/* Listings say what was last heard of it. */
static void
note_tagged_locked(struct node *n, bool tagged)
{
    if ((tagged || n->extra) && extra_of(n))
        n->extra->tagged = tagged ? TAGGED_YES : TAGGED_NO;
}

static void
answered(void *arg, int rc, const struct sf_tables_row *row)
{
    struct ask *a = arg;
    struct xattr_op *op = a->op;
    struct sf_tree *t = op->tree;
    int (*done)(struct xattr_op *, const struct sf_tables_row *) = a->done;
    free(a);
    if (!rc || rc == -ENOENT) {
        tree_lock(t);
        note_tagged_locked(op->node, row && row->tags && *row->tags);
        tree_unlock(t);
        rc = done(op, rc ? NULL : row);
    }
    xattr_end(op, rc);
    tree_lock(t);
    if (--t->background == 0)
        sf_cond_broadcast(&t->idle);
    tree_unlock(t);
}

static int
ask(struct xattr_op *op, int (*done)(struct xattr_op *op, const struct sf_tables_row *row))
{
    struct sf_tree *t = op->tree;
    const struct node *n = op->node;
    sf_autofree char *bucket = NULL, *key = NULL;
    char id[NODE_ID_SIZE], text[NODE_ID_SIZE];
    struct ask *a = malloc(sizeof *a);
    if (!a)
        return -ENOMEM;
    *a = (struct ask){.op = op, .done = done};
    tree_lock(t);
    int rc = n->type == N_FILE && t->opts.tables ? node_key_locked(n, &bucket, &key) : -ENODATA;
    snprintf(id, sizeof id, "%s", node_id(n, text));
    if (!rc)
        t->background++;
    tree_unlock(t);
    if (rc) {
        free(a);
        return rc == -ESTALE ? -ENODATA : rc;
    }
    int64_t wait = t->opts.read_timeout_ms < WAIT_MS ? t->opts.read_timeout_ms : WAIT_MS;
    sf_tables_ask(t->opts.tables, bucket, key, id, sf_clock_ms() + wait, t->opts.attr_ttl_ms,
                  answered, a);
    return -EINPROGRESS;
}

/* ---- accesses --------------------------------------------------------------------------------
 */

static int
tell_count(struct xattr_op *op, const struct sf_tables_row *row)
{
    return sf_buf_printf(&op->out, "%" PRIu64, row ? row->accesses : 0);
}

static int
tell_last(struct xattr_op *op, const struct sf_tables_row *row)
{
    char text[32];
    struct tm tm;
    time_t at = row ? (time_t)(row->last_access_ns / NS_PER_S) : 0;
    if (!at || !gmtime_r(&at, &tm) || !strftime(text, sizeof text, TIME_PATTERN, &tm))
        return -ENODATA;
    return sf_buf_puts(&op->out, text);
}

int
xattr_access_count(struct xattr_op *op)
{
    return ask(op, tell_count);
}

int
xattr_last_accessed(struct xattr_op *op)
{
    return ask(op, tell_last);
}

/* ---- tags ------------------------------------------------------------------------------------
 */

static int
tell_tags(struct xattr_op *op, const struct sf_tables_row *row)
{
    return row && row->tags && *row->tags ? put_tags(&op->out, row->tags) : -ENODATA;
}

int
xattr_get_tags(struct xattr_op *op)
{
    return ask(op, tell_tags);
}

void
xattr_look(struct xattr_op *op)
{
    struct sf_tree *t = op->tree;
    const struct node *n = op->node;
    sf_autofree char *bucket = NULL, *key = NULL;
    struct sf_tables_row *row = NULL;
    tree_lock(t);
    bool needed = op->what != XATTR_LIST || t->opts.providers || !n->extra ||
                  n->extra->tagged == TAGGED_UNKNOWN;
    bool may = needed && n->type == N_FILE && t->opts.tables && !node_key_locked(n, &bucket, &key);
    tree_unlock(t);
    if (may && (row = calloc(1, sizeof *row)) && sf_tables_fact(t->opts.tables, bucket, key, row))
        free(sf_steal(row));
    op->noted = row;
}

static bool
is_noted_locked(const struct xattr_op *op)
{
    const struct sf_tables_row *row = op->noted;
    char text[NODE_ID_SIZE];
    const char *id = node_id(op->node, text);
    return row && row->tags && *row->tags && (!row->id[0] || !id[0] || !strcmp(row->id, id));
}

bool
xattr_tags_are_listed(struct xattr_op *op)
{
    struct sf_tree *t = op->tree;
    const struct node *n = op->node;
    tree_lock(t);
    bool may = n->type == N_FILE && t->opts.tables && attr_lasts(t, n);
    unsigned tagged = n->extra ? n->extra->tagged : TAGGED_UNKNOWN;
    bool has = tagged == TAGGED_UNKNOWN ? is_noted_locked(op) : tagged == TAGGED_YES;
    tree_unlock(t);
    return may && has;
}

/* To be told to the tables. What is known of the bytes is told again, as the fact is a whole one.
 */
static int
note_tags(struct xattr_op *op, char **tags)
{
    struct sf_tree *t = op->tree;
    struct node *n = op->node;
    sf_autofree char *bucket = NULL, *key = NULL;
    struct sf_tables_row was = {.size = 0};
    struct sf_version have;
    tree_lock(t);
    int rc = node_key_locked(n, &bucket, &key);
    node_version_of(n, !node_is_local(n), &have);
    if (!rc)
        note_tagged_locked(n, *tags);
    tree_unlock(t);
    if (rc)
        return rc;
    bool known = !sf_tables_fact(t->opts.tables, bucket, key, &was) && was.etag[0] &&
                 !strcmp(was.id, have.id) && sf_etag_same(was.etag, have.etag);
    const struct sf_file_fact fact = {.bucket = bucket,
                                      .key = key,
                                      .id = have.id,
                                      .version = known ? was.version : NULL,
                                      .etag = have.etag,
                                      .size = have.size};
    sf_tables_set_tags(t->opts.tables, &fact, (const char *const *)tags);
    sf_tables_row_fini(&was);
    return 0;
}

/* What there is decides whether it may be set or removed. */
static int
change_tags(struct xattr_op *op, const struct sf_tables_row *row)
{
    static char *none[] = {NULL};
    bool there = row && row->tags && *row->tags;
    char **tags = NULL;
    if (op->remove)
        return there ? note_tags(op, none) : -ENODATA;
    if (there && op->flags & XATTR_CREATE)
        return -EEXIST;
    if (!there && op->flags & XATTR_REPLACE)
        return -ENODATA;
    int rc = tags_parse(op->value, op->len, &tags);
    if (!rc)
        rc = note_tags(op, tags);
    tags_free(tags);
    return rc;
}

int
xattr_set_tags(struct xattr_op *op)
{
    struct sf_tree *t = op->tree;
    char **tags = NULL;
    tree_lock(t);
    bool may = op->node->type == N_FILE && op->node->parent && t->opts.tables;
    tree_unlock(t);
    if (!may)
        return op->remove ? -ENODATA : -EOPNOTSUPP;
    if (op->remove || op->flags)
        return ask(op, change_tags);
    int rc = tags_parse(op->value, op->len, &tags);
    if (!rc)
        rc = note_tags(op, tags);
    tags_free(tags);
    return rc;
}
