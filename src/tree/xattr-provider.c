/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tree/xattr-provider.h"

#include "base/clock.h"
#include "base/str.h"
#include "config/provider.h"
#include "provider/want.h"
#include "tree/source.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

/*
 * The id of a file at a provider. Whoever asks for it by its name gets it made, if the file has
 * none yet: that is the one attribute that costs something. All others tell what is known here, and
 * ask nobody. The map of ids is on the local disk, so nothing of this runs on the event thread.
 */

#define TIME_PATTERN "%Y-%m-%dT%H:%M:%SZ"

/* ---- names ----------------------------------------------------------------------------------- */

bool
xattr_provider_is(const char *what, const char *suffix)
{
    char name[40];
    size_t len = strlen(what), tail = strlen(suffix);
    if (len <= tail || len - tail >= sizeof name || strcmp(what + len - tail, suffix) != 0)
        return false;
    snprintf(name, sizeof name, "%.*s", (int)(len - tail), what);
    return sf_provider_name_ok(name);
}

/* Which one is meant; NULL: this mount has no such provider. */
static const struct sf_provider_conf *
conf_of(const struct xattr_op *op)
{
    char name[sizeof op->name];
    snprintf(name, sizeof name, "%s", op->name + strlen(XATTR_OURS));
    *strchrnul(name, '.') = '\0';
    return sf_provider_conf_find(sf_providers_confs(op->tree->opts.providers), name);
}

/* ---- what is known --------------------------------------------------------------------------- */

/* The file as providers know it, with its hash if the mount knows that. Returns whether it may be
 * that the object would tell more. */
static bool
describe(struct xattr_op *op, const struct sf_tree_source *s, char sha256[65],
         struct sf_want_file *out)
{
    struct sf_tree *t = op->tree;
    snprintf(sha256, 65, "%s", sf_tree_source_facts(s)->sha256);
    tree_lock(t);
    const struct told *told = xattr_told_locked(op);
    bool stored = !node_is_local(op->node);
    if (!sha256[0] && stored && !xattr_noted_hash_locked(op, sha256) && told)
        snprintf(sha256, 65, "%s", told->sha256);
    tree_unlock(t);
    sf_tree_source_describe(s, out);
    out->sha256 = sha256;
    return stored && !told && !sha256[0];
}

/* Why the file would be refused, if that is known without asking; "" = it is not. */
static void
forecast(const struct sf_provider_conf *conf, const struct sf_want_file *file, char out[400])
{
    const struct sf_provider_facts facts = {file->size, file->name, file->mime};
    struct sf_provider_fault fault = {.text = ""};
    const char *trouble = sf_provider_trouble(conf);
    if (!*trouble && sf_provider_check(conf, &facts, &fault))
        trouble = fault.text;
    snprintf(out, 400, "%s", trouble);
}

static int
known(struct xattr_op *op, const struct sf_provider_conf *conf, struct sf_want_state *out)
{
    struct sf_tree *t = op->tree;
    struct sf_tree_source *s = NULL;
    struct sf_want_file file;
    char sha256[65];
    int rc = conf ? sf_tree_source_new(t, op->node->nid, &s) : -ENODATA;
    if (rc)
        return rc == -EBUSY || rc == -ENOMEM ? rc : -ENODATA;
    (void)describe(op, s, sha256, &file);
    rc = sf_want_known(t->opts.providers, conf->name, &file, NULL, out);
    if (!rc && out->phase == SF_WANT_NONE)
        forecast(conf, &file, out->text);
    sf_tree_source_unref(s);
    return rc == -ENOENT ? -ENODATA : rc;
}

static bool
is_believed(const struct sf_want_state *s)
{
    return s->phase == SF_WANT_READY && (!s->expires_s || s->expires_s > time(NULL));
}

