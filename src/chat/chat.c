/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "chat/chat.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/str.h"
#include "chat/chat-internal.h"
#include "provider/want.h"

/* ---- begin and end --------------------------------------------------------------------------- */

static void
chat_delete(struct sf_chat *chat)
{
    free((char *)chat->o.identity);
    free((char *)chat->o.suffix);
    free(chat->providers);
    sf_mutex_fini(&chat->lock);
    sf_cond_fini(&chat->idle);
    free(chat);
}

int
sf_chat_new(const struct sf_chat_opts *opts, struct sf_chat **ret)
{
    const struct sf_provider_confs *confs = sf_providers_confs(opts->providers);
    struct sf_chat *chat = calloc(1, sizeof *chat);
    if (!chat)
        return -ENOMEM;
    chat->o = *opts;
    sf_mutex_init(&chat->lock, 8);
    sf_cond_init(&chat->idle);
    chat->o.identity = strdup(opts->identity);
    chat->o.suffix = strdup(opts->suffix);
    chat->providers = calloc(confs->n + 1, sizeof *chat->providers);
    if (!chat->o.identity || !chat->o.suffix || !chat->providers) {
        chat_delete(chat);
        return -ENOMEM;
    }
    for (size_t i = 0; i < confs->n; i++)
        chat->providers[i] = confs->all[i].name;
    *ret = chat;
    return 0;
}

void
chat_busy(struct sf_chat *chat)
{
    SF_GUARD(&chat->lock);
    chat->busy++;
}

void
chat_idle(struct sf_chat *chat)
{
    SF_GUARD(&chat->lock);
    if (--chat->busy == 0)
        sf_cond_broadcast(&chat->idle);
}

/* An open, counted, that was not stopped yet, or with @all not released by us. NULL: all were. */
static struct sf_chat_file *
next_file(struct sf_chat *chat, bool all)
{
    struct sf_chat_file *f;
    SF_GUARD(&chat->lock);
    for (struct chat_node *n = chat->nodes; n; n = n->hh.next)
        for (f = LIST_FIRST(&n->files); f; f = LIST_NEXT(f, link))
            if (all ? !f->freed : !f->stopped) {
                f->freed = all;
                f->stopped = true;
                atomic_fetch_add(&f->refs, 1);
                return f;
            }
    return NULL;
}

static void
kept(void *arg, int err, const struct sf_tree_result *res)
{
    (void)arg;
    (void)err;
    (void)res;
}

void
sf_chat_stop(struct sf_chat *chat)
{
    struct sf_chat_file *f;
    struct chat_wait *w;
    uint64_t id = 0;
    if (!chat)
        return;
    while ((f = next_file(chat, false))) {
        sf_chat_flush(f, kept, NULL);
        chat_file_unref(f);
    }
    do { /* opens that wait for others (R2) */
        {
            SF_GUARD(&chat->lock);
            for (w = chat->waiting; w && w->id <= id; w = w->hh.next)
                ;
            id = w ? w->id : 0;
        }
        if (id)
            sf_chat_cancel(chat, id);
    } while (id);
}

static void
node_delete(struct chat_node *n)
{
    free(n->bucket);
    free(n->key);
    free(n);
}

void
sf_chat_free(struct sf_chat *chat)
{
    struct chat_node *n, *next;
    struct sf_chat_file *f;
    if (!chat)
        return;
    while ((f = next_file(chat, true))) {
        sf_chat_release(f);
        chat_file_unref(f);
    }
    sf_mutex_lock(&chat->lock);
    while (chat->busy)
        sf_cond_wait(&chat->idle, &chat->lock);
    sf_mutex_unlock(&chat->lock);
    HASH_CLEAR(by_id, chat->nodes_by_id);
    HASH_ITER (hh, chat->nodes, n, next) {
        HASH_DEL(chat->nodes, n);
        node_delete(n);
    }
    chat_delete(chat);
}

/* ---- nodes ----------------------------------------------------------------------------------- */

bool
sf_chat_maybe(const struct sf_chat *chat, uint64_t parent, const char *name)
{
    struct sf_chat_reading readings[SF_CHAT_READINGS];
    if (!chat || parent == SF_CHAT_DIR)
        return chat;
    if (parent >> 63 || !sf_str_ends(name, chat->o.suffix))
        return false;
    return sf_chat_name_read(name, chat->o.suffix, chat->providers, readings) > 0;
}

