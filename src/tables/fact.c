/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tables/internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/str.h"

void
sf_tables_row_fini(struct sf_tables_row *row)
{
    for (char **tag = row->tags; tag && *tag; tag++)
        free(*tag);
    free(row->tags);
    *row = (struct sf_tables_row){.size = 0};
}

static int
tags_of(const json_t *fact, char ***ret)
{
    const json_t *list = json_object_get(fact, "tags");
    size_t n = json_array_size(list), out = 0;
    char **tags = n ? calloc(n + 1, sizeof *tags) : NULL;
    if (n && !tags)
        return -ENOMEM;
    for (size_t i = 0; i < n; i++) {
        const char *tag = json_string_value(json_array_get(list, i));
        if (tag && !(tags[out++] = strdup(tag))) {
            struct sf_tables_row row = {.tags = tags};
            sf_tables_row_fini(&row);
            return -ENOMEM;
        }
    }
    *ret = tags;
    return 0;
}

int
fact_row(const json_t *fact, struct sf_tables_row *out)
{
    struct sf_tables_row row = {.size = 0};
    snprintf(row.id, sizeof row.id, "%s", text_of(fact, "file_id"));
    snprintf(row.version, sizeof row.version, "%s", text_of(fact, "version"));
    snprintf(row.etag, sizeof row.etag, "%s", text_of(fact, "etag"));
    snprintf(row.sha256, sizeof row.sha256, "%s", text_of(fact, "sha256"));
    json_int_t size = json_integer_value(json_object_get(fact, "size"));
    row.size = size > 0 ? (uint64_t)size : 0;
    int rc = tags_of(fact, &row.tags);
    if (!rc)
        *out = row;
    return rc;
}

int
sf_tables_fact(struct sf_tables *t, const char *bucket, const char *key, struct sf_tables_row *out)
{
    sf_autobuf struct sf_buf text = SF_BUF_INIT;
    struct name_key at;
    struct sf_tables_row row = {.size = 0};
    if (!t)
        return -ENOENT;
    name_key(bucket, key, NULL, 0, &at);
    int rc = sf_env_get(t->env, T_FILES, at.b, at.len, &text);
    if (rc)
        return rc;
    json_t *fact = row_parse(text.data, text.len);
    if (!fact || strcmp(text_of(fact, "bucket"), bucket) || strcmp(text_of(fact, "key"), key)) {
        json_decref(fact);
        return -ENOENT;
    }
    rc = fact_row(fact, &row);
    json_decref(fact);
    if (rc)
        return rc;
    sf_tables_accesses(t, row.id, &row.accesses, &row.last_access_ns);
    *out = row;
    return 0;
}

/* Names are copied in pages, so that the caller may take as long as it likes. */
#define PAGE 256

struct names {
    unsigned char digest[32];
    struct sf_buf text; /* bucket, NUL, key, NUL */
    size_t n;
    unsigned char last[SF_ENV_KEY_MAX];
    size_t last_len;
};

static int
name_row(void *arg, const void *key, size_t key_len, const void *value, size_t value_len)
{
    struct names *p = arg;
    if (key_len < sizeof p->digest || memcmp(key, p->digest, sizeof p->digest) != 0)
        return 1;
    memcpy(p->last, key, key_len);
    p->last_len = key_len;
    if (!memchr(value, '\0', value_len))
        return 0; /* damaged */
    if (sf_buf_append(&p->text, value, value_len) || sf_buf_putc(&p->text, '\0'))
        return -ENOMEM;
    return ++p->n < PAGE ? 0 : 2;
}

int
sf_tables_by_hash(struct sf_tables *t, const char *sha256, sf_tables_name_fn fn, void *arg)
{
    struct names p = {.text = SF_BUF_INIT};
    if (strlen(sha256) != 64 || sf_hex_decode(sha256, 64, p.digest))
        return -EINVAL;
    memcpy(p.last, p.digest, sizeof p.digest);
    p.last_len = sizeof p.digest;
    int rc = t ? 2 : 0;
    while (rc == 2) {
        sf_buf_clear(&p.text);
        p.n = 0;
        rc = sf_env_walk(t->env, T_HASHES, p.last, p.last_len, name_row, &p);
        const char *at = sf_buf_str(&p.text);
        for (size_t i = 0; rc >= 0 && i < p.n; i++) {
            const char *key = at + strlen(at) + 1;
            int end = fn(arg, at, key);
            if (end) {
                sf_buf_fini(&p.text);
                return end;
            }
            at = key + strlen(key) + 1;
        }
    }
    sf_buf_fini(&p.text);
    return rc < 0 ? rc : 0;
}