static int
put_under_way(struct sf_buf *out, const struct sf_want_state *s)
{
    unsigned percent = s->total ? (unsigned)((double)s->sent / (double)s->total * 100) : 0;
    if (s->elsewhere)
        return sf_buf_puts(out, "uploading: another mount does it");
    if (s->pending)
        return sf_buf_puts(out, "processing");
    return sf_buf_printf(out, "%s %u %%", s->reading ? "reading" : "uploading",
                         percent < 100 ? percent : 100);
}

int
xattr_provider_status(struct xattr_op *op)
{
    struct sf_want_state s;
    int rc = known(op, conf_of(op), &s);
    if (rc == -EBUSY)
        return sf_buf_puts(&op->out, "changing");
    if (rc)
        return rc;
    switch (s.phase) {
    case SF_WANT_READY:
        return sf_buf_puts(&op->out, is_believed(&s) ? "ready" : "expired");
    case SF_WANT_UNDER_WAY:
        return put_under_way(&op->out, &s);
    case SF_WANT_FAILED:
        return sf_buf_printf(&op->out, "failed: %s", s.text);
    case SF_WANT_NONE:
        break;
    }
    return sf_buf_puts(&op->out, "none");
}

int
xattr_provider_expires(struct xattr_op *op)
{
    struct sf_want_state s;
    char text[32];
    struct tm tm;
    int rc = known(op, conf_of(op), &s);
    if (rc)
        return rc == -EBUSY ? -ENODATA : rc;
    time_t at = s.phase == SF_WANT_READY ? (time_t)s.expires_s : 0;
    if (!at || !gmtime_r(&at, &tm) || !strftime(text, sizeof text, TIME_PATTERN, &tm))
        return -ENODATA;
    return sf_buf_puts(&op->out, text);
}

int
xattr_provider_error(struct xattr_op *op)
{
    struct sf_want_state s;
    int rc = known(op, conf_of(op), &s);
    if (rc == -EBUSY)
        return sf_buf_puts(&op->out, "the file is open for writing; it can be uploaded once it is "
                                     "closed");
    if (rc)
        return rc;
    bool says = s.phase == SF_WANT_FAILED || s.phase == SF_WANT_NONE;
    return says && s.text[0] ? sf_buf_puts(&op->out, s.text) : -ENODATA;
}

int
xattr_provider_set_id(struct xattr_op *op)
{
    struct sf_tree *t = op->tree;
    const struct sf_provider_conf *conf = conf_of(op);
    struct sf_tree_source *s = NULL;
    struct sf_want_file file;
    char sha256[65];
    if (!op->remove || !conf || sf_tree_source_new(t, op->node->nid, &s))
        return 0;
    (void)describe(op, s, sha256, &file);
    (void)sf_want_forget(t->opts.providers, conf->name, &file); /* what is not known is forgotten */
    sf_tree_source_unref(s);
    return 0;
}

/* ---- lists ----------------------------------------------------------------------------------- */

void
xattr_provider_look(struct xattr_op *op)
{
    struct sf_tree *t = op->tree;
    const struct sf_provider_confs *confs = sf_providers_confs(t->opts.providers);
    struct sf_tree_source *s = NULL;
    struct sf_want_state state;
    struct sf_want_file file;
    char sha256[65];
    if (!confs->n || !attr_lasts(t, op->node) || sf_tree_source_new(t, op->node->nid, &s))
        return;
    (void)describe(op, s, sha256, &file);
    for (size_t i = 0; i < confs->n; i++)
        if (!sf_want_known(t->opts.providers, confs->all[i].name, &file, NULL, &state) &&
            is_believed(&state) &&
            sf_buf_printf(&op->listed, "%s%s.file_id%c", XATTR_OURS, confs->all[i].name, '\0'))
            break; /* a shorter list does no harm */
    sf_tree_source_unref(s);
}

bool
xattr_provider_is_listed(struct xattr_op *op)
{
    return op->listed.len > 0;
}

/* ---- getting an id --------------------------------------------------------------------------- */

static struct xattr_op *
find_locked(const struct sf_tree *t, uint64_t serial)
{
    struct xattr_op *op;
    for (op = LIST_FIRST(&t->wanting); op && op->serial != serial; op = LIST_NEXT(op, link))
        ;
    return op;
}

