/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "chat/chat-internal.h"

/* What is asked of names and nodes without opening them (docs/formats/chat.md: N5, P1, P5, C2, C3,
 * W4). */

struct look {
    struct sf_chat *chat;
    struct chat_place *place;
    struct chat_node *node;
    struct sf_conv *conv;
    void (*go)(struct look *l); /* once the conversation is known */
    char name[256];
    enum sf_chat_view view;
    char id[SF_CHAT_ID_MAX + 1];
    struct sf_chat_who who; /* without its groups */
    struct sf_attr attr;
    unsigned valid;
    sf_tree_fn fn;
    void *arg;
};

static void
nobody(void *arg, int err, const struct sf_tree_result *res)
{
    (void)arg;
    (void)err;
    (void)res;
}

static struct look *
look_new(struct sf_chat *chat, const struct sf_chat_who *who, const char *name,
         void (*go)(struct look *l), sf_tree_fn fn, void *arg)
{
    struct look *l = calloc(1, sizeof *l);
    if (!l) {
        fn(arg, -ENOMEM, NULL);
        return NULL;
    }
    *l = (struct look){.chat = chat, .go = go, .fn = fn, .arg = arg};
    if (who)
        l->who = (struct sf_chat_who){.uid = who->uid, .gid = who->gid};
    snprintf(l->name, sizeof l->name, "%s", name);
    chat_busy(chat);
    return l;
}

static void
look_end(struct look *l, int rc, const struct sf_tree_result *res)
{
    struct sf_chat *chat = l->chat;
    l->fn(l->arg, rc, rc ? NULL : res);
    if (l->node)
        chat_node_put(chat, l->node);
    sf_conv_put(l->conv);
    chat_place_free(l->place);
    free(l);
    chat_idle(chat);
}

static void
look_done(void *arg, int rc)
{
    const struct sf_tree_result res = {0};
    look_end(arg, rc, &res);
}

static void
loaded(void *arg, int rc)
{
    struct look *l = arg;
    if (rc)
        look_end(l, rc, NULL);
    else
        l->go(l);
}

static bool
exists(const struct look *l)
{
    struct sf_conv_facts facts;
    sf_conv_facts(l->conv, SF_CHAT_VIEW_ALL, &facts);
    return facts.exists;
}

/* ---- look-up --------------------------------------------------------------------------------- */

static void
lookup_go(struct look *l)
{
    struct sf_tree_result res = {0};
    if (!exists(l)) {
        look_end(l, 0, &res);
        return;
    }
    l->node = l->place ? chat_node_of(l->chat, l->place, l->name)
                       : chat_node_view(l->chat, l->name, l->id, l->view);
    if (!l->node) {
        look_end(l, -ENOMEM, NULL);
        return;
    }
    res.entry.node = l->node->id;
    chat_node_attr(l->chat, l->node, l->conv, &res.entry.attr);
    {
        SF_GUARD(&l->chat->lock);
        l->node->lookups++;
    }
    look_end(l, 0, &res);
}

static void
place_told(void *arg, int rc, struct chat_place *p)
{
    struct look *l = arg;
    const struct sf_tree_result none = {0};
    l->place = p;
    if (!rc)
        rc = chat_place_conv(l->chat, p, &l->conv);
    if (rc == -ENOENT && l->go == lookup_go)
        look_end(l, 0, &none);
    else if (rc)
        look_end(l, rc, NULL);
    else
        chat_conv_load(l->conv, true, loaded, l);
}

static void
view_lookup(struct look *l)
{
    const struct sf_conv_key key = {.id = l->id};
    const struct sf_tree_result none = {0};
    int rc = sf_chat_view_read(l->name, l->id, &l->view);
    if (!rc)
        rc = sf_conv_get(l->chat->o.convs, &key, &l->conv);
    if (rc == -ENOENT || rc == -EINVAL)
        look_end(l, 0, &none);
    else if (rc)
        look_end(l, rc, NULL);
    else
        chat_conv_load(l->conv, true, loaded, l);
}

void
sf_chat_lookup(struct sf_chat *chat, uint64_t parent, const char *name, sf_tree_fn fn, void *arg)
{
    const struct sf_tree_result none = {0};
    if (strlen(name) > 255) {
        fn(arg, -ENAMETOOLONG, NULL);
        return;
    }
    if (parent != SF_CHAT_DIR && sf_chat_owns(parent)) {
        fn(arg, 0, &none);
        return;
    }
    if (chat_was_moved(chat, parent, name)) {
        fn(arg, 0, &none);
        return;
    }
    struct look *l = look_new(chat, NULL, name, lookup_go, fn, arg);
    if (!l)
        return;
    if (parent == SF_CHAT_DIR)
        view_lookup(l);
    else
        chat_place_find(chat, parent, name, place_told, l);
}

/* ---- unlink, rename -------------------------------------------------------------------------- */

static void
unlink_go(struct look *l)
{
    if (!exists(l))
        look_end(l, -ENOENT, NULL);
    else if (!chat_is_owner(l->chat, &l->who))
        look_end(l, -EACCES, NULL);
    else if (l->chat->o.read_only)
        look_end(l, -EROFS, NULL);
    else
        sf_conv_put_away(l->conv, false, look_done, l);
}

void
sf_chat_unlink(struct sf_chat *chat, const struct sf_chat_who *who, uint64_t parent,
               const char *name, sf_tree_fn fn, void *arg)
{
    if (parent == SF_CHAT_DIR || strlen(name) > 255) {
        fn(arg, parent == SF_CHAT_DIR ? -EPERM : -ENAMETOOLONG, NULL);
        return;
    }
    struct look *l = look_new(chat, who, name, unlink_go, fn, arg);
    if (l)
        chat_place_find(chat, parent, name, place_told, l);
}

