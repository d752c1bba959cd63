/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tree/internal.h"

#include "base/clock.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct commit_op {
    struct sf_tree *tree;
    struct node *node;          /* counted */
    struct sf_content *content; /* counted */
    uint32_t attrs;             /* n->attrs of what is sent */
    char **mimes;
    bool patient; /* waits for the end, however often it is tried; nobody else waits */
    enum commit_keep how;
    commit_fn
        cb; /* NULL: nobody waits, a failure ends in quarantine; of a keep: until it is kept */
    void *arg;
};

void
mimes_free(char **m)
{
    for (char **p = m; p && *p; p++)
        free(*p);
    free(m);
}

int
mimes_copy(char *const *src, char ***dst)
{
    size_t n = 0;
    *dst = NULL;
    if (!src)
        return 0;
    while (src[n])
        n++;
    char **m = calloc(n + 1, sizeof *m);
    for (size_t i = 0; m && i < n; i++)
        if (!(m[i] = strdup(src[i]))) {
            mimes_free(m);
            m = NULL;
        }
    *dst = m;
    return m ? 0 : -ENOMEM;
}

static void
commit_success_locked(struct sf_tree *t, struct node *n, const struct commit_op *op,
                      const struct sf_commit *done)
{
    content_failure_clear_locked(n);
    if (!done->uploaded)
        return;
    n->local_only = false;
    n->replace = n->exclusive = false;
    node_changed_locked(t, n);
    n->checked_ns = sf_clock_ns();
    n->size = done->size;
    if (n->guessed) /* and it was guessed again */
        n->mime = 0;
    xattr_told_forget_locked(n);
    n->delivered = n->delivered && live(n)->open;
    if (done->id[0])
        node_set_id(n, done->id);
    n->etag_open = true;
    node_set_etag(n, done->md5_etag[0] ? done->md5_etag : done->etag);
    if (done->rebased) { /* the kernel's pages are of the version before */
        n->keep_pages = false;
        n->version++;
        if (t->notify.inval_node && n->nlookup)
            t->notify.inval_node(t->notify.arg, n->nid, true);
    }
    attr_sent_locked(t, n, op->attrs);
}

struct drop {
    struct action act;
    struct sf_content *content;
};

static void
drop_run(struct action *a)
{
    struct drop *d = (struct drop *)a;
    sf_content_unref(d->content);
    free(d);
}

void
content_drop_locked(struct sf_tree *t, struct node *n)
{
    if (!live(n)->content || live(n)->open || live(n)->busy || live(n)->commits ||
        sf_content_dirty(live(n)->content))
        return;
    struct drop *d = malloc(sizeof *d);
    if (!d) {
        sf_content_unref(content_take_locked(n));
        return;
    }
    d->content = content_take_locked(n);
    live_trim_locked(n);
    tree_queue_locked(t, &d->act, drop_run); /* it closes a file: not under the lock */
}

/* The bytes could not go where they should: they are kept aside, the path shows the bucket's. */
static void
give_up_locked(struct sf_tree *t, struct node *n, struct sf_content **drop)
{
    if (live(n)->open && !n->local_only) {
        if (t->notify.inval_entry && n->parent && n->parent->nlookup)
            t->notify.inval_entry(t->notify.arg, n->parent->nid, node_name(n));
        node_split_locked(t, n);
        return;
    }
    saved_changed_locked(t, n);
    if (!live(n)->open)
        *drop = content_take_locked(n);
    n->delivered = n->keep_pages = false;
    n->checked_ns = 0;
    attr_forget_times(n);
    if (n->local_only) {
        n->local_only = n->replace = false;
        apply_gone_locked(t, n, 0);
    } else if (t->notify.inval_node && n->nlookup)
        t->notify.inval_node(t->notify.arg, n->nid, true);
}

void
commit_give_up(struct sf_tree *t, struct node *n, const struct sf_err *why)
{
    struct sf_content *drop = NULL;
    bool revive = false;
    tree_lock(t);
    node_ref_locked(n);
    /* Whoever may still write decides with the next close. */
    bool mine = live(n)->content && !live(n)->writers && !live(n)->busy;
    struct sf_content *c = mine ? sf_content_ref(live(n)->content) : NULL;
    tree_unlock(t);
    int rc = c ? sf_content_quarantine(c, why, NULL) : 0;
    tree_lock(t);
    if (c && rc == 0 && live(n)->content == c) {
        revive = live(n)->writers || live(n)->busy; /* since then */
        if (!revive)
            give_up_locked(t, n, &drop);
    }
    node_unref_locked(t, n);
    tree_unlock(t);
    if (revive)
        sf_content_mark_dirty(c);
    if (c)
        sf_content_unref(c);
    if (drop)
        sf_content_unref(drop);
}

