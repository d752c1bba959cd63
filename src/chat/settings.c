/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/str.h"
#include "chat/chat-internal.h"

/* Settings that are kept with FILE and its directory as attributes (docs/formats/chat.md, S5). */

#define PREFIX "user.supafs.chat."

int
chat_setting_of(const char *xattr)
{
    if (!sf_str_starts(xattr, PREFIX))
        return -1;
    int set = sf_chat_set_find(xattr + strlen(PREFIX));
    return set < SF_CHAT_SETS_OF_FILE ? set : -1;
}

void
chat_settings_fini(struct chat_settings *s)
{
    sf_chat_front_fini(&s->file);
    sf_chat_front_fini(&s->dir);
}

/* FILE's names are listed, and those asked for that are settings; then the directory's. */
struct ask {
    struct sf_chat *chat;
    struct chat_settings got;
    uint64_t nodes[2];
    unsigned n, i;
    bool listed;   /* of the present node it is known which are there: */
    unsigned todo; /* bits, of those that were not asked for */
    enum sf_chat_set set;
    chat_settings_fn fn;
    void *arg;
};

static void ask_next(struct ask *a);

static void
ask_end(struct ask *a, int rc)
{
    struct chat_settings s = a->got;
    chat_settings_fn fn = a->fn;
    void *arg = a->arg;
    free(a);
    if (rc)
        chat_settings_fini(&s);
    fn(arg, rc, rc ? NULL : &s);
}

/* What was set without having been checked here (attrs of another program) is not believed, nor is
 * it an error. */
static void
value_told(void *arg, int err, const struct sf_tree_result *res)
{
    struct ask *a = arg;
    struct sf_chat_front *f = a->i ? &a->got.dir : &a->got.file;
    if (!err) {
        char *value = strndup(res->data, res->len);
        err = value ? sf_chat_front_set(f, a->set, value, NULL) : -ENOMEM;
        free(value);
    }
    if (err && err != -ENODATA && err != -EINVAL)
        ask_end(a, err);
    else
        ask_next(a);
}

static void
names_told(void *arg, int err, const struct sf_tree_result *res)
{
    struct ask *a = arg;
    const char *name = err ? NULL : res->data, *end = err ? NULL : name + res->len;
    for (; name < end; name += strlen(name) + 1) {
        int set = chat_setting_of(name);
        if (set >= 0)
            a->todo |= 1u << set;
    }
    if (err && err != -ENODATA && err != -EOPNOTSUPP) {
        ask_end(a, err);
        return;
    }
    ask_next(a);
}

static void
ask_next(struct ask *a)
{
    struct sf_tree *tree = a->chat->o.tree;
    char name[sizeof PREFIX + 32];
    if (a->listed && !a->todo) {
        a->listed = false;
        a->i++;
    }
    if (a->i == a->n) {
        ask_end(a, 0);
    } else if (!a->listed) {
        a->listed = true;
        sf_tree_listxattr(tree, a->nodes[a->i], names_told, a);
    } else {
        a->set = (enum sf_chat_set)__builtin_ctz(a->todo);
        a->todo &= a->todo - 1;
        snprintf(name, sizeof name, PREFIX "%s", sf_chat_set_name(a->set));
        (void)sf_tree_getxattr(tree, a->nodes[a->i], name, value_told, a);
    }
}

void
chat_settings_get(struct sf_chat *chat, const struct chat_place *p, chat_settings_fn fn, void *arg)
{
    struct ask *a = calloc(1, sizeof *a);
    if (!a) {
        fn(arg, -ENOMEM, NULL);
        return;
    }
    *a = (struct ask){.chat = chat, .fn = fn, .arg = arg};
    sf_chat_front_init(&a->got.file);
    sf_chat_front_init(&a->got.dir);
    a->nodes[a->n++] = p->node;
    if (p->file[0])
        a->nodes[a->n++] = p->parent;
    ask_next(a);
}
