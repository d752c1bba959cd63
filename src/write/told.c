/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "write/told.h"

#include "base/clock.h"
#include "base/str.h"
#include "tables/tables.h"
#include "write/rename.h"
#include "write/writer.h"

static bool
is_told(const struct sf_writer *w, const char *key)
{
    return w->tables && !sf_str_ends(key, SF_PLACEHOLDER);
}

static struct sf_file_fact
fact_of(const char *bucket, const char *key, const struct sf_version *v)
{
    struct sf_file_fact f = {.bucket = bucket, .key = key};
    if (v) {
        f.id = v->id;
        f.version = v->version;
        f.etag = v->etag;
        f.size = v->size;
    }
    return f;
}

void
sf_told_put(struct sf_writer *w, const struct sf_put *put, const char *mime,
            const char *copy_bucket, const char *copy_key, int64_t began_ms, int rc)
{
    if (!is_told(w, put->key))
        return;
    const struct sf_file_fact f = {.bucket = put->bucket,
                                   .key = put->key,
                                   .id = put->id,
                                   .version = put->version,
                                   .etag = put->etag[0] ? put->etag : put->md5_etag,
                                   .mime = mime,
                                   .sha256 = put->sha256,
                                   .size = put->size};
    const struct sf_file_fact from = {.bucket = copy_bucket, .key = copy_key};
    int64_t ms = sf_clock_ms() - began_ms;
    if (copy_bucket && copy_key)
        sf_tables_note(w->tables, SF_OP_COPY, &from, &f, put->size, ms, rc);
    else
        sf_tables_note(w->tables, SF_OP_UPLOAD, &f, NULL, put->size, ms, rc);
}

void
sf_told_move(const struct sf_move *m, const struct sf_version *now)
{
    if (!is_told(m->w, m->key))
        return;
    struct sf_version to = now ? *now : m->source;
    if (!now) /* the same bytes at least */
        to.version[0] = '\0';
    if (!now && m->replace)
        to.id[0] = '\0';
    const struct sf_file_fact f = fact_of(m->bucket, m->key, &m->source);
    const struct sf_file_fact t = fact_of(m->to_bucket, m->to_key, &to);
    sf_tables_note(m->w->tables, SF_OP_MOVE, &f, &t, 0, sf_clock_ms() - m->began_ms, 0);
}

void
sf_told_delete(struct sf_writer *w, const char *bucket, const char *key,
               const struct sf_version *was)
{
    if (!is_told(w, key))
        return;
    const struct sf_file_fact f = fact_of(bucket, key, was);
    sf_tables_note(w->tables, SF_OP_DELETE, &f, NULL, 0, 0, 0);
}

void
sf_told_attrs(struct sf_writer *w, const char *bucket, const char *key,
              const struct sf_version *now, const char *mime, int64_t began_ms)
{
    if (!is_told(w, key))
        return;
    struct sf_file_fact f = fact_of(bucket, key, now);
    f.mime = mime;
    sf_tables_note(w->tables, SF_OP_ATTRIBUTES, &f, NULL, 0, sf_clock_ms() - began_ms, 0);
}