void
sf_chat_covered(struct sf_chat *chat, uint64_t parent, const char *name)
{
    static const struct sf_chat_who us = {.uid = 0};
    if (parent != SF_CHAT_DIR && sf_chat_maybe(chat, parent, name))
        sf_chat_unlink(chat, &us, parent, name, nobody, NULL);
}

void
sf_chat_moved(struct sf_chat *chat, uint64_t parent, const char *name)
{
    if (parent == SF_CHAT_DIR || !sf_chat_maybe(chat, parent, name))
        return;
    SF_GUARD(&chat->lock);
    struct chat_moved *m = &chat->moved[chat->next_moved++ % CHAT_MOVED_MAX];
    m->parent = parent;
    m->until_ms = sf_clock_ms() + CHAT_MOVED_MS;
    snprintf(m->name, sizeof m->name, "%s", name);
}

bool
chat_was_moved(struct sf_chat *chat, uint64_t parent, const char *name)
{
    SF_GUARD(&chat->lock);
    for (unsigned i = 0; i < CHAT_MOVED_MAX; i++) {
        const struct chat_moved *m = &chat->moved[i];
        if (m->parent == parent && m->until_ms > sf_clock_ms() && strcmp(m->name, name) == 0)
            return true;
    }
    return false;
}

/* ---- attributes ------------------------------------------------------------------------------ */

static void
attr_go(struct look *l)
{
    struct sf_tree_result res = {0};
    chat_node_attr(l->chat, l->node, l->conv, &res.attr);
    look_end(l, 0, &res);
}

static struct look *
look_node(struct sf_chat *chat, const struct sf_chat_who *who, uint64_t node,
          void (*go)(struct look *l), sf_tree_fn fn, void *arg)
{
    struct look *l = look_new(chat, who, "", go, fn, arg);
    if (!l)
        return NULL;
    l->node = chat_node_get(chat, node);
    int rc = l->node ? chat_node_conv(chat, l->node, &l->conv) : -ESTALE;
    if (!rc)
        return l;
    look_end(l, rc, NULL);
    return NULL;
}

void
sf_chat_getattr(struct sf_chat *chat, uint64_t node, sf_tree_fn fn, void *arg)
{
    if (node == SF_CHAT_DIR) {
        const struct sf_tree_result res = {.attr = {.ino = SF_CHAT_DIR,
                                                    .mode = S_IFDIR | 0500,
                                                    .uid = getuid(),
                                                    .gid = getgid(),
                                                    .nlink = 1}};
        fn(arg, 0, &res);
        return;
    }
    struct look *l = look_node(chat, NULL, node, attr_go, fn, arg);
    if (l)
        chat_conv_load(l->conv, false, loaded, l);
}

/* P5: what it is already. */
static bool
is_so(const struct look *l, const struct sf_attr *now)
{
    if (l->valid & SF_SET_MODE && (l->attr.mode & 07777) != (now->mode & 07777))
        return false;
    if (l->valid & SF_SET_UID && l->attr.uid != now->uid)
        return false;
    return !(l->valid & SF_SET_GID) || l->attr.gid == now->gid;
}

static void
emptied(void *arg, int rc)
{
    loaded(arg, rc); /* its attributes as they are now */
}

static void
setattr_go(struct look *l)
{
    struct sf_attr now;
    chat_node_attr(l->chat, l->node, l->conv, &now);
    bool owner = chat_is_owner(l->chat, &l->who);
    int rc = is_so(l, &now) ? 0 : -EPERM;
    bool away = !rc && l->valid & SF_SET_SIZE && l->attr.size == 0;
    if (!rc && l->valid & SF_SET_SIZE && l->attr.size != 0 && l->attr.size != now.size)
        rc = -EINVAL;
    if (l->valid & SF_SET_SIZE && (!owner || !chat_node_asks(l->node)))
        rc = -EACCES;
    else if (l->valid & SF_SET_SIZE && l->chat->o.read_only)
        rc = -EROFS;
    l->go = attr_go;
    if (rc)
        look_end(l, rc, NULL);
    else if (away)
        sf_conv_put_away(l->conv, true, emptied, l);
    else
        attr_go(l);
}

void
sf_chat_setattr(struct sf_chat *chat, const struct sf_chat_who *who, uint64_t node,
                struct sf_chat_file *f, const struct sf_attr *attr, unsigned valid, sf_tree_fn fn,
                void *arg)
{
    if (node == SF_CHAT_DIR) {
        fn(arg, -EPERM, NULL);
        return;
    }
    struct look *l = look_node(chat, who, node, setattr_go, fn, arg);
    if (!l)
        return;
    l->attr = *attr;
    l->valid = valid;
    int rc = f && valid & SF_SET_SIZE ? chat_file_truncate(f, attr->size) : 1;
    if (rc == 0)
        l->valid &= ~SF_SET_SIZE;
    if (f)
        l->who.uid = 0;
    if (rc < 0)
        look_end(l, rc, NULL);
    else
        chat_conv_load(l->conv, false, loaded, l);
}

int
sf_chat_access(const struct sf_chat *chat, const struct sf_chat_who *who, uint64_t node, int mask)
{
    if (node == SF_CHAT_DIR)
        return who->uid == 0 || who->uid == getuid() ? 0 : -EACCES;
    if (mask & X_OK || (mask && !chat_is_owner(chat, who)))
        return -EACCES;
    return mask & W_OK && chat->o.read_only ? -EROFS : 0;
}
