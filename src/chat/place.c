/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "chat/place.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "chat/chat-internal.h"

struct find {
    struct sf_chat *chat;
    struct chat_place *place; /* that is being filled */
    chat_place_fn fn;
    void *arg;
    bool again; /* it was there before */
    unsigned n, i;
    struct sf_chat_reading readings[SF_CHAT_READINGS];
    char name[256];
};

void
chat_place_free(struct chat_place *p)
{
    if (!p)
        return;
    if (p->held)
        sf_tree_forget(p->tree, p->node, 1);
    free(p->bucket);
    free(p->key);
    free(p);
}

int
chat_stem_of(struct sf_chat *chat, uint64_t node, const char *provider, char **bucket, char **key,
             char stem[static SF_CHAT_STEM_MAX + 1])
{
    char *b = NULL, *k = NULL;
    int rc = sf_tree_key(chat->o.tree, node, &b, &k);
    if (!rc)
        rc = sf_chat_stem(chat->o.identity, b, k, provider, stem);
    if (rc) {
        free(b);
        free(k);
        /* The root of a whole project has none, and what was removed. */
        return rc == -ESTALE ? -ENOENT : rc;
    }
    *bucket = b;
    *key = k;
    return 0;
}

static void
find_end(struct find *f, int rc)
{
    if (rc) {
        chat_place_free(f->place);
        f->place = NULL;
    }
    if (rc == -ENOENT && f->again)
        rc = -ESTALE;
    f->fn(f->arg, rc, f->place);
    free(f);
}

/* The place is known but for what the conversation is called. */
static void
find_name(struct find *f)
{
    struct chat_place *p = f->place;
    find_end(f, chat_stem_of(f->chat, p->node, p->provider, &p->bucket, &p->key, p->stem));
}

static void find_next(struct find *f);

static void
dir_told(void *arg, int err, const struct sf_tree_result *res)
{
    struct find *f = arg;
    struct chat_place *p = f->place;
    if (!err && !S_ISDIR(res->attr.mode) && !(S_ISREG(res->attr.mode) && p->file[0]))
        err = -ENOENT;
    if (err) {
        find_end(f, err == -ESTALE ? -ENOENT : err);
        return;
    }
    p->attr = res->attr;
    find_name(f);
}

/* No object can be called so, or none is: the next reading counts. */
static bool
is_absent(int err)
{
    return err == -ENOENT || err == -EINVAL || err == -ENAMETOOLONG || err == -ENOTDIR ||
           err == -ESTALE;
}

static void
file_told(void *arg, int err, const struct sf_tree_result *res)
{
    struct find *f = arg;
    struct chat_place *p = f->place;
    if (err && !is_absent(err)) {
        find_end(f, err);
        return;
    }
    if (err || !res->entry.node) {
        find_next(f);
        return;
    }
    if (!S_ISREG(res->entry.attr.mode)) {
        sf_tree_forget(p->tree, res->entry.node, 1);
        find_next(f);
        return;
    }
    p->node = res->entry.node;
    p->held = true;
    p->attr = res->entry.attr;
    find_name(f);
}

/* Is FILE there, as the name is read next? */
static void
find_next(struct find *f)
{
    struct chat_place *p = f->place;
    if (f->i == f->n) {
        find_end(f, -ENOENT);
        return;
    }
    const struct sf_chat_reading *r = &f->readings[f->i++];
    snprintf(p->file, sizeof p->file, "%.*s", (int)r->file_len, f->name);
    p->provider = r->provider;
    if (r->file_len) {
        sf_tree_lookup(p->tree, p->parent, p->file, file_told, f);
        return;
    }
    p->node = p->parent;
    sf_tree_getattr(p->tree, p->parent, NULL, dir_told, f);
}

static struct find *
find_new(struct sf_chat *chat, uint64_t parent, chat_place_fn fn, void *arg)
{
    struct find *f = calloc(1, sizeof *f);
    struct chat_place *p = calloc(1, sizeof *p);
    if (!f || !p) {
        free(f);
        free(p);
        fn(arg, -ENOMEM, NULL);
        return NULL;
    }
    p->tree = chat->o.tree;
    p->parent = parent;
    *f = (struct find){.chat = chat, .place = p, .fn = fn, .arg = arg};
    return f;
}

void
chat_place_find(struct sf_chat *chat, uint64_t parent, const char *name, chat_place_fn fn,
                void *arg)
{
    struct find *f = find_new(chat, parent, fn, arg);
    if (!f)
        return;
    f->n = sf_chat_name_read(name, chat->o.suffix, chat->providers, f->readings);
    snprintf(f->name, sizeof f->name, "%s", name);
    find_next(f);
}

void
chat_place_again(struct sf_chat *chat, uint64_t parent, const char *file, const char *provider,
                 chat_place_fn fn, void *arg)
{
    struct find *f = find_new(chat, parent, fn, arg);
    if (!f)
        return;
    f->again = true;
    f->n = 1;
    f->readings[0] = (struct sf_chat_reading){strlen(file), provider};
    snprintf(f->name, sizeof f->name, "%s", file);
    find_next(f);
}

void
chat_place_of(struct sf_chat *chat, uint64_t node, const char *provider, chat_place_fn fn,
              void *arg)
{
    struct find *f = find_new(chat, 0, fn, arg);
    if (!f)
        return;
    struct chat_place *p = f->place;
    p->node = node;
    p->provider = provider;
    sf_autofree char *bucket = NULL, *key = NULL;
    int rc = sf_tree_key(p->tree, node, &bucket, &key);
    size_t len = rc ? 0 : strlen(key);
    if (rc || !len || key[len - 1] == '/')
        p->parent = node;
    else
        rc = sf_tree_where(p->tree, node, &p->parent, p->file);
    if (rc)
        find_end(f, rc == -ESTALE ? -ENOENT : rc);
    else
        sf_tree_getattr(p->tree, node, NULL, dir_told, f);
}

bool
chat_may(const struct sf_chat_who *who, const struct sf_attr *attr, unsigned want)
{
    bool group = who->gid == attr->gid;
    for (size_t i = 0; i < who->n_groups && !group; i++)
        group = who->groups[i] == attr->gid;
    unsigned bits = attr->mode & 07;
    if (who->uid == 0)
        return true;
    if (who->uid == attr->uid)
        bits = attr->mode >> 6 & 07;
    else if (group)
        bits = attr->mode >> 3 & 07;
    return (bits & want) == want;
}
