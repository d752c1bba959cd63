/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "storage-sync.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/lock.h"

struct wait {
    struct sf_mutex lock;
    struct sf_cond cond;
    int calls;
    struct sf_err err;
    struct sf_buf *keys, *last;
    struct sf_bucket_row row;
    size_t n, len;
    uint64_t total;
    bool more;
};

int64_t
sync_in(int ms)
{
    return sf_clock_ms() + ms;
}

static void
begin(struct wait *w)
{
    memset(w, 0, sizeof *w);
    sf_mutex_init(&w->lock, 0);
    sf_cond_init(&w->cond);
}

static void
end(struct wait *w, const struct sf_err *err)
{
    SF_GUARD(&w->lock);
    w->calls++;
    if (err)
        w->err = *err;
    sf_cond_signal(&w->cond);
}

static int
finish(struct wait *w, struct sf_err *err)
{
    sf_mutex_lock(&w->lock);
    while (!w->calls)
        assert_int_equal(sf_cond_timedwait_ms(&w->cond, &w->lock, sync_in(30000)), 0);
    assert_int_equal(w->calls, 1);
    sf_mutex_unlock(&w->lock);
    sf_cond_fini(&w->cond);
    sf_mutex_fini(&w->lock);
    if (err)
        *err = w->err;
    return w->err.code;
}

static void
on_buckets(void *arg, const struct sf_err *err, const struct sf_bucket_row *rows, size_t n)
{
    struct wait *w = arg;
    for (size_t i = 0; !err && i < n; i++) {
        w->row = rows[i];
        w->row.id = w->row.name = NULL;
        w->row.mimes = NULL;
        if (w->keys)
            sf_buf_printf(w->keys, "%s ", rows[i].id);
    }
    w->n = n;
    end(w, err);
}

int
sync_bucket_list(struct sf_storage *st, struct sf_buf *ids, struct sf_err *err)
{
    struct wait w;
    begin(&w);
    w.keys = ids;
    sf_storage_bucket_list(st, sync_in(20000), on_buckets, &w);
    return finish(&w, err);
}

int
sync_bucket_get(struct sf_storage *st, const char *id, struct sf_bucket_row *row,
                struct sf_err *err)
{
    struct wait w;
    begin(&w);
    sf_storage_bucket_get(st, id, sync_in(20000), on_buckets, &w);
    int rc = finish(&w, err);
    if (rc == 0) {
        assert_int_equal(w.n, 1);
        *row = w.row;
    }
    return rc;
}

static void
on_plain(void *arg, const struct sf_err *err)
{
    end(arg, err);
}

int
sync_verify(struct sf_storage *st, const char *bucket, struct sf_err *err)
{
    struct wait w;
    begin(&w);
    sf_storage_verify(st, bucket, sync_in(20000), on_plain, &w);
    return finish(&w, err);
}

static void
on_list(void *arg, const struct sf_err *err, const struct sf_list_page *page)
{
    struct wait *w = arg;
    if (!err) {
        for (size_t i = 0; i < page->n; i++)
            sf_buf_printf(w->keys, "%s\n", page->rows[i].key);
        sf_buf_clear(w->last);
        sf_buf_puts(w->last, page->last);
        w->n = page->n;
        w->more = page->more;
    }
    end(w, err);
}

int
sync_list(struct sf_storage *st, const struct sf_list_args *args, struct sf_buf *keys,
          struct sf_buf *last, size_t *n, bool *more, struct sf_err *err)
{
    struct wait w;
    begin(&w);
    w.keys = keys;
    w.last = last;
    sf_storage_list(st, args, sync_in(20000), on_list, &w);
    int rc = finish(&w, err);
    if (rc == 0) {
        *n = w.n;
        *more = w.more;
    }
    return rc;
}

int
sync_list_all(struct sf_storage *st, const char *bucket, const char *prefix, bool delimiter,
              unsigned limit, struct sf_buf *keys, size_t *n, struct sf_err *err)
{
    sf_autobuf struct sf_buf last = SF_BUF_INIT, after = SF_BUF_INIT;
    bool more = true;
    *n = 0;
    for (int pages = 0; more; pages++) {
        struct sf_list_args args = {
            .bucket = bucket, .prefix = prefix, .limit = limit, .delimiter = delimiter};
        size_t count = 0;
        if (pages > 0)
            args.after = after.data;
        assert_true(pages < 5000);
        int rc = sync_list(st, &args, keys, &last, &count, &more, err);
        if (rc < 0)
            return rc;
        *n += count;
        sf_buf_clear(&after);
        sf_buf_puts(&after, sf_buf_str(&last));
    }
    return 0;
}

static void
on_get(void *arg, const struct sf_err *err, const struct sf_get_result *res)
{
    struct wait *w = arg;
    if (!err) {
        w->len = res->len;
        w->total = res->total;
    }
    end(w, err);
}

int
sync_get(struct sf_storage *st, const struct sf_get_args *args, size_t *len, uint64_t *total,
         struct sf_err *err)
{
    struct wait w;
    begin(&w);
    sf_storage_get(st, args, sync_in(20000), on_get, &w);
    int rc = finish(&w, err);
    if (rc == 0) {
        *len = w.len;
        *total = w.total;
    }
    return rc;
}

static void
signed_for(void *arg, const struct sf_err *err, const char *url)
{
    struct wait *w = arg;
    assert_true(!err == (url != NULL));
    if (url)
        assert_int_equal(sf_buf_puts(w->keys, url), 0);
    end(w, err);
}

int
sync_sign(struct sf_storage *st, const char *bucket, const char *key, uint64_t seconds, char *url,
          struct sf_err *err)
{
    sf_autobuf struct sf_buf text = SF_BUF_INIT;
    struct wait w;
    begin(&w);
    w.keys = &text;
    sf_storage_sign(st, bucket, key, seconds, sync_in(20000), signed_for, &w);
    int rc = finish(&w, err);
    if (!rc)
        snprintf(url, 4300, "%s", sf_buf_str(&text));
    return rc;
}