static void
commit_done(void *arg, const struct sf_err *err, const struct sf_commit *done)
{
    struct commit_op *op = arg;
    struct sf_tree *t = op->tree;
    struct node *n = op->node;
    int rc = err ? err->code : 0;
    bool held = err && sf_failure_is_held(err), replaced = done && done->superseded;
    tree_lock(t);
    live_rw(n)->commits--;
    live_rw(n)->patient -= op->patient;
    if (replaced) {
        /* a later keep has taken its place, and ends it */
    } else if (!rc && live(n)->content == op->content) {
        commit_success_locked(t, n, op, done);
    } else if (rc) {
        content_failure_clear_locked(n);
        struct sf_err *failure = live_rw(n)->failure = malloc(sizeof *failure);
        if (failure)
            *failure = *err;
    }
    /* Set while it ran: nothing else carries that, as others that wait have nothing to send. It is
     * asked for before anybody hears of the end, who might rename it. */
    bool travels = n->local_only || (live(n)->content && sf_content_dirty(live(n)->content));
    bool again = !rc && done->uploaded && attr_unsent(t, n) && n->attrs != op->attrs && !travels &&
                 !(n->extra && n->extra->writing);
    tree_unlock(t);
    if (again)
        attr_again(t, n);
    if (held && !op->patient)
        commit_patient(t, n, true);
    else if (rc && !held && !op->cb)
        commit_give_up(t, n, err);
    tree_lock(t);
    content_drop_locked(t, n);
    bool more = op->patient && !rc && !replaced && !live(n)->patient && !live(n)->writers &&
                live(n)->content && n->parent && sf_content_dirty(live(n)->content);
    tree_unlock(t);
    if (more) /* written to while it was sent, and closed since */
        commit_patient(t, n, false);
    tree_lock(t);
    if (op->patient && --t->patient == 0)
        sf_cond_broadcast(&t->idle);
    node_unref_locked(t, n);
    tree_unlock(t);
    sf_content_unref(op->content);
    mimes_free(op->mimes);
    if (op->cb)
        op->cb(op->arg, rc);
    free(op);
}

/* What goes with the bytes, as struct sf_commit_args borrows it. */
struct texts {
    char mark[SF_MARK_SIZE];
    char *xattrs, *mime, *cache_control;
};

static void
texts_fini(struct texts *x)
{
    free(x->xattrs);
    free(x->mime);
    free(x->cache_control);
}

/* 0 or -errno. */
static int
args_locked(struct sf_tree *t, struct node *n, struct commit_op *op, struct sf_commit_args *args,
            struct sf_version *base, struct texts *x)
{
    const struct bucket *b = node_bucket_locked(n);
    int rc = b ? mimes_copy(b->mimes, &op->mimes) : -ESTALE;
    if (rc < 0)
        return rc;
    args->exists = !n->local_only || n->replace;
    args->exclusive = n->exclusive && !args->exists;
    if (!n->local_only) {
        node_version_of(n, true, base); /* what a program saw when it began */
        args->base = base;
    }
    attr_mark_text_locked(t, n, x->mark);
    args->mark = x->mark[0] ? x->mark : NULL;
    args->xattrs = x->xattrs = n->extra && n->extra->changes ? strdup(n->extra->changes) : NULL;
    rc = type_said_locked(t, n, &x->mime, &x->cache_control);
    if (rc)
        return rc;
    args->mime = x->mime;
    args->cache_control = x->cache_control;
    args->max_size = sf_writer_limit(t->writer, b->size_limit);
    args->mimes = (const char *const *)op->mimes;
    return 0;
}

static void
op_begin_locked(struct sf_tree *t, struct node *n, struct commit_op *op)
{
    op->content = sf_content_ref(live(n)->content);
    live_rw(n)->commits++;
    saved_changed_locked(t, n);
    live_rw(n)->patient += op->patient;
    t->patient += op->patient;
    node_ref_locked(n);
}

