/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "cache/row.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "base/crc32c.h"
#include "base/str.h"

/* Rows of the cache's index are as docs/formats/cache.md says, and a flipped bit is noticed. */

#define NUMBER UINT64_C(0x0000020000000001)

/* The value in hex digits without its sum, and the sum over key and value behind it. */
static void
assert_row(const void *key, size_t key_len, const void *v, size_t len, const char *hex)
{
    char text[1024];
    uint32_t sum;
    assert_true(len >= 4 && len < 500);
    sf_hex_encode(v, len - 4, text);
    assert_string_equal(text, hex);
    memcpy(&sum, (const char *)v + len - 4, 4);
    assert_int_equal(sum, sf_crc32c(sf_crc32c(0, key, key_len), v, len - 4));
}

/* Every bit of the value counts, its length, and the key. */
static void
assert_guarded(const char *key, size_t key_len, unsigned char *v, size_t len,
               int (*get)(const void *key, size_t key_len, const void *v, size_t len))
{
    char other[600];
    assert_int_equal(get(key, key_len, v, len), 0);
    for (size_t bit = 0; bit < len * 8; bit++) {
        v[bit / 8] ^= (unsigned char)(1 << bit % 8);
        assert_int_equal(get(key, key_len, v, len), -EUCLEAN);
        v[bit / 8] ^= (unsigned char)(1 << bit % 8);
    }
    for (size_t n = 0; n < len; n++)
        assert_int_equal(get(key, key_len, v, n), -EUCLEAN);
    memcpy(other, key, key_len);
    other[key_len - 1] ^= 1;
    assert_int_equal(get(other, key_len, v, len), -EUCLEAN);
}

static void
keys_are_in_order(void **state)
{
    (void)state;
    unsigned char k[SF_ROW_SHORT_KEY];
    char hex[64];
    uint64_t n;
    uint32_t chunk;
    unsigned queue;
    sf_hex_encode(k, sf_row_content_key(k, NUMBER), hex);
    assert_string_equal(hex, "0000020000000001");
    assert_int_equal(sf_row_content_parse(k), NUMBER);
    sf_hex_encode(k, sf_row_chunk_key(k, NUMBER, 0x10203), hex);
    assert_string_equal(hex, "000002000000000100010203");
    sf_row_chunk_parse(k, &n, &chunk);
    assert_true(n == NUMBER && chunk == 0x10203);
    sf_hex_encode(k, sf_row_unit_key(k, NUMBER, 1), hex);
    assert_string_equal(hex, "000002000000000101");
    sf_hex_encode(k, sf_row_queue_key(k, 2, 0x55), hex);
    assert_string_equal(hex, "020000000000000055");
    sf_row_queue_parse(k, &queue, &n);
    assert_true(n == 0x55 && queue == 2);
}

static void
names_are_texts_and_a_size(void **state)
{
    (void)state;
    struct sf_cache_key key = {"b", "id", "\"e\"", 0x1234}, back;
    sf_autobuf struct sf_buf out = SF_BUF_INIT;
    assert_int_equal(sf_row_name_key(&out, &key), 0);
    assert_int_equal(out.len, 2 + 3 + 4 + 8);
    assert_memory_equal(out.data, "b\0id\0\"e\"\0\0\0\0\0\0\0\x12\x34", 17);
    assert_int_equal(sf_row_name_parse(out.data, out.len, &back), 0);
    assert_string_equal(back.bucket, "b");
    assert_string_equal(back.id, "id");
    assert_string_equal(back.etag, "\"e\"");
    assert_int_equal(back.size, 0x1234);
    for (size_t n = 0; n < out.len; n++)
        assert_int_equal(sf_row_name_parse(out.data, n, &back), -EUCLEAN);
    assert_int_equal(sf_row_name_parse("a\0b\0c\0d\0"
                                       "12345678",
                                       16, &back),
                     -EUCLEAN);

    char text[600];
    memset(text, 'x', sizeof text);
    text[511 - 8 - 2 - 3 - 1] = '\0';
    sf_buf_clear(&out);
    key.etag = text;
    assert_int_equal(sf_row_name_key(&out, &key), 0);
    assert_int_equal(out.len, SF_ROW_KEY_MAX);
    text[511 - 8 - 2 - 3 - 1] = 'x'; /* one byte more */
    text[511 - 8 - 2 - 3] = '\0';
    assert_int_equal(sf_row_name_key(&out, &key), -ENAMETOOLONG);
}