struct chat_node *
chat_node_get(struct sf_chat *chat, uint64_t id)
{
    struct chat_node *n = NULL;
    SF_GUARD(&chat->lock);
    HASH_FIND(by_id, chat->nodes_by_id, &id, sizeof id, n);
    if (n)
        n->refs++;
    return n;
}

static void
node_unused_locked(struct sf_chat *chat, struct chat_node *n)
{
    if (n->refs || n->lookups)
        return;
    HASH_DEL(chat->nodes, n);
    HASH_DELETE(by_id, chat->nodes_by_id, n);
    node_delete(n);
}

void
chat_node_put(struct sf_chat *chat, struct chat_node *n)
{
    SF_GUARD(&chat->lock);
    n->refs--;
    node_unused_locked(chat, n);
}

void
sf_chat_forget(struct sf_chat *chat, uint64_t node, uint64_t count)
{
    struct chat_node *n = NULL;
    SF_GUARD(&chat->lock);
    HASH_FIND(by_id, chat->nodes_by_id, &node, sizeof node, n);
    if (!n)
        return;
    n->lookups -= count < n->lookups ? count : n->lookups;
    node_unused_locked(chat, n);
}

uint64_t
chat_ino(const char *what)
{
    uint64_t h = UINT64_C(14695981039346656037);
    for (const char *s = what; *s; s++)
        h = (h ^ (unsigned char)*s) * UINT64_C(1099511628211);
    return SF_CHAT_DIR | h >> 2;
}

static struct chat_node *
node_enter_locked(struct sf_chat *chat, struct chat_node *n)
{
    n->id = SF_CHAT_DIR + ++chat->serial;
    n->born_ns = sf_wall_ns();
    n->ino = chat_ino(n->what);
    HASH_ADD_KEYPTR(hh, chat->nodes, n->what, strlen(n->what), n);
    if (!SF_HTAB_ADDED(n)) {
        node_delete(n);
        return NULL;
    }
    HASH_ADD(by_id, chat->nodes_by_id, id, sizeof n->id, n);
    if (!n->by_id.tbl) {
        HASH_DEL(chat->nodes, n);
        node_delete(n);
        return NULL;
    }
    return n;
}

static struct chat_node *
find_locked(struct sf_chat *chat, const char *what)
{
    struct chat_node *n = NULL;
    HASH_FIND(hh, chat->nodes, what, strlen(what), n);
    return n;
}

struct chat_node *
chat_node_of(struct sf_chat *chat, const struct chat_place *p, const char *name)
{
    SF_GUARD(&chat->lock);
    struct chat_node *n = find_locked(chat, p->stem);
    if (!n) {
        n = calloc(1, sizeof *n);
        if (!n)
            return NULL;
        snprintf(n->what, sizeof n->what, "%s", p->stem);
        n->by_stem = true;
        n->bucket = strdup(p->bucket);
        n->key = strdup(p->key);
        n->provider = p->provider;
        if (!n->bucket || !n->key) {
            node_delete(n);
            return NULL;
        }
        n = node_enter_locked(chat, n);
    }
    if (!n)
        return NULL;
    n->gid = p->attr.gid;
    n->parent = p->parent;
    snprintf(n->file, sizeof n->file, "%s", p->file);
    if (name)
        snprintf(n->name, sizeof n->name, "%s", name);
    n->refs++;
    return n;
}

struct chat_node *
chat_node_view(struct sf_chat *chat, const char *name, const char *id, enum sf_chat_view view)
{
    SF_GUARD(&chat->lock);
    struct chat_node *n = find_locked(chat, name);
    if (!n) {
        n = calloc(1, sizeof *n);
        if (!n)
            return NULL;
        snprintf(n->what, sizeof n->what, "%s", name);
        snprintf(n->name, sizeof n->name, "%s", name);
        snprintf(n->conv_id, sizeof n->conv_id, "%s", id);
        n->view = view;
        n->gid = getgid();
        n = node_enter_locked(chat, n);
    }
    if (n)
        n->refs++;
    return n;
}

int
chat_node_conv(struct sf_chat *chat, const struct chat_node *n, struct sf_conv **ret)
{
    struct sf_conv_key key = {.id = n->conv_id};
    if (n->by_stem)
        key = (struct sf_conv_key){
            .stem = n->what, .bucket = n->bucket, .key = n->key, .provider = n->provider};
    return sf_conv_get(chat->o.convs, &key, ret);
}

