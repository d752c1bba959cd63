/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "write/below.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/lock.h"
#include "write/writer.h"

struct page_wait {
    struct sf_mutex lock; /* leaf */
    struct sf_cond cond;
    bool done;
    struct sf_err err;
    struct sf_below page;
};

void
sf_below_fini(struct sf_below *b)
{
    for (size_t i = 0; i < b->n; i++) {
        free(b->rows[i].key);
        free(b->rows[i].mime);
        free(b->rows[i].cache_control);
    }
    free(b->rows);
    free(b->last);
    *b = (struct sf_below){0};
}

static int
row_copy(const struct sf_list_row *row, struct sf_below_row *out)
{
    const struct sf_object_info info = {
        .id = row->id, .etag = row->etag, .size = row->size, .updated_ns = row->updated_ns};
    sf_version_of_info(&info, &out->version);
    out->key = strdup(row->key);
    out->mime = strdup(row->mime);
    out->cache_control = strdup(row->cache_control ? row->cache_control : "");
    return out->key && out->mime && out->cache_control ? 0 : -ENOMEM;
}

static int
page_copy(const struct sf_list_page *page, struct sf_below *out)
{
    out->rows = calloc(page->n ? page->n : 1, sizeof *out->rows);
    if (!out->rows)
        return -ENOMEM;
    for (size_t i = 0; i < page->n; i++) {
        out->n++;
        if (row_copy(&page->rows[i], &out->rows[i]))
            return -ENOMEM;
    }
    out->more = page->more && page->last;
    return out->more && !(out->last = strdup(page->last)) ? -ENOMEM : 0;
}

static void
page_got(void *arg, const struct sf_err *err, const struct sf_list_page *page)
{
    struct page_wait *p = arg;
    SF_GUARD(&p->lock);
    if (err)
        p->err = *err;
    else if (page_copy(page, &p->page))
        (void)!sf_err_set(&p->err, -ENOMEM, "out of memory");
    p->done = true;
    sf_cond_signal(&p->cond);
}

int
sf_below_page(struct sf_writer *w, const char *bucket, const char *prefix, const char *after,
              int64_t deadline_ms, struct sf_below *out, struct sf_err *err)
{
    struct page_wait p = {.done = false};
    const struct sf_list_args args = {.bucket = bucket, .prefix = prefix, .after = after};
    sf_mutex_init(&p.lock, 0);
    sf_cond_init(&p.cond);
    (void)sf_storage_list(w->st, &args, deadline_ms, page_got, &p);
    sf_mutex_lock(&p.lock);
    while (!p.done)
        sf_cond_wait(&p.cond, &p.lock);
    sf_mutex_unlock(&p.lock);
    sf_cond_fini(&p.cond);
    sf_mutex_fini(&p.lock);
    if (p.err.code) {
        sf_below_fini(&p.page);
        if (err)
            *err = p.err;
        return p.err.code;
    }
    *out = p.page;
    return 0;
}
