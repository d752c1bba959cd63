/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef SF_CHAT_IGNORE_H
#define SF_CHAT_IGNORE_H

#include <stdbool.h>
#include <stddef.h>

#include "base/vec.h"

/*
 * What a chat about a directory leaves out by the files .chatignore in it and in those below it
 * (docs/formats/chat.md, M6). Pure; any bytes.
 */

#define SF_CHAT_IGNORE_NAME ".chatignore"
#define SF_CHAT_IGNORE_MAX  (16 * 1024) /* bytes of such a file; those behind do not count */

struct sf_chat_ignore;                                   /* one file */
SF_VEC_DEFINE(sf_chat_ignores, struct sf_chat_ignore *); /* zeroed = begin */

/**
 * sf_chat_ignores_add - the rules of one file. Directories come in the order of a walk, each before
 * what lies in it: files of those that @dir is not below are dropped.
 * @dir: where it lies, below the directory where the walk began, "" = there. No slash at its end.
 *
 * Returns 0 or -ENOMEM.
 */
int sf_chat_ignores_add(struct sf_chat_ignores *all, const char *dir, const char *text, size_t len);

/**
 * sf_chat_ignored - whether something is left out. That a directory above it is, is for the caller
 * to know: what lies below such a one cannot be taken back.
 * @path: as @dir above; never "".
 */
bool sf_chat_ignored(const struct sf_chat_ignores *all, const char *path, bool is_dir);

void sf_chat_ignores_free(struct sf_chat_ignores *all);

#endif