static void
commit_as(struct sf_tree *t, struct node *n, bool patient, bool later, commit_fn cb, void *arg)
{
    struct commit_op *op = calloc(1, sizeof *op);
    struct sf_commit_args args = {.patient = patient, .later = later};
    struct sf_version base;
    struct texts texts = {.xattrs = NULL};
    int rc = op ? 0 : -ENOMEM;
    tree_lock(t);
    /* What was removed while an upload of it had still to end has nowhere to go. */
    bool nothing = !n->parent || !live(n)->content || (patient && live(n)->patient) ||
                   !(sf_content_dirty(live(n)->content) || live(n)->commits);
    if (op && !nothing) {
        *op = (struct commit_op){.tree = t, .node = n, .patient = patient, .cb = cb, .arg = arg};
        rc = args_locked(t, n, op, &args, &base, &texts);
        /* One that joins another may be too late for its mark. */
        op->attrs = live(n)->commits ? n->attrs - 1 : n->attrs;
        if (rc == 0)
            op_begin_locked(t, n, op);
    }
    tree_unlock(t);
    if (rc == 0 && !nothing) {
        sf_content_commit(op->content, &args, commit_done, op);
        texts_fini(&texts);
        return;
    }
    texts_fini(&texts);
    free(op);
    if (cb)
        cb(arg, nothing ? 0 : rc);
}

void
commit_start(struct sf_tree *t, struct node *n, commit_fn cb, void *arg)
{
    commit_as(t, n, false, false, cb, arg);
}

void
commit_patient(struct sf_tree *t, struct node *n, bool later)
{
    commit_as(t, n, true, later, NULL, NULL);
}

/* ---- in the journal first --------------------------------------------------------------------
 */

/* The journal has it, or cannot: then the bucket is what is left to wait for. */
static void
kept(void *arg, const struct sf_err *err)
{
    struct commit_op *op = arg;
    struct sf_tree *t = op->tree;
    struct node *n = op->node;
    commit_fn cb = sf_steal(op->cb);
    void *cb_arg = op->arg;
    if (!err) {
        if (cb)
            cb(cb_arg, 0);
        return;
    }
    bool gone = op->how == KEEP_ATTRS && err->code == -EBUSY;
    if (!gone && cb)
        commit_start(t, n, cb, cb_arg);
    else if (!gone)
        commit_as(t, n, true, false, NULL, NULL);
    tree_lock(t);
    live_rw(n)->commits--;
    live_rw(n)->patient--;
    content_drop_locked(t, n);
    if (--t->patient == 0)
        sf_cond_broadcast(&t->idle);
    node_unref_locked(t, n);
    tree_unlock(t);
    sf_content_unref(op->content);
    mimes_free(op->mimes);
    free(op);
    if (gone)
        cb(cb_arg, -EBUSY);
}

void
commit_keep(struct sf_tree *t, struct node *n, enum commit_keep how, commit_fn cb, void *arg)
{
    struct commit_op *op = calloc(1, sizeof *op);
    struct sf_commit_args args = {
        .patient = true, .must = how == KEEP_BEHIND, .attrs_only = how == KEEP_ATTRS};
    struct sf_version base;
    struct texts texts = {.xattrs = NULL};
    int rc = op ? 0 : -ENOMEM;
    tree_lock(t);
    bool nothing = !live(n)->content || !sf_content_dirty(live(n)->content);
    if (op && !nothing) {
        *op = (struct commit_op){
            .tree = t, .node = n, .patient = true, .how = how, .cb = cb, .arg = arg};
        rc = args_locked(t, n, op, &args, &base, &texts);
        op->attrs = n->attrs;
        if (rc == 0)
            op_begin_locked(t, n, op);
    }
    tree_unlock(t);
    if (rc == 0 && !nothing) {
        sf_content_keep(op->content, &args, kept, commit_done, op);
        texts_fini(&texts);
        return;
    }
    texts_fini(&texts);
    free(op);
    if (cb)
        cb(arg, !nothing ? rc : how == KEEP_ATTRS ? -EBUSY : 0);
}

/* ---- after the last handle
 * ------------------------------------------------------------------------ */

void
commit_behind(struct sf_tree *t, struct node *n)
{
    struct sf_err why = SF_ERR_INIT;
    tree_lock(t);
    /* What a FLUSH was just told to be impossible is not tried again; what only did not work is. */
    bool refused = live(n)->failure && !live(n)->writers && !sf_failure_is_held(live(n)->failure);
    if (refused)
        why = *live(n)->failure;
    tree_unlock(t);
    if (refused)
        commit_give_up(t, n, &why);
    else
        commit_keep(t, n, KEEP_BEHIND, NULL, NULL);
    tree_lock(t);
    content_drop_locked(t, n);
    node_unref_locked(t, n);
    if (--t->background == 0)
        sf_cond_broadcast(&t->idle);
    tree_unlock(t);
}
