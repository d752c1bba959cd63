/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "cache/row.h"

#include <endian.h>
#include <errno.h>
#include <string.h>

#include "base/crc32c.h"

#define FLAG_PINNED 1

/* ---- numbers and sums ----------------------------------------------------------------------- */

static unsigned char *
put8(unsigned char *p, uint8_t v)
{
    *p = v;
    return p + 1;
}

static unsigned char *
put16(unsigned char *p, uint16_t v)
{
    v = htole16(v);
    return (unsigned char *)memcpy(p, &v, 2) + 2;
}

static unsigned char *
put32(unsigned char *p, uint32_t v)
{
    v = htole32(v);
    return (unsigned char *)memcpy(p, &v, 4) + 4;
}

static unsigned char *
put64(unsigned char *p, uint64_t v)
{
    v = htole64(v);
    return (unsigned char *)memcpy(p, &v, 8) + 8;
}

static uint16_t
get16(const unsigned char *p)
{
    uint16_t v;
    memcpy(&v, p, 2);
    return le16toh(v);
}

static uint32_t
get32(const unsigned char *p)
{
    uint32_t v;
    memcpy(&v, p, 4);
    return le32toh(v);
}

static uint64_t
get64(const unsigned char *p)
{
    uint64_t v;
    memcpy(&v, p, 8);
    return le64toh(v);
}

static uint32_t
sum_of(const void *key, size_t key_len, const void *v, size_t len)
{
    return sf_crc32c(sf_crc32c(0, key, key_len), v, len);
}

/* Close a value that ends at @p. Returns its length. */
static size_t
seal(const void *key, size_t key_len, unsigned char *v, unsigned char *p)
{
    size_t len = (size_t)(p - v);
    put32(p, sum_of(key, key_len, v, len));
    return len + 4;
}

static bool
sealed(const void *key, size_t key_len, const unsigned char *v, size_t len)
{
    return len >= 4 && get32(v + len - 4) == sum_of(key, key_len, v, len - 4);
}

uint32_t
sf_row_unit_sum(uint64_t number, uint64_t unit, const void *data, size_t n)
{
    unsigned char place[16];
    put64(put64(place, number), unit);
    return sf_crc32c(sf_crc32c(0, place, sizeof place), data, n);
}

/* ---- keys ----------------------------------------------------------------------------------- */

static size_t
big64(unsigned char *p, uint64_t v)
{
    v = htobe64(v);
    memcpy(p, &v, 8);
    return 8;
}

static uint64_t
from_big64(const void *p)
{
    uint64_t v;
    memcpy(&v, p, 8);
    return be64toh(v);
}

int
sf_row_name_key(struct sf_buf *out, const struct sf_cache_key *key)
{
    unsigned char size[8];
    size_t b = strlen(key->bucket) + 1, i = strlen(key->id) + 1, e = strlen(key->etag) + 1;
    big64(size, key->size);
    if (b + i + e + sizeof size > SF_ROW_KEY_MAX)
        return -ENAMETOOLONG;
    if (sf_buf_reserve(out, b + i + e + sizeof size))
        return -ENOMEM;
    (void)sf_buf_append(out, key->bucket, b);
    (void)sf_buf_append(out, key->id, i);
    (void)sf_buf_append(out, key->etag, e);
    return sf_buf_append(out, size, sizeof size);
}

int
sf_row_name_parse(const char *key, size_t len, struct sf_cache_key *out)
{
    if (len < 8)
        return -EUCLEAN;
    const char *end = key + len - 8, *text[3], *p = key;
    for (int i = 0; i < 3; i++) {
        text[i] = p;
        if (!(p = memchr(p, '\0', (size_t)(end - p))))
            return -EUCLEAN;
        p++;
    }
    if (p != end)
        return -EUCLEAN;
    *out = (struct sf_cache_key){text[0], text[1], text[2], from_big64(end)};
    return 0;
}

size_t
sf_row_content_key(unsigned char out[SF_ROW_SHORT_KEY], uint64_t number)
{
    return big64(out, number);
}

