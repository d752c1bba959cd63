/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tables/internal.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/hash.h"

#define HASH_LEN 8

void
name_key(const char *bucket, const char *key, const void *prefix, size_t prefix_len,
         struct name_key *out)
{
    size_t b = strlen(bucket) + 1, k = strlen(key), room = sizeof out->b - prefix_len;
    memcpy(out->b, prefix_len ? prefix : "", prefix_len);
    unsigned char *at = out->b + prefix_len;
    if (b + k <= room) {
        memcpy(at, bucket, b);
        memcpy(at + b, key, k);
        out->len = prefix_len + b + k;
        return;
    }
    /* Its beginning, so that the order stays, and what tells it from others. A bucket's name is
     * much shorter than the room. */
    sf_autobuf struct sf_buf whole = SF_BUF_INIT;
    uint64_t h = 0;
    if (!sf_buf_append(&whole, bucket, b) && !sf_buf_append(&whole, key, k))
        h = sf_hash64(whole.data, whole.len);
    if (b > room - HASH_LEN)
        b = room - HASH_LEN;
    memcpy(at, bucket, b);
    memcpy(at + b, key, room - HASH_LEN - b);
    time_key(h, at + room - HASH_LEN);
    out->len = sizeof out->b;
}

void
time_key(uint64_t n, unsigned char out[8])
{
    for (int i = 7; i >= 0; i--, n >>= 8)
        out[i] = (unsigned char)n;
}

uint64_t
time_of_key(const void *key, size_t len)
{
    const unsigned char *b = key;
    uint64_t n = 0;
    for (size_t i = 0; i < len && i < 8; i++)
        n = n << 8 | b[i];
    return n;
}

const char *
text_of(const json_t *obj, const char *name)
{
    const char *s = json_string_value(json_object_get(obj, name));
    return s ? s : "";
}

static int
set_text(json_t *obj, const char *name, const char *value)
{
    return value && *value ? json_object_set_new(obj, name, json_string(value)) : 0;
}

json_t *
fact_json(const struct sf_file_fact *f)
{
    json_t *o = json_object();
    char time[32];
    if (!o)
        return NULL;
    const char *slash = strrchr(f->key, '/');
    sf_time_format_ms(f->at_ns ? f->at_ns : sf_wall_ns(), time);
    if (set_text(o, "file_id", f->id) || set_text(o, "bucket", f->bucket) ||
        set_text(o, "key", f->key) || set_text(o, "name", slash ? slash + 1 : f->key) ||
        json_object_set_new(o, "size", json_integer((json_int_t)f->size)) ||
        set_text(o, "mime", f->mime) || set_text(o, "sha256", f->sha256) ||
        set_text(o, "version", f->version) || set_text(o, "etag", f->etag) ||
        set_text(o, "uploaded_at", time)) {
        json_decref(o);
        return NULL;
    }
    return o;
}

char *
json_text(json_t *obj)
{
    char *s = obj ? json_dumps(obj, JSON_COMPACT) : NULL;
    json_decref(obj);
    return s;
}

json_t *
row_parse(const void *text, size_t len)
{
    json_t *o = json_loadb(text, len, JSON_REJECT_DUPLICATES, NULL);
    if (o && json_is_object(o))
        return o;
    json_decref(o);
    return NULL;
}
