/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "control/find-source.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/lock.h"
#include "base/str.h"

#define LOOK_MS   200   /* whether anybody waits still */
#define TABLES_MS 10000 /* for the database, which others can do without */
#define NAMES_MAX 100   /* objects that are asked for one by one, before all are listed */

void
text_vec_free(struct text_vec *v)
{
    for (size_t i = 0; i < v->len; i++)
        free(v->data[i]);
    text_vec_fini(v);
}

void
find_source_fini(struct find_source *s)
{
    free(s->after);
    text_vec_free(&s->names);
}

void
find_page_fini(struct find_page *p)
{
    free(p->rows);
    free(p->text);
    json_decref(p->answer);
    *p = (struct find_page){.rows = NULL};
}

/* ---- requests that are waited for ------------------------------------------------------------ */

struct ask {
    struct sf_mutex lock; /* leaf; protects the fields below */
    struct sf_cond cond;
    bool done;
    int rc; /* of what is done with the answer here */
    struct sf_err err;
    json_t *answer;
    struct find_page page;
    bool more;
    struct text_vec ids;
};

static void
ask_init(struct ask *a)
{
    *a = (struct ask){.err = SF_ERR_INIT};
    sf_mutex_init(&a->lock, 0);
    sf_cond_init(&a->cond);
}

/* With the lock. */
static void
ask_done_locked(struct ask *a, const struct sf_err *err, int rc)
{
    if (err)
        a->err = *err;
    a->rc = rc;
    a->done = true;
    sf_cond_signal(&a->cond);
}

static int
ask_wait(struct ask *a, const struct find_from *from, uint64_t id, struct sf_err *err)
{
    bool over = false;
    sf_mutex_lock(&a->lock);
    while (!a->done) {
        if (!over && sf_talk_cancelled(from->talk)) {
            over = true;
            sf_mutex_unlock(&a->lock);
            sf_storage_cancel(from->st, id);
            sf_mutex_lock(&a->lock);
            continue;
        }
        (void)sf_cond_timedwait_ms(&a->cond, &a->lock, sf_clock_ms() + LOOK_MS);
    }
    sf_mutex_unlock(&a->lock);
    sf_cond_fini(&a->cond);
    sf_mutex_fini(&a->lock);
    if (a->err.code && err && !err->code)
        *err = a->err;
    if (a->rc && !a->err.code)
        return sf_err_set(err, a->rc, "%s", strerror(-a->rc));
    return a->err.code;
}

/* ---- listings -------------------------------------------------------------------------------- */

static void
put(char **at, const char *text, const char **ret)
{
    size_t n = strlen(text) + 1;
    memcpy(*at, text, n);
    *ret = *at;
    *at += n;
}

static int
copy_page(const struct sf_list_page *from, struct find_page *to)
{
    size_t size = 0;
    for (size_t i = 0; i < from->n; i++) {
        const struct sf_list_row *r = &from->rows[i];
        size += strlen(r->key) + strlen(r->id) + strlen(r->etag) + strlen(r->mime) + 4;
    }
    to->text = malloc(size + 1);
    to->rows = calloc(from->n + 1, sizeof *to->rows);
    if (!to->text || !to->rows)
        return -ENOMEM;
    char *at = to->text;
    for (to->n = 0; to->n < from->n; to->n++) {
        const struct sf_list_row *r = &from->rows[to->n];
        struct sf_found *f = &to->rows[to->n];
        *f = (struct sf_found){.sha256 = "", .size = r->size, .updated_ns = r->updated_ns};
        put(&at, r->key, &f->key);
        put(&at, r->id, &f->id);
        put(&at, r->etag, &f->etag);
        put(&at, r->mime, &f->mime);
    }
    return 0;
}

static void
listed(void *arg, const struct sf_err *err, const struct sf_list_page *page)
{
    struct ask *a = arg;
    SF_GUARD(&a->lock);
    a->more = page && page->more;
    ask_done_locked(a, err, page ? copy_page(page, &a->page) : 0);
}

static int
list(const struct find_source *s, const char *prefix, const char *after, unsigned limit,
     struct find_page *page, bool *more, struct sf_err *err)
{
    struct ask a;
    const struct sf_list_args args = {
        .bucket = s->bucket, .prefix = prefix, .after = after, .limit = limit};
    ask_init(&a);
    uint64_t id =
        sf_storage_list(s->from->st, &args, sf_clock_ms() + s->from->timeout_ms, listed, &a);
    int rc = ask_wait(&a, s->from, id, err);
    if (rc) {
        find_page_fini(&a.page);
        return rc;
    }
    *page = a.page;
    *more = a.more;
    return 0;
}