int
chat_place_conv(struct sf_chat *chat, const struct chat_place *p, struct sf_conv **ret)
{
    const struct sf_conv_key key = {
        .stem = p->stem, .bucket = p->bucket, .key = p->key, .provider = p->provider};
    return sf_conv_get(chat->o.convs, &key, ret);
}

/* ---- attributes ------------------------------------------------------------------------------ */

void
chat_node_attr(struct sf_chat *chat, struct chat_node *n, struct sf_conv *c, struct sf_attr *out)
{
    struct sf_conv_facts facts;
    sf_conv_facts(c, n->view, &facts);
    int64_t at = facts.mtime_ns ? facts.mtime_ns : n->born_ns;
    SF_GUARD(&chat->lock);
    *out = (struct sf_attr){.ino = n->ino,
                            .mode = S_IFREG | (chat_node_asks(n) ? 0600 : 0400),
                            .uid = chat->o.owner,
                            .gid = n->gid,
                            .nlink = 1,
                            .size = facts.size,
                            .atime_ns = at,
                            .mtime_ns = at,
                            .ctime_ns = at};
}

struct load {
    struct sf_conv *conv;
    void (*fn)(void *arg, int rc);
    void *arg;
};

static void
load_tried(void *arg, int rc)
{
    struct load *l = arg;
    struct load copy = *l;
    struct sf_conv_facts facts;
    free(l);
    sf_conv_facts(copy.conv, SF_CHAT_VIEW_ALL, &facts);
    if (rc || facts.exists)
        copy.fn(copy.arg, rc);
    else
        sf_conv_load(copy.conv, CHAT_TABLES_MS, copy.fn, copy.arg);
}

void
chat_conv_load(struct sf_conv *c, bool tables, void (*fn)(void *arg, int rc), void *arg)
{
    struct load *l = tables ? malloc(sizeof *l) : NULL;
    if (!l) {
        sf_conv_load(c, 0, fn, arg);
        return;
    }
    *l = (struct load){c, fn, arg};
    sf_conv_load(c, 0, load_tried, l);
}

/* ---- what waits ------------------------------------------------------------------------------ */

int
chat_wait_begin(struct sf_chat *chat, struct chat_wait *w, bool counted)
{
    SF_GUARD(&chat->lock);
    w->chat = chat;
    w->counted = counted;
    if (counted && chat->n_waiting >= CHAT_WAITING_MAX)
        return -EAGAIN;
    w->id = ++chat->serial;
    HASH_ADD(hh, chat->waiting, id, sizeof w->id, w);
    if (!SF_HTAB_ADDED(w))
        return -ENOMEM;
    atomic_store(&w->refs, 2);
    chat->n_waiting += counted;
    return 0;
}

void
chat_wait_unref(struct chat_wait *w)
{
    if (atomic_fetch_sub(&w->refs, 1) == 1)
        w->free(w);
}

/* The table's reference is the taker's then. */
bool
chat_wait_take_locked(struct chat_wait *w)
{
    struct sf_chat *chat = w->chat;
    SF_ASSERT_HELD(&chat->lock);
    if (w->over)
        return false;
    w->over = true;
    HASH_DEL(chat->waiting, w);
    chat->n_waiting -= w->counted;
    if (w->linked)
        LIST_REMOVE(w, link);
    w->linked = false;
    return true;
}

bool
chat_wait_take(struct chat_wait *w)
{
    SF_GUARD(&w->chat->lock);
    return chat_wait_take_locked(w);
}

void
sf_chat_cancel(struct sf_chat *chat, uint64_t id)
{
    struct chat_wait *w = NULL;
    {
        SF_GUARD(&chat->lock);
        HASH_FIND(hh, chat->waiting, &id, sizeof id, w);
        if (w)
            atomic_fetch_add(&w->refs, 1);
    }
    if (!w)
        return;
    w->cancel(w);
    chat_wait_unref(w);
}

void
sf_chat_stats(struct sf_chat *chat, struct sf_chat_stats *out)
{
    SF_GUARD(&chat->lock);
    *out = (struct sf_chat_stats){
        .nodes = HASH_COUNT(chat->nodes), .open_files = chat->n_files, .waiting = chat->n_waiting};
}
