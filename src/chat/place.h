/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef SF_CHAT_PLACE_H
#define SF_CHAT_PLACE_H

#include "chat/chat.h"
#include "chat/names.h"

/* Internal to src/chat: what a chat name is about (docs/formats/chat.md, parts 1 and 2). */

/* FILE, or the directory, and the conversation that the name leads to. */
struct chat_place {
    struct sf_tree *tree;
    uint64_t parent; /* the directory of FILE; the directory itself */
    char file[256];  /* "" = about the directory */
    uint64_t node;   /* of what it is about; a look-up of it is counted with `held` */
    bool held;
    struct sf_attr attr; /* of it */
    char *bucket, *key;
    const char *provider; /* one of the configured; NULL = none is named */
    char stem[SF_CHAT_STEM_MAX + 1];
};
void chat_place_free(struct chat_place *p); /* NULL is allowed */

/* @p: on success; taken over. -ENOENT it is no chat name, or FILE is not there; others: it cannot
 * be told. No lock held. */
typedef void (*chat_place_fn)(void *arg, int rc, struct chat_place *p);

/* What a name in a directory of the tree is about. */
void chat_place_find(struct sf_chat *chat, uint64_t parent, const char *name, chat_place_fn fn,
                     void *arg);
/* As it was found before. -ESTALE it is not there any more. */
void chat_place_again(struct sf_chat *chat, uint64_t parent, const char *file, const char *provider,
                      chat_place_fn fn, void *arg);
/* What a node of the tree is: a file or a directory. @provider as above. */
void chat_place_of(struct sf_chat *chat, uint64_t node, const char *provider, chat_place_fn fn,
                   void *arg);

/* The stem of a node of the tree. -ENOENT nothing can be asked about it. */
int chat_stem_of(struct sf_chat *chat, uint64_t node, const char *provider, char **bucket,
                 char **key, char stem[static SF_CHAT_STEM_MAX + 1]);

/* May @who do this (R_OK, ...) by mode and owner? */
bool chat_may(const struct sf_chat_who *who, const struct sf_attr *attr, unsigned want);

#endif
