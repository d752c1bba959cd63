/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "chat/chat-internal.h"
#include "http/http.h"

/* From a name or a node to an open (docs/formats/chat.md: P2 to P4, W13, R2). Each step goes on
 * with the next when its answer came. */

struct open_op {
    struct chat_wait wait; /* first: it is freed as one */
    struct sf_chat *chat;
    struct chat_opening o; /* what the open is made of */
    struct chat_place *place;
    struct sf_chat_who who; /* its groups are owned */
    uint64_t parent;        /* of a create */
    char name[256];
    bool create, about;
    _Atomic bool cancelled;
    uint64_t timer;
    sf_tree_fn fn;
    void *arg;
};

static void
op_free(struct chat_wait *w)
{
    struct open_op *op = (struct open_op *)w;
    struct sf_chat *chat = op->chat;
    chat_opening_fini(&op->o);
    chat_place_free(op->place);
    free((gid_t *)op->who.groups);
    free(op);
    chat_idle(chat);
}

static bool
writes(const struct open_op *op)
{
    return (op->o.flags & O_ACCMODE) != O_RDONLY || op->o.flags & O_TRUNC;
}

static bool
reads(const struct open_op *op)
{
    return (op->o.flags & O_ACCMODE) != O_WRONLY;
}

/* The answer. Who took the wait calls it, and gives back what the table had. */
static void
op_answer(struct open_op *op, int rc, const struct sf_tree_result *res)
{
    op->fn(op->arg, rc, rc ? NULL : res);
    chat_wait_unref(&op->wait);
}

/* The same, of a step; and the reference of the steps. */
static void
op_end(struct open_op *op, int rc)
{
    if (chat_wait_take(&op->wait))
        op_answer(op, rc, NULL);
    chat_wait_unref(&op->wait);
}

static void
op_refuse(struct open_op *op, struct sf_err *err)
{
    if (op->o.conv && err->msg[0])
        sf_conv_error_set(op->o.conv, err->msg);
    op_end(op, err->code);
}

/* ---- R2: those that are about to ask --------------------------------------------------------- */

/* Nobody is waited for any more, and the wait was taken. */
static void
op_finish(struct open_op *op)
{
    struct sf_chat *chat = op->chat;
    struct sf_tree_result res = {0};
    struct sf_chat_file *f = NULL;
    struct chat_node *n = op->o.node;
    op->o.until = reads(op) ? sf_conv_now(op->o.conv) : 0;
    if (op->create) {
        res.entry.node = n->id;
        chat_node_attr(chat, n, op->o.conv, &res.entry.attr);
        SF_GUARD(&chat->lock);
        n->lookups++;
    }
    uint64_t id = n->id;
    int rc = chat_file_new(&op->o, &f);
    res.other = f;
    if (rc && op->create)
        sf_chat_forget(chat, id, 1);
    op_answer(op, rc, &res);
    chat_wait_unref(&op->wait);
}

/* Opens of a node that need not wait any more are taken out; *n of them. */
void
chat_open_wake(struct sf_chat *chat, struct chat_node *node)
{
    struct chat_wait *w, *next, *ready = NULL;
    {
        SF_GUARD(&chat->lock);
        uint64_t oldest = chat_files_flushed_locked(node);
        for (w = LIST_FIRST(&node->waits); w; w = next) {
            next = LIST_NEXT(w, link);
            if (oldest && oldest <= w->serial)
                continue;
            (void)chat_wait_take_locked(w);
            w->next = ready;
            ready = w;
        }
    }
    for (w = ready; w; w = next) {
        struct open_op *op = (struct open_op *)w;
        next = w->next;
        if (sf_http_timer_cancel(chat->o.http, op->timer))
            chat_wait_unref(w);
        op_finish(op);
    }
}

static void
wait_long(void *arg)
{
    struct open_op *op = arg;
    if (chat_wait_take(&op->wait))
        op_finish(op);
    chat_wait_unref(&op->wait);
}

static void
op_cancel(struct chat_wait *w)
{
    struct open_op *op = (struct open_op *)w;
    bool taken = false;
    {
        SF_GUARD(&op->chat->lock);
        op->cancelled = true;
        if (w->linked)
            taken = chat_wait_take_locked(w);
    }
    if (!taken)
        return;
    if (sf_http_timer_cancel(op->chat->o.http, op->timer))
        chat_wait_unref(w);
    op_answer(op, -ECANCELED, NULL);
    chat_wait_unref(w);
}

