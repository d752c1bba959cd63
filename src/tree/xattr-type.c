/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tree/xattr-type.h"

#include "tree/words.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/xattr.h>

/*
 * user.supafs.content_type and .cache_control: what the bucket tells those who get a file. A node
 * has both as numbers of words.h. What is set goes the way of all attributes: into the journal and
 * to the object, or with bytes that are still to be sent; with attrs=none, too, as nothing of ours
 * is written with it.
 */

#define NO_CACHE "no-cache" /* what the service makes of none */

/* ---- what the service tells ------------------------------------------------------------------ */

/* Those that are on its way to the object. */
static void
take_coming_locked(const struct sf_tree *t, struct node *n, const char *mime, const char *others)
{
    if (mime && !(n->set & NODE_SET_TYPE)) {
        n->mime = mime[0] ? word_of(t->words, mime) : 0;
        n->guessed = !mime[0];
    }
    if (others && !(n->set & NODE_SET_CACHE_CONTROL))
        n->cache_control = word_of(t->words, others[0] ? others : NO_CACHE);
}

void
type_row_locked(const struct sf_tree *t, struct node *n, const struct type_row *row)
{
    char others[WORD_MAX + 1];
    sf_autofree char *mime = NULL, *cache_control = NULL;
    if (!(n->set & NODE_SET_TYPE)) {
        n->mime = row->mime[0] ? word_of(t->words, row->mime) : 0;
        n->guessed = row->mark->guessed;
    }
    if (!(n->set & NODE_SET_CACHE_CONTROL)) {
        bool fits = sf_cache_control_others(row->cache_control, others, sizeof others) >= 0;
        n->cache_control = fits ? word_of(t->words, others) : 0;
    }
    /* Without memory it is shown as it is now. */
    if (row->bucket && !sf_write_type_pending(t->writer, row->bucket, row->key, row->is, row->mark,
                                              &mime, &cache_control))
        take_coming_locked(t, n, mime, cache_control);
}

void
type_begin_locked(const struct sf_tree *t, struct node *n, const char *mime,
                  const char *cache_control)
{
    take_coming_locked(t, n, mime, cache_control);
    n->set |= (mime ? NODE_SET_TYPE : 0) | (cache_control ? NODE_SET_CACHE_CONTROL : 0);
}

int
type_said_locked(const struct sf_tree *t, const struct node *n, char **mime, char **cache_control)
{
    const char *type = n->guessed ? "" : word_text(t->words, n->mime);
    const char *others = word_text(t->words, n->cache_control);
    sf_autofree char *m = n->set & NODE_SET_TYPE && type ? strdup(type) : NULL;
    char *c = n->set & NODE_SET_CACHE_CONTROL && others ? strdup(others) : NULL;
    if ((n->set & NODE_SET_TYPE && type && !m) ||
        (n->set & NODE_SET_CACHE_CONTROL && others && !c)) {
        free(c);
        return -ENOMEM;
    }
    *mime = sf_steal(m);
    *cache_control = c;
    return 0;
}

/* ---- what is told ---------------------------------------------------------------------------- */

/* What a file is taken for by its name; NULL: the name tells nothing. */
static const char *
by_name(const struct node *n)
{
    const char *type = sf_mime_guess(node_comp(n), NULL, 0);
    return strcmp(type, sf_mime_guess("", NULL, 0)) != 0 ? type : NULL;
}

/* NULL: the object knows. */
static const char *
type_locked(const struct sf_tree *t, const struct node *n)
{
    const char *type = word_text(t->words, n->mime);
    if (!type && n->local_only) /* as it will be sent, unless the bytes tell more */
        return by_name(n);
    return !type && n->set & NODE_SET_TYPE ? sf_mime_guess(node_comp(n), NULL, 0) : type;
}

int
xattr_get_type(struct xattr_op *op)
{
    struct sf_tree *t = op->tree;
    const struct node *n = op->node;
    if (n->type != N_FILE)
        return -ENODATA;
    tree_lock(t);
    const char *type = type_locked(t, n);
    int rc = type ? sf_buf_puts(&op->out, type) : -ENODATA;
    tree_unlock(t);
    return type ? rc : xattr_need(op);
}

/* Has somebody said it, in other words than the name does? */
static bool
type_is_said_locked(const struct sf_tree *t, const struct node *n)
{
    const char *type = word_text(t->words, n->mime);
    return type && !n->guessed && strcmp(type, sf_mime_guess(node_comp(n), NULL, 0)) != 0;
}

bool
xattr_type_is_listed(struct xattr_op *op)
{
    struct sf_tree *t = op->tree;
    const struct node *n = op->node;
    tree_lock(t);
    bool listed = n->type == N_FILE && attr_lasts(t, n) && type_is_said_locked(t, n);
    tree_unlock(t);
    return listed;
}

int
xattr_get_cache_control(struct xattr_op *op)
{
    struct sf_tree *t = op->tree;
    const struct node *n = op->node;
    if (n->type != N_FILE)
        return -ENODATA;
    tree_lock(t);
    const char *text = word_text(t->words, n->cache_control);
    int rc = text && *text ? sf_buf_puts(&op->out, text) : -ENODATA;
    tree_unlock(t);
    return text ? rc : xattr_need(op);
}

static bool
cache_control_is_said_locked(const struct sf_tree *t, const struct node *n)
{
    const char *text = word_text(t->words, n->cache_control);
    return text && *text && strcmp(text, NO_CACHE) != 0;
}

