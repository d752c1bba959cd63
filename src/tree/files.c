/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tree/files.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "base/lock.h"
#include "base/vec.h"

SF_VEC_DEFINE(name_vec, char *);

/* ---- calls of the tree that wait ------------------------------------------------------------- */

struct wait {
    struct sf_mutex lock; /* leaf */
    struct sf_cond cond;
    bool done;
    int err;
    struct sf_tree_result res;
    char *text; /* NULL, or gets the data, which only the callback has */
    size_t size;
};

static void
wait_done(void *arg, int err, const struct sf_tree_result *res)
{
    struct wait *w = arg;
    SF_GUARD(&w->lock);
    w->err = err;
    if (res)
        w->res = *res;
    if (res && w->text)
        snprintf(w->text, w->size, "%.*s", (int)res->len, (const char *)res->data);
    w->done = true;
    sf_cond_signal(&w->cond);
}

static void
wait_init(struct wait *w)
{
    *w = (struct wait){0};
    sf_mutex_init(&w->lock, 0);
    sf_cond_init(&w->cond);
}

static int
wait_end(struct wait *w)
{
    sf_mutex_lock(&w->lock);
    while (!w->done)
        sf_cond_wait(&w->cond, &w->lock);
    sf_mutex_unlock(&w->lock);
    sf_cond_fini(&w->cond);
    sf_mutex_fini(&w->lock);
    return w->err;
}

int
sf_files_lookup(struct sf_tree *t, uint64_t parent, const char *name, struct sf_tree_entry *ret)
{
    struct wait w;
    wait_init(&w);
    sf_tree_lookup(t, parent, name, wait_done, &w);
    int rc = wait_end(&w);
    if (!rc && !w.res.entry.node)
        rc = -ENOENT;
    if (!rc)
        *ret = w.res.entry;
    return rc;
}

int
sf_files_xattr(struct sf_tree *t, uint64_t node, const char *name, char *out, size_t size)
{
    struct wait w;
    wait_init(&w);
    w.text = out;
    w.size = size;
    *out = '\0';
    (void)sf_tree_getxattr(t, node, name, wait_done, &w);
    int rc = wait_end(&w);
    return rc == -ENODATA ? 0 : rc;
}

static int
attr_wait(struct sf_tree *t, uint64_t node, struct wait *w)
{
    wait_init(w);
    sf_tree_getattr(t, node, NULL, wait_done, w);
    return wait_end(w);
}

int
sf_files_look(struct sf_tree *t, uint64_t node)
{
    struct wait w;
    return attr_wait(t, node, &w);
}

static int
root_wait(struct sf_tree *t, struct sf_tree_entry *ret)
{
    struct wait w;
    int rc = attr_wait(t, SF_TREE_ROOT, &w);
    if (!rc)
        *ret = (struct sf_tree_entry){.node = SF_TREE_ROOT, .attr = w.res.attr};
    return rc;
}

static void
forget(struct sf_tree *t, uint64_t node)
{
    if (node != SF_TREE_ROOT)
        sf_tree_forget(t, node, 1);
}

/* Directories with a slash behind, as in keys. @most: names that may still be taken. */
static int
names_of(struct sf_tree *t, struct sf_dir *d, struct name_vec *names, size_t *most)
{
    struct sf_dirent e;
    uint64_t off = 2; /* behind "." and ".." */
    for (bool more = true; more;) {
        struct wait w;
        wait_init(&w);
        sf_tree_readdir(t, d, off, wait_done, &w);
        int rc = wait_end(&w);
        if (rc)
            return rc;
        for (more = false; sf_tree_dirent(t, d, off, false, &e) == 1; more = true) {
            char *copy = NULL;
            off = e.next;
            if (!S_ISREG(e.type) && !S_ISDIR(e.type))
                continue;
            if (!*most)
                return -E2BIG;
            --*most;
            if (asprintf(&copy, "%s%s", e.name, S_ISDIR(e.type) ? "/" : "") < 0)
                return -ENOMEM;
            if (name_vec_push(names, copy) < 0) {
                free(copy);
                return -ENOMEM;
            }
        }
    }
    return 0;
}