static void
verified(void *arg, const struct sf_err *err)
{
    struct ask *a = arg;
    SF_GUARD(&a->lock);
    ask_done_locked(a, err, 0);
}

/* A token that is not good, or does not arrive, sees no objects either: once, before that is
 * believed. */
static int
verify(struct find_source *s, struct sf_err *err)
{
    struct ask a;
    if (s->verified)
        return 0;
    ask_init(&a);
    uint64_t id = sf_storage_verify(s->from->st, s->bucket, sf_clock_ms() + s->from->timeout_ms,
                                    verified, &a);
    int rc = ask_wait(&a, s->from, id, err);
    s->verified = rc == 0;
    return rc;
}

/* ---- objects by their names ------------------------------------------------------------------ */

struct named {
    struct find_source *s;
    int rc;
};

static int
add_name(void *arg, const char *bucket, const char *key)
{
    struct named *n = arg;
    struct find_source *s = n->s;
    if (strcmp(bucket, s->bucket) != 0 || !sf_str_starts(key, s->prefix) ||
        (s->exact && strcmp(key, s->prefix) != 0) || (s->after && strcmp(key, s->after) <= 0))
        return 0;
    if (s->names.len == NAMES_MAX)
        return 1;
    char *copy = strdup(key);
    n->rc = copy ? text_vec_push(&s->names, copy) : -ENOMEM;
    if (n->rc)
        free(copy);
    return n->rc;
}

