/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "config/set.h"

#include "base/str.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* The sections [bucket.NAME]: what `supafs init` makes. */

#define MAX_BUCKET_NAME 100
#define BETWEEN         ", \t"

static void
free_list(char **list)
{
    for (size_t i = 0; list && list[i]; i++)
        free(list[i]);
    free(list);
}

void
sf_config_bucket_fini(struct sf_config_bucket *b)
{
    free(b->name);
    free_list(b->mimes);
}

const struct sf_config_bucket *
sf_config_bucket(const struct sf_config *cfg, size_t i)
{
    return i < cfg->buckets.len ? &cfg->buckets.data[i] : NULL;
}

/* The entry of this name, new if there is none; NULL when memory is gone. */
static struct sf_config_bucket *
entry(struct sf_config *cfg, const char *name)
{
    SF_VEC_FOREACH (&cfg->buckets, b)
        if (!strcmp(b->name, name))
            return b;
    struct sf_config_bucket fresh = {.name = strdup(name)};
    if (!fresh.name || sf_bucket_vec_push(&cfg->buckets, fresh)) {
        free(fresh.name);
        return NULL;
    }
    return &cfg->buckets.data[cfg->buckets.len - 1];
}

/* "text/plain", "image/..." with a star. */
static bool
is_type(const char *word, size_t n)
{
    const char *slash = memchr(word, '/', n);
    if (!slash || slash == word || slash == word + n - 1 || n > 200)
        return false;
    for (size_t i = 0; i < n; i++)
        if (word[i] <= ' ' || word[i] > '~' || word[i] == '"')
            return false;
    return true;
}

/* "text/..., application/pdf"; an empty text allows all. */
static int
set_types(struct sf_config_bucket *b, const char *value)
{
    size_t n = 0;
    char **list = calloc(strlen(value) / 2 + 2, sizeof *list);
    if (!list)
        return -ENOMEM;
    for (const char *p = value + strspn(value, BETWEEN); *p; p += strspn(p, BETWEEN)) {
        size_t len = strcspn(p, BETWEEN);
        int rc = is_type(p, len) ? 0 : -EINVAL;
        if (!rc && !(list[n++] = strndup(p, len)))
            rc = -ENOMEM;
        if (rc) {
            free_list(list);
            return rc;
        }
        p += len;
    }
    free_list(b->mimes);
    b->mimes = n ? list : NULL;
    if (!n)
        free(list);
    return 0;
}

static int
set_size(struct sf_config_bucket *b, const char *value)
{
    uint64_t size = 0;
    if (strcmp(value, "none") != 0 && sf_parse_size(value, &size))
        return -EINVAL;
    if (size > INT64_MAX)
        return -EINVAL;
    b->size_limit = size;
    return 0;
}

static int
set_public(struct sf_config_bucket *b, const char *value)
{
    struct sf_value v;
    int rc = sf_value_parse(SF_OPT_RO, value, &v); /* yes or no */
    if (!rc)
        b->is_public = v.num != 0;
    return rc;
}

int
sf_config_bucket_set(struct sf_config *cfg, const char *bucket, const char *name, const char *value,
                     const char *where, struct sf_err *err)
{
    static const struct {
        const char *name;
        int (*set)(struct sf_config_bucket *b, const char *value);
        const char *allowed;
    } members[] = {
        {"public", set_public, "yes or no"},
        {"file_size_limit", set_size, "a size, written like 10M, or none"},
        {"allowed_mime_types", set_types, "a list like text/*, application/pdf"},
    };
    const size_t n = sizeof members / sizeof *members;
    size_t i = 0;
    char quoted[48];
    if (!*bucket || strchr(bucket, '/') || strlen(bucket) > MAX_BUCKET_NAME)
        return sf_err_set(err, -EINVAL, "%s: [bucket.NAME] wants the name of a bucket", where);
    while (i < n && strcmp(members[i].name, name) != 0)
        i++;
    if (i == n)
        return sf_err_set(err, -EINVAL,
                          "%s: a bucket has public, file_size_limit and allowed_mime_types, and no "
                          "\"%s\"",
                          where, sf_value_quote(name, quoted));
    struct sf_config_bucket *b = entry(cfg, bucket);
    int rc = b ? members[i].set(b, value) : -ENOMEM;
    if (rc == -EINVAL)
        return sf_err_set(err, rc, "%s: %s cannot be \"%s\"; it is %s", where, name,
                          sf_value_quote(value, quoted), members[i].allowed);
    return rc ? sf_err_set(err, rc, "out of memory") : 0;
}
