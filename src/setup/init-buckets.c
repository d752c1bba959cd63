/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "setup/init-internal.h"

#include "base/clock.h"
#include "base/lock.h"
#include "config/value.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The buckets: those of the configuration's [bucket.NAME] sections, or without any the five that
 * the tools before supafs used. */

static const char *const user_types[] = {"text/*", "application/pdf", "image/*", NULL};
static const char *const made_types[] = {"text/*", "application/json", NULL};
static const struct sf_bucket_spec usual[] = {
    {.id = "user-files", .size_limit = 50 << 20, .mimes = user_types},
    {.id = "generated-files", .size_limit = 10 << 20, .mimes = made_types},
    {.id = "results"},
    {.id = "mcp-files", .size_limit = 50 << 20},
    {.id = "exai-files"},
};

#define MAX_WISHES 200

struct wishes {
    struct sf_bucket_spec spec[MAX_WISHES];
    size_t n;
};

static int
collect_wishes(const struct sf_config *cfg, struct wishes *w, struct sf_err *err)
{
    const struct sf_config_bucket *b;
    for (w->n = 0; (b = sf_config_bucket(cfg, w->n)); w->n++) {
        if (w->n == MAX_WISHES)
            return sf_err_set(err, -EINVAL, "more than %d sections [bucket.NAME]", MAX_WISHES);
        w->spec[w->n] = (struct sf_bucket_spec){.id = b->name,
                                                .is_public = b->is_public,
                                                .size_limit = b->size_limit,
                                                .mimes = (const char *const *)b->mimes};
    }
    if (w->n == 0) {
        w->n = sizeof usual / sizeof *usual;
        memcpy(w->spec, usual, sizeof usual);
    }
    return 0;
}

/* ---- what is there -------------------------------------------------------------------------- */

struct look {
    const struct wishes *wishes;
    struct sf_init_row *rows; /* one for each wish */

    struct sf_mutex lock; /* leaf; protects what follows */
    struct sf_cond cond;
    bool done;
    struct sf_err err;
};

__attribute__((format(printf, 2, 3))) static void
add_text(struct sf_init_row *row, const char *fmt, ...)
{
    size_t n = strlen(row->text);
    va_list ap;
    va_start(ap, fmt);
    if (n)
        n += (size_t)snprintf(row->text + n, sizeof row->text - n, "; ");
    if (n < sizeof row->text)
        vsnprintf(row->text + n, sizeof row->text - n, fmt, ap);
    va_end(ap);
}

static const char *
size_text(uint64_t bytes, char *out, size_t size)
{
    const struct sf_value v = {.num = bytes};
    return bytes ? sf_value_format(SF_OPT_CACHE_SIZE, &v, out, size) : "none";
}

static size_t
count(const char *const *list)
{
    size_t n = 0;
    while (list && list[n])
        n++;
    return n;
}

static bool
has(const char *const *list, const char *word)
{
    for (; list && *list; list++)
        if (!strcmp(*list, word))
            return true;
    return false;
}

/* The order of a list means nothing. */
static bool
same_types(const char *const *a, const char *const *b)
{
    for (size_t i = 0; a && a[i]; i++)
        if (!has(b, a[i]))
            return false;
    return count(a) == count(b);
}

static void
join(const char *const *list, char *out, size_t size)
{
    size_t n = 0;
    snprintf(out, size, "all");
    for (; list && *list && n < size; list++)
        n += (size_t)snprintf(out + n, size - n, "%s%s", n ? ", " : "", *list);
}

static void
compare(const struct sf_bucket_row *is, const struct sf_bucket_spec *wish, struct sf_init_row *row)
{
    char a[160], b[160];
    row->state = SF_INIT_THERE;
    if (is->is_public != wish->is_public)
        add_text(row, "it is %s, not %s", is->is_public ? "public" : "private",
                 wish->is_public ? "public" : "private");
    if (is->size_limit != wish->size_limit)
        add_text(row, "limit of a file %s, not %s", size_text(is->size_limit, a, sizeof a),
                 size_text(wish->size_limit, b, sizeof b));
    if (!same_types(is->mimes, wish->mimes)) {
        join(is->mimes, a, sizeof a);
        join(wish->mimes, b, sizeof b);
        add_text(row, "types allowed %s, not %s", a, b);
    }
    if (row->text[0])
        row->state = SF_INIT_DIFFERS;
}