size_t
sf_row_chunk_key(unsigned char out[SF_ROW_SHORT_KEY], uint64_t number, uint32_t chunk)
{
    chunk = htobe32(chunk);
    memcpy(out + 8, &chunk, 4);
    return big64(out, number) + 4;
}

size_t
sf_row_unit_key(unsigned char out[SF_ROW_SHORT_KEY], uint64_t number, unsigned unit)
{
    out[8] = (unsigned char)unit;
    return big64(out, number) + 1;
}

size_t
sf_row_queue_key(unsigned char out[SF_ROW_SHORT_KEY], unsigned queue, uint64_t place)
{
    out[0] = (unsigned char)queue;
    return big64(out + 1, place) + 1;
}

void
sf_row_chunk_parse(const void *key, uint64_t *number, uint32_t *chunk)
{
    *number = from_big64(key);
    memcpy(chunk, (const char *)key + 8, 4);
    *chunk = be32toh(*chunk);
}

void
sf_row_queue_parse(const void *key, unsigned *queue, uint64_t *place)
{
    *queue = *(const unsigned char *)key;
    *place = from_big64((const char *)key + 1);
}

uint64_t
sf_row_content_parse(const void *key)
{
    return from_big64(key);
}

/* ---- values --------------------------------------------------------------------------------- */

size_t
sf_row_meta_put(unsigned char out[SF_ROW_META_LEN], const void *key, size_t key_len,
                uint32_t starts)
{
    return seal(key, key_len, out, put32(put32(out, SF_ROW_VERSION), starts));
}

int
sf_row_meta_get(const void *key, size_t key_len, const void *v, size_t len, uint32_t *starts)
{
    const unsigned char *p = v;
    if (len != SF_ROW_META_LEN || !sealed(key, key_len, p, len) || get32(p) != SF_ROW_VERSION)
        return -EUCLEAN;
    *starts = get32(p + 4);
    return 0;
}

size_t
sf_row_usage_put(unsigned char out[SF_ROW_USAGE_LEN], const void *key, size_t key_len,
                 const struct sf_row_usage *u)
{
    unsigned char *p = out;
    for (int i = 0; i < SF_ROW_QUEUES; i++)
        p = put64(put64(p, u->bytes[i]), u->entries[i]);
    return seal(key, key_len, out, p);
}

int
sf_row_usage_get(const void *key, size_t key_len, const void *v, size_t len, struct sf_row_usage *u)
{
    const unsigned char *p = v;
    if (len != SF_ROW_USAGE_LEN || !sealed(key, key_len, p, len))
        return -EUCLEAN;
    for (int i = 0; i < SF_ROW_QUEUES; i++) {
        u->bytes[i] = get64(p + 16 * i);
        u->entries[i] = get64(p + 16 * i + 8);
    }
    return 0;
}

size_t
sf_row_name_put(unsigned char out[SF_ROW_NAME_LEN], const void *key, size_t key_len,
                uint64_t number)
{
    return seal(key, key_len, out, put64(out, number));
}

int
sf_row_name_get(const void *key, size_t key_len, const void *v, size_t len, uint64_t *number)
{
    if (len != SF_ROW_NAME_LEN || !sealed(key, key_len, v, len))
        return -EUCLEAN;
    *number = get64(v);
    return 0;
}

size_t
sf_row_chunk_put(unsigned char out[SF_ROW_CHUNK_MAX], const void *key, size_t key_len,
                 const struct sf_row_chunk *c)
{
    unsigned char *p = put8(out, (uint8_t)c->queue);
    p = put8(put16(p, 0), 0);
    p = put32(put64(put32(p, c->mask), c->place), c->bytes);
    p = put32(p, 0);
    for (unsigned i = 0; i < 32; i++)
        if (c->mask >> i & 1)
            p = put32(p, c->sums[i]);
    return seal(key, key_len, out, p);
}