static int
compare(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static void
sort(struct text_vec *v)
{
    if (v->len) /* qsort() takes no NULL */
        qsort(v->data, v->len, sizeof *v->data, compare);
}

/* Which objects are meant is known here, and they are few: 1; 0 they are not. */
static int
take_names(struct find_source *s)
{
    struct named n = {s, 0};
    int rc = 1;
    if (s->exact)
        return add_name(&n, s->bucket, s->prefix) < 0 ? n.rc : 1;
    if (!s->want->sha256)
        return 0;
    rc = sf_tables_by_hash(s->from->tables, s->want->sha256, add_name, &n);
    if (rc == 0) {
        sort(&s->names);
        return 1;
    }
    text_vec_free(&s->names);
    s->names = (struct text_vec){NULL, 0, 0};
    return n.rc;
}

/* One object, and whether there are others below it. */
static int
next_name(struct find_source *s, struct find_page *page, struct sf_err *err)
{
    struct find_page below = {.rows = NULL};
    sf_autofree char *prefix = NULL;
    bool more;
    if (s->next == s->names.len) {
        s->end = true;
        return 0;
    }
    const char *key = s->names.data[s->next++];
    int rc = list(s, key, NULL, 1, page, &more, err);
    if (!rc && page->n && strcmp(page->rows[0].key, key) != 0)
        page->n = 0;
    page->prefixes = true;
    if (!rc && !page->n)
        rc = verify(s, err);
    if (rc || !page->n || s->exact)
        return rc;
    if (asprintf(&prefix, "%s/", key) < 0) {
        prefix = NULL;
        return sf_err_set(err, -ENOMEM, "out of memory");
    }
    rc = list(s, prefix, NULL, 1, &below, &more, err);
    page->rows[0].is_prefix = below.n > 0;
    find_page_fini(&below);
    return rc;
}

static int
next_listed(struct find_source *s, struct find_page *page, struct sf_err *err)
{
    bool more = false;
    if (!s->by_name) {
        int rc = list(s, s->prefix, s->after, 0, page, &more, err);
        if (!rc && !page->n && !s->after)
            rc = verify(s, err);
        s->end = !more;
        return rc;
    }
    return next_name(s, page, err);
}

/* ---- the database ---------------------------------------------------------------------------- */

static void
answered(void *arg, const struct sf_err *err, json_t *answer)
{
    struct ask *a = arg;
    SF_GUARD(&a->lock);
    a->answer = answer;
    ask_done_locked(a, err, 0);
}

static const char *
or_null(const struct sf_buf *glob)
{
    return glob->len ? glob->data : NULL;
}

static int
ask_database(const struct find_source *s, const struct sf_find_args *args, struct find_page *page,
             struct sf_err *err)
{
    struct ask a;
    char why[160] = "";
    int64_t ms = s->from->timeout_ms < TABLES_MS ? s->from->timeout_ms : TABLES_MS;
    const struct sf_rest_how how = {.deadline_ms = sf_clock_ms() + ms, .reads = true};
    ask_init(&a);
    uint64_t id = sf_storage_find(s->from->st, args, &how, answered, &a);
    int rc = ask_wait(&a, s->from, id, err);
    if (!rc) {
        page->answer = a.answer;
        rc = sf_find_parse(a.answer, args, &page->rows, &page->n, why);
        if (rc)
            (void)!sf_err_set(err, rc, "supafs_find: %s", *why ? why : strerror(-rc));
    }
    page->complete = page->prefixes = true;
    return rc;
}

static int
next_found(struct find_source *s, uint64_t limit, struct find_page *page, struct sf_err *err)
{
    const struct sf_find_want *w = s->want;
    sf_autobuf struct sf_buf name = SF_BUF_INIT, type = SF_BUF_INIT;
    if ((w->name && sf_find_name_superset(w->name, &name)) ||
        (w->type && sf_find_type_superset(w->type, &type)))
        return sf_err_set(err, -ENOMEM, "out of memory");
    struct sf_find_args args = {.bucket = s->bucket,
                                .prefix = s->prefix,
                                .after = s->after,
                                .limit = SF_REST_ROWS_MAX,
                                .name = or_null(&name),
                                .type = or_null(&type),
                                .tag = w->tag,
                                .sha256 = w->sha256,
                                .provider = w->provider,
                                .provider_id = w->provider_id,
                                .min_size = w->min_size,
                                .max_size = w->max_size,
                                .newer_ns = w->newer_ns,
                                .older_ns = w->older_ns};
    if (s->exact)
        args.limit = 1;
    else if (limit && limit < SF_REST_ROWS_MAX) /* and one to see that nothing is below the last */
        args.limit = (unsigned)limit + 1;
    int rc = ask_database(s, &args, page, err);
    if (rc)
        return rc;
    s->end = s->exact || page->n < args.limit;
    if (s->exact && page->n && strcmp(page->rows[0].key, s->prefix) != 0)
        page->n = 0;
    return 0;
}

/* Only the database can answer that. */
static bool
needs_database(const struct sf_find_want *w)
{
    return w->provider || w->provider_id;
}

static int
next_page(struct find_source *s, uint64_t limit, struct find_page *page, struct sf_err *err)
{
    struct sf_err why = SF_ERR_INIT;
    if (s->from->ask_tables) {
        int rc = next_found(s, limit, page, &why);
        if (rc != 0 && rc != -ECANCELED) {
            s->from->ask_tables = false;
            snprintf(s->from->trouble, sizeof s->from->trouble, "%s", why.msg);
            find_page_fini(page);
        } else {
            if (rc && err)
                *err = why;
            return rc;
        }
    }
    if (needs_database(s->want))
        return sf_err_set(err, -EOPNOTSUPP, "a provider's ids are in the project's tables%s%s",
                          s->from->trouble[0] ? ": " : ", which this mount does not use",
                          s->from->trouble);
    if (!s->by_name && !s->after) {
        int few = take_names(s);
        if (few < 0)
            return sf_err_set(err, few, "%s", strerror(-few));
        s->by_name = few == 1;
    }
    return next_listed(s, page, err);
}

int
find_source_next(struct find_source *s, uint64_t limit, struct find_page *page, struct sf_err *err)
{
    *page = (struct find_page){.rows = NULL};
    int rc = sf_talk_cancelled(s->from->talk) ? -ECANCELED : next_page(s, limit, page, err);
    if (!rc && page->n) {
        free(s->after);
        s->after = strdup(page->rows[page->n - 1].key);
        if (!s->after)
            rc = sf_err_set(err, -ENOMEM, "out of memory");
    }
    if (rc)
        find_page_fini(page);
    return rc;
}

/* ---- buckets --------------------------------------------------------------------------------- */

static int
copy_ids(const struct sf_bucket_row *rows, size_t n, struct text_vec *ids)
{
    for (size_t i = 0; i < n; i++) {
        char *copy = strdup(rows[i].id);
        if (!copy || text_vec_push(ids, copy)) {
            free(copy);
            return -ENOMEM;
        }
    }
    return 0;
}

static void
got_buckets(void *arg, const struct sf_err *err, const struct sf_bucket_row *rows, size_t n)
{
    struct ask *a = arg;
    SF_GUARD(&a->lock);
    ask_done_locked(a, err, err ? 0 : copy_ids(rows, n, &a->ids));
}

int
find_buckets(const struct find_from *from, struct text_vec *ids, struct sf_err *err)
{
    struct ask a;
    ask_init(&a);
    uint64_t id =
        sf_storage_bucket_list(from->st, sf_clock_ms() + from->timeout_ms, got_buckets, &a);
    int rc = ask_wait(&a, from, id, err);
    if (rc) {
        text_vec_free(&a.ids);
        return rc;
    }
    *ids = a.ids;
    sort(ids);
    return 0;
}