void
xattr_provider_cancel(struct sf_tree *t, uint64_t serial)
{
    uint64_t want = 0;
    tree_lock(t);
    struct xattr_op *op = find_locked(t, serial);
    if (op) {
        op->cancelled = true;
        want = op->want;
    }
    tree_unlock(t);
    if (want)
        sf_want_cancel(t->opts.providers, want);
}

/* What the service has is another version by now: look once, and ask for that one's. */
static bool
goes_again(struct xattr_op *op, int rc)
{
    struct sf_tree *t = op->tree;
    if (rc != -EBUSY || op->renewed || !sf_tree_source_is_stale(op->source))
        return false;
    op->renewed = true;
    tree_lock(t);
    op->want = 0;
    op->node->checked_ns = 0;
    op->resolve = (struct resolve){.since_ns = sf_clock_ns()};
    tree_unlock(t);
    return true;
}

static void
wanted(void *arg, const struct sf_wanted *w)
{
    struct xattr_op *op = arg;
    int rc = w->rc ? w->rc : sf_buf_puts(&op->out, w->id);
    if (goes_again(op, w->rc))
        xattr_go(op);
    else
        xattr_end(op, rc == -ENOENT ? -ENODATA : rc);
}

static int
want(struct xattr_op *op, const struct sf_provider_conf *conf, const char *sha256)
{
    struct sf_tree *t = op->tree;
    uint64_t serial = op->serial;
    unsigned turn = op->turn;
    struct sf_want_file file;
    tree_lock(t);
    bool cancelled = op->cancelled;
    tree_unlock(t);
    int rc = cancelled ? -ECANCELED : sf_tree_source_file(op->source, &file);
    if (rc)
        return rc;
    file.sha256 = sha256;
    uint64_t id = sf_want(t->opts.providers, conf->name, &file, NULL, wanted, op);
    if (!id)
        return -EINPROGRESS;
    tree_lock(t);
    op = find_locked(t, serial); /* it may have ended, or gone again */
    cancelled = op && op->turn == turn && op->cancelled;
    if (op && op->turn == turn)
        op->want = id;
    tree_unlock(t);
    if (cancelled)
        sf_want_cancel(t->opts.providers, id);
    return -EINPROGRESS;
}

static void
looked(struct waiter *w, int err)
{
    struct xattr_op *op = (struct xattr_op *)((char *)w - offsetof(struct xattr_op, waiter));
    op->resolve.err = err;
    op->resolve.rounds++;
    xattr_resume(op);
}

/* Is what the node stands for known well enough? */
static int
revalidate(struct xattr_op *op)
{
    struct sf_tree *t = op->tree;
    struct node *n = op->node;
    op->waiter.resume = looked;
    tree_lock(t);
    op->turn++;
    int rc = node_is_regular(n) && n->parent ? revalidate_locked(t, &op->resolve, n, &op->waiter)
                                             : -ENODATA;
    tree_unlock(t);
    return rc;
}

int
xattr_provider_file_id(struct xattr_op *op)
{
    struct sf_tree *t = op->tree;
    const struct sf_provider_conf *conf = conf_of(op);
    struct sf_want_file file;
    struct sf_want_state state;
    char sha256[65];
    int rc = conf ? revalidate(op) : -ENODATA;
    if (rc)
        return rc;
    sf_tree_source_unref(sf_steal(op->source));
    rc = sf_tree_source_new(t, op->node->nid, &op->source);
    if (rc)
        return rc;
    bool more = describe(op, op->source, sha256, &file);
    if (!sf_want_known(t->opts.providers, conf->name, &file, NULL, &state) && is_believed(&state))
        return sf_buf_puts(&op->out, state.id);
    /* The object may tell what else has to be computed of all of its bytes. */
    rc = more ? xattr_need(op) : 0;
    return rc == -EINPROGRESS ? rc : want(op, conf, sha256);
}
