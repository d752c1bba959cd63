/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "base/mounts.h"

#include "base/cleanup.h"

#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* "\040" -> " ", in place. */
static void
unescape(char *s)
{
    char *w = s;
    for (; *s; s++) {
        if (s[0] == '\\' && s[1] >= '0' && s[1] <= '3' && s[2] >= '0' && s[2] <= '7' &&
            s[3] >= '0' && s[3] <= '7') {
            *w++ = (char)((s[1] - '0') << 6 | (s[2] - '0') << 3 | (s[3] - '0'));
            s += 3;
        } else {
            *w++ = *s;
        }
    }
    *w = '\0';
}

/* "rw,user_id=1000,group_id=1000" */
static long
owner_of(const char *options)
{
    const char *at = options ? strstr(options, "user_id=") : NULL;
    if (!at || (at != options && at[-1] != ','))
        return -1;
    return strtol(at + strlen("user_id="), NULL, 10);
}

/* "ID PARENT MAJ:MIN ROOT POINT OPTIONS [TAG]... - FSTYPE SOURCE SUPEROPTIONS" */
static int
parse(char *line, struct sf_mount *m)
{
    char *save = NULL, *word[5] = {0};
    char *rest = strstr(line, " - ");
    if (!rest)
        return 0;
    *rest = '\0';
    word[0] = strtok_r(line, " \n", &save);
    for (int i = 1; i < 5; i++)
        word[i] = strtok_r(NULL, " \n", &save);
    if (!word[4] || sscanf(word[2], "%u:%u", &m->major, &m->minor) != 2)
        return 0;
    char *fstype = strtok_r(rest + 3, " \n", &save);
    char *source = strtok_r(NULL, " \n", &save);
    if (!fstype || !source)
        return 0;
    unescape(word[4]);
    unescape(fstype);
    unescape(source);
    m->point = word[4];
    m->fstype = fstype;
    m->source = source;
    m->owner = owner_of(strtok_r(NULL, " \n", &save));
    return 1;
}

int
sf_mounts_each(int (*fn)(void *arg, const struct sf_mount *m), void *arg)
{
    sf_autofile FILE *f = fopen("/proc/self/mountinfo", "re");
    sf_autofree char *line = NULL;
    size_t cap = 0;
    int rc = 0;
    if (!f)
        return -errno;
    while (!rc && getline(&line, &cap, f) > 0) {
        struct sf_mount m;
        if (parse(line, &m))
            rc = fn(arg, &m);
    }
    return rc;
}

struct find {
    const char *point;
    struct sf_mount_copy *out;
    int found;
};

/* A later one lies over it. */
static void
found(struct find *f, const struct sf_mount *m)
{
    f->found = 1;
    f->out->major = m->major;
    f->out->minor = m->minor;
    f->out->owner = m->owner;
    snprintf(f->out->point, sizeof f->out->point, "%s", m->point);
    snprintf(f->out->fstype, sizeof f->out->fstype, "%s", m->fstype);
    snprintf(f->out->source, sizeof f->out->source, "%s", m->source);
}

static int
find_one(void *arg, const struct sf_mount *m)
{
    struct find *f = arg;
    if (strcmp(m->point, f->point) == 0)
        found(f, m);
    return 0;
}

/* The longest mount point on the way. */
static int
find_nearest(void *arg, const struct sf_mount *m)
{
    struct find *f = arg;
    size_t n = strcmp(m->point, "/") == 0 ? 0 : strlen(m->point);
    bool below = strncmp(f->point, m->point, n) == 0 && (f->point[n] == '/' || !f->point[n]);
    if (below && (!f->found || strlen(m->point) >= strlen(f->out->point)))
        found(f, m);
    return 0;
}

int
sf_mount_find(const char *point, struct sf_mount_copy *out)
{
    struct find f = {point, out, 0};
    int rc = sf_mounts_each(find_one, &f);
    return rc < 0 ? rc : f.found;
}

int
sf_mount_of(const char *path, struct sf_mount_copy *out)
{
    struct find f = {path, out, 0};
    int rc = sf_mounts_each(find_nearest, &f);
    return rc < 0 ? rc : f.found;
}

int
sf_mount_path(const char *path, char *out)
{
    char above[PATH_MAX];
    size_t n = strlen(path);
    while (n > 1 && path[n - 1] == '/')
        n--;
    const char *slash = memrchr(path, '/', n);
    const char *name = slash ? slash + 1 : path;
    int name_len = (int)(path + n - name);
    bool plain = name_len > 0 && !(name_len == 1 && name[0] == '.') &&
                 !(name_len == 2 && name[0] == '.' && name[1] == '.');
    if (realpath(path, out))
        return 0;
    if (errno != ENOTCONN || !plain)
        return -errno;
    /* A dead mount: only the directory above it can be resolved. */
    if (n >= sizeof above)
        return -ENAMETOOLONG;
    snprintf(above, sizeof above, "%.*s", slash ? (int)(slash - path) : 1, slash ? path : ".");
    if (!realpath(*above ? above : "/", out))
        return -errno;
    size_t len = strlen(out);
    if (len + 1 + (size_t)name_len >= PATH_MAX)
        return -ENAMETOOLONG;
    snprintf(out + len, PATH_MAX - len, "%s%.*s", len > 1 ? "/" : "", name_len, name);
    return 0;
}
