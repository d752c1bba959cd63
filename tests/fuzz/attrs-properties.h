/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef SF_TESTS_ATTRS_PROPERTIES_H
#define SF_TESTS_ATTRS_PROPERTIES_H

#include "write/mark.h"
#include "write/meta.h"

#include "base/buf.h"
#include "base/cleanup.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/*
 * What docs/formats/attributes.md promises, said once for the property tests and the fuzz target.
 * Each function returns NULL, or which promise is broken.
 */
#define ATTRS_MUST(cond)                                                                           \
    do {                                                                                           \
        if (!(cond))                                                                               \
            return __FILE__ ": " #cond;                                                            \
    } while (0)

static inline bool
marks_equal(const struct sf_mark *a, const struct sf_mark *b)
{
    return a->valid == b->valid && a->mode == b->mode && a->uid == b->uid && a->gid == b->gid &&
           a->mtime_ns == b->mtime_ns && a->ctime_ns == b->ctime_ns && a->atime_ns == b->atime_ns &&
           a->ino == b->ino && a->guessed == b->guessed && a->xattrs == b->xattrs;
}

/* A mark that says what it can say comes back. */
static inline const char *
attrs_check_mark(const struct sf_mark *m)
{
    char text[SF_MARK_SIZE], again[SF_MARK_SIZE];
    struct sf_mark back = {.mode = 12345};
    int len = sf_mark_format(m, text, sizeof text);
    ATTRS_MUST(len > 0 && (size_t)len == strlen(text) && len < SF_MARK_SIZE);
    ATTRS_MUST(sf_mark_format(m, again, (size_t)len) == -ENOSPC);
    ATTRS_MUST(sf_mark_parse(text, &back) == 1 && marks_equal(m, &back));
    ATTRS_MUST(sf_mark_format(&back, again, sizeof again) == len && !strcmp(text, again));
    return NULL;
}

/* Any Cache-Control of others: a mark put there is read, and theirs comes back when it goes. */
static inline const char *
attrs_check_cache_control(const char *text, const struct sf_mark *m)
{
    sf_autofree char *with = NULL, *twice = NULL, *stripped = NULL, *back = NULL;
    struct sf_mark found = {.mode = 12345}, own;
    if (sf_mark_parse(text, &found)) {
        const char *broken = attrs_check_mark(&found);
        if (broken)
            return broken;
    } else {
        ATTRS_MUST(found.mode == 12345 && !found.valid);
    }
    ATTRS_MUST(sf_cache_control_with(text, NULL, &stripped) == 0);
    sf_autofree char *others = malloc(strlen(stripped) + 1);
    ATTRS_MUST(others && sf_cache_control_others(text, others, strlen(stripped) + 1) ==
                             (int)strlen(stripped));
    ATTRS_MUST(!strcmp(others, stripped));
    ATTRS_MUST(sf_cache_control_others(text, others, strlen(stripped)) == -ENOSPC);
    ATTRS_MUST(strlen(stripped) <= strlen(text));
    ATTRS_MUST(sf_mark_parse(stripped, &own) == 0);
    ATTRS_MUST(sf_cache_control_with(text, m, &with) == 0);
    ATTRS_MUST(sf_mark_parse(with, &own) == 1 && marks_equal(m, &own));
    ATTRS_MUST(sf_cache_control_with(with, m, &twice) == 0 && !strcmp(with, twice));
    ATTRS_MUST(sf_cache_control_with(with, NULL, &back) == 0);
    ATTRS_MUST(!strcmp(back, *stripped ? stripped : "no-cache"));
    for (const char *p = with; *p; p++)
        ATTRS_MUST((unsigned char)*p >= 0x20 || *p == '\t');
    return NULL;
}

/* Any metadata: what is put there is read, and replacing it again changes nothing. */
static inline const char *
attrs_check_meta(const char *text, const struct sf_meta *m)
{
    sf_autofree char *built = NULL, *twice = NULL, *clean = NULL, *attrs = NULL;
    struct sf_meta before, now, rest;
    int found = sf_meta_parse(text, &before);
    ATTRS_MUST(found == 0 || found == 1);
    ATTRS_MUST(found || (!before.op[0] && !before.sha256[0] && !before.xattrs));
    int merged = sf_xattrs_merge(before.xattrs, m->xattrs, false, &attrs);
    ATTRS_MUST(merged == 0);
    int rc = sf_meta_build(text, m, &built);
    bool large = m->xattrs && attrs && strlen(attrs) > SF_XATTRS_MAX;
    ATTRS_MUST(rc == 0 || rc == -EINVAL || (rc == -ENOSPC && large));
    sf_meta_fini(&before);
    if (rc)
        return NULL;
    ATTRS_MUST(!large && sf_meta_parse(built, &now) == 1);
    bool same = !strcmp(now.op, m->op) && !strcmp(now.sha256, m->sha256) &&
                !strcmp(now.xattrs ? now.xattrs : "", attrs ? attrs : "");
    sf_meta_fini(&now);
    ATTRS_MUST(same);
    ATTRS_MUST(sf_meta_build(built, m, &twice) == 0 && !strcmp(built, twice));
    ATTRS_MUST(sf_meta_build(built, NULL, &clean) == 0);
    ATTRS_MUST(sf_meta_parse(clean, &rest) == (attrs != NULL));
    same = !rest.op[0] && !rest.sha256[0] && !rest.xattrs == !attrs;
    sf_meta_fini(&rest);
    ATTRS_MUST(same);
    return NULL;
}

/* Any text that should be attributes, as the journal may have it after damage: what is set in it is
 * read, what is removed is gone. */
static inline const char *
attrs_check_xattrs(const char *text)
{
    static const char value[] = "v\0w";
    sf_autofree char *with = NULL, *without = NULL, *merged = NULL;
    sf_autobuf struct sf_buf got = SF_BUF_INIT, names = SF_BUF_INIT;
    int rc = sf_xattrs_set(text, "user.k", value, 3, &with);
    ATTRS_MUST(rc == 0 || rc == -EINVAL);
    ATTRS_MUST(sf_xattrs_list(text, &names) == rc);
    int had = sf_xattrs_get(text, "user.k", NULL);
    if (rc) {
        ATTRS_MUST(had == -EINVAL && sf_xattrs_merge(text, NULL, false, &merged) == -EINVAL);
        return NULL;
    }
    ATTRS_MUST(had == 0 || had == -ENODATA || had == -EALREADY || had == -EINVAL);
    ATTRS_MUST(sf_xattrs_get(with, "user.k", &got) == 0);
    ATTRS_MUST(got.len == 3 && memcmp(got.data, value, 3) == 0);
    sf_buf_clear(&names);
    ATTRS_MUST(sf_xattrs_list(with, &names) == 0 && memmem(names.data, names.len, "user.k", 7));
    ATTRS_MUST(sf_xattrs_set(with, "user.k", NULL, 0, &without) == 0);
    ATTRS_MUST(sf_xattrs_get(without, "user.k", NULL) == -EALREADY);
    ATTRS_MUST(sf_xattrs_merge(text, without, false, &merged) == 0);
    ATTRS_MUST(sf_xattrs_get(merged, "user.k", NULL) == -ENODATA);
    return NULL;
}

#endif