static int
get_chunk(const void *key, size_t key_len, const void *v, size_t len)
{
    struct sf_row_chunk row;
    return sf_row_chunk_get(key, key_len, v, len, &row);
}

static int
get_queue(const void *key, size_t key_len, const void *v, size_t len)
{
    struct sf_row_queue row;
    return sf_row_queue_get(key, key_len, v, len, &row);
}

static int
get_content(const void *key, size_t key_len, const void *v, size_t len)
{
    struct sf_row_content row;
    return sf_row_content_get(key, key_len, v, len, &row);
}

static int
get_usage(const void *key, size_t key_len, const void *v, size_t len)
{
    struct sf_row_usage row;
    return sf_row_usage_get(key, key_len, v, len, &row);
}

static int
get_name(const void *key, size_t key_len, const void *v, size_t len)
{
    uint64_t number;
    return sf_row_name_get(key, key_len, v, len, &number);
}

static int
get_meta(const void *key, size_t key_len, const void *v, size_t len)
{
    uint32_t starts;
    return sf_row_meta_get(key, key_len, v, len, &starts);
}

static void
values_are_as_written_down(void **state)
{
    (void)state;
    unsigned char v[SF_ROW_CHUNK_MAX];
    struct sf_row_chunk chunk = {.queue = 1, .mask = 1u << 31 | 2, .place = 0x99, .bytes = 66048};
    chunk.sums[1] = 0xaabbccdd;
    chunk.sums[31] = 0x11223344;
    size_t n = sf_row_chunk_put(v, "key-of-chunk", 12, &chunk);
    assert_row("key-of-chunk", 12, v, n,
               "01000000"
               "02000080"
               "9900000000000000"
               "00020100"
               "00000000"
               "ddccbbaa"
               "44332211");
    assert_guarded("key-of-chunk", 12, v, n, get_chunk);

    struct sf_row_queue queue = {NUMBER, 7, 4608, 0x1122334455667788, 0x0102030405};
    n = sf_row_queue_put(v, "queue-key", 9, &queue);
    assert_row("queue-key", 9, v, n,
               "0100000000020000"
               "07000000"
               "00120000"
               "8877665544332211"
               "0504030201000000");
    assert_guarded("queue-key", 9, v, n, get_queue);

    struct sf_row_usage usage = {{1, 2, 3}, {4, 5, 6}};
    n = sf_row_usage_put(v, "usage", 5, &usage);
    assert_row("usage", 5, v, n,
               "0100000000000000"
               "0400000000000000"
               "0200000000000000"
               "0500000000000000"
               "0300000000000000"
               "0600000000000000");
    assert_guarded("usage", 5, v, n, get_usage);

    n = sf_row_name_put(v, "name", 4, NUMBER);
    assert_row("name", 4, v, n, "0100000000020000");
    assert_guarded("name", 4, v, n, get_name);

    n = sf_row_meta_put(v, "cache", 5, 0x77);
    assert_row("cache", 5, v, n,
               "01000000"
               "77000000");
    assert_guarded("cache", 5, v, n, get_meta);
    memcpy(v, "\2", 1); /* another version, with its sum */
    uint32_t sum = sf_crc32c(sf_crc32c(0, "cache", 5), v, 8);
    memcpy(v + 8, &sum, 4);
    assert_int_equal(get_meta("cache", 5, v, 12), -EUCLEAN);
}

static void
contents_carry_their_names(void **state)
{
    (void)state;
    sf_autobuf struct sf_buf out = SF_BUF_INIT;
    struct sf_row_content row = {.pinned = true, .chunks = 3, .size = 0x200001, .identity = 9};
    row.n_names = 2;
    row.names[0].key = "ab";
    row.names[0].len = 2;
    row.names[1].key = "xyz";
    row.names[1].len = 3;
    assert_int_equal(sf_row_content_put(&out, "12345678", 8, &row), 0);
    assert_row("12345678", 8, out.data, out.len,
               "01020000"
               "03000000"
               "0100200000000000"
               "0900000000000000"
               "02006162"
               "030078797a");
    assert_guarded("12345678", 8, (unsigned char *)out.data, out.len, get_content);
    struct sf_row_content back;
    assert_int_equal(sf_row_content_get("12345678", 8, out.data, out.len, &back), 0);
    assert_true(back.pinned && back.chunks == 3 && back.size == 0x200001 && back.identity == 9);
    assert_int_equal(back.n_names, 2);
    assert_memory_equal(back.names[1].key, "xyz", 3);
}