int
sf_row_chunk_get(const void *key, size_t key_len, const void *v, size_t len, struct sf_row_chunk *c)
{
    const unsigned char *p = v;
    if (len < 28 || !sealed(key, key_len, p, len))
        return -EUCLEAN;
    uint32_t mask = get32(p + 4);
    if (p[0] >= SF_ROW_QUEUES || !mask || len != 28 + 4 * (size_t)__builtin_popcount(mask))
        return -EUCLEAN;
    if (p[1] || get16(p + 2) || get32(p + 20))
        return -EUCLEAN;
    c->queue = p[0];
    c->mask = mask;
    c->place = get64(p + 8);
    c->bytes = get32(p + 16);
    p += 24;
    for (unsigned i = 0; i < 32; i++)
        if (mask >> i & 1) {
            c->sums[i] = get32(p);
            p += 4;
        }
    return 0;
}

size_t
sf_row_queue_put(unsigned char out[SF_ROW_QUEUE_LEN], const void *key, size_t key_len,
                 const struct sf_row_queue *q)
{
    unsigned char *p = put32(put32(put64(out, q->number), q->chunk), q->bytes);
    p = put64(put64(p, q->identity), (uint64_t)q->queued_ms);
    return seal(key, key_len, out, p);
}

int
sf_row_queue_get(const void *key, size_t key_len, const void *v, size_t len, struct sf_row_queue *q)
{
    const unsigned char *p = v;
    if (key_len != 9 || len != SF_ROW_QUEUE_LEN || !sealed(key, key_len, p, len))
        return -EUCLEAN;
    *q = (struct sf_row_queue){.number = get64(p),
                               .chunk = get32(p + 8),
                               .bytes = get32(p + 12),
                               .identity = get64(p + 16),
                               .queued_ms = (int64_t)get64(p + 24)};
    return 0;
}

int
sf_row_content_put(struct sf_buf *out, const void *key, size_t key_len,
                   const struct sf_row_content *c)
{
    unsigned char head[24], tail[4];
    size_t at = out->len;
    unsigned char *p = put8(head, c->pinned ? FLAG_PINNED : 0);
    p = put16(put8(p, (uint8_t)c->n_names), 0);
    put64(put64(put32(p, c->chunks), c->size), c->identity);
    int rc = sf_buf_append(out, head, sizeof head);
    for (unsigned i = 0; i < c->n_names && !rc; i++) {
        put16(head, (uint16_t)c->names[i].len);
        rc = sf_buf_append(out, head, 2);
        if (!rc)
            rc = sf_buf_append(out, c->names[i].key, c->names[i].len);
    }
    if (!rc) {
        put32(tail, sum_of(key, key_len, out->data + at, out->len - at));
        rc = sf_buf_append(out, tail, sizeof tail);
    }
    if (rc)
        sf_buf_truncate(out, at);
    return rc;
}

int
sf_row_content_get(const void *key, size_t key_len, const void *v, size_t len,
                   struct sf_row_content *c)
{
    const unsigned char *p = v, *end = p + len;
    if (len < 28 || !sealed(key, key_len, p, len) || p[1] > SF_ROW_NAMES_MAX)
        return -EUCLEAN;
    if (p[0] & ~FLAG_PINNED || get16(p + 2))
        return -EUCLEAN;
    *c = (struct sf_row_content){.pinned = p[0] & FLAG_PINNED,
                                 .n_names = p[1],
                                 .chunks = get32(p + 4),
                                 .size = get64(p + 8),
                                 .identity = get64(p + 16)};
    p += 24;
    end -= 4;
    for (unsigned i = 0; i < c->n_names; i++) {
        if (end - p < 2)
            return -EUCLEAN;
        c->names[i].len = get16(p);
        c->names[i].key = (const char *)p + 2;
        if ((size_t)(end - p - 2) < c->names[i].len || c->names[i].len > SF_ROW_KEY_MAX)
            return -EUCLEAN;
        p += 2 + c->names[i].len;
    }
    return p == end ? 0 : -EUCLEAN;
}
