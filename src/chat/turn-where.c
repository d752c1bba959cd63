/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Where in the mount the object of a key is. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "chat/internal.h"
#include "tree/files.h"
#include "tree/names.h"

struct walk {
    struct sf_tree *tree;
    struct sf_tree_entry at; /* the directory by now */
};

/* Down to the directory of a name. */
static int
enter(struct walk *w, const char *comp, size_t len, unsigned flags)
{
    char name[SF_NAME_BUF_SIZE];
    struct sf_tree_entry below;
    int rc = sf_name_from_key(comp, len, flags, name);
    if (!rc)
        rc = sf_files_lookup(w->tree, w->at.node, name, &below);
    if (rc)
        return rc;
    sf_files_forget(w->tree, &w->at);
    w->at = below;
    return S_ISDIR(below.attr.mode) ? 0 : -ENOTDIR;
}

/* Its name there: another one where a directory has it, too. */
static int
name_in(struct walk *w, const char *comp, unsigned flags, char file[static 256])
{
    char name[SF_NAME_BUF_SIZE];
    struct sf_tree_entry e;
    int rc = sf_name_from_key(comp, strlen(comp), flags, name);
    if (!rc)
        rc = sf_files_lookup(w->tree, w->at.node, name, &e);
    if (rc)
        return rc;
    bool is_dir = S_ISDIR(e.attr.mode);
    sf_files_forget(w->tree, &e);
    if (is_dir)
        rc = sf_name_from_key(comp, strlen(comp), flags | SF_NAME_CLASH, name);
    if (!rc)
        snprintf(file, 256, "%s", name);
    return rc;
}

/* Behind the prefix of the mount; NULL = it is not in it. */
static const char *
below_prefix(const char *prefix, const char *key)
{
    size_t n = prefix ? strlen(prefix) : 0;
    if (!n)
        return key;
    if (strncmp(key, prefix, n) != 0)
        return NULL;
    return key[n] == '/' ? key + n + 1 : key[n] ? NULL : key + n;
}

static int
walk(struct walk *w, const char *key, unsigned flags, char file[static 256])
{
    const char *slash;
    *file = '\0';
    for (; (slash = strchr(key, '/')); key = slash + 1, flags = 0) {
        int rc = enter(w, key, (size_t)(slash - key), flags);
        if (rc)
            return rc;
    }
    return *key ? name_in(w, key, flags, file) : 0;
}

int
convs_find(struct sf_convs *cs, const char *bucket, const char *key, struct sf_tree_entry *dir,
           char file[static 256])
{
    const struct sf_convs_opts *o = &cs->opts;
    struct walk w = {.tree = o->tree, .at = {.node = SF_TREE_ROOT}};
    unsigned flags = SF_NAME_AT_ROOT;
    int rc = 0;
    if (!o->tree)
        return -ENOENT;
    if (!o->bucket) {
        rc = enter(&w, bucket, strlen(bucket), SF_NAME_BUCKET);
        flags = 0;
    } else if (strcmp(bucket, o->bucket) != 0 || !(key = below_prefix(o->prefix, key))) {
        rc = -ENOENT;
    }
    if (!rc)
        rc = walk(&w, key, flags, file);
    if (rc)
        sf_files_forget(o->tree, &w.at);
    else
        *dir = w.at;
    return rc;
}
