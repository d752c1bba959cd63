/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef SF_CACHE_ROW_H
#define SF_CACHE_ROW_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "cache/key.h"

/*
 * Internal to src/cache: rows of the index as bytes (docs/formats/cache.md). Every value carries a
 * sum over its key and itself. Pure.
 * Encoders return the length, in buffers that are large enough by the constants below; decoders 0,
 * or -EUCLEAN for anything that an encoder would not have made.
 */
#define SF_ROW_KEY_MAX   511 /* of a name */
#define SF_ROW_NAMES_MAX 8   /* of a content */
#define SF_ROW_SHORT_KEY 12
#define SF_ROW_CHUNK_MAX (24 + 32 * 4 + 4)
#define SF_ROW_QUEUE_LEN (32 + 4)
#define SF_ROW_USAGE_LEN (SF_ROW_QUEUES * 16 + 4)
#define SF_ROW_META_LEN  12
#define SF_ROW_NAME_LEN  12
#define SF_ROW_VERSION   1
#define SF_ROW_QUEUES    3

struct sf_row_usage {
    uint64_t bytes[SF_ROW_QUEUES], entries[SF_ROW_QUEUES];
};

struct sf_row_content {
    bool pinned;
    uint32_t chunks; /* that have a row */
    uint64_t size, identity;
    unsigned n_names;
    struct {
        const char *key; /* borrowed from what was decoded, or the caller's */
        size_t len;
    } names[SF_ROW_NAMES_MAX];
};

struct sf_row_chunk {
    unsigned queue;
    uint32_t mask;
    uint64_t place;
    uint32_t bytes;
    uint32_t sums[32]; /* by unit; of those in mask */
};

struct sf_row_queue {
    uint64_t number;
    uint32_t chunk, bytes;
    uint64_t identity;
    int64_t queued_ms;
};

/* Keys. The first: 0 or -ENAMETOOLONG, -ENOMEM; appends. */
int sf_row_name_key(struct sf_buf *out, const struct sf_cache_key *key);
/* The reverse; the texts are borrowed from @key. */
int sf_row_name_parse(const char *key, size_t len, struct sf_cache_key *out);
size_t sf_row_content_key(unsigned char out[SF_ROW_SHORT_KEY], uint64_t number);
size_t sf_row_chunk_key(unsigned char out[SF_ROW_SHORT_KEY], uint64_t number, uint32_t chunk);
size_t sf_row_unit_key(unsigned char out[SF_ROW_SHORT_KEY], uint64_t number, unsigned unit);
size_t sf_row_queue_key(unsigned char out[SF_ROW_SHORT_KEY], unsigned queue, uint64_t place);
void sf_row_chunk_parse(const void *key, uint64_t *number, uint32_t *chunk); /* of 12 bytes */
void sf_row_queue_parse(const void *key, unsigned *queue, uint64_t *place);  /* of 9 bytes */
uint64_t sf_row_content_parse(const void *key);                              /* of 8 bytes */

/* Values, with the key that their sum covers. */
size_t sf_row_meta_put(unsigned char out[SF_ROW_META_LEN], const void *key, size_t key_len,
                       uint32_t starts);
int sf_row_meta_get(const void *key, size_t key_len, const void *v, size_t len, uint32_t *starts);
size_t sf_row_usage_put(unsigned char out[SF_ROW_USAGE_LEN], const void *key, size_t key_len,
                        const struct sf_row_usage *u);
int sf_row_usage_get(const void *key, size_t key_len, const void *v, size_t len,
                     struct sf_row_usage *u);
size_t sf_row_name_put(unsigned char out[SF_ROW_NAME_LEN], const void *key, size_t key_len,
                       uint64_t number);
int sf_row_name_get(const void *key, size_t key_len, const void *v, size_t len, uint64_t *number);
size_t sf_row_chunk_put(unsigned char out[SF_ROW_CHUNK_MAX], const void *key, size_t key_len,
                        const struct sf_row_chunk *c);
int sf_row_chunk_get(const void *key, size_t key_len, const void *v, size_t len,
                     struct sf_row_chunk *c);
size_t sf_row_queue_put(unsigned char out[SF_ROW_QUEUE_LEN], const void *key, size_t key_len,
                        const struct sf_row_queue *q);
int sf_row_queue_get(const void *key, size_t key_len, const void *v, size_t len,
                     struct sf_row_queue *q);
int sf_row_content_put(struct sf_buf *out, const void *key, size_t key_len,
                       const struct sf_row_content *c); /* appends; 0 or -ENOMEM */
int sf_row_content_get(const void *key, size_t key_len, const void *v, size_t len,
                       struct sf_row_content *c);

/* The sum of a unit. */
uint32_t sf_row_unit_sum(uint64_t number, uint64_t unit, const void *data, size_t n);

#endif
