/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "fake-internal.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "write/mark.h"
#include "write/meta.h"
#include "write/write.h"

/* What a change of attributes makes of an object of the fake project. */

void
fake_set_mark(const char *bucket, const char *key, const char *mark)
{
    struct sf_mark m;
    char *text;
    struct object *o = fake_find(bucket, key);
    if (!mark[0])
        return;
    assert(sf_mark_parse(mark, &m));
    assert(sf_cache_control_with(o->cache, &m, &text) == 0);
    snprintf(o->cache, sizeof o->cache, "%s", text);
    free(text);
}

void
fake_set_said(const char *bucket, const char *key, const char *mime, const char *others)
{
    struct object *o = fake_find(bucket, key);
    struct sf_mark m;
    char *text;
    bool marked = sf_mark_parse(o->cache, &m);
    if (!mime && !others)
        return;
    if (mime)
        m.guessed = !mime[0];
    if (mime)
        snprintf(o->mime, sizeof o->mime, "%s", mime[0] ? mime : sf_mime_guess(key, NULL, 0));
    assert(sf_cache_control_with(others ? others : o->cache, marked ? &m : NULL, &text) == 0);
    snprintf(o->cache, sizeof o->cache, "%s", text);
    free(text);
}

/* As an object with an envelope has them. */
void
fake_set_xattrs(const char *bucket, const char *key, const char *changes)
{
    struct object *o = fake_find(bucket, key);
    struct sf_meta m = {.xattrs = (char *)changes};
    struct sf_mark mark;
    char *meta;
    if (!changes && !o->meta)
        return;
    assert(sf_meta_build(o->meta, &m, &meta) == 0);
    free(o->meta);
    o->meta = meta;
    assert(sf_mark_parse(o->cache, &mark));
    mark.xattrs = strstr(meta, "\"x\"") != NULL;
    char text[SF_MARK_SIZE];
    sf_mark_format(&mark, text, sizeof text);
    fake_set_mark(bucket, key, text);
}

/* Nothing is left of an earlier process. */
bool
sf_write_attrs_pending(struct sf_writer *w, const char *bucket, const char *key,
                       const struct sf_version *is, struct sf_mark *m)
{
    (void)w, (void)bucket, (void)key, (void)is, (void)m;
    return false;
}

bool
sf_write_attrs_wait(struct sf_writer *w, const char *bucket, const char *key, char *why,
                    size_t size)
{
    (void)w, (void)bucket, (void)key, (void)why, (void)size;
    return false;
}

int
sf_write_xattrs_pending(struct sf_writer *w, const char *bucket, const char *key,
                        const struct sf_version *is, const struct sf_mark *mark, char **xattrs)
{
    (void)w, (void)bucket, (void)key, (void)is, (void)mark, (void)xattrs;
    return 0;
}

int
sf_write_type_pending(struct sf_writer *w, const char *bucket, const char *key,
                      const struct sf_version *is, const struct sf_mark *mark, char **mime,
                      char **cache_control)
{
    (void)w, (void)bucket, (void)key, (void)is, (void)mark, (void)mime, (void)cache_control;
    return 0;
}