/* Enter it into the node's list, if there is somebody to wait for. */
static bool
op_waits(struct open_op *op, bool link)
{
    struct sf_chat *chat = op->chat;
    struct chat_wait *w = &op->wait;
    SF_GUARD(&chat->lock);
    uint64_t oldest = chat_files_flushed_locked(op->o.node);
    if (!oldest || op->cancelled || w->over)
        return false;
    if (link) {
        w->serial = chat->serial;
        w->linked = true;
        LIST_INSERT_HEAD(&op->o.node->waits, w, link);
    }
    return true;
}

static void
op_settle(struct open_op *op)
{
    struct sf_http *http = op->chat->o.http;
    struct chat_wait *w = &op->wait;
    if (reads(op) && !(op->o.flags & O_NONBLOCK) && op_waits(op, false)) {
        atomic_fetch_add(&w->refs, 1); /* the timer's */
        op->timer = sf_http_timer(http, sf_clock_ms() + CHAT_SETTLE_MS, wait_long, op);
        if (op->timer && op_waits(op, true))
            return;
        if (!op->timer || sf_http_timer_cancel(http, op->timer))
            chat_wait_unref(w);
    }
    if (op->cancelled) /* of this thread, or it is as if it came later */
        op_end(op, -ECANCELED);
    else if (chat_wait_take(w))
        op_finish(op);
    else
        chat_wait_unref(w);
}

/* ---- the steps ------------------------------------------------------------------------------- */

static void
conv_loaded(void *arg, int rc)
{
    struct open_op *op = arg;
    struct sf_err err = SF_ERR_INIT;
    if (!rc && writes(op) && (rc = sf_conv_writer(op->o.conv)))
        rc = sf_err_set(&err, rc, "%d prompts of this conversation wait already", SF_CONV_LINE);
    op->o.writer = !rc && writes(op);
    if (!rc)
        op_settle(op);
    else if (rc == -EBUSY)
        op_refuse(op, &err);
    else
        op_end(op, rc);
}

static void
op_load(struct open_op *op)
{
    /* A create holds up all of its directory. */
    bool patient = reads(op) && !op->create && !(op->o.flags & O_NONBLOCK);
    sf_conv_load(op->o.conv, patient ? CHAT_TABLES_MS : 0, conv_loaded, op); /* K7 */
}

static void
settings_told(void *arg, int rc, struct chat_settings *s)
{
    struct open_op *op = arg;
    struct sf_chat_front *f = &op->o.settings;
    struct sf_err err = SF_ERR_INIT;
    if (!rc && op->place->provider)
        rc = sf_chat_front_set(f, SF_CHAT_SET_PROVIDER, op->place->provider, NULL);
    if (!rc)
        rc = sf_chat_front_under(f, &s->file);
    if (!rc)
        rc = sf_chat_front_under(f, &s->dir);
    if (s)
        chat_settings_fini(s);
    if (rc)
        op_end(op, rc);
    /* Only what the name says is certain: front matter may say something else than attributes. */
    else if (sf_convs_may_ask(op->chat->o.convs, op->place->provider, &err))
        op_refuse(op, &err);
    else
        op_load(op);
}

/* Who may was settled. */
static void
op_go(struct open_op *op)
{
    if (writes(op))
        chat_settings_get(op->chat, op->place, settings_told, op);
    else
        op_load(op);
}

/* P4 */
static void
dir_told(void *arg, int rc, const struct sf_tree_result *res)
{
    struct open_op *op = arg;
    if (!rc && !chat_may(&op->who, &res->attr, W_OK | X_OK))
        rc = -EACCES;
    if (rc)
        op_end(op, rc);
    else
        op_go(op);
}

