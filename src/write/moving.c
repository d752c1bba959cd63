/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "write/moving.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "write/writer.h"

void
sf_moving_init(struct sf_moving_list *l)
{
    sf_mutex_init(&l->lock, 0);
    atomic_init(&l->n, 0);
}

void
sf_moving_fini(struct sf_moving_list *l)
{
    sf_mutex_fini(&l->lock);
}

void
sf_moving_add(struct sf_moving_list *l, struct sf_moving *m)
{
    SF_GUARD(&l->lock);
    m->next = l->first;
    l->first = m;
    atomic_fetch_add(&l->n, 1);
}

void
sf_moving_remove(struct sf_moving_list *l, struct sf_moving *m)
{
    SF_GUARD(&l->lock);
    struct sf_moving **p = &l->first;
    while (*p && *p != m)
        p = &(*p)->next;
    if (!*p)
        return;
    *p = m->next;
    atomic_fetch_sub(&l->n, 1);
}

/* Is @key below the prefix? Then what follows it, else NULL. */
static const char *
rest_of(const char *bucket, const char *key, const char *in_bucket, const char *prefix)
{
    size_t n = strlen(prefix);
    return strcmp(bucket, in_bucket) == 0 && strncmp(key, prefix, n) == 0 ? key + n : NULL;
}

enum sf_other_name
sf_write_other_name(struct sf_writer *w, const char *bucket, const char *key, char **other_bucket,
                    char **other_key)
{
    struct sf_moving_list *l = &w->moving;
    if (!atomic_load(&l->n))
        return SF_NAME_STAYS;
    SF_GUARD(&l->lock);
    for (const struct sf_moving *m = l->first; m; m = m->next) {
        const char *goes = rest_of(bucket, key, m->bucket, m->prefix);
        const char *comes = goes ? NULL : rest_of(bucket, key, m->to_bucket, m->to_prefix);
        if (!goes && !comes)
            continue;
        char *b = strdup(goes ? m->to_bucket : m->bucket), *k = NULL;
        if (asprintf(&k, "%s%s", goes ? m->to_prefix : m->prefix, goes ? goes : comes) < 0)
            k = NULL;
        if (!b || !k) {
            free(b);
            free(k);
            return SF_NAME_STAYS; /* then it is looked for under one name */
        }
        *other_bucket = b;
        *other_key = k;
        return goes ? SF_NAME_GOES : SF_NAME_COMES;
    }
    return SF_NAME_STAYS;
}

void
sf_write_renames(struct sf_writer *w, sf_renames_fn fn, void *arg)
{
    SF_GUARD(&w->moving.lock);
    for (const struct sf_moving *m = w->moving.first; m; m = m->next) {
        const struct sf_rename_progress p = {.bucket = m->bucket,
                                             .prefix = m->prefix,
                                             .to_bucket = m->to_bucket,
                                             .to_prefix = m->to_prefix,
                                             .done = atomic_load(&m->done),
                                             .total = atomic_load(&m->total)};
        fn(arg, &p);
    }
}
