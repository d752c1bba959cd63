/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "supabase/find.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/str.h"
#include "supabase/json.h"
#include "supabase/list.h"

#define MS INT64_C(1000000)

/* ---- the request ---------------------------------------------------------------------------- */

static int
put_text(json_t *p, const char *name, const char *value)
{
    return value ? json_object_set_new(p, name, json_string(value)) : 0;
}

/* Beyond what the database can count there is nothing. */
static int
put_size(json_t *p, const char *name, uint64_t value)
{
    json_int_t n = value > INT64_MAX ? INT64_MAX : (json_int_t)value;
    return json_object_set_new(p, name, json_integer(n));
}

static int
put_time(json_t *p, const char *name, int64_t ns)
{
    char text[32];
    sf_time_format_ms(ns, text);
    return json_object_set_new(p, name, json_string(text));
}

/* NULL: no memory, or text that is not UTF-8. */
static json_t *
arguments(const struct sf_find_args *a)
{
    json_t *p = json_object(), *all = NULL;
    bool good = p && !put_text(p, "bucket", a->bucket) && !put_text(p, "prefix", a->prefix) &&
                !put_text(p, "name", a->name) && !put_text(p, "type", a->type) &&
                !put_text(p, "tag", a->tag) && !put_text(p, "sha256", a->sha256) &&
                !put_text(p, "provider", a->provider) &&
                !put_text(p, "provider_file_id", a->provider_id) &&
                !json_object_set_new(p, "limit", json_integer(a->limit));
    if (good && a->after)
        good = !put_text(p, "after_bucket", a->bucket) && !put_text(p, "after_key", a->after);
    if (good && a->min_size)
        good = !put_size(p, "min_size", a->min_size);
    if (good && a->max_size != UINT64_MAX)
        good = !put_size(p, "max_size", a->max_size);
    if (good && a->newer_ns != INT64_MIN)
        good = !put_time(p, "newer", a->newer_ns);
    /* What is cut off must not cut off rows. */
    if (good && a->older_ns != INT64_MAX)
        good = !put_time(p, "older", a->older_ns > INT64_MAX - MS ? INT64_MAX : a->older_ns + MS);
    if (good)
        all = json_pack("{s:O}", "p", p);
    json_decref(p);
    return all;
}

uint64_t
sf_storage_find(struct sf_storage *st, const struct sf_find_args *args,
                const struct sf_rest_how *how, sf_rest_fn cb, void *arg)
{
    return sf_rest_rpc(st, "supafs_find", arguments(args), how, cb, arg);
}

/* ---- its answer ----------------------------------------------------------------------------- */

static int
refuse(char *why, const char *what, const char *key)
{
    char shown[80];
    sf_text_clean(key ? key : "", key ? strlen(key) : 0, shown, sizeof shown);
    snprintf(why, 160, "%s%s%s%s", what, shown[0] ? " (row " : "", shown, shown[0] ? ")" : "");
    return -EPROTO;
}

static bool
are_texts(const json_t *list)
{
    for (size_t i = 0; i < json_array_size(list); i++)
        if (!json_is_string(json_array_get(list, i)))
            return false;
    return json_is_array(list);
}

static bool
is_hash(const char *text)
{
    unsigned char digest[32];
    return strlen(text) == 64 && sf_hex_decode(text, 64, digest) == 0;
}

static bool
is_key(const char *key, const struct sf_find_args *a)
{
    return key && *key && strlen(key) <= SF_KEY_BYTES && sf_str_starts(key, a->prefix) &&
           (!a->after || strcmp(key, a->after) > 0);
}

static int
parse_row(const json_t *o, const struct sf_find_args *a, struct sf_found *row, char *why)
{
    const json_t *below = json_object_get(o, "is_prefix"), *tags = json_object_get(o, "tags");
    const char *bucket = sf_json_text(o, "bucket");
    bool sized;
    row->key = sf_json_text(o, "key");
    row->id = sf_json_text(o, "id");
    row->mime = sf_json_text(o, "mime");
    row->sha256 = sf_json_text(o, "sha256");
    row->etag = "";
    row->is_prefix = json_is_true(below);
    if (!json_is_object(o))
        return refuse(why, "not a row", NULL);
    if (!below) {
        (void)refuse(why, "nothing is said of prefixes", row->key);
        return -ENOSYS;
    }
    if (!is_key(row->key, a) || !bucket || strcmp(bucket, a->bucket) != 0)
        return refuse(why, "an object that was not asked for", row->key);
    if (!row->id || !row->mime || !row->sha256 || !json_is_boolean(below))
        return refuse(why, "a member of the wrong type", row->key);
    if (sf_json_size(o, "size", &row->size, &sized) < 0 ||
        sf_json_time(o, "updated_at", &row->updated_ns) < 0)
        return refuse(why, "neither size nor time", row->key);
    if (*row->sha256 && !is_hash(row->sha256))
        row->sha256 = ""; /* anybody can write one into the table */
    if (tags && !json_is_null(tags) && are_texts(tags))
        row->tags = tags;
    return 0;
}

int
sf_find_parse(const json_t *answer, const struct sf_find_args *args, struct sf_found **rows,
              size_t *n, char *why)
{
    size_t count = json_array_size(answer);
    if (!json_is_array(answer) || count > args->limit)
        return refuse(why, "not at most as many rows as asked for", NULL);
    struct sf_found *v = calloc(count ? count : 1, sizeof *v);
    if (!v)
        return -ENOMEM;
    int rc = 0;
    for (size_t i = 0; i < count && !rc; i++) {
        rc = parse_row(json_array_get(answer, i), args, &v[i], why);
        if (!rc && i && strcmp(v[i - 1].key, v[i].key) >= 0)
            rc = refuse(why, "keys are not in increasing order", v[i].key);
    }
    if (rc) {
        free(v);
        return rc;
    }
    *rows = v;
    *n = count;
    return 0;
}