static void
place_told(void *arg, int rc, struct chat_place *p)
{
    struct open_op *op = arg;
    struct sf_chat *chat = op->chat;
    op->place = p;
    if (!rc && op->create && chat->o.read_only)
        rc = -EROFS;
    if (!rc && (!chat_is_owner(chat, &op->who) ||
                !chat_may(&op->who, &p->attr, p->file[0] ? R_OK : R_OK | X_OK)))
        rc = -EACCES;
    if (!rc) {
        op->o.node = chat_node_of(chat, p, op->create ? op->name : NULL);
        rc = op->o.node ? chat_place_conv(chat, p, &op->o.conv) : -ENOMEM;
    }
    if (rc)
        op_end(op, rc);
    else if (op->create)
        sf_tree_getattr(chat->o.tree, p->parent, NULL, dir_told, op);
    else
        op_go(op);
}

static struct open_op *
op_new(struct sf_chat *chat, const struct sf_chat_who *who, int flags, sf_tree_fn fn, void *arg)
{
    struct open_op *op = calloc(1, sizeof *op);
    gid_t *groups = calloc(who->n_groups + 1, sizeof *groups);
    if (!op || !groups) {
        free(op);
        free(groups);
        fn(arg, -ENOMEM, NULL);
        return NULL;
    }
    for (size_t i = 0; i < who->n_groups; i++)
        groups[i] = who->groups[i];
    op->wait.cancel = op_cancel;
    op->wait.free = op_free;
    op->chat = op->o.chat = chat;
    op->o.flags = flags;
    op->o.uid = who->uid;
    sf_chat_front_init(&op->o.settings);
    op->who = *who;
    op->who.groups = groups;
    op->fn = fn;
    op->arg = arg;
    chat_busy(chat);
    int rc = chat_wait_begin(chat, &op->wait, false);
    if (rc) {
        op_free(&op->wait);
        fn(arg, rc, NULL);
        return NULL;
    }
    return op;
}

static void
view_open(struct open_op *op)
{
    struct chat_node *n = op->o.node;
    int rc = writes(op) && !chat_node_asks(n) ? -EACCES : 0;
    struct sf_err err = SF_ERR_INIT;
    if (!rc)
        rc = chat_node_conv(op->chat, n, &op->o.conv);
    if (rc)
        op_end(op, rc);
    else if (writes(op) && sf_convs_may_ask(op->chat->o.convs, NULL, &err))
        op_refuse(op, &err);
    else
        op_load(op);
}

uint64_t
sf_chat_open(struct sf_chat *chat, const struct sf_chat_who *who, uint64_t node, int flags,
             sf_tree_fn fn, void *arg)
{
    struct open_op *op = op_new(chat, who, flags, fn, arg);
    if (!op)
        return 0;
    uint64_t id = op->wait.id;
    struct chat_node *n = op->o.node = chat_node_get(chat, node);
    if (!n || !chat_is_owner(chat, who) || (writes(op) && chat->o.read_only)) {
        op_end(op, node == SF_CHAT_DIR        ? -EISDIR
                   : !n                       ? -ESTALE
                   : chat_is_owner(chat, who) ? -EROFS
                                              : -EACCES);
    } else if (!n->by_stem) {
        view_open(op);
    } else {
        char file[256];
        uint64_t parent;
        {
            SF_GUARD(&chat->lock);
            parent = n->parent;
            snprintf(file, sizeof file, "%s", n->file);
        }
        op->o.node = NULL; /* the place finds it again */
        chat_place_again(chat, parent, file, n->provider, place_told, op);
        chat_node_put(chat, n);
    }
    return id;
}

void
sf_chat_create(struct sf_chat *chat, const struct sf_chat_who *who, uint64_t parent,
               const char *name, int flags, sf_tree_fn fn, void *arg)
{
    struct open_op *op;
    if (parent == SF_CHAT_DIR) {
        fn(arg, -EPERM, NULL);
        return;
    }
    if (chat_was_moved(chat, parent, name)) {
        fn(arg, -ENOENT, NULL);
        return;
    }
    op = op_new(chat, who, flags, fn, arg);
    if (!op)
        return;
    op->create = true;
    snprintf(op->name, sizeof op->name, "%s", name);
    chat_place_find(chat, parent, name, place_told, op);
}

uint64_t
sf_chat_open_about(struct sf_chat *chat, const struct sf_chat_who *who, uint64_t node, int flags,
                   sf_tree_fn fn, void *arg)
{
    struct open_op *op = op_new(chat, who, flags, fn, arg);
    if (!op)
        return 0;
    uint64_t id = op->wait.id;
    chat_place_of(chat, node, NULL, place_told, op);
    return id;
}