static int
by_name(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static int
list_wait(struct sf_tree *t, uint64_t node, struct name_vec *names, size_t *most)
{
    struct wait w;
    wait_init(&w);
    sf_tree_opendir(t, node, wait_done, &w);
    int rc = wait_end(&w);
    if (rc)
        return rc;
    rc = names_of(t, w.res.dir, names, most);
    sf_tree_releasedir(t, w.res.dir);
    if (names->len)
        qsort(names->data, names->len, sizeof *names->data, by_name);
    for (size_t i = 0; i < names->len; i++) {
        size_t len = strlen(names->data[i]);
        if (names->data[i][len - 1] == '/')
            names->data[i][len - 1] = '\0';
    }
    return rc;
}

/* ---- the walk -------------------------------------------------------------------------------- */

struct walk {
    struct sf_tree *tree;
    bool deep;
    sf_files_fn enter; /* NULL = all are entered */
    sf_files_fn fn;
    void *arg;
    size_t most;
    bool more;
    struct sf_err *err;
    char path[PATH_MAX];
};

static int
trouble(struct walk *w, int rc)
{
    return sf_err_set(w->err, rc, "%s: %s", *w->path ? w->path : ".", strerror(-rc));
}

static int visit(struct walk *w, const struct sf_tree_entry *e, bool first);

static int
visit_dir(struct walk *w, uint64_t node)
{
    struct name_vec names = {0};
    size_t len = strlen(w->path);
    int rc = list_wait(w->tree, node, &names, &w->most);
    if (rc == -E2BIG) {
        w->more = true;
        rc = 0;
    }
    if (rc)
        rc = trouble(w, rc);
    for (size_t i = 0; i < names.len; i++) {
        struct sf_tree_entry e;
        size_t room = sizeof w->path - len;
        int n = snprintf(w->path + len, room, "%s%s", len ? "/" : "", names.data[i]);
        if (!rc && n > 0 && (size_t)n < room) {
            int found = sf_files_lookup(w->tree, node, names.data[i], &e);
            if (!found) {
                rc = visit(w, &e, false);
                forget(w->tree, e.node);
            } else if (found != -ENOENT) { /* gone meanwhile */
                rc = trouble(w, found);
            }
        }
        w->path[len] = '\0';
        free(names.data[i]);
    }
    name_vec_fini(&names);
    return rc;
}

static int
visit(struct walk *w, const struct sf_tree_entry *e, bool first)
{
    const struct sf_files_one f = {e->node, w->path, e->attr};
    if (S_ISREG(e->attr.mode))
        return w->fn(w->arg, &f);
    if (!S_ISDIR(e->attr.mode) || (!first && !w->deep))
        return 0;
    int rc = w->enter ? w->enter(w->arg, &f) : 0;
    return rc == 1 ? 0 : rc ? rc : visit_dir(w, e->node);
}

/* The node at w->path, looked up. */
static int
find(struct walk *w, struct sf_tree_entry *e)
{
    sf_autofree char *copy = strdup(w->path);
    char *save = NULL;
    int rc = copy ? root_wait(w->tree, e) : -ENOMEM;
    for (char *comp = copy ? strtok_r(copy, "/", &save) : NULL; !rc && comp;
         comp = strtok_r(NULL, "/", &save)) {
        struct sf_tree_entry below;
        if (!S_ISDIR(e->attr.mode))
            rc = -ENOTDIR;
        else
            rc = sf_files_lookup(w->tree, e->node, comp, &below);
        forget(w->tree, e->node);
        if (!rc)
            *e = below;
    }
    return rc;
}

static int
begin(struct walk *w, const char *path, struct sf_tree_entry *e)
{
    if (strcmp(path, ".") == 0)
        path = "";
    if (strlen(path) >= sizeof w->path)
        return sf_err_set(w->err, -ENAMETOOLONG, "%.60s...: %s", path, strerror(ENAMETOOLONG));
    memcpy(w->path, path, strlen(path) + 1);
    int rc = find(w, e);
    return rc ? trouble(w, rc) : 0;
}

int
sf_files_find(struct sf_tree *t, const char *path, struct sf_tree_entry *ret, struct sf_err *err)
{
    struct walk w = {.tree = t, .err = err};
    return begin(&w, path, ret);
}

void
sf_files_forget(struct sf_tree *t, const struct sf_tree_entry *e)
{
    forget(t, e->node);
}

int
sf_files_each(struct sf_tree *t, const char *path, bool deep, sf_files_fn fn, void *arg,
              struct sf_err *err)
{
    struct walk w = {.tree = t, .deep = deep, .fn = fn, .arg = arg, .most = SIZE_MAX, .err = err};
    struct sf_tree_entry e;
    int rc = begin(&w, path, &e);
    if (rc)
        return rc;
    rc = visit(&w, &e, true);
    forget(t, e.node);
    return rc;
}

int
sf_files_below(struct sf_tree *t, uint64_t dir, struct sf_files_walk *how, struct sf_err *err)
{
    struct walk w = {.tree = t,
                     .deep = true,
                     .enter = how->enter,
                     .fn = how->file,
                     .arg = how->arg,
                     .most = how->most,
                     .err = err};
    const struct sf_tree_entry e = {.node = dir, .attr = {.mode = S_IFDIR}};
    int rc = visit(&w, &e, true);
    how->more = w.more;
    return rc;
}
