/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <errno.h>

#include "base/crc32c.h"
#include "cache/row.h"
#include "fuzz.h"

/*
 * First byte: which row, and with 16 added: with the right sum put behind it. Second byte: length
 * of the key. The rest: key and value as the index may have them after damage. What is accepted is
 * what an encoder makes of it again.
 */

struct input {
    const uint8_t *key, *value;
    size_t key_len, len;
};

static void
same(const struct input *in, const void *again, size_t len)
{
    REQUIRE(len == in->len && memcmp(again, in->value, len) == 0);
}

static void
meta(const struct input *in)
{
    uint32_t starts;
    unsigned char out[SF_ROW_META_LEN];
    if (sf_row_meta_get(in->key, in->key_len, in->value, in->len, &starts) == 0)
        same(in, out, sf_row_meta_put(out, in->key, in->key_len, starts));
}

static void
usage(const struct input *in)
{
    struct sf_row_usage u;
    unsigned char out[SF_ROW_USAGE_LEN];
    if (sf_row_usage_get(in->key, in->key_len, in->value, in->len, &u) == 0)
        same(in, out, sf_row_usage_put(out, in->key, in->key_len, &u));
}

/* The value, and the key, which is a name. */
static void
name(const struct input *in)
{
    uint64_t number;
    unsigned char out[SF_ROW_NAME_LEN];
    struct sf_cache_key key;
    if (sf_row_name_get(in->key, in->key_len, in->value, in->len, &number) == 0)
        same(in, out, sf_row_name_put(out, in->key, in->key_len, number));
    if (sf_row_name_parse((const char *)in->key, in->key_len, &key) == 0) {
        sf_autobuf struct sf_buf again = SF_BUF_INIT;
        REQUIRE(sf_row_name_key(&again, &key) == 0);
        REQUIRE(again.len == in->key_len && memcmp(again.data, in->key, again.len) == 0);
    }
}

static void
chunk(const struct input *in)
{
    struct sf_row_chunk c = {0};
    unsigned char out[SF_ROW_CHUNK_MAX];
    if (sf_row_chunk_get(in->key, in->key_len, in->value, in->len, &c))
        return;
    REQUIRE(c.queue < SF_ROW_QUEUES && c.mask);
    same(in, out, sf_row_chunk_put(out, in->key, in->key_len, &c));
}

static void
queue(const struct input *in)
{
    struct sf_row_queue q;
    unsigned char out[SF_ROW_QUEUE_LEN];
    if (sf_row_queue_get(in->key, in->key_len, in->value, in->len, &q) == 0)
        same(in, out, sf_row_queue_put(out, in->key, in->key_len, &q));
}

static void
content(const struct input *in)
{
    struct sf_row_content c;
    sf_autobuf struct sf_buf out = SF_BUF_INIT;
    if (sf_row_content_get(in->key, in->key_len, in->value, in->len, &c))
        return;
    REQUIRE(c.n_names <= SF_ROW_NAMES_MAX);
    for (unsigned i = 0; i < c.n_names; i++)
        REQUIRE(c.names[i].len <= SF_ROW_KEY_MAX);
    REQUIRE(sf_row_content_put(&out, in->key, in->key_len, &c) == 0);
    same(in, out.data, out.len);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static void (*const rows[])(const struct input *) = {meta, usage, name, chunk, queue, content};
    if (size < 2 || size - 2 < data[1])
        return 0;
    size_t key_len = data[1], len = size - 2 - key_len;
    bool seal = data[0] & 16;
    /* Apart, and exactly so long. */
    uint8_t *key = (uint8_t *)fuzz_text(data + 2, key_len);
    uint8_t *value = malloc(len + 4);
    REQUIRE(value);
    if (len)
        memcpy(value, data + 2 + key_len, len);
    if (seal) {
        uint32_t sum = sf_crc32c(sf_crc32c(0, key, key_len), value, len);
        for (int i = 0; i < 4; i++)
            value[len++] = (uint8_t)(sum >> (8 * i));
    }
    const struct input in = {key, value, key_len, len};
    rows[(data[0] & 15) % (sizeof rows / sizeof rows[0])](&in);
    free(key);
    free(value);
    return 0;
}
