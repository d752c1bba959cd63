/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "chat/chat-internal.h"
#include "chat/store.h"

/* The directory `.supafs/chats` (docs/formats/chat.md, N12). */

#define PAGE 1000 /* ids that are read at once */

struct sf_chat_dir {
    struct sf_chat_ids ids;
    char name[SF_CHAT_ID_MAX + 8]; /* of the entry that was given last */
};

struct list {
    struct sf_chat *chat;
    struct sf_chat_dir *dir;
    sf_tree_fn fn;
    void *arg;
};

void
sf_chat_releasedir(struct sf_chat_dir *dir)
{
    SF_VEC_FOREACH (&dir->ids, id)
        free(*id);
    sf_chat_ids_fini(&dir->ids);
    free(dir);
}

static int
id_read(void *arg, const char *id)
{
    struct sf_chat_dir *dir = arg;
    char *copy = strdup(id);
    int rc = copy ? sf_chat_ids_push(&dir->ids, copy) : -ENOMEM;
    if (rc)
        free(copy);
    return rc;
}

/* Where one may wait for the disk. */
static void
list_read(void *arg)
{
    struct list *l = arg;
    struct sf_chat *chat = l->chat;
    struct sf_chat_dir *dir = l->dir;
    struct sf_chat_store *st = sf_convs_store(chat->o.convs);
    size_t before;
    int rc;
    do {
        before = dir->ids.len;
        rc = sf_chat_store_list(st, before ? dir->ids.data[before - 1] : "", PAGE, id_read, dir);
    } while (!rc && dir->ids.len == before + PAGE);
    const struct sf_tree_result res = {.other = dir};
    if (rc)
        sf_chat_releasedir(dir);
    l->fn(l->arg, rc, rc ? NULL : &res);
    free(l);
    chat_idle(chat);
}

void
sf_chat_opendir(struct sf_chat *chat, sf_tree_fn fn, void *arg)
{
    struct list *l = calloc(1, sizeof *l);
    struct sf_chat_dir *dir = calloc(1, sizeof *dir);
    int rc = -ENOMEM;
    if (l && dir) {
        *l = (struct list){chat, dir, fn, arg};
        chat_busy(chat);
        rc = sf_convs_work(chat->o.convs, list_read, l);
        if (!rc)
            return;
        chat_idle(chat);
    }
    free(l);
    free(dir);
    fn(arg, rc, NULL);
}

int
sf_chat_dirent(struct sf_chat_dir *dir, uint64_t off, struct sf_dirent *out)
{
    if (off >= dir->ids.len + 2)
        return 0;
    *out = (struct sf_dirent){.type = S_IFDIR, .ino = SF_CHAT_DIR, .next = off + 1};
    out->name = off ? ".." : ".";
    if (off < 2)
        return 1;
    snprintf(dir->name, sizeof dir->name, "%s.md", dir->ids.data[off - 2]);
    out->name = dir->name;
    out->type = S_IFREG;
    out->ino = chat_ino(dir->name);
    return 1;
}