/* Change a byte and make the sum right again. */
static void
reseal(const char *key, size_t key_len, unsigned char *v, size_t len, size_t at)
{
    v[at] ^= 4;
    uint32_t sum = sf_crc32c(sf_crc32c(0, key, key_len), v, len - 4);
    memcpy(v + len - 4, &sum, 4);
}

static void
reserved_bytes_are_zero(void **state)
{
    (void)state;
    static const size_t of_chunk[] = {1, 2, 3, 20, 21, 22, 23}, of_content[] = {0, 2, 3};
    unsigned char v[SF_ROW_CHUNK_MAX];
    struct sf_row_chunk chunk = {.queue = 1, .mask = 2};
    size_t n = sf_row_chunk_put(v, "key-of-chunk", 12, &chunk);
    for (size_t i = 0; i < sizeof of_chunk / sizeof *of_chunk; i++) {
        reseal("key-of-chunk", 12, v, n, of_chunk[i]);
        assert_int_equal(get_chunk("key-of-chunk", 12, v, n), -EUCLEAN);
        reseal("key-of-chunk", 12, v, n, of_chunk[i]);
        assert_int_equal(get_chunk("key-of-chunk", 12, v, n), 0);
    }
    sf_autobuf struct sf_buf out = SF_BUF_INIT;
    struct sf_row_content row = {.pinned = true, .size = 1};
    assert_int_equal(sf_row_content_put(&out, "12345678", 8, &row), 0);
    unsigned char *c = (unsigned char *)out.data;
    for (size_t i = 0; i < sizeof of_content / sizeof *of_content; i++) {
        reseal("12345678", 8, c, out.len, of_content[i]);
        assert_int_equal(get_content("12345678", 8, c, out.len), -EUCLEAN);
        reseal("12345678", 8, c, out.len, of_content[i]);
        assert_int_equal(get_content("12345678", 8, c, out.len), 0);
    }
}

static void
names_are_no_longer_than_a_key(void **state)
{
    (void)state;
    static char name[SF_ROW_KEY_MAX + 1];
    memset(name, 'n', sizeof name);
    sf_autobuf struct sf_buf out = SF_BUF_INIT;
    struct sf_row_content row = {.size = 1, .n_names = 1};
    row.names[0].key = name;
    row.names[0].len = SF_ROW_KEY_MAX;
    assert_int_equal(sf_row_content_put(&out, "12345678", 8, &row), 0);
    assert_int_equal(get_content("12345678", 8, out.data, out.len), 0);
    sf_buf_clear(&out);
    row.names[0].len = sizeof name;
    assert_int_equal(sf_row_content_put(&out, "12345678", 8, &row), 0);
    assert_int_equal(get_content("12345678", 8, out.data, out.len), -EUCLEAN);
}

static void
the_sum_of_a_unit_knows_its_place(void **state)
{
    (void)state;
    static const unsigned char all[16 + 3] = "\1\0\0\0\0\2\0\0"
                                             "\5\0\0\0\0\0\0\0"
                                             "abc";
    assert_int_equal(sf_row_unit_sum(NUMBER, 5, "abc", 3), sf_crc32c(0, all, 19));
    assert_int_not_equal(sf_row_unit_sum(NUMBER, 5, "abc", 3),
                         sf_row_unit_sum(NUMBER, 6, "abc", 3));
    assert_int_not_equal(sf_row_unit_sum(NUMBER, 5, "abc", 3),
                         sf_row_unit_sum(NUMBER + 1, 5, "abc", 3));
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keys_are_in_order),
        cmocka_unit_test(names_are_texts_and_a_size),
        cmocka_unit_test(values_are_as_written_down),
        cmocka_unit_test(contents_carry_their_names),
        cmocka_unit_test(reserved_bytes_are_zero),
        cmocka_unit_test(names_are_no_longer_than_a_key),
        cmocka_unit_test(the_sum_of_a_unit_knows_its_place),
    };
    return cmocka_run_group_tests_name("cache-row", tests, NULL, NULL);
}
