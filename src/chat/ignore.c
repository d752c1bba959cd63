/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "chat/ignore.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/glob.h"

struct rule {
    const char *glob; /* components, with a NUL behind each */
    size_t parts;
    bool back;     /* takes back */
    bool dirs;     /* is of directories only */
    bool anchored; /* is of a path below the file's directory; else of a name anywhere there */
};
SF_VEC_DEFINE(rules, struct rule);

struct sf_chat_ignore {
    char *dir, *text; /* the rules point into the text */
    size_t dir_len;
    struct rules rules;
};

static void
ignore_free(struct sf_chat_ignore *f)
{
    free(f->dir);
    free(f->text);
    rules_fini(&f->rules);
    free(f);
}

/* ---- reading --------------------------------------------------------------------------------- */

/* Where a line ends without white space that no backslash keeps. */
static char *
end_of(char *line, char *end)
{
    while (end > line && (end[-1] == ' ' || end[-1] == '\t' || end[-1] == '\r')) {
        size_t slashes = 0;
        while (end - 2 - slashes >= line && end[-2 - (ptrdiff_t)slashes] == '\\')
            slashes++;
        if (slashes % 2)
            break;
        end--;
    }
    return end;
}

/* Cut a path into its components; of several slashes in a row one counts. */
static size_t
split(char *path)
{
    size_t parts = 0;
    char *to = path;
    for (const char *from = path; *from;) {
        size_t n = strcspn(from, "/");
        if (n) {
            memmove(to, from, n);
            from += n;
            to += n;
            parts++;
        }
        while (*from == '/')
            from++;
        if (n)
            *to++ = '\0';
    }
    return parts;
}

static int
add_line(struct rules *rules, char *line, char *end)
{
    struct rule r = {0};
    end = end_of(line, end);
    if (line == end || *line == '#' || memchr(line, '\0', (size_t)(end - line)))
        return 0;
    if (*line == '!') {
        r.back = true;
        line++;
    }
    while (end > line && end[-1] == '/') {
        r.dirs = true;
        end--;
    }
    *end = '\0';
    r.anchored = strchr(line, '/');
    r.glob = line;
    r.parts = split(line);
    return r.parts ? rules_push(rules, r) : 0;
}

static int
read_rules(struct sf_chat_ignore *f, size_t len)
{
    int rc = 0;
    for (char *line = f->text, *stop = f->text + len; !rc && line < stop;) {
        char *lf = memchr(line, '\n', (size_t)(stop - line));
        char *end = lf ? lf : stop;
        rc = add_line(&f->rules, line, end);
        line = end + 1;
    }
    return rc;
}

/* ---- the files of a walk --------------------------------------------------------------------- */

/* What of a path lies below the file's directory; NULL = it does not. */
static const char *
below(const struct sf_chat_ignore *f, const char *path)
{
    if (!f->dir_len)
        return path;
    if (strncmp(path, f->dir, f->dir_len) != 0 || path[f->dir_len] != '/')
        return NULL;
    return path + f->dir_len + 1;
}

int
sf_chat_ignores_add(struct sf_chat_ignores *all, const char *dir, const char *text, size_t len)
{
    if (len > SF_CHAT_IGNORE_MAX)
        len = SF_CHAT_IGNORE_MAX;
    while (all->len && !below(all->data[all->len - 1], dir))
        ignore_free(all->data[--all->len]);
    struct sf_chat_ignore *f = calloc(1, sizeof *f);
    if (!f)
        return -ENOMEM;
    f->dir = strdup(dir);
    f->dir_len = strlen(dir);
    f->text = malloc(len + 1);
    int rc = f->dir && f->text ? 0 : -ENOMEM;
    if (!rc) {
        memcpy(f->text, text, len);
        f->text[len] = '\0';
        rc = read_rules(f, len);
    }
    if (!rc)
        rc = sf_chat_ignores_push(all, f);
    if (rc)
        ignore_free(f);
    return rc;
}

void
sf_chat_ignores_free(struct sf_chat_ignores *all)
{
    for (size_t i = 0; i < all->len; i++)
        ignore_free(all->data[i]);
    sf_chat_ignores_fini(all);
}

/* ---- matching -------------------------------------------------------------------------------- */

static const char *
next_of(const char *path)
{
    path += strcspn(path, "/");
    return *path ? path + 1 : path;
}

static bool
name_fits(const char *glob, const char *path)
{
    char name[NAME_MAX + 1];
    size_t n = strcspn(path, "/");
    if (n >= sizeof name)
        return false;
    memcpy(name, path, n);
    name[n] = '\0';
    return sf_glob_match(glob, name, false);
}

/* Component by component; "**" is any number of them, but at the end at least one. As with the
 * stars of a glob it is enough to go back to the last of these. */
static bool
path_fits(const struct rule *r, const char *path)
{
    const char *glob = r->glob, *any_glob = NULL, *any_path = NULL;
    size_t left = r->parts, any_left = 0;
    for (;;) {
        if (left && strcmp(glob, "**") == 0) {
            glob += sizeof "**";
            any_glob = glob;
            any_path = path;
            any_left = --left;
            if (!left)
                return *path;
        } else if (left && *path && name_fits(glob, path)) {
            glob += strlen(glob) + 1;
            path = next_of(path);
            left--;
        } else if (!left && !*path) {
            return true;
        } else if (any_glob && *any_path) {
            path = any_path = next_of(any_path);
            glob = any_glob;
            left = any_left;
        } else {
            return false;
        }
    }
}

static bool
fits(const struct rule *r, const char *path, bool is_dir)
{
    if (r->dirs && !is_dir)
        return false;
    if (r->anchored)
        return path_fits(r, path);
    const char *slash = strrchr(path, '/');
    return name_fits(r->glob, slash ? slash + 1 : path);
}

bool
sf_chat_ignored(const struct sf_chat_ignores *all, const char *path, bool is_dir)
{
    for (size_t i = all->len; i-- > 0;) {
        const struct sf_chat_ignore *f = all->data[i];
        const char *rel = below(f, path);
        for (size_t k = rel ? f->rules.len : 0; k-- > 0;)
            if (fits(&f->rules.data[k], rel, is_dir))
                return !f->rules.data[k].back;
    }
    return false;
}