bool
xattr_cache_control_is_listed(struct xattr_op *op)
{
    struct sf_tree *t = op->tree;
    const struct node *n = op->node;
    tree_lock(t);
    bool listed = n->type == N_FILE && attr_lasts(t, n) && cache_control_is_said_locked(t, n);
    tree_unlock(t);
    return listed;
}

/* ---- what is set ----------------------------------------------------------------------------- */

/* The value as text; "" to remove it. */
static int
text_of(const struct xattr_op *op, bool (*is_settable)(const char *), char text[SF_TYPE_MAX + 1])
{
    text[0] = '\0';
    if (op->remove)
        return 0;
    if (op->len > SF_TYPE_MAX || memchr(op->value, '\0', op->len))
        return -EINVAL;
    memcpy(text, op->value, op->len);
    text[op->len] = '\0';
    return is_settable(text) ? 0 : -EINVAL;
}

/* May it be set, as far as what is there decides? @there: somebody has said it. */
static int
judge_locked(const struct xattr_op *op, bool known, bool there)
{
    if (!node_is_regular(op->node) || !op->node->parent)
        return op->remove ? -ENODATA : -EOPNOTSUPP;
    if (!known && (op->remove || op->flags))
        return -EINPROGRESS; /* it has to be asked for */
    return there && op->flags & XATTR_CREATE ? -EEXIST : 0;
}

/* The node has it, and a change is to be kept: 1 and *ret, *along as of attr_write(); 0: bytes that
 * will be sent carry it. */
static int
change_locked(struct xattr_op *op, const struct node *before, struct attr_op **ret, bool *along)
{
    struct sf_tree *t = op->tree;
    struct node *n = op->node;
    if (t->opts.plain)
        n->attrs++; /* nobody keeps the time of it */
    else
        attr_stamp_locked(n, false);
    node_changed_locked(t, n);
    *along = attr_goes_along_locked(t, n);
    if (!*along && attr_travels(n))
        return 0;
    *ret = attr_op_new_locked(t, n, before, NULL, op->cb, op->arg);
    return *ret ? 1 : -ENOMEM;
}

static int
set(struct xattr_op *op, bool (*is_settable)(const char *),
    int (*apply_locked)(struct xattr_op *op, const char *text))
{
    struct sf_tree *t = op->tree;
    struct node *n = op->node;
    struct attr_op *write = NULL;
    bool along = false;
    char text[SF_TYPE_MAX + 1];
    int rc = text_of(op, is_settable, text);
    if (rc)
        return rc;
    tree_lock(t);
    struct node before = *n;
    rc = apply_locked(op, text);
    if (rc > 0)
        rc = change_locked(op, &before, &write, &along);
    tree_unlock(t);
    if (rc == -EINPROGRESS)
        return xattr_need(op);
    if (rc <= 0)
        return rc;
    sf_buf_fini(&op->out);
    free(op);
    attr_write(t, n, write, along); /* it answers */
    return -EINPROGRESS;
}

/* Whether a file's type is known, or need not be. */
static bool
is_known(const struct xattr_op *op, uint16_t word, unsigned bit)
{
    return word || op->node->local_only || op->node->set & bit || op->asked;
}

/* 1 the node has it; 0 it had it; or why not. */
static int
apply_type_locked(struct xattr_op *op, const char *text)
{
    struct sf_tree *t = op->tree;
    struct node *n = op->node;
    const struct bucket *b = node_is_regular(n) && n->parent ? node_bucket_locked(n) : NULL;
    const char *now = word_text(t->words, n->mime);
    bool said = type_is_said_locked(t, n);
    int rc = judge_locked(op, is_known(op, n->mime, NODE_SET_TYPE), said);
    if (rc)
        return rc;
    bool shown = type_locked(t, n) != NULL;
    if ((op->flags & XATTR_REPLACE || op->remove) && !shown)
        return -ENODATA;
    if (op->remove && !said) /* what is shown is what would be left */
        return 0;
    if (!op->remove && now && !n->guessed && !strcmp(now, text))
        return 0;
    const char *type = op->remove ? by_name(n) : text;
    if (type && b && !sf_mime_allowed(type, (const char *const *)b->mimes))
        return -EPERM;
    uint16_t word = op->remove ? 0 : word_of(t->words, text);
    if (!op->remove && !word)
        return -ENOSPC;
    n->mime = word;
    n->guessed = op->remove;
    n->set |= NODE_SET_TYPE;
    return 1;
}

int
xattr_set_type(struct xattr_op *op)
{
    return set(op, sf_mime_is_settable, apply_type_locked);
}

static int
apply_cache_control_locked(struct xattr_op *op, const char *text)
{
    struct sf_tree *t = op->tree;
    struct node *n = op->node;
    const char *now = word_text(t->words, n->cache_control);
    int rc = judge_locked(op, is_known(op, n->cache_control, NODE_SET_CACHE_CONTROL),
                          cache_control_is_said_locked(t, n));
    if (rc)
        return rc;
    if ((op->flags & XATTR_REPLACE || op->remove) && (!now || !*now))
        return -ENODATA;
    if (op->remove)
        text = NO_CACHE;
    if (!strcmp(now ? now : n->local_only ? NO_CACHE : "", text))
        return 0;
    uint16_t word = word_of(t->words, text);
    if (!word)
        return -ENOSPC;
    n->cache_control = word;
    n->set |= NODE_SET_CACHE_CONTROL;
    return 1;
}

int
xattr_set_cache_control(struct xattr_op *op)
{
    return set(op, sf_cache_control_is_settable, apply_cache_control_locked);
}