static void
listed(void *arg, const struct sf_err *err, const struct sf_bucket_row *rows, size_t n)
{
    struct look *l = arg;
    for (size_t i = 0; i < n; i++)
        for (size_t k = 0; k < l->wishes->n; k++)
            if (!strcmp(rows[i].id, l->wishes->spec[k].id))
                compare(&rows[i], &l->wishes->spec[k], &l->rows[k]);
    SF_GUARD(&l->lock);
    if (err)
        l->err = *err;
    l->done = true;
    sf_cond_signal(&l->cond);
}

static int
look_at_all(struct init *in, struct look *l, struct sf_err *err)
{
    /* The first question to the project: who waits wants to know soon that nobody answers. */
    int64_t deadline = sf_clock_ms() + sf_config_ms(in->args->cfg, SF_OPT_CONNECT_TIMEOUT);
    sf_mutex_init(&l->lock, 0);
    sf_cond_init(&l->cond);
    sf_storage_bucket_list(in->storage, deadline, listed, l);
    sf_mutex_lock(&l->lock);
    while (!l->done)
        sf_cond_wait(&l->cond, &l->lock);
    sf_mutex_unlock(&l->lock);
    sf_cond_fini(&l->cond);
    sf_mutex_fini(&l->lock);
    if (l->err.code)
        *err = l->err;
    return l->err.code;
}

/* ---- what is missing ------------------------------------------------------------------------ */

static void
make_bucket(struct init *in, const struct sf_bucket_spec *wish, struct sf_init_row *row)
{
    struct sf_err err = SF_ERR_INIT;
    int64_t deadline = sf_clock_ms() + sf_config_ms(in->args->cfg, SF_OPT_READ_TIMEOUT);
    const char *role = sf_auth_role(in->auth);
    bool service = !strcmp(role, "service_role");
    if (in->args->dry_run) {
        row->state = SF_INIT_TO_DO;
        if (!service)
            add_text(row, "missing, or hidden from this key (role %s)", role);
        return;
    }
    int rc = sf_storage_bucket_make_wait(in->storage, wish, deadline, &err);
    if (rc == 0) {
        row->state = SF_INIT_DONE;
    } else if (rc == -EEXIST) {
        /* Somebody else was quicker, or it is hidden from this key. */
        row->state = SF_INIT_THERE;
        if (!service)
            add_text(row, "this key (role %s) does not see it", role);
    } else if (rc == -EACCES && !service) {
        row->state = SF_INIT_BY_HAND;
        in->report->key_limit++;
        add_text(row,
                 "a key of role %s may not make buckets: give the service key, or make it in "
                 "the dashboard",
                 role);
    } else {
        row->state = SF_INIT_FAILED;
        add_text(row, "%s", err.msg);
    }
}

static int
settle(struct init *in, const struct wishes *w, struct sf_init_row *rows, struct sf_err *err)
{
    for (size_t i = 0; i < w->n; i++) {
        if (rows[i].state == SF_INIT_TO_DO)
            make_bucket(in, &w->spec[i], &rows[i]);
        if (init_row(in, &rows[i]))
            return sf_err_set(err, -ENOMEM, "out of memory");
    }
    return 0;
}

int
init_buckets(struct init *in, struct sf_err *err)
{
    struct wishes *w = calloc(1, sizeof *w);
    int rc = w ? collect_wishes(in->args->cfg, w, err) : sf_err_set(err, -ENOMEM, "out of memory");
    struct sf_init_row *rows = rc ? NULL : calloc(w->n, sizeof *rows);
    if (!rc && !rows)
        rc = sf_err_set(err, -ENOMEM, "out of memory");
    for (size_t i = 0; !rc && i < w->n; i++) {
        rows[i].state = SF_INIT_TO_DO;
        snprintf(rows[i].name, sizeof rows[i].name, "%s", w->spec[i].id);
    }
    struct look l = {.wishes = w, .rows = rows};
    if (!rc)
        rc = look_at_all(in, &l, err);
    if (!rc)
        rc = settle(in, w, rows, err);
    free(rows);
    free(w);
    return rc;
}
